package recording

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/offhook/offhook/internal/audio"
	"github.com/offhook/offhook/internal/call"
)

const (
	// maxSamplesMade bounds the samples of calls that are in memory at once, 240 kB each.
	maxSamplesMade = 64
	// MaxSamples is how many a folder may keep, 2.4 GB.
	MaxSamples = 10_000
)

// Samples keeps what the called parties of the newest calls said first, so that machine detection can be tuned on it:
// for each call SID.wav, the audio as it was heard, and SID.json, what was made of it.
type Samples struct {
	dir   string
	most  int
	log   *slog.Logger
	made  chan struct{} // a place for each that is in memory
	mu    sync.Mutex
	names []string // of what is kept, the oldest first: SIDs begin with the time
}

// NewSamples keeps most samples in dir, which is made when it is missing.
func NewSamples(dir string, most int, log *slog.Logger) (*Samples, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("recording: make the folder of samples: %w", err)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("recording: read the folder of samples: %w", err)
	}
	s := &Samples{dir: dir, most: most, log: log, made: make(chan struct{}, maxSamplesMade)}
	for _, f := range files {
		if name, ok := strings.CutSuffix(f.Name(), ".wav"); ok && strings.HasPrefix(name, "CA") {
			s.names = append(s.names, name)
		}
	}
	slices.Sort(s.names)
	if err := s.trim(); err != nil {
		return nil, fmt.Errorf("recording: remove old samples: %w", err)
	}
	return s, nil
}

// Begin reports whether there is room for one more that is being made; who may calls Keep once.
func (s *Samples) Begin() bool {
	select {
	case s.made <- struct{}{}:
		return true
	default:
		return false
	}
}

// about is what stands beside a sample. Its times are milliseconds.
type about struct {
	CallSID    string                `json:"call_sid"`
	Time       string                `json:"time"`
	AnsweredBy string                `json:"answered_by"` // "" when the call ended before it was known
	AfterMs    int64                 `json:"after_ms"`
	Rule       string                `json:"rule"`
	Settings   call.MachineDetection `json:"settings"`
	Trace      json.RawMessage       `json:"trace"`
}

// Keep writes the sample of a call, and removes what is more than may be kept.
func (s *Samples) Keep(ulaw []byte, found call.Detection) {
	defer func() { <-s.made }()
	if len(ulaw) == 0 {
		return
	}
	if err := s.keep(ulaw, found); err != nil {
		s.log.Error("sample of a call not kept", "call_sid", found.CallSID, "err", err)
	}
}

func (s *Samples) keep(ulaw []byte, found call.Detection) error {
	trace := json.RawMessage(found.Trace)
	if len(trace) == 0 {
		trace = json.RawMessage("null")
	}
	text, err := json.MarshalIndent(about{
		CallSID: found.CallSID, Time: found.Time.UTC().Format("2006-01-02T15:04:05.000Z07:00"), AnsweredBy: found.AnsweredBy,
		AfterMs: found.After.Milliseconds(), Rule: found.Rule, Settings: found.Settings, Trace: trace,
	}, "", "  ")
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// The audio last: who finds it finds the rest.
	if err := os.WriteFile(s.path(found.CallSID, ".json"), append(text, '\n'), 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(s.path(found.CallSID, ".wav"), audio.NewClip(ulaw).WAV(), 0o600); err != nil {
		return errors.Join(err, s.remove(found.CallSID))
	}
	s.names = append(s.names, found.CallSID)
	return s.trim()
}

// trim removes the oldest of what is more than may be kept.
func (s *Samples) trim() error {
	for len(s.names) > s.most {
		if err := s.remove(s.names[0]); err != nil {
			return err
		}
		s.names = s.names[1:]
	}
	return nil
}

func (s *Samples) path(name, suffix string) string { return filepath.Join(s.dir, name+suffix) }

func (s *Samples) remove(name string) error {
	var errs []error
	for _, suffix := range [...]string{".wav", ".json"} {
		if err := os.Remove(s.path(name, suffix)); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Forget removes the sample of a call, if there is one.
func (s *Samples) Forget(callSID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.Index(s.names, callSID)
	if i < 0 {
		return
	}
	if err := s.remove(callSID); err != nil {
		s.log.Error("sample of a deleted call not removed", "call_sid", callSID, "err", err)
		return
	}
	s.names = slices.Delete(s.names, i, i+1)
}
