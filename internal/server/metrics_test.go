package server

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/clock"
	"github.com/offhook/offhook/internal/twilio"
)

var update = flag.Bool("update", false, "rewrite the table in docs/metrics.md from what the server says now")

func TestMetricsTellOfLateTicks(t *testing.T) {
	s, err := Start(t.Context(), Config{HTTP: "127.0.0.1:0", SIP: []string{"127.0.0.1:0"}, Data: t.TempDir(), Voice: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(t.Context())
	status, body := get(t, s.URL()+"/metrics")
	if status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	for _, name := range []string{
		`offhook_calls_live{status="in-progress"} 0`, "offhook_calls_started_total 0", "offhook_media_streams 0", "offhook_media_tick_late",
		`offhook_outbox_callbacks{state="pending"} 0`, "offhook_outbox_oldest_seconds 0", "offhook_store_writable 1", "go_goroutines",
	} {
		if !strings.Contains(body, "\n"+name) {
			t.Errorf("no %s in\n%s", name, body)
		}
	}
}

func TestMetricsOfACall(t *testing.T) {
	a := newApp(t)
	var log lines
	s, to := startTraced(t, Config{
		Admin: "127.0.0.1:0", Log: slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	sid := create(t, s, to, a, http.Header{})
	a.completed(t)
	log.name(t, "sip: invite", sid)
	_, body := get(t, "http://"+s.AdminAddr()+"/metrics")
	for _, line := range []string{
		"offhook_calls_started_total 1",
		`offhook_calls_ended_total{direction="outbound-api",status="completed"} 1`,
		`offhook_call_actions_total{action="create"} 1`,
		"offhook_call_queue_seconds_count 1",
		"offhook_call_answered_seconds_count 1",
		`offhook_webhook_request_seconds_count{kind="twiml"} 2`,
		`offhook_webhook_request_seconds_count{kind="media"} 1`,
		`offhook_webhook_answers_total{kind="callback",status="2xx"} `,
		`offhook_callback_attempts_total{result="delivered"} `,
		`offhook_callback_attempts_total{result="dead"} 0`,
		`offhook_sip_requests_sent_total{method="INVITE"} 1`,
		`offhook_sip_responses_received_total{status="2xx"} `,
		`offhook_store_write_seconds_count{lane="live"} `,
		`offhook_http_request_seconds_count{method="POST",route="/2010-04-01/Accounts/{AccountSid}/Calls",status="2xx"} 1`,
	} {
		if !strings.Contains(body, "\n"+line) {
			name, _, _ := strings.Cut(line, "{")
			t.Errorf("no %s, but %q", line, regexp.MustCompile("(?m)^"+name+".*$").FindAllString(body, -1))
		}
	}
}

func TestAdminShowsProfiles(t *testing.T) {
	s, err := Start(t.Context(), Config{
		HTTP: "127.0.0.1:0", SIP: []string{"127.0.0.1:0"}, Data: t.TempDir(), Voice: "test", Admin: "127.0.0.1:0",
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(t.Context())
	admin := "http://" + s.AdminAddr()
	for path, want := range map[string]string{
		"/metrics": "offhook_build_info", "/healthz": "ok", "/debug/pprof/": "goroutine",
		"/debug/pprof/goroutine?debug=1": "goroutine profile", "/debug/pprof/cmdline": "server",
	} {
		if status, body := get(t, admin+path); status != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: %d without %q: %.200s", path, status, want, body)
		}
	}
	if status, _ := get(t, s.URL()+"/debug/pprof/"); status != http.StatusNotFound {
		t.Errorf("the main port shows profiles: %d", status)
	}
}

// What a caller writes into a path or as a method is no label.
func TestRequestsAreCountedByRoute(t *testing.T) {
	s, err := Start(t.Context(), Config{HTTP: "127.0.0.1:0", SIP: []string{"127.0.0.1:0"}, Data: t.TempDir(), Voice: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(t.Context())
	for i := range 20 {
		get(t, fmt.Sprintf("%s/2010-04-01/nothing%d", s.URL(), i))
		get(t, fmt.Sprintf("%s/v1/nothing%d", s.URL(), i))
		get(t, fmt.Sprintf("%s/nothing%d", s.URL(), i))
	}
	_, body := get(t, s.URL()+"/metrics")
	if strings.Contains(body, "nothing") {
		t.Errorf("a path became a label:\n%s", body)
	}
	for _, line := range []string{
		`{method="GET",route="/2010-04-01/",status="4xx"} 20`, `{method="GET",route="/v1/`, `{method="GET",route="none",status="4xx"} 20`,
	} {
		if !strings.Contains(body, "offhook_http_request_seconds_count"+line) {
			t.Errorf("no %s", line)
		}
	}
}

func TestDocsListTheMetrics(t *testing.T) {
	s, err := Start(t.Context(), Config{
		HTTP: "127.0.0.1:0", SIP: []string{"127.0.0.1:0"}, Data: t.TempDir(), Voice: "test", OTLP: "http://127.0.0.1:9",
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(t.Context())
	get(t, s.URL()+"/healthz") // so that there is a request to tell of
	trunk := &call.Trunk{
		SID: twilio.NewSID(twilio.TrunkPrefix), AccountSID: s.account.SID, Name: "carrier", Host: "127.0.0.1:9", Created: clock.System.Now(),
		Updated: clock.System.Now(), Username: "me", Password: "secret", Register: &call.Register{Expires: time.Hour}, Ping: time.Hour,
	}
	if err := s.store.CreateTrunk(t.Context(), trunk); err != nil {
		t.Fatal(err)
	}
	if err := s.readRouting(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, body := get(t, s.URL()+"/metrics"); !strings.Contains(body, "offhook_sip_trunk_registered"); { // what trunks need begins in a moment
		_, body = get(t, s.URL()+"/metrics")
	}
	families, err := s.registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "offhook_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}

	var table strings.Builder
	table.WriteString("| Metric | Type | Labels | Meaning |\n|---|---|---|---|\n")
	for _, f := range families {
		if strings.HasPrefix(f.GetName(), "offhook_") {
			fmt.Fprintf(&table, "| `%s` | %s | %s | %s |\n", f.GetName(), strings.ToLower(f.GetType().String()), labels(f), f.GetHelp())
		}
	}
	const begin, end = "<!-- metrics: go test ./internal/server -update -->\n", "<!-- end -->"
	path := filepath.Join("..", "..", "docs", "metrics.md")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok1 := strings.Cut(string(b), begin)
	old, after, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatalf("%s has no place for the table", path)
	}
	if *update {
		if err := os.WriteFile(path, []byte(before+begin+table.String()+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if old != table.String() {
		t.Errorf("docs/metrics.md is not what the server says; after a look run: go test ./internal/server -update\nwant:\n%s", table.String())
	}
}

// labels lists a family's labels; of those with a closed set of values, which the server has from the start,
// the values too.
func labels(f *dto.MetricFamily) string {
	open := []string{
		"offhook_http_request_seconds", "offhook_build_info", "offhook_webhook_failures_total",
		"offhook_sip_trunk_target_up", "offhook_sip_trunk_registered",
	}
	var names []string
	values := map[string][]string{}
	for _, m := range f.GetMetric() {
		for _, l := range m.GetLabel() {
			if !slices.Contains(names, l.GetName()) {
				names = append(names, l.GetName())
			}
			if !slices.Contains(values[l.GetName()], l.GetValue()) {
				values[l.GetName()] = append(values[l.GetName()], l.GetValue())
			}
		}
	}
	for i, name := range names {
		if slices.Contains(open, f.GetName()) {
			names[i] = "`" + name + "`"
			continue
		}
		slices.Sort(values[name])
		names[i] = "`" + name + "`: " + strings.Join(values[name], ", ")
	}
	return strings.Join(names, "; ")
}

// lines is a log in JSON.
type lines struct {
	mu  sync.Mutex
	all []map[string]any
}

// Write takes a line.
func (l *lines) Write(b []byte) (int, error) {
	line := map[string]any{}
	err := json.Unmarshal(b, &line)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, line)
	return len(b), err
}

// name checks that the line of a message names the call and its leg.
func (l *lines) name(t *testing.T, message, callSID string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.all {
		if line["msg"] == message {
			if line["call_sid"] != callSID || line["leg"] == nil || line["sip_call_id"] == nil {
				t.Errorf("%v does not name call %s and its leg", line, callSID)
			}
			return
		}
	}
	t.Errorf("no line %q", message)
}

func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(b)
}
