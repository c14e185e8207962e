package audio

import (
	"math"
	"strings"
	"time"
)

// toneLevel is the amplitude of one generated tone: -9 dBFS, so that a pair peaks at -3 dBFS.
const toneLevel = 0.355 * math.MaxInt16

// fadeSamples ramps a tone's ends over 4 ms, so that it does not click.
const fadeSamples = 32

// dtmfLow and dtmfHigh are the frequencies of a key's row and column in Hz, ITU-T Q.23.
var (
	dtmfLow  = [4]float64{697, 770, 852, 941}
	dtmfHigh = [4]float64{1209, 1336, 1477, 1633}
)

// dtmfKeys lists the keys row by row.
const dtmfKeys = "123A456B789C*0#D"

// Tone is the sum of sines of the given frequencies in Hz, each at -9 dBFS, for d. More than two may clip.
func Tone(d time.Duration, freqs ...float64) []int16 {
	pcm := make([]int16, samples(d))
	fade := min(fadeSamples, len(pcm)/2)
	for i := range pcm {
		var v float64
		for _, f := range freqs {
			v += math.Sin(2 * math.Pi * f * float64(i) / SampleRate)
		}
		if edge := min(i, len(pcm)-1-i); edge < fade {
			v *= float64(edge) / float64(fade)
		}
		pcm[i] = clip16(float32(v * toneLevel))
	}
	return pcm
}

// DTMF is the tone pair of a key, one of 0-9 A-D * #, for d; nil for anything else.
func DTMF(key byte, d time.Duration) []int16 {
	if key >= 'a' && key <= 'd' {
		key -= 'a' - 'A'
	}
	i := strings.IndexByte(dtmfKeys, key)
	if i < 0 {
		return nil
	}
	return Tone(d, dtmfLow[i/4], dtmfHigh[i%4])
}

func samples(d time.Duration) int { return max(0, int(d*SampleRate/time.Second)) }

// Goertzel is the mean power of pcm at freq Hz; a sine of amplitude a gives a²/2, whatever the length.
func Goertzel(pcm []int16, freq float64) float64 {
	if len(pcm) == 0 {
		return 0
	}
	c := 2 * math.Cos(2*math.Pi*freq/SampleRate)
	var s1, s2 float64
	for _, s := range pcm {
		s1, s2 = float64(s)+c*s1-s2, s1
	}
	n := float64(len(pcm))
	return 2 * (s1*s1 + s2*s2 - c*s1*s2) / (n * n)
}

// Power is the mean power of pcm, to be compared with Goertzel: a sine of amplitude a has a²/2.
func Power(pcm []int16) float64 {
	if len(pcm) == 0 {
		return 0
	}
	var sum float64
	for _, s := range pcm {
		sum += float64(s) * float64(s)
	}
	return sum / float64(len(pcm))
}

// Has reports whether freqs, in Hz, are what pcm consists of: each there within 12 dB of the strongest, and together
// at least 70 % of the power. Give it 20 ms or more of steady sound.
func Has(pcm []int16, freqs ...float64) bool {
	total := Power(pcm)
	if total < 1000 { // -60 dBFS: silence and its quantising noise
		return false
	}
	var sum, weakest, strongest float64
	weakest = math.Inf(1)
	for _, f := range freqs {
		p := Goertzel(pcm, f)
		sum, weakest, strongest = sum+p, min(weakest, p), max(strongest, p)
	}
	return sum >= 0.7*total && weakest*16 >= strongest
}
