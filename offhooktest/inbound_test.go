package offhooktest_test

import (
	"net/http"
	"testing"

	"github.com/offhook/offhook/offhooktest"
)

const own = "+15550199"

func TestGatherSendsTheKeyPressed(t *testing.T) {
	srv := offhooktest.Start(t)
	app := srv.App(t)
	app.On("/voice", `<Response><Gather numDigits="1" action="/menu"><Say>Press one</Say></Gather></Response>`)
	app.On("/menu", `<Response><Say>Sales</Say></Response>`)
	srv.Number(t, own, app.URL("/voice"), "StatusCallback", app.URL("/status"))

	line := srv.Phone(t, callee).Dial(own)
	line.Answered()
	first := app.Got("/voice", "CallStatus", "ringing", "Direction", "inbound", "From", callee, "To", own)
	line.Hears("Press one")
	line.Press("1")
	app.Got("/menu", "Digits", "1", "CallStatus", "in-progress")
	line.Hears("Sales")
	line.HungUp()
	app.Got("/status", "CallStatus", "completed", "SequenceNumber", "0", "CallSid", first.Params.Get("CallSid"))
}

func TestRejectAndWhatTheCallerHears(t *testing.T) {
	srv := offhooktest.Start(t)
	app := srv.App(t)
	ph := srv.Phone(t, callee)
	for twiml, want := range map[string]struct {
		code   int
		status string
	}{
		`<Response><Reject/></Response>`:               {404, "no-answer"},
		`<Response><Reject reason="busy"/></Response>`: {486, "busy"},
	} {
		app.On("/voice", twiml)
		number := own + map[bool]string{true: "0", false: "1"}[want.code == 404]
		srv.Number(t, number, app.URL("/voice"), "StatusCallback", app.URL("/status"))
		line := ph.Dial(number)
		if end := line.HungUp(); end.Code != want.code {
			t.Errorf("%s: the caller got %v, want %d", twiml, end, want.code)
		}
		app.Got("/status", "CallStatus", want.status, "To", number)
	}
}

func TestTheCallerGivesUp(t *testing.T) {
	srv := offhooktest.Start(t)
	app := srv.App(t)
	app.On("/voice", `<Response><Pause length="30"/><Say>Late</Say></Response>`)
	srv.Number(t, own, app.URL("/voice"), "StatusCallback", app.URL("/status"))
	line := srv.Phone(t, callee).Dial(own)
	line.Rings()
	app.Got("/voice")
	line.Hangup()
	line.HungUp()
	app.Got("/status", "CallStatus", "no-answer", "SipResponseCode", "487")
}

func TestAnEmptyDocumentAnswersAndHangsUp(t *testing.T) {
	srv := offhooktest.Start(t)
	app := srv.App(t)
	app.On("/voice", `<Response/>`)
	srv.Number(t, own, app.URL("/voice"), "StatusCallback", app.URL("/status"))
	line := srv.Phone(t, callee).Dial(own)
	line.Answered()
	line.HungUp()
	app.Got("/status", "CallStatus", "completed")
}

func TestANumberNobodyHas(t *testing.T) {
	srv := offhooktest.Start(t)
	if end := srv.Phone(t, callee).Dial("+15550777").HungUp(); end.Code != http.StatusNotFound {
		t.Errorf("the caller got %v, want 404", end)
	}
}

func TestACallToOurOwnNumber(t *testing.T) {
	srv := offhooktest.Start(t)
	app := srv.App(t)
	app.On("/out", `<Response><Pause length="1"/><Play digits="7"/><Pause length="10"/></Response>`)
	app.On("/in", `<Response><Gather numDigits="1" action="/got"><Say>Own number</Say></Gather></Response>`)
	app.On("/got", `<Response><Hangup/></Response>`)
	srv.Number(t, own, app.URL("/in"))
	c := srv.Call(t, "To", own, "From", caller, "Url", app.URL("/out"))
	app.Got("/in", "Direction", "inbound", "From", caller, "To", own)
	app.Got("/got", "Digits", "7")
	c.Is("completed")
	_, page := srv.Request("GET", "/Calls.json", nil)
	if n := len(page["calls"].([]any)); n != 2 {
		t.Errorf("%d calls, want the outbound and the inbound one", n)
	}
}
