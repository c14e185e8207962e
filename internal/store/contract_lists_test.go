package store_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/twilio"
)

func testFilters(t *testing.T, b backend) {
	s := open(t, b.address(t))
	day := 24 * time.Hour
	parent := newCall(morning.Add(-30 * day))
	create(t, s, parent)
	var calls []*call.Call // newest last
	for i, status := range []call.Status{call.Queued, call.Ringing, call.InProgress, call.Completed, call.Busy, call.Failed} {
		c := newCall(morning.Add(time.Duration(i) * day))
		c.To, c.From = fmt.Sprint("+1500555100", i%2), fmt.Sprint("sip:u", i, "@x.example")
		if i == 1 {
			c.ParentSID, c.Direction = parent.SID, call.OutboundDial
		} else if i == 3 {
			c.Direction = call.TrunkingTerminating
		}
		c.Metadata = map[string]any{"n": i, "who": fmt.Sprintf(`,"n":%d,`, (i+1)%6), "vip": i == 2}
		c.AnsweredBy = []string{"", "", "human", "machine_start", "", "machine_end_beep"}[i]
		if status != call.Queued {
			c.DialedAt = c.DateCreated.Add(time.Minute)
		}
		if status.Final() {
			c.EndedAt = c.DateCreated.Add(time.Hour)
		}
		if status == call.Completed {
			c.AnsweredAt = c.DateCreated.Add(2 * time.Minute)
		}
		c.Status = status
		must(t, s.AddCall(t.Context(), c, call.Change{}))
		calls = append(calls, c)
	}
	stranger := newCall(morning)
	stranger.AccountSID = other
	create(t, s, stranger)

	at := func(i int, d time.Duration) time.Time { return calls[i].DateCreated.Add(d) }
	for _, test := range []struct {
		name string
		f    call.Filter
		want []int // newest first; -1 is parent
	}{
		{"all", call.Filter{}, []int{5, 4, 3, 2, 1, 0, -1}},
		{"To", call.Filter{To: "+15005551000"}, []int{4, 2, 0}},
		{"From", call.Filter{From: "sip:u3@x.example"}, []int{3}},
		{"From and To", call.Filter{From: "sip:u3@x.example", To: "+15005551000"}, nil},
		{"ParentSID", call.Filter{ParentSID: parent.SID}, []int{1}},
		{"Direction", call.Filter{Direction: call.OutboundDial}, []int{3, 1}},
		{"Direction, of a trunk", call.Filter{Direction: call.TrunkingTerminating}, []int{3}},
		{"AnsweredBy", call.Filter{AnsweredBy: "human"}, []int{2}},
		{"any machine", call.Filter{AnsweredBy: "machine"}, []int{5, 3}},
		{"Metadata, a number", call.Filter{Metadata: map[string]string{"n": "3"}}, []int{3}},
		{"Metadata, a boolean", call.Filter{Metadata: map[string]string{"vip": "true"}}, []int{2}},
		{"Metadata, text", call.Filter{Metadata: map[string]string{"who": `,"n":4,`, "vip": "false"}}, []int{3}},
		{"Metadata, of another case", call.Filter{Metadata: map[string]string{"N": "3"}}, nil},
		{"live statuses", call.Filter{Statuses: []call.Status{call.Queued, call.Ringing}}, []int{1, 0, -1}},
		{"final statuses", call.Filter{Statuses: []call.Status{call.Busy, call.Failed}}, []int{5, 4}},
		{"mixed statuses", call.Filter{Statuses: []call.Status{call.Completed, call.InProgress}}, []int{3, 2}},
		{"StartAfter is inclusive", call.Filter{StartAfter: at(4, time.Minute)}, []int{5, 4}},
		{"StartBefore is exclusive", call.Filter{StartBefore: at(3, 2*time.Minute)}, []int{2, 1}},
		{"start is the answer", call.Filter{StartAfter: at(3, 2*time.Minute), StartBefore: at(4, 0)}, []int{3}},
		{"EndAfter", call.Filter{EndAfter: at(4, time.Hour)}, []int{5, 4}},
		{"EndBefore", call.Filter{EndBefore: at(4, time.Hour)}, []int{3}},
		{"another account", call.Filter{AccountSID: "AC3"}, nil},
	} {
		f := test.f
		if f.AccountSID == "" {
			f.AccountSID = account
		}
		got, more, err := s.ListCalls(t.Context(), f)
		must(t, err)
		var want []*call.Call
		for _, i := range test.want {
			if i < 0 {
				want = append(want, parent)
			} else {
				want = append(want, calls[i])
			}
		}
		if sids(got) != sids(want) || more {
			t.Errorf("%s: %s (more %v), want %s", test.name, sids(got), more, sids(want))
		}
	}
}

func testPages(t *testing.T, b backend) {
	s := open(t, b.address(t))
	var all []*call.Call // newest first
	for i := range 7 {
		at := morning
		if i > 3 { // the first four were made in the same microsecond
			at = at.Add(time.Duration(i) * time.Second)
		}
		all = append(all, create(t, s, newCall(at)))
	}
	slices.Reverse(all)
	foreign := newCall(morning)
	foreign.AccountSID = other
	create(t, s, foreign)

	for _, test := range []struct {
		name string
		f    call.Filter
		want []*call.Call
		more bool
	}{
		{"first page", call.Filter{Limit: 3}, all[:3], true},
		{"second page", call.Filter{Limit: 3, Cursor: all[2].PageToken()}, all[3:6], true},
		{"last page", call.Filter{Limit: 3, Cursor: all[5].PageToken()}, all[6:], false},
		{"exactly the rest", call.Filter{Limit: 4, Cursor: all[2].PageToken()}, all[3:], false},
		{"behind the end", call.Filter{Limit: 3, Cursor: all[6].PageToken()}, nil, false},
		{"back to the middle", call.Filter{Limit: 2, Cursor: before(all[4].PageToken())}, all[2:4], true},
		{"back to the start", call.Filter{Limit: 3, Cursor: before(all[3].PageToken())}, all[:3], false},
		{"offset", call.Filter{Limit: 2, Offset: 4}, all[4:6], true},
		{"offset behind the end", call.Filter{Limit: 2, Offset: 40}, nil, false},
		{"another account's place is one in time", call.Filter{Limit: 2, Cursor: foreign.PageToken()}, all[3:5], true},
		{"with a filter", call.Filter{Limit: 2, To: all[0].To, Cursor: all[3].PageToken()}, all[4:6], true},
	} {
		test.f.AccountSID = account
		got, more, err := s.ListCalls(t.Context(), test.f)
		must(t, err)
		if sids(got) != sids(test.want) || more != test.more {
			t.Errorf("%s: %s (more %v), want %s (%v)", test.name, sids(got), more, sids(test.want), test.more)
		}
	}

	// Paging goes on behind and ahead of a call that was deleted meanwhile, also among those of one microsecond.
	gone := all[4].PageToken()
	end(t, s, all[4], call.Canceled, morning)
	must(t, s.DeleteCall(t.Context(), account, all[4].SID))
	for want, f := range map[string]call.Filter{
		sids(all[5:]):  {Cursor: gone},
		sids(all[2:4]): {Cursor: before(gone), Limit: 2},
	} {
		f.AccountSID = account
		got, _, err := s.ListCalls(t.Context(), f)
		must(t, err)
		if sids(got) != want {
			t.Errorf("around a deleted call: %s, want %s", sids(got), want)
		}
	}
}

// before is the place ahead of an item instead of behind it.
func before(p twilio.PageToken) twilio.PageToken {
	p.Before = true
	return p
}

func testNotifications(t *testing.T, b backend) {
	s := open(t, b.address(t))
	calls := []*call.Call{newCall(morning), newCall(morning)}
	for _, c := range calls {
		must(t, s.CreateCall(t.Context(), c, call.Change{}))
	}
	add := func(i int) {
		must(t, s.AddNotification(t.Context(), call.Notification{
			SID: fmt.Sprint("NO", i), CallSID: calls[i%2].SID, AccountSID: account, Code: 11200 + i, Level: i / 2,
			Message: "it\x00 broke", Time: morning.Add(time.Duration(i) * time.Hour), RequestMethod: "POST",
			RequestURL: "https://app.example/", RequestParams: "a=b", ResponseHeaders: "A: b", ResponseBody: "<x\xff/>",
		}))
	}
	for i := range 4 {
		add(i)
	}
	warning, second1 := call.LevelWarning, calls[1].SID
	page := func(f call.NotificationFilter, want string, wantMore bool) (list []call.Notification) {
		t.Helper()
		list, more, err := s.ListNotifications(t.Context(), f)
		must(t, err)
		got := ""
		for _, n := range list {
			got += n.SID + " "
		}
		if got != want || more != wantMore {
			t.Errorf("%+v: %s more %v, want %s %v", f, got, more, want, wantMore)
		}
		return list
	}
	page(call.NotificationFilter{AccountSID: account, CallSID: second1}, "NO3 NO1 ", false)
	page(call.NotificationFilter{AccountSID: other}, "", false)
	page(call.NotificationFilter{AccountSID: other, CallSID: second1}, "", false)
	page(call.NotificationFilter{AccountSID: account, Level: &warning}, "NO3 NO2 ", false)
	page(call.NotificationFilter{AccountSID: account, After: morning.Add(time.Hour), Before: morning.Add(3 * time.Hour)}, "NO2 NO1 ", false)
	first := page(call.NotificationFilter{AccountSID: account, Limit: 2}, "NO3 NO2 ", true)
	page(call.NotificationFilter{AccountSID: account, Limit: 2, Offset: 2}, "NO1 NO0 ", false)
	next := page(call.NotificationFilter{AccountSID: account, Limit: 2, Cursor: first[1].PageToken()}, "NO1 NO0 ", false)
	page(call.NotificationFilter{AccountSID: account, Limit: 1, Cursor: before(next[0].PageToken())}, "NO2 ", true)
	got, err := s.Notification(t.Context(), account, "NO3")
	must(t, err)
	want := call.Notification{
		SID: "NO3", CallSID: second1, AccountSID: account, Code: 11203, Level: 1, Message: "it\ufffd broke",
		Time: morning.Add(3 * time.Hour), RequestMethod: "POST", RequestURL: "https://app.example/", RequestParams: "a=b",
		ResponseHeaders: "A: b", ResponseBody: "<x\ufffd/>",
	}
	if got != want {
		t.Errorf("read %+v\nwant %+v", got, want)
	}
	if err := second(s.Notification(t.Context(), other, "NO3")); !errors.Is(err, call.ErrNotFound) {
		t.Errorf("of another account: %v", err)
	}
	add(4)
	calls[0].Status, calls[0].EndedAt = call.Canceled, morning
	must(t, s.CancelQueued(t.Context(), calls[0], call.Change{}))
	must(t, s.DeleteCall(t.Context(), account, calls[0].SID))
	add(6) // a callback that was still owed has failed
	page(call.NotificationFilter{AccountSID: account}, "NO3 NO1 ", false)
}
