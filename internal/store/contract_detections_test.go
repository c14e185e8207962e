package store_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/offhook/offhook/internal/call"
)

func testDetections(t *testing.T, b backend) {
	s := open(t, b.address(t))
	c := create(t, s, newCall(morning))
	if _, err := s.Detection(t.Context(), account, c.SID); !errors.Is(err, call.ErrNotFound) {
		t.Errorf("before there is one: %v", err)
	}
	want := call.Detection{
		CallSID: c.SID, AccountSID: account, Time: morning.Add(4 * time.Second), AnsweredBy: "machine_start", After: 3120 * time.Millisecond,
		Rule: "long speech", Settings: call.MachineDetection{
			Mode: call.DetectEnable, Timeout: 30, SpeechThreshold: 2400, SpeechEndThreshold: 1200, SilenceTimeout: 5000,
			Async: true, CallbackURL: "https://app.example/amd?a=b", CallbackMethod: "POST",
		},
		Trace: []byte(`{"frames":"…"}`),
	}
	c.Status, c.AnsweredBy = call.InProgress, want.AnsweredBy
	must(t, s.SaveCall(t.Context(), c, call.Queued, call.Change{Detections: []call.Detection{want}}))
	second := want
	second.AnsweredBy = "human"
	must(t, s.SaveCall(t.Context(), c, call.InProgress, call.Change{Detections: []call.Detection{second}}))
	got, err := s.Detection(t.Context(), account, c.SID)
	must(t, err)
	if diff := cmp.Diff(&want, got); diff != "" {
		t.Errorf("stored (-) and read (+); a call has one:\n%s", diff)
	}
	if _, err := s.Detection(t.Context(), other, c.SID); !errors.Is(err, call.ErrNotFound) {
		t.Errorf("that of another account: %v", err)
	}
	c.Status, c.EndedAt = call.Completed, morning.Add(time.Minute)
	must(t, s.SaveCall(t.Context(), c, call.InProgress, call.Change{}))
	must(t, s.DeleteCall(t.Context(), account, c.SID))
	if _, err := s.Detection(t.Context(), account, c.SID); !errors.Is(err, call.ErrNotFound) {
		t.Errorf("it stayed when its call went: %v", err)
	}
}
