package session

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/clock"
	"github.com/offhook/offhook/internal/twilio"
)

// doorman is an Admission that does what the test says.
type doorman struct {
	shut, full atomic.Bool // for new calls, for those that wait
	asked      chan struct{}
	opened     atomic.Int32
	placed     atomic.Int32
}

func (d *doorman) Admit() bool { return !d.shut.Load() }

func (d *doorman) Room() bool {
	select {
	case d.asked <- struct{}{}:
	default:
	}
	return !d.full.Load()
}

func (d *doorman) Placed(time.Duration) { d.placed.Add(1) }
func (d *doorman) Opened(time.Duration) { d.opened.Add(1) }

func TestNoRoomForAnotherCall(t *testing.T) {
	d := &doorman{asked: make(chan struct{}, 1)}
	w := newWorld(t, func(c *Config) { c.Admission = d })
	d.full.Store(true)
	c := w.create("<Response/>")
	w.comes("question for room", d.asked)
	w.comes("another one", d.asked)
	select {
	case <-w.stage.legs:
		t.Error("dialled without room")
	default:
	}
	d.full.Store(false)
	w.comes("INVITE", w.leg().invited)
	w.until("the room of the call is free", func() bool { return d.placed.Load() == 1 })

	d.shut.Store(true)
	p := call.CreateParams{To: "+15550100", From: "+15550101", Options: call.Options{Twiml: "<Response/>"}}
	_, err := w.Create(t.Context(), w.account.SID, p)
	var refusal *twilio.Error
	if !errors.As(err, &refusal) || refusal.Code != 20503 || refusal.Status != 503 {
		t.Errorf("%v, want 20503", err)
	}
	if n := d.opened.Load(); n != 1 {
		t.Errorf("%d calls counted as taken, want 1", n)
	}
	w.is(c.SID, call.Queued)
}

// What the verbs have to tell does not wait for the store, and is stored with the call's next change at the latest.
func TestErrorsAreNotedWhileTheStoreHangs(t *testing.T) {
	w := newWorld(t)
	c := w.create(`<Response><Pause length="600"/></Response>`)
	leg := w.leg()
	leg.events <- call.LegAnswered{}
	w.is(c.SID, call.InProgress)
	s := w.session(c.SID)

	hangs, again := make(chan struct{}), make(chan struct{})
	var once sync.Once
	w.store.fails(func(*call.Call) error {
		once.Do(func() { close(hangs) })
		<-again
		return nil
	})
	told := make(chan struct{})
	go func() {
		defer close(told)
		s.notify(&twilio.Error{Code: 12200, Message: "first"}, nil)
		<-hangs
		for range 2 * maxNotes {
			s.notify(&twilio.Error{Code: 12200, Message: "more"}, nil)
		}
	}()
	w.comes("end of the verbs' notes", told)
	close(again)
	w.until("all is stored that there was room for", func() bool {
		list, _, err := w.store.ListNotifications(t.Context(), call.NotificationFilter{AccountSID: w.account.SID, CallSID: c.SID, Limit: 1000})
		if err != nil {
			t.Fatal(err)
		}
		return len(list) == maxNotes
	})
	s.notify(&twilio.Error{Code: 32014, Message: "last"}, nil)
	leg.leaves()
	w.is(c.SID, call.Completed)
	list, _, err := w.store.ListNotifications(t.Context(), call.NotificationFilter{AccountSID: w.account.SID, CallSID: c.SID, Limit: 1000})
	if err != nil || len(list) != 1+maxNotes || list[0].Code != 32014 {
		t.Errorf("%d notifications, %v", len(list), err)
	}
}

func TestACallIsCanceledWhileItsNameIsLookedUp(t *testing.T) {
	w := newWorld(t)
	looking, found := make(chan struct{}), make(chan struct{})
	w.stage.prepare = func(*actor) { close(looking); <-found }
	c := w.create("<Response/>", toldOf)
	w.comes("look-up", looking)
	release := sync.OnceFunc(func() { close(found) })
	defer release()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	began := clock.System.Now()
	got, err := w.Update(ctx, w.account.SID, c.SID, call.UpdateParams{Status: call.Canceled})
	if err != nil || got.Status != call.Canceled {
		t.Fatalf("cancel: %v", err)
	}
	if d := clock.System.Now().Sub(began); d > 2*time.Second {
		t.Errorf("the cancel took %v", d)
	}
	release()
	leg := w.leg()
	w.comes("end of the leg", leg.hungUp)
	select {
	case <-leg.invited:
		t.Error("dialled all the same")
	default:
	}
	if diff := cmp.Diff([]string{"created", "queued", "canceled"}, w.events(c.SID)); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if got := w.callbacks(c.SID); len(got) > 0 {
		t.Errorf("callbacks %v", got)
	}
}
