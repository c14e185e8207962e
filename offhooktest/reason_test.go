package offhooktest_test

import (
	"testing"

	"github.com/offhook/offhook/offhooktest"
)

// Who is called is told why, by the API's call and by a <Dial>, which may also ask for events: those there are anyway.
func TestTheCalledPartyIsToldWhy(t *testing.T) {
	t.Parallel()
	srv := offhooktest.Start(t)
	app := srv.App(t)
	app.On("/voice", `<Response><Dial callReason="Your parcel" events="call-progress-event">`+bob+`</Dial></Response>`)
	a, b := srv.Phone(t, callee), srv.Phone(t, bob)
	c := srv.Call(t, "To", callee, "From", caller, "Url", app.URL("/voice"), "CallReason", "Your order")
	line := a.Answers()
	if got := line.Header("X-Branded-CallReason"); got != "Your order" {
		t.Errorf("the call's reason: %q", got)
	}
	child := b.Answers()
	if got := child.Header("X-Branded-CallReason"); got != "Your parcel" {
		t.Errorf("the reason of the <Dial>: %q", got)
	}
	child.Hangup()
	line.HungUp()
	c.Is("completed")
}
