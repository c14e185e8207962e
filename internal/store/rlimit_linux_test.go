package store_test

import (
	"os/signal"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// limitFiles lets no file of this process grow beyond size bytes, which looks like a full disk, until
// the function it returns is called.
func limitFiles(size uint64) (func() error, error) {
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &was); err != nil {
		return nil, err
	}
	signal.Ignore(unix.SIGXFSZ) // then the write fails with EFBIG
	limit := unix.Rlimit{Cur: size, Max: was.Max}
	return func() error { return unix.Setrlimit(unix.RLIMIT_FSIZE, &was) }, unix.Setrlimit(unix.RLIMIT_FSIZE, &limit)
}

// cpuTime is what this process has used.
func cpuTime(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
