package store_test

import (
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/offhook/offhook/internal/bus"
	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/store"
)

func openWith(t testing.TB, address string, events store.Feed) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), store.Config{DSN: address, Node: "node-1", Feed: events})
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	return s
}

// lives makes calls from several goroutines at once, each with five events in three commits.
func lives(t testing.TB, s *store.Store, writers, each int) {
	t.Helper()
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for i := range each {
				c := newCall(morning)
				if i%10 == 9 {
					c.AccountSID = other
				}
				ch := changeOf(c, 0, "created", "")
				ch.Events = append(ch.Events, changeOf(c, 1, "queued", "").Events...)
				if err := s.CreateCall(t.Context(), c, ch); err != nil {
					t.Error(err)
					return
				}
				c.Status, c.AnsweredAt = call.InProgress, morning
				ch = changeOf(c, 2, "answered", "")
				ch.Events = append(ch.Events, changeOf(c, 3, "in-progress", "").Events...)
				if err := s.SaveCall(t.Context(), c, call.Queued, ch); err != nil {
					t.Error(err)
				}
				c.Status, c.EndedAt = call.Completed, morning
				if err := s.SaveCall(t.Context(), c, call.InProgress, changeOf(c, 4, "completed", "")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// follow reads n events of an account as a stream does: from memory, and from the store what is not there.
func follow(t *testing.T, s *store.Store, f *bus.Follower, at int64, n int, slow func()) (list []call.Event) {
	for len(list) < n && t.Context().Err() == nil {
		events, upTo, more, ok := f.Next(at)
		if !ok {
			page, err := s.AccountEvents(t.Context(), account, "", at, upTo, 100)
			if err != nil {
				t.Error(err)
				return list
			}
			list = append(list, page...)
			if at = upTo; len(page) == 100 {
				at = page[99].Pos
			}
			continue
		}
		for _, e := range events {
			list = append(list, e.Event)
		}
		if at = upTo; len(events) == 0 {
			<-more
		}
		slow()
	}
	return list
}

// inOrder checks that each call's events are all there, without a gap, and that positions grow.
func inOrder(t *testing.T, list []call.Event) {
	t.Helper()
	next, last := map[string]int{}, int64(0)
	for _, e := range list {
		if e.AccountSID != account || e.Seq != next[e.CallSID] || e.Pos <= last {
			t.Fatalf("event %d of %s at %d, of %s; want its event %d behind %d", e.Seq, e.CallSID, e.Pos, e.AccountSID, next[e.CallSID], last)
		}
		if len(e.Snapshot) == 0 {
			t.Fatalf("event %d of %s has no data", e.Seq, e.CallSID)
		}
		next[e.CallSID]++
		last = e.Pos
	}
	for sid, n := range next {
		if n != 5 {
			t.Errorf("%d events of %s", n, sid)
		}
	}
}

func testAccountEvents(t *testing.T, b backend) {
	const writers, each = 8, 50
	const want = writers * (each - each/10) * 5 // the other account's are not told
	address := b.address(t)
	feed := bus.New()
	s := openWith(t, address, feed)
	var followers sync.WaitGroup
	lists := make([][]call.Event, 3)
	for i := range lists {
		f, err := feed.Follow(account)
		must(t, err)
		defer f.Close()
		followers.Go(func() {
			lists[i] = follow(t, s, f, f.Stored(), want, func() {
				if i == 2 { // the store has gone on meanwhile
					for range 20 {
						_ = s.Ping(t.Context())
					}
				}
			})
		})
	}
	lives(t, s, writers, each)
	followers.Wait()
	stored, err := s.AccountEvents(t.Context(), account, "", 0, 1<<62, 1e6)
	must(t, err)
	if len(stored) != want {
		t.Fatalf("%d events stored, want %d", len(stored), want)
	}
	inOrder(t, stored)
	for i, list := range lists {
		if d := cmp.Diff(stored, list); d != "" {
			t.Errorf("follower %d was told otherwise than stored: %s", i, d)
		}
	}
	one, err := s.AccountEvents(t.Context(), account, stored[0].CallSID, stored[0].Pos, 1<<62, 2)
	must(t, err)
	if len(one) != 2 || one[0].Seq != 1 || one[1].Seq != 2 {
		t.Errorf("behind the first event of a call: %v", one)
	}
	if one, err = s.AccountEvents(t.Context(), other, stored[0].CallSID, 0, 1<<62, 2); err != nil || len(one) > 0 {
		t.Errorf("of another account's call: %v %v", one, err)
	}

	// Behind a restart positions go on.
	last := stored[want-1].Pos
	must(t, s.Close())
	feed = bus.New()
	s = openWith(t, address, feed)
	f, err := feed.Follow(account)
	must(t, err)
	defer f.Close()
	if upTo := f.Stored(); upTo < last {
		t.Errorf("after the restart all up to %d is stored, want at least %d", upTo, last)
	}
	at := f.Stored()
	lives(t, s, 1, 1)
	if list := follow(t, s, f, at, 5, func() {}); len(list) != 5 || list[0].Pos <= last {
		t.Errorf("after the restart: %v", list)
	}
	if list := follow(t, s, f, last, 5, func() {}); len(list) != 5 {
		t.Errorf("resumed over the restart: %v", list)
	}
}

// testMigrateEvents: what was stored before positions were gets them in the order of its time, and of its call.
func testMigrateEvents(t *testing.T, b backend) {
	address, db, p := versions(t, b)
	must(t, second(p.UpTo(t.Context(), 7)))
	for _, values := range []string{
		"('CA1', 0, 'a', '" + account + "', 'created', 100, '{}')",
		"('CA1', 1, 'b', '" + account + "', 'queued', 90, '')", // the clock was set back
		"('CA2', 0, 'c', '" + account + "', 'created', 95, '{}')",
		"('CA1', 2, 'd', '" + account + "', 'canceled', 120, '{}')",
	} {
		must(t, second(db.ExecContext(t.Context(), "INSERT INTO events (call_sid, seq, id, account_sid, name, time, data) VALUES "+values)))
	}
	must(t, second(p.Up(t.Context())))
	s := open(t, address)
	list, err := s.AccountEvents(t.Context(), account, "", 0, 1<<62, 10)
	must(t, err)
	var ids []string
	for i, e := range list {
		ids = append(ids, e.ID)
		if e.Pos != int64(i+1) {
			t.Errorf("%s is at %d, want %d", e.ID, e.Pos, i+1)
		}
	}
	if !slices.Equal(ids, []string{"c", "a", "b", "d"}) {
		t.Errorf("%v", ids)
	}
	must(t, s.Close())
	must(t, second(p.DownTo(t.Context(), 7)))
	must(t, second(p.Up(t.Context())))
}

// testOwed: what is owed to webhooks is stored with the event, or not at all.
func testOwed(t *testing.T, b backend) {
	due := 0
	s, err := store.Open(t.Context(), store.Config{DSN: b.address(t), Node: "node-1", Due: func() { due++ }})
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	hooks := s.Webhooks()
	hook := func(sid, of string, names ...string) *call.Webhook {
		w := &call.Webhook{URL: "https://app.example/" + sid, Events: names, Secret: "whsec_x"}
		w.Record = call.Record{SID: sid, AccountSID: of, DateCreated: morning, DateUpdated: morning}
		must(t, hooks.Create(t.Context(), w))
		return w
	}
	owed := func(w *call.Webhook) (ids []string) {
		t.Helper()
		list, _, err := s.Deliveries(t.Context(), call.ListFilter{AccountSID: w.AccountSID, Limit: 1000}, w.SID, "pending")
		must(t, err)
		for _, d := range slices.Backward(list) {
			var e struct {
				ID   string
				Data struct{ ID string }
			}
			must(t, json.Unmarshal(d.Body, &e))
			if d.URL != w.URL || e.Data.ID != d.CallSID || d.WebhookSID != w.SID {
				t.Errorf("%+v is owed to %+v", d, w)
			}
			ids = append(ids, e.ID)
		}
		return ids
	}
	lives(t, s, 1, 1) // nobody is told
	all, some, others := hook("WH1", account), hook("WH2", account, "completed"), hook("WH3", other)
	lives(t, s, 4, 10)
	stored, err := s.AccountEvents(t.Context(), account, "", 0, 1<<62, 1000)
	must(t, err)
	var want, completed []string
	for _, e := range stored[5:] {
		want = append(want, e.ID)
		if e.Name == "completed" {
			completed = append(completed, e.ID)
		}
	}
	for w, want := range map[*call.Webhook][]string{all: want, some: completed} {
		got := owed(w)
		slices.Sort(got)
		slices.Sort(want)
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", w.SID, d)
		}
	}
	if n := len(owed(others)); n != 4*5 || due == 0 {
		t.Errorf("%d events for the other account, %d times due", n, due)
	}

	// A refused write owes nothing.
	c := create(t, s, newCall(morning))
	before := len(owed(all))
	c.Status = call.InProgress
	if err := s.SaveCall(t.Context(), c, call.Ringing, changeOf(c, 1, "answered", "")); err == nil {
		t.Error("a save from another status")
	}
	if n := len(owed(all)); n != before {
		t.Errorf("%d events are owed, want %d", n, before)
	}
	// What a webhook becomes counts from then on.
	some.Events = []string{"busy"}
	must(t, hooks.Update(t.Context(), some))
	must(t, s.DeleteWebhook(t.Context(), account, all.SID))
	if err := s.DeleteWebhook(t.Context(), account, others.SID); !errors.Is(err, call.ErrNotFound) {
		t.Errorf("another account's: %v", err)
	}
	before = len(owed(some))
	lives(t, s, 1, 1)
	if n := len(owed(some)); n != before || len(owed(all)) > 0 {
		t.Errorf("%d owed, want %d; %d to a deleted one", n, before, len(owed(all)))
	}
}
