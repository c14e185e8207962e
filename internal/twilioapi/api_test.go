package twilioapi

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/csv"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/clock"
	"github.com/offhook/offhook/internal/twilio"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares an answer's body with testdata/name.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

// fullCall has a value in every field.
func fullCall() *call.Call {
	return &call.Call{
		SID: callSID(7), AccountSID: testSID, ParentSID: callSID(6), To: "+14158675309", From: "sip:\"a\"<&>@h",
		Direction: call.OutboundAPI, Status: call.Completed,
		DateCreated: testTime, DateUpdated: testTime.Add(time.Minute), DialedAt: testTime.Add(time.Second),
		AnsweredAt: testTime.Add(3 * time.Second), EndedAt: testTime.Add(18 * time.Second), QueueTime: 1500 * time.Millisecond,
		NumberSID: "PN" + strings.Repeat("1", 32), TrunkSID: "TK" + strings.Repeat("2", 32), GroupSID: "GP" + strings.Repeat("3", 32),
		ForwardedFrom: "+15550001111", CallerName: "Köln \u2028 \"x\"\n\x01", AnsweredBy: "machine_start", Annotation: "note",
		Price: "0.03000", PriceUnit: "USD",
	}
}

func TestGoldenAnswers(t *testing.T) {
	f := newFake()
	f.calls = []*call.Call{fullCall()}
	f.notifications = []call.Notification{{
		SID: "NO" + strings.Repeat("4", 32), AccountSID: testSID, CallSID: callSID(7), Code: 11200, Level: call.LevelError,
		Message: "HTTP retrieval failure: 500 & more", Time: testTime, RequestMethod: "POST", RequestURL: "https://app.example.com/voice",
		RequestParams: "CallSid=" + callSID(7), ResponseHeaders: "Content-Type=text%2Fhtml", ResponseBody: "<h1>oops</h1>",
	}, {
		SID: "NO" + strings.Repeat("5", 32), AccountSID: testSID, CallSID: callSID(7), Code: 21626, Level: call.LevelWarning,
		Message: "Invalid StatusCallbackEvent", Time: testTime,
	}}
	f.requests = []call.Request{{
		ID: "EV" + strings.Repeat("1", 32), CallSID: callSID(7), Time: testTime, Method: "POST", URL: "https://app.example.com/voice?a=b&c",
		Params: "CallSid=" + callSID(7) + "&From=%2B15557654321&Digits=12%23&SipHeader_X-%3Cname%3E=a", Status: 200,
		ContentType: "text/xml", Length: 23, Body: "<Response>\n</Response>", Duration: 1234500 * time.Microsecond,
	}, {
		ID: "EV" + strings.Repeat("2", 32), CallSID: callSID(7), Time: testTime.Add(time.Second), Method: "GET", URL: "http://127.0.0.1:1/", Duration: time.Millisecond,
	}}
	f.numbers = []*call.Number{{
		SID: "PN" + strings.Repeat("6", 32), AccountSID: testSID, PhoneNumber: "+14158675309", FriendlyName: "(415) 867-5309",
		VoiceURL: "https://app.example.com/voice", VoiceMethod: "POST", FallbackMethod: "POST", StatusMethod: "POST",
		CallerIDLookup: true, DateCreated: testTime, DateUpdated: testTime,
	}}
	empty := newFake()
	tests := []struct {
		file   string
		f      *fake
		method string
		path   string
		body   any
		status int
	}{
		{"call.json", f, "GET", callsPath + "/" + callSID(7) + ".json", nil, 200},
		{"call.xml", f, "GET", callsPath + "/" + callSID(7), nil, 200},
		{"call_created.json", f, "POST", callsPath + ".json", url.Values{
			"To": {"(415) 867-5309"}, "From": {"+15557654321"}, "Url": {"http://localhost:3000/voice"}}, 201},
		{"calls.json", f, "GET", callsPath + ".json?To=%2B14158675309&StartTime%3E=2026-01-01&PageSize=1", nil, 200},
		{"calls.xml", f, "GET", callsPath + ".xml?Status=completed", nil, 200},
		{"calls_empty.json", empty, "GET", callsPath + ".json", nil, 200},
		{"calls_empty.xml", empty, "GET", callsPath, nil, 200},
		{"number.json", f, "GET", pnPath + "/PN" + strings.Repeat("6", 32) + ".json", nil, 200},
		{"number.xml", f, "GET", pnPath + "/PN" + strings.Repeat("6", 32), nil, 200},
		{"numbers.json", f, "GET", pnPath + ".json?PhoneNumber=867", nil, 200},
		{"notifications.json", f, "GET", callsPath + "/" + callSID(7) + "/Notifications.json", nil, 200},
		{"notifications_account.json", f, "GET", base + "/Accounts/" + testSID + "/Notifications.json?Log=1", nil, 200},
		{"notification.json", f, "GET", base + "/Accounts/" + testSID + "/Notifications/NO" + strings.Repeat("4", 32) + ".json", nil, 200},
		{"notification_call.json", f, "GET", callsPath + "/" + callSID(7) + "/Notifications/NO" + strings.Repeat("5", 32) + ".json", nil, 200},
		{"events.json", f, "GET", callsPath + "/" + callSID(7) + "/Events.json", nil, 200},
		{"calls.csv", f, "GET", callsPath + ".csv?Status=completed&PageSize=1", nil, 200},
		{"numbers.csv", f, "GET", pnPath + ".csv", nil, 200},
		{"notifications.csv", f, "GET", callsPath + "/" + callSID(7) + "/Notifications.csv", nil, 200},
		{"events.csv", f, "GET", callsPath + "/" + callSID(7) + "/Events.csv", nil, 200},
		{"calls_empty.csv", empty, "GET", callsPath + ".csv", nil, 200},
		{"events.xml", f, "GET", callsPath + "/" + callSID(7) + "/Events", nil, 200},
		{"events_page.json", f, "GET", callsPath + "/" + callSID(7) + "/Events.json?PageSize=1&Page=1", nil, 200},
		{"account.json", f, "GET", base + "/Accounts/" + testSID + ".json", nil, 200},
		{"accounts.json", f, "GET", base + "/Accounts.json", nil, 200},
		{"error.json", f, "GET", callsPath + "/" + callSID(8) + ".json", nil, 404},
		{"error.xml", f, "GET", callsPath + "/" + callSID(8), nil, 404},
	}
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) {
			a := ask(t, tt.f, tt.method, tt.path, tt.body)
			if a.status != tt.status {
				t.Errorf("status %d, want %d", a.status, tt.status)
			}
			want := "application/json"
			switch filepath.Ext(tt.file) {
			case ".xml":
				want = "application/xml; charset=utf-8"
			case ".csv":
				want = "text/csv; charset=utf-8"
			}
			if got := a.header.Get("Content-Type"); got != want {
				t.Errorf("Content-Type %s", got)
			}
			golden(t, tt.file, a.body)
		})
	}
}

func TestHeaders(t *testing.T) {
	a := ask(t, newFake(), "GET", base+"/Accounts/"+testSID+".json", nil)
	if id := a.header.Get("Twilio-Request-Id"); !twilio.IsSID(id, twilio.RequestPrefix) {
		t.Errorf("Twilio-Request-Id %q", id)
	}
	for name, want := range map[string]string{
		"Twilio-Request-Duration": "0.000", "Twilio-Concurrent-Requests": "1", "Access-Control-Allow-Origin": "*",
		"Access-Control-Allow-Credentials": "true", "Access-Control-Expose-Headers": "ETag",
	} {
		if got := a.header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	a = ask(t, newFake(), "OPTIONS", callsPath+".json", nil, "Authorization", "")
	if a.status != http.StatusNoContent || a.header.Get("Access-Control-Allow-Methods") != "GET, POST, DELETE, OPTIONS" ||
		!strings.Contains(a.header.Get("Access-Control-Allow-Headers"), "Idempotency-Key") {
		t.Errorf("OPTIONS: %d %v", a.status, a.header)
	}
}

func TestAuthentication(t *testing.T) {
	const unauthorized = `{"code":20003,"message":"Authenticate","more_info":"https://www.twilio.com/docs/errors/20003","status":401}`
	path := base + "/Accounts/" + testSID + ".json"
	tests := []struct {
		name, path, user, password string
		want                       int
	}{
		{"right", path, testSID, testToken, 200},
		{"wrong token", path, testSID, "wrong", 401},
		{"no token", path, testSID, "", 401},
		{"token and more", path, testSID, testToken + "0", 401},
		{"unknown account", path, "AC" + strings.Repeat("9", 32), testToken, 401},
		{"no account", path, "", testToken, 401},
		{"an API key", path, "SK" + testSID[2:], testToken, 401},
		{"another account's path", base + "/Accounts/" + otherSID + ".json", testSID, testToken, 401},
		{"another account's call", base + "/Accounts/" + otherSID + "/Calls/" + callSID(1) + ".json", testSID, testToken, 401},
		{"a path that is nobody's", base + "/Nothing.json", testSID, "wrong", 401},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", tt.path, nil)
			r.SetBasicAuth(tt.user, tt.password)
			w := httptest.NewRecorder()
			f := newFake()
			New(Config{Calls: f, Store: f}).ServeHTTP(w, r)
			if w.Code != tt.want {
				t.Fatalf("status %d, want %d", w.Code, tt.want)
			}
			if w.Code == 401 && (w.Body.String() != unauthorized || w.Header().Get("WWW-Authenticate") != `Basic realm="Twilio API"`) {
				t.Errorf("%v %s", w.Header(), w.Body)
			}
		})
	}
	for _, header := range []string{"", "Basic", "Basic !!!", "Bearer x", "Basic " + strings.Repeat("A", 100000)} {
		if a := ask(t, newFake(), "GET", path, nil, "Authorization", header); a.status != 401 || a.body != unauthorized {
			t.Errorf("Authorization %.20q: %d %s", header, a.status, a.body)
		}
	}
}

// A rotated token works at once; the old one no longer than the cache keeps it.
func TestTokenRotation(t *testing.T) {
	f := newFake()
	now := testTime
	c := &movingClock{now: &now}
	h := New(Config{Calls: f, Store: f, Clock: c})
	try := func(token string) int {
		r := httptest.NewRequest("GET", base+"/Accounts/"+testSID+".json", nil)
		r.SetBasicAuth(testSID, token)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code
	}
	if got := try(testToken); got != 200 {
		t.Fatal(got)
	}
	f.accounts[0] = &call.Account{SID: testSID, AuthToken: "new", Status: call.AccountActive}
	if got := try("new"); got != 200 {
		t.Errorf("new token: %d", got)
	}
	if got := try(testToken); got != 401 {
		t.Errorf("old token once the new one was seen: %d", got)
	}
	f.accounts = nil
	now = now.Add(5 * time.Second)
	if got := try("new"); got != 401 {
		t.Errorf("deleted account: %d", got)
	}
}

type movingClock struct {
	fixedClock
	now *time.Time
}

func (c *movingClock) Now() time.Time { return *c.now }

// Every way in which a request is refused before it reaches Calls or Store, or by them.
func TestErrors(t *testing.T) {
	ok := url.Values{"To": {"+14158675309"}, "From": {"+15557654321"}, "Url": {"https://app.example.com/voice"}}
	with := func(pairs ...string) url.Values {
		v := url.Values{}
		for name, value := range ok {
			v[name] = value
		}
		for i := 0; i < len(pairs); i += 2 {
			v[pairs[i]] = []string{pairs[i+1]}
		}
		return v
	}
	one := callsPath + "/" + callSID(1) + ".json"
	number := pnPath + "/PN" + strings.Repeat("6", 32) + ".json"
	tests := []struct {
		name, method, path string
		body               any
		status, code       int
		message            string // part of it
	}{
		{"unknown resource", "GET", base + "/Accounts/" + testSID + "/Nothing.json", nil, 404, 20404, "The requested resource " + base + "/Accounts/" + testSID + "/Nothing.json was not found"},
		{"root", "GET", base + ".json", nil, 404, 20404, ""},
		{"another suffix", "GET", callsPath + ".yaml", nil, 404, 20404, ""},
		{"html", "GET", callsPath + ".html", nil, 406, 20001, "Calls.json"},
		{"trailing slash", "GET", callsPath + "/.json", nil, 404, 20404, ""},
		{"case of the path", "GET", strings.Replace(callsPath, "Calls", "calls", 1) + ".json", nil, 404, 20404, ""},
		{"PUT", "PUT", one, nil, 405, 20004, "PUT is not allowed"},
		{"HEAD of nothing", "HEAD", base + "/Accounts/" + testSID + "/Nothing.json", nil, 404, 20404, ""},
		{"a strange method", "BREW", one, nil, 405, 20004, ""},
		{"DELETE of a collection", "DELETE", callsPath + ".json", nil, 405, 20004, ""},
		{"unknown call", "GET", callsPath + "/" + callSID(9) + ".json", nil, 404, 20404, callSID(9)},
		{"not a SID", "GET", callsPath + "/x.json", nil, 404, 20404, "Calls/x.json"},
		{"SID of another kind", "GET", callsPath + "/PN" + strings.Repeat("6", 32) + ".json", nil, 404, 20404, ""},
		{"escaped NUL in the SID", "GET", callsPath + "/CA%00.json", nil, 404, 20404, ""},
		{"update of an unknown call", "POST", callsPath + "/" + callSID(9) + ".json", url.Values{"Status": {"completed"}}, 404, 20404, ""},
		{"delete of an unknown call", "DELETE", callsPath + "/" + callSID(9) + ".json", nil, 404, 20404, ""},

		{"no parameters", "POST", callsPath + ".json", nil, 400, 21201, ""},
		{"no From", "POST", callsPath + ".json", with("From", ""), 400, 21213, ""},
		{"no Url", "POST", callsPath + ".json", with("Url", ""), 400, 21205, "Url parameter is required."},
		{"required before syntax", "POST", callsPath + ".json", with("To", "", "Timeout", "x"), 400, 21201, ""},
		{"bad To", "POST", callsPath + ".json", with("To", "12"), 400, 21211, "12"},
		{"bad Url", "POST", callsPath + ".json", with("Url", "example"), 400, 21205, "Url is not a valid URL: example"},
		{"Timeout is a word", "POST", callsPath + ".json", with("Timeout", "x"), 400, 21208, "Timeout"},
		{"Timeout is a fraction", "POST", callsPath + ".json", with("Timeout", "1.5"), 400, 21208, ""},
		{"Timeout has a sign", "POST", callsPath + ".json", with("Timeout", "+5"), 400, 21208, ""},
		{"Timeout is zero", "POST", callsPath + ".json", with("Timeout", "0"), 400, 21208, ""},
		{"Timeout is too long", "POST", callsPath + ".json", with("Timeout", "601"), 400, 21208, ""},
		{"Timeout overflows", "POST", callsPath + ".json", with("Timeout", "99999999999999999999"), 400, 21208, ""},
		{"TimeLimit", "POST", callsPath + ".json", with("TimeLimit", "0"), 400, 20001, "TimeLimit"},
		{"not UTF-8", "POST", callsPath + ".json", "To=%ff", 400, 20001, "To is not valid UTF-8"},
		{"NUL", "POST", callsPath + ".json", with("Twiml", "a\x00"), 400, 20001, "Twiml"},
		{"bad escape", "POST", callsPath + ".json", "To=%zz", 400, 20001, "percent-encoding"},
		{"bad escape in an unknown name", "POST", callsPath + ".json", "To=1&%4=x", 400, 20001, "percent-encoding"},
		{"bad escape in the query", "GET", callsPath + ".json?To=%4", nil, 400, 20001, "percent-encoding"},
		{"too many parameters", "POST", callsPath + ".json", strings.Repeat("a=1&", maxParams+1), 400, 20001, "1000 parameters"},
		{"too large", "POST", callsPath + ".json", "Twiml=" + strings.Repeat("x", maxBody), 413, 20001, "larger"},

		{"Record", "POST", callsPath + ".json", with("Record", "perhaps"), 400, 20001, "Record"},
		{"MachineDetection", "POST", callsPath + ".json", with("MachineDetection", "Maybe"), 400, 21234, "MachineDetection must be"},
		{"MachineDetectionTimeout", "POST", callsPath + ".json", with("MachineDetectionTimeout", "60"), 400, 21234, "from 3 to 59"},
		{"MachineDetectionSpeechThreshold", "POST", callsPath + ".json", with("MachineDetectionSpeechThreshold", "999"), 400, 21234, "from 1000 to 6000"},
		{"MachineDetectionSpeechEndThreshold", "POST", callsPath + ".json", with("MachineDetectionSpeechEndThreshold", "x"), 400, 21234, "from 500 to 5000"},
		{"MachineDetectionSilenceTimeout", "POST", callsPath + ".json", with("MachineDetectionSilenceTimeout", "10001"), 400, 21234, "from 2000 to 10000"},
		{"AsyncAmd", "POST", callsPath + ".json", with("AsyncAmd", "later"), 400, 20001, "AsyncAmd must be"},
		{"ApplicationSid without Url", "POST", callsPath + ".json", with("Url", "", "ApplicationSid", "AP1"), 400, 21218, "AP1"},
		{"ClientNotificationUrl", "POST", callsPath + ".json", with("To", "client:bob", "ClientNotificationUrl", "bob"), 400, 20001, "ClientNotificationUrl"},
		{"ClientNotificationUrl of a number", "POST", callsPath + ".json", with("ClientNotificationUrl", "https://a/"), 400, 20001, "when To is a client"},
		{"IfMachine", "POST", callsPath + ".json", with("IfMachine", "Hangup"), 400, 21207, "MachineDetection"},
		{"client", "POST", callsPath + ".json", with("To", "client: bob"), 400, 21211, "Invalid client identity"},

		{"Status of update", "POST", one, url.Values{"Status": {"busy"}}, 400, 20001, "Status"},
		{"Url and Twiml", "POST", one, url.Values{"Url": {"https://a/"}, "Twiml": {"<Response/>"}}, 400, 20001, "together"},
		{"TimeLimit of update", "POST", one, url.Values{"TimeLimit": {"14401"}}, 400, 20001, "TimeLimit"},

		{"Status filter", "GET", callsPath + ".json?Status=initiated", nil, 400, 20001, "Status"},
		{"StartTime filter", "GET", callsPath + ".json?StartTime=yesterday", nil, 400, 20001, "StartTime"},
		{"EndTime< filter", "GET", callsPath + ".json?EndTime%3C=2026-02-30", nil, 400, 20001, "EndTime<"},
		{"PageSize", "GET", callsPath + ".json?PageSize=many", nil, 400, 20001, "PageSize"},
		{"Page", "GET", callsPath + ".json?Page=99999999999", nil, 400, 20001, "Page"},
		{"PageToken", "GET", callsPath + ".json?PageToken=PA" + testSID, nil, 400, 20001, "PageToken"},

		{"recordings", "GET", callsPath + "/" + callSID(1) + "/Recordings.json", nil, 404, 20404, "is not available in this version"},
		{"one recording", "DELETE", callsPath + "/" + callSID(1) + "/Recordings/RE1.json", nil, 404, 20404, "is not available in this version"},
		{"streams", "POST", callsPath + "/" + callSID(1) + "/Streams.json", nil, 404, 20404, "is not available in this version"},
		{"a list of streams", "GET", callsPath + "/" + callSID(1) + "/Streams.json", nil, 405, 20004, "GET is not allowed"},
		{"stop of a stream", "POST", callsPath + "/" + callSID(1) + "/Streams/MZ1.json", nil, 404, 20404, "Streams of calls is not available in this version"},
		{"payments", "POST", callsPath + "/" + callSID(1) + "/Payments.json", nil, 404, 20404, "Payments of calls is not available in this version"},
		{"siprec", "POST", callsPath + "/" + callSID(1) + "/Siprec.json", nil, 404, 20404, "Siprec of calls is not available in this version"},
		{"transcriptions", "POST", callsPath + "/" + callSID(1) + "/Transcriptions.json", nil, 404, 20404, "Transcriptions of calls is not available in this version"},
		{"messages", "POST", callsPath + "/" + callSID(1) + "/UserDefinedMessages.json", nil, 404, 20404, "UserDefinedMessages of calls is not available in this version"},
		{"subscription", "DELETE", callsPath + "/" + callSID(1) + "/UserDefinedMessageSubscriptions/ZY1.json", nil, 404, 20404, "UserDefinedMessageSubscriptions of calls is not"},
		{"conferences", "GET", base + "/Accounts/" + testSID + "/Conferences.json", nil, 404, 20404, "is not available in this version"},
		{"queues", "GET", base + "/Accounts/" + testSID + "/Queues.json", nil, 404, 20404, "is not available in this version"},
		{"local numbers", "GET", pnPath + "/Local.json", nil, 404, 20404, "is not available in this version"},
		{"a subaccount's name", "POST", base + "/Accounts.json", url.Values{"FriendlyName": {strings.Repeat("x", 65)}}, 400, 20001, "64"},
		{"a status that is none", "POST", base + "/Accounts/" + testSID + ".json", url.Values{"Status": {"open"}}, 400, 20001, "Status"},
		{"suspending oneself", "POST", base + "/Accounts/" + testSID + ".json", url.Values{"Status": {"suspended"}}, 403, 20006, "subaccounts"},
		{"an account that is not ours", "GET", base + "/Accounts/" + otherSID + ".json", nil, 401, 20003, ""},

		{"events of an unknown call", "GET", callsPath + "/" + callSID(9) + "/Events.json", nil, 404, 20404, ""},
		{"events of no call", "GET", callsPath + "/CAx/Events.json", nil, 404, 20404, ""},
		{"events cannot be deleted", "DELETE", callsPath + "/" + callSID(1) + "/Events.json", nil, 405, 20004, ""},
		{"notifications cannot be deleted", "DELETE", base + "/Accounts/" + testSID + "/Notifications/NO" + strings.Repeat("4", 32) + ".json", nil, 405, 20004, ""},
		{"notifications of an unknown call", "GET", callsPath + "/" + callSID(9) + "/Notifications.json", nil, 404, 20404, ""},
		{"unknown notification", "GET", base + "/Accounts/" + testSID + "/Notifications/NO" + strings.Repeat("9", 32) + ".json", nil, 404, 20404, ""},
		{"notification of another call", "GET", callsPath + "/" + callSID(2) + "/Notifications/NO" + strings.Repeat("4", 32) + ".json", nil, 404, 20404, ""},
		{"Log filter", "GET", callsPath + "/" + callSID(1) + "/Notifications.json?Log=2", nil, 400, 20001, "Log"},
		{"MessageDate filter", "GET", base + "/Accounts/" + testSID + "/Notifications.json?MessageDate=x", nil, 400, 20001, "MessageDate"},

		{"number without PhoneNumber", "POST", pnPath + ".json", url.Values{"VoiceUrl": {"https://a/"}}, 400, 21421, "PhoneNumber"},
		{"AreaCode", "POST", pnPath + ".json", url.Values{"AreaCode": {"415"}}, 400, 20001, "AreaCode is not available"},
		{"bad PhoneNumber", "POST", pnPath + ".json", url.Values{"PhoneNumber": {"x"}}, 400, 21421, ""},
		{"taken PhoneNumber", "POST", pnPath + ".json", url.Values{"PhoneNumber": {"(415) 867-5309"}}, 400, 21422, "+14158675309"},
		{"SmsUrl", "POST", pnPath + ".json", url.Values{"PhoneNumber": {"+14158675310"}, "SmsUrl": {"https://a/"}}, 400, 20001, "SmsUrl is not available"},
		{"VoiceUrl", "POST", number, url.Values{"VoiceUrl": {"x"}}, 400, 11100, "VoiceUrl"},
		{"VoiceApplicationSid", "POST", number, url.Values{"VoiceApplicationSid": {"AP1"}}, 400, 20001, "VoiceApplicationSid"},
		{"TrunkSid", "POST", number, url.Values{"TrunkSid": {"TK1"}}, 400, 20001, "TrunkSid"},
		{"AccountSid", "POST", number, url.Values{"AccountSid": {otherSID}}, 400, 20001, "AccountSid"},
		{"VoiceCallerIdLookup", "POST", number, url.Values{"VoiceCallerIdLookup": {"maybe"}}, 400, 20001, "VoiceCallerIdLookup"},
		{"unknown number", "GET", pnPath + "/PN" + strings.Repeat("9", 32) + ".json", nil, 404, 20404, ""},
		{"update of an unknown number", "POST", pnPath + "/PN" + strings.Repeat("9", 32) + ".json", url.Values{}, 404, 20404, ""},
		{"delete of an unknown number", "DELETE", pnPath + "/PN" + strings.Repeat("9", 32) + ".json", nil, 404, 20404, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake()
			f.addCalls(2)
			f.numbers = []*call.Number{{SID: "PN" + strings.Repeat("6", 32), AccountSID: testSID, PhoneNumber: "+14158675309"}}
			f.notifications = []call.Notification{{SID: "NO" + strings.Repeat("4", 32), AccountSID: testSID, CallSID: callSID(1)}}
			a := ask(t, f, tt.method, tt.path, tt.body)
			if a.status != tt.status || a.code() != tt.code {
				t.Errorf("%d %d, want %d %d: %s", a.status, a.code(), tt.status, tt.code, a.body)
			}
			var e struct {
				Message  string
				MoreInfo string `json:"more_info"`
				Status   int
			}
			a.decode(t, &e)
			if !strings.Contains(e.Message, tt.message) {
				t.Errorf("message %q lacks %q", e.Message, tt.message)
			}
			if e.Status != tt.status || e.MoreInfo != fmt.Sprintf("https://www.twilio.com/docs/errors/%d", tt.code) {
				t.Errorf("envelope: %s", a.body)
			}
			if f.created.To != "" || len(f.numbers) != 1 {
				t.Error("something was created")
			}
		})
	}
	a := ask(t, newFake(), "PUT", one, nil)
	if got := a.header.Get("Allow"); got != "GET, POST, DELETE, OPTIONS" {
		t.Errorf("Allow: %s", got)
	}
	a = ask(t, newFake(), "POST", callsPath+".json", `{"To":"+14158675309"}`, "Content-Type", "application/json")
	if a.status != http.StatusUnsupportedMediaType || a.code() != 20001 {
		t.Errorf("JSON body: %d %s", a.status, a.body)
	}
}

// What Calls and Store return becomes the answer that tells a client what to do.
func TestErrorsFromBelow(t *testing.T) {
	tests := []struct {
		err          error
		status, code int
	}{
		{call.ErrNotFound, 404, 20404},
		{fmt.Errorf("store: %w", call.ErrUnavailable), 503, 20503},
		{call.ErrConflict, 409, 20409},
		{call.ErrLive, 409, 20009},
		{twilio.Err(22005), 400, 22005},
		{fmt.Errorf("wrapped: %w", twilio.Err(21210)), 400, 21210},
		{twilio.Err(32014), 400, 32014}, // a runtime code has no status of its own
		{errors.New("disk on fire"), 500, 20500},
	}
	for _, tt := range tests {
		t.Run(tt.err.Error(), func(t *testing.T) {
			f := newFake()
			f.addCalls(1)
			f.err = tt.err
			for _, r := range [][2]string{
				{"GET", callsPath + "/" + callSID(1) + ".json"}, {"DELETE", callsPath + "/" + callSID(1) + ".json"},
				{"POST", callsPath + "/" + callSID(1) + ".json"},
				{"POST", callsPath + ".json?To=%2B14158675309&From=%2B15557654321&Url=http://h/"},
			} {
				a := ask(t, f, r[0], r[1], nil)
				if a.status != tt.status || a.code() != tt.code || strings.Contains(a.body, "fire") {
					t.Errorf("%s: %d %s", r, a.status, a.body)
				}
				if (a.header.Get("Retry-After") != "") != (tt.status == 503) {
					t.Errorf("%s: Retry-After %q", r, a.header.Get("Retry-After"))
				}
			}
		})
	}
}

func TestPanicIsAnswered(t *testing.T) {
	f := newFake()
	f.addCalls(1)
	f.panics = "boom"
	var log bytes.Buffer
	cfg := Config{Calls: f, Store: f, Log: slog.New(slog.NewTextHandler(&log, nil))}
	a := askConfig(t, cfg, "GET", callsPath+"/"+callSID(1)+".json", nil)
	if a.status != 500 || a.code() != 20500 {
		t.Errorf("%d %s", a.status, a.body)
	}
	if !strings.Contains(log.String(), "boom") || !strings.Contains(log.String(), "fake_test.go") {
		t.Errorf("log: %s", log.String())
	}
	f.panics = http.ErrAbortHandler
	defer func() {
		if v := recover(); v != http.ErrAbortHandler { //nolint:errorlint // a panic's value
			t.Errorf("recovered %v", v)
		}
	}()
	askConfig(t, cfg, "GET", callsPath+"/"+callSID(1)+".json", nil)
}

func TestConcurrencyLimit(t *testing.T) {
	f := newFake()
	inside, release := make(chan struct{}), make(chan struct{})
	cfg := Config{Calls: f, Store: &slowStore{fake: f, inside: inside, release: release}, MaxConcurrent: 1}
	h := New(cfg)
	request := func() int {
		r := httptest.NewRequest("GET", callsPath+"/"+callSID(1)+".json", nil)
		r.SetBasicAuth(testSID, testToken)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code == 429 && w.Header().Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
		return w.Code
	}
	done := make(chan int)
	go func() { done <- request() }()
	<-inside
	if got := request(); got != 429 {
		t.Errorf("second request: %d", got)
	}
	close(release)
	if got := <-done; got != 404 {
		t.Errorf("first request: %d", got)
	}
	if got := request(); got != 404 {
		t.Errorf("third request: %d", got)
	}
}

// HEAD is GET without its body, which net/http leaves out (RFC 9110 section 9.3.2).
func TestHead(t *testing.T) {
	f := newFake()
	f.addCalls(1)
	if a := ask(t, f, "HEAD", callsPath+"/"+callSID(1)+".json", nil); a.status != 200 || a.header.Get("Content-Length") == "0" {
		t.Errorf("%d %v", a.status, a.header)
	}
}

// A body in a form that is not read is refused, not read as something else.
func TestBodyForms(t *testing.T) {
	body := url.Values{"To": {"+14158675309"}, "From": {"+15557654321"}, "Url": {"https://app.example.com/voice"}}
	for _, test := range []struct {
		header, value string
		status        int
	}{
		{"Content-Type", "application/x-www-form-urlencoded; charset=UTF-8", 201},
		{"Content-Type", "APPLICATION/X-WWW-FORM-URLENCODED", 201},
		{"Content-Type", "application/x-www-form-urlencoded-not", 415},
		{"Content-Type", "application/json", 415},
		{"Content-Type", "multipart/form-data; boundary=x", 415},
		{"Content-Encoding", "identity", 201},
		{"Content-Encoding", "gzip", 415},
	} {
		a := ask(t, newFake(), "POST", callsPath+".json", body, test.header, test.value)
		if a.status != test.status {
			t.Errorf("%s: %s: %d, want %d: %s", test.header, test.value, a.status, test.status, a.body)
		}
	}
}

// A body that stops half way does not hold its connection for ever.
func TestTricklingBody(t *testing.T) {
	f := newFake()
	late := clock.System.Now().Add(-bodyTimeout + 50*time.Millisecond)
	srv := httptest.NewServer(New(Config{Calls: f, Store: f, Clock: setClock{clock.System, late}}))
	defer srv.Close()
	c, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	auth := base64.StdEncoding.EncodeToString([]byte(testSID + ":" + testToken))
	if _, err := io.WriteString(c, "POST "+callsPath+".json HTTP/1.1\r\nHost: x\r\nAuthorization: Basic "+auth+
		"\r\nContent-Length: 100\r\n\r\nTo=%2B1"); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != 400 {
		t.Errorf("%s, want 400", res.Status)
	}
}

// setClock is a clock that stands still.
type setClock struct {
	clock.Clock
	now time.Time
}

func (c setClock) Now() time.Time { return c.now }

func TestRefusalsAreToldOnceASecond(t *testing.T) {
	var r refusals
	for _, step := range []struct {
		after time.Duration
		want  int
	}{{0, 1}, {100 * time.Millisecond, 0}, {999 * time.Millisecond, 0}, {time.Second, 3}, {time.Minute, 1}} {
		if got := r.tell(testTime.Add(step.after)); got != step.want {
			t.Errorf("after %s: %d, want %d", step.after, got, step.want)
		}
	}
}

// Whoever reads a list as CSV finds the next page in the header, and no line has other columns than the first.
func TestPagesOfCSV(t *testing.T) {
	f := newFake()
	f.addCalls(7)
	f.calls[3].Annotation = "a \"b\",\r\nc" // in one field
	var sids []string
	path := callsPath + ".csv?PageSize=3"
	for path != "" {
		a := ask(t, f, "GET", path, nil)
		rows, err := csv.NewReader(strings.NewReader(a.body)).ReadAll() // which counts the columns
		if err != nil || a.status != 200 {
			t.Fatalf("%s: %d %v", path, a.status, err)
		}
		column := map[string]int{}
		for i, name := range rows[0] {
			column[name] = i
		}
		for _, row := range rows[1:] {
			sids = append(sids, row[column["Sid"]])
			if row[column["Sid"]] == f.calls[3].SID && row[column["Annotation"]] != "a \"b\",\nc" { // encoding/csv drops the \r
				t.Errorf("annotation %q", row[column["Annotation"]])
			}
			if uri := row[column["Uri"]]; uri != callsPath+"/"+row[column["Sid"]]+".json" {
				t.Errorf("uri %s", uri)
			}
		}
		path = ""
		for _, link := range a.header.Values("Link") {
			if uri, next := strings.CutSuffix(link, `>; rel="next"`); next {
				path = strings.TrimPrefix(uri, "<")
			}
		}
	}
	if len(sids) != 7 || sids[0] != callSID(7) || sids[6] != callSID(1) {
		t.Errorf("calls %v", sids)
	}
	for method, path := range map[string]string{"GET": callsPath + "/" + callSID(1) + ".csv", "POST": callsPath + ".csv"} {
		if a := ask(t, f, method, path, url.Values{}); a.status != http.StatusNotAcceptable || a.code() != 20001 || f.created.To != "" {
			t.Errorf("%s %s: %d %s", method, path, a.status, a.body)
		}
	}
	if a := ask(t, f, "GET", callsPath+".csv?Status=moo", nil); a.status != 400 || a.code() == 0 {
		t.Errorf("a refusal: %d %s", a.status, a.body)
	}
}
