package session

import (
	"log/slog"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/audio"
	"github.com/offhook/offhook/internal/clock"
	"github.com/offhook/offhook/internal/recording"
)

// A recording that is paused before it has begun begins, when it goes on, with what is said then.
func TestAPauseBeforeTheBeginning(t *testing.T) {
	rec, err := recording.New(recording.Config{Dir: t.TempDir(), Clock: clock.System, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(rec.Close)
	w, err := rec.Start(recording.Spec{SID: "RE00000000000000000000000000000001", Channels: 1, Tracks: 1})
	if err != nil {
		t.Fatal(err)
	}
	c := newCapture(w, [2]int{audio.Inbound: 0, audio.Outbound: -1}, 2*audio.FrameSamples)
	c.pause(recording.Skip)
	c.resume()
	const begin = 60 * audio.SampleRate                               // of a call that has lasted
	tick := func(at int64) { c.Tick(at-audio.FrameSamples, nil, at) } // it is at now
	tick(begin + audio.FrameSamples)
	c.pause(recording.Skip)
	silent := make([]byte, audio.FrameSamples)
	hush(silent)
	for at := int64(begin); at < begin+5*audio.FrameSamples; at += audio.FrameSamples {
		c.Write(audio.Inbound, at, silent)
		tick(at + audio.FrameSamples)
	}
	select {
	case <-c.quiet:
		t.Error("the silence of a pause ends it")
	default:
	}
	c.resume()
	tick(begin + 6*audio.FrameSamples)
	c.stop()
	if d := time.Duration(c.length(false)) * time.Second / audio.SampleRate; d > 100*time.Millisecond {
		t.Errorf("it is %v long", d)
	}
}
