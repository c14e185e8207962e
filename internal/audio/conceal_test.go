package audio

import (
	"math"
	"testing"
	"time"
)

// lossy passes pcm through a concealer that does not get some of its frames.
func lossy(pcm []int16, lost ...int) []int16 {
	var c Concealer
	out := append([]int16(nil), pcm...)
	for i := range len(out) / FrameSamples {
		frame := out[i*FrameSamples : (i+1)*FrameSamples]
		gone := false
		for _, n := range lost {
			gone = gone || n == i
		}
		if gone {
			c.Lost(frame)
		} else {
			c.Came(frame)
		}
	}
	return out
}

func TestConcealerGoesOnWithAVoice(t *testing.T) {
	// A vowel: 110 Hz and its overtones, as a buzz through two formants.
	voice := make([]int16, 10*FrameSamples)
	for i := range voice {
		for h, level := range []float64{2000, 2500, 1500, 900, 2200, 1400, 300} {
			voice[i] += int16(level * math.Sin(2*math.Pi*110*float64(h+1)*float64(i)/SampleRate))
		}
	}
	out := lossy(voice, 5)
	var noise []int16
	for i := 5 * FrameSamples; i < 5*FrameSamples+concealFull; i++ {
		noise = append(noise, out[i]-voice[i])
	}
	if snr := 10 * math.Log10(Power(voice)/Power(noise)); snr < 12 {
		t.Errorf("what was made up is %.1f dB above its difference from what was lost", snr)
	}
	jump := func(pcm []int16) (most int) {
		for i := 1; i < len(pcm); i++ {
			most = max(most, int(pcm[i])-int(pcm[i-1]), int(pcm[i-1])-int(pcm[i]))
		}
		return most
	}
	if was, is := jump(voice), jump(out); is > was*3/2 {
		t.Errorf("it clicks: steps of %d where the voice has %d", is, was)
	}
}

func TestConcealerFadesInALongLoss(t *testing.T) {
	out := lossy(Tone(200*time.Millisecond, 400), 4, 5, 6, 7)
	level := func(frame int) float64 { return math.Sqrt(Power(out[frame*FrameSamples : (frame+1)*FrameSamples])) }
	if !(level(3) > level(5) && level(5) > level(6) && level(6) > 100) || level(7) != 0 {
		t.Errorf("levels %.0f, %.0f, %.0f, %.0f, %.0f", level(3), level(4), level(5), level(6), level(7))
	}
	if level(8) < 0.9*level(3) {
		t.Errorf("what comes again has level %.0f, not %.0f", level(8), level(3))
	}
}

func TestConcealerWithoutAPast(t *testing.T) {
	for _, s := range lossy(make([]int16, 3*FrameSamples), 0, 1) {
		if s != 0 {
			t.Fatal("a sound from nothing")
		}
	}
}

func BenchmarkConcealer(b *testing.B) {
	frame, tone := make([]int16, FrameSamples), Tone(time.Second, 350, 440)
	var c Concealer
	for b.Loop() {
		copy(frame, tone)
		c.Came(frame)
		c.Lost(frame)
	}
}
