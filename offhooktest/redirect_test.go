package offhooktest_test

import (
	"net/http"
	"testing"

	"github.com/offhook/offhook/offhooktest"
)

func TestRedirectInMidSay(t *testing.T) {
	srv := offhooktest.Start(t)
	app := srv.App(t)
	app.On("/voice", `<Response><Say loop="0">First document</Say></Response>`)
	app.On("/second", `<Response><Say loop="0">Second document</Say></Response>`)
	srv.Number(t, own, app.URL("/voice"))
	line := srv.Phone(t, callee).Dial(own)
	sid := app.Got("/voice").Params.Get("CallSid")
	line.Hears("First document")

	update := func(params map[string][]string) {
		t.Helper()
		code, answer := srv.Request("POST", "/Calls/"+sid+".json", params)
		if code != http.StatusOK || answer["sid"] != sid || answer["status"] != "in-progress" {
			t.Fatalf("redirect: %d %v", code, answer)
		}
	}
	update(map[string][]string{"Url": {app.URL("/second")}})
	app.Got("/second", "CallStatus", "in-progress")
	line.Hears("Second document")
	update(map[string][]string{"Twiml": {"<Response><Say>Third document</Say></Response>"}})
	line.Hears("Third document")
	line.HungUp()
}

func TestRedirectDropsThePendingGather(t *testing.T) {
	srv := offhooktest.Start(t)
	app := srv.App(t)
	app.On("/voice", `<Response><Gather action="/pressed" timeout="30"><Say>Press</Say></Gather></Response>`)
	ph := srv.Phone(t, callee)
	c := srv.Call(t, "To", callee, "From", caller, "Url", app.URL("/voice"))
	line := ph.Answers()
	line.Hears("Press")
	line.Press("1") // half of an input
	c.Update("Twiml", `<Response><Say>Redirected</Say></Response>`)
	line.Hears("Redirected")
	line.HungUp()
	c.Is("completed")
	if n := len(app.Requests("/pressed")); n != 0 {
		t.Error("the action of a verb that was redirected away was requested")
	}
}

func TestAFailingRedirectTakesItsFallback(t *testing.T) {
	srv := offhooktest.Start(t)
	app := srv.App(t)
	app.On("/voice", `<Response><Say loop="0">First</Say></Response>`)
	app.OnFunc("/broken", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	app.On("/fallback", `<Response><Say>Fallback</Say></Response>`)
	ph := srv.Phone(t, callee)

	c := srv.Call(t, "To", callee, "From", caller, "Url", app.URL("/voice"))
	line := ph.Answers()
	line.Hears("First")
	c.Update("Url", app.URL("/broken"), "FallbackUrl", app.URL("/fallback"))
	app.Got("/fallback", "ErrorCode", "11200", "ErrorUrl", app.URL("/broken"), "CallStatus", "in-progress")
	line.Hears("Fallback")
	line.HungUp()
	c.Is("completed")

	// Without one: the error prompt, then the end. The fallback of the first document does not count.
	c = srv.Call(t, "To", callee, "From", caller, "Url", app.URL("/voice"), "FallbackUrl", app.URL("/old"))
	line = ph.Answers()
	line.Hears("First")
	c.Update("Url", app.URL("/broken"))
	line.Hears("An application error has occurred.")
	line.HungUp()
	c.Is("completed")
	c.Notified(11200)
	if len(app.Requests("/old")) != 0 {
		t.Error("the old document's fallback was used for the new one")
	}
}

func TestALaterRedirectCancelsAnEarlierFetch(t *testing.T) {
	srv := offhooktest.Start(t)
	app := srv.App(t)
	app.On("/voice", `<Response><Say loop="0">First</Say></Response>`)
	gone := make(chan struct{})
	app.OnFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		close(gone)
	})
	ph := srv.Phone(t, callee)
	c := srv.Call(t, "To", callee, "From", caller, "Url", app.URL("/voice"))
	line := ph.Answers()
	line.Hears("First")
	c.Update("Url", app.URL("/slow"))
	app.Got("/slow")
	c.Update("Twiml", "<Response><Say>Second</Say></Response>")
	line.Hears("Second")
	<-gone
	line.HungUp()
}

func TestRedirectOfACallThatIsNotInProgress(t *testing.T) {
	srv := offhooktest.Start(t)
	ph := srv.Phone(t, callee)
	c := srv.Call(t, "To", callee, "From", caller, "Twiml", "<Response/>")
	line := ph.Incoming()
	line.Ring()
	c.Is("ringing")
	refused := func() {
		t.Helper()
		code, answer := c.Update("Twiml", "<Response/>")
		if code != http.StatusBadRequest || answer["code"] != 21220.0 || answer["message"] != "Call is not in-progress. Cannot redirect." {
			t.Errorf("redirect: %d %v, want 400 21220", code, answer)
		}
	}
	refused()
	line.Hangup()
	c.Is("no-answer")
	refused()
}
