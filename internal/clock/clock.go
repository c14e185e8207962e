// Package clock is the one source of time. The composition root makes a Clock and hands it to every
// package that waits or stamps, so that the same code runs on a virtual clock in tests.
// Everything else is forbidden by lint from calling time.Now, After, NewTimer or NewTicker.
package clock

import (
	"context"
	"time"
)

// Clock tells and waits for time. Its methods are safe for concurrent use.
type Clock interface {
	// Now is the present moment, with a monotonic reading.
	Now() time.Time
	// AfterFunc calls f in its own goroutine after d.
	AfterFunc(d time.Duration, f func()) Timer
	// NewTimer sends the time on C after d.
	NewTimer(d time.Duration) Timer
}

// Timer is a started timer; C is nil when it came from AfterFunc.
type Timer interface {
	C() <-chan time.Time
	// Stop prevents the timer from firing; false when it already has.
	Stop() bool
	// Reset starts the timer anew; a stale value is never left in C (Go 1.23 timer rules).
	Reset(d time.Duration) bool
}

// System is the machine's own clock.
var System Clock = systemClock{}

type systemClock struct{}

type systemTimer struct{ *time.Timer }

func (t systemTimer) C() <-chan time.Time { return t.Timer.C }

func (systemClock) Now() time.Time { return time.Now() }

func (systemClock) AfterFunc(d time.Duration, f func()) Timer {
	return systemTimer{time.AfterFunc(d, f)}
}

func (systemClock) NewTimer(d time.Duration) Timer { return systemTimer{time.NewTimer(d)} }

// Sleep waits for d or until ctx is done, whose cause it then returns.
func Sleep(ctx context.Context, c Clock, d time.Duration) error {
	if d <= 0 {
		return context.Cause(ctx)
	}
	t := c.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C():
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
