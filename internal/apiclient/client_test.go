package apiclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const sid = "AC00000000000000000000000000000000"

func client(t *testing.T, h http.HandlerFunc) *Client {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	c, err := New(Config{URL: srv.URL + "/", AccountSID: sid, AuthToken: "token", UserAgent: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCreateSendsAFormAsTheAccount(t *testing.T) {
	c := client(t, func(w http.ResponseWriter, r *http.Request) {
		user, pass, _ := r.BasicAuth()
		body, _ := io.ReadAll(r.Body)
		got := fmt.Sprint(r.Method, " ", r.URL, " ", user, ":", pass, " ", r.Header.Get("Content-Type"), " ", string(body))
		want := "POST /2010-04-01/Accounts/" + sid + "/Calls.json " + sid + ":token application/x-www-form-urlencoded To=%2B1555"
		if got != want {
			t.Errorf("request\n got %s\nwant %s", got, want)
		}
		w.WriteHeader(http.StatusCreated)
		io.WriteString(w, `{"sid":"CA1","status":"queued","price":null,"n":1}`)
	})
	r, err := c.Create(t.Context(), "Calls", url.Values{"To": {"+1555"}})
	if err != nil {
		t.Fatal(err)
	}
	got := []string{r.Text("sid"), r.Text("status"), r.Text("price"), r.Text("n"), r.Text("missing")}
	if diff := cmp.Diff([]string{"CA1", "queued", "", "1", ""}, got); diff != "" {
		t.Error(diff)
	}
}

func TestListFollowsPagesUpToTheLimit(t *testing.T) {
	var asked []string
	c := client(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.RawQuery)
		page := r.URL.Query().Get("Page")
		switch page {
		case "":
			fmt.Fprintf(w, `{"calls":[{"sid":"a"},{"sid":"b"}],"next_page_uri":"%s?Page=1"}`, r.URL.Path)
		case "1":
			fmt.Fprintf(w, `{"calls":[{"sid":"c"},{"sid":"d"}],"next_page_uri":"%s?Page=2"}`, r.URL.Path)
		default:
			t.Errorf("page %s was not needed", page)
		}
	})
	rows, err := c.List(t.Context(), "Calls", "calls", url.Values{"Status": {"busy"}}, 3)
	if err != nil {
		t.Fatal(err)
	}
	var sids []string
	for _, r := range rows {
		sids = append(sids, r.Text("sid"))
	}
	if diff := cmp.Diff([]string{"a", "b", "c"}, sids); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"PageSize=3&Status=busy", "Page=1"}, asked); diff != "" {
		t.Error(diff)
	}
}

func TestRefusalsKeepTheServersWords(t *testing.T) {
	for _, tt := range []struct {
		status int
		body   string
		want   string
	}{
		{400, `{"code":21211,"message":"'To' is not valid.","status":400}`, "'To' is not valid (error 21211)"},
		{409, `{"title":"Conflict","detail":"name taken","code":20409}`, "name taken (error 20409)"},
		{401, `{"code":20003,"message":"Authenticate"}`, "the server has another account"},
		{503, `x`, "503 Service Unavailable: try again"},
	} {
		c := client(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(tt.status)
			io.WriteString(w, tt.body)
		})
		_, err := c.Fetch(t.Context(), "Calls", "CA1")
		var e *Error
		if !errors.As(err, &e) || e.Status != tt.status || !strings.Contains(e.Error(), tt.want) {
			t.Errorf("%d %s: got %v, want %q in it", tt.status, tt.body, err, tt.want)
		}
	}
}

func TestNoServerSaysHowToStartOne(t *testing.T) {
	srv := httptest.NewServer(nil)
	srv.Close()
	c, err := New(Config{URL: srv.URL})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Trunks(t.Context())
	var e *UnreachableError
	if !errors.As(err, &e) || !strings.Contains(err.Error(), "offhook serve") {
		t.Errorf("got %v", err)
	}
}

func TestEventsResumeBehindTheLastOne(t *testing.T) {
	connections := 0
	c := client(t, func(w http.ResponseWriter, r *http.Request) {
		connections++
		w.Header().Set("Content-Type", "text/event-stream")
		switch r.Header.Get("Last-Event-ID") {
		case "":
			io.WriteString(w, ": hello\n\nid: 0\nevent: TwilioCall.created\ndata: {\ndata: }\n\nevent: trace\ndata: t\n\nid: 1\nevent: cut off")
		case "0":
			io.WriteString(w, "id: 1\r\nevent: TwilioCall.completed\r\ndata: {}\r\n\r\n")
		default:
			t.Errorf("resumed after %s", r.Header.Get("Last-Event-ID"))
		}
	})
	var got []Event
	for e, err := range c.Events(t.Context(), "CA1", true) {
		if err != nil {
			t.Fatal(err)
		}
		if got = append(got, e); e.Name == "TwilioCall.completed" {
			break
		}
	}
	want := []Event{
		{ID: "0", Name: "TwilioCall.created", Data: []byte("{\n}")},
		{Name: "trace", Data: []byte("t")},
		{ID: "1", Name: "TwilioCall.completed", Data: []byte("{}")},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if connections != 2 {
		t.Errorf("%d connections, want 2", connections)
	}
}

// A stream that is asked for behind its last event ends, without an error and without another try.
func TestEventsEndWithTheCall(t *testing.T) {
	connections := 0
	c := client(t, func(w http.ResponseWriter, r *http.Request) {
		connections++
		w.WriteHeader(http.StatusNoContent)
	})
	for e, err := range c.Events(t.Context(), "CA1", false) {
		t.Errorf("%v %v", e, err)
	}
	if connections != 1 {
		t.Errorf("%d connections, want 1", connections)
	}
}

func TestEventsStopWithTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := client(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.(http.Flusher).Flush()
		cancel()
		<-r.Context().Done()
	})
	for _, err := range c.Events(ctx, "CA1", false) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	}
}
