package session

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/twilio"
)

// undertaker is a stage that notes which stored dialogs it is asked to end.
type undertaker struct {
	*stage
	mu    sync.Mutex
	ended []string // Call-ID, with "BYE " or "CANCEL " before it
}

func (u *undertaker) EndStored(_ context.Context, d *call.Dialog, answered bool) error {
	how := "CANCEL "
	if answered {
		how = "BYE "
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.ended = append(u.ended, how+d.CallID)
	return nil
}

// What an earlier process left is settled and told, and so is what it ended without having had the time to tell.
func TestARestartTellsEveryOtherParty(t *testing.T) {
	u := &undertaker{}
	w := newWorld(t, func(c *Config) {
		u.stage = c.Dialer.(*stage)
		c.Dialer = u
	})
	now := w.Clock.Now()
	left := func(id string, status call.Status, answered bool, ended time.Time, local bool, forks ...string) string {
		c := &call.Call{
			SID: "CA" + id, AccountSID: w.account.SID, To: "+15550100", From: "+15550101", Direction: call.OutboundAPI,
			Status: status, DateCreated: now, DateUpdated: now, DialedAt: now, EndedAt: ended,
			Epoch: 77, Owner: "the last run", Dialog: &call.Dialog{CallID: id}, Cause: call.Cause{Local: local},
		}
		if answered {
			c.AnsweredAt = now
		}
		for _, id := range forks {
			c.Dialog.Forks = append(c.Dialog.Forks, &call.Dialog{CallID: id})
		}
		if err := w.store.AddCall(t.Context(), c, call.Change{}); err != nil {
			t.Fatal(err)
		}
		return c.SID
	}
	dialled := left("dialled", call.Queued, false, time.Time{}, false)
	ringing := left("ringing", call.Ringing, false, time.Time{}, false, "other-phone")
	talking := left("talking", call.InProgress, true, time.Time{}, false)
	left("hung-up", call.Completed, true, now, true)
	left("given-up", call.NoAnswer, false, now, true)
	left("they-hung-up", call.Completed, true, now, false)
	left("long-ago", call.Completed, true, now.Add(-time.Minute), true)

	if err := w.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for sid, want := range map[string]call.Status{dialled: call.Failed, ringing: call.Failed, talking: call.Completed} {
		if got := w.stored(sid).Status; got != want {
			t.Errorf("%s is %s, want %s", sid, got, want)
		}
	}
	want := []string{"BYE hung-up", "BYE talking", "CANCEL dialled", "CANCEL given-up", "CANCEL other-phone", "CANCEL ringing"}
	w.until("the other parties were told", func() bool {
		u.mu.Lock()
		defer u.mu.Unlock()
		slices.Sort(u.ended)
		return slices.Equal(u.ended, want)
	})
}

// A call that was live when the last run died ends with the restart, however much later, but no later than it could have.
func TestNobodyPaysForTheTimeBetweenTwoRuns(t *testing.T) {
	w := newWorld(t)
	now := w.Clock.Now()
	left := func(answered time.Time, limit int) string {
		c := &call.Call{
			SID: twilio.NewSID("CA"), AccountSID: w.account.SID, To: "+15550100", From: "+15550101", Direction: call.OutboundAPI,
			Status: call.InProgress, DateCreated: answered, DateUpdated: answered, DialedAt: answered, AnsweredAt: answered,
			Epoch: 77, Owner: "the last run", Options: call.Options{TimeLimit: limit},
		}
		if err := w.store.AddCall(t.Context(), c, call.Change{}); err != nil {
			t.Fatal(err)
		}
		return c.SID
	}
	yesterday := now.Add(-24 * time.Hour)
	short, long, recent := left(yesterday, 60), left(yesterday, 0), left(now.Add(-time.Minute), 0)
	if err := w.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for sid, want := range map[string]int{short: 60, long: int(call.DefaultTimeLimit.Seconds())} {
		if seconds, ok := w.stored(sid).Duration(); !ok || seconds != want {
			t.Errorf("it took %d s, want %d", seconds, want)
		}
	}
	if c := w.stored(recent); c.EndedAt.Before(now.Truncate(time.Second)) {
		t.Errorf("it ended at %v, and the restart was at %v", c.EndedAt, now)
	}
}
