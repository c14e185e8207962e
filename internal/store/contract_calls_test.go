package store_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/clock"
	"github.com/offhook/offhook/internal/twilio"
)

func testRoundTrip(t *testing.T, b backend) {
	s := open(t, b.address(t))
	c := newCall(morning.Add(123456 * time.Microsecond))
	c.ParentSID, c.NumberSID, c.TrunkSID, c.GroupSID = "CA1", "PN1", "TK1", "GP1"
	c.ForwardedFrom, c.CallerName, c.AnsweredBy, c.Annotation = "+15005550009", "Zoë \"Z\" ☎", "human", "a?b 'c'"
	c.Metadata = map[string]any{"order": "17", "deep": map[string]any{"n": 1.5, "list": []any{true, nil}}}
	c.Price, c.QueueTime = "0.0130", 1500*time.Millisecond
	c.Options.SIPUsername, c.Options.SIPPassword = "alice", "p?$1'ß"
	must(t, s.CreateCall(t.Context(), c, call.Change{}))
	compare := func() {
		t.Helper()
		got, err := s.Call(t.Context(), account, c.SID)
		must(t, err)
		if diff := cmp.Diff(c, got); diff != "" {
			t.Errorf("stored (-) and read (+):\n%s", diff)
		}
	}
	compare()

	c.Status, c.DateUpdated, c.DialedAt = call.Ringing, morning.Add(time.Second), morning.Add(time.Second)
	c.Dialog = &call.Dialog{
		CallID: "x@y", LocalTag: "a", RemoteTag: "b", LocalURI: "sip:a@b", RemoteURI: "sip:c@d", Target: "sip:c@1.2.3.4",
		RouteSet: []string{"<sip:p1;lr>", "<sip:p2;lr>"}, CSeq: 4000000000, Branch: "z9hG4bK1", Transport: "UDP", Dest: "1.2.3.4:5060",
	}
	c.CallbackSeq, c.EventSeq = 2, 3
	must(t, s.SaveCall(t.Context(), c, call.Queued, call.Change{}))
	if c.Epoch != s.Epoch() || c.Owner != "node-1" {
		t.Errorf("taken by %q under epoch %d, want node-1 and %d", c.Owner, c.Epoch, s.Epoch())
	}
	compare()

	c.Status, c.AnsweredAt = call.InProgress, morning.Add(2*time.Second)
	must(t, s.SaveCall(t.Context(), c, call.Ringing, call.Change{}))
	c.Status, c.EndedAt = call.Completed, morning.Add(5*time.Second)
	c.Cause = call.Cause{SIPCode: 200, Reason: "rtp timeout", Q850: 16, Code: 32014, Local: true}
	c.Dialog = nil
	must(t, s.SaveCall(t.Context(), c, call.InProgress, call.Change{}))
	compare()

	for _, who := range [][2]string{{other, c.SID}, {account, "CA0"}} {
		if _, err := s.Call(t.Context(), who[0], who[1]); !errors.Is(err, call.ErrNotFound) {
			t.Errorf("call %s of %s: %v, want not found", who[1], who[0], err)
		}
	}
}

func testUnstorableText(t *testing.T, b backend) {
	s := open(t, b.address(t))
	c := newCall(morning)
	c.CallerName, c.Options.Twiml = "a\x00b\xffc", "<Say>\x00\xff</Say>"
	create(t, s, c)
	got, err := s.Call(t.Context(), account, c.SID)
	must(t, err)
	if want := "a\ufffdb\ufffdc"; got.CallerName != want {
		t.Errorf("caller name %q, want %q", got.CallerName, want)
	}
}

func testTakenSID(t *testing.T, b backend) {
	s := open(t, b.address(t))
	c := create(t, s, newCall(morning))
	again := newCall(morning)
	again.SID = c.SID
	err := s.CreateCall(t.Context(), again, changeOf(again, 7, "queued", "https://app.example/"))
	if !errors.Is(err, call.ErrConflict) {
		t.Fatalf("second create: %v, want a conflict", err)
	}
	events, err := s.Events(t.Context(), c.SID, -1)
	must(t, err)
	if len(events) != 1 {
		t.Errorf("%d events, want the first create's one", len(events))
	}
}

func testSaveGuards(t *testing.T, b backend) {
	s := open(t, b.address(t))
	c := create(t, s, newCall(morning))
	c.Status = call.Ringing
	must(t, s.SaveCall(t.Context(), c, call.Queued, call.Change{}))
	before := c.Clone()

	c.Status = call.InProgress
	stale := c.Clone()
	stale.Epoch--
	for name, try := range map[string]func() error{
		"another status": func() error {
			return s.SaveCall(t.Context(), c, call.Queued, changeOf(c, 1, "answered", "https://app.example/"))
		},
		"another epoch": func() error { return s.SaveCall(t.Context(), stale, call.Ringing, call.Change{}) },
		"no such call":  func() error { return s.SaveCall(t.Context(), newCall(morning), call.Queued, call.Change{}) },
	} {
		if err := try(); !errors.Is(err, call.ErrConflict) {
			t.Errorf("%s: %v, want a conflict", name, err)
		}
	}
	got, err := s.Call(t.Context(), account, c.SID)
	must(t, err)
	if diff := cmp.Diff(before, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("a refused save changed the call:\n%s", diff)
	}
	if due, err := s.Due(t.Context(), morning.Add(time.Hour), 10); err != nil || len(due) != 0 {
		t.Errorf("a refused save left callbacks %v, %v", due, err)
	}
}

func testClaim(t *testing.T, b backend) {
	s := open(t, b.address(t))
	c := create(t, s, newCall(morning))
	// Ten sessions want it, one gets it.
	var wg sync.WaitGroup
	errs := make([]error, 10)
	for i := range errs {
		mine := c.Clone()
		mine.DialedAt = morning
		wg.Go(func() { errs[i] = s.SaveCall(t.Context(), mine, call.Queued, changeOf(mine, 1, "initiated", "")) })
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else if !errors.Is(err, call.ErrConflict) {
			t.Error(err)
		}
	}
	if won != 1 {
		t.Errorf("%d sessions took the call", won)
	}
}

func testCancelQueued(t *testing.T, b backend) {
	s := open(t, b.address(t))
	cancel := func(c *call.Call) error {
		c = c.Clone()
		c.Status, c.EndedAt = call.Canceled, morning
		return s.CancelQueued(t.Context(), c, changeOf(c, 1, "canceled", ""))
	}
	c := create(t, s, newCall(morning))
	must(t, cancel(c))
	got, err := s.Call(t.Context(), account, c.SID)
	must(t, err)
	if got.Status != call.Canceled || got.Epoch != 0 {
		t.Errorf("%s under epoch %d, want canceled and unowned", got.Status, got.Epoch)
	}
	if err := s.SaveCall(t.Context(), c, call.Queued, call.Change{}); !errors.Is(err, call.ErrConflict) {
		t.Errorf("dialling a canceled call: %v, want a conflict", err)
	}

	taken := create(t, s, newCall(morning))
	asSeen := taken.Clone()
	must(t, s.SaveCall(t.Context(), taken, call.Queued, call.Change{}))
	for _, c := range []*call.Call{asSeen, taken} {
		if err := cancel(c); !errors.Is(err, call.ErrConflict) {
			t.Errorf("cancel of a taken call: %v, want a conflict", err)
		}
	}
}

func testAnnotate(t *testing.T, b backend) {
	s := open(t, b.address(t))
	c := create(t, s, newCall(morning))
	spam := "spam"
	note := func(accountSID string, n call.Note) (string, map[string]any, error) {
		return s.Annotate(t.Context(), accountSID, c.SID, n)
	}
	_, _, err := note(account, call.Note{Annotation: &spam, Metadata: map[string]any{"a": "b", "n": 1}})
	must(t, err)
	must(t, s.SaveCall(t.Context(), c, call.Queued, call.Change{})) // a session that has not read it
	annotation, metadata, err := note(account, call.Note{Metadata: map[string]any{"n": nil, "ok": true}})
	must(t, err)
	got, err := s.Call(t.Context(), account, c.SID)
	must(t, err)
	want := map[string]any{"a": "b", "ok": true}
	if got.Annotation != "spam" || !maps.Equal(got.Metadata, want) || annotation != "spam" || !maps.Equal(metadata, want) {
		t.Errorf("annotation %q, metadata %v; answered %q %v", got.Annotation, got.Metadata, annotation, metadata)
	}
	if _, _, err := note(other, call.Note{Clear: true}); !errors.Is(err, call.ErrNotFound) {
		t.Errorf("of another account: %v", err)
	}
	var refused *twilio.Error
	if _, _, err := note(account, call.Note{Metadata: map[string]any{"": "x"}}); !errors.As(err, &refused) {
		t.Errorf("a key without a name: %v", err)
	}
}

// testIdempotency: a key stands for its call for a day.
func testIdempotency(t *testing.T, b backend) {
	s := open(t, b.address(t))
	make := func(at time.Time, accountSID, fingerprint string) (*call.Call, error) {
		c := newCall(at)
		c.AccountSID = accountSID
		ch := call.Change{Events: []call.Event{{CallSID: c.SID, AccountSID: accountSID, ID: "EV" + c.SID[2:], Name: "created", Time: at, Snapshot: []byte("{}")}}}
		ch.Idempotency = call.Idempotency{Key: "order 7", Fingerprint: fingerprint}
		return c, s.CreateCall(t.Context(), c, ch)
	}
	first, err := make(morning, account, "A")
	must(t, err)
	for _, fingerprint := range []string{"A", "B"} {
		again, err := make(morning.Add(23*time.Hour), account, fingerprint)
		var repeated *call.RepeatedError
		if !errors.As(err, &repeated) || repeated.CallSID != first.SID || repeated.Fingerprint != "A" {
			t.Errorf("the same key: %v", err)
		}
		if _, err := s.Call(t.Context(), account, again.SID); !errors.Is(err, call.ErrNotFound) {
			t.Errorf("the second call is there: %v", err)
		}
		if events, err := s.Events(t.Context(), again.SID, -1); err != nil || len(events) > 0 {
			t.Errorf("the second call has events: %v %v", events, err)
		}
	}
	_, err = make(morning, other, "C")
	must(t, err)
	_, err = make(morning.Add(24*time.Hour), account, "B")
	must(t, err)
}

func testEndTime(t *testing.T, b backend) {
	s := open(t, b.address(t))
	ended, live := newCall(morning), newCall(morning)
	ended.Status = call.Completed
	live.EndedAt = morning
	for _, c := range []*call.Call{ended, live} {
		if err := s.AddCall(t.Context(), c, call.Change{}); err == nil {
			t.Errorf("%s with end time %v was stored", c.Status, c.EndedAt)
		}
	}
}

func testBadJob(t *testing.T, b backend) {
	s := open(t, b.address(t))
	c := create(t, s, newCall(morning))
	// Sixty creates at once; each sixth brings an event that exists already.
	var wg sync.WaitGroup
	for i := range 60 {
		wg.Go(func() {
			n := newCall(morning)
			ch := changeOf(n, 0, "queued", "https://app.example/")
			if i%6 == 0 {
				ch.Events[0].CallSID = c.SID
			}
			err := s.CreateCall(t.Context(), n, ch)
			if bad := i%6 == 0; bad != errors.Is(err, call.ErrConflict) || !bad && err != nil {
				t.Errorf("create %d: %v", i, err)
			}
			_, err = s.Call(t.Context(), account, n.SID)
			if bad := i%6 == 0; bad != errors.Is(err, call.ErrNotFound) || !bad && err != nil {
				t.Errorf("call %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	due, err := s.Due(t.Context(), morning, 1000)
	must(t, err)
	if len(due) != 50 {
		t.Errorf("%d callbacks, want those of the 50 good creates", len(due))
	}
}

func testQueued(t *testing.T, b backend) {
	address := b.address(t)
	s := open(t, address)
	var want []*call.Call
	for i := range 6 {
		c := newCall(morning.Add(-time.Duration(i) * time.Hour)) // the clock goes back: the order of commits counts
		c.QueueKey = fmt.Sprint("TK", i%2)
		want = append(want, create(t, s, c))
	}
	must(t, s.SaveCall(t.Context(), want[1], call.Queued, call.Change{})) // taken
	end(t, s, want[3], call.Failed, morning)
	check := func(of call.Line, limit int, want ...*call.Call) {
		t.Helper()
		got, err := s.Queued(t.Context(), of, limit)
		must(t, err)
		if sids(got) != sids(want) {
			t.Errorf("line %v: %s, want %s", of, sids(got), sids(want))
		}
	}
	all := call.Line{}
	check(all, 10, want[0], want[2], want[4], want[5])
	check(all, 2, want[0], want[2])
	check(call.Line{QueueKey: "TK0", AccountSID: account}, 10, want[0], want[2], want[4])
	check(call.Line{QueueKey: "TK0", AccountSID: account}, 1, want[0])
	check(call.Line{QueueKey: "TK1", AccountSID: account}, 10, want[5])
	check(call.Line{QueueKey: "TK1", AccountSID: other}, 10)
	theirs := newCall(morning)
	theirs.AccountSID, theirs.QueueKey = other, "TK0"
	create(t, s, theirs)
	lines, err := s.QueuedLines(t.Context())
	must(t, err)
	slices.SortFunc(lines, func(a, b call.Line) int { return strings.Compare(a.QueueKey+a.AccountSID, b.QueueKey+b.AccountSID) })
	wanted := []call.Line{{QueueKey: "TK0", AccountSID: account, Calls: 3}, {QueueKey: "TK0", AccountSID: other, Calls: 1}, {QueueKey: "TK1", AccountSID: account, Calls: 1}}
	slices.SortFunc(wanted, func(a, b call.Line) int { return strings.Compare(a.QueueKey+a.AccountSID, b.QueueKey+b.AccountSID) })
	if diff := cmp.Diff(wanted, lines); diff != "" {
		t.Error(diff)
	}
	end(t, s, theirs, call.Failed, morning)
	since := func(at time.Time, limit int, want ...*call.Call) {
		t.Helper()
		got, err := s.QueuedBefore(t.Context(), at, limit)
		must(t, err)
		if sids(got) != sids(want) {
			t.Errorf("before %v: %s, want %s", at, sids(got), sids(want))
		}
	}
	now := clock.System.Now()
	since(now.Add(-time.Hour), 10)
	since(now.Add(time.Hour), 10, want[0], want[2], want[4], want[5])
	since(now.Add(time.Hour), 1, want[0])

	must(t, s.Close())
	s = open(t, address)
	last := create(t, s, newCall(morning))
	check(all, 10, want[0], want[2], want[4], want[5], last)
}

func testLive(t *testing.T, b backend) {
	address := b.address(t)
	s := open(t, address)
	create(t, s, newCall(morning)) // waits
	ringing := create(t, s, newCall(morning))
	ringing.Status = call.Ringing
	must(t, s.SaveCall(t.Context(), ringing, call.Queued, call.Change{}))
	inbound := newCall(morning)
	inbound.Direction, inbound.Status, inbound.Epoch, inbound.Owner = call.Inbound, call.Ringing, s.Epoch(), "node-1"
	must(t, s.AddCall(t.Context(), inbound, call.Change{}))
	ended := create(t, s, newCall(morning))
	end(t, s, ended, call.Busy, morning)

	must(t, s.Close())
	s = open(t, address)
	live, err := s.Live(t.Context())
	must(t, err)
	if got, want := sids(live), sids([]*call.Call{ringing, inbound}); got != want {
		t.Fatalf("live: %s, want %s", got, want)
	}
	for _, c := range live { // what a restart does: the dead owner's epoch still guards
		end(t, s, c, call.Failed, morning)
	}
	if live, err = s.Live(t.Context()); err != nil || len(live) != 0 {
		t.Errorf("still live: %s %v", sids(live), err)
	}
}

func testJustEnded(t *testing.T, b backend) {
	s := open(t, b.address(t))
	must(t, s.PutAccount(t.Context(), &call.Account{SID: account, AuthToken: "token", DateCreated: morning}))
	check := func(limit int, want ...*call.Call) {
		t.Helper()
		got, err := s.JustEnded(t.Context(), time.Second, limit)
		must(t, err)
		if sids(got) != sids(want) {
			t.Errorf("just ended: %s, want %s", sids(got), sids(want))
		}
	}
	check(10)
	create(t, s, newCall(morning)) // waits
	var calls []*call.Call
	for i := range 4 {
		c := create(t, s, newCall(morning))
		end(t, s, c, call.Failed, morning.Add(time.Duration(i)*600*time.Millisecond))
		calls = append(calls, c)
	}
	check(10, calls[3], calls[2])
	check(1, calls[3])
}

func testDelete(t *testing.T, b backend) {
	s := open(t, b.address(t))
	c := newCall(morning)
	ch := changeOf(c, 0, "queued", "https://app.example/")
	ch.Notifications = []call.Notification{{SID: "NO1", CallSID: c.SID, AccountSID: account, Code: 11200, Time: morning}}
	must(t, s.CreateCall(t.Context(), c, ch))
	keep := newCall(morning)
	must(t, s.CreateCall(t.Context(), keep, changeOf(keep, 0, "queued", "https://app.example/")))

	if err := s.DeleteCall(t.Context(), account, c.SID); !errors.Is(err, call.ErrLive) {
		t.Errorf("delete of a live call: %v", err)
	}
	end(t, s, c, call.Canceled, morning)
	if err := s.DeleteCall(t.Context(), other, c.SID); !errors.Is(err, call.ErrNotFound) {
		t.Errorf("delete by another account: %v", err)
	}
	must(t, s.DeleteCall(t.Context(), account, c.SID))
	if err := s.DeleteCall(t.Context(), account, c.SID); !errors.Is(err, call.ErrNotFound) {
		t.Errorf("second delete: %v", err)
	}
	if events, err := s.Events(t.Context(), c.SID, -1); err != nil || len(events) != 0 {
		t.Errorf("events stayed: %v %v", events, err)
	}
	if notes, _, err := s.ListNotifications(t.Context(), call.NotificationFilter{AccountSID: account}); err != nil || len(notes) != 0 {
		t.Errorf("notifications stayed: %v %v", notes, err)
	}
	due, err := s.Due(t.Context(), morning, 10)
	must(t, err)
	if len(due) != 2 {
		t.Errorf("callbacks: %v, want that of the other call, and the one still owed for the deleted call", due)
	}
}

func testEvents(t *testing.T, b backend) {
	s := open(t, b.address(t))
	c := newCall(morning)
	var want []call.Event
	ch := call.Change{}
	for i, name := range []string{"created", "queued"} {
		ch.Events = append(ch.Events, changeOf(c, i, name, "").Events...)
	}
	want = append(want, ch.Events...)
	must(t, s.CreateCall(t.Context(), c, ch))
	ch = changeOf(c, 2, "initiated", "")
	want = append(want, ch.Events...)
	must(t, s.SaveCall(t.Context(), c, call.Queued, ch))

	got, err := s.Events(t.Context(), c.SID, -1)
	must(t, err)
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(call.Event{}, "Pos")); diff != "" {
		t.Error(diff)
	}
	if got, err = s.Events(t.Context(), c.SID, 0); err != nil || len(got) != 2 || string(got[0].Snapshot) != string(want[1].Snapshot) {
		t.Errorf("behind 0: %v %v", got, err)
	}
	if got, err = s.Events(t.Context(), c.SID, 1); err != nil || len(got) != 1 || got[0].Name != "initiated" {
		t.Errorf("behind 1: %v %v", got, err)
	}
	// The same event again: nothing of the save is kept.
	c.Status = call.Ringing
	if err := s.SaveCall(t.Context(), c, call.Queued, ch); !errors.Is(err, call.ErrConflict) {
		t.Errorf("event sequence used twice: %v", err)
	}
	if got, err := s.Call(t.Context(), account, c.SID); err != nil || got.Status != call.Queued {
		t.Errorf("call %v %v, want it queued", got, err)
	}
}
