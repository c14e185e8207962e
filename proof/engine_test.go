package proof

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

const (
	accountSID = "AC0123456789abcdef0123456789abcdef"
	authToken  = "proof"
	apiBase    = "/2010-04-01/Accounts/" + accountSID
)

// build makes the program as it is in the tree.
func build(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "offhook")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "../cmd/offhook").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return bin
}

// engine is one process of offhook. Its addresses and its data outlive it, so that the next one takes over.
type engine struct {
	t         *testing.T
	bin, data string
	http, sip string // "" before the first start: free ports
	client    http.Client

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
	cmd := exec.Command(e.bin, "serve", "--http", or(e.http), "--sip", or(e.sip), "--data", e.data, "--voice", "test", "--drain", "0s")
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
		return fmt.Errorf("%s %s: %d %s", method, path, resp.StatusCode, text)
	}
	return json.NewDecoder(resp.Body).Decode(answer)
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
		if name, ok := strings.CutPrefix(s.Text(), "event: TwilioCall."); ok {
			names = append(names, name)
		}
	}
	return names, nil
}
