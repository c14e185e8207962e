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
	// crowd is how many calls have to have come since the last time that setting them up is worth a collection:
	// each leaves 0.1 MB behind.
	crowd = 100
)

// giveBackMemory returns to the system what is not used any more: after the start, when many new calls have come
// and no more do, and when the last call is long over. Go by itself collects a process that does not allocate, as
// calls that only talk do not, every two minutes, and gives pages back by and by. live is the number of live
// calls, taken that of all so far, free is debug.FreeOSMemory. It runs until done is closed.
func giveBackMemory(c clock.Clock, live func() int, taken func() uint64, free func(), done <-chan struct{}) {
	free()
	t := c.NewTimer(idleCheck)
	defer t.Stop()
	var seen, given, settled uint64 // of taken: at the last look, when all was given back, when a crowd had come
	quiet := c.Now()
	for {
		select {
		case <-t.C():
		case <-done:
			return
		}
		n, busy := taken(), live() > 0
		switch {
		case n != seen:
			seen, quiet = n, c.Now()
		case busy:
			if quiet = c.Now(); n-settled >= crowd {
				settled = n
				free()
			}
		case seen != given && c.Now().Sub(quiet) >= idleAfter:
			given, settled = seen, seen
			free()
		}
		t.Reset(idleCheck)
	}
}
