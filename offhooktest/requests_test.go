package offhooktest_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/offhook/offhook/internal/clock"
	"github.com/offhook/offhook/offhooktest"
)

// exchanges are the requests of a call as its Events show them: method, path, status and length of the answer.
func exchanges(events []any) (lines []string) {
	for _, e := range events {
		request, response := e.(map[string]any)["request"].(map[string]any), e.(map[string]any)["response"].(map[string]any)
		_, path, _ := strings.Cut(strings.TrimPrefix(request["url"].(string), "http://"), "/")
		what := request["parameters"].(map[string]any)["CallStatus"]
		lines = append(lines, fmt.Sprintf("%v /%s %v %v", request["method"], path, response["response_code"], what))
	}
	return lines
}

// until asks for the events of a call until there are n of them.
func until(t *testing.T, srv *offhooktest.Server, path string, n int) []any {
	t.Helper()
	late := clock.System.NewTimer(offhooktest.Patience)
	defer late.Stop()
	for {
		_, answer := srv.Request(http.MethodGet, path, nil)
		if list, ok := answer["events"].([]any); ok && len(list) >= n {
			return list
		}
		select {
		case <-late.C():
			t.Fatalf("not %d events: %v", n, answer)
		default:
		}
	}
}

// Everything that was asked of an application for a call is there to be looked at, in order, with the answers; and
// goes with the call.
func TestWhatWasRequestedForACall(t *testing.T) {
	srv := offhooktest.Start(t)
	app := srv.App(t)
	app.On("/voice", `<Response><Gather numDigits="4" action="/menu"/></Response>`)
	app.OnFunc("/menu", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/moved?a=b", http.StatusTemporaryRedirect)
	})
	app.On("/moved", `<Response><Redirect method="GET">/gone?c=d</Redirect></Response>`)
	app.OnFunc("/gone", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no such page", http.StatusNotFound) })
	app.On("/fallback", `<Response><Pause length="60"/></Response>`)
	app.OnFunc("/status", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	ph := srv.Phone(t, callee)
	c := srv.Call(t, "To", callee, "From", caller, "Url", app.URL("/voice"), "FallbackUrl", app.URL("/fallback"),
		"StatusCallback", app.URL("/status"), "StatusCallbackEvent", "answered", "StatusCallbackEvent", "completed")
	line := ph.Answers()
	app.Got("/voice")
	app.Got("/status", "CallStatus", "in-progress")
	line.Press("1234")
	app.Got("/fallback")
	line.Hangup()
	c.Is("completed")

	path := "/Calls/" + c.SID + "/Events.json"
	events := until(t, srv, path, 7)
	got := strings.Join(exchanges(events), "\n")
	const status = "POST /status 204 in-progress\n"
	if want := `POST /voice 200 in-progress
POST /menu 307 in-progress
POST /moved?a=b 200 in-progress
GET /gone?c=d 404 in-progress
POST /fallback 200 in-progress
POST /status 204 completed`; strings.Replace(got, status, "", 1) != want || !strings.Contains(got, status) {
		t.Errorf("requests\n%s\nwant\n%s, and %s", got, want, status)
	}
	for _, e := range events {
		request, response := e.(map[string]any)["request"].(map[string]any), e.(map[string]any)["response"].(map[string]any)
		params := request["parameters"].(map[string]any)
		switch url := request["url"].(string); {
		case strings.Contains(url, "/menu"), strings.Contains(url, "/moved"):
			if params["Digits"] != "1234" || params["CallSid"] != c.SID {
				t.Errorf("parameters of %s: %v", url, params)
			}
		case strings.Contains(url, "/gone"):
			if response["response_body"] != "no such page\n" || response["content_length"] != 13.0 || params["CallSid"] != c.SID {
				t.Errorf("%s: %v %v", url, params, response)
			}
		case strings.Contains(url, "/fallback"):
			if params["ErrorCode"] != "11200" || response["content_type"] != "text/xml" || response["response_body"] != `<Response><Pause length="60"/></Response>` {
				t.Errorf("%s: %v %v", url, params, response)
			}
		}
		if response["date_created"] == nil || response["request_duration"].(float64) < 0 {
			t.Errorf("%v", response)
		}
	}

	// The same, page by page, there and back.
	var pages []string
	next, last := path+"?PageSize=3", ""
	for range 3 {
		_, answer := srv.Request(http.MethodGet, next, nil)
		pages = append(pages, exchanges(answer["events"].([]any))...)
		next, _ = answer["next_page_uri"].(string)
		last, _ = answer["previous_page_uri"].(string)
	}
	if strings.Join(pages, "\n") != got || next != "" {
		t.Errorf("page by page:\n%s\nand then %s", strings.Join(pages, "\n"), next)
	}
	if _, answer := srv.Request(http.MethodGet, last, nil); strings.Join(exchanges(answer["events"].([]any)), "\n") != strings.Join(pages[3:6], "\n") {
		t.Errorf("back: %v", answer)
	}

	if code, answer := srv.Request(http.MethodDelete, "/Calls/"+c.SID+".json", nil); code != http.StatusNoContent {
		t.Fatalf("delete: %d %v", code, answer)
	}
	if code, answer := srv.Request(http.MethodGet, path, nil); code != http.StatusNotFound {
		t.Errorf("of a deleted call: %d %v", code, answer)
	}
}
