package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/offhook/offhook/internal/call"
)

// Columns of recordings: first those of the insert alone, then what changes.
const (
	recordingFixed = "sid, account_sid, call_sid, conference_sid, date_created, source, track, channels, options, node"
	recordingLive  = "date_updated, start_time, status, error_code, samples, price, price_unit, blob_key, encrypted, unfinished"
	recordingAll   = recordingFixed + ", " + recordingLive
)

var (
	recordingInsert = newTable("recordings", recordingAll, "").one()
	recordingSet    = func() string {
		var set []string
		for c := range strings.SplitSeq(recordingLive, ", ") {
			set = append(set, c+" = excluded."+c)
		}
		return " ON CONFLICT (sid) DO UPDATE SET " + strings.Join(set, ", ")
	}()
	// recordingPut is for a session's own recordings; what was deleted meanwhile stays so.
	recordingPut = recordingInsert + recordingSet + " WHERE recordings.status <> 'deleted'"
	recordingNew = recordingInsert + " ON CONFLICT DO NOTHING"
	// recordingSave is guarded by the status that the caller knows.
	recordingSave = "UPDATE recordings SET " + strings.ReplaceAll(recordingLive, ",", " = ?,") + " = ? WHERE sid = ? AND status = ?"
)

func recordingValues(r *call.Recording) []any {
	return append([]any{
		r.SID, r.AccountSID, r.CallSID, r.ConferenceSID, micros(r.DateCreated), r.Source, r.Track, int64(r.Channels),
		jsonText(&r.Options, false), r.Node,
	}, recordingChanges(r)...)
}

func recordingChanges(r *call.Recording) []any {
	unfinished := !r.Status.Settled() || r.Status == call.RecordingDeleted
	return []any{
		micros(r.DateUpdated), micros(r.StartTime), string(r.Status), int64(r.ErrorCode), r.Samples, r.Price, r.PriceUnit,
		r.Key, bit(r.Encrypted), bit(unfinished),
	}
}

func scanRecording(row scanner) (*call.Recording, error) {
	var r call.Recording
	var ignored any
	err := row.Scan(&r.SID, &r.AccountSID, &r.CallSID, &r.ConferenceSID, asTime{&r.DateCreated}, &r.Source, &r.Track, &r.Channels,
		asJSON{&r.Options}, &r.Node,
		asTime{&r.DateUpdated}, asTime{&r.StartTime}, &r.Status, &r.ErrorCode, &r.Samples, &r.Price, &r.PriceUnit,
		&r.Key, asBool{&r.Encrypted}, &ignored)
	return &r, err
}

// putRecordings writes the recordings of a change, as they are when it is called. It refuses nothing.
func putRecordings(recordings []*call.Recording) func(b *batch) error {
	if len(recordings) == 0 {
		return func(*batch) error { return nil }
	}
	rows := make([][]any, len(recordings))
	for i, r := range recordings {
		rows[i] = recordingValues(r)
	}
	return func(b *batch) error {
		for _, row := range rows {
			if _, err := b.exec(recordingPut, slices.Clone(row)...); err != nil {
				return err
			}
		}
		return nil
	}
}

// SaveRecording writes a recording whose stored status is from, "" for a new one, with its change; otherwise
// call.ErrConflict. It is for recordings of calls that nobody runs: the events and callbacks of ch get the next
// places among those of the call, and the events of one that was deleted are left out. While a session has the
// call the error is call.ErrLive: then recording and change go with a SaveCall.
func (s *Store) SaveRecording(ctx context.Context, r *call.Recording, from call.RecordingStatus, ch call.Change) error {
	callSID := r.CallSID
	query, args := recordingNew, recordingValues(r)
	if from != "" {
		query, args = recordingSave, append(recordingChanges(r), r.SID, string(from))
	}
	refusal := fmt.Errorf("store: recording %s: %w: no longer %s", r.SID, call.ErrConflict, from)
	j := &job{}
	j.run = func(b *batch) error {
		next, there := 0, false
		var live bool
		var bad error
		const state = "SELECT CASE WHEN ended_at = 0 THEN 'live' ELSE CAST(event_seq AS TEXT) END FROM calls WHERE sid = ?"
		err := b.scan(func(text string) {
			there = true
			if live = text == "live"; !live {
				next, bad = strconv.Atoi(text)
			}
		}, state, callSID)
		if err = errors.Join(err, bad); err != nil {
			return err
		}
		if live {
			return fmt.Errorf("store: recording %s: %w", r.SID, call.ErrLive)
		}
		if err := b.guarded(refusal, query, slices.Clone(args)...); err != nil {
			return err
		}
		placed := call.Change{Callbacks: slices.Clone(ch.Callbacks), Notifications: ch.Notifications}
		if there {
			placed.Events = slices.Clone(ch.Events)
		}
		for i := range placed.Events {
			placed.Events[i].Seq = next
			next++
		}
		for i := range placed.Callbacks {
			placed.Callbacks[i].Seq = next
		}
		if len(placed.Events) > 0 {
			if _, err := b.exec("UPDATE calls SET event_seq = ? WHERE sid = ?", int64(next), callSID); err != nil {
				return err
			}
		}
		j.rows = changeRows(placed)
		return nil
	}
	return s.w.live(ctx, j)
}

// Recording is the recording sid of an account, deleted ones included.
func (s *Store) Recording(ctx context.Context, accountSID, sid string) (*call.Recording, error) {
	return s.recording(ctx, "sid = ? AND account_sid = ?", sid, accountSID)
}

// RecordingBySID is Recording for whoever does not know the account.
func (s *Store) RecordingBySID(ctx context.Context, sid string) (*call.Recording, error) {
	return s.recording(ctx, "sid = ?", sid)
}

func (s *Store) recording(ctx context.Context, where string, args ...any) (r *call.Recording, err error) {
	err = s.queryRow(ctx, func(row scanner) (err error) {
		r, err = scanRecording(row)
		return err
	}, "SELECT "+recordingAll+" FROM recordings WHERE "+where, args...)
	if err != nil {
		return nil, err
	}
	return r, nil
}

// ListRecordings pages as ListCalls does.
func (s *Store) ListRecordings(ctx context.Context, f call.RecordingFilter) (recordings []*call.Recording, more bool, err error) {
	l := &listing{
		table: "recordings", columns: recordingAll, order: "date_created", tie: "sid", limit: f.Limit, offset: f.Offset,
	}
	if at := f.Cursor; at.SID != "" {
		l.cursor, l.before = []any{at.Time, at.SID}, at.Before
	}
	l.equal("call_sid", f.CallSID)
	if f.ConferenceSID != "" {
		l.where("conference_sid = ? AND conference_sid <> ''", f.ConferenceSID) // in the words of the partial index
	}
	if !f.Deleted {
		l.where("status <> 'deleted'")
	}
	if !f.After.IsZero() {
		l.where("date_created >= ?", micros(f.After))
	}
	if !f.Before.IsZero() {
		l.where("date_created < ?", micros(f.Before))
	}
	return list(ctx, s, l, f.AccountSID, scanRecording)
}

// DeleteRecording marks a recording of an account as deleted; its node has then to erase it. One that runs is
// call.ErrLive.
func (s *Store) DeleteRecording(ctx context.Context, accountSID, sid string) error {
	now := micros(s.cfg.Clock.Now())
	return s.w.api(ctx, &job{run: func(b *batch) error {
		n, err := b.exec("UPDATE recordings SET status = 'deleted', unfinished = 1, date_updated = ? "+
			"WHERE sid = ? AND account_sid = ? AND status IN ('processing', 'completed', 'absent')", now, sid, accountSID)
		if err != nil || n > 0 {
			return err
		}
		runs, err := b.any("SELECT sid FROM recordings WHERE sid = ? AND account_sid = ? AND status <> 'deleted'", sid, accountSID)
		if err == nil && runs {
			err = call.ErrLive
		}
		return orMissing(err)
	}})
}

// RecordingErased notes that nothing is left of a recording that was deleted.
func (s *Store) RecordingErased(ctx context.Context, sid string) error {
	return s.mark(ctx, nil, "UPDATE recordings SET unfinished = 0, blob_key = '' WHERE sid = ? AND status = 'deleted'", sid)
}

// UnfinishedRecordings lists those behind a SID with which there is work: they run, are on their way to where they are
// kept, or are to be erased. A server that is alone on its database has those of every node: a container's name
// changes with each start.
func (s *Store) UnfinishedRecordings(ctx context.Context, after string, limit int) ([]*call.Recording, error) {
	return s.recordings(ctx, "SELECT "+recordingAll+" FROM recordings WHERE unfinished = 1 AND sid > ? ORDER BY sid LIMIT ?", after, limit)
}

// OldRecordings lists settled recordings that were made before then.
func (s *Store) OldRecordings(ctx context.Context, before time.Time, limit int) ([]*call.Recording, error) {
	return s.recordings(ctx, "SELECT "+recordingAll+" FROM recordings WHERE sid < ? AND status IN ('completed', 'absent') ORDER BY sid LIMIT ?",
		firstID("RE", before), limit)
}

// ForgetRecordings removes the rows of at most limit recordings that were deleted before then, and returns how many.
func (s *Store) ForgetRecordings(ctx context.Context, before time.Time, limit int) (int64, error) {
	var n int64 // the writer's until it has answered
	err := s.w.api(ctx, &job{run: func(b *batch) (err error) {
		n, err = b.exec("DELETE FROM recordings WHERE sid IN (SELECT sid FROM recordings WHERE sid < ? AND status = 'deleted' "+
			"AND unfinished = 0 AND date_updated < ? ORDER BY sid LIMIT ?)", firstID("RE", before), micros(before), limit)
		return err
	}})
	if err != nil {
		return 0, err
	}
	return n, nil
}

func (s *Store) recordings(ctx context.Context, query string, args ...any) ([]*call.Recording, error) {
	var list []*call.Recording
	err := s.query(ctx, func(row scanner) error {
		r, err := scanRecording(row)
		list = append(list, r)
		return err
	}, query, args...)
	return list, err
}

// Node is the name of this node.
func (s *Store) Node() string { return s.cfg.Node }
