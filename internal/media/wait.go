package media

import (
	"time"

	"github.com/offhook/offhook/internal/clock"
)

// waiter is how a worker sleeps until its next slot.
type waiter interface {
	// wait returns at until, or a little later, or when wake is called; the zero time waits for wake alone.
	wait(until time.Time)
	// wake makes the present wait, else the next one, return at once. Safe for concurrent use.
	wake()
	close() error
}

// clockWaiter waits on the timers of any clock. The runtime rounds them up to whole milliseconds when
// it is idle (measured: 0.6 ms late on average, so a slot is met up to half of the next one late).
type clockWaiter struct {
	clock clock.Clock
	timer clock.Timer
	woken chan struct{}
}

func newClockWaiter(c clock.Clock) *clockWaiter {
	return &clockWaiter{clock: c, woken: make(chan struct{}, 1)}
}

func (w *clockWaiter) wait(until time.Time) {
	if until.IsZero() {
		<-w.woken
		return
	}
	d := until.Sub(w.clock.Now())
	if d <= 0 {
		return
	}
	if w.timer == nil {
		w.timer = w.clock.NewTimer(d)
	} else {
		w.timer.Reset(d)
	}
	select {
	case <-w.timer.C():
	case <-w.woken:
		w.timer.Stop()
	}
}

func (w *clockWaiter) wake() {
	select {
	case w.woken <- struct{}{}:
	default:
	}
}

func (w *clockWaiter) close() error {
	if w.timer != nil {
		w.timer.Stop()
	}
	return nil
}
