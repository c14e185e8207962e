package interop

import (
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/offhook/offhook/offhooktest"
)

func TestSIPpCalls(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]script{
		"udp":        {},
		"tcp":        {TCP: true},
		"A-law":      {Codec: typePCMA},
		"no + in To": {To: own[1:], From: caller[1:]}, // as many carriers write numbers
		"late offer": {File: "late"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := offhooktest.Start(t)
			trunk(t, srv, map[string]any{"name": "carrier", "host": "127.0.0.1:1", "sources": []string{"127.0.0.1/32"}})
			app, ear := srv.App(t), newEar(t)
			app.On("/voice", `<Response><Say>Welcome</Say><Play digits="7"/><Pause length="1"/></Response>`)
			srv.Number(t, own, app.URL("/voice"), "StatusCallback", app.URL("/status"))
			if s.File == "" {
				s.File = "call"
			}
			if s.To == "" {
				s.To, s.From = own, caller
			}
			s.Dial, s.Audio = srv.SIP, ear.Port
			peer := play(t, s)
			first := app.Got("/voice", "CallStatus", "ringing", "Direction", "inbound", "From", caller, "To", own)
			ear.hears("Welcome")
			ear.gotKeys("7")
			if got := ear.codec(); got != s.Codec {
				t.Errorf("audio is of payload type %d, want %d", got, s.Codec)
			}
			peer.ends()
			sid := first.Params.Get("CallSid")
			gotInOrder(t, app, sid, "completed")
			if got := fetch(t, srv, sid); got["status"] != "completed" || got["direction"] != "inbound" || seconds(t, got["duration"]) < 1 {
				t.Errorf("call: %v", got)
			}
		})
	}
}

func TestSIPpHoldsACall(t *testing.T) {
	t.Parallel()
	for _, direction := range []string{"sendonly", "inactive"} {
		t.Run(direction, func(t *testing.T) {
			t.Parallel()
			srv := offhooktest.Start(t)
			app, ear := srv.App(t), newEar(t)
			app.On("/voice", `<Response><Say loop="0">On and on</Say></Response>`)
			srv.Number(t, own, app.URL("/voice"), "StatusCallback", app.URL("/status"))
			peer := play(t, script{File: "hold", Dial: srv.SIP, To: own, From: caller, Audio: ear.Port, Code: direction})
			ear.hears("On and on")
			ear.quiet(500 * time.Millisecond)
			ear.forget()
			ear.hears("On and on")
			peer.ends()
			app.Got("/status", "CallStatus", "completed", "SequenceNumber", "0")
		})
	}
}

func TestSIPpPressesKeysByINFO(t *testing.T) {
	t.Parallel()
	srv := offhooktest.Start(t)
	app := srv.App(t)
	app.On("/voice", `<Response><Gather action="/menu"><Say loop="0">Press five</Say></Gather></Response>`)
	app.On("/menu", `<Response/>`)
	srv.Number(t, own, app.URL("/voice"))
	peer := play(t, script{File: "info", Dial: srv.SIP, To: own, From: caller})
	app.Got("/menu", "Digits", "5", "FinishedOnKey", "#")
	peer.ends()
}

func TestSIPpGivesUp(t *testing.T) {
	t.Parallel()
	srv := offhooktest.Start(t)
	app := srv.App(t)
	app.On("/voice", `<Response><Pause length="30"/><Say>Too late</Say></Response>`)
	srv.Number(t, own, app.URL("/voice"), "StatusCallback", app.URL("/status"))
	peer := play(t, script{File: "cancel", Dial: srv.SIP, To: own, From: caller})
	sid := app.Got("/voice").Params.Get("CallSid")
	peer.ends()
	last := gotInOrder(t, app, sid, "no-answer")
	if last.Params.Get("SipResponseCode") != "487" || last.Params.Get("CallDuration") != "0" {
		t.Errorf("final callback: %v", last.Params)
	}
}

func TestSIPpRepeatsItsINVITE(t *testing.T) {
	t.Parallel()
	srv := offhooktest.Start(t)
	app, ear := srv.App(t), newEar(t)
	app.On("/voice", `<Response><Pause length="1"/><Say>Once</Say><Pause length="1"/></Response>`)
	srv.Number(t, own, app.URL("/voice"), "StatusCallback", app.URL("/status"))
	// Without -nr SIPp repeats its last message whenever it gets the same answer twice, for ever here.
	peer := play(t, script{File: "again", Dial: srv.SIP, To: own, From: caller, Audio: ear.Port, Args: []string{"-nr"}})
	ear.hears("Once")
	peer.ends()
	app.Got("/status", "CallStatus", "completed")
	if n := len(calls(srv)); n != 1 {
		t.Errorf("%d calls of one INVITE", n)
	}
	if n := len(app.Requests("/voice")); n != 1 {
		t.Errorf("the application was asked %d times", n)
	}
}

func TestSIPpHangsUpBeforeItsACK(t *testing.T) {
	t.Parallel()
	srv := offhooktest.Start(t)
	app := srv.App(t)
	app.On("/voice", `<Response><Say loop="0">Anybody there</Say></Response>`)
	srv.Number(t, own, app.URL("/voice"), "StatusCallback", app.URL("/status"))
	peer := play(t, script{File: "early", Dial: srv.SIP, To: own, From: caller})
	sid := app.Got("/voice").Params.Get("CallSid")
	peer.ends()
	gotInOrder(t, app, sid, "completed")
}

func TestSIPpAsksForASessionTimer(t *testing.T) {
	t.Parallel()
	srv := offhooktest.Start(t)
	app, ear := srv.App(t), newEar(t)
	app.On("/voice", `<Response><Say>Timer</Say></Response>`)
	srv.Number(t, own, app.URL("/voice"))
	peer := play(t, script{
		File: "timer", Dial: srv.SIP, To: own, From: caller, Audio: ear.Port,
		Headers: []string{"Supported: timer", "Session-Expires: 60"},
	})
	ear.hears("Timer")
	peer.ends()
	if n := len(calls(srv)); n != 1 {
		t.Errorf("%d calls, want none of the INVITE that was refused", n)
	}
}

func TestSIPpCallsNobody(t *testing.T) {
	t.Parallel()
	srv := offhooktest.Start(t)
	peer := play(t, script{File: "refused", Dial: srv.SIP, To: "+15550777", From: caller, Code: "404"})
	peer.ends()
	if n := len(calls(srv)); n != 0 {
		t.Errorf("%d calls of a number nobody has", n)
	}
}

func TestABurstOfSIPpCalls(t *testing.T) {
	const burst = 50 // calls, 25 a second
	srv := offhooktest.Start(t)
	app := srv.App(t)
	app.On("/voice", `<Response><Say>Hello and good bye</Say></Response>`)
	srv.Number(t, own, app.URL("/voice"), "StatusCallback", app.URL("/status"))
	peer := play(t, script{File: "burst", Dial: srv.SIP, To: own, From: caller, Args: []string{"-r", "25", "-m", strconv.Itoa(burst)}})
	peer.ends()
	for range burst {
		app.Got("/status", "CallStatus", "completed", "SequenceNumber", "0")
	}
	list := calls(srv)
	for _, c := range list {
		if c["status"] != "completed" {
			t.Errorf("call: %v", c)
		}
	}
	if len(list) != burst {
		t.Errorf("%d calls", len(list))
	}
	for _, live := range []string{"queued", "ringing", "in-progress"} {
		if _, page := srv.Request("GET", "/Calls.json", url.Values{"Status": {live}}); len(page["calls"].([]any)) != 0 {
			t.Errorf("%s: %v", live, page["calls"])
		}
	}
}
