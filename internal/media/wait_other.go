//go:build !linux

package media

import "github.com/offhook/offhook/internal/clock"

func newWaiter(c clock.Clock) (waiter, error) { return newClockWaiter(c), nil }
