package offhooktest_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/offhook/offhook/offhooktest"
	"github.com/offhook/offhook/phone"
)

const carol = "+15550130"

// becomes waits for the result of l's transfer.
func becomes(t *testing.T, l *offhooktest.Line, want int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), offhooktest.Patience)
	defer cancel()
	if code, err := l.WaitTransferred(ctx); err != nil || code != want {
		t.Fatalf("the transfer: %d %v, want %d", code, err, want)
	}
}

func noError(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestAPhoneTransfersItsCallBlind(t *testing.T) {
	for _, test := range []struct {
		name   string
		caller bool // alice, who made the call, transfers bob
	}{{"the called one", false}, {"the caller", true}} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			srv := offhooktest.Start(t)
			app := srv.App(t)
			app.On("/voice", `<Response><Dial action="/after" referUrl="/refer"><Number>`+bob+`</Number></Dial></Response>`)
			app.On("/refer", `<Response><Dial action="/after-refer"><Number>`+carol+`</Number></Dial></Response>`)
			app.On("/after-refer", `<Response><Say>Good bye</Say></Response>`)
			srv.Number(t, own, app.URL("/voice"))
			ph, third := srv.Phone(t, bob), srv.Phone(t, carol)
			a := srv.Phone(t, alice).Dial(own)
			b := ph.Answers()
			talk(a, b)
			from, other := b, a
			if test.caller {
				from, other = a, b
			}
			noError(t, from.Transfer(t.Context(), "sip:carol@pbx.test?X-Reason=sales"))
			r := app.Got("/refer", "ReferTransferTarget", "sip:carol@pbx.test?X-Reason=sales", "CallStatus", "in-progress")
			parent := app.Got("/voice").Params.Get("CallSid")
			if transferred := r.Params.Get("CallSid"); (transferred == parent) == test.caller || test.caller && r.Params.Get("ParentCallSid") != parent {
				t.Errorf("referUrl: %v", r.Params)
			}
			c := third.Answers()
			becomes(t, from, 200)
			from.Hangup()
			talk(other, c)
			after := app.Got("/after", "DialCallStatus", "completed", "DialBridged", "true", "CallSid", parent)
			if after.Params.Has("DialCallDuration") == test.caller {
				t.Errorf("action: %v", after.Params)
			}
			c.Hangup()
			app.Got("/after-refer", "DialCallStatus", "completed", "CallSid", r.Params.Get("CallSid"))
			other.Hears("Good bye")
			other.HungUp()
			srv.Find(t, parent).Is("completed")
		})
	}
}

func TestATransferWithoutReferURLIsRefused(t *testing.T) {
	srv, app, a, b := conversation(t)
	var refused *phone.ReferError
	if err := b.Transfer(t.Context(), "sip:carol@pbx.test"); !errors.As(err, &refused) || refused.Code != 603 {
		t.Errorf("transfer: %v", err)
	}
	parent := app.Got("/voice").Params.Get("CallSid")
	child := app.Got("/status", "ParentCallSid", parent).Params.Get("CallSid")
	srv.Find(t, child).Notified(13802)
	talk(a, b)
	a.Hangup()
	b.HungUp()
}

// Bob holds Alice, calls Carol, and connects the two. No referUrl is needed.
func TestAPhoneConnectsItsTwoCalls(t *testing.T) {
	srv, app, a, b := conversation(t)
	app.On("/consult", `<Response><Dial action="/after-consult"><Number statusCallback="/status" statusCallbackEvent="answered completed">`+carol+`</Number></Dial></Response>`)
	app.On("/after-consult", `<Response/>`)
	srv.Number(t, "+15550198", app.URL("/consult"), "StatusCallback", app.URL("/status"))
	noError(t, b.Hold(t.Context()))
	third := srv.Phone(t, carol)
	consult := srv.Phone(t, "+15550121").Dial("+15550198")
	c := third.Answers()
	talk(consult, c)
	noError(t, b.TransferTo(t.Context(), consult.Call))
	becomes(t, b, 200)
	if end := consult.HungUp(); !end.Remote {
		t.Errorf("the call that was replaced: %v", end)
	}
	b.Hangup()
	talk(a, c)

	parent := app.Got("/voice").Params.Get("CallSid")
	child := app.Got("/status", "ParentCallSid", parent, "CallStatus", "in-progress").Params.Get("CallSid")
	second := app.Got("/consult").Params.Get("CallSid")
	remaining := app.Got("/status", "ParentCallSid", second, "CallStatus", "in-progress").Params.Get("CallSid")
	app.Got("/status", "CallSid", child, "CallStatus", "completed")
	app.Got("/status", "CallSid", second, "CallStatus", "completed")
	r := app.Got("/after-consult", "DialCallStatus", "completed", "DialBridged", "true", "DialCallSid", remaining, "CallStatus", "completed")
	if r.Params.Has("DialCallDuration") {
		t.Errorf("action of the second Dial: %v", r.Params)
	}
	srv.Find(t, parent).Is("in-progress")
	srv.Find(t, remaining).Is("in-progress")
	c.Hangup()
	r = app.Got("/after", "DialCallStatus", "completed", "DialBridged", "true", "DialCallSid", child, "CallSid", parent)
	if !r.Params.Has("DialCallDuration") {
		t.Errorf("action of the first Dial: %v", r.Params)
	}
	a.HungUp()
	for _, sid := range []string{parent, remaining} {
		app.Got("/status", "CallSid", sid, "CallStatus", "completed")
	}
}

func TestReferAsksThePhone(t *testing.T) {
	srv := offhooktest.Start(t)
	app := srv.App(t)
	app.On("/voice", `<Response><Refer action="/after"><Sip>sip:sales@pbx.test?X-Id=7</Sip></Refer></Response>`)
	app.On("/after", `<Response><Say>Good bye</Say></Response>`)
	srv.Number(t, own, app.URL("/voice"))
	asked := make(chan string, 1)
	busy, err := phone.Listen(t.Context(), phone.Config{OnRefer: func(_ *phone.Call, uri string) int {
		asked <- uri
		return 486
	}})
	noError(t, err)
	defer busy.Close()
	line, err := busy.Dial(t.Context(), "sip:"+own+"@"+srv.SIP)
	noError(t, err)
	select {
	case uri := <-asked:
		if uri != "sip:sales@pbx.test?X-Id=7" {
			t.Errorf("Refer-To: %s", uri)
		}
	case <-line.HungUp():
		t.Errorf("the phone was not asked; the application heard %v", app.Requests("/after"))
	}
	app.Got("/after", "ReferCallStatus", "busy", "ReferSipResponseCode", "202", "NotifySipResponseCode", "486", "CallStatus", "in-progress")
	ctx, cancel := context.WithTimeout(t.Context(), offhooktest.Patience)
	defer cancel()
	noError(t, line.WaitHungUp(ctx))
}

// Both hold at once: each hears music, and after both took the other back they hear each other.
func TestBothHold(t *testing.T) {
	_, _, a, b := conversation(t)
	ctx := t.Context()
	noError(t, a.Hold(ctx))
	noError(t, b.HoldInactive(ctx))
	noError(t, a.Unhold(ctx)) // held by b: music
	a.HearsSound(time.Second)
	noError(t, b.Unhold(ctx))
	talk(a, b)
}
