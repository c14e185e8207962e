package session

import (
	"errors"
	"testing"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/clock"
	"github.com/offhook/offhook/internal/twilio"
)

// sub makes a subaccount of the world's account, and the calls that follow are its.
func (w *world) sub() *call.Account {
	w.t.Helper()
	parent, err := w.store.Account(w.t.Context(), w.account.SID)
	if err != nil {
		w.t.Fatal(err)
	}
	a, err := call.NewSubaccount(parent, "shop", clock.System.Now())
	if err == nil {
		err = w.store.CreateAccount(w.t.Context(), a)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.account = a
	return a
}

func (w *world) becomes(a *call.Account, status call.AccountStatus) {
	w.t.Helper()
	was := a.Status
	a.Status = status
	if err := w.store.UpdateAccount(w.t.Context(), a, was); err != nil {
		w.t.Fatal(err)
	}
}

// A suspended account's calls go on, but those that wait are not dialled, and nobody reaches its numbers.
func TestSuspendedAccountMakesAndTakesNoCall(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.SimulatorLimits.MaxCalls = 1 })
	a := w.sub()
	n := &call.Number{SID: twilio.NewSID("PN"), AccountSID: a.SID, PhoneNumber: "+15550109", VoiceURL: "http://127.0.0.1:1/", VoiceMethod: "POST"}
	if err := w.store.CreateNumber(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	talks := w.create(`<Response><Pause length="600"/></Response>`)
	leg := w.leg()
	w.comes("the INVITE", leg.invited)
	leg.events <- call.LegAnswered{}
	w.is(talks.SID, call.InProgress)
	waits := w.create(`<Response/>`)

	w.becomes(a, call.AccountSuspended)
	caller := newActor()
	w.Inbound(caller, call.InboundLeg{From: "+15550108", To: n.PhoneNumber, Source: "127.0.0.1:9"})
	w.comes("the end of the caller", caller.hungUp)
	if _, code := caller.did(); code != 403 {
		t.Errorf("the caller heard %d", code)
	}
	calls, _, err := w.store.ListCalls(t.Context(), call.Filter{AccountSID: a.SID, To: n.PhoneNumber})
	if err != nil || len(calls) != 1 {
		t.Fatal(calls, err)
	}
	if c := w.is(calls[0].SID, call.Failed); c.Cause.Code != 10001 {
		t.Errorf("inbound: %+v", c.Cause)
	}
	w.is(talks.SID, call.InProgress)
	leg.leaves()
	w.is(talks.SID, call.Completed)
	if c := w.is(waits.SID, call.Failed); c.Cause.Code != 10001 {
		t.Errorf("outbound: %+v", c.Cause)
	}
	if list, _, err := w.store.ListNotifications(t.Context(), call.NotificationFilter{AccountSID: a.SID, CallSID: waits.SID, Limit: 10}); err != nil || len(list) != 1 || list[0].Code != 10001 {
		t.Errorf("notifications: %v %v", list, err)
	}
	if len(w.stage.legs) != 0 {
		t.Error("a call of a suspended account was dialled")
	}
}

// Closing an account ends its calls and nobody else's.
func TestClosedAccountHasNoCalls(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.SimulatorLimits.MaxCalls = 3 })
	others := w.create(`<Response><Pause length="600"/></Response>`)
	leg := w.leg()
	w.comes("the INVITE", leg.invited)
	leg.events <- call.LegAnswered{}
	w.is(others.SID, call.InProgress)
	parent := w.account

	a := w.sub()
	var live []*call.Call
	for i := range 2 {
		live = append(live, w.create(`<Response><Pause length="600"/></Response>`))
		leg := w.leg()
		w.comes("the INVITE", leg.invited)
		if i == 0 {
			leg.events <- call.LegAnswered{}
			w.is(live[0].SID, call.InProgress)
		}
	}
	var waiting []*call.Call
	for range 3 {
		waiting = append(waiting, w.create(`<Response/>`))
	}
	w.becomes(a, call.AccountClosed)
	if err := w.EndCalls(t.Context(), a.SID); err != nil {
		t.Fatal(err)
	}
	if got := w.stored(live[0].SID).Status; got != call.Completed {
		t.Errorf("the answered call is %s", got)
	}
	if got := w.stored(live[1].SID).Status; got != call.Failed {
		t.Errorf("the dialled call is %s", got)
	}
	for _, c := range waiting {
		w.until("a waiting call has ended", func() bool { return w.stored(c.SID).Status.Final() }) // some were taken meanwhile
	}
	w.account = parent
	if got := w.stored(others.SID).Status; got != call.InProgress {
		t.Errorf("another account's call is %s", got)
	}
}

// Where accounts share a carrier, a trunk fits the numbers of its own account, and the server's those of all.
func TestWhatATrunkFits(t *testing.T) {
	w := newWorld(t)
	w.Operator = w.account.SID
	server := w.account
	a := w.sub()
	n := &call.Number{SID: twilio.NewSID("PN"), AccountSID: a.SID, PhoneNumber: "+15550109"}
	if err := w.store.CreateNumber(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		account, kind, number string
		want                  int
	}{
		{a.SID, call.Carrier, n.PhoneNumber, 2}, {server.SID, call.Carrier, n.PhoneNumber, 1}, {"", call.Carrier, n.PhoneNumber, 1},
		{twilio.NewSID("AC"), call.Carrier, n.PhoneNumber, 0}, {server.SID, call.Elastic, n.PhoneNumber, 0},
		{a.SID, call.Carrier, "+15550110", 0}, {server.SID, call.Carrier, "+15550110", 0},
	} {
		if got := w.Fits(&call.Trunk{AccountSID: test.account, Kind: test.kind}, test.number); got != test.want {
			t.Errorf("%+v: %d", test, got)
		}
	}
}

// In production an account calls from its own numbers and from those that were verified for it.
func TestACallFromAVerifiedNumber(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.OwnedFromOnly = true })
	for number, sid := range map[string]string{"+15550107": w.account.SID, "+15550108": twilio.NewSID("AC")} {
		c := &call.CallerID{Record: call.Record{SID: twilio.NewSID("PN"), AccountSID: sid}, PhoneNumber: number}
		if err := w.store.CallerIDs().Create(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	own := &call.Number{SID: twilio.NewSID("PN"), AccountSID: w.account.SID, PhoneNumber: "+15550150"}
	if err := w.store.CreateNumber(t.Context(), own); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		from, callerID string
		code           int
	}{
		{"+15550107", "", 0}, {own.PhoneNumber, "", 0}, {own.PhoneNumber, "+15550107", 0}, {"+15550107", own.PhoneNumber, 0},
		{"+15550108", "", 21210}, {"+15550109", "", 21210}, {"+15550109", own.PhoneNumber, 21210},
		{own.PhoneNumber, "+15550108", 21212}, {own.PhoneNumber, "+15550109", 21212},
	} {
		p := call.CreateParams{To: "+15550100", From: test.from, Options: call.Options{Twiml: `<Response/>`, CallerID: test.callerID}}
		_, err := w.Create(t.Context(), w.account.SID, p)
		var e *twilio.Error
		if got := errors.As(err, &e); got != (test.code != 0) || got && e.Code != test.code {
			t.Errorf("from %s as %q: %v, want %d", test.from, test.callerID, err, test.code)
		}
	}
}
