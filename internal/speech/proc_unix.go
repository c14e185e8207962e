//go:build unix

package speech

import (
	"os"
	"os/exec"
	"syscall"
)

// niceness is how far a child stands back behind the media process: enough that its 20 ms clock does not notice.
const niceness = 10

// ownGroup starts cmd in a process group of its own: a Ctrl-C in the terminal leaves it to us, it is killed together
// with a program it runs, and being nice can be said for all its threads at once.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

func killGroup(cmd *exec.Cmd) { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }

// beNice lowers the priority of this process. Linux counts it per thread, so it is set for the group, which is
// this process's own; a process that still is in its parent's group leaves the parent alone.
func beNice() {
	if syscall.Getpgrp() == os.Getpid() {
		_ = syscall.Setpriority(syscall.PRIO_PGRP, 0, niceness)
	}
}
