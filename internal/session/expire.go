package session

import (
	"context"
	"errors"
	"time"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/twilio"
)

// sweepEvery is how often the queue is searched for calls that have waited for too long, expiredAtOnce how many
// are taken out at a time.
const (
	sweepEvery    = time.Minute
	expiredAtOnce = 100
)

// sweepLocked takes out what has waited for too long, now and then.
func (q *queue) sweepLocked(now time.Time) {
	if now.Before(q.sweep) {
		return
	}
	q.sweep = now.Add(sweepEvery)
	if q.sweeping || q.stopped {
		return
	}
	q.sweeping = true
	for _, p := range q.payers {
		q.tidyPayerLocked(p)
	}
	q.m.workers.Go(func() {
		ctx, cancel := context.WithTimeout(q.m.early, sweepEvery)
		defer cancel()
		if err := q.m.expire(ctx); err != nil && q.m.early.Err() == nil {
			q.m.Log.Error("dialling queue cannot be searched for calls that waited for too long", "err", err)
		}
		q.mu.Lock()
		defer q.mu.Unlock()
		q.sweeping = false
	})
}

// expire ends the calls that have waited for maxWait.
func (m *Manager) expire(ctx context.Context) error {
	for {
		now := m.Clock.Now()
		calls, err := m.Store.QueuedBefore(ctx, now.Add(-maxWait), expiredAtOnce)
		if err != nil {
			return err
		}
		ended := 0
		for _, c := range calls {
			if m.runs(c.SID) { // it is being dialled after all
				continue
			}
			e := twilio.Err(22001)
			cause := call.Cause{Reason: "waited for too long to be dialled", Code: e.Code, Local: true}
			switch err := m.endQueued(ctx, c, call.Failed, cause, e); {
			case err == nil:
				ended++
			case !errors.Is(err, call.ErrConflict): // else it was canceled, or dialled
				return err
			}
		}
		if len(calls) < expiredAtOnce || ended == 0 {
			return nil
		}
	}
}

// endQueued ends a call that was never dialled, for the reason e if that is to be told: then its status callback is
// sent as well.
func (m *Manager) endQueued(ctx context.Context, c *call.Call, status call.Status, cause call.Cause, e *twilio.Error) error {
	now := m.Clock.Now()
	if err := c.Move(status); err != nil {
		return call.ErrConflict
	}
	c.EndedAt, c.DateUpdated, c.QueueTime, c.Cause = now, now, now.Sub(c.DateCreated), cause
	m.price(c)
	ch := call.Change{Events: newEvents(c, now, string(status))}
	if e != nil {
		ch.Notifications = []call.Notification{notification(c, e, now)}
		ch.Callbacks = newCallbacks(c, "completed", now, voiceParams(c))
	}
	if err := m.Store.CancelQueued(ctx, c, ch); err != nil {
		return err
	}
	m.queue.forget(c)
	m.publish(ch)
	m.metrics.over(c)
	queueSpan(m.Tracer, c, now)
	spanEnded(m.Tracer, c)
	return nil
}
