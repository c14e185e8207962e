// Package offhooktest is a test kit for applications that make and take calls: a whole offhook in the
// test's own process, a customer's web application, and real SIP phones that hear and press keys. Tests
// read like calls:
//
//	srv := offhooktest.Start(t)
//	app := srv.App(t)
//	app.On("/voice", `<Response><Gather numDigits="1" action="/menu"><Say>Press one</Say></Gather></Response>`)
//	app.On("/menu", `<Response><Say>Sales</Say></Response>`)
//	srv.Number(t, "+15550199", app.URL("/voice"))
//
//	line := srv.Phone(t, "+15550100").Dial("+15550199")
//	line.Hears("Press one") // the test voice speaks each text as its own tones
//	line.Press("1")
//	app.Got("/menu", "Digits", "1", "CallStatus", "in-progress")
//	line.Hears("Sales")
//	line.HungUp() // the document ran out
//
// Everything is on loopback and free ports; nothing is shared between two servers. A step that does not
// come true within Patience fails the test with the timeline of what happened instead.
package offhooktest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/clock"
	"github.com/offhook/offhook/internal/server"
	"github.com/offhook/offhook/phone"
)

// Patience is how long a step of a test may take to come true.
const Patience = 15 * time.Second

// Server is an offhook of the test's own.
type Server struct {
	t      testing.TB
	server *server.Server
	cfg    server.Config

	// URL is the base URL of the API; AccountSID and AuthToken open it.
	URL, AccountSID, AuthToken string
	// SIP is the host:port of its SIP listener.
	SIP string

	exchange  *exchange
	simulated bool
}

// exchange is where calls to numbers without a trunk ring.
type exchange struct {
	phone *phone.Phone

	mu     sync.Mutex
	phones map[string]chan *phone.Call // by number
	wire   map[string][]message        // the SIP messages of each call, by its Call-ID
}

// Option changes how a server is started.
type Option func(*Server, *server.Config)

// Phones makes the phones of another server ring for this one's calls: what a restarted server finds.
func Phones(other *Server) Option {
	return func(s *Server, _ *server.Config) { s.exchange = other.exchange }
}

// Data keeps the server's data in dir, so that a second server can go on with it.
func Data(dir string) Option { return func(_ *Server, c *server.Config) { c.Data = dir } }

// Database stores calls in a database other than the SQLite file in the data folder.
func Database(dsn string) Option { return func(_ *Server, c *server.Config) { c.Database = dsn } }

// SimulatorLimits paces calls to the test's phones: calls a second and calls at once, 0 for no limit.
func SimulatorLimits(cps float64, calls int) Option {
	return func(_ *Server, c *server.Config) { c.SimCPS, c.SimMaxCalls = cps, calls }
}

// Simulated has calls to numbers ring the simulated people and machines of docs/simulator.md instead of the test's own
// phones. They babble.
func Simulated() Option {
	return func(s *Server, _ *server.Config) { s.simulated = true }
}

// AMDKeep keeps the first 30 s of the newest calls with machine detection, in amd of the data folder.
func AMDKeep(calls int) Option {
	return func(_ *Server, c *server.Config) { c.AMDKeep = calls }
}

// RTPTimeout ends a call from which no audio came for so long.
func RTPTimeout(d time.Duration) Option {
	return func(_ *Server, c *server.Config) { c.RTPTimeout = d }
}

// RTPPorts bounds the ports of the calls' audio: two for each call.
func RTPPorts(low, high int) Option {
	return func(_ *Server, c *server.Config) { c.RTPPortMin, c.RTPPortMax = low, high }
}

// ListenSIP has SIP listen elsewhere than on a port of 127.0.0.1.
func ListenSIP(addrs ...string) Option {
	return func(_ *Server, c *server.Config) { c.SIP = addrs }
}

// Start starts a server and stops it when the test ends.
func Start(t testing.TB, options ...Option) *Server {
	t.Helper()
	s := &Server{t: t}
	cfg := server.Config{
		HTTP: "127.0.0.1:0", SIP: []string{"127.0.0.1:0"}, Voice: "test",
		Log: slog.New(slog.NewTextHandler(logWriter{t}, nil)), Version: "test",
	}
	for _, o := range options {
		o(s, &cfg)
	}
	if cfg.Data == "" {
		cfg.Data = t.TempDir()
	}
	if s.exchange == nil {
		s.exchange = newExchange(t)
	}
	cfg.Simulator = s.exchange.phone.Addr()
	if s.simulated {
		cfg.Simulator = newSimulator(t)
	}
	s.cfg = cfg
	var err error
	s.server, err = server.Start(context.Background(), cfg)
	if err != nil {
		t.Fatalf("offhooktest: start: %v", err)
	}
	s.URL, s.SIP = s.server.URL(), s.server.SIPAddr()
	s.AccountSID, s.AuthToken = s.server.Credentials()
	t.Cleanup(s.Stop)
	return s
}

func newExchange(t testing.TB) *exchange {
	t.Helper()
	x := &exchange{phones: map[string]chan *phone.Call{}, wire: map[string][]message{}}
	var err error
	if x.phone, err = phone.Listen(context.Background(), phone.Config{OnCall: x.incoming, Message: x.message}); err != nil {
		t.Fatalf("offhooktest: phones: %v", err)
	}
	t.Cleanup(func() {
		if err := x.phone.Close(); err != nil {
			t.Errorf("offhooktest: phones: %v", err)
		}
	})
	return x
}

// newSimulator starts simulated phones, and returns where.
func newSimulator(t testing.TB) string {
	t.Helper()
	sim, err := phone.NewSimulator(context.Background(), phone.Config{})
	if err != nil {
		t.Fatalf("offhooktest: simulated phones: %v", err)
	}
	t.Cleanup(func() {
		if err := sim.Close(); err != nil {
			t.Errorf("offhooktest: simulated phones: %v", err)
		}
	})
	return sim.Addr()
}

// incoming hands a call from the server to the phone it is for, and holds it until it is over. A number
// nobody has does not exist.
func (x *exchange) incoming(c *phone.Call) {
	x.mu.Lock()
	calls := x.phones[c.To()]
	x.mu.Unlock()
	if calls == nil {
		_ = c.Reject(404) // the caller may have gone
		return
	}
	calls <- c
	<-c.HungUp()
}

func (x *exchange) set(number string, calls chan *phone.Call) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if calls == nil {
		delete(x.phones, number)
	} else {
		x.phones[number] = calls
	}
}

// Stop stops the server: live calls are hung up and stored.
func (s *Server) Stop() {
	now, cancel := context.WithCancel(context.Background())
	cancel()
	s.server.Close(now)
}

// logWriter shows the server's log with the test that caused it.
type logWriter struct{ t testing.TB }

func (w logWriter) Write(p []byte) (int, error) {
	w.t.Helper()
	w.t.Log(strings.TrimSuffix(string(p), "\n"))
	return len(p), nil
}

// Request makes an API request: form parameters in the body of a POST, else in the query. It returns the
// status and the decoded JSON body.
func (s *Server) Request(method, path string, params url.Values) (int, map[string]any) {
	s.t.Helper()
	target := s.URL + path
	if !strings.HasPrefix(path, "/2010-04-01/") && !strings.HasPrefix(path, "/v1/") {
		target = s.URL + "/2010-04-01/Accounts/" + s.AccountSID + path
	}
	var body io.Reader
	if method == http.MethodPost {
		body = strings.NewReader(params.Encode())
	} else if len(params) > 0 {
		target += "?" + params.Encode()
	}
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		s.t.Fatalf("offhooktest: %s %s: %v", method, path, err)
	}
	req.SetBasicAuth(s.AccountSID, s.AuthToken)
	if body != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		s.t.Fatalf("offhooktest: %s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatalf("offhooktest: %s %s: %v", method, path, err)
	}
	var answer map[string]any
	if len(text) > 0 {
		if err := json.Unmarshal(text, &answer); err != nil {
			s.t.Fatalf("offhooktest: %s %s: %v in %q", method, path, err, text)
		}
	}
	return resp.StatusCode, answer
}

// Number makes number one of the server's own; voiceURL is asked when it is called. Further parameters
// are those of IncomingPhoneNumbers, as name and value in turn.
func (s *Server) Number(t testing.TB, number, voiceURL string, more ...string) {
	t.Helper()
	params := url.Values{"PhoneNumber": {number}, "VoiceUrl": {voiceURL}}
	setPairs(params, more)
	if code, answer := s.patiently("POST", "/IncomingPhoneNumbers.json", params); code != http.StatusCreated {
		t.Fatalf("number %s: %d %v", number, code, answer["message"])
	}
}

// patiently is Request again while the server says that it has no room: a busy machine is no fault of it, and who
// gets that answer comes back.
func (s *Server) patiently(method, path string, params url.Values) (code int, answer map[string]any) {
	s.t.Helper()
	ctx, cancel := patience()
	defer cancel()
	for {
		code, answer = s.Request(method, path, params)
		if code != http.StatusServiceUnavailable || clock.Sleep(ctx, clock.System, 200*time.Millisecond) != nil {
			return code, answer
		}
	}
}

// setPairs sets names and values that come in turn; a name that comes again adds a value.
func setPairs(params url.Values, pairs []string) {
	for i := 0; i+1 < len(pairs); i += 2 {
		params.Add(pairs[i], pairs[i+1])
	}
}

// Call is a call as the API sees it.
type Call struct {
	t   testing.TB
	srv *Server
	// SID is its identifier.
	SID string
}

// Call asks the API for a call; params are names and values in turn, those of CreateCall.
func (s *Server) Call(t testing.TB, params ...string) *Call {
	t.Helper()
	v := url.Values{}
	setPairs(v, params)
	code, answer := s.patiently("POST", "/Calls.json", v)
	if code != http.StatusCreated {
		t.Fatalf("create call: %d %v", code, answer["message"])
	}
	if answer["status"] != "queued" {
		t.Fatalf("a new call is %v, want queued", answer["status"])
	}
	return &Call{t: t, srv: s, SID: answer["sid"].(string)}
}

// Find is a call that exists already.
func (s *Server) Find(t testing.TB, sid string) *Call { return &Call{t: t, srv: s, SID: sid} }

// Fetch is the call's resource now.
func (c *Call) Fetch() map[string]any {
	c.t.Helper()
	code, answer := c.srv.Request("GET", "/Calls/"+c.SID+".json", nil)
	if code != http.StatusOK {
		c.t.Fatalf("fetch call: %d %v", code, answer["message"])
	}
	return answer
}

// Update changes the call; params are names and values in turn. It returns the answer's status and body.
func (c *Call) Update(params ...string) (int, map[string]any) {
	c.t.Helper()
	v := url.Values{}
	setPairs(v, params)
	return c.srv.Request("POST", "/Calls/"+c.SID+".json", v)
}

// Is waits until the call has the status, and returns the resource as it then is.
func (c *Call) Is(status string) map[string]any {
	c.t.Helper()
	events := c.Events()
	defer events.Close()
	for {
		now := c.Fetch()
		if now["status"] == status {
			return now
		}
		if !events.next() {
			now = c.Fetch()
			if now["status"] != status {
				c.t.Fatalf("the call is %v, want %s\n%s", now["status"], status, c.Timeline())
			}
			return now
		}
	}
}

// Notified waits until the call has a notification of that code, and returns it.
func (c *Call) Notified(code int) map[string]any {
	c.t.Helper()
	events := c.Events()
	defer events.Close()
	for more := true; ; more = events.next() { // once more when nothing comes any more: the last line is written before its notification
		_, answer := c.srv.Request("GET", "/Calls/"+c.SID+"/Notifications.json", nil)
		list, _ := answer["notifications"].([]any)
		for _, n := range list {
			if n := n.(map[string]any); n["error_code"] == fmt.Sprint(code) {
				return n
			}
		}
		if !more {
			c.t.Fatalf("no notification %d\n%s", code, c.Timeline())
		}
	}
}
