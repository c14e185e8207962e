package store

import (
	"strings"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/clock"
	"github.com/offhook/offhook/internal/twilio"
)

func TestCallbacksDeliveredLongAgoAreRemoved(t *testing.T) {
	s := openTest(t, Config{})
	now := clock.System.Now()
	c := doubtful(call.Queued)
	var ch call.Change
	kinds := [...]struct {
		age  time.Duration
		hook string
		mark func(id string) error
		stay bool
	}{
		{31 * 24 * time.Hour, "", func(id string) error { return s.Delivered(t.Context(), id) }, false},
		{31 * 24 * time.Hour, "", func(id string) error { return s.Dead(t.Context(), id, "gone") }, true},
		{31 * 24 * time.Hour, "WH1", func(id string) error { return s.Dead(t.Context(), id, "gone") }, false},
		{31 * 24 * time.Hour, "WH1", func(string) error { return nil }, true}, // still due
		{29 * 24 * time.Hour, "WH1", func(id string) error { return s.Dead(t.Context(), id, "gone") }, true},
		{31 * 24 * time.Hour, "", func(string) error { return nil }, true}, // still due
		{29 * 24 * time.Hour, "", func(id string) error { return s.Delivered(t.Context(), id) }, true},
	}
	for range 100 { // more than a batch of each
		for _, kind := range kinds {
			ch.Callbacks = append(ch.Callbacks, call.Callback{
				ID: twilio.NewSIDAt("EV", now.Add(-kind.age)), CallSID: c.SID, AccountSID: c.AccountSID, Seq: len(ch.Callbacks),
				Method: "POST", URL: "http://app/", CreatedAt: now, WebhookSID: kind.hook,
			})
		}
	}
	if err := s.CreateCall(t.Context(), c, ch); err != nil {
		t.Fatal(err)
	}
	for i, cb := range ch.Callbacks {
		if err := kinds[i%len(kinds)].mark(cb.ID); err != nil {
			t.Fatal(err)
		}
	}
	n, err := s.sweep(t.Context(), now, 0)
	if err != nil || n != 200 {
		t.Errorf("removed %d, %v; want 200", n, err)
	}
	left := map[string]bool{}
	err = s.query(t.Context(), func(r scanner) error {
		var id string
		err := r.Scan(&id)
		left[id] = true
		return err
	}, "SELECT id FROM outbox")
	if err != nil {
		t.Fatal(err)
	}
	for i, cb := range ch.Callbacks {
		if kind := kinds[i%len(kinds)]; left[cb.ID] != kind.stay {
			t.Errorf("callback %d, %v old: is there %v, want %v", i, kind.age, left[cb.ID], kind.stay)
		}
	}
	for query, want := range map[string]string{
		oldCallbacks: "sqlite_autoindex_outbox_1 (id>? AND id<?)", deleteDone: "sqlite_autoindex_outbox_1 (id=?)",
		oldEvents:           "sqlite_autoindex_events_1 ((call_sid,seq)>(?,?) AND call_sid<?)",
		deleteEvents:        "sqlite_autoindex_events_1 ((call_sid,seq)>(?,?) AND (call_sid,seq)<(?,?))",
		oldRequests:         "sqlite_autoindex_requests_1 ((call_sid,time,id)>(?,?,?) AND call_sid<?)",
		deleteRequests:      "sqlite_autoindex_requests_1 ((call_sid,time,id)>(?,?,?) AND (call_sid,time,id)<(?,?,?))",
		deleteNotifications: "notifications_age (time<?)", deleteIdempotency: "idempotency_age (created_at<?)",
		requestsBehind: "sqlite_autoindex_requests_1 (call_sid=? AND (time,id)>(?,?))",
		callsThere:     "sqlite_autoindex_calls_1 (sid=?)",
	} {
		if plan := explain(t, s, query, make([]any, strings.Count(query, "?"))...); !strings.Contains(plan, want) || strings.Contains(plan, "TEMP") {
			t.Errorf("%s: %s", query, plan)
		}
	}
}
