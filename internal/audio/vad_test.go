package audio

import (
	"math"
	"testing"
	"time"
)

// hear runs a VAD over a call and says which frames were speech in the end.
func hear(c *heardCall) (v *VAD, speech []bool) {
	v = &VAD{}
	for pcm := c.frames(); len(pcm) > 0; pcm = pcm[FrameSamples:] {
		s := v.Write(pcm[:FrameSamples])
		for i := range s.Retracted {
			speech[len(speech)-1-i] = false
		}
		speech = append(speech, s.Speech)
	}
	return v, speech
}

// share is the part of the frames between two times that was speech.
func share(speech []bool, from, to time.Duration) float64 {
	n := 0
	frames := speech[from/FrameDuration : to/FrameDuration]
	for _, s := range frames {
		if s {
			n++
		}
	}
	return float64(n) / float64(len(frames))
}

func TestVADHearsSpeech(t *testing.T) {
	const s = time.Second
	for _, noise := range []float64{-90, -65, -50, -42} {
		c := newHeardCall().quiet(s).say(2 * s).quiet(2 * s).say(2 * s).quiet(s).noise(noise)
		_, speech := hear(c)
		for _, from := range []time.Duration{s, 5 * s} {
			if got := share(speech, from, from+2*s); got < 0.75 {
				t.Errorf("noise at %v dBm0: %.2f of the speech at %v heard", noise, got, from)
			}
		}
		for _, from := range []time.Duration{0, 3200 * time.Millisecond, 7200 * time.Millisecond} {
			if got := share(speech, from, from+800*time.Millisecond); got != 0 {
				t.Errorf("noise at %v dBm0: %.2f of the quiet at %v taken for speech", noise, got, from)
			}
		}
	}
}

func TestVADHearsSpeechBelowHum(t *testing.T) {
	c := newHeardCall().quiet(time.Second).say(2 * time.Second).quiet(time.Second)
	for i := range c.pcm {
		c.pcm[i] += int16(2000 * math.Sin(2*math.Pi*50*float64(i)/SampleRate)) // -25 dBm0, below 200 Hz
	}
	_, speech := hear(c)
	if got := share(speech, time.Second, 3*time.Second); got < 0.75 {
		t.Errorf("%.2f heard", got)
	}
	if got := share(speech, 0, time.Second) + share(speech, 3200*time.Millisecond, 4*time.Second); got != 0 {
		t.Errorf("%.2f of the hum taken for speech", got)
	}
}

func TestVADFloorFollowsTheNoise(t *testing.T) {
	c := newHeardCall().quiet(3 * time.Second).noise(-45)
	c.pcm = append(c.pcm, newHeardCall().quiet(3*time.Second).noise(-60).pcm...)
	var v VAD
	pcm := c.frames()
	for _, want := range []float64{-45, -60} {
		var s Sound
		for range 3 * time.Second / FrameDuration {
			s = v.Write(pcm[:FrameSamples])
			pcm = pcm[FrameSamples:]
		}
		if got := levelOfPower(s.Floor); math.Abs(got-want) > 2.5 {
			t.Errorf("floor at %v dBm0 in noise at %v", got, want)
		}
	}
}
