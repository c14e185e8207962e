package audio

import (
	"math"
	"testing"
	"time"
)

func TestRingback(t *testing.T) {
	for country, r := range ringbacks {
		clip := Ringback(country)
		pcm := DecodeULaw(clip.ULaw())
		var period time.Duration
		at := 0
		for i, d := range r.cadence {
			period += d
			part := pcm[at : at+samples(d)]
			at += len(part)
			if i%2 == 1 {
				if Power(part) != 0 {
					t.Errorf("%s: the pause %d is not silent", country, i/2)
				}
				continue
			}
			if level := levelOf(part[fadeSamples : len(part)-fadeSamples]); math.Abs(level-ringLevel) > 0.3 {
				t.Errorf("%s: %.1f dBm0, want %d", country, level, ringLevel)
			}
			if r.modulated == 0 && !Has(part, r.freqs...) {
				t.Errorf("%s: not the tone of %v Hz", country, r.freqs)
			}
			if f := r.freqs[0]; r.modulated != 0 && !Has(part[:samples(400*time.Millisecond)], f-r.modulated, f, f+r.modulated) {
				t.Errorf("%s: not a tone of %v Hz swelling %v times a second", country, f, r.modulated)
			}
			if first := part[samples(10*time.Millisecond) : samples(10*time.Millisecond)+2*FrameSamples]; Power(first) == 0 {
				t.Errorf("%s: starts late", country)
			}
		}
		if clip.Duration() != period {
			t.Errorf("%s: %v long, the cadence has %v", country, clip.Duration(), period)
		}
		var d DTMFDetector
		if keys := d.Write(pcm); len(keys) != 0 {
			t.Errorf("%s: sounds like the keys %q", country, keys)
		}
	}
}

// TestRingbackOfSome has the figures a second time, written out: the table above is checked against itself only.
func TestRingbackOfSome(t *testing.T) {
	for _, tt := range []struct {
		country string
		freqs   []float64
		on, off []int // ms from the start, in the middle of a tone or a pause
	}{
		{"us", []float64{440, 480}, []int{100, 1900}, []int{2100, 5900}},
		{"", []float64{440, 480}, []int{100, 1900}, []int{2100, 5900}},
		{"uk", []float64{400, 450}, []int{100, 300, 700, 900}, []int{500, 1100, 2900}},
		{"de", []float64{425}, []int{100, 900}, []int{1100, 4900}},
		{"fr", []float64{440}, []int{100, 1400}, []int{1600, 4900}},
		{"es", []float64{425}, []int{1400}, []int{1600, 4400}},
		{"jp", []float64{384, 400, 416}, []int{500}, []int{1100, 2900}},
		{"us-old", []float64{380, 420, 460}, []int{1500}, []int{2100}},
	} {
		pcm := DecodeULaw(Ringback(tt.country).ULaw())
		window := func(ms int) []int16 {
			from := ms*SampleRate/1000 - 600
			return pcm[from : from+1200] // 150 ms
		}
		for _, ms := range tt.on {
			if !Has(window(ms), tt.freqs...) {
				t.Errorf("%q: no tone of %v Hz at %d ms", tt.country, tt.freqs, ms)
			}
		}
		for _, ms := range tt.off {
			if Power(window(ms)) != 0 {
				t.Errorf("%q: not silent at %d ms", tt.country, ms)
			}
		}
	}
	if Ringback("xx") != nil {
		t.Error("a ringback for no country")
	}
	if first, second := Ringback("de"), Ringback("de"); first != second {
		t.Error("made twice")
	}
}

// levelOf is the level in dBm0.
func levelOf(pcm []int16) float64 { return 10 * math.Log10(Power(pcm)/dBm0(0)) }
