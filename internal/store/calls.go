package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/offhook/offhook/internal/call"
)

// Columns of calls: first those of the insert alone, then what a live call changes. callFixed, callLive,
// fixedValues, liveValues and scanCall name them in the same order.
const (
	callFixed = "sid, seq, account_sid, parent_sid, to_addr, from_addr, direction, number_sid, queue_key, " +
		"date_created, annotation, metadata"
	callLive = "status, cause, date_updated, dialed_at, answered_at, ended_at, start_time, queue_time, trunk_sid, " +
		"group_sid, forwarded_from, caller_name, answered_by, price, price_unit, options, dialog, " +
		"callback_seq, event_seq, owner, epoch"
	callColumns   = callFixed + ", " + callLive
	callSeqColumn = 1 // set by the writer
)

var (
	callTable   = newTable("calls", callColumns, "")
	callSet     = "UPDATE calls SET " + strings.ReplaceAll(callLive, ",", " = ?,") + " = ? WHERE sid = ? AND "
	callSave    = callSet + "status = ? AND epoch = ?"
	callSaveOwn = callSet + "epoch = ?"
)

// insertCall is a row of calls to insert, made by the caller's goroutine.
type insertCall struct{ values []any }

// seq is what the writer numbered the call, once it is committed.
func (i *insertCall) seq() int64 { return i.values[callSeqColumn].(int64) }

func fixedValues(c *call.Call) ([]any, error) {
	metadata, err := toJSON(c.Metadata, len(c.Metadata) == 0)
	if err != nil {
		return nil, fmt.Errorf("store: metadata of %s: %w", c.SID, err)
	}
	return []any{
		c.SID, int64(0), c.AccountSID, c.ParentSID, c.To, c.From, string(c.Direction), c.NumberSID, c.QueueKey,
		micros(c.DateCreated), c.Annotation, metadata,
	}, nil
}

// liveValues are c's live columns with another owner's mark.
func liveValues(c *call.Call, owner string, epoch int64) ([]any, error) {
	if c.Status.Final() == c.EndedAt.IsZero() {
		return nil, fmt.Errorf("store: call %s: status %s and end time %s do not fit", c.SID, c.Status, c.EndedAt)
	}
	options, err := toJSON(&c.Options, false)
	if err != nil {
		return nil, fmt.Errorf("store: options of %s: %w", c.SID, err)
	}
	cause, err := toJSON(c.Cause, c.Cause == call.Cause{})
	if err != nil {
		return nil, fmt.Errorf("store: cause of %s: %w", c.SID, err)
	}
	dialog, err := toJSON(c.Dialog, c.Dialog == nil)
	if err != nil {
		return nil, fmt.Errorf("store: dialog of %s: %w", c.SID, err)
	}
	return []any{
		string(c.Status), cause, micros(c.DateUpdated), micros(c.DialedAt), micros(c.AnsweredAt), micros(c.EndedAt),
		micros(c.StartTime()), c.QueueTime.Microseconds(), c.TrunkSID,
		c.GroupSID, c.ForwardedFrom, c.CallerName, c.AnsweredBy, c.Price, c.PriceUnit, options, dialog,
		int64(c.CallbackSeq), int64(c.EventSeq), owner, epoch,
	}, nil
}

func scanCall(r scanner) (*call.Call, error) {
	var (
		c         call.Call
		ignored   any
		queueTime int64
	)
	err := r.Scan(
		&c.SID, &c.Seq, &c.AccountSID, &c.ParentSID, &c.To, &c.From, &c.Direction, &c.NumberSID, &c.QueueKey,
		asTime{&c.DateCreated}, &c.Annotation, asJSON{&c.Metadata},
		&c.Status, asJSON{&c.Cause}, asTime{&c.DateUpdated}, asTime{&c.DialedAt}, asTime{&c.AnsweredAt},
		asTime{&c.EndedAt}, &ignored, &queueTime, &c.TrunkSID,
		&c.GroupSID, &c.ForwardedFrom, &c.CallerName, &c.AnsweredBy, &c.Price, &c.PriceUnit,
		asJSON{&c.Options}, asJSON{&c.Dialog}, &c.CallbackSeq, &c.EventSeq, &c.Owner, &c.Epoch,
	)
	if err != nil {
		return nil, err
	}
	c.QueueTime = time.Duration(queueTime) * time.Microsecond
	return &c, nil
}

// CreateCall inserts a call that an API asked for, with its change, and sets c.Seq. It waits behind the writes of live
// calls; when too many wait already it returns call.ErrUnavailable at once. A taken SID is call.ErrConflict.
func (s *Store) CreateCall(ctx context.Context, c *call.Call, ch call.Change) error {
	j, err := newCallJob(c, ch)
	if err != nil {
		return err
	}
	if err := s.w.api(ctx, j); err != nil {
		return err
	}
	c.Seq = j.call.seq()
	return nil
}

// AddCall is CreateCall for a call that is live already, such as one that came in: it goes ahead.
func (s *Store) AddCall(ctx context.Context, c *call.Call, ch call.Change) error {
	j, err := newCallJob(c, ch)
	if err != nil {
		return err
	}
	j.brings = true
	if err := s.w.live(ctx, j); err != nil {
		return err
	}
	c.Seq = j.call.seq()
	return nil
}

func newCallJob(c *call.Call, ch call.Change) (*job, error) {
	fixed, err := fixedValues(c)
	if err != nil {
		return nil, err
	}
	live, err := liveValues(c, c.Owner, c.Epoch)
	if err != nil {
		return nil, err
	}
	sid, status, epoch := c.SID, string(c.Status), c.Epoch
	run := putRecordings(ch.Recordings)
	if ch.Idempotency.Key != "" {
		run = putIdempotency(c, ch.Idempotency)
	}
	return &job{
		call: &insertCall{append(fixed, live...)}, run: run, rows: changeRows(ch),
		undo: func(b *batch) error {
			n, err := b.exec("DELETE FROM calls WHERE sid = ? AND status = ? AND epoch = ?", sid, status, epoch)
			if err != nil || n == 0 {
				return err
			}
			for _, query := range [...]string{
				"DELETE FROM events WHERE call_sid = ?", "DELETE FROM outbox WHERE call_sid = ?",
				"DELETE FROM notifications WHERE call_sid = ?", "DELETE FROM idempotency WHERE call_sid = ?",
				"DELETE FROM detections WHERE call_sid = ?",
			} {
				if _, err := b.exec(query, sid); err != nil {
					return err
				}
			}
			return nil
		},
	}, nil
}

// SaveCall writes the live state of c and its change when the stored call still has status from and
// belongs to c.Epoch; else call.ErrConflict. A call with Epoch 0 belongs to nobody: saving it takes it
// for this store, whose epoch and node c then carries. What is fixed at the insert (addresses, creation
// time) and what customers write beside the call's life (see Annotate) stays as it is.
func (s *Store) SaveCall(ctx context.Context, c *call.Call, from call.Status, ch call.Change) error {
	owner, epoch := c.Owner, c.Epoch
	if epoch == 0 {
		owner, epoch = s.cfg.Node, s.epoch
	}
	if err := s.save(ctx, c, from, owner, epoch, ch); err != nil {
		return err
	}
	c.Owner, c.Epoch = owner, epoch
	return nil
}

// CancelQueued writes the end of a call that waits in its queue; call.ErrConflict when a session has
// taken it. It stays without owner.
func (s *Store) CancelQueued(ctx context.Context, c *call.Call, ch call.Change) error {
	if c.Epoch != 0 {
		return fmt.Errorf("store: call %s: %w: a session runs it", c.SID, call.ErrConflict)
	}
	return s.save(ctx, c, call.Queued, c.Owner, 0, ch)
}

func (s *Store) save(ctx context.Context, c *call.Call, from call.Status, owner string, epoch int64, ch call.Change) error {
	values, err := liveValues(c, owner, epoch)
	if err != nil {
		return err
	}
	args := append(values, c.SID, string(from), c.Epoch)
	refusal := fmt.Errorf("store: call %s: %w: no longer %s under epoch %d", c.SID, call.ErrConflict, from, c.Epoch)
	rows, recordings := changeRows(ch), putRecordings(ch.Recordings)
	j := &job{rows: rows}
	if epoch != 0 && c.Epoch == 0 && c.Status == from { // a claim: its caller reads the queue again
		j.undo = unclaim(c, from, epoch, ch)
	} else {
		j.repeated = c.SID
	}
	j.run = func(b *batch) error {
		n, err := b.exec(callSave, args...)
		if err != nil {
			return err
		}
		if n > 0 {
			return recordings(b)
		}
		if b.repeated[c.SID] && epoch != 0 {
			if j.rows, err = again(b, args, epoch, rows, refusal); err != nil {
				return err
			}
			return recordings(b)
		}
		return refusal
	}
	return s.w.live(ctx, j)
}

// unclaim puts a call back into its queue.
func unclaim(c *call.Call, from call.Status, epoch int64, ch call.Change) func(b *batch) error {
	sid, status, events, callbacks := c.SID, string(from), ch.Events, ch.Callbacks
	return func(b *batch) error {
		n, err := b.exec("UPDATE calls SET owner = '', epoch = 0, dialed_at = 0, start_time = 0, queue_time = 0, dialog = '', "+
			"event_seq = event_seq - ?, callback_seq = callback_seq - ? WHERE sid = ? AND status = ? AND epoch = ?",
			int64(len(events)), int64(len(callbacks)), sid, status, epoch)
		if err != nil || n == 0 {
			return err
		}
		for _, e := range events {
			if _, err := b.exec("DELETE FROM events WHERE call_sid = ? AND seq = ?", sid, e.Seq); err != nil {
				return err
			}
			if _, err := b.exec("DELETE FROM outbox WHERE call_sid = ? AND seq = ? AND webhook_sid <> ''", sid, e.Seq); err != nil {
				return err
			}
		}
		for _, cb := range callbacks {
			if _, err := b.exec("DELETE FROM outbox WHERE id = ?", cb.ID); err != nil {
				return err
			}
		}
		return nil
	}
}

// again is a save of a call of ours whose last one, not acknowledged, was committed after all: the call is
// written once more, and of the rows those that are missing, which it returns. Nobody else writes the call
// under this epoch.
func again(b *batch, args []any, epoch int64, rows []rowOf, refusal error) (missing []rowOf, err error) {
	live := args[:len(args)-3]
	sid := args[len(args)-3]
	if err := b.guarded(refusal, callSaveOwn, append(slices.Clone(live), sid, epoch)...); err != nil {
		return nil, err
	}
	for _, r := range rows {
		stored, err := b.stored(r)
		if err != nil {
			return nil, err
		}
		if stored {
			continue
		}
		missing = append(missing, r)
		// An answer that was not acknowledged was not given: the end has the place of its event.
		switch r.table {
		case eventRows:
			if _, err = b.exec("DELETE FROM events WHERE call_sid = ? AND seq >= ?", sid, r.values[1]); err == nil {
				_, err = b.exec("DELETE FROM outbox WHERE call_sid = ? AND seq >= ? AND webhook_sid <> '' AND state = 'pending'", sid, r.values[1])
			}
		case callbackRows:
			_, err = b.exec("DELETE FROM outbox WHERE call_sid = ? AND seq >= ? AND url = ? AND webhook_sid = '' AND state = 'pending'", sid, r.values[3], r.values[5])
		}
		if err != nil {
			return nil, err
		}
	}
	return missing, nil
}

// Annotate merges what customers note beside a call into what is noted already, whoever owns the call and whether
// it is live or not, and returns what then is.
func (s *Store) Annotate(ctx context.Context, accountSID, sid string, note call.Note) (annotation string, metadata map[string]any, err error) {
	now := micros(s.cfg.Clock.Now())
	err = s.w.api(ctx, &job{run: func(b *batch) error {
		found, stored := false, ""
		const what = " FROM calls WHERE sid = ? AND account_sid = ?"
		err := b.scan(func(text string) { found, stored = true, text }, "SELECT metadata"+what, sid, accountSID)
		if err == nil {
			err = b.scan(func(text string) { annotation = text }, "SELECT annotation"+what, sid, accountSID)
		}
		if err != nil {
			return err
		}
		if !found {
			return call.ErrNotFound
		}
		var before map[string]any
		if err := (asJSON{&before}).Scan(stored); err != nil {
			return err
		}
		if annotation, metadata, err = note.Apply(annotation, before); err != nil {
			return &refusedError{err}
		}
		text, err := toJSON(metadata, len(metadata) == 0)
		if err != nil {
			return fmt.Errorf("store: metadata of %s: %w", sid, err)
		}
		return b.guarded(call.ErrNotFound,
			"UPDATE calls SET annotation = ?, metadata = ?, date_updated = ? WHERE sid = ? AND account_sid = ?",
			annotation, text, now, sid, accountSID)
	}})
	var refused *refusedError
	if errors.As(err, &refused) {
		err = refused.err
	}
	if err != nil {
		return "", nil, err
	}
	return annotation, metadata, nil
}

// refusedError is a job's verdict that is not the store's own.
type refusedError struct{ err error }

func (e *refusedError) Error() string        { return e.err.Error() }
func (e *refusedError) Is(target error) bool { return target == call.ErrConflict }

// Call is the call sid of an account. Applications ask for the same one again and again: reading it is half of
// what an answer costs.
func (s *Store) Call(ctx context.Context, accountSID, sid string) (*call.Call, error) {
	c, change, known := s.seen.look(sid)
	if known && c.AccountSID == accountSID {
		return c.Clone(), nil
	}
	err := s.queryRow(ctx, func(r scanner) (err error) {
		c, err = scanCall(r)
		return err
	}, callSelect+"sid = ? AND account_sid = ?", sid, accountSID)
	if err != nil {
		return nil, err
	}
	s.seen.keep(sid, c.Clone(), change)
	return c, nil
}

// DeleteCall removes a call that has ended with everything that belongs to it, but for the callbacks that
// are still due: those were promised. A live one is call.ErrLive.
func (s *Store) DeleteCall(ctx context.Context, accountSID, sid string) error {
	return s.w.api(ctx, &job{run: func(b *batch) error {
		n, err := b.exec("DELETE FROM calls WHERE sid = ? AND account_sid = ? AND ended_at > 0", sid, accountSID)
		if err != nil {
			return err
		}
		if n == 0 {
			refusal := call.ErrNotFound
			const live = "SELECT sid FROM calls WHERE sid = ? AND account_sid = ?"
			if err := b.scan(func(string) { refusal = call.ErrLive }, live, sid, accountSID); err != nil {
				return err
			}
			return refusal
		}
		for _, query := range [...]string{
			"DELETE FROM events WHERE call_sid = ?",
			"DELETE FROM outbox WHERE call_sid = ? AND state <> 'pending'", // what is due is still owed
			"DELETE FROM notifications WHERE call_sid = ?",
			"DELETE FROM requests WHERE call_sid = ?",
			"DELETE FROM idempotency WHERE call_sid = ?",
			"DELETE FROM detections WHERE call_sid = ?",
		} {
			if _, err := b.exec(query, sid); err != nil {
				return err
			}
		}
		return nil
	}})
}

const (
	callSelect  = "SELECT " + callColumns + " FROM calls WHERE "
	queuedCalls = "ended_at = 0 AND epoch = 0"
	liveCalls   = "ended_at = 0 AND epoch <> 0 ORDER BY seq"
)

// Queued lists the calls of a line that wait for a dialling slot and belong to nobody, first in first out; those of
// all with the zero Line.
func (s *Store) Queued(ctx context.Context, of call.Line, limit int) ([]*call.Call, error) {
	// A claim that was not acknowledged may be stored and about to be taken back: without it the list is
	// not whole.
	if s.w.undoing.Load() {
		return nil, fmt.Errorf("store: %w: claims of calls are being taken back", call.ErrUnavailable)
	}
	if err := s.w.trouble(stuck); err != nil {
		return nil, err
	}
	if of == (call.Line{}) {
		return s.calls(ctx, callSelect+queuedCalls+" ORDER BY seq LIMIT ?", limit)
	}
	return s.calls(ctx, callSelect+queuedCalls+" AND queue_key = ? AND account_sid = ? ORDER BY seq LIMIT ?", of.QueueKey, of.AccountSID, limit)
}

// QueuedLines lists the lines of the dialling queue, with how many calls wait in each.
func (s *Store) QueuedLines(ctx context.Context) (lines []call.Line, err error) {
	err = s.query(ctx, func(r scanner) error {
		var l call.Line
		err := r.Scan(&l.QueueKey, &l.AccountSID, &l.Calls)
		lines = append(lines, l)
		return err
	}, "SELECT queue_key, account_sid, COUNT(*) FROM calls WHERE "+queuedCalls+" GROUP BY queue_key, account_sid ORDER BY queue_key, account_sid")
	return lines, err
}

// QueuedBefore lists the calls that wait for a dialling slot since before t, oldest first.
func (s *Store) QueuedBefore(ctx context.Context, t time.Time, limit int) ([]*call.Call, error) {
	return s.calls(ctx, callSelect+queuedCalls+" AND seq < ? ORDER BY seq LIMIT ?", seqAt(t), limit)
}

// Live lists the calls that have not ended and that some node took or took in: all but Queued's.
func (s *Store) Live(ctx context.Context) ([]*call.Call, error) {
	return s.calls(ctx, callSelect+liveCalls)
}

// lastEnd is when the newest call of any account ended, by the index that each account has.
const lastEnd = "SELECT COALESCE(MAX((SELECT MAX(ended_at) FROM calls WHERE account_sid = accounts.sid AND ended_at > 0)), 0) FROM accounts"

// JustEnded lists the calls that ended within d before the newest end, that one included, at most limit.
func (s *Store) JustEnded(ctx context.Context, d time.Duration, limit int) ([]*call.Call, error) {
	var last int64
	if err := s.queryRow(ctx, func(r scanner) error { return r.Scan(&last) }, lastEnd); err != nil || last == 0 {
		return nil, err
	}
	return s.calls(ctx, callSelect+"account_sid IN (SELECT sid FROM accounts) AND ended_at > 0 AND ended_at >= ? "+
		"ORDER BY ended_at DESC LIMIT ?", last-d.Microseconds(), limit)
}

func (s *Store) calls(ctx context.Context, query string, args ...any) ([]*call.Call, error) {
	var list []*call.Call
	err := s.query(ctx, func(r scanner) error {
		c, err := scanCall(r)
		list = append(list, c)
		return err
	}, query, args...)
	return list, err
}

// toJSON is the text of v, "" when there is none.
func toJSON(v any, none bool) (string, error) {
	if none {
		return "", nil
	}
	b, err := json.Marshal(v)
	return string(b), err
}
