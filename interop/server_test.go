package interop

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"testing"

	"github.com/offhook/offhook/offhooktest"
)

const (
	own    = "+15550199" // a number of the server's
	caller = "+15550061"
)

// allEvents asks for every status callback at the application's /status.
func allEvents(app *offhooktest.App) []string {
	return []string{
		"StatusCallback", app.URL("/status"),
		"StatusCallbackEvent", "initiated", "StatusCallbackEvent", "ringing",
		"StatusCallbackEvent", "answered", "StatusCallbackEvent", "completed",
	}
}

// gotInOrder checks that the status callbacks of a call came with these statuses, in this order and
// numbered from 0. It returns the last one.
func gotInOrder(t *testing.T, app *offhooktest.App, sid string, statuses ...string) offhooktest.Request {
	t.Helper()
	var last offhooktest.Request
	for i, status := range statuses {
		r := app.Got("/status", "CallSid", sid, "SequenceNumber", strconv.Itoa(i))
		if got := r.Params.Get("CallStatus"); got != status {
			t.Errorf("callback %d says %s, want %s", i, got, status)
		}
		if i > 0 && r.Time.Before(last.Time) {
			t.Errorf("callback %d came before callback %d", i, i-1)
		}
		last = r
	}
	return last
}

// trunk makes a trunk; the fields are those of POST /v1/trunks.
func trunk(t *testing.T, srv *offhooktest.Server, fields map[string]any) {
	t.Helper()
	body, err := json.Marshal(fields)
	check(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), offhooktest.Patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, srv.URL+"/v1/trunks", bytes.NewReader(body))
	check(t, err)
	req.SetBasicAuth(srv.AccountSID, srv.AuthToken)
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	check(t, err)
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		t.Fatalf("trunk: %s", resp.Status)
	}
}

// calls lists the server's calls.
func calls(srv *offhooktest.Server) []map[string]any {
	var list []map[string]any
	_, page := srv.Request("GET", "/Calls.json?PageSize=1000", nil)
	for _, c := range page["calls"].([]any) {
		list = append(list, c.(map[string]any))
	}
	return list
}

// twiml answers with the document for the keys that were pressed.
func twiml(document func(digits string) string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/xml")
		_, _ = io.WriteString(w, document(r.Form.Get("Digits"))) // a failed write shows at the caller
	}
}

// seconds reads a duration of the API.
func seconds(t *testing.T, v any) int {
	t.Helper()
	n, err := strconv.Atoi(v.(string))
	check(t, err)
	return n
}

// fetch is a call's resource.
func fetch(t *testing.T, srv *offhooktest.Server, sid string) map[string]any {
	t.Helper()
	code, c := srv.Request("GET", "/Calls/"+sid+".json", nil)
	if code != http.StatusOK {
		t.Fatalf("fetch %s: %d %v", sid, code, c["message"])
	}
	return c
}
