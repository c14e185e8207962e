package interop

import (
	"strings"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/audio"
	"github.com/offhook/offhook/offhooktest"
)

func TestBaresipIsCalled(t *testing.T) {
	t.Parallel()
	for name, params := range map[string]string{
		"both laws": "audio_codecs=PCMU/8000/1,PCMA/8000/1", "A-law only": "audio_codecs=PCMA/8000/1", "µ-law only": "audio_codecs=PCMU/8000/1",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := offhooktest.Start(t)
			app := srv.App(t)
			app.On("/voice", `<Response><Say>Hello</Say><Gather numDigits="1" action="/menu" timeout="20"><Say>Press one</Say></Gather></Response>`)
			app.On("/menu", `<Response><Say>Sales</Say><Pause length="1"/></Response>`)
			bob := phone(t, "answermode=manual", params)
			c := srv.Call(t, append(allEvents(app), "To", bob.uri(), "From", caller, "Url", app.URL("/voice"))...)
			bob.reports("CALL_INCOMING")
			bob.do("accept", "")
			bob.reports("CALL_ESTABLISHED")
			bob.hears("Hello")
			bob.hears("Press one")
			bob.press("1")
			app.Got("/menu", "Digits", "1", "CallSid", c.SID)
			bob.hears("Sales")
			bob.reports("CALL_CLOSED")
			gotInOrder(t, app, c.SID, "initiated", "ringing", "in-progress", "completed")
		})
	}
}

func TestBaresipDeclines(t *testing.T) {
	t.Parallel()
	srv := offhooktest.Start(t)
	app := srv.App(t)
	bob := phone(t, "answermode=manual")
	c := srv.Call(t, append(allEvents(app), "To", bob.uri(), "From", caller, "Url", app.URL("/voice"))...)
	bob.reports("CALL_INCOMING")
	c.Is("ringing")
	bob.do("hangup", "")
	gotInOrder(t, app, c.SID, "initiated", "ringing", "busy") // baresip says 486
}

func TestBaresipIsNotAnswered(t *testing.T) {
	t.Parallel()
	srv := offhooktest.Start(t)
	app := srv.App(t)
	bob := phone(t, "answermode=manual")
	c := srv.Call(t, append(allEvents(app), "To", bob.uri(), "From", caller, "Url", app.URL("/voice"), "Timeout", "1")...)
	bob.reports("CALL_INCOMING")
	bob.reports("CALL_CLOSED")
	gotInOrder(t, app, c.SID, "initiated", "ringing", "no-answer")
}

// dialled makes baresip call a number of the server's that says First for ever, and returns the call's SID.
func dialled(t *testing.T, srv *offhooktest.Server, app *offhooktest.App, bob *baresip) (sid string) {
	t.Helper()
	app.On("/voice", `<Response><Say loop="0">First document</Say></Response>`)
	srv.Number(t, own, app.URL("/voice"), "StatusCallback", app.URL("/status"))
	bob.do("dial", "sip:"+own+"@"+srv.SIP)
	bob.reports("CALL_ESTABLISHED")
	sid = app.Got("/voice", "Direction", "inbound", "CallStatus", "ringing", "To", own).Params.Get("CallSid")
	bob.hears("First document")
	return sid
}

func update(t *testing.T, srv *offhooktest.Server, sid string, params ...string) {
	t.Helper()
	v := map[string][]string{}
	for i := 0; i+1 < len(params); i += 2 {
		v[params[i]] = []string{params[i+1]}
	}
	if code, answer := srv.Request("POST", "/Calls/"+sid+".json", v); code != 200 {
		t.Fatalf("update %v: %d %v", params, code, answer["message"])
	}
}

func TestBaresipIsRedirectedInMidSay(t *testing.T) {
	t.Parallel()
	srv := offhooktest.Start(t)
	app := srv.App(t)
	app.On("/second", `<Response><Say loop="0">Second document</Say></Response>`)
	bob := phone(t)
	sid := dialled(t, srv, app, bob)
	update(t, srv, sid, "Url", app.URL("/second"))
	app.Got("/second", "CallSid", sid, "CallStatus", "in-progress")
	bob.hears("Second document")
	update(t, srv, sid, "Twiml", `<Response><Say>Third document</Say><Pause length="1"/></Response>`)
	bob.hears("Third document")
	bob.reports("CALL_CLOSED")
	gotInOrder(t, app, sid, "completed")
}

func TestBothEndsHangUp(t *testing.T) {
	t.Parallel()
	for who, hangup := range map[string]func(*testing.T, *offhooktest.Server, *baresip, string){
		"the API": func(t *testing.T, srv *offhooktest.Server, _ *baresip, sid string) {
			update(t, srv, sid, "Status", "completed")
		},
		"baresip": func(_ *testing.T, _ *offhooktest.Server, bob *baresip, _ string) { bob.do("hangup", "") },
	} {
		t.Run(who, func(t *testing.T) {
			t.Parallel()
			srv := offhooktest.Start(t)
			app := srv.App(t)
			bob := phone(t)
			sid := dialled(t, srv, app, bob)
			bob.longer(1500 * time.Millisecond)
			hangup(t, srv, bob, sid)
			bob.reports("CALL_CLOSED")
			last := gotInOrder(t, app, sid, "completed")
			heard := bob.samples() / audio.SampleRate
			got := fetch(t, srv, sid)
			if d := seconds(t, got["duration"]); d < heard || d > heard+1 || last.Params.Get("CallDuration") != got["duration"] {
				t.Errorf("duration %d, callback %s, and baresip recorded %d s", d, last.Params.Get("CallDuration"), heard)
			}
		})
	}
}

// What baresip hears once it took the call back is not recorded: it builds its chain of sndfile only once.
func TestBaresipHoldsACall(t *testing.T) {
	t.Parallel()
	srv := offhooktest.Start(t)
	app := srv.App(t)
	app.On("/menu", `<Response><Hangup/></Response>`)
	bob := phone(t)
	sid := dialled(t, srv, app, bob)
	bob.do("hold", "")
	bob.pauses()
	update(t, srv, sid, "Twiml", `<Response><Gather numDigits="1" action="`+app.URL("/menu")+`"><Say loop="0">Back again</Say></Gather></Response>`)
	bob.do("resume", "")
	bob.press("3")
	app.Got("/menu", "Digits", "3", "CallSid", sid)
	bob.reports("CALL_CLOSED")
	gotInOrder(t, app, sid, "completed")
}

func TestBaresipGivesUp(t *testing.T) {
	t.Parallel()
	srv := offhooktest.Start(t)
	app := srv.App(t)
	app.On("/voice", `<Response><Pause length="30"/></Response>`)
	srv.Number(t, own, app.URL("/voice"), "StatusCallback", app.URL("/status"))
	bob := phone(t)
	bob.do("dial", "sip:"+own+"@"+srv.SIP)
	bob.reports("CALL_RINGING")
	sid := app.Got("/voice").Params.Get("CallSid")
	bob.do("hangup", "")
	last := gotInOrder(t, app, sid, "no-answer")
	if last.Params.Get("SipResponseCode") != "487" {
		t.Errorf("final callback: %v", last.Params)
	}
}

func TestBaresipIsRefused(t *testing.T) {
	t.Parallel()
	srv := offhooktest.Start(t)
	app := srv.App(t)
	app.On("/voice", `<Response><Reject reason="busy"/></Response>`)
	srv.Number(t, own, app.URL("/voice"), "StatusCallback", app.URL("/status"))
	bob := phone(t)
	bob.do("dial", "sip:"+own+"@"+srv.SIP)
	if e := bob.reports("CALL_CLOSED"); !strings.HasPrefix(e.Param, "486") {
		t.Errorf("baresip saw %v", e)
	}
	app.Got("/status", "CallStatus", "busy", "SequenceNumber", "0")
}
