package callapi

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/offhook/offhook/internal/call"
)

func (f *fake) Detection(_ context.Context, of, sid string) (*call.Detection, error) {
	if of != accountSID || sid != callSID || f.detection == nil {
		return nil, call.ErrNotFound
	}
	return f.detection, f.err
}

func TestWhoAnswered(t *testing.T) {
	f := &fake{}
	s := start(t, f)
	const path = "/v1/calls/" + callSID + "/detection"
	if status, body := s.sends(t, "GET", path, ""); status != 404 {
		t.Errorf("before it is known: %d %s", status, body)
	}
	f.detection = &call.Detection{
		CallSID: callSID, AccountSID: accountSID, Time: noon, AnsweredBy: "machine_start", After: 3120 * time.Millisecond, Rule: "long_utterance",
		Settings: call.MachineDetection{Mode: "Enable", Timeout: 30, SpeechThreshold: 2400, SpeechEndThreshold: 1200, SilenceTimeout: 5000, Async: true},
		Trace:    []byte(`{"speech":[[400,2900]]}`),
	}
	status, body := s.sends(t, "GET", path, "")
	var got map[string]any
	if err := json.Unmarshal(body, &got); err != nil || status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	want := map[string]any{
		"callId": callSID, "time": "2026-03-04T12:00:00.000Z", "answeredBy": "machine_start", "afterMs": 3120.0, "rule": "long_utterance",
		"settings": map[string]any{
			"machineDetection": "Enable", "machineDetectionTimeout": 30.0, "machineDetectionSpeechThreshold": 2400.0,
			"machineDetectionSpeechEndThreshold": 1200.0, "machineDetectionSilenceTimeout": 5000.0, "asyncAmd": true,
		},
		"trace": map[string]any{"speech": []any{[]any{400.0, 2900.0}}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if status, _ := s.sends(t, "GET", "/v1/calls/CA1/detection", ""); status != 404 {
		t.Errorf("of no call: %d", status)
	}
}
