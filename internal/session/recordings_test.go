package session

import (
	"errors"
	"slices"
	"testing"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/clock"
	"github.com/offhook/offhook/internal/twilio"
)

func (w *world) recording(c *call.Call) *call.Recording {
	now := clock.System.Now().UTC()
	return &call.Recording{
		SID: twilio.NewSIDAt(twilio.RecordingPrefix, now), AccountSID: c.AccountSID, CallSID: c.SID, Status: call.RecordingProcessing,
		Source: call.SourceAPI, Track: call.TrackBoth, Channels: 1, DateCreated: now, DateUpdated: now, StartTime: now, PriceUnit: "USD",
		Node:    w.store.Node(),
		Options: call.RecordingOptions{StatusURL: "http://app.example/r", StatusMethod: "POST", StatusEvents: []string{"completed"}},
	}
}

// settled is r as it was completed.
func settled(t *testing.T, r *call.Recording) *call.Recording {
	t.Helper()
	done := r.Clone()
	if err := done.Move(call.RecordingCompleted); err != nil {
		t.Fatal(err)
	}
	done.Samples, done.Key = 8000, "k"
	return done
}

// What becomes of a recording is a change of its call while that is live, so events have no gap, and it is told once
// though the store refuses it at first.
func TestARecordingIsSettledWhileItsCallIsLive(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Recordings = c.Store.(*moodyStore) })
	c := w.create(`<Response><Pause length="60"/></Response>`)
	leg := w.leg()
	w.comes("the INVITE", leg.invited)
	leg.events <- call.LegAnswered{}
	w.is(c.SID, call.InProgress)
	s := w.session(c.SID)
	r := w.recording(c)
	if err := s.do(t.Context(), func() error { return s.saveRecording(r, saveTimeout) }); err != nil {
		t.Fatal(err)
	}
	away := errors.New("away")
	w.store.fails(func(*call.Call) error { return away })
	for range 3 {
		if err := w.SettleRecording(t.Context(), settled(t, r), call.RecordingProcessing); !errors.Is(err, away) {
			t.Fatalf("while the store is away: %v", err)
		}
	}
	w.store.fails(nil)
	if err := w.SettleRecording(t.Context(), settled(t, r), call.RecordingProcessing); err != nil && !errors.Is(err, call.ErrConflict) {
		t.Fatal(err) // the session may have been faster
	}
	stored, err := w.store.Recording(t.Context(), c.AccountSID, r.SID)
	if err != nil || stored.Status != call.RecordingCompleted {
		t.Fatalf("%+v %v", stored, err)
	}
	if err := w.SettleRecording(t.Context(), settled(t, r), call.RecordingProcessing); !errors.Is(err, call.ErrConflict) {
		t.Errorf("settled again: %v", err)
	}
	leg.leaves()
	w.is(c.SID, call.Completed)
	want := []string{"created", "queued", "answered", "in-progress", "Recording.completed", "completed"}
	if got := slices.DeleteFunc(w.events(c.SID), func(n string) bool { return n == "ringing" || n == "initiated" }); !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
	due, err := w.store.Due(t.Context(), clock.System.Now(), 10)
	if err != nil || len(due) != 1 || due[0].Params.Get("RecordingStatus") != "completed" || due[0].Params.Get("RecordingDuration") != "1" {
		t.Errorf("callbacks %+v %v", due, err)
	}

	// And once more, without a session.
	late := w.recording(c)
	if err := w.store.SaveRecording(t.Context(), late, "", call.Change{}); err != nil {
		t.Fatal(err)
	}
	w.until("the session is gone", func() bool { return w.session(c.SID) == nil })
	if err := w.SettleRecording(t.Context(), settled(t, late), call.RecordingProcessing); err != nil {
		t.Fatal(err)
	}
	if got := w.events(c.SID); got[len(got)-1] != "Recording.completed" || got[len(got)-2] != "completed" {
		t.Errorf("events %v", got)
	}
	if err := w.store.DeleteCall(t.Context(), c.AccountSID, c.SID); err != nil {
		t.Fatal(err)
	}
	later := w.recording(c)
	if err := w.store.SaveRecording(t.Context(), later, "", call.Change{}); err != nil {
		t.Fatal(err)
	}
	if err := w.SettleRecording(t.Context(), settled(t, later), call.RecordingProcessing); err != nil {
		t.Errorf("of a call that was deleted: %v", err)
	}
}

// Who deletes a recording before it can be downloaded is told, as who asked for its end is, that there is none.
func TestARecordingDeletedWhileItIsProcessedIsAbsent(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Recordings = c.Store.(*moodyStore) })
	c := w.create(`<Response><Pause length="60"/></Response>`)
	leg := w.leg()
	w.comes("the INVITE", leg.invited)
	leg.events <- call.LegAnswered{}
	w.is(c.SID, call.InProgress)
	told := func(what string, r *call.Recording) {
		t.Helper()
		if err := w.DeleteRecording(t.Context(), c.AccountSID, r.SID); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		due, err := w.store.Due(t.Context(), clock.System.Now(), 10)
		var status []string
		for _, cb := range due {
			if cb.Params.Get("RecordingSid") == r.SID {
				status = append(status, cb.Params.Get("RecordingStatus"))
			}
		}
		if err != nil || !slices.Equal(status, []string{"absent"}) {
			t.Errorf("%s: callbacks %v, %v", what, status, err)
		}
		stored, err := w.store.Recording(t.Context(), c.AccountSID, r.SID)
		if err != nil || stored.Status != call.RecordingDeleted {
			t.Errorf("%s: %+v %v", what, stored, err)
		}
		if err := w.DeleteRecording(t.Context(), c.AccountSID, r.SID); !errors.Is(err, call.ErrNotFound) {
			t.Errorf("%s, deleted again: %v", what, err)
		}
	}
	r := w.recording(c)
	r.Options.StatusEvents = []string{"completed", "absent"}
	if err := w.session(c.SID).do(t.Context(), func() error { return w.session(c.SID).saveRecording(r, saveTimeout) }); err != nil {
		t.Fatal(err)
	}
	told("of a live call", r)
	late := w.recording(c)
	late.Options.StatusEvents = []string{"absent"}
	leg.leaves()
	w.is(c.SID, call.Completed)
	w.until("the session is gone", func() bool { return w.session(c.SID) == nil })
	if err := w.store.SaveRecording(t.Context(), late, "", call.Change{}); err != nil {
		t.Fatal(err)
	}
	told("of a call that has ended", late)
}
