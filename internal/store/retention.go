package store

import (
	"context"
	"encoding/hex"
	"strings"
	"time"
)

const (
	// defaultKeep is how long a callback that was delivered can be looked at.
	defaultKeep = 30 * 24 * time.Hour
	// sweepInterval is from the end of one look at what is old to the next.
	sweepInterval = time.Hour
	// sweepBatch rows are removed at once, in a moment of the writer's time, and sweepPause lies between:
	// more than 1,000 a second, as a busy server makes.
	sweepBatch = 64
	sweepPause = 50 * time.Millisecond
)

// sweeper removes callbacks that were delivered long ago. What was given up stays: it can be sent again.
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
			n, err := s.sweep(ctx, s.cfg.Clock.Now().Add(-s.cfg.KeepDelivered), sweepPause)
			if err != nil && ctx.Err() == nil {
				s.cfg.Log.Warn("old callbacks not removed; trying again later", "err", err)
			}
			if n > 0 {
				s.cfg.Log.Info("callbacks delivered long ago removed", "n", n, "after", s.cfg.KeepDelivered)
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

const oldCallbacks = "SELECT id, state FROM outbox WHERE id > ? AND id < ? ORDER BY id LIMIT ?"

// sweep removes the callbacks made before then that were delivered, and returns how many. IDs begin with
// the time they were made at, so the primary key finds the old ones and no other index is kept for that.
func (s *Store) sweep(ctx context.Context, before time.Time, pause time.Duration) (removed int64, err error) {
	last, end := "", firstID("EV", before)
	t := s.cfg.Clock.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-t.C():
		case <-ctx.Done():
			return removed, context.Cause(ctx)
		}
		seen := 0
		ids := make([]any, 0, sweepBatch)
		err := s.query(ctx, func(r scanner) error {
			var state string
			if err := r.Scan(&last, &state); err != nil {
				return err
			}
			if seen++; state == "delivered" {
				ids = append(ids, last)
			}
			return nil
		}, oldCallbacks, last, end, sweepBatch)
		if err != nil {
			return removed, err
		}
		if len(ids) > 0 {
			n, err := s.removeDelivered(ctx, ids)
			if removed += n; err != nil {
				return removed, err
			}
		}
		if seen < sweepBatch {
			return removed, nil
		}
		t.Reset(pause)
	}
}

func (s *Store) removeDelivered(ctx context.Context, ids []any) (int64, error) {
	var n int64 // the writer's until it has answered
	for len(ids) < sweepBatch {
		ids = append(ids, "") // one statement for all
	}
	err := s.w.api(ctx, &job{run: func(b *batch) (err error) {
		n, err = b.exec(deleteDelivered, ids...)
		return err
	}})
	if err != nil {
		return 0, err
	}
	return n, nil
}

var deleteDelivered = "DELETE FROM outbox WHERE state = 'delivered' AND id IN (?" + strings.Repeat(", ?", sweepBatch-1) + ")"

// firstID is not behind any ID that was made at or after t, see twilio.NewSIDAt.
func firstID(prefix string, t time.Time) string {
	ms := t.UnixMilli()
	return prefix + hex.EncodeToString([]byte{byte(ms >> 40), byte(ms >> 32), byte(ms >> 24), byte(ms >> 16), byte(ms >> 8), byte(ms)})
}
