package callapi

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/auth"
	"github.com/offhook/offhook/internal/bus"
	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/clock"
)

const (
	accountSID = "AC00000000000000000000000000000001"
	token      = "0123456789abcdef0123456789abcdef"
	callSID    = "CA00000000000000000000000000000001"
)

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

// fake is Store in memory. The zero value is ready but empty.
type fake struct {
	mu        sync.Mutex
	events    []call.Event
	replayed  int // events that AccountEvents gave
	trunks    []call.Trunk
	detection *call.Detection
	calls     []*call.Call // listed, and whether there are more
	more      bool
	filter    call.Filter // of the last list
	err       error       // returned by everything
	suspended bool        // the account
}

func (f *fake) Account(_ context.Context, sid string) (*call.Account, error) {
	if f.err != nil {
		return nil, f.err
	}
	if sid != accountSID {
		return nil, call.ErrNotFound
	}
	a := &call.Account{SID: accountSID, OwnerSID: accountSID, AuthToken: token, Status: call.AccountActive}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.suspended {
		a.Status = call.AccountSuspended
	}
	return a, nil
}

func (f *fake) Key(context.Context, string) (*call.Key, error) { return nil, call.ErrNotFound }

func (f *fake) Call(_ context.Context, of, sid string) (*call.Call, error) {
	if of != accountSID || sid != callSID {
		return nil, call.ErrNotFound
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	c := &call.Call{SID: callSID, AccountSID: accountSID, Status: call.Queued}
	if n := len(f.events); n > 0 {
		c.Status = call.Status(f.events[n-1].Name)
	}
	return c, f.err
}

func (f *fake) ListCalls(_ context.Context, filter call.Filter) ([]*call.Call, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.filter = filter
	return f.calls, f.more, f.err
}

func (f *fake) Events(_ context.Context, _ string, after int) ([]call.Event, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.events[min(after+1, len(f.events)):]), f.err
}

func (f *fake) AccountEvents(_ context.Context, of, sid string, after, upTo int64, limit int) (page []call.Event, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range f.events {
		if e.AccountSID == of && (sid == "" || e.CallSID == sid) && e.Pos > after && e.Pos <= upTo && len(page) < limit {
			page = append(page, e)
		}
	}
	f.replayed += len(page)
	return page, f.err
}

func (f *fake) DeleteWebhook(context.Context, string, string) error { return f.err }

func (f *fake) Deliveries(context.Context, call.ListFilter, string, string) ([]*call.Delivery, bool, error) {
	return nil, false, f.err
}

func (f *fake) ResendDelivery(context.Context, string, string, string) error { return call.ErrNotFound }

func (f *fake) CreateTrunk(_ context.Context, t *call.Trunk) error {
	if slices.ContainsFunc(f.trunks, func(have call.Trunk) bool { return have.Name == t.Name }) {
		return call.ErrConflict
	}
	f.trunks = append(f.trunks, *t)
	return f.err
}

func (f *fake) Trunks(context.Context) ([]call.Trunk, error) { return f.trunks, f.err }

func (f *fake) DeleteTrunk(_ context.Context, of, sid string) error {
	n := len(f.trunks)
	f.trunks = slices.DeleteFunc(f.trunks, func(t call.Trunk) bool { return t.SID == sid && t.AccountSID == of })
	if len(f.trunks) == n {
		return call.ErrNotFound
	}
	return f.err
}

// happens stores the call's next event and tells the bus.
func (f *fake) happens(b *bus.Bus, name string) {
	f.mu.Lock()
	e := call.Event{
		ID: "EV" + name, CallSID: callSID, AccountSID: accountSID, Seq: len(f.events), Name: name,
		Time: noon.Add(time.Duration(len(f.events)) * time.Second), Snapshot: []byte(`{"status":"` + name + `"}`),
		Pos: int64(len(f.events) + 1),
	}
	f.events = append(f.events, e)
	f.mu.Unlock()
	b.Publish([]call.Event{e}, e.Pos)
}

// server is the API over HTTP.
type server struct {
	*httptest.Server
	store   *fake
	calls   fakeCalls
	bus     *bus.Bus
	closing chan struct{}
	changed int
}

func start(t *testing.T, f *fake, change ...func(*Config)) *server {
	t.Helper()
	s := &server{store: f, bus: bus.New(), closing: make(chan struct{})}
	cfg := Config{
		Calls: &s.calls, Store: f, Gate: auth.NewGate(f, clock.System), Bus: s.bus, Closing: s.closing, Clock: clock.System, Log: slog.New(slog.DiscardHandler),
		RoutingChanged: func(context.Context) error { s.changed++; return nil },
	}
	for _, set := range change {
		set(&cfg)
	}
	s.Server = httptest.NewServer(New(cfg))
	t.Cleanup(s.Close)
	return s
}

// ask sends a request as the test account; pairs are headers.
func (s *server) ask(t *testing.T, method, path, body string, headers ...string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth(accountSID, token)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	res, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	return res
}

// refusal is the problem that an answer carries.
func refusal(t *testing.T, res *http.Response) (status, code int, detail string) {
	t.Helper()
	var p struct {
		Status, Code  int
		Title, Detail string
	}
	if err := json.NewDecoder(res.Body).Decode(&p); err != nil {
		t.Fatalf("%s: %v", res.Status, err)
	}
	if got := res.Header.Get("Content-Type"); got != "application/problem+json" || p.Status != res.StatusCode || p.Title == "" {
		t.Errorf("not a problem: %s %+v", got, p)
	}
	return p.Status, p.Code, p.Detail
}

func TestAuthentication(t *testing.T) {
	s := start(t, &fake{})
	for _, test := range []struct {
		name, user, password string
		status               int
	}{
		{"right", accountSID, token, 200},
		{"wrong token", accountSID, token + "0", 401},
		{"empty token", accountSID, "", 401},
		{"an account that does not exist", "AC2", token, 401},
		{"an account that does not exist, and no token", "AC2", "", 401},
	} {
		r := httptest.NewRequest("GET", "/v1/trunks", nil)
		r.SetBasicAuth(test.user, test.password)
		w := httptest.NewRecorder()
		s.Config.Handler.ServeHTTP(w, r)
		if w.Code != test.status || test.status == 401 && w.Header().Get("WWW-Authenticate") == "" {
			t.Errorf("%s: %d %v, want %d", test.name, w.Code, w.Header(), test.status)
		}
	}
	w := httptest.NewRecorder()
	s.Config.Handler.ServeHTTP(w, httptest.NewRequest("GET", "/v1/calls/"+callSID+"/events", nil))
	if status, code, _ := refusal(t, w.Result()); status != 401 || code != 20003 {
		t.Errorf("no credentials: %d %d", status, code)
	}
}

func TestRefusals(t *testing.T) {
	const events = "/v1/calls/" + callSID + "/events"
	for _, test := range []struct {
		name, method, path, last string
		err                      error
		status, code             int
		detail                   string // part of it
	}{
		{"unknown path", "GET", "/v1/phones", "", nil, 404, 20404, "/v1/phones"},
		{"wrong method", "PUT", "/v1/trunks", "", nil, 405, 20004, "PUT"},
		{"unknown call", "GET", "/v1/calls/CA2/events", "", nil, 404, 20404, "CA2"},
		{"resume after a word", "GET", events, "x", nil, 400, 20001, "Last-Event-ID"},
		{"resume after less than nothing", "GET", events, "-1", nil, 400, 20001, "Last-Event-ID"},
		{"a filter of events that is none", "GET", events + "?type=busy", "", nil, 400, 20001, "type is not a filter"},
		{"an event that is none", "GET", events + "?types=finished", "", nil, 400, 20001, "finished"},
		{"some trace", "GET", events + "?trace=yes", "", nil, 400, 20001, "trace"},
		{"a filter of webhooks", "GET", "/v1/webhooks?limit=5", "", nil, 400, 20001, "limit: not a filter"},
		{"a filter of deliveries that is none", "GET", "/v1/webhooks/WH1/deliveries?state=failed", "", nil, 400, 20001, "state: not a filter"},
		{"no such trunk", "DELETE", "/v1/trunks/TK1", "", nil, 404, 20404, "TK1"},
		{"store away", "GET", "/v1/trunks", "", call.ErrUnavailable, 503, 20503, "try again"},
		{"store broken", "GET", "/v1/trunks", "", errors.New("secret"), 500, 20500, "internal error"},
	} {
		s := start(t, &fake{err: test.err})
		res := s.ask(t, test.method, test.path, "", "Last-Event-ID", test.last)
		status, code, detail := refusal(t, res)
		if status != test.status || code != test.code || !strings.Contains(detail, test.detail) {
			t.Errorf("%s: %d %d %q, want %d %d %q", test.name, status, code, detail, test.status, test.code, test.detail)
		}
		if (status == 503) != (res.Header.Get("Retry-After") != "") {
			t.Errorf("%s: Retry-After %q", test.name, res.Header.Get("Retry-After"))
		}
		if status == 405 && res.Header.Get("Allow") == "" {
			t.Errorf("%s: no Allow", test.name)
		}
	}
}

// watch reads a stream of events and returns the name of each as it comes, with its id: "ringing 2".
func (s *server) watch(t *testing.T, query string, headers ...string) (next func() string) {
	t.Helper()
	res := s.ask(t, "GET", "/v1/calls/"+callSID+"/events"+query, "", headers...)
	if got := res.Header.Get("Content-Type"); res.StatusCode != 200 || got != "text/event-stream" {
		t.Fatalf("%s %s", res.Status, got)
	}
	lines := bufio.NewScanner(res.Body)
	return func() string {
		id, name := "", ""
		for lines.Scan() {
			field, value, _ := strings.Cut(lines.Text(), ": ")
			switch field {
			case "id":
				id = " " + value
			case "event":
				name = strings.TrimPrefix(value, "TwilioCall.")
			case "data":
				var e struct {
					SpecVersion, Type, Subject string
					Text                       string
					Data                       struct{ Status string }
				}
				if err := json.Unmarshal([]byte(value), &e); err != nil {
					t.Fatalf("%v in %s", err, value)
				}
				if name == "trace" {
					name += ":" + e.Text
				} else if e.SpecVersion != "1.0" || e.Type != "TwilioCall."+name || e.Subject != callSID || e.Data.Status != name {
					t.Errorf("not the CloudEvent of %s: %s", name, value)
				}
			case "":
				if name != "" {
					return name + id
				}
			}
		}
		return "end"
	}
}

func expect(t *testing.T, next func() string, want ...string) {
	t.Helper()
	for _, w := range want {
		if got := next(); got != w {
			t.Fatalf("%q, want %q", got, w)
		}
	}
}

func TestEventsFromTheFirstToTheFinalOne(t *testing.T) {
	s := start(t, &fake{})
	s.store.happens(s.bus, "created")
	s.store.happens(s.bus, "queued")
	next := s.watch(t, "")
	expect(t, next, "created 0", "queued 1")
	s.store.happens(s.bus, "ringing")
	s.bus.Trace(callSID, bus.Trace{Time: noon, Text: "nobody asked for this"})
	expect(t, next, "ringing 2")
	s.store.happens(s.bus, "no-answer")
	expect(t, next, "no-answer 3", "end")
}

func TestEventsResume(t *testing.T) {
	s := start(t, &fake{})
	for _, name := range []string{"created", "queued", "ringing", "answered"} {
		s.store.happens(s.bus, name)
	}
	next := s.watch(t, "", "Last-Event-ID", "1")
	expect(t, next, "ringing 2", "answered 3")
	// What the bus tells again is not shown again.
	s.bus.Publish(s.store.events[3:4], 4)
	s.store.happens(s.bus, "in-progress")
	expect(t, next, "in-progress 4")

	expect(t, s.watch(t, "", "Last-Event-ID", "0"), "queued 1", "ringing 2", "answered 3", "in-progress 4")
	s.store.happens(s.bus, "completed")
	expect(t, next, "completed 5", "end")
	expect(t, s.watch(t, "", "Last-Event-ID", "3"), "in-progress 4", "completed 5", "end")
	for _, last := range []string{"5", "99"} { // 204 tells an EventSource to stay away
		if res := s.ask(t, "GET", "/v1/calls/"+callSID+"/events", "", "Last-Event-ID", last); res.StatusCode != 204 {
			t.Errorf("behind the final event, %s: %s", last, res.Status)
		}
	}
}

// The final event ends the stream whoever wants it, and who resumes is told that there is nothing more.
func TestEventsOfACallAreFiltered(t *testing.T) {
	s := start(t, &fake{})
	s.store.happens(s.bus, "created")
	s.store.happens(s.bus, "queued")
	next := s.watch(t, "?types=queued,TwilioCall.answered")
	expect(t, next, "queued 1")
	s.store.happens(s.bus, "ringing")
	s.store.happens(s.bus, "answered")
	expect(t, next, "answered 3")
	s.store.happens(s.bus, "completed")
	expect(t, next, "end")
	const path = "/v1/calls/" + callSID + "/events?types=answered"
	expect(t, frames(s.ask(t, "GET", path, "", "Last-Event-ID", "1")), "answered 3", "at 4", "end")
	if res := s.ask(t, "GET", path, "", "Last-Event-ID", "4"); res.StatusCode != 204 {
		t.Errorf("behind the final event: %s", res.Status)
	}
}

// deadlined notes until when each write may take.
type deadlined struct {
	*httptest.ResponseRecorder
	until []time.Time
}

func (d *deadlined) SetWriteDeadline(t time.Time) error {
	d.until = append(d.until, t)
	return nil
}

// A client that reads nothing holds its stream for a while, not for ever.
func TestEventsAreWrittenInTime(t *testing.T) {
	s := start(t, &fake{})
	s.store.happens(s.bus, "created")
	s.store.happens(s.bus, "busy")
	r := httptest.NewRequest("GET", "/v1/calls/"+callSID+"/events", nil)
	r.SetBasicAuth(accountSID, token)
	w := &deadlined{ResponseRecorder: httptest.NewRecorder()}
	s.Config.Handler.ServeHTTP(w, r)
	if n := len(w.until); n != 3 || w.until[0].IsZero() || w.until[1].IsZero() || !w.until[2].IsZero() {
		t.Errorf("the two events and what comes behind them may take until %v", w.until)
	}
}

func TestEventsWithTrace(t *testing.T) {
	s := start(t, &fake{})
	s.store.happens(s.bus, "created") // noon
	s.bus.Trace(callSID, bus.Trace{Time: noon.Add(500 * time.Millisecond), Text: "INVITE"})
	s.store.happens(s.bus, "queued") // a second later
	s.bus.Trace(callSID, bus.Trace{Time: noon.Add(1500 * time.Millisecond), Text: "180"})
	next := s.watch(t, "?trace=1")
	expect(t, next, "created 0", "trace:INVITE", "queued 1", "trace:180")
	s.store.happens(s.bus, "busy")
	expect(t, next, "busy 2")
	s.bus.Trace(callSID, bus.Trace{Time: noon, Text: "callback delivered"}) // the last ones come after the end
	expect(t, next, "trace:callback delivered", "end")
}

func TestStreamsEndWithTheServer(t *testing.T) {
	s := start(t, &fake{})
	s.store.happens(s.bus, "created")
	next := s.watch(t, "")
	expect(t, next, "created 0")
	close(s.closing)
	expect(t, next, "end")
}

func TestTrunks(t *testing.T) {
	s := start(t, &fake{})
	body := `{"name":"carrier","host":"sip.carrier.example:5080","transport":"tcp","username":"u","password":"secret",
		"sources":["192.0.2.9/28","2001:db8::1"],"prefixes":["+1555","+44"],"cps":2.5,"maxCalls":30}`
	res := s.ask(t, "POST", "/v1/trunks", body)
	if res.StatusCode != 201 || s.changed != 1 {
		t.Fatalf("%s, told %d times", res.Status, s.changed)
	}
	answer, err := io.ReadAll(res.Body)
	if err != nil || strings.Contains(string(answer), "secret") {
		t.Errorf("%v, and the answer has the password: %s", err, answer)
	}
	got := s.store.trunks[0]
	if got.Host != "sip.carrier.example:5080" || got.Password != "secret" || got.Sources[0].String() != "192.0.2.0/28" ||
		got.Sources[1].String() != "2001:db8::1/128" || got.CPS != 2.5 || got.MaxCalls != 30 {
		t.Errorf("stored %+v", got)
	}
	if res := s.ask(t, "POST", "/v1/trunks", body); res.StatusCode != 409 {
		t.Errorf("the name again: %s", res.Status)
	}
	var list []trunk
	if err := json.NewDecoder(s.ask(t, "GET", "/v1/trunks", "").Body).Decode(&list); err != nil || len(list) != 1 || list[0].Name != "carrier" {
		t.Errorf("listed %+v %v", list, err)
	}
	if res := s.ask(t, "DELETE", "/v1/trunks/"+got.SID, ""); res.StatusCode != 204 || len(s.store.trunks) != 0 || s.changed != 2 {
		t.Errorf("delete: %s, told %d times", res.Status, s.changed)
	}
}

func TestTrunkDefaults(t *testing.T) {
	s := start(t, &fake{})
	if res := s.ask(t, "POST", "/v1/trunks", `{"name":"pbx","host":"[2001:db8::1]"}`); res.StatusCode != 201 {
		t.Fatal(refusal(t, res))
	}
	if got := s.store.trunks[0]; got.Transport != "udp+tcp" || !slices.Equal(got.Prefixes, []string{"+"}) || got.Created.IsZero() {
		t.Errorf("%+v", got)
	}
}

func TestTrunkTargets(t *testing.T) {
	s := start(t, &fake{})
	body := `{"name":"two","targets":[{"uri":"sip:a.example;transport=tls"},{"uri":"sip:b.example","priority":0,"weight":1,"enabled":false}],
		"secure":true,"ping":30,"username":"u","password":"secret","register":{"registrar":"reg.example","contact":"us","expires":600}}`
	res := s.ask(t, "POST", "/v1/trunks", body)
	var answer trunk
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil || res.StatusCode != 201 {
		t.Fatal(res.Status, err)
	}
	got := s.store.trunks[0]
	if got.AccountSID != accountSID || !got.Secure || got.Ping != 30*time.Second || got.Kind != call.Carrier || got.Voice.Method != "POST" {
		t.Errorf("stored %+v", got)
	}
	if r := got.Register; *r != (call.Register{Registrar: "reg.example", Contact: "us", Expires: 10 * time.Minute}) {
		t.Errorf("registration %+v", r)
	}
	a, b := got.Targets[0], got.Targets[1]
	if a.URI != "sip:a.example;transport=tls" || a.Priority != 10 || a.Weight != 10 || !a.Enabled || a.OwnerSID != got.SID ||
		b.Priority != 0 || b.Weight != 1 || b.Enabled || a.SID == b.SID {
		t.Errorf("targets %+v", got.Targets)
	}
	if len(answer.Targets) != 2 || *answer.Targets[1].Enabled || answer.Register.Expires != 600 || answer.Ping != 30 || !answer.Secure {
		t.Errorf("answered %+v", answer)
	}
	s.store.trunks[0].AccountSID = "AC00000000000000000000000000000002"
	if res := s.ask(t, "DELETE", "/v1/trunks/"+got.SID, ""); res.StatusCode != 404 {
		t.Errorf("another account's trunk deleted: %s", res.Status)
	}
	var list []trunk
	if err := json.NewDecoder(s.ask(t, "GET", "/v1/trunks", "").Body).Decode(&list); err != nil || len(list) != 0 {
		t.Errorf("another account's trunks listed: %+v %v", list, err)
	}
}

func TestTrunkValidation(t *testing.T) {
	s := start(t, &fake{})
	for body, want := range map[string]string{
		``:                                           "",
		`[]`:                                         "",
		`{"name":"x","host":"h","port":1}`:           "port",
		`{"name":"x","host":"h"} {"name":"y"}`:       "one JSON object",
		`{"host":"h"}`:                               "name",
		`{"name":"a b","host":"h"}`:                  "name",
		`{"name":"-x","host":"h"}`:                   "name",
		`{"name":"x"}`:                               "host",
		`{"name":"x","host":"a b"}`:                  "host",
		`{"name":"x","host":"h\r\nX: y"}`:            "host",
		`{"name":"x","host":"h:"}`:                   "port",
		`{"name":"x","host":"h:99999"}`:              "port",
		`{"name":"x","host":"h:sip"}`:                "port",
		`{"name":"x","host":"sip:h"}`:                "port",
		`{"name":"x","host":"u@h"}`:                  "host",
		`{"name":"x","host":"h_-.."}`:                "host",
		`{"name":"x","host":"2001:db8::1"}`:          "brackets",
		`{"name":"x","host":"h","transport":"sctp"}`: "transport",
		`{"name":"x","host":"h","transport":"udp","secure":true}`:                              "secure",
		`{"name":"x","host":"h","username":"u"}`:                                               "together",
		`{"name":"x","host":"h","username":"a\"b","password":"p"}`:                             "SipAuthUsername",
		`{"name":"x","host":"h","cps":-1}`:                                                     "cps",
		`{"name":"x","host":"h","maxCalls":-1}`:                                                "maxCalls",
		`{"name":"x","host":"h","maxCalls":1.5}`:                                               "maxCalls",
		`{"name":"x","host":"h","prefixes":["1555"]}`:                                          "prefixes",
		`{"name":"x","host":"h","prefixes":["+1234567890123456"]}`:                             "prefixes",
		`{"name":"x","host":"h","sources":["example.com"]}`:                                    "sources",
		`{"name":"x","host":"h","sources":["1.2.3.4/33"]}`:                                     "sources",
		`{"name":"x","host":"h","elastic":true}`:                                               "/v1/Trunks",
		`{"name":"x","host":"h","ping":4}`:                                                     "ping",
		`{"name":"x","targets":[{"uri":"h"}]}`:                                                 "targets",
		`{"name":"x","targets":[{"uri":"sip:h","weight":0}]}`:                                  "Weight",
		`{"name":"x","targets":[{"uri":"sip:h","priority":-1}]}`:                               "Priority",
		`{"name":"x","host":"h","register":{}}`:                                                "username",
		`{"name":"x","host":"h","register":{"username":"u"}}`:                                  "together",
		`{"name":"x","host":"h","username":"u","password":"p","register":{"registrar":"a b"}}`: "registrar",
		`{"name":"x","host":"h","username":"u","password":"p","register":{"contact":"a b"}}`:   "contact",
		`{"name":"x","host":"h","username":"u","password":"p","register":{"expires":5}}`:       "expires",
		`{"name":"x","targets":[{"uri":"sip:h"}],"username":"u","password":"p","register":{}}`: "registrar",
		`{"name":"` + strings.Repeat("x", 70000) + `"}`:                                        "too large",
	} {
		status, code, detail := refusal(t, s.ask(t, "POST", "/v1/trunks", body))
		if len(body) > 100 {
			body = body[:100]
		}
		if status != 400 || code != 20001 || !strings.Contains(detail, want) {
			t.Errorf("%s: %d %d %q, want %q", body, status, code, detail, want)
		}
	}
	if len(s.store.trunks) != 0 || s.changed != 0 {
		t.Errorf("%d trunks were made", len(s.store.trunks))
	}
}
