package audio

import (
	"math"
	"testing"
)

func TestG711CodesSurviveARoundTrip(t *testing.T) {
	for i := range 256 {
		code := byte(i)
		if got := EncodeULaw(DecodeULaw([]byte{code}))[0]; got != code && code != 0x7F { // 0x7F is negative zero
			t.Errorf("µ-law %#02x came back as %#02x", code, got)
		}
		if got := EncodeALaw(DecodeALaw([]byte{code}))[0]; got != code {
			t.Errorf("A-law %#02x came back as %#02x", code, got)
		}
	}
}

// The decoder output values of G.711 tables 1 and 2, scaled to 16 bits, at the ends of the segments.
func TestG711KnownValues(t *testing.T) {
	ulaw := map[byte]int16{0xFF: 0, 0xFE: 8, 0xF0: 120, 0xEF: 132, 0x80: 32124, 0x00: -32124, 0x7E: -8, 0x8F: 16764}
	for code, want := range ulaw {
		if got := DecodeULaw([]byte{code})[0]; got != want {
			t.Errorf("µ-law %#02x is %d, want %d", code, got, want)
		}
	}
	alaw := map[byte]int16{0xD5: 8, 0x55: -8, 0xAA: 32256, 0x2A: -32256, 0x80: 5504}
	for code, want := range alaw {
		if got := DecodeALaw([]byte{code})[0]; got != want {
			t.Errorf("A-law %#02x is %d, want %d", code, got, want)
		}
	}
	if EncodeULaw([]int16{0})[0] != ULawSilence || EncodeALaw([]int16{0})[0] != ALawSilence {
		t.Error("a zero sample is not the silence code")
	}
}

func TestG711ErrorStaysBelowItsStep(t *testing.T) {
	for s := math.MinInt16; s <= math.MaxInt16; s++ {
		limit := max(16, math.Abs(float64(s))/16) // half of a step of 1/16 of the segment's lower end, twice for A-law's start
		for law, got := range map[string]int16{
			"µ": DecodeULaw(EncodeULaw([]int16{int16(s)}))[0],
			"A": DecodeALaw(EncodeALaw([]int16{int16(s)}))[0],
		} {
			if diff := math.Abs(float64(got) - float64(s)); diff > limit {
				t.Fatalf("%s-law: %d became %d", law, s, got)
			}
		}
	}
}

func TestG711LawsConvertIntoEachOther(t *testing.T) {
	ulaw := EncodeULaw(sine(1004, 10000, SampleRate, 800))
	alaw := make([]byte, len(ulaw))
	ULawToALaw(alaw, ulaw)
	back := append([]byte(nil), alaw...)
	ALawToULaw(back, back)
	a, b := DecodeULaw(ulaw), DecodeULaw(back)
	for i := range a {
		if d := math.Abs(float64(a[i] - b[i])); d > max(16, math.Abs(float64(a[i]))/14) {
			t.Fatalf("sample %d: %d became %d", i, a[i], b[i])
		}
	}
}

func BenchmarkEncodeULawFrame(b *testing.B) {
	pcm, dst := sine(440, 12000, SampleRate, FrameSamples), make([]byte, 0, FrameSamples)
	b.ReportAllocs()
	for b.Loop() {
		dst = AppendULaw(dst[:0], pcm)
	}
}

func BenchmarkULawToALawFrame(b *testing.B) {
	frame := EncodeULaw(sine(440, 12000, SampleRate, FrameSamples))
	dst := make([]byte, FrameSamples)
	for b.Loop() {
		ULawToALaw(dst, frame)
	}
}

// sine is n samples of a tone at rate Hz.
func sine(freq, amplitude float64, rate, n int) []int16 {
	pcm := make([]int16, n)
	for i := range pcm {
		pcm[i] = int16(math.Round(amplitude * math.Sin(2*math.Pi*freq*float64(i)/float64(rate))))
	}
	return pcm
}

func TestULawLouderIsAComparisonOfPowers(t *testing.T) {
	for _, amplitude := range []float64{0, 8, 100, 3000} {
		ulaw := EncodeULaw(sine(440, amplitude, SampleRate, FrameSamples))
		p := ULawPower(ulaw)
		for _, power := range []float64{p - 1, p + 1, 2*p + 1} {
			if got := ULawLouder(ulaw, power); got != (p > power) {
				t.Errorf("power %.0f is louder than %.0f: %v", p, power, got)
			}
		}
	}
}
