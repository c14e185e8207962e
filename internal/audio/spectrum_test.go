package audio

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

func TestSpectrumAgreesWithTheDefinition(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var pcm [spectrumSize]float32
	for i := range pcm {
		pcm[i] = float32(rng.NormFloat64() * 3000)
	}
	var bins [spectrumSize / 2]float32
	spectrum(&bins, &pcm)
	for k := 1; k < len(bins); k++ {
		var re, im float64
		for i, s := range pcm {
			sin, cos := math.Sincos(2 * math.Pi * float64(k*i) / spectrumSize)
			re += float64(s) * float64(hann[i]) * cos
			im += float64(s) * float64(hann[i]) * sin
		}
		want := re*re + im*im
		if got := float64(bins[k]); math.Abs(got-want) > 1e-4*want+1e3 {
			t.Errorf("bin %d: %g, want %g", k, got, want)
		}
	}
}

func TestStrongestLinesOfTonePairs(t *testing.T) {
	for _, freqs := range [][2]float64{{697, 1209}, {941, 1633}, {350, 620}, {1100, 2100}} {
		var pcm [spectrumSize]float32
		for i, s := range Tone(100*time.Millisecond, freqs[:]...)[100:][:spectrumSize] {
			pcm[i] = float32(s)
		}
		var bins [spectrumSize / 2]float32
		var lines [maxLines]line
		spectrum(&bins, &pcm)
		n := strongestLines(&lines, &bins)
		if n != 2 {
			t.Errorf("%v: %d lines", freqs, n)
		}
		got := [2]float64{float64(min(lines[0].hz, lines[1].hz)), float64(max(lines[0].hz, lines[1].hz))}
		for i := range got {
			if math.Abs(got[i]-freqs[i]) > 3 {
				t.Errorf("%v: heard %.1f", freqs, got)
			}
		}
	}
}
