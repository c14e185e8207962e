package store_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/store"
	"github.com/offhook/offhook/internal/twilio"
)

func newRecording(s *store.Store, callSID string, at time.Time) *call.Recording {
	return &call.Recording{
		SID: twilio.NewSIDAt(twilio.RecordingPrefix, at), AccountSID: account, CallSID: callSID,
		Status: call.RecordingInProgress, Source: call.SourceAPI, Track: call.TrackBoth, Channels: 2,
		DateCreated: at, DateUpdated: at, StartTime: at.Add(time.Second), PriceUnit: "USD", Node: s.Node(),
		Options: call.RecordingOptions{
			StatusURL: "https://app.example/r", StatusMethod: "POST", StatusEvents: []string{"completed"}, Trim: true, MaxLength: 60,
		},
	}
}

// testRecordings: a recording goes with its call's changes while that is live, then by itself.
func testRecordings(t *testing.T, b backend) {
	s := open(t, b.address(t))
	c := newCall(morning)
	must(t, s.CreateCall(t.Context(), c, changeOf(c, 0, "queued", "")))
	r := newRecording(s, c.SID, morning)
	get := func() *call.Recording {
		t.Helper()
		got, err := s.Recording(t.Context(), account, r.SID)
		must(t, err)
		return got
	}

	c.Status = call.InProgress
	c.AnsweredAt = morning
	ch := changeOf(c, 1, "Recording.started", "")
	ch.Recordings = []*call.Recording{r}
	must(t, s.SaveCall(t.Context(), c, call.Queued, ch))
	if d := cmp.Diff(r, get()); d != "" {
		t.Fatal(d)
	}
	if err := second(s.Recording(t.Context(), other, r.SID)); !errors.Is(err, call.ErrNotFound) {
		t.Errorf("of another account: %v", err)
	}
	stale := *c
	stale.Epoch += 7
	paused := r.Clone()
	must(t, paused.Move(call.RecordingPaused))
	if err := s.SaveCall(t.Context(), &stale, call.InProgress, call.Change{Recordings: []*call.Recording{paused}}); !errors.Is(err, call.ErrConflict) {
		t.Errorf("save of a call that is another's: %v", err)
	}
	if got := get(); got.Status != call.RecordingInProgress {
		t.Errorf("a refused save made the recording %s", got.Status)
	}
	if err := s.SaveRecording(t.Context(), paused, call.RecordingInProgress, call.Change{}); !errors.Is(err, call.ErrLive) {
		t.Errorf("beside a session: %v, want ErrLive", err)
	}
	if err := s.DeleteRecording(t.Context(), account, r.SID); !errors.Is(err, call.ErrLive) {
		t.Errorf("delete of one that runs: %v", err)
	}

	// The call ends while it is processing; what follows comes without a session.
	must(t, r.Move(call.RecordingProcessing))
	must(t, s.SaveCall(t.Context(), c, call.InProgress, call.Change{Recordings: []*call.Recording{r}}))
	c.Status, c.EndedAt, c.EventSeq = call.Completed, morning.Add(time.Minute), 3
	must(t, s.SaveCall(t.Context(), c, call.InProgress, changeOf(c, 2, "completed", "")))
	if list, err := s.UnfinishedRecordings(t.Context(), "", 10); err != nil || len(list) != 1 || list[0].SID != r.SID {
		t.Errorf("unfinished: %v %v", list, err)
	}
	must(t, r.Move(call.RecordingCompleted))
	r.Samples, r.Key, r.Encrypted, r.DateUpdated = 12345, "k", true, morning.Add(2*time.Minute)
	ch = changeOf(c, 99, "Recording.completed", "https://app.example/r")
	must(t, s.SaveRecording(t.Context(), r, call.RecordingProcessing, ch))
	if d := cmp.Diff(r, get()); d != "" {
		t.Error(d)
	}
	if err := s.SaveRecording(t.Context(), r, call.RecordingProcessing, ch); !errors.Is(err, call.ErrConflict) {
		t.Errorf("the same again: %v, want a conflict", err)
	}
	events, err := s.Events(t.Context(), c.SID, -1)
	must(t, err)
	var told []string
	for i, e := range events {
		told = append(told, e.Name)
		if e.Seq != i {
			t.Errorf("event %s has number %d, want %d", e.Name, e.Seq, i)
		}
	}
	if d := cmp.Diff([]string{"queued", "Recording.started", "completed", "Recording.completed"}, told); d != "" {
		t.Error(d)
	}
	if due, err := s.Due(t.Context(), morning.Add(time.Hour), 10); err != nil || len(due) != 1 || due[0].Seq != 4 {
		t.Errorf("callbacks %v %v", due, err)
	}
	if list, err := s.UnfinishedRecordings(t.Context(), "", 10); err != nil || len(list) != 0 {
		t.Errorf("unfinished: %v %v", list, err)
	}

	// It outlives its call, and is erased after it was deleted.
	must(t, s.DeleteCall(t.Context(), account, c.SID))
	if err := s.DeleteRecording(t.Context(), other, r.SID); !errors.Is(err, call.ErrNotFound) {
		t.Errorf("delete by another account: %v", err)
	}
	must(t, s.DeleteRecording(t.Context(), account, r.SID))
	if err := s.DeleteRecording(t.Context(), account, r.SID); !errors.Is(err, call.ErrNotFound) {
		t.Errorf("second delete: %v", err)
	}
	if got := get(); got.Status != call.RecordingDeleted || got.Key != "k" || got.Samples != 12345 {
		t.Errorf("deleted: %+v", got)
	}
	elsewhere := newRecording(s, c.SID, morning)
	elsewhere.Node = "a name that this server had before"
	must(t, s.SaveRecording(t.Context(), elsewhere, "", changeOf(c, 0, "Recording.started", "https://app.example/r")))
	if events, err := s.Events(t.Context(), c.SID, -1); err != nil || len(events) != 0 {
		t.Errorf("events of a deleted call: %v %v", events, err)
	}
	if list, err := s.UnfinishedRecordings(t.Context(), "", 10); err != nil || len(list) != 2 {
		t.Errorf("unfinished: %v %v", list, err)
	}
	must(t, s.RecordingErased(t.Context(), r.SID))
	if list, err := s.UnfinishedRecordings(t.Context(), "", 10); err != nil || len(list) != 1 || list[0].SID == r.SID {
		t.Errorf("unfinished after the erasure: %v %v", list, err)
	}
	if n, err := s.ForgetRecordings(t.Context(), morning.Add(time.Hour), 10); err != nil || n != 0 {
		t.Errorf("forgot %d, %v: it was deleted just now", n, err)
	}
	if n, err := s.ForgetRecordings(t.Context(), time.Now().Add(time.Hour), 10); err != nil || n != 1 {
		t.Errorf("forgot %d, %v", n, err)
	}
}

// testRecordingLists: filters, deleted ones, pages and age.
func testRecordingLists(t *testing.T, b backend) {
	s := open(t, b.address(t))
	var sids []string
	for i := range 6 {
		r := newRecording(s, fmt.Sprint("CA", i%2), morning.Add(time.Duration(i)*time.Hour))
		r.Status = call.RecordingCompleted
		if i == 4 {
			r.ConferenceSID, r.Status = "CF1", call.RecordingAbsent
		}
		if i == 5 {
			r.AccountSID = other
		}
		must(t, s.SaveRecording(t.Context(), r, "", call.Change{}))
		sids = append(sids, r.SID)
	}
	if err := s.SaveRecording(t.Context(), &call.Recording{SID: sids[0], CallSID: "CA0"}, "", call.Change{}); !errors.Is(err, call.ErrConflict) {
		t.Errorf("a taken SID: %v", err)
	}
	must(t, s.DeleteRecording(t.Context(), account, sids[1]))
	for _, c := range []struct {
		name string
		f    call.RecordingFilter
		want []int
		more bool
	}{
		{"all", call.RecordingFilter{}, []int{4, 3, 2, 0}, false},
		{"deleted too", call.RecordingFilter{Deleted: true}, []int{4, 3, 2, 1, 0}, false},
		{"of a call", call.RecordingFilter{CallSID: "CA1", Deleted: true}, []int{3, 1}, false},
		{"of a conference", call.RecordingFilter{ConferenceSID: "CF1"}, []int{4}, false},
		{"between", call.RecordingFilter{After: morning.Add(2 * time.Hour), Before: morning.Add(4 * time.Hour)}, []int{3, 2}, false},
		{"first page", call.RecordingFilter{Limit: 2}, []int{4, 3}, true},
		{"second page", call.RecordingFilter{Limit: 2, Cursor: twilio.PageToken{SID: sids[3], Time: morning.Add(3 * time.Hour).UnixMicro()}}, []int{2, 0}, false},
		{"and back", call.RecordingFilter{Limit: 2, Cursor: twilio.PageToken{SID: sids[2], Time: morning.Add(2 * time.Hour).UnixMicro(), Before: true}}, []int{4, 3}, false},
	} {
		c.f.AccountSID = account
		list, more, err := s.ListRecordings(t.Context(), c.f)
		must(t, err)
		var got, want []string
		for _, r := range list {
			got = append(got, r.SID)
		}
		for _, i := range c.want {
			want = append(want, sids[i])
		}
		if d := cmp.Diff(want, got); d != "" || more != c.more {
			t.Errorf("%s: more %v %s", c.name, more, d)
		}
	}
	old, err := s.OldRecordings(t.Context(), morning.Add(3*time.Hour), 10)
	must(t, err)
	if len(old) != 2 || old[0].SID != sids[0] || old[1].SID != sids[2] {
		t.Errorf("%d recordings older than 3 h", len(old))
	}
}
