package proof

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	accountSID = "AC0123456789abcdef0123456789abcdef"
	authToken  = "proof"
	apiBase    = "/2010-04-01/Accounts/" + accountSID
)

// program is the binary, made once for all tests, in a folder that TestMain removes.
var program = sync.OnceValues(func() (string, error) {
	bin := filepath.Join(folder, "offhook")
	if out, err := exec.Command("go", "build", "-o", bin, "../cmd/offhook").CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return bin, nil
})

var folder string

func TestMain(m *testing.M) {
	var err error
	if folder, err = os.MkdirTemp("", "offhook-proof"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(folder)
	os.Exit(code)
}

// build makes the program as it is in the tree.
func build(t *testing.T) string {
	t.Helper()
	bin, err := program()
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

// engine is one process of offhook. Its addresses and its data outlive it, so that the next one takes over.
type engine struct {
	t         *testing.T
	bin, data string
	http, sip string // "" before the first start: free ports
	client    http.Client
	database  string          // "" is SQLite in data
	drain     string          // "" is none
	prepare   func(*exec.Cmd) // before it starts, may be nil

	cmd     *exec.Cmd
	started time.Time
	read    chan struct{} // closed when all it wrote was read
}

var readyLine = regexp.MustCompile(`^ready http=http://(\S+) sip=(\S+)$`)

// start runs the process until kill or the test's end, and returns when it is ready.
func (e *engine) start() {
	e.t.Helper()
	or := func(s string) string {
		if s == "" {
			return "127.0.0.1:0"
		}
		return s
	}
	cmd := exec.Command(e.bin, "serve", "--http", or(e.http), "--sip", or(e.sip), "--data", e.data, "--voice", "test",
		"--drain", cmp.Or(e.drain, "0s"))
	if e.database != "" {
		cmd.Args = append(cmd.Args, "--database", e.database)
	}
	if e.prepare != nil {
		e.prepare(cmd)
	}
	cmd.Env = append(os.Environ(), "TWILIO_ACCOUNT_SID="+accountSID, "TWILIO_AUTH_TOKEN="+authToken)
	out, err := cmd.StderrPipe()
	if err != nil {
		e.t.Fatal(err)
	}
	e.started = time.Now()
	if err := cmd.Start(); err != nil {
		e.t.Fatal(err)
	}
	e.cmd, e.read = cmd, make(chan struct{})
	ready := make(chan []string, 1)
	go func() {
		defer close(e.read)
		for s := bufio.NewScanner(out); s.Scan(); {
			if m := readyLine.FindStringSubmatch(s.Text()); m != nil {
				ready <- m
				continue
			}
			fmt.Fprintf(e.t.Output(), "offhook: %s\n", s.Text())
		}
	}()
	select {
	case m := <-ready:
		e.http, e.sip = m[1], m[2]
	case <-e.read:
		e.t.Fatal("offhook ended before it was ready")
	case <-time.After(30 * time.Second):
		e.kill()
		e.t.Fatal("offhook is not ready after 30 s")
	}
}

// kill is kill -9: the process does nothing any more.
func (e *engine) kill() {
	if e.cmd == nil {
		return
	}
	_ = e.cmd.Process.Kill() // it may have ended by itself
	<-e.read
	_ = e.cmd.Wait()
	e.cmd = nil
	e.client.CloseIdleConnections()
}

// request makes a request of the API and decodes its answer, 2xx or an error, into answer.
func (e *engine) request(ctx context.Context, method, path string, body io.Reader, contentType string, answer any) error {
	r, err := http.NewRequestWithContext(ctx, method, "http://"+e.http+path, body)
	if err != nil {
		return err
	}
	r.SetBasicAuth(accountSID, authToken)
	r.Header.Set("Content-Type", contentType)
	resp, err := e.client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		text, _ := io.ReadAll(resp.Body)
		return &refusal{method + " " + path, resp.StatusCode, resp.Header.Get("Retry-After"), text}
	}
	return json.NewDecoder(resp.Body).Decode(answer)
}

// refusal is an answer that is none of success.
type refusal struct {
	request    string
	status     int
	retryAfter string
	body       []byte
}

func (r *refusal) Error() string { return fmt.Sprintf("%s: %d %s", r.request, r.status, r.body) }

// unavailable checks that err is a 503 in the API's own words, with the time to come again.
func unavailable(err error) error {
	var r *refusal
	if !errors.As(err, &r) {
		return fmt.Errorf("%w, want 503", err)
	}
	var body struct {
		Code, Status int
		Message      string
	}
	if json.Unmarshal(r.body, &body) != nil || r.status != 503 || body.Status != 503 || body.Code != 20503 || body.Message == "" || r.retryAfter == "" {
		return fmt.Errorf("%w (Retry-After %q), want 503, code 20503, a message and Retry-After", r, r.retryAfter)
	}
	return nil
}

// health is the status of a probe: 0 when there is no answer within two seconds.
func (e *engine) health(path string) int {
	ctx, cancel := context.WithTimeout(e.t.Context(), 2*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "GET", "http://"+e.http+path, nil)
	if err != nil {
		e.t.Fatal(err)
	}
	resp, err := e.client.Do(r)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// number makes a number that calls come in to.
func (e *engine) number(number, voiceURL, statusURL string) {
	e.t.Helper()
	form := url.Values{"PhoneNumber": {number}, "VoiceUrl": {voiceURL}, "StatusCallback": {statusURL}}
	var answer any
	if err := e.request(e.t.Context(), "POST", apiBase+"/IncomingPhoneNumbers.json", strings.NewReader(form.Encode()),
		"application/x-www-form-urlencoded", &answer); err != nil {
		e.t.Fatal(err)
	}
}

// from lists the calls that came from a number.
func (e *engine) from(number string) ([]resource, error) {
	var list struct{ Calls []resource }
	err := e.request(e.t.Context(), "GET", apiBase+"/Calls.json?From="+url.QueryEscape(number), nil, "", &list)
	return list.Calls, err
}

// trunk adds a carrier that serves prefix.
func (e *engine) trunk(name, host, prefix string, cps float64, maxCalls int) {
	e.t.Helper()
	body := fmt.Sprintf(`{"name":%q,"host":%q,"transport":"udp","prefixes":[%q],"cps":%g,"maxCalls":%d}`, name, host, prefix, cps, maxCalls)
	var answer any
	if err := e.request(e.t.Context(), "POST", "/v1/trunks", strings.NewReader(body), "application/json", &answer); err != nil {
		e.t.Fatal(err)
	}
}

// resource is what the proof reads of a call.
type resource struct {
	SID    string `json:"sid"`
	Status string `json:"status"`
}

func (r resource) final() bool {
	switch r.Status {
	case "completed", "failed", "busy", "no-answer", "canceled":
		return true
	}
	return false
}

// create asks for a call; without an error it was acknowledged.
func (e *engine) create(ctx context.Context, form url.Values) (sid string, err error) {
	var c resource
	err = e.request(ctx, "POST", apiBase+"/Calls.json", strings.NewReader(form.Encode()), "application/x-www-form-urlencoded", &c)
	return c.SID, err
}

func (e *engine) fetch(sid string) (c resource, err error) {
	err = e.request(e.t.Context(), "GET", apiBase+"/Calls/"+sid+".json", nil, "", &c)
	return c, err
}

// events are the names of the stored events of a call that is over, in order.
func (e *engine) events(sid string) ([]string, error) {
	r, err := http.NewRequestWithContext(e.t.Context(), "GET", "http://"+e.http+"/v1/calls/"+sid+"/events", nil)
	if err != nil {
		return nil, err
	}
	r.SetBasicAuth(accountSID, authToken)
	resp, err := e.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var names []string
	for s := bufio.NewScanner(resp.Body); s.Scan(); {
		if id, ok := strings.CutPrefix(s.Text(), "id: "); ok && id != fmt.Sprint(len(names)) {
			return names, fmt.Errorf("%s: event %s comes as number %d", sid, id, len(names))
		}
		if name, ok := strings.CutPrefix(s.Text(), "event: TwilioCall."); ok {
			names = append(names, name)
		}
	}
	return names, nil
}
