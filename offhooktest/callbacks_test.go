package offhooktest_test

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/offhook/offhook/offhooktest"
)

// standard are the parameters that every request about a call between two numbers carries.
var standard = []string{
	"AccountSid", "ApiVersion", "CallSid", "CallStatus", "Called", "Caller", "Direction", "From", "To",
	"CalledCity", "CalledCountry", "CalledState", "CalledZip", "CallerCity", "CallerCountry", "CallerState", "CallerZip",
	"FromCity", "FromCountry", "FromState", "FromZip", "ToCity", "ToCountry", "ToState", "ToZip",
}

// hasExactly checks the names of a request's parameters.
func hasExactly(t *testing.T, r offhooktest.Request, names ...string) {
	t.Helper()
	slices.Sort(names)
	if diff := cmp.Diff(names, slices.Sorted(maps.Keys(r.Params))); diff != "" {
		t.Errorf("%s %s %s (-want +got):\n%s", r.Method, r.Path, r.Params.Get("CallStatus"), diff)
	}
	for name, values := range r.Params {
		if len(values) != 1 {
			t.Errorf("%s is sent %d times", name, len(values))
		}
	}
}

func TestEveryParameterOfEveryRequest(t *testing.T) {
	const from, to = "+14155550123", "+12125550145"
	srv := offhooktest.Start(t)
	app := srv.App(t)
	app.On("/voice", `<Response><Gather numDigits="1" action="/menu"/></Response>`)
	app.On("/menu", `<Response><Redirect>/next</Redirect></Response>`)
	app.OnFunc("/next", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	app.On("/fallback", `<Response><Say>Sorry, wrong digit</Say></Response>`)
	ph := srv.Phone(t, to)
	srv.Call(t, append(allEvents(app), "To", to, "From", from, "Url", app.URL("/voice"), "FallbackUrl", app.URL("/fallback"))...)
	line := ph.Answers()
	first := app.Got("/voice", "CallStatus", "in-progress", "Called", to, "Caller", from, "ToCountry", "US", "FromCity", "")
	hasExactly(t, first, standard...)
	line.Press("1")
	hasExactly(t, app.Got("/menu"), append([]string{"Digits", "FinishedOnKey", "msg"}, standard...)...)
	hasExactly(t, app.Got("/next"), standard...)
	hasExactly(t, app.Got("/fallback", "ErrorCode", "11200", "ErrorUrl", app.URL("/next")),
		append([]string{"ErrorCode", "ErrorUrl"}, standard...)...)
	line.HungUp()

	progress := append([]string{"Timestamp", "CallbackSource", "SequenceNumber"}, standard...)
	for _, status := range []string{"initiated", "ringing", "in-progress"} {
		hasExactly(t, app.Got("/status", "CallStatus", status), progress...)
	}
	hasExactly(t, app.Got("/status", "CallStatus", "completed"), append([]string{"CallDuration", "Duration", "SipResponseCode"}, progress...)...)
}

// Every call that ends has a SIP code to show for it, also when no SIP was spoken.
func TestACallThatCannotBeMade(t *testing.T) {
	srv := offhooktest.Start(t)
	app := srv.App(t)
	c := srv.Call(t, append(allEvents(app), "To", "sip:someone@nobody.invalid", "From", caller, "Twiml", "<Response/>")...)
	c.Is("failed")
	cb := app.Got("/status", "CallStatus", "failed", "SequenceNumber", "0", "CallDuration", "0", "Duration", "0")
	if code, err := strconv.Atoi(cb.Params.Get("SipResponseCode")); err != nil || code < 400 {
		t.Errorf("SipResponseCode %q, want a final SIP code", cb.Params.Get("SipResponseCode"))
	}
}

func TestOnlyTheEventsAskedForAreCounted(t *testing.T) {
	srv := offhooktest.Start(t)
	app := srv.App(t)
	ph := srv.Phone(t, callee)
	for _, tc := range []struct{ ask, want []string }{
		{nil, []string{"completed"}},
		{[]string{"ringing", "completed"}, []string{"ringing", "completed"}},
		{[]string{"answered"}, []string{"in-progress"}},
		{[]string{"answered", "nonsense"}, nil}, // 21626
	} {
		params := []string{"To", callee, "From", caller, "Twiml", "<Response/>", "StatusCallback", app.URL("/status")}
		for _, e := range tc.ask {
			params = append(params, "StatusCallbackEvent", e)
		}
		c := srv.Call(t, params...)
		ph.Answers().HungUp()
		c.Is("completed")
		for i, status := range tc.want {
			app.Got("/status", "CallSid", c.SID, "CallStatus", status, "SequenceNumber", strconv.Itoa(i))
		}
		if tc.want == nil {
			c.Notified(21626)
		}
	}
	if n := len(app.Requests("/status")); n != 4 {
		t.Errorf("%d callbacks in all, want 4", n)
	}
}

func TestUrlWinsOverTwimlWithAWarning(t *testing.T) {
	_, c, line := inCall(t, `<Response><Say>From the Url</Say></Response>`, "Twiml", "<Response><Say>Inline</Say></Response>")
	line.Hears("From the Url")
	if n := c.Notified(32019); n["log"] != "1" {
		t.Errorf("32019 has log level %v, want 1, a warning", n["log"])
	}
}

func TestCallbacksAreTriedAgainInOrder(t *testing.T) {
	srv := offhooktest.Start(t)
	app := srv.App(t)
	var tries atomic.Int32
	app.OnFunc("/status", func(w http.ResponseWriter, r *http.Request) {
		if tries.Add(1) <= 2 { // the first one, twice
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	ph := srv.Phone(t, callee)
	srv.Call(t, append(allEvents(app), "To", callee, "From", caller, "Twiml", "<Response/>")...)
	ph.Answers().HungUp()
	app.Got("/status", "CallStatus", "completed")
	var statuses []string
	token := ""
	for i, r := range app.Requests("/status") {
		statuses = append(statuses, r.Params.Get("CallStatus"))
		switch got := r.Header.Get("I-Twilio-Idempotency-Token"); {
		case i == 0:
			token = got
		case i < 3 && got != token:
			t.Errorf("try %d has another idempotency token", i+1)
		case i >= 3 && got == token:
			t.Errorf("callback %d has the token of the first one", i-2)
		}
	}
	want := []string{"initiated", "initiated", "initiated", "ringing", "in-progress", "completed"}
	if diff := cmp.Diff(want, statuses); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestACallbackThatIsRefusedIsAWarning(t *testing.T) {
	srv := offhooktest.Start(t)
	app := srv.App(t)
	app.OnFunc("/status", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) })
	ph := srv.Phone(t, callee)
	c := srv.Call(t, "To", callee, "From", caller, "Twiml", "<Response/>", "StatusCallback", app.URL("/status"))
	ph.Answers().HungUp()
	if n := c.Notified(15003); n["log"] != "1" {
		t.Errorf("15003 has log level %v, want 1", n["log"])
	}
	if n := len(app.Requests("/status")); n != 1 {
		t.Errorf("%d requests, want one: 404 is an answer", n)
	}
}

func TestConnectionOverrides(t *testing.T) {
	srv := offhooktest.Start(t)
	app := srv.App(t)
	var voice, status atomic.Int32
	app.OnFunc("/voice", func(w http.ResponseWriter, r *http.Request) {
		if voice.Add(1) < 3 {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "text/xml")
		_, _ = w.Write([]byte("<Response><Say>Third time</Say></Response>"))
	})
	app.OnFunc("/status", func(w http.ResponseWriter, _ *http.Request) {
		if status.Add(1) == 1 {
			w.WriteHeader(http.StatusNotFound)
		}
	})
	ph := srv.Phone(t, callee)
	c := srv.Call(t, "To", callee, "From", caller, "Url", app.URL("/voice#rc=2&rp=5xx"), "StatusCallback", app.URL("/status#rc=1&rp=4xx"))
	line := ph.Answers()
	line.Hears("Third time")
	line.HungUp()
	c.Is("completed")
	app.Got("/status")
	a, b := app.Got("/status"), app.Requests("/status")[0]
	if a.Header.Get("I-Twilio-Idempotency-Token") != b.Header.Get("I-Twilio-Idempotency-Token") {
		t.Error("a retry has another idempotency token")
	}
}

func TestACallbackByGET(t *testing.T) {
	srv := offhooktest.Start(t)
	app := srv.App(t)
	ph := srv.Phone(t, callee)
	srv.Call(t, "To", callee, "From", caller, "Twiml", "<Response/>", "StatusCallback", app.URL("/status?a=%2B1"), "StatusCallbackMethod", "GET")
	ph.Answers().HungUp()
	r := app.Got("/status", "CallStatus", "completed", "a", "+1")
	if r.Method != "GET" || !strings.HasPrefix(r.Query, "a=%2B1&") || r.Header.Get("Content-Type") != "" {
		t.Errorf("%s with query %q and type %q", r.Method, r.Query, r.Header.Get("Content-Type"))
	}
}

// One bad server delays nobody else's callbacks, and its own calls are not delayed either.
func TestASlowCallbackDelaysNoCall(t *testing.T) {
	srv := offhooktest.Start(t)
	app, slow := srv.App(t), srv.App(t)
	release := make(chan struct{})
	slow.OnFunc("/status", func(http.ResponseWriter, *http.Request) { <-release })
	defer close(release)
	ph := srv.Phone(t, callee)
	srv.Call(t, append(allEvents(slow), "To", callee, "From", caller, "Twiml", "<Response><Say>Hello</Say></Response>")...)
	line := ph.Answers()
	line.Hears("Hello")
	line.HungUp()
	srv.Call(t, append(allEvents(app), "To", callee, "From", caller, "Twiml", "<Response/>")...)
	ph.Answers().HungUp()
	app.Got("/status", "CallStatus", "completed")
}
