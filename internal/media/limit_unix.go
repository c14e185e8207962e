//go:build unix

package media

import (
	"log/slog"

	"golang.org/x/sys/unix"
)

// checkFileLimit says so when the system allows fewer files than the port range could use. The Go
// runtime has already raised the limit as far as it may.
func checkFileLimit(log *slog.Logger, pairs int) {
	const others = 256 // database, HTTP, SIP
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		log.Warn("limit of open files unknown", "err", err)
		return
	}
	if need := uint64(2*pairs + others); uint64(l.Cur) < need {
		log.Info("fewer streams than ports: the limit of open files is low (ulimit -n)", "limit", uint64(l.Cur), "needed_for_all_ports", need)
	}
}
