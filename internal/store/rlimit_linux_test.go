package store_test

import (
	"os/signal"

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
