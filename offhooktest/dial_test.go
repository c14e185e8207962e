package offhooktest_test

import (
	"context"
	"database/sql"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/audio"
	"github.com/offhook/offhook/offhooktest"
	"github.com/offhook/offhook/phone"
)

const (
	alice = "+15550110"
	bob   = "+15550120"
)

// talk lets both hear each other: each has a tone of its own.
func talk(a, b *offhooktest.Line) {
	for _, side := range []struct {
		says, hears *offhooktest.Line
		hz          float64
	}{{a, b, 700}, {b, a, 1300}} {
		side.says.Whistles(time.Second, side.hz)
		side.hears.HearsTone(side.hz)
	}
}

func TestDialConnectsTwoPhones(t *testing.T) {
	srv := offhooktest.Start(t)
	app := srv.App(t)
	app.On("/voice", `<Response><Dial action="/after" callerId="`+own+`"><Number statusCallback="`+app.URL("/child")+
		`" statusCallbackEvent="initiated ringing answered completed">`+bob+`</Number></Dial></Response>`)
	app.On("/after", `<Response><Say>Good bye</Say></Response>`)
	srv.Number(t, own, app.URL("/voice"))

	b := srv.Phone(t, bob)
	a := srv.Phone(t, alice).Dial(own)
	in := b.Answers()
	parent := app.Got("/voice").Params.Get("CallSid")
	child := app.Got("/child", "CallStatus", "initiated", "ParentCallSid", parent, "From", own, "To", bob,
		"Direction", "outbound-dial").Params.Get("CallSid")
	app.Got("/child", "CallStatus", "ringing")
	app.Got("/child", "CallStatus", "in-progress")
	talk(a, in)
	a.Press("5") // across the bridge
	in.GotDigits("5")
	in.Hangup()
	app.Got("/after", "DialCallStatus", "completed", "DialBridged", "true", "DialCallSid", child, "CallSid", parent)
	app.Got("/child", "CallStatus", "completed", "SequenceNumber", "3", "ParentCallSid", parent)
	a.Hears("Good bye")
	a.HungUp()
}

// conversation is a call of alice to own that is connected to bob, with all callbacks at /status.
func conversation(t *testing.T, options ...offhooktest.Option) (srv *offhooktest.Server, app *offhooktest.App, a, b *offhooktest.Line) {
	t.Helper()
	srv = offhooktest.Start(t, options...)
	app = srv.App(t)
	app.On("/voice", `<Response><Dial action="/after"><Number statusCallback="/status" statusCallbackEvent="initiated ringing answered completed">`+bob+`</Number></Dial></Response>`)
	app.On("/after", `<Response/>`)
	srv.Number(t, own, app.URL("/voice"), "StatusCallback", app.URL("/status"))
	ph := srv.Phone(t, bob)
	a = srv.Phone(t, alice).Dial(own)
	b = ph.Answers()
	talk(a, b)
	return srv, app, a, b
}

// Whoever is first is connected; the other is hung up or canceled, and both calls say what they heard.
func TestDialWhenTwoAnswerAtTheSameMoment(t *testing.T) {
	srv := offhooktest.Start(t)
	app := srv.App(t)

	app.On("/voice", `<Response><Dial action="/after"><Number statusCallback="/status">`+bob+`</Number><Number statusCallback="/status">`+carol+`</Number></Dial></Response>`)
	app.On("/after", `<Response/>`)
	srv.Number(t, own, app.URL("/voice"))
	phones := []*offhooktest.Phone{srv.Phone(t, bob), srv.Phone(t, carol)}
	from := srv.Phone(t, alice)
	for range 5 {
		a := from.Dial(own)
		lines := []*offhooktest.Line{phones[0].Incoming(), phones[1].Incoming()}
		for _, l := range lines {
			_ = l.Ring()
		}
		a.HearsTone(440, 480)
		var both sync.WaitGroup
		for _, l := range lines {
			both.Go(func() { _ = l.Answer() }) // one may be canceled already
		}
		both.Wait()
		loser := 0
		select {
		case <-lines[0].Call.HungUp():
		case <-lines[1].Call.HungUp():
			loser = 1
		case <-t.Context().Done():
		}
		winner := lines[1-loser]
		talk(a, winner)
		winner.Hangup()
		r := app.Got("/after", "DialCallStatus", "completed", "DialBridged", "true")
		a.HungUp()
		lost := ""
		for range 2 {
			cb := app.Got("/status", "ParentCallSid", r.Params.Get("CallSid"))
			switch sid := cb.Params.Get("CallSid"); {
			case sid == r.Params.Get("DialCallSid"):
				if got := cb.Params.Get("CallStatus"); got != "completed" {
					t.Errorf("the winner is %s", got)
				}
			default:
				lost = cb.Params.Get("CallStatus")
			}
		}
		if lost != "canceled" && lost != "completed" {
			t.Errorf("the loser is %q", lost)
		}
	}
}

func TestAShutdownInMidConversation(t *testing.T) {
	dir := t.TempDir()
	srv, app, a, b := conversation(t, offhooktest.Data(dir))
	parent := app.Got("/voice").Params.Get("CallSid")
	child := app.Got("/status", "ParentCallSid", parent, "CallStatus", "in-progress").Params.Get("CallSid")
	srv.Stop()
	a.HungUp()
	b.HungUp()
	again := offhooktest.Start(t, offhooktest.Data(dir))
	for _, sid := range []string{parent, child} {
		again.Find(t, sid).Is("completed")
		app.Got("/status", "CallSid", sid, "CallStatus", "completed")
	}
}

// Who talks hears nothing of a store that is away, and what happens meanwhile is stored afterwards.
func TestAConversationWhileTheStoreIsAway(t *testing.T) {
	dir := t.TempDir()
	_, app, a, b := conversation(t, offhooktest.Data(dir))
	parent := app.Got("/voice").Params.Get("CallSid")
	child := app.Got("/status", "ParentCallSid", parent, "CallStatus", "in-progress").Params.Get("CallSid")
	db, err := sql.Open("sqlite", filepath.Join(dir, "offhook.db")+"?_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(t.Context(), "BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	talk(a, b)
	a.Press("5")
	b.GotDigits("5")
	b.Hangup()
	if _, err := conn.ExecContext(context.WithoutCancel(t.Context()), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	app.Got("/after", "DialCallStatus", "completed", "DialBridged", "true", "DialCallSid", child)
	a.HungUp()
	for _, sid := range []string{parent, child} {
		app.Got("/status", "CallSid", sid, "CallStatus", "completed")
	}
}

func TestDialInACallOfTheAPI(t *testing.T) {
	srv := offhooktest.Start(t)
	app := srv.App(t)
	a, b := srv.Phone(t, alice), srv.Phone(t, bob)
	c := srv.Call(t, append(allEvents(app), "To", alice, "From", caller, "Twiml",
		`<Response><Dial action="`+app.URL("/after")+`">`+bob+`</Dial></Response>`)...)
	la := a.Answers()
	lb := b.Answers()
	if lb.From() != caller {
		t.Errorf("the second call comes from %s, want the From of the first", lb.From())
	}
	talk(la, lb)
	lb.Hangup()
	app.Got("/after", "CallSid", c.SID, "DialCallStatus", "completed", "Direction", "outbound-api")
	la.HungUp()
}

// Phones that agreed on different codecs and payload types of keys, or on no keys at all, talk as if they had not.
func TestDialConnectsPhonesThatHaveLittleInCommon(t *testing.T) {
	for _, cfg := range []phone.Config{
		{Codecs: []phone.Codec{phone.PCMA}, EventPayloadType: 110},
		{Codecs: []phone.Codec{phone.PCMU}, EventPayloadType: -1},
	} {
		srv := offhooktest.Start(t)
		app := srv.App(t)
		called, err := phone.Listen(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		app.On("/voice", `<Response><Dial><Sip>`+called.URI()+`</Sip></Dial></Response>`)
		srv.Number(t, own, app.URL("/voice"))
		a := srv.Phone(t, alice).Dial(own)
		ctx, cancel := context.WithTimeout(t.Context(), offhooktest.Patience)
		defer cancel()
		b := <-called.Incoming()
		if err := b.Answer(); err != nil {
			t.Fatal(err)
		}
		if err := b.WaitAnswered(ctx); err != nil {
			t.Fatal(err)
		}
		a.Answered()
		go a.Whistles(1500*time.Millisecond, 700)
		if err := b.WaitTone(ctx, 700); err != nil {
			t.Error(err)
		}
		go func() { _ = b.Play(ctx, audio.Tone(400*time.Millisecond, 1300)) }()
		a.HearsTone(1300)
		a.Press("5")
		if err := b.WaitDigits(ctx, "5"); err != nil {
			t.Errorf("%+v: %v", cfg, err)
		}
		if err := b.Press(ctx, "7"); err != nil {
			t.Error(err)
		}
		if cfg.EventPayloadType > 0 {
			a.GotDigits("7")
		} else {
			a.HearsTone(852, 1209) // its key is a tone, and stays one
		}
		b.Hangup()
		a.HungUp()
		if err := called.Close(); err != nil {
			t.Error(err)
		}
	}
}
