package twilioapi

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/twilio"
)

const recPath = base + "/Accounts/" + testSID + "/Recordings"

// tape is Recorder, RecordingStore and Audio in memory.
type tape struct {
	recordings []*call.Recording // newest first
	filter     call.RecordingFilter
	started    call.RecordingParams
	updated    call.RecordingUpdate
	of, sid    string
	opened     string
	err        error
}

func recordingSID(n int) string { return fmt.Sprintf("RE%032x", n) }

func fullRecording(n int) *call.Recording {
	return &call.Recording{
		SID: recordingSID(n), AccountSID: testSID, CallSID: callSID(7), Status: call.RecordingCompleted, Source: call.SourceAPI,
		Track: call.TrackBoth, Channels: 2, DateCreated: testTime, DateUpdated: testTime.Add(time.Minute),
		StartTime: testTime.Add(time.Second), Samples: 123456, Price: "0.0025", PriceUnit: "USD", Key: "k",
	}
}

func (p *tape) Recording(_ context.Context, accountSID, sid string) (*call.Recording, error) {
	for _, r := range p.recordings {
		if r.SID == sid && r.AccountSID == accountSID {
			return r, nil
		}
	}
	return nil, call.ErrNotFound
}

func (p *tape) ListRecordings(_ context.Context, f call.RecordingFilter) ([]*call.Recording, bool, error) {
	p.filter = f
	all := slices.DeleteFunc(slices.Clone(p.recordings), func(r *call.Recording) bool {
		return f.CallSID != "" && r.CallSID != f.CallSID || r.Status == call.RecordingDeleted && !f.Deleted
	})
	list, more := cut(all, (*call.Recording).PageToken, f.Limit, f.Offset, f.Cursor)
	return list, more, nil
}

func (p *tape) StartRecording(_ context.Context, _, callSID string, params call.RecordingParams) (*call.Recording, error) {
	p.started, p.of = params, callSID
	return fullRecording(1), p.err
}

func (p *tape) UpdateRecording(_ context.Context, _, callSID, sid string, u call.RecordingUpdate) (*call.Recording, error) {
	p.updated, p.of, p.sid = u, callSID, sid
	return fullRecording(1), p.err
}

func (p *tape) DeleteRecording(_ context.Context, _, sid string) error {
	p.sid = sid
	return p.err
}

type closing struct {
	*bytes.Reader
	closed *string
}

func (c closing) Close() error {
	*c.closed += " closed"
	return nil
}

func (p *tape) Open(_ context.Context, r *call.Recording, format string, channels int) (io.ReadSeekCloser, error) {
	p.opened = fmt.Sprint(r.SID, " ", format, channels)
	return closing{bytes.NewReader([]byte("0123456789")), &p.opened}, p.err
}

func tapes(p *tape, public bool) Config {
	f := newFake()
	f.addCalls(9)
	return Config{
		Calls: f, Store: f, Clock: fixedClock{}, Recordings: Recordings{Recorder: p, Store: p, Audio: p, Public: public},
	}
}

func TestRecordingAnswers(t *testing.T) {
	running, deleted := fullRecording(2), fullRecording(3)
	running.Status, running.Samples, running.Price = call.RecordingInProgress, 0, ""
	deleted.Status = call.RecordingDeleted
	p := &tape{recordings: []*call.Recording{fullRecording(1), running, deleted}}
	cfg := tapes(p, false)
	for file, path := range map[string]string{
		"recording.json":         recPath + "/" + recordingSID(1) + ".json",
		"recording_running.json": recPath + "/" + recordingSID(2) + ".json",
		"recording_deleted.json": recPath + "/" + recordingSID(3) + ".json?IncludeSoftDeleted=true",
		"recording.xml":          recPath + "/" + recordingSID(1) + ".xml",
		"recording_call.json":    callsPath + "/" + callSID(7) + "/Recordings/" + recordingSID(1) + ".json",
		"recordings.json":        recPath + ".json?DateCreated>=2026-01-01&CallSid=" + callSID(7) + "&PageSize=1",
		"recordings_call.json":   callsPath + "/" + callSID(7) + "/Recordings.json",
	} {
		a := askConfig(t, cfg, "GET", path, nil)
		if a.status != http.StatusOK {
			t.Errorf("%s: %d %s", path, a.status, a.body)
			continue
		}
		golden(t, file, a.body)
	}
	for _, path := range []string{
		recPath + "/" + recordingSID(3) + ".json", recPath + "/" + recordingSID(4) + ".json", recPath + "/RE1.json",
		callsPath + "/" + callSID(8) + "/Recordings/" + recordingSID(1) + ".json",
		callsPath + "/" + callSID(99) + "/Recordings.json", recPath + "/" + recordingSID(1) + "/:audio.json",
	} {
		if a := askConfig(t, cfg, "GET", path, nil); a.status != http.StatusNotFound || a.code() != 20404 {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	if a := askConfig(t, cfg, "GET", callsPath+"/"+callSID(8)+"/Recordings.json", nil); a.status != http.StatusOK {
		t.Errorf("a call without recordings: %d", a.status)
	}
	p.filter = call.RecordingFilter{}
	askConfig(t, cfg, "GET", recPath+".json?DateCreated=2026-03-04&ConferenceSid=CF1&IncludeSoftDeleted=TRUE&PageSize=7&Page=2", nil)
	want := call.RecordingFilter{
		AccountSID: testSID, ConferenceSID: "CF1", Deleted: true, Limit: 7, Offset: 14,
		After: testTime.Truncate(24 * time.Hour), Before: testTime.Truncate(24 * time.Hour).Add(24 * time.Hour),
	}
	if d := cmp.Diff(want, p.filter); d != "" {
		t.Error(d)
	}
}

func TestRecordingChanges(t *testing.T) {
	p := &tape{recordings: []*call.Recording{fullRecording(1)}}
	cfg := tapes(p, false)
	of := callsPath + "/" + callSID(7) + "/Recordings"
	a := askConfig(t, cfg, "POST", of+".json", "RecordingStatusCallbackEvent=completed+absent&RecordingStatusCallbackEvent=in-progress&"+
		"RecordingStatusCallback=http%3A%2F%2Fa.example&RecordingStatusCallbackMethod=GET&Trim=trim-silence&RecordingChannels=dual&RecordingTrack=both")
	want := call.RecordingParams{
		StatusEvents: []string{"completed absent", "in-progress"}, StatusURL: "http://a.example", StatusMethod: "GET",
		Trim: "trim-silence", Channels: "dual", Track: "both",
	}
	if d := cmp.Diff(want, p.started); a.status != http.StatusCreated || d != "" || p.of != callSID(7) {
		t.Errorf("%d %s %s", a.status, a.body, d)
	}
	for _, sid := range []string{recordingSID(1), "Twilio.CURRENT"} {
		a = askConfig(t, cfg, "POST", of+"/"+sid+".json", "Status=paused&PauseBehavior=skip")
		if a.status != http.StatusOK || p.sid != sid || (p.updated != call.RecordingUpdate{Status: "paused", PauseBehavior: "skip"}) {
			t.Errorf("%s: %d %s %+v", sid, a.status, a.body, p.updated)
		}
	}
	if a = askConfig(t, cfg, "POST", of+"/Nobody.json", "Status=paused"); a.status != http.StatusNotFound {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a = askConfig(t, cfg, "POST", of+"/"+recordingSID(1)+".json", "PauseBehavior=skip"); a.code() != 20001 {
		t.Errorf("%d %s", a.status, a.body)
	}
	for _, path := range []string{recPath, of} {
		p.sid = ""
		if a = askConfig(t, cfg, "DELETE", path+"/"+recordingSID(1)+".json", nil); a.status != http.StatusNoContent || p.sid != recordingSID(1) {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	p.err = twilio.Err(21220)
	if a = askConfig(t, cfg, "POST", of+".json", ""); a.status != http.StatusBadRequest || a.code() != 21220 {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestRecordingAudio(t *testing.T) {
	mono, running, deleted := fullRecording(2), fullRecording(3), fullRecording(4)
	mono.Channels, running.Status, deleted.Status = 1, call.RecordingProcessing, call.RecordingDeleted
	p := &tape{recordings: []*call.Recording{fullRecording(1), mono, running, deleted}}
	cfg := tapes(p, false)
	for _, c := range []struct {
		path    string
		headers []string
		status  int
		opened  string
		body    string
	}{
		{recordingSID(1), nil, 200, " wav2", "0123456789"},
		{recordingSID(1) + ".wav", nil, 200, " wav2", "0123456789"},
		{recordingSID(1) + ".mp3", nil, 200, " mp32", "0123456789"},
		{recordingSID(1) + ".wav?RequestedChannels=1", nil, 200, " wav1", "0123456789"},
		{recordingSID(1) + "?RequestedChannels=2", nil, 200, " wav2", "0123456789"},
		{recordingSID(2) + ".mp3?RequestedChannels=1", nil, 200, " mp31", "0123456789"},
		{recordingSID(2) + ".mp3?RequestedChannels=2", nil, 400, "", ""},
		{recordingSID(1) + "?RequestedChannels=3", nil, 400, "", ""},
		{recordingSID(3) + ".wav", nil, 404, "", ""},
		{recordingSID(4) + ".wav", nil, 404, "", ""},
		{recordingSID(5) + ".wav", nil, 404, "", ""},
		{recordingSID(1), []string{"Range", "bytes=2-4"}, 206, " wav2", "234"},
		{recordingSID(1), []string{"Range", "bytes=-3"}, 206, " wav2", "789"},
		{recordingSID(1), []string{"Range", "bytes=20-"}, 416, " wav2", ""},
		{recordingSID(1), []string{"If-None-Match", `"` + recordingSID(1) + `-wav2"`}, 304, " wav2", ""},
		{recordingSID(1), []string{"Range", "bytes=2-4", "If-Range", `"` + recordingSID(1) + `-wav1"`}, 200, " wav2", "0123456789"},
	} {
		p.opened = ""
		a := askConfig(t, cfg, "GET", recPath+"/"+c.path, nil, c.headers...)
		want := ""
		if c.opened != "" {
			want = c.path[:34] + c.opened + " closed"
		}
		if a.status != c.status || p.opened != want || c.body != "" && a.body != c.body {
			t.Errorf("%s %v: %d %q, opened %q, want %d, %q", c.path, c.headers, a.status, a.body, p.opened, c.status, want)
		}
	}
	a := askConfig(t, cfg, "GET", recPath+"/"+recordingSID(1)+".mp3", nil)
	if got := a.header.Get("Content-Type"); got != "audio/mpeg" || a.header.Get("Accept-Ranges") != "bytes" || a.header.Get("ETag") == "" {
		t.Errorf("headers %v", a.header)
	}
	if a = askConfig(t, cfg, "GET", recPath+"/"+recordingSID(2)+"?RequestedChannels=2", nil); a.code() != 16113 {
		t.Errorf("%s", a.body)
	}
	if a = askConfig(t, cfg, "DELETE", recPath+"/"+recordingSID(1), nil); a.status != http.StatusNoContent {
		t.Errorf("delete without suffix: %d", a.status)
	}
	p.err = twilio.Errf(20501, "no encoder")
	if a = askConfig(t, cfg, "GET", recPath+"/"+recordingSID(1)+".mp3", nil); !strings.Contains(a.body, "no encoder") {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestWhoHearsARecording(t *testing.T) {
	p := &tape{recordings: []*call.Recording{fullRecording(1)}}
	path := recPath + "/" + recordingSID(1)
	anonymous := []string{"Authorization", ""}
	link := func(token, path string, d time.Duration) string {
		return "?" + twilio.LinkQuery(token, path, testTime.Add(d)).Encode()
	}
	for name, c := range map[string]struct {
		public bool
		path   string
		status int
	}{
		"nobody without credentials":       {false, path + ".wav", 401},
		"whoever has a link":               {false, path + link(testToken, path, time.Minute), 200},
		"in any format":                    {false, path + ".mp3" + link(testToken, path, time.Minute) + "&RequestedChannels=1", 200},
		"until it expires":                 {false, path + link(testToken, path, -time.Minute), 401},
		"not a link to another":            {false, path + link(testToken, path[:len(path)-1]+"2", time.Minute), 401},
		"not a link signed by a stranger":  {false, path + link("f"+testToken[1:], path, time.Minute), 401},
		"a link opens nothing else":        {false, path + ".json" + link(testToken, path, time.Minute), 401},
		"everybody when they are public":   {true, path + ".wav", 200},
		"but only the audio":               {true, path + ".json", 401},
		"and only what there is":           {true, path[:len(path)-1] + "9.wav", 404},
		"an account that there is not":     {true, strings.Replace(path, testSID, "AC"+strings.Repeat("9", 32), 1), 401},
		"a recording of another's account": {true, strings.Replace(path, testSID, otherSID, 1), 404},
	} {
		if a := askConfig(t, tapes(p, c.public), "GET", c.path, nil, anonymous...); a.status != c.status {
			t.Errorf("%s: %d %s, want %d", name, a.status, a.body, c.status)
		}
	}
	// Wrong credentials are not made good by a link.
	if a := askConfig(t, tapes(p, true), "GET", path, nil, "Authorization", "Basic eDp5"); a.status != 401 {
		t.Errorf("wrong credentials: %d", a.status)
	}
}
