//go:build !linux

package store_test

import (
	"errors"
	"testing"
	"time"
)

func limitFiles(uint64) (func() error, error) { return nil, errors.ErrUnsupported }

func cpuTime(b *testing.B) time.Duration {
	b.Skip("CPU time is read on Linux only")
	return 0
}
