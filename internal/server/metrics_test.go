package server

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

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
	for _, name := range []string{"offhook_calls_live 0", "offhook_calls_total 0", "offhook_media_streams 0", "offhook_media_tick_late", "go_goroutines"} {
		if !strings.Contains(body, "\n"+name) {
			t.Errorf("no %s in\n%s", name, body)
		}
	}
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
