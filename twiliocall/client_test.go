package twiliocall_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/offhook/offhook/twiliocall"
)

const longCall = `<Response><Pause length="60"/></Response>`

// live is a call in progress that is hung up when the test ends.
func live(t *testing.T) *twiliocall.Call {
	t.Helper()
	call, err := client.Create(t.Context(), twiliocall.CreateCall{From: "+15005550006", To: "+15551234567", Twiml: longCall})
	if err != nil {
		t.Fatal(err)
	}
	for e, err := range client.Events(t.Context(), call.ID, "") {
		if err != nil {
			t.Fatal(err)
		}
		if e.Type == "TwilioCall.in-progress" {
			break
		}
	}
	return call
}

// ends reads the events of a call to the last one.
func ends(t *testing.T, id string) (names []string) {
	t.Helper()
	for e, err := range client.Events(t.Context(), id, "") {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, e.Type)
		if c, err := e.Call(); err != nil || c.ID != id {
			t.Errorf("%s: %v %v", e.Type, c, err)
		}
	}
	return names
}

func TestALiveCallIsRecordedRedirectedAndHungUp(t *testing.T) {
	call := live(t)
	r, err := client.Record(t.Context(), call.ID, twiliocall.RecordingConfig{Channels: "dual"})
	if err != nil || r.Status != "in-progress" || r.Channels != "dual" || r.CallID != call.ID {
		t.Fatalf("%+v %v", r, err)
	}
	if _, err := client.StopRecording(t.Context(), call.ID, ""); err != nil {
		t.Error(err)
	}
	for _, test := range []struct {
		name        string
		do          func(context.Context, string) (*twiliocall.Call, error)
		held, muted bool
	}{
		{"hold", func(ctx context.Context, id string) (*twiliocall.Call, error) { return client.Hold(ctx, id, "") }, true, false},
		{"mute", client.Mute, true, true}, {"unhold", client.Unhold, false, true}, {"unmute", client.Unmute, false, false},
		{"unhold again", client.Unhold, false, false}, {"mute again", client.Mute, false, true},
	} {
		if c, err := test.do(t.Context(), call.ID); err != nil || c.Held != test.held || c.Muted != test.muted {
			t.Errorf("%s: %+v %v", test.name, c, err)
		}
	}
	var p *twiliocall.Problem
	if _, err := client.StopRecording(t.Context(), call.ID, ""); !errors.As(err, &p) || p.Status != 409 || p.Code != 21220 {
		t.Errorf("none runs: %v", err)
	}
	if _, err := client.Delete(t.Context(), call.ID); !errors.As(err, &p) || p.Status != 409 || p.Code != 20009 {
		t.Errorf("deleted while live: %v", err)
	}
	if c, err := client.Redirect(t.Context(), call.ID, twiliocall.Redirect{Twiml: "<Response><Hangup/></Response>"}); err != nil || c.ID != call.ID {
		t.Errorf("%+v %v", c, err)
	}
	if names := ends(t, call.ID); !slices.Contains(names, "TwilioCall.completed") { // its recording may be kept later
		t.Errorf("%v", names)
	}
	if c, err := client.Hangup(t.Context(), call.ID); err != nil || c.Status != "completed" || c.Muted {
		t.Errorf("an ended call: %+v %v", c, err)
	}
	if _, err := client.Mute(t.Context(), call.ID); !errors.As(err, &p) || p.Status != 409 || p.Code != 21220 {
		t.Errorf("an ended call muted: %v", err)
	}
	if _, err := client.Redirect(t.Context(), call.ID, twiliocall.Redirect{Twiml: "<Response/>"}); !errors.As(err, &p) || p.Status != 409 || p.Code != 21220 {
		t.Errorf("an ended call redirected: %v", err)
	}
	if c, err := client.Delete(t.Context(), call.ID); err != nil || c.ID != call.ID {
		t.Errorf("%+v %v", c, err)
	}
	if _, err := client.Retrieve(t.Context(), call.ID); !errors.As(err, &p) || p.Status != 404 {
		t.Errorf("a deleted call: %v", err)
	}
}

func TestACreateWithAKeyIsOneCall(t *testing.T) {
	ask := twiliocall.CreateCall{From: "+15005550006", To: "+15551234567", Twiml: "<Response/>", Annotation: "once"}
	first, err := client.CreateOnce(t.Context(), "key 1", ask)
	if err != nil {
		t.Fatal(err)
	}
	ends(t, first.ID)
	note := "later"
	if _, err := client.Update(t.Context(), first.ID, twiliocall.UpdateCall{Annotation: &note}); err != nil {
		t.Fatal(err)
	}
	again, err := client.CreateOnce(t.Context(), "key 1", ask)
	if err != nil || again.ID != first.ID || again.Status != "queued" || again.EndTime != nil || *again.Annotation != "once" {
		t.Errorf("%+v %v", again, err)
	}
	ask.To = "+15551234568"
	var p *twiliocall.Problem
	if _, err := client.CreateOnce(t.Context(), "key 1", ask); !errors.As(err, &p) || p.Status != 409 {
		t.Errorf("the key of another call: %v", err)
	}
	count := 0
	for _, err := range client.List(t.Context(), twiliocall.Filter{To: ask.To}) {
		if err != nil {
			t.Fatal(err)
		}
		count++
	}
	if count != 0 {
		t.Errorf("%d calls to %s", count, ask.To)
	}
}

func TestListReadsPageAfterPage(t *testing.T) {
	var want []string
	for i := range 7 {
		c, err := client.Create(t.Context(), twiliocall.CreateCall{
			From: "+15005550006", To: "+15551234567", Twiml: "<Response/>", Metadata: map[string]any{"page": fmt.Sprint("p", i/7)},
		})
		if err != nil {
			t.Fatal(err)
		}
		want = append([]string{c.ID}, want...)
	}
	var got []string
	for c, err := range client.List(t.Context(), twiliocall.Filter{Limit: 3, Metadata: map[string]string{"page": "p0"}, Status: []string{"queued", "ringing", "in-progress", "completed"}}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, c.ID)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v\nwant %v", got, want)
	}
}

func TestAStreamThatBreaksIsResumed(t *testing.T) {
	requests := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests++
		last := r.Header.Get("Last-Event-ID")
		w.Header().Set("Content-Type", "text/event-stream")
		switch requests {
		case 1:
			fmt.Fprint(w, "id: 7\ndata: {\"type\":\"TwilioCall.ringing\"}\n\n: still here\n\nid: 8\ndata: {\"type\"")
		case 2:
			if last != "7" {
				t.Errorf("resumed behind %q", last)
			}
			w.WriteHeader(http.StatusServiceUnavailable)
		case 3: // a proxy before a server that starts again
			w.WriteHeader(http.StatusBadGateway)
		default:
			fmt.Fprint(w, "id: 8\ndata: {\"type\":\"TwilioCall.answered\",\ndata: \"sequence\":2}\n\n")
		}
	}))
	defer s.Close()
	c, err := twiliocall.New(twiliocall.Config{URL: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for e, err := range c.Events(t.Context(), "CA1", "") {
		if err != nil {
			t.Fatal(err)
		}
		if got = append(got, e.Position+e.Type); len(got) == 2 {
			break
		}
	}
	if fmt.Sprint(got) != "[7TwilioCall.ringing 8TwilioCall.answered]" || requests != 4 {
		t.Errorf("%v after %d requests", got, requests)
	}
}
