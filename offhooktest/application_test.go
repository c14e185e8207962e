package offhooktest_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/offhook/offhook/offhooktest"
)

// application makes a TwiML application.
func application(t *testing.T, srv *offhooktest.Server, params ...string) (sid string) {
	t.Helper()
	form := url.Values{}
	for i := 0; i < len(params); i += 2 {
		form.Add(params[i], params[i+1])
	}
	code, answer := srv.Request("POST", "/Applications.json", form)
	sid, _ = answer["sid"].(string)
	if code != http.StatusCreated || !strings.HasPrefix(sid, "AP") {
		t.Fatalf("application: %d %v", code, answer)
	}
	return sid
}

// The application says what happens, and none of what the create says beside it counts.
func TestACallOfAnApplication(t *testing.T) {
	srv := offhooktest.Start(t)
	app := srv.App(t)
	app.OnFunc("/voice", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "broken", http.StatusInternalServerError) })
	app.On("/fallback", `<Response><Say>Sorry</Say></Response>`)
	sid := application(t, srv, "VoiceUrl", app.URL("/voice"), "VoiceMethod", "GET", "VoiceFallbackUrl", app.URL("/fallback"),
		"VoiceFallbackMethod", "GET", "StatusCallback", app.URL("/status"), "StatusCallbackMethod", "GET")

	ph := srv.Phone(t, callee)
	c := srv.Call(t, "To", callee, "From", caller, "ApplicationSid", sid, "Url", app.URL("/own"), "Twiml", "<Response/>",
		"Method", "POST", "FallbackUrl", app.URL("/own"), "FallbackMethod", "POST", "StatusCallback", app.URL("/own"),
		"StatusCallbackMethod", "POST", "StatusCallbackEvent", "initiated", "StatusCallbackEvent", "completed")
	line := ph.Answers()
	for path, params := range map[string][]string{"/voice": nil, "/fallback": {"ErrorCode", "11200"}} {
		if r := app.Got(path, append(params, "ApplicationSid", sid, "CallSid", c.SID)...); r.Method != "GET" {
			t.Errorf("%s was asked by %s", path, r.Method)
		}
	}
	line.Hears("Sorry")
	line.HungUp()
	if r := app.Got("/status", "CallStatus", "completed", "SequenceNumber", "0", "ApplicationSid", sid); r.Method != "GET" {
		t.Errorf("the status callback came by %s", r.Method)
	}
	if n := len(app.Requests("/own")); n > 0 {
		t.Errorf("%d requests went to URLs that an application is instead of", n)
	}
}

func TestAnApplicationThatIsNone(t *testing.T) {
	srv := offhooktest.Start(t)
	app := srv.App(t)
	gone := application(t, srv, "VoiceUrl", app.URL("/voice"))
	if code, answer := srv.Request("DELETE", "/Applications/"+gone+".json", nil); code != http.StatusNoContent {
		t.Fatalf("delete: %d %v", code, answer)
	}
	silent := application(t, srv, "FriendlyName", "without a URL")
	for sid, want := range map[string]float64{gone: 21218, "AP1": 21218, silent: 21205} {
		code, answer := srv.Request("POST", "/Calls.json", url.Values{"To": {callee}, "From": {caller}, "ApplicationSid": {sid}, "Url": {app.URL("/")}})
		if code != http.StatusBadRequest || answer["code"] != want {
			t.Errorf("%s: %d %v, want %v", sid, code, answer, want)
		}
	}
}

// VoiceApplicationSid goes before VoiceUrl, and is gone with its application.
func TestACallToANumberOfAnApplication(t *testing.T) {
	srv := offhooktest.Start(t)
	app := srv.App(t)
	app.On("/app", `<Response><Say>Shop</Say></Response>`)
	app.On("/own", `<Response><Say>Nobody</Say></Response>`)
	sid := application(t, srv, "VoiceUrl", app.URL("/app"), "StatusCallback", app.URL("/status"))
	srv.Number(t, own, app.URL("/own"), "VoiceApplicationSid", sid, "StatusCallback", app.URL("/own"))

	ph := srv.Phone(t, callee)
	line := ph.Dial(own)
	app.Got("/app", "ApplicationSid", sid, "To", own, "Direction", "inbound", "CallStatus", "ringing")
	line.Hears("Shop")
	line.HungUp()
	app.Got("/status", "CallStatus", "completed", "ApplicationSid", sid)
	if n := len(app.Requests("/own")); n > 0 {
		t.Errorf("%d requests for the number's own URLs", n)
	}

	if code, answer := srv.Request("DELETE", "/Applications/"+sid+".json", nil); code != http.StatusNoContent {
		t.Fatalf("delete: %d %v", code, answer)
	}
	line = ph.Dial(own)
	if r := app.Got("/own", "CallStatus", "ringing"); r.Params.Has("ApplicationSid") {
		t.Errorf("a number without application: %v", r.Params)
	}
	line.Hears("Nobody")
	line.HungUp()
}

// Who dials an application has two calls: its own child, and the one that the application is asked about.
func TestDialAnApplication(t *testing.T) {
	srv := offhooktest.Start(t)
	app := srv.App(t)
	app.On("/app", `<Response><Gather numDigits="1" action="/menu"><Say>Welcome</Say></Gather></Response>`)
	app.On("/menu", `<Response><Reject/></Response>`)
	app.On("/after", `<Response><Say>Good bye</Say></Response>`)
	sid := application(t, srv, "VoiceUrl", app.URL("/app"), "StatusCallback", app.URL("/ended"))
	app.On("/voice", `<Response><Dial action="/after"><Application customerId="C7" statusCallback="/child" statusCallbackEvent="initiated answered completed">
		<ApplicationSid>`+sid+`</ApplicationSid><Parameter name="basket" value="3 &amp; more"/><Parameter name="To" value="forged"/></Application></Dial></Response>`)
	srv.Number(t, own, app.URL("/voice"))

	line := srv.Phone(t, callee).Dial(own)
	parent := app.Got("/voice").Params.Get("CallSid")
	child := app.Got("/child", "CallStatus", "initiated", "ParentCallSid", parent, "To", "app:"+sid, "From", callee, "Direction", "outbound-dial").Params
	asked := app.Got("/app", "ApplicationSid", sid, "To", "app:"+sid, "From", callee, "Direction", "inbound", "basket", "3 & more", "CustomerId", "C7").Params
	if asked.Get("CallSid") == child.Get("CallSid") || asked.Has("SipHeader_X-Offhook-Call") {
		t.Errorf("the application was asked about %v", asked)
	}
	line.Hears("Welcome")
	line.Press("5")
	app.Got("/menu", "Digits", "5", "basket", "3 & more")
	app.Got("/ended", "CallSid", asked.Get("CallSid"), "CallStatus", "completed")
	app.Got("/child", "CallStatus", "completed", "CallSid", child.Get("CallSid"))
	app.Got("/after", "DialCallStatus", "completed", "DialBridged", "true", "DialCallSid", child.Get("CallSid"))
	line.Hears("Good bye")
	line.HungUp()
}

// The call of the application may have the To of its caller's, and be refused.
func TestDialAnApplicationAsTheParent(t *testing.T) {
	srv := offhooktest.Start(t)
	app := srv.App(t)
	app.On("/app", `<Response><Reject reason="busy"/></Response>`)
	app.On("/after", `<Response/>`)
	sid := application(t, srv, "VoiceUrl", app.URL("/app"))
	app.On("/voice", `<Response><Dial action="/after" callerId="client:ann marie"><Application copyParentTo="true"><ApplicationSid>`+sid+`</ApplicationSid></Application></Dial></Response>`)
	srv.Number(t, own, app.URL("/voice"))
	line := srv.Phone(t, callee).Dial(own)
	app.Got("/app", "To", own, "From", "client:ann marie", "ApplicationSid", sid)
	app.Got("/after", "DialCallStatus", "busy", "DialBridged", "false")
	line.HungUp()
}

func TestDialAnApplicationThatIsNone(t *testing.T) {
	srv := offhooktest.Start(t)
	app := srv.App(t)
	const none = "AP00000000000000000000000000000000"
	app.On("/voice", `<Response><Dial action="/after"><Application><ApplicationSid>`+none+`</ApplicationSid></Application></Dial></Response>`)
	app.On("/after", `<Response/>`)
	srv.Number(t, own, app.URL("/voice"))
	line := srv.Phone(t, callee).Dial(own)
	c := srv.Find(t, app.Got("/after", "DialCallStatus", "failed", "DialBridged", "false").Params.Get("CallSid"))
	line.HungUp()
	c.Notified(21218)
}

// A call that came in is forwarded to another of our numbers with its CallToken: that one sees who called, and whom.
func TestACallIsForwardedWithItsToken(t *testing.T) {
	srv := offhooktest.Start(t)
	app := srv.App(t)
	const other = "+15550198"
	app.On("/voice", `<Response><Pause length="60"/></Response>`)
	app.On("/other", `<Response><Reject/></Response>`)
	srv.Number(t, own, app.URL("/voice"), "StatusCallback", app.URL("/ended"))
	srv.Number(t, other, app.URL("/other"))
	line := srv.Phone(t, callee).Dial(own)
	token := app.Got("/voice", "Direction", "inbound").Params.Get("CallToken")
	c := srv.Call(t, "To", other, "From", callee, "CallToken", token, "Twiml", "<Response/>")
	in := srv.Find(t, app.Got("/other", "From", callee, "To", other, "ForwardedFrom", own).Params.Get("CallSid"))
	if got := in.Is("no-answer"); got["forwarded_from"] != own {
		t.Errorf("forwarded_from %v of the call that came in, want %s", got["forwarded_from"], own)
	}
	if got := c.Is("failed"); got["forwarded_from"] != own {
		t.Errorf("forwarded_from %v, want %s", got["forwarded_from"], own)
	}
	line.Hangup()
	app.Got("/ended", "CallStatus", "no-answer")
}
