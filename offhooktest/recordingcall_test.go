package offhooktest_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/offhook/offhook/offhooktest"
)

// act asks for an action of a TwilioCall.
func act(t *testing.T, srv *offhooktest.Server, call, action string, body any, want int) map[string]any {
	t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL+"/v1/calls/"+call+"/"+action, bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(srv.AccountSID, srv.AuthToken)
	req.Header.Set("Content-Type", "application/json")
	client := http.Client{Timeout: offhooktest.Patience, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || resp.StatusCode != want {
		t.Fatalf("%s: %s %v %v", action, resp.Status, err, answer)
	}
	return answer
}

// record and stopRecording of a TwilioCall are the same recordings as those of the other API.
func TestATwilioCallIsRecorded(t *testing.T) {
	t.Parallel()
	srv := offhooktest.Start(t)
	app := srv.App(t)
	ph := srv.Phone(t, callee)
	c := srv.Call(t, "To", callee, "From", caller, "Twiml", `<Response><Pause length="60"/></Response>`)
	line := ph.Answers()
	c.Is("in-progress")
	events := c.Events()
	defer events.Close()
	config := map[string]any{
		"channels": "dual", "track": "both", "trim": "do-not-trim", "maxLength": 2, "playBeep": true,
		"statusCallback": app.URL("/rec"), "statusCallbackMethod": "GET", "statusCallbackEvent": []string{"in-progress", "completed"},
	}
	r := act(t, srv, c.SID, "record", config, http.StatusCreated)
	sid := r["id"].(string)
	if r["status"] != "in-progress" || r["channels"] != "dual" || r["track"] != "both" || r["callId"] != c.SID || r["duration"] != nil || r["price"] != nil {
		t.Errorf("started: %v", r)
	}
	if began := app.Got("/rec", "RecordingStatus", "in-progress", "RecordingSid", sid); began.Method != http.MethodGet {
		t.Errorf("the callback is a %s", began.Method)
	}
	line.HearsTone(1000)
	_, s := kept(t, srv, app, "RecordingSid", sid) // it ends by itself
	if d := s.length() - 2*time.Second; d < -exact || d > exact {
		t.Errorf("it lasts %v", s.length())
	}
	s.has(t, 1, 1000, 500*time.Millisecond)

	delete(config, "maxLength")
	delete(config, "playBeep")
	config["track"] = "inbound"
	first := act(t, srv, c.SID, "record", config, http.StatusCreated)["id"].(string)
	second := act(t, srv, c.SID, "record", config, http.StatusCreated)["id"].(string)
	rest(t, line, 300*time.Millisecond)
	line.Whistles(500*time.Millisecond, 440)
	rest(t, line, 300*time.Millisecond)
	if got := act(t, srv, c.SID, "stopRecording", map[string]any{"recordingId": first}, http.StatusOK); got["id"] != c.SID {
		t.Errorf("stopRecording answers %v", got)
	}
	kept(t, srv, app, "RecordingSid", first)
	if _, r := srv.Request("GET", "/Recordings/"+second+".json", nil); r["status"] != "in-progress" {
		t.Errorf("the other one is %v", r["status"])
	}
	act(t, srv, c.SID, "stopRecording", map[string]any{}, http.StatusOK)
	_, s = kept(t, srv, app, "RecordingSid", second)
	s.has(t, 0, 440, 500*time.Millisecond)
	if got := act(t, srv, c.SID, "stopRecording", map[string]any{}, http.StatusConflict); got["code"] != 21220.0 {
		t.Errorf("none runs: %v", got)
	}
	line.Hangup()
	c.Is("completed")
	names := map[string]int{}
	for _, name := range events.Names() {
		names[name]++
	}
	if names["Recording.started"] != 3 || names["Recording.completed"] != 3 {
		t.Errorf("events %v", names)
	}
}
