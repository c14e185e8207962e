package store

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/offhook/offhook/internal/call"
)

// A row is pending, then delivered or dead (columns state). Delivered rows stay for those who look, until
// the sweeper removes them.

const outboxColumns = "id, call_sid, account_sid, seq, method, url, params, created_at, attempts, due_at, last_error, " +
	"state, delivered_at, webhook_sid"

const (
	dueCallbacks = "SELECT " + outboxColumns + " FROM outbox WHERE state = 'pending' AND call_sid IN (" +
		"SELECT call_sid FROM outbox WHERE state = 'pending' AND due_at <= ? ORDER BY due_at, created_at LIMIT ?) " +
		"ORDER BY call_sid, seq, created_at, id"
	laterCallbacks = "SELECT " + outboxColumns + " FROM outbox WHERE state = 'pending' AND call_sid IN (" +
		"SELECT call_sid FROM outbox WHERE state = 'pending' AND due_at >= ? ORDER BY due_at, created_at LIMIT ?) " +
		"ORDER BY call_sid, seq, created_at, id"
	deadCallbacks = "SELECT " + outboxColumns + " FROM outbox WHERE state = 'dead' AND account_sid = ? " +
		"ORDER BY created_at DESC, id DESC LIMIT ?"
)

func callbackRow(cb *call.Callback) rowOf {
	due := cb.DueAt
	if due.IsZero() {
		due = cb.CreatedAt // so that rows to retry and new ones take their turns
	}
	params := string(cb.Body)
	if cb.WebhookSID == "" {
		params = cb.Params.Encode()
	}
	return rowOf{callbackRows, []any{
		cb.ID, cb.CallSID, cb.AccountSID, int64(cb.Seq), cb.Method, cb.URL, params, micros(cb.CreatedAt),
		int64(cb.Attempts), micros(due), cb.LastError, "pending", int64(0), cb.WebhookSID,
	}}
}

func scanCallback(r scanner) (cb call.Callback, err error) {
	var params string
	var ignored any
	if err = r.Scan(&cb.ID, &cb.CallSID, &cb.AccountSID, &cb.Seq, &cb.Method, &cb.URL, &params,
		asTime{&cb.CreatedAt}, &cb.Attempts, asTime{&cb.DueAt}, &cb.LastError, &ignored, &ignored, &cb.WebhookSID); err != nil {
		return cb, err
	}
	if cb.WebhookSID != "" {
		cb.Body = []byte(params)
		return cb, nil
	}
	if cb.Params, err = url.ParseQuery(params); err != nil {
		return cb, fmt.Errorf("parameters of callback %s: %w", cb.ID, err)
	}
	return cb, nil
}

// Due lists the callbacks that may be sent at now, those of one call together and in order of their
// sequence. With a due row come all pending rows of its call, so that the caller sees what stands before
// it at the same URL: a row with DueAt after now waits for its retry, and the rows behind it wait too, as
// long as the caller wants. limit counts due rows; the call that waited longest comes first.
func (s *Store) Due(ctx context.Context, now time.Time, limit int) ([]call.Callback, error) {
	list, err := s.callbacks(ctx, dueCallbacks, micros(now), limit)
	if err != nil {
		return nil, err
	}
	first := make(map[string]time.Time) // of each call, when its earliest row became due
	for _, cb := range list {
		if t, ok := first[cb.CallSID]; !ok || cb.DueAt.Before(t) {
			first[cb.CallSID] = cb.DueAt
		}
	}
	slices.SortStableFunc(list, func(a, b call.Callback) int {
		if c := first[a.CallSID].Compare(first[b.CallSID]); c != 0 || a.CallSID == b.CallSID {
			return c
		}
		if a.CallSID < b.CallSID {
			return -1
		}
		return 1
	})
	return list, nil
}

// Later lists the callbacks that may be sent at from or after, with each all pending ones of its call. limit
// counts those at from or after, earliest first; the calls are in no order.
func (s *Store) Later(ctx context.Context, from time.Time, limit int) ([]call.Callback, error) {
	return s.callbacks(ctx, laterCallbacks, micros(from), limit)
}

// DeadLetters lists the callbacks of an account that were given up, newest first.
func (s *Store) DeadLetters(ctx context.Context, accountSID string, limit int) ([]call.Callback, error) {
	return s.callbacks(ctx, deadCallbacks, accountSID, limit)
}

func (s *Store) callbacks(ctx context.Context, query string, args ...any) ([]call.Callback, error) {
	var list []call.Callback
	err := s.query(ctx, func(r scanner) error {
		cb, err := scanCallback(r)
		list = append(list, cb)
		return err
	}, query, args...)
	return list, err
}

// withCall are the parameters, unless the call was deleted meanwhile.
const withCall = "CASE WHEN EXISTS (SELECT 1 FROM calls WHERE sid = outbox.call_sid) THEN params ELSE '' END"

// Delivered marks a callback as done. Like Retry and Dead it does nothing when the callback is no longer
// pending or went with its deleted call.
func (s *Store) Delivered(ctx context.Context, id string) error {
	return s.mark(ctx, nil, "UPDATE outbox SET state = 'delivered', attempts = attempts + 1, delivered_at = ?, params = "+withCall+
		" WHERE id = ? AND state = 'pending'", micros(s.cfg.Clock.Now()), id)
}

// Retry puts a callback off until dueAt. With its attempts unchanged it parks one that waits behind another.
func (s *Store) Retry(ctx context.Context, id string, attempts int, dueAt time.Time, lastError string) error {
	return s.mark(ctx, nil, "UPDATE outbox SET attempts = ?, due_at = ?, last_error = ? "+
		"WHERE id = ? AND state = 'pending'", int64(attempts), micros(dueAt), lastError, id)
}

// Dead gives a callback up. That of a deleted call is forgotten.
func (s *Store) Dead(ctx context.Context, id, lastError string) error {
	return s.w.live(ctx, &job{run: func(b *batch) error {
		_, err := b.exec("UPDATE outbox SET state = 'dead', last_error = ? WHERE id = ? AND state = 'pending'", lastError, id)
		if err == nil {
			_, err = b.exec("DELETE FROM outbox WHERE id = ? AND state = 'dead' AND NOT EXISTS (SELECT 1 FROM calls WHERE sid = outbox.call_sid)", id)
		}
		return err
	}})
}

// Resend makes a dead callback of an account pending again, at once and with all its attempts before it.
func (s *Store) Resend(ctx context.Context, accountSID, id string) error {
	return s.mark(ctx, call.ErrNotFound, "UPDATE outbox SET state = 'pending', attempts = 0, due_at = ? "+
		"WHERE id = ? AND account_sid = ? AND state = 'dead'", micros(s.cfg.Clock.Now()), id, accountSID)
}

// mark runs one update in the live lane: whoever finishes work goes before whoever brings more.
func (s *Store) mark(ctx context.Context, refusal error, query string, args ...any) error {
	return s.w.live(ctx, &job{run: func(b *batch) error { return b.guarded(refusal, query, args...) }})
}
