package store

import (
	"context"
	"encoding/hex"
	"strings"
	"time"
)

const (
	// defaultKeep is how long it can be looked at what calls did.
	defaultKeep = 30 * 24 * time.Hour
	// sweepInterval is from the end of one look at what is old to the next.
	sweepInterval = time.Hour
	// sweepBatch rows are removed at once, in a moment of the writer's time, and sweepPause lies between:
	// more than 1,000 a second, as a busy server makes.
	sweepBatch = 64
	sweepPause = 50 * time.Millisecond
)

// sweeper removes what is old: callbacks that were delivered, what is no longer due to webhooks, events, notifications,
// requests and the keys of creates. A status callback that was given up stays: it can be sent again.
type sweeper struct {
	cancel context.CancelFunc
	gone   chan struct{}
}

func (s *Store) newSweeper() *sweeper {
	ctx, cancel := context.WithCancel(context.Background())
	w := &sweeper{cancel: cancel, gone: make(chan struct{})}
	go func() {
		defer close(w.gone)
		t := s.cfg.Clock.NewTimer(sweepInterval)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C():
			}
			n, err := s.sweep(ctx, s.cfg.Clock.Now(), sweepPause)
			if err != nil && ctx.Err() == nil {
				s.cfg.Log.Warn("what is old not removed; trying again later", "err", err)
			}
			if n > 0 {
				s.cfg.Log.Info("old events, notifications, requests and callbacks removed", "n", n, "after", s.cfg.Keep)
			}
			t.Reset(sweepInterval)
		}
	}()
	return w
}

func (w *sweeper) close() {
	w.cancel()
	<-w.gone
}

// Names of calls and of rows begin with the time they were made at, so primary keys find the old ones and no other
// index is kept for that. What is found is removed by the keys of its first and its last row.
const (
	oldCallbacks = "SELECT id, state, webhook_sid FROM outbox WHERE id > ? AND id < ? ORDER BY id LIMIT ?"

	oldEvents = "SELECT call_sid, seq FROM events WHERE (call_sid, seq) > (?, ?) AND call_sid < ? AND time < ? " +
		"ORDER BY call_sid, seq LIMIT ?"
	deleteEvents = "DELETE FROM events WHERE (call_sid, seq) >= (?, ?) AND (call_sid, seq) <= (?, ?) AND time < ?"

	oldRequests = "SELECT call_sid, time, id FROM requests WHERE (call_sid, time, id) > (?, ?, ?) AND call_sid < ? AND time < ? " +
		"ORDER BY call_sid, time, id LIMIT ?"
	deleteRequests = "DELETE FROM requests WHERE (call_sid, time, id) >= (?, ?, ?) AND (call_sid, time, id) <= (?, ?, ?) AND time < ?"

	deleteNotifications = "DELETE FROM notifications WHERE sid IN (SELECT sid FROM notifications WHERE time < ? ORDER BY time LIMIT ?)"
	deleteIdempotency   = "DELETE FROM idempotency WHERE (account_sid, name) IN (" +
		"SELECT account_sid, name FROM idempotency WHERE created_at < ? ORDER BY created_at LIMIT ?)"
)

var deleteDone = "DELETE FROM outbox WHERE state IN ('delivered', 'dead') AND id IN (?" + strings.Repeat(", ?", sweepBatch-1) + ")"

// sweep removes what is old at now, and returns how many rows.
func (s *Store) sweep(ctx context.Context, now time.Time, pause time.Duration) (removed int64, err error) {
	before := now.Add(-s.cfg.Keep)
	t := s.cfg.Clock.NewTimer(0)
	defer t.Stop()
	for _, step := range []func(context.Context) (n int64, more bool, err error){
		s.sweepCallbacks(before),
		s.sweepEvents(before),
		s.sweepRequests(before),
		s.sweepAny(deleteNotifications, before),
		s.sweepAny(deleteIdempotency, now.Add(-keepIdempotency)), // it means nothing any more
	} {
		for more := true; more; t.Reset(pause) {
			select {
			case <-t.C():
			case <-ctx.Done():
				return removed, context.Cause(ctx)
			}
			var n int64
			n, more, err = step(ctx)
			if removed += n; err != nil {
				return removed, err
			}
		}
	}
	return removed, nil
}

// sweepCallbacks removes the callbacks made before then that were delivered, and what webhooks did not take: an
// account whose webhook is away for good makes more of that with each call.
func (s *Store) sweepCallbacks(before time.Time) func(context.Context) (int64, bool, error) {
	last, end := "", firstID("EV", before)
	return func(ctx context.Context) (int64, bool, error) {
		seen := 0
		ids := make([]any, 0, sweepBatch)
		err := s.query(ctx, func(r scanner) error {
			var state, webhook string
			if err := r.Scan(&last, &state, &webhook); err != nil {
				return err
			}
			if seen++; state == "delivered" || state == "dead" && webhook != "" {
				ids = append(ids, last)
			}
			return nil
		}, oldCallbacks, last, end, sweepBatch)
		if err != nil || len(ids) == 0 {
			return 0, seen == sweepBatch, err
		}
		for len(ids) < sweepBatch {
			ids = append(ids, "") // one statement for all
		}
		n, err := s.remove(ctx, deleteDone, ids...)
		return n, seen == sweepBatch, err
	}
}

func (s *Store) sweepEvents(before time.Time) func(context.Context) (int64, bool, error) {
	var sid string
	var seq int64
	end, old := firstID("CA", before), micros(before)
	return func(ctx context.Context) (int64, bool, error) {
		var first []any
		seen := 0
		err := s.query(ctx, func(r scanner) error {
			err := r.Scan(&sid, &seq)
			if seen++; seen == 1 {
				first = []any{sid, seq}
			}
			return err
		}, oldEvents, sid, seq, end, old, sweepBatch)
		if err != nil || seen == 0 {
			return 0, false, err
		}
		n, err := s.remove(ctx, deleteEvents, append(first, sid, seq, old)...)
		return n, seen == sweepBatch, err
	}
}

func (s *Store) sweepRequests(before time.Time) func(context.Context) (int64, bool, error) {
	var sid, id string
	var at int64
	end, old := firstID("CA", before), micros(before)
	return func(ctx context.Context) (int64, bool, error) {
		var first []any
		seen := 0
		err := s.query(ctx, func(r scanner) error {
			err := r.Scan(&sid, &at, &id)
			if seen++; seen == 1 {
				first = []any{sid, at, id}
			}
			return err
		}, oldRequests, sid, at, id, end, old, sweepBatch)
		if err != nil || seen == 0 {
			return 0, false, err
		}
		n, err := s.remove(ctx, deleteRequests, append(first, sid, at, id, old)...)
		return n, seen == sweepBatch, err
	}
}

// sweepAny removes by a statement that finds the oldest itself.
func (s *Store) sweepAny(statement string, before time.Time) func(context.Context) (int64, bool, error) {
	return func(ctx context.Context) (int64, bool, error) {
		n, err := s.remove(ctx, statement, micros(before), sweepBatch)
		return n, n == sweepBatch, err
	}
}

// remove runs a statement behind the writes of others, and returns how many rows it removed.
func (s *Store) remove(ctx context.Context, statement string, args ...any) (int64, error) {
	var n int64 // the writer's until it has answered
	err := s.w.api(ctx, &job{run: func(b *batch) (err error) {
		n, err = b.exec(statement, args...)
		return err
	}})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// firstID is not behind any ID that was made at or after t, see twilio.NewSIDAt.
func firstID(prefix string, t time.Time) string {
	ms := t.UnixMilli()
	return prefix + hex.EncodeToString([]byte{byte(ms >> 40), byte(ms >> 32), byte(ms >> 24), byte(ms >> 16), byte(ms >> 8), byte(ms)})
}
