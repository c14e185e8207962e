package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// released is the version of a release, set by the linker (make build).
var released string

type versionCommand struct{}

func (versionCommand) Help() string {
	return `The server's answers carry it too, as their Server header.

    offhook version`
}

func (versionCommand) Run(a *app) error {
	_, err := fmt.Fprintf(a.out, "offhook %s %s %s/%s\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}

// version is the release, else what the toolchain noted: the module's version or "dev".
func version() string {
	if released != "" {
		return released
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "dev"
}
