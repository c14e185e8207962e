package call

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/offhook/offhook/internal/twilio"
)

func TestRecordingMoves(t *testing.T) {
	all := []RecordingStatus{
		RecordingInProgress, RecordingPaused, RecordingStopped, RecordingProcessing, RecordingCompleted, RecordingAbsent, RecordingDeleted,
	}
	legal := map[RecordingStatus][]RecordingStatus{
		RecordingInProgress: all[1:4:4], RecordingPaused: {RecordingInProgress, RecordingStopped, RecordingProcessing},
		RecordingStopped: {RecordingProcessing}, RecordingProcessing: {RecordingCompleted, RecordingDeleted},
		RecordingCompleted: {RecordingDeleted}, RecordingAbsent: {RecordingDeleted},
	}
	for _, s := range all[:4] { // whatever is not settled may turn out to be nothing
		legal[s] = append(legal[s], RecordingAbsent)
	}
	for _, from := range all {
		for _, to := range all {
			r := &Recording{Status: from}
			err := r.Move(to)
			if want := slices.Contains(legal[from], to); (err == nil) != want || want && r.Status != to || !want && r.Status != from {
				t.Errorf("%s → %s: %v, now %s", from, to, err, r.Status)
			}
		}
	}
}

func TestRecordingDuration(t *testing.T) {
	for _, c := range []struct {
		samples int64
		status  RecordingStatus
		want    int64
		ok      bool
	}{
		{8000, RecordingProcessing, 0, false}, {80, RecordingCompleted, 1, true}, {11999, RecordingCompleted, 1, true},
		{12000, RecordingCompleted, 2, true}, {0, RecordingAbsent, 0, false}, {80000, RecordingDeleted, 10, true},
	} {
		r := &Recording{Samples: c.samples, Status: c.status}
		if got, ok := r.Duration(); got != c.want || ok != c.ok {
			t.Errorf("%d samples, %s: %d, %v, want %d, %v", c.samples, c.status, got, ok, c.want, c.ok)
		}
	}
}

func TestRecordingCallbacks(t *testing.T) {
	r := &Recording{SID: "RE1", AccountSID: "AC1", CallSID: "CA1", Channels: 1, Track: TrackBoth, Source: SourceAPI}
	for _, c := range []struct {
		events []string
		status RecordingStatus
		code   int
		due    bool
		says   string
	}{
		{[]string{"completed"}, RecordingInProgress, 0, false, "in-progress"},
		{[]string{"in-progress"}, RecordingInProgress, 0, true, "in-progress"},
		{[]string{"completed"}, RecordingCompleted, 0, true, "completed"},
		{[]string{"completed"}, RecordingAbsent, RecordingSilent, false, "absent"},
		{[]string{"absent"}, RecordingAbsent, RecordingSilent, true, "absent"},
		{[]string{"completed"}, RecordingAbsent, RecordingFailed, true, "failed"},
		{[]string{"in-progress"}, RecordingAbsent, RecordingFailed, false, "failed"},
		{[]string{"completed", "in-progress"}, RecordingPaused, 0, false, "paused"},
	} {
		r.Options = RecordingOptions{StatusURL: "http://a.example", StatusEvents: c.events}
		r.Status, r.ErrorCode = c.status, c.code
		if got := r.CallbackDue(); got != c.due || r.CallbackStatus() != c.says {
			t.Errorf("%+v: due %v, says %s", c, got, r.CallbackStatus())
		}
	}
	r.Status, r.ErrorCode, r.Samples = RecordingCompleted, 0, 24000
	want := map[string][]string{
		"AccountSid": {"AC1"}, "CallSid": {"CA1"}, "RecordingSid": {"RE1"}, "RecordingStatus": {"completed"},
		"RecordingUrl":      {"http://offhook.example/2010-04-01/Accounts/AC1/Recordings/RE1"},
		"RecordingDuration": {"3"}, "RecordingChannels": {"1"}, "RecordingTrack": {"both"}, "RecordingSource": {"StartCallRecordingAPI"},
		"RecordingStartTime": {twilio.FormatTime(r.StartTime)},
	}
	if d := cmp.Diff(want, r.CallbackParams("http://offhook.example")); d != "" {
		t.Error(d)
	}
}

func TestRecordingParams(t *testing.T) {
	p := RecordingParams{StatusEvents: []string{"in-progress  completed nonsense", "absent"}, Channels: "dual", Track: "inbound"}
	if err := p.Validate(); err != nil {
		t.Fatal(err)
	}
	if want := []string{"in-progress", "completed", "absent"}; !slices.Equal(p.StatusEvents, want) || len(p.Warnings) != 1 || p.Warnings[0].Code != 13621 {
		t.Errorf("events %v, warnings %v", p.StatusEvents, p.Warnings)
	}
	if r := p.Recording(); r.Channels != 1 || r.Options.Trim || p.StatusMethod != "POST" {
		t.Errorf("%+v: one track is mono, nothing is trimmed", r)
	}
	none := RecordingParams{}
	if err := none.Validate(); err != nil || !slices.Equal(none.StatusEvents, []string{"completed"}) || none.Recording().Channels != 1 {
		t.Errorf("%+v, %v", none, err)
	}
	for name, bad := range map[string]RecordingParams{
		"RecordingChannels": {Channels: "3"}, "RecordingTrack": {Track: "both_tracks"}, "Trim": {Trim: "yes"},
		"RecordingStatusCallback": {StatusURL: "ftp://x"}, "RecordingStatusCallbackMethod": {StatusMethod: "PUT"},
	} {
		var e *twilio.Error
		if err := bad.Validate(); !errors.As(err, &e) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, u := range []RecordingUpdate{{}, {Status: "completed"}, {Status: RecordingStopped, PauseBehavior: "skip"}, {Status: RecordingPaused, PauseBehavior: "x"}} {
		if u.Validate() == nil {
			t.Errorf("%+v passes", u)
		}
	}
	if err := (&RecordingUpdate{Status: RecordingPaused}).Validate(); err != nil {
		t.Error(err)
	}
	unknown := RecordingParams{StatusEvents: []string{"done", "ready"}}
	if err := unknown.Validate(); err != nil || !slices.Equal(unknown.StatusEvents, []string{"completed"}) || len(unknown.Warnings) != 2 {
		t.Errorf("events that nobody knows count as not given: %+v, %v", unknown, err)
	}
}
