package server

import (
	"time"

	"github.com/offhook/offhook/internal/clock"
)

const (
	// idleAfter is how long no call must have been live until memory is given back: SIP keeps the
	// transactions of ended calls for 32 s (RFC 3261, Timers L and D).
	idleAfter = 34 * time.Second
	idleCheck = 2 * time.Second
)

// giveBackMemory returns to the system what many calls took, once the last one is long over: Go collects an
// idle process every two minutes only, and gives pages back by and by. live is the number of live calls,
// taken that of all so far, free is debug.FreeOSMemory. It runs until done is closed.
func giveBackMemory(c clock.Clock, live func() int, taken func() uint64, free func(), done <-chan struct{}) {
	t := c.NewTimer(idleCheck)
	defer t.Stop()
	var seen, given uint64
	quiet := c.Now()
	for {
		select {
		case <-t.C():
		case <-done:
			return
		}
		if n := taken(); n != seen || live() > 0 {
			seen, quiet = n, c.Now()
		} else if seen != given && c.Now().Sub(quiet) >= idleAfter {
			given = seen
			free()
		}
		t.Reset(idleCheck)
	}
}
