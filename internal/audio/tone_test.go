package audio

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

func TestDTMFDetectorHearsEveryKey(t *testing.T) {
	for name, law := range map[string]func([]int16) []int16{
		"linear": func(p []int16) []int16 { return p },
		"µ-law":  func(p []int16) []int16 { return DecodeULaw(EncodeULaw(p)) },
		"A-law":  func(p []int16) []int16 { return DecodeALaw(EncodeALaw(p)) },
	} {
		for _, length := range []time.Duration{45 * time.Millisecond, 100 * time.Millisecond, time.Second} {
			var pcm []int16
			for i := range dtmfKeys {
				pcm = append(pcm, DTMF(dtmfKeys[i], length)...)
				pcm = append(pcm, make([]int16, 400+7*i)...)
				pcm = append(pcm, DTMF(dtmfKeys[i], length)...) // the same key again is a second press
				pcm = append(pcm, make([]int16, 400)...)
			}
			var d DTMFDetector
			var got []byte
			for heard := law(pcm); len(heard) > 0; heard = heard[min(FrameSamples, len(heard)):] {
				got = append(got, d.Write(heard[:min(FrameSamples, len(heard))])...)
			}
			want := ""
			for i := range dtmfKeys {
				want += dtmfKeys[i:i+1] + dtmfKeys[i:i+1]
			}
			if string(got) != want {
				t.Errorf("%s, %v: got %q, want %q", name, length, got, want)
			}
		}
	}
}

func TestDTMFDetectorIgnoresOtherSounds(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	noise := make([]int16, 5*SampleRate)
	for i := range noise {
		noise[i] = int16(rng.NormFloat64() * 4000)
	}
	for name, pcm := range map[string][]int16{
		"noise":      noise,
		"one tone":   Tone(time.Second, 697),
		"ringback":   Tone(time.Second, 440, 480),
		"busy":       Tone(time.Second, 480, 620),
		"two rows":   Tone(time.Second, 697, 852),
		"too short":  DTMF('5', 10*time.Millisecond),
		"far off":    Tone(time.Second, 730, 1270),
		"three rows": Tone(time.Second, 697, 941, 1336),
	} {
		var d DTMFDetector
		if got := d.Write(pcm); len(got) != 0 {
			t.Errorf("%s: heard %q", name, got)
		}
	}
}

func TestDTMFTakesOnlyKeys(t *testing.T) {
	if DTMF('x', time.Second) != nil || DTMF('w', time.Second) != nil {
		t.Error("a tone for no key")
	}
	if !Has(DTMF('d', 100*time.Millisecond), 941, 1633) {
		t.Error("lower case d is not D")
	}
}

func TestGoertzelMeasuresPower(t *testing.T) {
	pcm := sine(1000, 8000, SampleRate, 800)
	if got := math.Sqrt(2 * Goertzel(pcm, 1000)); math.Abs(got-8000) > 10 {
		t.Errorf("amplitude %.1f, want 8000", got)
	}
	if got := math.Sqrt(2 * Power(pcm)); math.Abs(got-8000) > 10 {
		t.Errorf("power as amplitude %.1f, want 8000", got)
	}
	if Goertzel(nil, 1000) != 0 || Power(nil) != 0 {
		t.Error("no samples have power")
	}
}

func TestHas(t *testing.T) {
	tone := Tone(100*time.Millisecond, 500, 1800)
	if !Has(tone, 500, 1800) || Has(tone, 500, 1900) || Has(make([]int16, 800), 500) {
		t.Error("Has does not tell tones apart")
	}
}

func BenchmarkDTMFDetectorFrame(b *testing.B) {
	frame := sine(1000, 8000, SampleRate, FrameSamples)
	var d DTMFDetector
	for b.Loop() {
		d.Write(frame)
	}
}
