package store

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// lockFile makes this process the only one that uses a SQLite database: two of them would both dial the
// queued calls. The file holds the owner's process id for the message the other one gets.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("store: lock the data: %w", err)
	}
	ok, err := tryLock(f)
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("store: lock the data: %s: %w", path, err)
	}
	if !ok {
		owner := "another process"
		if b, err := io.ReadAll(io.LimitReader(f, 32)); err == nil && len(b) > 0 {
			owner = "process " + strings.TrimSpace(string(b))
		}
		_ = f.Close()
		return nil, fmt.Errorf("store: %s is in use by %s: stop it, or choose another data folder",
			strings.TrimSuffix(path, ".lock"), owner)
	}
	if err := f.Truncate(0); err == nil { // the id is a courtesy
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return f, nil
}

// unlock gives the lock back. The file stays: removing it would let two openers lock two files.
func unlock(f *os.File) {
	if f != nil {
		_ = f.Close()
	}
}
