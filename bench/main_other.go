//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "bench: CPU is read from /proc and time stamps from the kernel, so it runs on Linux only")
	os.Exit(1)
}
