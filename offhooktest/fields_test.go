package offhooktest_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/offhook/offhook/offhooktest"
	"github.com/offhook/offhook/phone"
)

// numberSID is the SID of a number.
func numberSID(t *testing.T, srv *offhooktest.Server, number string) string {
	t.Helper()
	code, answer := srv.Request("GET", "/IncomingPhoneNumbers.json", url.Values{"PhoneNumber": {number}})
	list, _ := answer["incoming_phone_numbers"].([]any)
	if code != http.StatusOK || len(list) != 1 {
		t.Fatalf("number %s: %d %v", number, code, answer)
	}
	return list[0].(map[string]any)["sid"].(string)
}

// fields compares a resource with names and values in turn.
func fields(t *testing.T, resource map[string]any, pairs ...any) {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if name := pairs[i].(string); resource[name] != pairs[i+1] {
			t.Errorf("%s is %v, want %v", name, resource[name], pairs[i+1])
		}
	}
}

// A call that came in, and the two that its Dial rings at once, say by whom, by which number and together with whom.
func TestWhatACallSaysOfItsParties(t *testing.T) {
	srv := offhooktest.Start(t)
	app := srv.App(t)
	app.On("/voice", `<Response><Dial callerId="`+own+`" action="/after"><Number>`+bob+`</Number><Number>`+carol+`</Number></Dial></Response>`)
	app.On("/after", `<Response/>`)
	srv.Number(t, own, app.URL("/voice"), "VoiceCallerIdLookup", "true")
	sid := numberSID(t, srv, own)
	b, c := srv.Phone(t, bob), srv.Phone(t, carol)

	line := srv.Phone(t, alice).Call(phone.Outgoing{To: own, Name: "Ann Lee"})
	parent := srv.Find(t, app.Got("/voice", "CallerName", "Ann Lee").Params.Get("CallSid"))
	b.Answers()
	c.Incoming()
	fields(t, parent.Is("in-progress"), "caller_name", "Ann Lee", "phone_number_sid", sid, "from", alice, "to", own, "direction", "inbound",
		"group_sid", nil, "parent_call_sid", nil, "forwarded_from", nil, "trunk_sid", nil, "queue_time", "0", "annotation", nil, "answered_by", nil,
		"api_version", "2010-04-01", "account_sid", srv.AccountSID, "from_formatted", formatted(alice), "to_formatted", formatted(own))
	_, answer := srv.Request("GET", "/Calls.json", url.Values{"ParentCallSid": {parent.SID}})
	children, _ := answer["calls"].([]any)
	if len(children) != 2 {
		t.Fatalf("children: %v", answer)
	}
	group := children[0].(map[string]any)["group_sid"]
	if text := fmt.Sprint(group); !strings.HasPrefix(text, "GP") || len(text) != 34 {
		t.Errorf("group_sid %v", group)
	}
	for _, child := range children {
		fields(t, child.(map[string]any), "group_sid", group, "phone_number_sid", sid, "from", own, "direction", "outbound-dial", "caller_name", nil)
	}
	_, session := srv.Request("GET", "/v1/calls/"+parent.SID, nil)
	fields(t, session, "callerName", "Ann Lee", "phoneNumberSid", sid, "groupSid", nil, "from", alice, "direction", "inbound", "status", "in-progress",
		"fromFormatted", formatted(alice), "held", false, "muted", false, "queueTime", 0.0)
	line.Hangup()
	parent.Is("completed")
}

// formatted is how a North American number is written for people.
func formatted(number string) string {
	if len(number) != 12 {
		return number
	}
	return "(" + number[2:5] + ") " + number[5:8] + "-" + number[8:]
}

// A call that waited for a slot says how long; what was noted beside it is shown by both APIs.
func TestACallSaysHowLongItWaitedAndWhatWasNoted(t *testing.T) {
	srv := offhooktest.Start(t, offhooktest.SimulatorLimits(0, 1))
	first := srv.Phone(t, callee)
	second := srv.Phone(t, bob)
	srv.Number(t, own, "http://127.0.0.1:1/")
	a := srv.Call(t, "To", callee, "From", own, "Twiml", `<Response><Pause length="600"/></Response>`)
	line := first.Answers()
	fields(t, a.Is("in-progress"), "phone_number_sid", numberSID(t, srv, own))
	b := srv.Call(t, "To", bob, "From", caller, "Twiml", "<Response/>")
	patch(t, srv, b.SID, `{"annotation":"a good one","metadata":{"order":7}}`)
	fields(t, b.Fetch(), "status", "queued", "annotation", "a good one", "start_time", nil, "duration", nil)
	line.Hangup()
	second.Answers().HungUp()
	got := b.Is("completed")
	fields(t, got, "annotation", "a good one", "phone_number_sid", nil, "direction", "outbound-api")
	if got["queue_time"] == "0" {
		t.Error("queue_time is 0 of a call that waited for another one")
	}
	_, session := srv.Request("GET", "/v1/calls/"+b.SID, nil)
	fields(t, session, "annotation", "a good one", "status", "completed")
	if order := session["metadata"].(map[string]any)["order"]; order != 7.0 {
		t.Errorf("metadata: %v", session["metadata"])
	}
}

// patch changes a TwilioCall.
func patch(t *testing.T, srv *offhooktest.Server, call, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPatch, srv.URL+"/v1/calls/"+call, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(srv.AccountSID, srv.AuthToken)
	req.Header.Set("Content-Type", "application/json")
	client := http.Client{Timeout: offhooktest.Patience, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("update: %s", resp.Status)
	}
}

// The methods of a redirect are those of its document and of its fallback.
func TestARedirectByGET(t *testing.T) {
	srv := offhooktest.Start(t)
	app := srv.App(t)
	app.On("/first", `<Response><Pause length="600"/></Response>`)
	app.OnFunc("/second", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "broken", http.StatusInternalServerError) })
	app.On("/fallback", `<Response><Hangup/></Response>`)
	ph := srv.Phone(t, callee)
	c := srv.Call(t, "To", callee, "From", caller, "Url", app.URL("/first"))
	line := ph.Answers()
	app.Got("/first")
	c.Update("Url", app.URL("/second"), "Method", "GET", "FallbackUrl", app.URL("/fallback"), "FallbackMethod", "GET")
	for _, path := range []string{"/second", "/fallback"} {
		if r := app.Got(path); r.Method != "GET" {
			t.Errorf("%s by %s, want GET", path, r.Method)
		}
	}
	line.HungUp()
}
