package store

import (
	"bytes"
	"context"
	"time"

	"github.com/offhook/offhook/internal/call"
)

const (
	eventColumns        = "call_sid, seq, id, account_sid, name, time, data, pos"
	eventAccount        = 3 // places there
	eventName           = 4
	eventPos            = 7 // set by the writer
	notificationColumns = "sid, call_sid, account_sid, code, level, message, time, request_method, request_url, " +
		"request_params, response_headers, response_body"

	// eventSelect reads eventColumns. An event without data has that of the one before it: created and queued
	// are one change.
	eventSelect = "SELECT call_sid, seq, id, account_sid, name, time, pos, CASE WHEN data <> '' THEN data ELSE COALESCE((" +
		"SELECT same.data FROM events same WHERE same.call_sid = events.call_sid AND same.seq < events.seq AND same.data <> '' " +
		"ORDER BY same.seq DESC LIMIT 1), '') END FROM events WHERE "
)

// changeRows are the rows a change adds.
func changeRows(ch call.Change) []rowOf {
	rows := make([]rowOf, 0, len(ch.Events)+len(ch.Callbacks)+len(ch.Notifications)+len(ch.Detections))
	for i := range ch.Events {
		e, data := &ch.Events[i], ""
		if i == 0 || !bytes.Equal(e.Snapshot, ch.Events[i-1].Snapshot) {
			data = string(e.Snapshot)
		}
		rows = append(rows, rowOf{eventRows, []any{
			e.CallSID, int64(e.Seq), e.ID, e.AccountSID, e.Name, micros(e.Time), data, int64(0),
		}})
	}
	for i := range ch.Callbacks {
		rows = append(rows, callbackRow(&ch.Callbacks[i]))
	}
	for i := range ch.Notifications {
		rows = append(rows, notificationRow(&ch.Notifications[i]))
	}
	for i := range ch.Detections {
		rows = append(rows, detectionRow(&ch.Detections[i]))
	}
	return rows
}

// eventOf reads a row back, as it is.
func eventOf(v []any) call.Event {
	return call.Event{
		CallSID: v[0].(string), Seq: int(v[1].(int64)), ID: v[2].(string), AccountSID: v[eventAccount].(string), Name: v[eventName].(string),
		Time: time.UnixMicro(v[5].(int64)).UTC(), Snapshot: []byte(v[6].(string)), Pos: v[eventPos].(int64),
	}
}

// eventsOf reads rows back; nil when one cannot be read without those that were stored before it.
func eventsOf(rows [][]any) []call.Event {
	events := make([]call.Event, len(rows))
	for i, v := range rows {
		e := &events[i]
		*e = eventOf(v)
		switch {
		case len(e.Snapshot) > 0:
		case i > 0 && events[i-1].CallSID == e.CallSID:
			e.Snapshot = events[i-1].Snapshot
		default:
			return nil
		}
	}
	return events
}

// Events lists the events of a call behind sequence number afterSeq (-1: all), in order.
func (s *Store) Events(ctx context.Context, callSID string, afterSeq int) ([]call.Event, error) {
	return s.events(ctx, eventSelect+"call_sid = ? AND seq > ? ORDER BY seq", callSID, afterSeq)
}

// AccountEvents lists the events of an account, or of one call of it, behind position after and up to upTo, in order
// and at most limit.
func (s *Store) AccountEvents(ctx context.Context, accountSID, callSID string, after, upTo int64, limit int) ([]call.Event, error) {
	const behind = "account_sid = ? AND pos > ? AND pos <= ? "
	if callSID != "" {
		return s.events(ctx, eventSelect+"call_sid = ? AND "+behind+"ORDER BY seq LIMIT ?", callSID, accountSID, after, upTo, limit)
	}
	return s.events(ctx, eventSelect+behind+"ORDER BY pos LIMIT ?", accountSID, after, upTo, limit)
}

func (s *Store) events(ctx context.Context, query string, args ...any) ([]call.Event, error) {
	var list []call.Event
	err := s.query(ctx, func(r scanner) error {
		var e call.Event
		err := r.Scan(&e.CallSID, &e.Seq, &e.ID, &e.AccountSID, &e.Name, asTime{&e.Time}, &e.Pos, &e.Snapshot)
		list = append(list, e)
		return err
	}, query, args...)
	return list, err
}

func notificationRow(n *call.Notification) rowOf {
	return rowOf{notificationRows, []any{
		n.SID, n.CallSID, n.AccountSID, int64(n.Code), int64(n.Level), n.Message, micros(n.Time),
		n.RequestMethod, n.RequestURL, n.RequestParams, n.ResponseHeaders, n.ResponseBody,
	}}
}

func scanNotification(r scanner) (n call.Notification, err error) {
	err = r.Scan(&n.SID, &n.CallSID, &n.AccountSID, &n.Code, &n.Level, &n.Message, asTime{&n.Time},
		&n.RequestMethod, &n.RequestURL, &n.RequestParams, &n.ResponseHeaders, &n.ResponseBody)
	return n, err
}

// AddNotification stores an error or warning of a call, unless the call was deleted.
func (s *Store) AddNotification(ctx context.Context, n call.Notification) error {
	j := &job{}
	j.run = func(b *batch) error {
		there, err := b.any("SELECT sid FROM calls WHERE sid = ?", n.CallSID)
		if there {
			j.rows = []rowOf{notificationRow(&n)}
		}
		return err
	}
	return s.w.live(ctx, j)
}

// Notification is the notification sid of an account.
func (s *Store) Notification(ctx context.Context, accountSID, sid string) (n call.Notification, err error) {
	err = s.queryRow(ctx, func(r scanner) (err error) {
		n, err = scanNotification(r)
		return err
	}, "SELECT "+notificationColumns+" FROM notifications WHERE sid = ? AND account_sid = ?", sid, accountSID)
	return n, err
}

// ListNotifications pages as ListCalls does.
func (s *Store) ListNotifications(ctx context.Context, f call.NotificationFilter) (notifications []call.Notification, more bool, err error) {
	l := &listing{
		table: "notifications", columns: notificationColumns, order: "time", tie: "sid", limit: f.Limit, offset: f.Offset,
	}
	if at := f.Cursor; at.SID != "" {
		l.cursor, l.before = []any{at.Time, at.SID}, at.Before
	}
	l.equal("call_sid", f.CallSID)
	if f.Level != nil {
		l.where("level = ?", *f.Level)
	}
	if !f.After.IsZero() {
		l.where("time >= ?", micros(f.After))
	}
	if !f.Before.IsZero() {
		l.where("time < ?", micros(f.Before))
	}
	return list(ctx, s, l, f.AccountSID, scanNotification)
}
