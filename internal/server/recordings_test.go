package server

import (
	"bytes"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/audio"
	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/clock"
	"github.com/offhook/offhook/internal/recording"
	"github.com/offhook/offhook/internal/store"
	"github.com/offhook/offhook/internal/twilio"
)

// logged takes log lines.
type logged func(line string)

func (f logged) Write(b []byte) (int, error) {
	f(string(b))
	return len(b), nil
}

// What looks like a URL of this server is none; the one that callbacks have is, also below a path.
func TestHere(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := &Server{listener: l}
	s.cfg.PublicURL = "https://voice.example.com/calls/"
	const path = "/2010-04-01/Accounts/AC1/Recordings/RE1"
	for text, want := range map[string]string{
		s.URL() + path:                                  path,
		"https://voice.example.com/calls" + path:        path,
		"https://VOICE.example.com/calls" + path + "?x": path,
		"https://voice.example.com" + path:              "",
		"http://voice.example.com/calls" + path:         "",
		"https://voice.example.com.evil/calls" + path:   "",
		"https://voice.example.com@evil/calls" + path:   "",
		"https://voice.example.com:444/calls" + path:    "",
	} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := (spool{s}).Here(u); got != want || ok != (want != "") {
			t.Errorf("%s: %q, %v", text, got, ok)
		}
	}
}

// A recording whose process died is completed by the next start, with its callback and its event, and is served to
// whoever may hear it until it is deleted.
func TestARecordingSurvivesItsProcess(t *testing.T) {
	callbacks := make(chan url.Values, 10)
	app := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		callbacks <- r.PostForm
	}))
	defer app.Close()
	data := t.TempDir()
	account, err := EnsureAccount(data, "", "")
	if err != nil {
		t.Fatal(err)
	}

	// What a process leaves that was killed in a call: its call, its recording and the spool.
	now := clock.System.Now().UTC()
	db, err := store.Open(t.Context(), store.Config{DSN: filepath.Join(data, "offhook.db")})
	if err != nil {
		t.Fatal(err)
	}
	c := &call.Call{
		SID: twilio.NewSIDAt(twilio.CallPrefix, now), AccountSID: account.SID, To: "+15005551001", From: "+15005550006",
		Direction: call.OutboundAPI, Status: call.Queued, DateCreated: now, DateUpdated: now, QueueKey: "sim", PriceUnit: "USD",
	}
	r := &call.Recording{
		SID: twilio.NewSIDAt(twilio.RecordingPrefix, now), AccountSID: account.SID, CallSID: c.SID, Status: call.RecordingInProgress,
		Source: call.SourceAPI, Track: call.TrackBoth, Channels: 2, DateCreated: now, DateUpdated: now, StartTime: now, PriceUnit: "USD",
		Node:    db.Node(),
		Options: call.RecordingOptions{StatusURL: app.URL, StatusMethod: "POST", StatusEvents: []string{"completed"}},
	}
	if err := db.CreateCall(t.Context(), c, call.Change{}); err != nil {
		t.Fatal(err)
	}
	c.Status, c.DialedAt, c.AnsweredAt = call.InProgress, now, now
	if err := db.SaveCall(t.Context(), c, call.Queued, call.Change{Recordings: []*call.Recording{r}}); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	recorder, err := recording.New(recording.Config{Dir: filepath.Join(data, "spool")})
	if err != nil {
		t.Fatal(err)
	}
	w, err := recorder.Start(recording.Spec{SID: r.SID, Channels: 2})
	if err != nil {
		t.Fatal(err)
	}
	left, right := audio.Tone(3*time.Second, 440), audio.Tone(3*time.Second, 1000)
	for i := 0; i < len(left); i += audio.FrameSamples {
		w.Write(0, int64(i), audio.EncodeULaw(left[i:i+audio.FrameSamples]))
		w.Write(1, int64(i), audio.EncodeULaw(right[i:i+audio.FrameSamples]))
	}
	recorder.Close()

	erased := make(chan struct{}, 1)
	s, err := Start(t.Context(), Config{
		HTTP: "127.0.0.1:0", SIP: []string{"127.0.0.1:0"}, Data: data, Voice: "test", Mode: Dev, PublicURL: "https://voice.example/",
		Log: slog.New(slog.NewTextHandler(logged(func(line string) {
			if strings.Contains(line, "recording erased") {
				erased <- struct{}{}
			}
		}), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(t.Context())
	told := <-callbacks
	if told.Get("RecordingStatus") != "completed" || told.Get("RecordingSid") != r.SID || told.Get("RecordingDuration") != "3" ||
		told.Get("RecordingUrl") != "https://voice.example"+r.Path() {
		t.Errorf("callback %v", told)
	}
	events, err := s.store.Events(t.Context(), c.SID, -1)
	if err != nil || len(events) != 2 || events[0].Name != "completed" || events[1].Name != "Recording.completed" || events[1].Seq != 1 {
		t.Errorf("events %+v, %v", events, err)
	}

	get := func(method, path string, headers ...string) (*http.Response, []byte) {
		t.Helper()
		q, err := http.NewRequestWithContext(t.Context(), method, s.URL()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(headers); i += 2 {
			if headers[i] == "as" {
				q.SetBasicAuth(account.SID, account.AuthToken)
				continue
			}
			q.Header.Set(headers[i], headers[i+1])
		}
		res, err := http.DefaultTransport.RoundTrip(q)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res, body
	}
	if res, _ := get("GET", r.Path()+".wav"); res.StatusCode != http.StatusUnauthorized {
		t.Errorf("a stranger gets %s", res.Status)
	}
	res, wav := get("GET", r.Path(), "as", "")
	if res.StatusCode != http.StatusOK || len(wav) != 44+3*8000*2*2 {
		t.Fatalf("%s, %d bytes", res.Status, len(wav))
	}
	var channels [2][]int16
	for i := 44; i < len(wav); i += 4 {
		channels[0] = append(channels[0], int16(binary.LittleEndian.Uint16(wav[i:])))
		channels[1] = append(channels[1], int16(binary.LittleEndian.Uint16(wav[i+2:])))
	}
	for i, hz := range []float64{440, 1000} {
		// 40 dB between the channels
		if here, there := audio.Goertzel(channels[i], hz), audio.Goertzel(channels[1-i], hz); here < 1e4*there {
			t.Errorf("channel %d has %v at %v Hz, the other one %v", i, here, hz, there)
		}
	}
	link := "?" + twilio.LinkQuery(account.AuthToken, r.Path(), clock.System.Now().Add(time.Minute)).Encode()
	if res, part := get("GET", r.Path()+".wav"+link, "Range", "bytes=100-299"); res.StatusCode != http.StatusPartialContent || !bytes.Equal(part, wav[100:300]) {
		t.Errorf("a part by a link: %s, %d bytes", res.Status, len(part))
	}
	if res, body := get("GET", r.Path()+".mp3", "as", ""); recording.NewMP3("").Available() != (res.StatusCode == http.StatusOK) || res.StatusCode != 200 && res.StatusCode != 501 {
		t.Errorf("MP3: %s %.200s", res.Status, body)
	}

	if res, body := get("DELETE", r.Path()+".json", "as", ""); res.StatusCode != http.StatusNoContent {
		t.Fatalf("delete: %s %s", res.Status, body)
	}
	if res, _ := get("GET", r.Path()+".wav", "as", ""); res.StatusCode != http.StatusNotFound {
		t.Errorf("deleted: %s", res.Status)
	}
	<-erased
	for _, dir := range []string{"recordings", "spool"} {
		err := filepath.WalkDir(filepath.Join(data, dir), func(path string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				t.Errorf("%s is left", path)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}
