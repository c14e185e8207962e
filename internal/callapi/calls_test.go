package callapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/twilio"
	"github.com/offhook/offhook/twiliocall"
)

// fakeCalls notes what it is asked for and answers one call.
type fakeCalls struct {
	create call.CreateParams
	update *call.UpdateParams
	note   *call.Note
	record *call.RecordingParams
	did    string
	err    error
}

func (f *fakeCalls) did1(what, accountSID, sid string) (*call.Call, error) {
	f.did = what + " " + sid
	if f.err != nil {
		return nil, f.err
	}
	return &call.Call{SID: callSID, AccountSID: accountSID, Status: call.InProgress, PriceUnit: "USD", DateCreated: noon, DateUpdated: noon}, nil
}

func (f *fakeCalls) Create(_ context.Context, accountSID string, p call.CreateParams) (*call.Call, error) {
	f.create = p
	if err := p.Validate(); err != nil {
		return nil, err
	}
	c, err := f.did1("create", accountSID, "")
	if err == nil {
		c.To, c.From, c.Status, c.Annotation, c.Metadata = p.To, p.From, call.Queued, p.Annotation, p.Metadata
	}
	return c, err
}

func (f *fakeCalls) Update(_ context.Context, accountSID, sid string, p call.UpdateParams) (*call.Call, error) {
	f.update = &p
	if err := p.Validate(); err != nil {
		return nil, err
	}
	return f.did1("update", accountSID, sid)
}

func (f *fakeCalls) Annotate(_ context.Context, accountSID, sid string, n call.Note) (*call.Call, error) {
	f.note = &n
	return f.did1("annotate", accountSID, sid)
}

func (f *fakeCalls) Hangup(_ context.Context, accountSID, sid string) (*call.Call, error) {
	return f.did1("hangup", accountSID, sid)
}

func (f *fakeCalls) Hold(_ context.Context, accountSID, sid, music string) (*call.Call, error) {
	return f.did1("hold "+music, accountSID, sid)
}

func (f *fakeCalls) Unhold(_ context.Context, accountSID, sid string) (*call.Call, error) {
	return f.did1("unhold", accountSID, sid)
}

func (f *fakeCalls) Mute(_ context.Context, accountSID, sid string, on bool) (*call.Call, error) {
	return f.did1(fmt.Sprint("mute ", on), accountSID, sid)
}

func (f *fakeCalls) Delete(_ context.Context, accountSID, sid string) error {
	_, err := f.did1("delete", accountSID, sid)
	return err
}

func (f *fakeCalls) StartRecording(_ context.Context, accountSID, sid string, p call.RecordingParams) (*call.Recording, error) {
	f.record = &p
	if _, err := f.did1("record", accountSID, sid); err != nil {
		return nil, err
	}
	return &call.Recording{SID: "RE00000000000000000000000000000001", AccountSID: accountSID, CallSID: sid, Channels: 2, Status: call.RecordingInProgress}, nil
}

func (f *fakeCalls) StopRecordings(_ context.Context, accountSID, sid, recording string) (*call.Call, error) {
	return f.did1("stop "+recording, accountSID, sid)
}

// sends is an action's request and what became of it.
func (s *server) sends(t *testing.T, method, path, body string, headers ...string) (status int, answer []byte) {
	t.Helper()
	res := s.ask(t, method, path, body, append(headers, "Content-Type", "application/json")...)
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, answer
}

func TestCreateTakesEveryParameter(t *testing.T) {
	s := start(t, &fake{})
	status, body := s.sends(t, "POST", "/v1/calls", `{
		"from":"+15005550006","to":"+15551234567","url":"http://app.example/voice","method":"get","fallbackUrl":"http://app.example/f","fallbackMethod":"GET",
		"statusCallback":"http://app.example/s","statusCallbackMethod":"GET","statusCallbackEvent":["ringing","completed"],
		"timeout":20,"timeLimit":600,"sendDigits":"1w2","callerId":"+15005550006","callReason":"Your parcel","byoc":"BY00000000000000000000000000000001",
		"sipAuthUsername":"u","sipAuthPassword":"p","record":true,"recordingChannels":"dual","recordingTrack":"both",
		"recordingStatusCallback":"http://app.example/r","recordingStatusCallbackMethod":"GET","recordingStatusCallbackEvent":["absent"],"trim":"do-not-trim",
		"machineDetection":"DetectMessageEnd","machineDetectionTimeout":3,"machineDetectionSpeechThreshold":1000,"machineDetectionSpeechEndThreshold":500,
		"machineDetectionSilenceTimeout":2000,"asyncAmd":true,"asyncAmdStatusCallback":"http://app.example/amd","asyncAmdStatusCallbackMethod":"GET",
		"annotation":"a note","metadata":{"order":7,"vip":true,"who":"me"}}`, "Idempotency-Key", "k1")
	if status != 201 {
		t.Fatalf("%d %s", status, body)
	}
	yes := true
	want := call.CreateParams{
		From: "+15005550006", To: "+15551234567", Byoc: "BY00000000000000000000000000000001",
		Options: call.Options{
			URL: "http://app.example/voice", Method: "get", FallbackURL: "http://app.example/f", FallbackMethod: "GET",
			StatusURL: "http://app.example/s", StatusMethod: "GET", StatusEvents: []string{"ringing", "completed"},
			Timeout: 20, TimeLimit: 600, SendDigits: "1w2", CallerID: "+15005550006", CallReason: "Your parcel", SIPUsername: "u", SIPPassword: "p",
		},
		Record: &yes,
		Recording: call.RecordingParams{
			Channels: "dual", Track: "both", Trim: "do-not-trim", StatusURL: "http://app.example/r", StatusMethod: "GET", StatusEvents: []string{"absent"},
		},
		MachineDetection: call.MachineDetection{
			Mode: "DetectMessageEnd", Timeout: 3, SpeechThreshold: 1000, SpeechEndThreshold: 500, SilenceTimeout: 2000,
			CallbackURL: "http://app.example/amd", CallbackMethod: "GET",
		},
		AsyncAMD:   &yes,
		Annotation: "a note", Metadata: map[string]any{"order": 7.0, "vip": true, "who": "me"},
	}
	got := s.calls.create
	if got.Idempotency.Key != "k1" || len(got.Idempotency.Fingerprint) != 64 {
		t.Errorf("idempotency %+v", got.Idempotency)
	}
	got.Idempotency = call.Idempotency{}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	var c twiliocall.Call
	d := json.NewDecoder(strings.NewReader(string(body)))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil || c.Status != "queued" || c.Metadata["order"] != 7.0 || *c.Annotation != "a note" {
		t.Errorf("%v %s", err, body)
	}

	const app = "AP00000000000000000000000000000001"
	status, body = s.sends(t, "POST", "/v1/calls", `{"from":"+15005550006","to":"client:bob","applicationSid":"`+app+
		`","callToken":"t","clientNotificationUrl":"http://app.example/n"}`)
	if got := s.calls.create; status != 201 || got.ApplicationSID != app || got.CallToken != "t" || got.Options.NotificationURL != "http://app.example/n" {
		t.Errorf("%d %s: %+v", status, body, got)
	}
}

func TestRefusedRequestsReachNobody(t *testing.T) {
	const one = "/v1/calls/" + callSID
	for name, test := range map[string]struct {
		method, path, body string
		status, code       int
		detail             string
	}{
		"no To":                        {"POST", "/v1/calls", `{"from":"+15005550006","url":"http://a.example"}`, 400, 21201, ""},
		"no From":                      {"POST", "/v1/calls", `{"to":"+15005550006","url":"http://a.example"}`, 400, 21213, ""},
		"no document":                  {"POST", "/v1/calls", `{"to":"+15551234567","from":"+15005550006"}`, 400, 21205, ""},
		"an unknown member":            {"POST", "/v1/calls", `{"To":"+15551234567"}`, 400, 20001, "To: unexpected property"},
		"a member of another type":     {"POST", "/v1/calls", `{"timeout":"20"}`, 400, 20001, "timeout: expected integer"},
		"no JSON":                      {"POST", "/v1/calls", `To=+1`, 400, 20001, ""},
		"metadata too deep":            {"POST", "/v1/calls", `{"to":"+15551234567","from":"+15005550006","twiml":"<Response/>","metadata":{"a":{}}}`, 400, 20001, "metadata a must be"},
		"a filter that is none":        {"GET", "/v1/calls?To=1", "", 400, 20001, "To: not a filter"},
		"a status that is none":        {"GET", "/v1/calls?status=ringing&status=ended", "", 400, 20001, "ended"},
		"a time that is none":          {"GET", "/v1/calls?startTimeAfter=yesterday", "", 400, 20001, "startTimeAfter"},
		"a cursor that is none":        {"GET", "/v1/calls?cursor=1", "", 400, 20001, "cursor"},
		"a page of none":               {"GET", "/v1/calls?limit=0", "", 400, 20001, "limit"},
		"another call":                 {"GET", "/v1/calls/CA00000000000000000000000000000002", "", 404, 20404, ""},
		"what is no SID":               {"GET", "/v1/calls/x", "", 404, 20404, ""},
		"a status nobody can ask for":  {"PATCH", one, `{"status":"ringing"}`, 400, 20001, "completed"},
		"an unknown member of a patch": {"PATCH", one, `{"to":"+15551234567"}`, 400, 20001, "to: unexpected property"},
		"a redirect to nowhere":        {"POST", one + "/redirect", `{}`, 400, 21205, ""},
		"two documents":                {"POST", one + "/redirect", `{"url":"http://a.example","twiml":"<Response/>"}`, 400, 21205, ""},
		"an unknown recording":         {"POST", one + "/stopRecording", `{"recordingId":"RE1"}`, 404, 20404, ""},
	} {
		s := start(t, &fake{})
		res := s.ask(t, test.method, test.path, test.body, "Content-Type", "application/json")
		status, code, detail := refusal(t, res)
		if status != test.status || code != test.code || !strings.Contains(detail, test.detail) || s.calls.did != "" {
			t.Errorf("%s: %d %d %q, want %d %d %q; did %q", name, status, code, detail, test.status, test.code, test.detail, s.calls.did)
		}
	}
}

func TestActionsOnACall(t *testing.T) {
	const one = "/v1/calls/" + callSID
	s := start(t, &fake{})
	do := func(method, path, body string) twiliocall.Call {
		t.Helper()
		status, answer := s.sends(t, method, one+path, body)
		var c twiliocall.Call
		if err := json.Unmarshal(answer, &c); err != nil || status != 200 || c.ID != callSID {
			t.Errorf("%s %s: %d %s", method, path, status, answer)
		}
		return c
	}
	do("GET", "", "")
	do("POST", "/hangup", "")
	if s.calls.did != "hangup "+callSID {
		t.Error(s.calls.did)
	}
	for action, want := range map[string]string{"hold": "hold ", "unhold": "unhold", "mute": "mute true", "unmute": "mute false"} {
		if do("POST", "/"+action, ""); s.calls.did != want+" "+callSID {
			t.Errorf("%s: %s", action, s.calls.did)
		}
	}
	if do("POST", "/hold", `{"musicUrl":"http://a.example/m.mp3"}`); s.calls.did != "hold http://a.example/m.mp3 "+callSID {
		t.Error(s.calls.did)
	}
	do("DELETE", "", "")
	if s.calls.did != "delete "+callSID {
		t.Error(s.calls.did)
	}
	do("POST", "/redirect", `{"twiml":"<Response/>","fallbackUrl":"http://f.example","fallbackMethod":"GET"}`)
	if diff := cmp.Diff(&call.UpdateParams{Twiml: "<Response/>", FallbackURL: "http://f.example", FallbackMethod: "GET"}, s.calls.update); diff != "" {
		t.Error(diff)
	}
	do("POST", "/stopRecording", "")
	do("POST", "/stopRecording", `{"recordingId":"RE00000000000000000000000000000001"}`)
	if s.calls.did != "stop RE00000000000000000000000000000001 "+callSID {
		t.Error(s.calls.did)
	}

	status, body := s.sends(t, "POST", one+"/record", `{"channels":"dual","track":"both","trim":"trim-silence","maxLength":60,"playBeep":true,"statusCallback":"http://a.example","statusCallbackMethod":"GET","statusCallbackEvent":["completed"]}`)
	var r twiliocall.Recording
	if err := json.Unmarshal(body, &r); err != nil || status != 201 || r.Channels != "dual" || r.CallID != callSID {
		t.Errorf("record: %d %s", status, body)
	}
	if diff := cmp.Diff(&call.RecordingParams{
		Channels: "dual", Track: "both", Trim: "trim-silence", MaxLength: 60, PlayBeep: true,
		StatusURL: "http://a.example", StatusMethod: "GET", StatusEvents: []string{"completed"},
	}, s.calls.record); diff != "" {
		t.Error(diff)
	}
	if status, body := s.sends(t, "POST", one+"/record", ""); status != 201 {
		t.Errorf("record without a body: %d %s", status, body)
	}
}

func TestNumbersGivenAs0AreRefused(t *testing.T) {
	for path, numbers := range map[string]map[string]int{
		"POST /v1/calls": createNumbers, "PATCH /v1/calls/" + callSID: {"timeLimit": 20001},
		"POST /v1/calls/" + callSID + "/record": {"maxLength": 20001},
	} {
		for name, code := range numbers {
			s := start(t, &fake{})
			method, path, _ := strings.Cut(path, " ")
			res := s.ask(t, method, path, `{"`+name+`":0}`)
			status, got, detail := refusal(t, res)
			if status != 400 || got != code || !strings.Contains(detail, name) {
				t.Errorf("%s %s: %d %d %s", path, name, status, got, detail)
			}
		}
	}
}

func TestUpdateIsAMergePatch(t *testing.T) {
	empty, text := "", "spam"
	for body, want := range map[string]call.Note{
		`{"annotation":"spam"}`:                       {Annotation: &text},
		`{"annotation":null}`:                         {Annotation: &empty},
		`{"metadata":{"a":1,"b":null}}`:               {Metadata: map[string]any{"a": 1.0, "b": nil}},
		`{"metadata":null}`:                           {Clear: true},
		`{"annotation":null,"metadata":{"a":"spam"}}`: {Annotation: &empty, Metadata: map[string]any{"a": "spam"}},
	} {
		s := start(t, &fake{})
		status, answer := s.sends(t, "PATCH", "/v1/calls/"+callSID, body)
		if status != 200 || s.calls.note == nil || s.calls.update != nil {
			t.Errorf("%s: %d %s", body, status, answer)
			continue
		}
		if diff := cmp.Diff(want, *s.calls.note); diff != "" {
			t.Errorf("%s: %s", body, diff)
		}
	}
	s := start(t, &fake{})
	if status, answer := s.sends(t, "PATCH", "/v1/calls/"+callSID, `{"timeLimit":60,"statusCallback":"http://a.example","statusCallbackMethod":"get","annotation":"spam"}`); status != 200 || s.calls.did != "annotate "+callSID {
		t.Errorf("%d %s, did %s", status, answer, s.calls.did)
	}
	if s.calls.update.TimeLimit != 60 || s.calls.update.StatusURL != "http://a.example" {
		t.Errorf("%+v", s.calls.update)
	}
	s.calls.err = twilio.Err(21220)
	if status, _ := s.sends(t, "PATCH", "/v1/calls/"+callSID, `{"status":"completed","annotation":"late"}`); status != 409 || s.calls.did != "update "+callSID {
		t.Errorf("an update that is refused: %d, did %s", status, s.calls.did)
	}
	s.calls.update = nil
	if status, _ := s.sends(t, "PATCH", "/v1/calls/"+callSID, `{}`); status != 200 || s.calls.update != nil {
		t.Errorf("an empty patch: %d %+v", status, s.calls.update)
	}
}

func TestErrorsOfACall(t *testing.T) {
	for _, test := range []struct {
		err          error
		status, code int
	}{
		{twilio.Err(21220), 409, 21220},
		{twilio.Err(20009), 409, 20009},
		{twilio.Err(32014), 400, 32014}, // a code of calls, which has no HTTP status of its own
		{call.ErrNotFound, 404, 20404},
		{call.ErrUnavailable, 503, 20503},
		{errors.New("secret"), 500, 20500},
	} {
		s := start(t, &fake{})
		s.calls.err = test.err
		res := s.ask(t, "POST", "/v1/calls/"+callSID+"/hangup", "")
		status, code, detail := refusal(t, res)
		if status != test.status || code != test.code || strings.Contains(detail, "secret") {
			t.Errorf("%v: %d %d %q", test.err, status, code, detail)
		}
		if (status == 503) != (res.Header.Get("Retry-After") != "") {
			t.Errorf("%v: Retry-After %q", test.err, res.Header.Get("Retry-After"))
		}
	}
}

func TestListFilters(t *testing.T) {
	last := &call.Call{SID: callSID, AccountSID: accountSID, Seq: 7, DateCreated: noon, DateUpdated: noon}
	s := start(t, &fake{calls: []*call.Call{last}, more: true})
	res := s.ask(t, "GET", "/v1/calls?from=%2B15005550006&to=sip:a@b.example&status=busy&status=failed&direction=outbound-dial&parentCallSid="+callSID+
		"&answeredBy=machine&startTimeAfter=1772625600&startTimeBefore=2026-03-04T12:00:00Z&endTimeAfter=1&endTimeBefore=2&metadata.a=1&metadata.b.c=x&limit=7", "")
	if res.StatusCode != http.StatusOK {
		t.Fatal(refusal(t, res))
	}
	want := call.Filter{
		AccountSID: accountSID, From: "+15005550006", To: "sip:a@b.example", Statuses: []call.Status{call.Busy, call.Failed},
		Direction: call.OutboundDial, ParentSID: callSID, AnsweredBy: "machine",
		StartAfter: noon, StartBefore: noon, EndAfter: time.Unix(1, 0), EndBefore: time.Unix(2, 0),
		Metadata: map[string]string{"a": "1", "b.c": "x"}, Limit: 7,
	}
	if diff := cmp.Diff(want, s.store.filter); diff != "" {
		t.Error(diff)
	}
	link := res.Header.Get("Link")
	next, _, ok := strings.Cut(strings.TrimPrefix(link, "<"), `>; rel="next"`)
	if !ok || !strings.Contains(next, "metadata.a=1") {
		t.Fatalf("Link: %s", link)
	}
	s.store.more = false
	res = s.ask(t, "GET", next, "")
	want.Cursor = last.PageToken()
	if diff := cmp.Diff(want, s.store.filter); diff != "" {
		t.Error(diff)
	}
	if res.Header.Get("Link") != "" {
		t.Errorf("the last page has a Link: %s", res.Header.Get("Link"))
	}
	s.store.calls = nil
	if _, body := s.sends(t, "GET", "/v1/calls", ""); strings.TrimSpace(string(body)) != "[]" || s.store.filter.Limit != 50 {
		t.Errorf("%s, limit %d", body, s.store.filter.Limit)
	}
}

func TestDescription(t *testing.T) {
	s := start(t, &fake{})
	for path, parts := range map[string][]string{
		"/openapi.json": {`"openapi":"3.1.0"`, `"operationId":"stopRecording"`, `"metadata"`},
		"/docs":         {"/v1/calls/{id}/redirect", "statusCallbackEvent", "Idempotency-Key"},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := s.Client().Do(r) // without credentials
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		for _, p := range parts {
			if err != nil || res.StatusCode != 200 || !strings.Contains(string(body), p) {
				t.Errorf("%s %s: no %s in %.200s", path, res.Status, p, body)
			}
		}
	}
}
