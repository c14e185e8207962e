package recording

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/audio"
)

// open puts a recording of two channels into a folder and opens it.
func openedMedia(t *testing.T, channels int) *Media {
	t.Helper()
	b := blobs(t, BlobConfig{URL: t.TempDir()})
	res := spooled(t, 4*time.Second)
	if err := b.Put(t.Context(), "k.wav", res, 0, res.Samples); err != nil {
		t.Fatal(err)
	}
	m, err := b.Open(t.Context(), "k.wav", false, channels)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestMP3(t *testing.T) {
	m := NewMP3("")
	if !m.Available() {
		t.Skip("lame is not installed")
	}
	for channels := 1; channels <= 2; channels++ {
		data, err := m.Encode(t.Context(), fmt.Sprint(channels), openedMedia(t, channels))
		if err != nil {
			t.Fatal(err)
		}
		clip, err := audio.Decode("audio/mpeg", data)
		if err != nil {
			t.Fatal(err)
		}
		// The encoder's delay and its padding: a few frames of 36 ms at 16 kHz.
		if d := clip.Duration(); d < 4*time.Second || d > 4250*time.Millisecond {
			t.Errorf("%d channels: it lasts %v", channels, d)
		}
		pcm := clip.PCM()
		if first, last := pcm[8000:12000], pcm[24000:28000]; !audio.Has(first, 440) && !audio.Has(first, 440, 1000) || !audio.Has(last, 440) {
			t.Errorf("%d channels: the tones are not there", channels)
		}
	}
}

// program is an encoder of our own: a shell script.
func program(t *testing.T, script string) *MP3 {
	t.Helper()
	name := filepath.Join(t.TempDir(), "encoder")
	if err := os.WriteFile(name, []byte("#!/bin/sh\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
	return NewMP3(name)
}

func TestMP3EncodersThatFail(t *testing.T) {
	none := &MP3{slots: make(chan struct{}, 1)}
	if _, err := none.Encode(t.Context(), "x", nil); !errors.Is(err, ErrNoEncoder) {
		t.Errorf("without an encoder: %v", err)
	}
	if _, err := program(t, "cat >/dev/null; echo no such mode >&2; exit 3").Encode(t.Context(), "x", openedMedia(t, 1)); err == nil || !strings.Contains(err.Error(), "no such mode") {
		t.Errorf("an encoder that fails: %v", err)
	}
	if _, err := program(t, "cat >/dev/null").Encode(t.Context(), "x", openedMedia(t, 1)); err == nil {
		t.Error("nothing was encoded and that is fine")
	}
}

func TestMP3IsMadeOnce(t *testing.T) {
	count := filepath.Join(t.TempDir(), "count")
	m := program(t, "cat >/dev/null; echo x >> "+count+"; echo \"$@\"")
	for range 3 {
		data, err := m.Encode(t.Context(), "RE1/2", openedMedia(t, 2))
		if err != nil || !strings.Contains(string(data), "-b 48 -m s") {
			t.Fatalf("%s %v", data, err)
		}
	}
	if data, err := m.Encode(t.Context(), "RE1/1", openedMedia(t, 1)); err != nil || !strings.Contains(string(data), "-b 32 -m m") {
		t.Fatalf("%s %v", data, err)
	}
	if runs, err := os.ReadFile(count); err != nil || string(runs) != "x\nx\n" {
		t.Errorf("runs %q, %v", runs, err)
	}
	for i := range 10 {
		m.keep(fmt.Sprint(i), make([]byte, mp3Kept/4))
	}
	if len(m.kept) != 4 || m.total != mp3Kept || m.find("9") == nil || m.find("RE1/1") != nil {
		t.Errorf("%d kept, %d bytes", len(m.kept), m.total)
	}
}

var _ io.ReadSeeker = (*Media)(nil)
