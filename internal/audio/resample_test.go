package audio

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"testing"
)

func TestResampleKeepsTheTelephoneBand(t *testing.T) {
	for _, from := range []int{8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 96000, 22049, 4000} {
		for _, freq := range []float64{300, 1004, 1700, 3300} {
			if freq > 0.4*float64(from) { // too near to the source's own Nyquist frequency
				continue
			}
			t.Run(fmt.Sprintf("%d Hz/%v Hz", from, freq), func(t *testing.T) {
				got, err := Resample(sine(freq, 10000, from, from/2), from, SampleRate)
				if err != nil {
					t.Fatal(err)
				}
				if want := SampleRate / 2; got == nil || abs(len(got)-want) > 1 {
					t.Fatalf("%d samples, want %d", len(got), want)
				}
				// In phase with the tone made at 8 kHz: the filter's delay is compensated.
				want := sine(freq, 10000, SampleRate, len(got))
				var noise, signal float64
				for i := 400; i < len(got)-400; i++ {
					d := float64(got[i] - want[i])
					noise += d * d
					signal += float64(want[i]) * float64(want[i])
				}
				if snr := 10 * math.Log10(signal/noise); snr < 35 {
					t.Errorf("signal to noise %.1f dB", snr)
				}
			})
		}
	}
}

func TestResampleRemovesWhatWouldFold(t *testing.T) {
	for _, freq := range []float64{4500, 5000, 7000} {
		got, err := Resample(sine(freq, 20000, 16000, 16000), 16000, SampleRate)
		if err != nil {
			t.Fatal(err)
		}
		if level := 10 * math.Log10(Power(got[200:len(got)-200])/2e8+1e-12); level > -55 {
			t.Errorf("%v Hz leaves %.1f dB", freq, level)
		}
	}
}

func TestEncodingInPiecesIsTheSame(t *testing.T) {
	for _, rate := range []int{SampleRate, 16000, 44100} {
		pcm := sine(700, 9000, rate, 30011)
		at8k, err := Resample(pcm, rate, SampleRate)
		if err != nil {
			t.Fatal(err)
		}
		e, err := NewEncoder(rate)
		if err != nil {
			t.Fatal(err)
		}
		var pieces []byte
		for i := 0; len(pcm) > 0; i++ {
			n := min(len(pcm), 1+i*37%997)
			pieces = e.Append(pieces, pcm[:n])
			pcm = pcm[n:]
		}
		if pieces = e.Flush(pieces); !bytes.Equal(pieces, EncodeULaw(at8k)) {
			t.Errorf("%d Hz: %d samples in pieces, %d at once, or their values differ", rate, len(pieces), len(at8k))
		}
	}
}

func TestResampleRefusesAbsurdRates(t *testing.T) {
	for _, rate := range []int{-1, 0, 1, 3999, 384001} {
		if _, err := Resample([]int16{1, 2}, rate, SampleRate); !errors.Is(err, errRate) {
			t.Errorf("%d Hz: %v", rate, err)
		}
	}
	if got, err := Resample(nil, 16000, SampleRate); err != nil || len(got) != 0 {
		t.Errorf("no samples: %v, %v", got, err)
	}
}

func abs(n int) int { return max(n, -n) }

func BenchmarkResampleOneSecond(b *testing.B) {
	for _, rate := range []int{16000, 44100, 48000} {
		pcm := sine(440, 10000, rate, rate)
		b.Run(fmt.Sprint(rate), func(b *testing.B) {
			for b.Loop() {
				_, _ = Resample(pcm, rate, SampleRate)
			}
		})
	}
}
