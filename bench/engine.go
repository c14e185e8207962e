//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	startWait = 20 * time.Second // until the server says that it is ready
	stopWait  = 15 * time.Second
)

// engine is a running server under test.
type engine struct {
	cmd     *exec.Cmd
	ended   chan struct{}
	dir     string
	log     string
	http    string // base URL
	sip     netip.AddrPort
	sid     string
	token   string
	client  *http.Client
	started time.Time // of the process
}

// startEngine runs bin on the data folder dir, on free loopback ports, and waits until it is ready.
func startEngine(ctx context.Context, bin, dir string, args ...string) (*engine, error) {
	e := &engine{dir: dir, log: filepath.Join(dir, "bench.log"), ended: make(chan struct{}), client: &http.Client{Timeout: 10 * time.Second}}
	log, err := os.Create(e.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	e.cmd = exec.CommandContext(ctx, bin, append([]string{"serve", "--mode", "dev", "--http", "127.0.0.1:0", "--sip", "127.0.0.1:0", "--data", dir, "--drain", "1s"}, args...)...)
	e.cmd.Cancel = func() error { return e.cmd.Process.Signal(syscall.SIGTERM) }
	e.cmd.WaitDelay = stopWait
	e.cmd.Stderr = log // a file, not a pipe: its lines must cost the generator nothing
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "OFFHOOK_") && !strings.HasPrefix(v, "TWILIO_") {
			e.cmd.Env = append(e.cmd.Env, v)
		}
	}
	e.started = time.Now()
	if err := e.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the server: %w (make build makes it)", err)
	}
	go func() { _ = e.cmd.Wait(); close(e.ended) }() // stop waits for it
	if err := e.ready(ctx); err != nil {
		e.stop()
		b, _ := os.ReadFile(e.log)
		return nil, fmt.Errorf("%w; its log ends with:\n%s", err, b[max(0, len(b)-2000):])
	}
	return e, nil
}

func (e *engine) pid() int { return e.cmd.Process.Pid }

func (e *engine) ready(ctx context.Context) error {
	for deadline := time.Now().Add(startWait); ; pause(ctx, time.Millisecond) {
		b, err := os.ReadFile(e.log)
		if err != nil {
			return err
		}
		if addresses, ok := readyLine(b); ok {
			e.http = addresses["http"]
			if e.sip, err = netip.ParseAddrPort(addresses["sip"]); err != nil {
				return err
			}
			break
		}
		select {
		case <-e.ended:
			return errors.New("the server ended at once")
		default:
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the server was not ready after %s", startWait)
		}
	}
	b, err := os.ReadFile(filepath.Join(e.dir, "account.json"))
	if err != nil {
		return err
	}
	var account struct{ AccountSID, AuthToken string }
	err = json.Unmarshal(b, &account)
	e.sid, e.token = account.AccountSID, account.AuthToken
	return err
}

// readyLine finds "ready http=… sip=…" in the server's log.
func readyLine(log []byte) (map[string]string, bool) {
	for line := range bytes.Lines(log) {
		if rest, ok := bytes.CutPrefix(line, []byte("ready ")); ok && bytes.HasSuffix(line, []byte("\n")) {
			addresses := make(map[string]string)
			for _, f := range strings.Fields(string(rest)) {
				name, value, _ := strings.Cut(f, "=")
				addresses[name] = value
			}
			return addresses, true
		}
	}
	return nil, false
}

// stop ends the server, by force when it does not go.
func (e *engine) stop() {
	_ = e.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-e.ended:
	case <-time.After(stopWait):
		_ = e.cmd.Process.Kill()
		<-e.ended
	}
	e.client.CloseIdleConnections()
}

func (e *engine) path(resource string) string {
	return "/2010-04-01/Accounts/" + e.sid + "/" + resource + ".json"
}

// post sends a form and decodes the answer's JSON object.
func (e *engine) post(ctx context.Context, resource string, form ...string) (map[string]any, error) {
	v := make(url.Values)
	for i := 0; i < len(form); i += 2 {
		v.Add(form[i], form[i+1])
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.http+e.path(resource), strings.NewReader(v.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(e.sid, e.token)
	res, err := e.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	if res.StatusCode >= 300 {
		return nil, fmt.Errorf("POST %s: %s: %s", resource, res.Status, b)
	}
	var answer map[string]any
	return answer, json.Unmarshal(b, &answer)
}

// number claims an own number whose calls fetch voiceURL.
func (e *engine) number(ctx context.Context, phone, voiceURL string, more ...string) error {
	_, err := e.post(ctx, "IncomingPhoneNumbers", append([]string{"PhoneNumber", phone, "VoiceUrl", voiceURL}, more...)...)
	return err
}
