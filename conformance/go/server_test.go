// Package conformance holds offhook to the official Go SDK: twilio-go drives a server that runs as its
// users run it, and its own validator judges our signatures. It is a module of its own, because the
// SDK takes minutes to compile. `make conformance` builds the server first.
package conformance

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twilio/twilio-go/client"
	api "github.com/twilio/twilio-go/rest/api/v2010"
)

const (
	offhook  = "../../bin/offhook"
	anyPhone = "../../bin/conformance-phone" // built from conformance/phone

	accountSID = "AC0123456789abcdef0123456789abcdef"
	authToken  = "conformance"
	from       = "+15005550006"
)

// server is an offhook process of the test's own.
type server struct {
	t        *testing.T
	sdk      *api.ApiService
	url, sip string
}

var readyLine = regexp.MustCompile(`ready http=(\S+) sip=([0-9.:\[\]a-f]+)`)

// start runs a server on free ports until the test ends.
func start(t *testing.T) *server {
	t.Helper()
	lines := run(t, "serve", "--http", "127.0.0.1:0", "--sip", "127.0.0.1:0", "--data", t.TempDir(), "--voice", "test", "--drain", "0s")
	m := await(t, lines, readyLine)
	s := &server{t: t, url: m[1], sip: m[2]}
	s.sdk = s.as(accountSID, accountSID, authToken)
	return s
}

// as is the SDK of an account, with credentials that are the account's, its parent's or a key's.
func (s *server) as(account, user, secret string) *api.ApiService {
	sdk := &client.Client{
		Credentials: client.NewCredentials(user, secret),
		HTTPClient:  &http.Client{Transport: toOffhook{s.t, strings.TrimPrefix(s.url, "http://")}, Timeout: 10 * time.Second},
	}
	sdk.SetAccountSid(account)
	return api.NewApiServiceWithClient(sdk)
}

// run starts bin/offhook with args and yields the lines it writes. It is ended with the test.
func run(t *testing.T, args ...string) <-chan string {
	t.Helper()
	if _, err := os.Stat(offhook); err != nil {
		t.Fatal("no bin/offhook: run `make build`, or `make conformance`")
	}
	return runProgram(t, offhook, args...)
}

func runProgram(t *testing.T, bin string, args ...string) <-chan string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, bin, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	cmd.Env = append(os.Environ(), "TWILIO_ACCOUNT_SID="+accountSID, "TWILIO_AUTH_TOKEN="+authToken)
	r, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 1000)
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer close(lines)
		for s := bufio.NewScanner(r); s.Scan(); {
			fmt.Fprintf(t.Output(), "%s: %s\n", args[0], s.Text())
			select {
			case lines <- s.Text():
			default: // nobody waits for that much
			}
		}
	}()
	go func() {
		_ = cmd.Wait() // its lines tell how it ended
		w.Close()
	}()
	t.Cleanup(func() {
		cancel()
		<-read
	})
	return lines
}

// await reads lines until one matches.
func await(t *testing.T, lines <-chan string, want *regexp.Regexp) []string {
	t.Helper()
	timeout := time.After(30 * time.Second)
	last := ""
	for {
		select {
		case l, ok := <-lines:
			if !ok {
				t.Fatalf("the process ended without a line like %s; its last is %q", want, last)
			}
			last = l
			if m := want.FindStringSubmatch(l); m != nil {
				return m
			}
		case <-timeout:
			t.Fatalf("no line like %s within 30 s", want)
		}
	}
}

// phone starts a scripted phone and returns its SIP URI and its lines.
func phone(t *testing.T, script string) (uri string, lines <-chan string) {
	t.Helper()
	lines = run(t, "phone", "--once", "--voice", "test", "--script", script)
	return "sip:conformance@" + await(t, lines, regexp.MustCompile(`^ready sip=(\S+)$`))[1], lines
}

var buildPhone = sync.OnceValues(func() ([]byte, error) {
	return exec.Command("go", "build", "-C", "../..", "-o", "bin/conformance-phone", "./conformance/phone").CombinedOutput()
})

// peer starts SIPp or baresip as a phone that hears prompt, presses key and hears reply; see conformance/phone.
func peer(t *testing.T, kind, key, prompt, reply string) (uri string, lines <-chan string) {
	t.Helper()
	if out, err := buildPhone(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	lines = runProgram(t, anyPhone, kind, key, prompt, reply)
	m := await(t, lines, regexp.MustCompile(`^(?:ready sip=(.*)|(NOT TESTED: .*))$`))
	if m[2] != "" {
		t.Skip(m[2])
	}
	return "sip:conformance@" + m[1], lines
}

// app is the customer's web application; it has the SDK judge the signature of every request.
type app struct {
	*httptest.Server
	t         *testing.T
	documents map[string]string // path to TwiML

	mu   sync.Mutex
	got  []request
	news chan struct{}
}

type request struct {
	method, path string
	params       url.Values
}

func newApp(t *testing.T, documents map[string]string) *app {
	t.Helper()
	a := &app{t: t, documents: documents, news: make(chan struct{}, 100)}
	a.Server = httptest.NewServer(a)
	t.Cleanup(a.Close)
	return a
}

func (a *app) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		a.t.Error(err)
	}
	params := map[string]string{}
	for k := range r.PostForm {
		params[k] = r.PostForm.Get(k)
	}
	validator := client.NewRequestValidator(authToken)
	if !validator.Validate(a.URL+r.URL.RequestURI(), params, r.Header.Get("X-Twilio-Signature")) {
		a.t.Errorf("the SDK refuses the signature of %s %s", r.Method, r.URL)
	}
	a.mu.Lock()
	a.got = append(a.got, request{r.Method, r.URL.Path, r.Form})
	a.mu.Unlock()
	a.news <- struct{}{}
	w.Header().Set("Content-Type", "text/xml")
	io.WriteString(w, a.documents[r.URL.Path])
}

// requests are those to path so far.
func (a *app) requests(path string) []url.Values {
	a.mu.Lock()
	defer a.mu.Unlock()
	var found []url.Values
	for _, r := range a.got {
		if r.path == path {
			found = append(found, r.params)
		}
	}
	return found
}

// method is that of the first request to path.
func (a *app) method(path string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range a.got {
		if r.path == path {
			return r.method
		}
	}
	return ""
}

// waitFor returns the first n requests to path.
func (a *app) waitFor(path string, n int) []url.Values {
	a.t.Helper()
	timeout := time.After(30 * time.Second)
	for {
		if found := a.requests(path); len(found) >= n {
			return found
		}
		select {
		case <-a.news:
		case <-timeout:
			a.t.Fatalf("%d requests to %s within 30 s, want %d", len(a.requests(path)), path, n)
		}
	}
}

// gotInOrder checks that the status callbacks of a call came with these statuses, numbered from 0.
func (a *app) gotInOrder(sid string, statuses ...string) {
	a.t.Helper()
	for i, cb := range a.waitFor("/status", len(statuses)) {
		if i >= len(statuses) || cb.Get("CallStatus") != statuses[i] || cb.Get("SequenceNumber") != strconv.Itoa(i) || cb.Get("CallSid") != sid {
			a.t.Errorf("callback %d is %v; want %v", i, cb, statuses)
		}
	}
}

// waitStatus polls a call, as the SDK's users do, until it has one of the statuses.
func (s *server) waitStatus(t *testing.T, sid string, want ...string) *api.ApiV2010Call {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(30 * time.Second)
	status := ""
	for {
		c, err := s.sdk.FetchCall(sid, nil)
		if err != nil {
			t.Fatal(err)
		}
		if status = *c.Status; strings.Contains(" "+strings.Join(want, " ")+" ", " "+status+" ") {
			return c
		}
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("call %s is %s after 30 s, want %v", sid, status, want)
		}
	}
}
