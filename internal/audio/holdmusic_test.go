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

// TestHoldMusicIsSeamless: a click where the loop closes would be heard far above the highest note.
func TestHoldMusicIsSeamless(t *testing.T) {
	pcm := holdMusic()
	clickAt := func(i int) (power float64) {
		var window [512]int16
		for k := range window {
			hann := (1 - math.Cos(2*math.Pi*float64(k)/float64(len(window)))) / 2
			window[k] = int16(math.Round(hann * float64(pcm[(i-len(window)/2+k+len(pcm))%len(pcm)])))
		}
		for f := 3000.0; f < 4000; f += 100 {
			power += Goertzel(window[:], f)
		}
		return power
	}
	var worst float64
	for i := SampleRate; i < len(pcm)-SampleRate; i += 128 {
		worst = max(worst, clickAt(i))
	}
	if got := clickAt(0); got > 2*worst {
		t.Errorf("a click at the seam: %.3f, elsewhere at most %.3f", got, worst)
	}
}
