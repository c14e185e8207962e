package store_test

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/store"
	"github.com/offhook/offhook/internal/twilio"
)

// request is the nth of a call.
func request(c *call.Call, n int, at time.Time) call.Request {
	return call.Request{
		ID: twilio.NewSIDAt("EV", at), CallSID: c.SID, Time: at.Add(time.Duration(n) * time.Second), Method: "POST",
		URL: fmt.Sprint("https://app.example/", n), Params: "Digits=1234", Status: 200, ContentType: "text/xml", Length: 11,
		Body: "<Response/>", Duration: 1500 * time.Microsecond,
	}
}

func targets(list []call.Request) string {
	var got []string
	for _, r := range list {
		got = append(got, strings.TrimPrefix(r.URL, "https://app.example/"))
	}
	return strings.Join(got, " ")
}

func testRequests(t *testing.T, b backend) {
	s := open(t, b.address(t))
	c, other := newCall(morning), newCall(morning)
	must(t, s.CreateCall(t.Context(), c, call.Change{}))
	must(t, s.CreateCall(t.Context(), other, call.Change{}))
	first := request(c, 0, morning)
	s.AddRequest(first)
	for n := 1; n < 150; n++ { // more than two writes
		s.AddRequest(request(c, n, morning))
	}
	unanswered := request(other, 0, morning)
	unanswered.Status, unanswered.ContentType, unanswered.Length, unanswered.Body = 0, "", 0, ""
	s.AddRequest(unanswered)
	page := func(c *call.Call, limit, offset int, at twilio.PageToken, want string, wantMore bool) []call.Request {
		t.Helper()
		list, more, err := s.Requests(t.Context(), c.SID, limit, offset, at)
		must(t, err)
		if targets(list) != want || more != wantMore {
			t.Errorf("%s more %v, want %s %v", targets(list), more, want, wantMore)
		}
		return list
	}
	list := page(c, 3, 0, twilio.PageToken{}, "0 1 2", true)
	if diff := cmp.Diff(first, list[0]); diff != "" {
		t.Errorf("added (-) and read (+):\n%s", diff)
	}
	list = page(c, 2, 0, list[2].PageToken(), "3 4", true)
	page(c, 2, 0, before(list[0].PageToken()), "1 2", true)
	list = page(c, 2, 148, twilio.PageToken{}, "148 149", false)
	page(c, 2, 0, list[1].PageToken(), "", false)
	page(c, 2, 0, before(list[0].PageToken()), "146 147", true)
	list = page(other, 10, 0, twilio.PageToken{}, "0", false)
	if diff := cmp.Diff([]call.Request{unanswered}, list); diff != "" {
		t.Errorf("added (-) and read (+):\n%s", diff)
	}

	end(t, s, c, call.Canceled, morning)
	must(t, s.DeleteCall(t.Context(), account, c.SID))
	s.AddRequest(request(c, 200, morning)) // of a callback that was still owed
	page(c, 10, 0, twilio.PageToken{}, "", false)
	page(other, 10, 0, twilio.PageToken{}, "0", false)
}

// What was promised is kept, but once that is done nothing is left of what was said.
func testDeleteForgetsBodies(t *testing.T, b backend) {
	s := open(t, b.address(t))
	c := newCall(morning)
	must(t, s.CreateCall(t.Context(), c, call.Change{}))
	end(t, s, c, call.Canceled, morning)
	var ch call.Change
	for _, id := range []string{"delivered", "dead"} {
		cb := callback(id, c, 0, "https://app.example/", morning)
		cb.Params = url.Values{"Digits": {"1234"}}
		ch.Callbacks = append(ch.Callbacks, cb)
	}
	r := newRecording(s, c.SID, morning)
	must(t, s.SaveRecording(t.Context(), r, "", ch))
	must(t, s.DeleteCall(t.Context(), account, c.SID))
	if due, err := s.Due(t.Context(), morning.Add(time.Hour), 10); err != nil || len(due) != 2 || due[0].Params.Get("Digits") != "1234" {
		t.Fatalf("owed: %v %v", due, err)
	}
	must(t, s.Delivered(t.Context(), "delivered"))
	must(t, s.Dead(t.Context(), "dead", "gone"))
	if dead, err := s.DeadLetters(t.Context(), account, 10); err != nil || len(dead) != 0 {
		t.Errorf("given up, of a call that is gone: %v %v", dead, err)
	}
	if text := s.Said(t); strings.Contains(text, "1234") {
		t.Errorf("it is still there: %s", text)
	}
	if err := second(s.Recording(t.Context(), account, r.SID)); err != nil {
		t.Errorf("its recording: %v", err)
	}
}

func testRetention(t *testing.T, b backend) {
	s, err := store.Open(t.Context(), store.Config{DSN: b.address(t), Keep: 24 * time.Hour})
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	now := morning.Add(1000 * time.Hour)
	type kept struct{ events, requests, notifications int }
	look := func(c *call.Call) (k kept) {
		t.Helper()
		events, err := s.Events(t.Context(), c.SID, -1)
		must(t, err)
		requests, _, err := s.Requests(t.Context(), c.SID, 1000, 0, twilio.PageToken{})
		must(t, err)
		notes, _, err := s.ListNotifications(t.Context(), call.NotificationFilter{AccountSID: account, CallSID: c.SID, Limit: 1000})
		must(t, err)
		return kept{len(events), len(requests), len(notes)}
	}
	made := func(age time.Duration, key string) *call.Call {
		at := now.Add(-age)
		c := newCall(at)
		c.SID = twilio.NewSIDAt(twilio.CallPrefix, at)
		ch := call.Change{Idempotency: call.Idempotency{Key: key, Fingerprint: "f"}}
		for i := range 100 { // more than is removed at once
			e := changeOf(c, i, "queued", "").Events[0]
			e.Time = at
			ch.Events = append(ch.Events, e)
			ch.Notifications = append(ch.Notifications, call.Notification{SID: twilio.NewSID("NO"), CallSID: c.SID, AccountSID: account, Time: at})
		}
		must(t, s.CreateCall(t.Context(), c, ch))
		for range 100 {
			s.AddRequest(request(c, 0, at)) // of the same moment
		}
		if k := look(c); k != (kept{100, 100, 100}) {
			t.Errorf("of a new call: %+v", k)
		}
		return c
	}
	old, older, fresh := made(25*time.Hour, "a"), made(26*time.Hour, "b"), made(23*time.Hour, "c")
	// Of an old call that went on for long: what it did lately.
	long := newCall(now)
	long.SID = twilio.NewSIDAt(twilio.CallPrefix, now.Add(-30*time.Hour))
	late := changeOf(long, 0, "completed", "")
	late.Events[0].Time = now
	must(t, s.CreateCall(t.Context(), long, late))

	n, err := s.Sweep(t.Context(), now)
	if err != nil || n != 2*300+2 {
		t.Errorf("removed %d, %v; want 602", n, err)
	}
	for _, c := range []*call.Call{old, older} {
		if k := look(c); k != (kept{}) {
			t.Errorf("of an old call: %+v", k)
		}
		if err := second(s.Call(t.Context(), account, c.SID)); err != nil {
			t.Errorf("an old call itself: %v", err)
		}
	}
	if k := look(fresh); k != (kept{100, 100, 100}) {
		t.Errorf("of a call that is not old: %+v", k)
	}
	if k := look(long); k != (kept{events: 1}) {
		t.Errorf("of a long call: %+v", k)
	}
	again := newCall(now.Add(-23 * time.Hour))
	var repeated *call.RepeatedError
	err = s.CreateCall(t.Context(), again, call.Change{Idempotency: call.Idempotency{Key: "c", Fingerprint: "f"}})
	if !errors.As(err, &repeated) || repeated.CallSID != fresh.SID {
		t.Errorf("a key that still counts: %v", err)
	}
	if n, err := s.Sweep(t.Context(), now); n != 0 || err != nil {
		t.Errorf("swept again: %d, %v", n, err)
	}
}
