package interop

import (
	"fmt"
	"strings"
	"testing"

	"github.com/offhook/offhook/offhooktest"
)

func TestSIPpIsCalled(t *testing.T) {
	t.Parallel()
	for name, tcp := range map[string]bool{"udp": false, "tcp": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := offhooktest.Start(t)
			app, ear := srv.App(t), newEar(t)
			app.On("/voice", `<Response><Say>Good morning</Say><Play digits="42"/><Pause length="1"/></Response>`)
			peer := play(t, script{File: "answer", Audio: ear.Port, TCP: tcp})

			to := peer.uri()
			if tcp {
				to += ";transport=tcp"
			}
			c := srv.Call(t, append(allEvents(app), "To", to, "From", caller, "Url", app.URL("/voice"))...)
			ear.hears("Good morning")
			ear.gotKeys("42")
			peer.ends() // with our BYE
			last := gotInOrder(t, app, c.SID, "initiated", "ringing", "in-progress", "completed")
			if last.Params.Get("SipResponseCode") != "200" || last.Params.Get("CallDuration") == "0" {
				t.Errorf("completed callback: %v", last.Params)
			}
			voice := app.Got("/voice", "CallSid", c.SID, "CallStatus", "in-progress", "Direction", "outbound-api")
			if voice.Params.Get("To") != to {
				t.Errorf("To is %s, want %s", voice.Params.Get("To"), to)
			}
			c.Is("completed")
		})
	}
}

// What SIPp hears comes back: a key of ours is one of the callee's then.
func TestSIPpEchoesWhatItHears(t *testing.T) {
	t.Parallel()
	srv := offhooktest.Start(t)
	app := srv.App(t)
	app.On("/voice", `<Response><Say>Echo</Say><Play digits="9"/><Pause length="1"/></Response>`)
	peer := play(t, script{File: "answer", Args: []string{"-rtp_echo"}})
	c := srv.Call(t, append(allEvents(app), "To", peer.uri(), "From", caller, "Url", app.URL("/voice"))...)
	gotInOrder(t, app, c.SID, "initiated", "ringing", "in-progress", "completed")
	peer.ends()
	if timeline := c.Timeline(); strings.Count(timeline, " key 9\n") != 1 {
		t.Errorf("the key did not come back once:\n%s", timeline)
	}
}

// SIPp's own scenario knows no telephone-events.
func TestSIPpsOwnScenario(t *testing.T) {
	t.Parallel()
	srv := offhooktest.Start(t)
	app := srv.App(t)
	peer := play(t, script{Builtin: "uas", Args: []string{"-rtp_echo"}})
	c := srv.Call(t, append(allEvents(app), "To", peer.uri(), "From", caller, "Twiml", `<Response><Say>Hello</Say><Pause length="1"/></Response>`)...)
	gotInOrder(t, app, c.SID, "initiated", "ringing", "in-progress", "completed")
	peer.ends()
}

func TestSIPpPressesKeys(t *testing.T) {
	t.Parallel()
	rawSockets(t)
	for name, s := range map[string]script{
		// SIPp sends keys as payload type 96 whatever was offered, and announces it.
		"play_dtmf": {Event: 96, Steps: `<pause milliseconds="300"/><nop><action><exec play_dtmf="5"/></action></nop>`},
		"recorded":  {Steps: `<pause milliseconds="300"/><nop><action><exec play_pcap_audio="/usr/share/sip-tester/dtmf_2833_5.pcap"/></action></nop>`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := offhooktest.Start(t)
			app := srv.App(t)
			app.On("/voice", `<Response><Gather numDigits="1" action="/menu"><Say loop="0">Press five</Say></Gather></Response>`)
			app.On("/menu", `<Response/>`)
			s.File = "answer"
			peer := play(t, s)
			c := srv.Call(t, "To", peer.uri(), "From", caller, "Url", app.URL("/voice"))
			app.Got("/menu", "Digits", "5", "CallSid", c.SID, "FinishedOnKey", "")
			c.Is("completed")
			peer.ends()
		})
	}
}

func TestSIPpRefuses(t *testing.T) {
	t.Parallel()
	srv := offhooktest.Start(t)
	for response, status := range map[string]string{
		"486 Busy Here": "busy", "600 Busy Everywhere": "busy",
		"603 Decline": "no-answer", "480 Temporarily Unavailable": "no-answer", "408 Request Timeout": "no-answer", "487 Request Terminated": "no-answer",
		"404 Not Found": "failed", "503 Service Unavailable": "failed", "500 Server Internal Error": "failed",
		"401 Unauthorized": "failed", "488 Not Acceptable Here": "failed",
	} {
		t.Run(response[:3], func(t *testing.T) {
			t.Parallel()
			app := srv.App(t)
			peer := play(t, script{File: "refuse", Code: response})
			c := srv.Call(t, append(allEvents(app), "To", peer.uri(), "From", caller, "Url", app.URL("/voice"))...)
			last := gotInOrder(t, app, c.SID, "initiated", status)
			if last.Params.Get("SipResponseCode") != response[:3] || last.Params.Get("CallDuration") != "0" {
				t.Errorf("final callback: %v", last.Params)
			}
			if got := c.Is(status); got["duration"] != "0" {
				t.Errorf("duration %v of a call that was not answered", got["duration"])
			}
			peer.ends() // with our ACK
		})
	}
}

func TestSIPpNeverAnswers(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]script{
		"rings":      {Code: "180 Ringing"},
		"progresses": {Code: "183 Session Progress"},
		"tries":      {Code: "100 Trying"},
		"rings late": {Code: "180 Ringing", Steps: `<pause milliseconds="1500"/>`}, // no CANCEL before a provisional response
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := offhooktest.Start(t)
			app := srv.App(t)
			s.File = "never"
			peer := play(t, s)
			c := srv.Call(t, append(allEvents(app), "To", peer.uri(), "From", caller, "Url", app.URL("/voice"), "Timeout", "1")...)
			c.Is("no-answer")
			last := app.Got("/status", "CallSid", c.SID, "CallStatus", "no-answer")
			if last.Params.Get("SipResponseCode") != "487" {
				t.Errorf("final callback: %v", last.Params)
			}
			peer.ends() // with CANCEL, 487 and ACK
		})
	}
}

func TestSIPpIsCanceled(t *testing.T) {
	t.Parallel()
	srv := offhooktest.Start(t)
	app := srv.App(t)
	peer := play(t, script{File: "never", Code: "180 Ringing"})
	c := srv.Call(t, append(allEvents(app), "To", peer.uri(), "From", caller, "Url", app.URL("/voice"))...)
	c.Is("ringing")
	c.Update("Status", "canceled")
	gotInOrder(t, app, c.SID, "initiated", "ringing", "canceled")
	peer.ends()
}

// The CANCEL of the ring time-out and the answer cross.
func TestSIPpAnswersTooLate(t *testing.T) {
	t.Parallel()
	srv := offhooktest.Start(t)
	app := srv.App(t)
	peer := play(t, script{File: "crossed"})
	c := srv.Call(t, append(allEvents(app), "To", peer.uri(), "From", caller, "Url", app.URL("/voice"), "Timeout", "1")...)
	gotInOrder(t, app, c.SID, "initiated", "ringing", "no-answer")
	peer.ends() // with our ACK and BYE
	if len(app.Requests("/voice")) != 0 {
		t.Error("TwiML was asked for")
	}
}

func TestSIPpRingsReliably(t *testing.T) {
	t.Parallel()
	srv := offhooktest.Start(t)
	app, ear := srv.App(t), newEar(t)
	peer := play(t, script{File: "reliable", Audio: ear.Port})
	c := srv.Call(t, append(allEvents(app), "To", peer.uri(), "From", caller, "Twiml", `<Response><Say>Reliable</Say></Response>`)...)
	ear.hears("Reliable")
	gotInOrder(t, app, c.SID, "initiated", "ringing", "in-progress", "completed")
	peer.ends()
}

func TestSIPpRedirects(t *testing.T) {
	t.Parallel()
	srv := offhooktest.Start(t)
	ear := newEar(t)
	second := play(t, script{File: "answer", Audio: ear.Port})
	first := play(t, script{File: "redirect", Next: second.host()})
	c := srv.Call(t, "To", first.uri(), "From", caller, "Twiml", `<Response><Say>Moved</Say></Response>`)
	ear.hears("Moved")
	first.ends()
	second.ends()
	c.Is("completed")
}

func TestSIPpAnswersTwice(t *testing.T) {
	t.Parallel()
	srv := offhooktest.Start(t)
	ear := newEar(t)
	peer := play(t, script{File: "fork", Audio: ear.Port})
	c := srv.Call(t, "To", peer.uri(), "From", caller, "Twiml", `<Response><Say>First fork</Say><Pause length="1"/></Response>`)
	ear.hears("First fork")
	peer.ends() // the second branch was acknowledged and hung up, then the first
	c.Is("completed")
}

func TestSIPpHangsUp(t *testing.T) {
	t.Parallel()
	srv := offhooktest.Start(t)
	app := srv.App(t)
	app.On("/voice", `<Response><Say loop="0">Still here</Say></Response>`)
	peer := play(t, script{File: "hangup", Steps: `<pause milliseconds="1200"/>`})
	c := srv.Call(t, append(allEvents(app), "To", peer.uri(), "From", caller, "Url", app.URL("/voice"))...)
	last := gotInOrder(t, app, c.SID, "initiated", "in-progress", "completed") // it did not ring
	if last.Params.Get("SipResponseCode") != "200" || last.Params.Get("Duration") != "1" {
		t.Errorf("completed callback: %v", last.Params)
	}
	peer.ends()
	if d := seconds(t, c.Is("completed")["duration"]); d < 1 || d > 2 {
		t.Errorf("duration %d, want 1", d)
	}
}

func TestSIPpKeepsASessionTimer(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]script{
		// We refresh at half the interval, with UPDATE where the peer takes it.
		"re-INVITE": {File: "refreshed", Code: "INVITE", Headers: []string{"Require: timer", "Session-Expires: 4;refresher=uac"}},
		"UPDATE":    {File: "refreshed", Code: "UPDATE", Headers: []string{"Require: timer", "Session-Expires: 4;refresher=uac", "Allow: INVITE, ACK, BYE, CANCEL, UPDATE"}},
		// The peer does not refresh: we hang up shortly before the end.
		"forgotten": {File: "answer", Headers: []string{"Require: timer", "Session-Expires: 3;refresher=uas"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := offhooktest.Start(t)
			ear := newEar(t)
			s.Audio = ear.Port
			peer := play(t, s)
			c := srv.Call(t, "To", peer.uri(), "From", caller, "Twiml", `<Response><Say>Timer</Say><Pause length="5"/></Response>`)
			ear.hears("Timer")
			peer.ends()
			got := c.Is("completed")
			if d := seconds(t, got["duration"]); d < 2 || d > 6 {
				t.Errorf("duration %d", d)
			}
		})
	}
}

func TestSIPpChallenges(t *testing.T) {
	t.Parallel()
	for _, code := range []string{"401", "407"} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			srv := offhooktest.Start(t)
			ear := newEar(t)
			challenge := map[string]string{"401": "WWW-Authenticate", "407": "Proxy-Authenticate"}[code]
			peer := play(t, script{
				File: "challenge", Audio: ear.Port, Code: code + " Unauthorized",
				Headers: []string{challenge + `: Digest realm="carrier", nonce="47ebe028cda119c35d4877b383027d28da013815", qop="auth", algorithm=MD5`},
			})
			trunk(t, srv, map[string]any{"name": "carrier", "host": peer.host(), "transport": "udp", "username": "alice", "password": "secret"})
			c := srv.Call(t, "To", "+15557000", "From", caller, "Twiml", `<Response><Say>Through the trunk</Say></Response>`)
			ear.hears("Through the trunk")
			peer.ends()
			c.Is("completed")
			if msg := peer.file("messages"); !strings.Contains(msg, "INVITE sip:+15557000@"+peer.host()+";user=phone") {
				t.Errorf("the trunk was not asked for the number:\n%s", msg)
			}
			checkDigest(t, peer.file("logs"), "alice", "secret")
		})
	}
}

func TestSIPpRefusesOurPassword(t *testing.T) {
	t.Parallel()
	srv := offhooktest.Start(t)
	app := srv.App(t)
	peer := play(t, script{
		File: "stubborn", Code: "401 Unauthorized",
		Headers: []string{`WWW-Authenticate: Digest realm="carrier", nonce="47ebe028cda119c35d4877b383027d28da013815", qop="auth", algorithm=MD5`},
	})
	trunk(t, srv, map[string]any{"name": "carrier", "host": peer.host(), "transport": "udp", "username": "alice", "password": "wrong"})
	c := srv.Call(t, append(allEvents(app), "To", "+15557000", "From", caller, "Url", app.URL("/voice"))...)
	last := gotInOrder(t, app, c.SID, "initiated", "failed")
	if last.Params.Get("SipResponseCode") != "401" {
		t.Errorf("final callback: %v", last.Params)
	}
	c.Is("failed")
	peer.ends()
	if n := strings.Count(peer.file("messages"), "\nINVITE sip:"); n != 2 {
		t.Errorf("%d INVITEs, want one without and one with an answer to the challenge", n)
	}
}

// An INVITE that could be cut on its way goes by TCP when the trunk has it (RFC 3261 section 18.1.1).
func TestABigINVITEGoesByTCP(t *testing.T) {
	t.Parallel()
	srv := offhooktest.Start(t)
	ear := newEar(t)
	peer := play(t, script{File: "answer", Audio: ear.Port, TCP: true})
	to := peer.uri() + "?"
	for i := range 3 {
		to += fmt.Sprintf("&X-Big-%d=%s", i, strings.Repeat("x", 250))
	}
	c := srv.Call(t, "To", strings.Replace(to, "?&", "?", 1), "From", caller, "Twiml", `<Response><Say>Big</Say></Response>`)
	ear.hears("Big")
	peer.ends()
	c.Is("completed")
}
