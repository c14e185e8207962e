package recording

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/audio"
	"github.com/offhook/offhook/internal/call"
)

func TestTheNewestSamplesAreKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "amd")
	keep := func(s *Samples, from, to int) {
		for i := from; i <= to; i++ {
			if !s.Begin() {
				t.Fatal("there is no room")
			}
			s.Keep([]byte{byte(i)}, call.Detection{
				CallSID: fmt.Sprintf("CA%032x", i), Time: time.Unix(int64(i), 0), AnsweredBy: "human", After: 1300 * time.Millisecond,
				Rule: "short_utterance", Settings: call.MachineDetection{Mode: call.DetectEnable}, Trace: []byte(`{"speech":[]}`),
			})
		}
	}
	open := func(most int) *Samples {
		t.Helper()
		s, err := NewSamples(dir, most, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	keep(open(3), 1, 4)
	keep(open(3), 5, 5) // it knows of those that were there
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 6 {
		t.Fatalf("%v %v, want three samples of two files", files, err)
	}
	wav, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("CA%032x.wav", 5)))
	if err != nil {
		t.Fatal(err)
	}
	clip, err := audio.Decode("audio/wav", wav)
	if err != nil || clip.Frames() != 1 || clip.ULaw()[0] != 5 {
		t.Errorf("%v %v", clip, err)
	}
	var a about
	text, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("CA%032x.json", 3)))
	if err != nil || json.Unmarshal(text, &a) != nil || a.AnsweredBy != "human" || a.AfterMs != 1300 || string(a.Trace) != "{\n    \"speech\": []\n  }" {
		t.Errorf("%v %s", err, text)
	}
	s := open(3)
	s.Forget(fmt.Sprintf("CA%032x", 4))
	s.Forget(fmt.Sprintf("CA%032x", 9)) // which it has not
	if files, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(files) != 4 {
		t.Errorf("%v %v, want two samples of two files", files, err)
	}
	open(1) // who wants fewer has fewer at once
	if files, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(files) != 2 {
		t.Errorf("%v %v, want one sample of two files", files, err)
	}
}

func TestSamplesAreBounded(t *testing.T) {
	s, err := NewSamples(t.TempDir(), 10, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for range maxSamplesMade {
		if !s.Begin() {
			t.Fatal("there is no room")
		}
	}
	if s.Begin() {
		t.Error("there is room for more")
	}
	s.Keep(nil, call.Detection{CallSID: "CA1"}) // nothing was heard: a place that is free again, no file
	if files, err := os.ReadDir(s.dir); err != nil || len(files) != 0 || !s.Begin() {
		t.Errorf("%v %v", files, err)
	}
}
