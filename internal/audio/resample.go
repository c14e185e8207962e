package audio

import (
	"errors"
	"fmt"
	"math"
)

// Sample rates that can be resampled, in Hz: from the lowest anyone records to four times studio rate.
const (
	minRate = 4000
	maxRate = 384_000
)

const (
	// halfTaps is half the filter's length in periods of the lower rate; 16 with the Kaiser window below
	// gives > 60 dB of stop band over a transition of 10 % of the band.
	halfTaps   = 16
	kaiserBeta = 6.5
	// passBand is the filter's cutoff as a share of the lower Nyquist frequency: 3.72 kHz at 8 kHz, so that
	// the telephone band (to 3.4 kHz) is flat and images are gone where they would fold into it.
	passBand = 0.93
	// maxPhases bounds the coefficient table. Ratios with more phases use the nearest one: an error in
	// time of 1/1024 sample at most, 60 dB below the signal.
	maxPhases = 512
)

var errRate = errors.New("sample rate out of range")

// A resampler converts a stream of samples from one rate to another: a polyphase FIR filter with
// Kaiser-windowed sinc coefficients. It compensates its own delay, so sample 0 stays at time 0.
type resampler struct {
	up, down int         // the reduced ratio: up outputs for down inputs
	coef     [][]float32 // one row per phase, each of 2*half taps
	half     int         // taps on either side of the output's position
	buf      []float32   // input not used up; buf[0] is at input position base
	base     int         // position in the input of buf[0]
	in, out  int         // samples taken and given so far
}

func newResampler(from, to int) (*resampler, error) {
	if from < minRate || from > maxRate || to < minRate || to > maxRate {
		return nil, fmt.Errorf("audio: %w: %d Hz to %d Hz; %d to %d Hz can be converted", errRate, from, to, minRate, maxRate)
	}
	g := gcd(from, to)
	r := &resampler{up: to / g, down: from / g}
	scale := min(1, float64(to)/float64(from)) // of the cutoff, relative to the input's Nyquist frequency
	r.half = int(math.Ceil(halfTaps / scale))
	phases := min(r.up, maxPhases)
	r.coef = make([][]float32, phases+1) // the last row is phase 0 of the next sample, for rounding up
	for p := range r.coef {
		r.coef[p] = sincTaps(float64(p)/float64(phases), r.half, scale*passBand)
	}
	r.buf = make([]float32, r.half, 4096) // silence before the first sample
	r.base = -r.half
	return r, nil
}

// sincTaps is the filter for an output frac of the way from one input sample to the next. Tap i meets the input
// sample i-half+1 places from it. The taps add up to 1, so a constant stays what it is.
func sincTaps(frac float64, half int, cutoff float64) []float32 {
	taps := make([]float64, 2*half)
	var sum float64
	for i := range taps {
		x := float64(i-half+1) - frac
		w := x / float64(half)
		if w < -1 || w > 1 {
			continue
		}
		taps[i] = sinc(x*cutoff) * bessel0(kaiserBeta*math.Sqrt(1-w*w))
		sum += taps[i]
	}
	row := make([]float32, len(taps))
	for i, t := range taps {
		row[i] = float32(t / sum)
	}
	return row
}

func sinc(x float64) float64 {
	if x == 0 {
		return 1
	}
	return math.Sin(math.Pi*x) / (math.Pi * x)
}

// bessel0 is the modified Bessel function of the first kind, order 0, by its series.
func bessel0(x float64) float64 {
	sum, term := 1.0, 1.0
	for k := 1.0; term > sum*1e-12; k++ {
		term *= (x / 2 / k) * (x / 2 / k)
		sum += term
	}
	return sum
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// write takes the next samples and appends what can be given already to dst.
func (r *resampler) write(dst, pcm []int16) []int16 {
	for _, s := range pcm {
		r.buf = append(r.buf, float32(s))
	}
	r.in += len(pcm)
	return r.drain(dst)
}

// flush gives the rest: after it the output is as long as the input, in time.
func (r *resampler) flush(dst []int16) []int16 {
	want := int((int64(r.in)*int64(r.up) + int64(r.down) - 1) / int64(r.down))
	r.buf = append(r.buf, make([]float32, r.half+1)...)
	dst = r.drain(dst)
	if extra := r.out - want; extra > 0 {
		dst = dst[:len(dst)-min(extra, len(dst))]
	}
	return dst
}

func (r *resampler) drain(dst []int16) []int16 {
	phases := len(r.coef) - 1
	for {
		at := int64(r.out) * int64(r.down)
		pos, frac := int(at/int64(r.up)), int(at%int64(r.up))
		first := pos - r.half + 1 - r.base
		if first+2*r.half > len(r.buf) {
			break
		}
		row := r.coef[(frac*phases+r.up/2)/r.up]
		window := r.buf[first : first+len(row)]
		var acc float32
		for i, c := range row {
			acc += c * window[i]
		}
		dst = append(dst, clip16(acc))
		r.out++
	}
	// Keep what the next output needs; move it down now and then rather than each time.
	next := int(int64(r.out)*int64(r.down)/int64(r.up)) - r.half + 1 - r.base
	if next > 2048 && next <= len(r.buf) {
		n := copy(r.buf, r.buf[next:])
		r.buf = r.buf[:n]
		r.base += next
	}
	return dst
}

func clip16(v float32) int16 {
	switch {
	case v >= math.MaxInt16:
		return math.MaxInt16
	case v <= math.MinInt16:
		return math.MinInt16
	}
	return int16(math.RoundToEven(float64(v)))
}

// Resample converts pcm from one sample rate to another, in Hz, both between 4,000 and 384,000.
func Resample(pcm []int16, from, to int) ([]int16, error) {
	if from == to && from >= minRate && from <= maxRate {
		return pcm, nil
	}
	r, err := newResampler(from, to)
	if err != nil {
		return nil, err
	}
	out := make([]int16, 0, int(int64(len(pcm))*int64(to)/int64(from))+2)
	return r.flush(r.write(out, pcm)), nil
}
