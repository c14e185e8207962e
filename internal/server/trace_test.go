package server

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/offhook/offhook/phone"
)

// otlp is a collector that keeps what it gets.
type otlp struct {
	*httptest.Server
	mu    sync.Mutex
	spans []*tracepb.Span
	came  chan struct{} // capacity 1
}

func newCollector(t *testing.T) *otlp {
	c := &otlp{came: make(chan struct{}, 1)}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var req collector.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(body, &req)
		}
		if err != nil || r.URL.Path != "/v1/traces" {
			t.Errorf("collector got %s: %v", r.URL.Path, err)
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		c.mu.Lock()
		for _, rs := range req.GetResourceSpans() {
			for _, ss := range rs.GetScopeSpans() {
				c.spans = append(c.spans, ss.GetSpans()...)
			}
		}
		c.mu.Unlock()
		select {
		case c.came <- struct{}{}:
		default:
		}
	}))
	t.Cleanup(c.Server.Close)
	return c
}

// wait returns the spans once there are as many of each name as wanted.
func (c *otlp) wait(t *testing.T, want map[string]int) []*tracepb.Span {
	t.Helper()
	late := time.After(20 * time.Second)
	for {
		got := map[string]int{}
		c.mu.Lock()
		spans := slices.Clone(c.spans)
		c.mu.Unlock()
		for _, s := range spans {
			got[s.GetName()]++
		}
		missing := false
		for name, n := range want {
			missing = missing || got[name] < n
		}
		if !missing {
			if !maps.Equal(got, want) {
				t.Errorf("spans %v, want %v", got, want)
			}
			return spans
		}
		select {
		case <-c.came:
		case <-late:
			for _, s := range spans {
				t.Logf("%s: %s", s.GetName(), s.GetStatus().GetMessage())
			}
			t.Fatalf("spans %v, want %v", got, want)
		}
	}
}

// app is a customer's application: two documents, a file and status callbacks.
type app struct {
	*httptest.Server
	mu      sync.Mutex
	parents map[string][]string // traceparent headers, by path
	events  chan string         // CallStatus of callbacks
}

func newApp(t *testing.T) *app {
	a := &app{parents: map[string][]string{}, events: make(chan string, 16)}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		a.parents[r.URL.Path] = append(a.parents[r.URL.Path], r.Header.Get("Traceparent"))
		a.mu.Unlock()
		switch r.URL.Path {
		case "/first":
			w.Header().Set("Content-Type", "text/xml")
			fmt.Fprint(w, "<Response><Play>/beep.wav</Play><Redirect>/second</Redirect></Response>")
		case "/second":
			w.Header().Set("Content-Type", "text/xml")
			fmt.Fprint(w, "<Response><Hangup/></Response>")
		case "/beep.wav":
			w.Header().Set("Content-Type", "audio/ulaw")
			_, _ = w.Write(make([]byte, 800)) // 0.1 s
		case "/status":
			a.events <- r.PostFormValue("CallStatus")
		}
	}))
	t.Cleanup(a.Server.Close)
	return a
}

// startTraced starts a server, and a phone that answers.
func startTraced(t *testing.T, cfg Config) (s *Server, sip string) {
	t.Helper()
	p, err := phone.Listen(t.Context(), phone.Config{OnCall: func(c *phone.Call) {
		_ = c.Ring()
		if c.Answer() == nil {
			<-c.HungUp()
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	cfg.HTTP, cfg.SIP, cfg.Data, cfg.Voice = "127.0.0.1:0", []string{"127.0.0.1:0"}, t.TempDir(), "test"
	s, err = Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(t.Context()) })
	return s, p.URI()
}

// create makes a call and returns its SID.
func create(t *testing.T, s *Server, to string, a *app, header http.Header) string {
	t.Helper()
	form := url.Values{
		"To": {to}, "From": {"+15550001111"}, "Url": {a.URL + "/first"}, "StatusCallback": {a.URL + "/status"},
		"StatusCallbackEvent": {"initiated", "ringing", "answered", "completed"},
	}
	sid, token := s.Credentials()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL()+"/2010-04-01/Accounts/"+sid+"/Calls.json", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = header.Clone()
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(sid, token)
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct{ SID string }
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || resp.StatusCode != http.StatusCreated {
		t.Fatalf("create: %d, %v", resp.StatusCode, err)
	}
	return answer.SID
}

func (a *app) completed(t *testing.T) {
	t.Helper()
	for late := time.After(20 * time.Second); ; {
		select {
		case status := <-a.events:
			if status == "completed" {
				return
			}
		case <-late:
			t.Fatal("the call was not completed")
		}
	}
}

func TestOneTraceOfACall(t *testing.T) {
	c, a := newCollector(t), newApp(t)
	s, to := startTraced(t, Config{OTLP: c.URL})
	const caller = "0af7651916cd43dd8448eb211c80319c"
	sid := create(t, s, to, a, http.Header{"Traceparent": {"00-" + caller + "-b7ad6b7169203331-01"}})
	a.completed(t)
	const api = "POST /2010-04-01/Accounts/{AccountSid}/Calls"
	spans := c.wait(t, map[string]int{
		"call": 1, api: 1, "queue": 1, "INVITE": 1, "fetch TwiML": 2, "fetch media": 1,
		"Play": 1, "Redirect": 1, "Hangup": 1, "status callback": 4,
	})

	byID := map[string]*tracepb.Span{}
	for _, s := range spans {
		byID[string(s.GetSpanId())] = s
		if got := "CA" + hex.EncodeToString(s.GetTraceId()); got != sid {
			t.Errorf("%s is in trace %s, not in that of %s", s.GetName(), got, sid)
		}
		if s.GetEndTimeUnixNano() < s.GetStartTimeUnixNano() {
			t.Errorf("%s ends before it begins", s.GetName())
		}
	}
	for _, s := range spans {
		parent, want := byID[string(s.GetParentSpanId())].GetName(), "call"
		switch s.GetName() {
		case "call":
			want = ""
			if len(s.GetParentSpanId()) != 0 {
				t.Error("the root has a parent")
			}
		case "fetch media":
			want = "Play"
		case "INVITE":
			var events []string
			for _, e := range s.GetEvents() {
				events = append(events, e.GetName())
			}
			if got := strings.Join(events, " "); got != "180 200" {
				t.Errorf("INVITE has the events %q, want 180 200", got)
			}
		case api:
			if len(s.GetLinks()) != 1 || hex.EncodeToString(s.GetLinks()[0].GetTraceId()) != caller {
				t.Errorf("%s links %v, want trace %s", api, s.GetLinks(), caller)
			}
		}
		if parent != want {
			t.Errorf("%s is a child of %q, want %q", s.GetName(), parent, want)
		}
	}

	a.mu.Lock()
	defer a.mu.Unlock()
	for path, headers := range a.parents {
		for _, h := range headers {
			parts := strings.Split(h, "-")
			if len(parts) != 4 || "CA"+parts[1] != sid {
				t.Errorf("%s has traceparent %q", path, h)
				continue
			}
			if id, _ := hex.DecodeString(parts[2]); byID[string(id)] == nil {
				t.Errorf("%s has traceparent %q, of a span that never came", path, h)
			}
		}
	}
}

func TestWithoutTracingNoTraceparent(t *testing.T) {
	a := newApp(t)
	s, to := startTraced(t, Config{})
	create(t, s, to, a, http.Header{"Traceparent": {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}})
	a.completed(t)
	a.mu.Lock()
	defer a.mu.Unlock()
	for path, headers := range a.parents {
		if h := strings.Join(headers, ""); h != "" {
			t.Errorf("%s has traceparent %q", path, h)
		}
	}
}

// A collector that takes connections and never answers costs spans, not calls, and holds up a stop for
// lastSpans at most.
func TestACollectorThatHangsDelaysNoCall(t *testing.T) {
	hole, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer hole.Close()
	a := newApp(t)
	s, to := startTraced(t, Config{OTLP: "http://" + hole.Addr().String()})
	began := time.Now()
	create(t, s, to, a, http.Header{})
	a.completed(t)
	if took := time.Since(began); took > 5*time.Second { // the exporter's own time-out
		t.Errorf("the call took %v", took)
	}
	began = time.Now()
	s.Close(context.Background())
	if took := time.Since(began); took > lastSpans+3*time.Second {
		t.Errorf("the stop took %v", took)
	}
}
