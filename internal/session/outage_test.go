package session

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/clock"
	"github.com/offhook/offhook/internal/twilio"
)

func away(*call.Call) error { return fmt.Errorf("disk full: %w", call.ErrUnavailable) }

func TestACallGoesOnWhileTheStoreIsAway(t *testing.T) {
	w := newWorld(t)
	c := w.create(`<Response><Say>Hello</Say><Pause length="600"/></Response>`, toldOf)
	leg := w.leg()
	w.comes("INVITE", leg.invited)
	w.store.fails(away)
	leg.events <- call.LegRinging{Code: 180}
	leg.events <- call.LegAnswered{}
	select {
	case <-leg.played: // who picked up must not wait for our disk
	case <-clock.System.NewTimer(patience).C():
		t.Fatal("silence: the document does not run")
	}
	w.store.fails(nil)
	leg.leaves()
	got := w.is(c.SID, call.Completed)
	if got.AnsweredAt.IsZero() {
		t.Error("the answer was not stored")
	}
	want := []string{"created", "queued", "ringing", "answered", "in-progress", "completed"}
	if diff := cmp.Diff(want, w.events(c.SID)); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	want = []string{"initiated", "ringing", "in-progress", "completed"}
	if diff := cmp.Diff(want, w.callbacks(c.SID)); diff != "" {
		t.Errorf("callbacks (-want +got):\n%s", diff)
	}
}

func TestTheEndOfACallIsStoredWhenTheStoreIsBack(t *testing.T) {
	w := newWorld(t)
	c := w.create(`<Response><Pause length="600"/></Response>`, toldOf)
	leg := w.leg()
	leg.events <- call.LegAnswered{}
	w.is(c.SID, call.InProgress)
	w.store.fails(away)
	leg.leaves()
	w.until("the call is over", func() bool {
		_, err := w.Update(t.Context(), w.account.SID, c.SID, call.UpdateParams{Status: call.Completed})
		return errors.Is(err, twilio.Err(21220))
	})
	w.store.fails(nil)
	w.is(c.SID, call.Completed)
	if got := w.callbacks(c.SID); !slices.Contains(got, "completed") {
		t.Errorf("callbacks %v, want completed among them", got)
	}
	w.until("the session is gone", func() bool { return w.Count() == 0 })
}

// What a call has to tell while the store is away is bounded, whatever its application does meanwhile.
func TestNotificationsAreBoundedWhileTheStoreIsAway(t *testing.T) {
	w := newWorld(t)
	c := w.create(`<Response><Pause length="600"/></Response>`)
	leg := w.leg()
	leg.events <- call.LegAnswered{}
	w.is(c.SID, call.InProgress)
	s := w.session(c.SID)
	w.store.fails(away)
	for range 3 * maxNotes {
		s.notify(&twilio.Error{Code: 12200}, nil)
		if err := s.do(t.Context(), func() error { s.flush(); return nil }); err != nil { // as the loop does by itself
			t.Fatal(err)
		}
	}
	w.store.fails(nil)
	leg.leaves()
	w.is(c.SID, call.Completed)
	list, _, err := w.store.ListNotifications(t.Context(), call.NotificationFilter{AccountSID: w.account.SID, CallSID: c.SID, Limit: 1000})
	if err != nil || len(list) != maxNotes {
		t.Errorf("%d notifications, %v; want %d", len(list), err, maxNotes)
	}
}

func TestADocumentRunsOnWhenItsRedirectCannotBeStored(t *testing.T) {
	w := newWorld(t)
	c := w.create(`<Response><Say loop="0">First</Say></Response>`)
	leg := w.leg()
	leg.events <- call.LegAnswered{}
	<-leg.played
	w.store.fails(away)
	_, err := w.Update(t.Context(), w.account.SID, c.SID, call.UpdateParams{Twiml: "<Response><Hangup/></Response>"})
	if !errors.Is(err, call.ErrUnavailable) {
		t.Errorf("redirect: %v, want that the store is away", err)
	}
	for range cap(leg.played) + 1 { // those that waited may be from before
		select {
		case <-leg.played:
		case <-clock.System.NewTimer(patience).C():
			t.Fatal("the first document was stopped")
		}
	}
	w.store.fails(nil)
	if _, err := w.Update(t.Context(), w.account.SID, c.SID, call.UpdateParams{Twiml: "<Response><Hangup/></Response>"}); err != nil {
		t.Error(err)
	}
	w.is(c.SID, call.Completed)
}

// An answer is sent only when it is stored.
func TestAnAnswerThatCannotBeStored(t *testing.T) {
	for name, err := range map[string]error{"away": call.ErrUnavailable, "taken over": call.ErrConflict} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			n := &call.Number{SID: twilio.NewSID("PN"), AccountSID: w.account.SID, PhoneNumber: "+15550199", VoiceURL: "http://127.0.0.1:1/"}
			if err := n.Validate(); err != nil {
				t.Fatal(err)
			}
			if err := w.store.CreateNumber(t.Context(), n); err != nil {
				t.Fatal(err)
			}
			w.store.fails(func(c *call.Call) error { return err })
			leg := newActor()
			w.Inbound(leg, call.InboundLeg{From: "+15550100", To: n.PhoneNumber, Source: "192.0.2.1:5060"})
			w.comes("end of the call", leg.hungUp) // its VoiceUrl fails, so that the error prompt wants to answer
			if answered, rejected := leg.did(); answered || rejected != 503 {
				t.Errorf("answered %v, rejected by %d, want 503", answered, rejected)
			}
			if name == "away" {
				w.store.fails(nil)
			}
			w.until("the session is gone", func() bool { return w.Count() == 0 })
			list, _, err := w.store.ListNotifications(t.Context(), call.NotificationFilter{AccountSID: w.account.SID, Limit: 10})
			if told := len(list) > 0; err != nil || told != (name == "away") {
				t.Errorf("notifications %v, %v; of a call that is ours all are kept", list, err)
			}
		})
	}
}

func TestACallIsDialledWhenTheStoreIsBack(t *testing.T) {
	w := newWorld(t)
	var tries atomic.Int32
	w.store.fails(func(*call.Call) error { tries.Add(1); return call.ErrUnavailable })
	c := w.create("<Response/>")
	first := w.leg()
	w.comes("end of the leg", first.hungUp)
	select {
	case <-first.invited:
		t.Error("an INVITE left that was not committed")
	default:
	}
	w.store.fails(nil)
	w.comes("INVITE", w.leg().invited)
	w.until("it is claimed", func() bool { return w.stored(c.SID).Epoch != 0 })
	if n := tries.Load(); n > 3 {
		t.Errorf("%d tries without a pause between them", n)
	}
}

func TestACallThatHangsUpRefusesChangesAtOnce(t *testing.T) {
	w := newWorld(t)
	w.stage.prepare = func(l *actor) { l.linger = true }
	c := w.create(`<Response><Pause length="600"/></Response>`)
	leg := w.leg()
	leg.events <- call.LegAnswered{}
	w.is(c.SID, call.InProgress)
	end := call.UpdateParams{Status: call.Completed}
	if got, err := w.Update(t.Context(), w.account.SID, c.SID, end); err != nil || got.Status != call.Completed {
		t.Fatalf("hang up: %v", err)
	}
	refused := make(chan error, 1)
	go func() {
		_, err := w.Update(t.Context(), w.account.SID, c.SID, end)
		refused <- err
	}()
	select {
	case err := <-refused:
		if !errors.Is(err, twilio.Err(21220)) {
			t.Errorf("second hang up: %v, want 21220", err)
		}
	case <-clock.System.NewTimer(patience).C():
		t.Error("the API waits for the other side's answer to our BYE")
		defer func() { <-refused }()
	}
	close(leg.events) // at last
}

func TestCanceledCallsDoNotUseUpThePaceOfTheirQueue(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.SimulatorLimits.CPS = 2 })
	w.create("<Response/>")
	w.leg() // the next may go half a second later
	var storm []*call.Call
	for range 100 {
		storm = append(storm, w.create("<Response/>"))
	}
	last := w.create("<Response/>", func(p *call.CreateParams) { p.To = "+15550199" })
	for _, c := range storm {
		if _, err := w.Update(t.Context(), w.account.SID, c.SID, call.UpdateParams{Status: call.Canceled}); err != nil && !errors.Is(err, twilio.Err(21220)) {
			t.Fatal(err)
		}
	}
	w.until("the call behind the canceled ones is dialled", func() bool { return w.stored(last.SID).Epoch != 0 })
}

func TestMoreCallsThanAQueueRemembersAreDialledAfterARestart(t *testing.T) {
	w := newWorld(t)
	const n = 10*lineBuffer + 50
	done := make(chan error, n)
	for range n {
		go func() {
			c := &call.Call{
				SID: twilio.NewSID("CA"), AccountSID: w.account.SID, To: "+15550100", From: "+15550101", Status: call.Queued,
				Direction: call.OutboundAPI, DateCreated: clock.System.Now(), QueueKey: queueSimulator,
				Options: call.Options{Twiml: "<Response/>"},
			}
			done <- w.store.AddCall(t.Context(), c, call.Change{})
		}()
	}
	for range n {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	w.stage.prepare = func(l *actor) {
		l.events <- call.LegEnded{Cause: call.Cause{SIPCode: 486}}
		l.over = true
		close(l.events)
	}
	if err := w.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.until("all are dialled", func() bool {
		left, err := w.store.Queued(t.Context(), call.Line{}, 1)
		if err != nil && !errors.Is(err, call.ErrUnavailable) { // claims that a busy machine did not acknowledge in time are taken back
			t.Fatal(err)
		}
		return err == nil && len(left) == 0
	})
}

// A storm of redirects leaves the last document running, and no goroutine.
func TestAStormOfRedirects(t *testing.T) {
	w := newWorld(t)
	c := w.create(`<Response><Say loop="0">First</Say></Response>`)
	leg := w.leg()
	leg.events <- call.LegAnswered{}
	w.is(c.SID, call.InProgress)
	done := make(chan error, 50)
	for i := range cap(done) {
		go func() {
			_, err := w.Update(t.Context(), w.account.SID, c.SID,
				call.UpdateParams{Twiml: fmt.Sprintf(`<Response><Pause length="%d"/></Response>`, 100+i)})
			done <- err
		}()
	}
	for range cap(done) {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	began := clock.System.Now()
	leg.leaves()
	w.is(c.SID, call.Completed)
	if d := clock.System.Now().Sub(began); d > 3*time.Second {
		t.Errorf("the end took %v", d)
	}
}

// A queue reads the store just when the queues are stopped.
func TestStoppingWhileAQueueIsRead(t *testing.T) {
	w := newWorld(t)
	stopped := make(chan struct{})
	var once sync.Once
	w.store.reads(func() {
		once.Do(func() {
			now, cancel := context.WithCancel(t.Context())
			cancel()
			go func() { w.Drain(now); close(stopped) }()
			_ = clock.Sleep(t.Context(), clock.System, 50*time.Millisecond) // it is under way
		})
	})
	w.store.fails(away) // so that the call stays queued and its queue is read again
	w.create("<Response/>")
	w.comes("stop", stopped)
}

// The end of a call that could not be made is stored as well.
func TestACallThatCannotBeMadeWhileTheStoreIsAway(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Simulator = func() string { return "" } })
	var tries atomic.Int32
	w.store.fails(func(*call.Call) error {
		if tries.Add(1) == 1 {
			return call.ErrUnavailable
		}
		return nil
	})
	c := w.create("<Response/>", toldOf)
	w.is(c.SID, call.Failed)
	if diff := cmp.Diff([]string{"created", "queued", "failed"}, w.events(c.SID)); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}
