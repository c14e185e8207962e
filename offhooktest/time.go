package offhooktest

import (
	"time"

	"github.com/offhook/offhook/internal/clock"
)

// timelinePause is how long nothing must happen until a timeline counts as read.
const timelinePause = 300 * time.Millisecond

func now() time.Time { return clock.System.Now() }

func after(d time.Duration) <-chan time.Time { return clock.System.NewTimer(d).C() }
