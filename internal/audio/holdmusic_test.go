package audio

import (
	"bytes"
	"math"
	"testing"
	"time"
)

func TestHoldMusic(t *testing.T) {
	clip := HoldMusic()
	if d := clip.Duration(); d < 20*time.Second || d > 30*time.Second {
		t.Errorf("%v long", d)
	}
	pcm := DecodeULaw(clip.ULaw())
	if level := levelOf(pcm); math.Abs(level-holdLevel) > 0.2 {
		t.Errorf("%.1f dBm0, want %d", level, holdLevel)
	}
	for i := 0; i+SampleRate <= len(pcm); i += SampleRate / 2 {
		if level := levelOf(pcm[i : i+SampleRate]); level < holdLevel-6 || level > holdLevel+4 {
			t.Errorf("%.1f dBm0 from %.1f s: not calm", level, float64(i)/SampleRate)
		}
	}
	for _, s := range pcm {
		if s > 16000 || s < -16000 {
			t.Fatal("peaks above -6 dBFS")
		}
	}
	var d DTMFDetector
	if keys := d.Write(pcm); len(keys) != 0 {
		t.Errorf("sounds like the keys %q", keys)
	}
	if again := NewClip(EncodeULaw(holdMusic())); !bytes.Equal(again.ULaw(), clip.ULaw()) {
		t.Error("made differently the second time")
	}
}

// TestHoldMusicIsSeamless: where the loop closes, the sound moves no more than it does elsewhere.
func TestHoldMusicIsSeamless(t *testing.T) {
	pcm := holdMusic()
	n := len(pcm)
	at := func(i int) float64 { return float64(pcm[((i%n)+n)%n]) }
	bend := func(i int) float64 { return math.Abs(at(i-1) - 2*at(i) + at(i+1)) } // a click is a corner
	var worst float64
	for i := SampleRate; i < n-SampleRate; i++ {
		worst = max(worst, bend(i))
	}
	for i := -40; i <= 40; i++ {
		if bend(i) > worst {
			t.Errorf("a click %d samples from the seam: %.0f, elsewhere at most %.0f", i, bend(i), worst)
		}
	}
	tail, head := levelOf(pcm[n-SampleRate/2:]), levelOf(pcm[:SampleRate/2])
	if math.Abs(tail-head) > 6 {
		t.Errorf("%.1f dBm0 before the seam and %.1f after it", tail, head)
	}
}
