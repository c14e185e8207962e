package recording

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
)

const (
	// Rates of a recording as MP3. It is resampled to 16 kHz: 8 kHz are MPEG 2.5, an extension that not every player
	// knows, and our own <Play> does not.
	monoKbps, dualKbps = "32", "48"
	mp3KHz             = "16"

	maxMP3     = 128 << 20 // bytes of one; 9 h of one channel
	mp3Kept    = 64 << 20  // of those asked for last
	encodings  = 2         // at once: encoding takes a core
	lameName   = "lame"
	maxLameLog = 4096
)

// ErrNoEncoder says that this machine makes no MP3.
var ErrNoEncoder = errors.New("recording: no MP3 encoder: install lame, or ask for .wav")

// ErrTooLong refuses to make an MP3 that would take too much memory.
var ErrTooLong = errors.New("recording: too long for MP3: ask for .wav")

// MP3 encodes recordings with the program lame, niced. The last few stay in memory, since players ask for a file in
// many parts. It is safe for concurrent use.
type MP3 struct {
	program string // "" for none
	slots   chan struct{}

	mu    sync.Mutex
	kept  []encoded // oldest first
	total int
}

type encoded struct {
	name string
	data []byte
}

// NewMP3 looks for the program: its path, or "" for the lame of PATH.
func NewMP3(program string) *MP3 {
	if program == "" {
		program, _ = exec.LookPath(lameName)
	}
	return &MP3{program: program, slots: make(chan struct{}, encodings)}
}

// Available reports whether there is an encoder.
func (m *MP3) Available() bool { return m.program != "" }

// Encode is pcm as MP3. name stands for what is encoded: the same name gives the same audio.
func (m *MP3) Encode(ctx context.Context, name string, pcm *Media) ([]byte, error) {
	if !m.Available() {
		return nil, ErrNoEncoder
	}
	if data := m.find(name); data != nil {
		return data, nil
	}
	select {
	case m.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("recording: MP3: %w", context.Cause(ctx))
	}
	defer func() { <-m.slots }()
	if data := m.find(name); data != nil { // somebody made it while we waited
		return data, nil
	}
	data, err := m.run(ctx, pcm)
	if err != nil {
		return nil, err
	}
	m.keep(name, data)
	return data, nil
}

func (m *MP3) run(ctx context.Context, pcm io.Reader) ([]byte, error) {
	mode, rate := "m", monoKbps
	if p, ok := pcm.(*Media); ok && p.out == 2 {
		mode, rate = "s", dualKbps
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	args := []string{"--quiet", "-t", "-b", rate, "-m", mode, "--resample", mp3KHz, "-", "-"}
	cmd := exec.CommandContext(ctx, m.program, args...) //nolint:gosec // the operator's own
	if nice, err := exec.LookPath("nice"); err == nil {
		cmd = exec.CommandContext(ctx, nice, append([]string{"-n", "10", m.program}, args...)...) //nolint:gosec // as above
	}
	out := limited{limit: maxMP3, over: cancel}
	log := limited{limit: maxLameLog}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = pcm, &out, &log
	err := cmd.Run()
	switch {
	case out.full:
		return nil, ErrTooLong
	case err != nil && ctx.Err() != nil:
		return nil, fmt.Errorf("recording: MP3: %w", context.Cause(ctx))
	case err != nil:
		return nil, fmt.Errorf("recording: MP3: %s: %w: %s", m.program, err, strings.TrimSpace(log.String()))
	case out.Len() == 0:
		return nil, fmt.Errorf("recording: MP3: %s made nothing: %s", m.program, strings.TrimSpace(log.String()))
	}
	return out.Bytes(), nil
}

// limited keeps the first bytes that are written to it.
type limited struct {
	bytes.Buffer
	limit int
	full  bool
	over  func()
}

func (l *limited) Write(b []byte) (int, error) {
	if room := l.limit - l.Len(); len(b) > room {
		l.full = true
		l.Buffer.Write(b[:room])
		if l.over != nil {
			l.over()
		}
		return len(b), nil
	}
	return l.Buffer.Write(b)
}

func (m *MP3) find(name string) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.kept {
		if e.name == name {
			return e.data
		}
	}
	return nil
}

func (m *MP3) keep(name string, data []byte) {
	if len(data) > mp3Kept/2 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kept, m.total = append(m.kept, encoded{name, data}), m.total+len(data)
	for m.total > mp3Kept {
		m.total -= len(m.kept[0].data)
		m.kept[0].data = nil
		m.kept = m.kept[1:]
	}
}
