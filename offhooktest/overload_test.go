package offhooktest_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/clock"
	"github.com/offhook/offhook/offhooktest"
)

// The store takes a third of a second for what it does in a millisecond, and calls come in at both doors: what is too
// much is refused at once, whoever listens hears nothing of it, and afterwards all are taken again.
func TestOverloadIsRefusedAtBothDoors(t *testing.T) {
	dir := t.TempDir()
	srv := offhooktest.Start(t, offhooktest.Data(dir))
	app := srv.App(t)
	app.On("/voice", `<Response><Say loop="0">Still here</Say></Response>`)
	srv.Number(t, own, app.URL("/voice"))
	ph := srv.Phone(t, callee)
	live := ph.Dial(own)
	live.Answered()
	live.Hears("Still here")

	db, err := sql.Open("sqlite", filepath.Join(dir, "offhook.db")+"?_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	lock, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	slow, quick := context.WithCancel(t.Context())
	var somebody sync.WaitGroup
	somebody.Go(func() {
		for slow.Err() == nil {
			if _, err := lock.ExecContext(t.Context(), "BEGIN IMMEDIATE"); err != nil {
				t.Error(err)
				return
			}
			_ = clock.Sleep(slow, clock.System, 350*time.Millisecond)
			if _, err := lock.ExecContext(t.Context(), "ROLLBACK"); err != nil {
				t.Error(err)
				return
			}
			_ = clock.Sleep(slow, clock.System, 150*time.Millisecond) // in which others write
		}
	})
	defer func() { quick(); somebody.Wait() }()

	// Customers who do not give up.
	ctx, stop := context.WithTimeout(t.Context(), offhooktest.Patience)
	defer stop()
	refusals := make(chan time.Duration, 1) // at once, by admission or by a store that knows how slow it is
	var customers sync.WaitGroup
	for range 32 {
		customers.Go(func() {
			for ctx.Err() == nil {
				began := clock.System.Now()
				hurry, cancel := context.WithTimeout(ctx, 100*time.Millisecond) // more is asked for than gets through
				resp := create(hurry, t, srv)
				if resp == nil || resp.StatusCode == http.StatusCreated {
					cancel()
					continue
				}
				var body refusal
				err := json.NewDecoder(resp.Body).Decode(&body)
				if err != nil || resp.StatusCode != 503 || body.Code != 20503 || body.Status != 503 || resp.Header.Get("Retry-After") == "" {
					t.Errorf("%s, %v, %+v, %v", resp.Status, resp.Header, body, err)
				}
				if took := clock.System.Now().Sub(began); took < time.Second/2 { // the others waited for the store in vain
					select {
					case refusals <- took:
					default:
					}
				}
				cancel()
				_ = clock.Sleep(ctx, clock.System, 5*time.Millisecond)
			}
		})
	}
	select {
	case <-refusals:
	case <-ctx.Done():
		t.Fatal("nobody was refused at once")
	}
	refused := false
	for range 100 { // now and then one is let in, to see
		line := ph.Dial(own)
		select {
		case <-line.Call.HungUp():
			end, _ := line.End()
			refused = end.Code == 503
		case <-clock.System.NewTimer(300 * time.Millisecond).C():
			line.Hangup()
		}
		if refused {
			break
		}
	}
	if !refused {
		t.Error("no INVITE was refused")
	}
	live.HearsSound(time.Second)

	quick()
	stop()
	customers.Wait()
	ctx, cancel := context.WithTimeout(t.Context(), offhooktest.Patience)
	defer cancel()
	for taken := 0; taken < 20; { // in a row
		resp := create(ctx, t, srv)
		switch {
		case resp == nil:
			t.Fatal("calls are not taken again")
		case resp.StatusCode == http.StatusCreated:
			taken++
		default:
			taken = 0
			_ = clock.Sleep(ctx, clock.System, 20*time.Millisecond)
		}
	}
	line := ph.Dial(own)
	for line.WaitAnswered(ctx) != nil { // those twenty may have used up what is let in at once
		if end, _ := line.End(); end.Code != 503 || ctx.Err() != nil {
			t.Fatalf("a caller is not taken again: %+v", end)
		}
		_ = clock.Sleep(ctx, clock.System, 20*time.Millisecond)
		line = ph.Dial(own)
	}
	line.Hangup()
	live.Hangup()
	resp := ask(ctx, t, srv, http.MethodGet, "/metrics", nil)
	if resp == nil {
		t.Fatal("no metrics")
	}
	text, err := io.ReadAll(resp.Body)
	counted := false
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "offhook_admission_refused_total{") && !strings.HasSuffix(line, "} 0\n") {
			counted = true
		}
	}
	if err != nil || !counted {
		t.Errorf("the metrics do not tell that calls were refused: %v", err)
	}
}

// refusal is the API's error shape.
type refusal struct {
	Code, Status int
	Message      string
}

// create asks for a call to a phone that never answers; nil when ctx ended first.
func create(ctx context.Context, t *testing.T, srv *offhooktest.Server) *http.Response {
	form := url.Values{"To": {"+15005551408"}, "From": {caller}, "Twiml": {"<Response/>"}}
	return ask(ctx, t, srv, http.MethodPost, "/2010-04-01/Accounts/"+srv.AccountSID+"/Calls.json", form)
}

func ask(ctx context.Context, t *testing.T, srv *offhooktest.Server, method, path string, form url.Values) *http.Response {
	req, err := http.NewRequestWithContext(ctx, method, srv.URL+path, strings.NewReader(form.Encode()))
	if err != nil {
		t.Error(err)
		return nil
	}
	req.SetBasicAuth(srv.AccountSID, srv.AuthToken)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil
	}
	resp.Body = io.NopCloser(strings.NewReader(string(body)))
	return resp
}
