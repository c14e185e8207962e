package audio

import "math"

// spectrumSize is the analysis window: 32 ms, the frame and the 12 ms before it. A bin is 31.25 Hz wide.
const (
	spectrumSize = 256
	binHz        = float64(SampleRate) / spectrumSize
)

// hann is the window over the samples of a spectrum, and unity the turns of a circle the transform needs.
var (
	hann  = makeHann()
	unity = makeUnity()
)

func makeHann() (w [spectrumSize]float32) {
	for i := range w {
		w[i] = float32(0.5 - 0.5*math.Cos(2*math.Pi*(float64(i)+0.5)/spectrumSize))
	}
	return w
}

func makeUnity() (u [spectrumSize / 2]complex64) {
	for k := range u {
		s, c := math.Sincos(-2 * math.Pi * float64(k) / spectrumSize)
		u[k] = complex(float32(c), float32(s))
	}
	return u
}

// spectrum writes the power in each bin of pcm to bins; it is up to the caller what a unit is.
func spectrum(bins *[spectrumSize / 2]float32, pcm *[spectrumSize]float32) {
	const half = spectrumSize / 2
	var re, im [half]float32 // of even and of odd samples: one transform of half the size
	for i := range reversed {
		// Written in bit-reversed order, so that the butterflies below leave natural order.
		r := reversed[i] & (half - 1)
		re[r], im[r] = pcm[2*i]*hann[2*i], pcm[2*i+1]*hann[2*i+1]
	}
	for i := 0; i < half; i += 4 { // the first two stages turn by quarters only
		r, m := re[i:i+4:i+4], im[i:i+4:i+4]
		ar, ai, br, bi := r[0]+r[1], m[0]+m[1], r[0]-r[1], m[0]-m[1]
		cr, ci, dr, di := r[2]+r[3], m[2]+m[3], m[2]-m[3], r[3]-r[2]
		r[0], m[0], r[1], m[1] = ar+cr, ai+ci, br+dr, bi+di
		r[2], m[2], r[3], m[3] = ar-cr, ai-ci, br-dr, bi-di
	}
	for size, turns := 4, turns[:]; size < half; size *= 2 { // half of a stage's size
		wr, wi := turns[0][:size], turns[1][:size]
		turns = turns[2:]
		for start := 0; start < half; start += 2 * size {
			lr, li := re[start : start+size][:len(wr)], im[start : start+size][:len(wr)]
			hr, hi := re[start+size : start+2*size][:len(wr)], im[start+size : start+2*size][:len(wr)]
			for k, c := range wr {
				s := wi[k]
				tr, ti := hr[k]*c-hi[k]*s, hr[k]*s+hi[k]*c
				hr[k], hi[k] = lr[k]-tr, li[k]-ti
				lr[k], li[k] = lr[k]+tr, li[k]+ti
			}
		}
	}
	bins[0] = 0 // a constant is no sound
	for k := 1; k < half; k++ {
		ar, ai, br, bi := re[k], im[k], re[half-k], -im[half-k]
		c, s := real(unity[k]), imag(unity[k])
		er, ei, or, oi := ar+br, ai+bi, ai-bi, br-ar // twice what they are
		xr, xi := er+c*or-s*oi, ei+c*oi+s*or
		bins[k] = (xr*xr + xi*xi) / 4
	}
}

// turns are the real and the imaginary parts by which the stages of a transform turn, from its third on.
var turns = func() (t [10][]float32) {
	for stage, size := 0, 4; size < spectrumSize/2; stage, size = stage+1, size*2 {
		for k := range size {
			s, c := math.Sincos(-math.Pi * float64(k) / float64(size))
			t[2*stage], t[2*stage+1] = append(t[2*stage], float32(c)), append(t[2*stage+1], float32(s))
		}
	}
	return t
}()

// reversed is each index of half a spectrum with its bits in reverse.
var reversed = func() (r [spectrumSize / 2]uint8) {
	for i := range r {
		for bit := range 7 {
			r[i] |= uint8(i >> bit & 1 << (6 - bit))
		}
	}
	return r
}()

// A line is a peak of a spectrum: a tone, or a harmonic of a voice.
type line struct {
	hz    float32
	power float32 // of the five bins around it
	age   int     // frames for which it has stood still
	from  float32 // Hz, where it stood when it began to
}

// strongestLines fills lines with the highest peaks between 250 and 3,700 Hz, strongest first, each within 20 dB of the
// strongest, and says how many there are. Peaks less than three bins apart count as one.
func strongestLines(lines *[maxLines]line, bins *[spectrumSize / 2]float32) (n int) {
	const lowest, highest = 8, 118
	for k := lowest; k <= highest; k++ {
		if p := bins[k]; p > bins[k-1] && p >= bins[k+1] && p > bins[k-2] && p >= bins[k+2] {
			p += bins[k-1] + bins[k+1] + bins[k-2] + bins[k+2]
			if n == maxLines && p <= lines[n-1].power {
				continue
			}
			at := min(n, maxLines-1)
			for at > 0 && lines[at-1].power < p {
				lines[at] = lines[at-1]
				at--
			}
			lines[at] = line{hz: float32(k), power: p}
			n = min(n+1, maxLines)
		}
	}
	for n > 0 && lines[n-1].power < lines[0].power/100 {
		n--
	}
	for i := range lines[:n] {
		k := int(lines[i].hz)
		lines[i].hz = float32(binHz) * (lines[i].hz + peakOffset(bins[k-1], bins[k], bins[k+1]))
	}
	return n
}

// peakOffset is where between its neighbours a sine lies that gave these three bins under a Hann window, in bins.
func peakOffset(left, mid, right float32) float32 {
	if mid <= 0 {
		return 0
	}
	side := float32(1)
	if left > right {
		side, right = -1, left
	}
	ratio := float32(math.Sqrt(float64(right / mid)))
	return side * (2*ratio - 1) / (1 + ratio)
}

// flatness is how evenly the power of 190 to 3,700 Hz is spread: the geometric mean over the arithmetic one, 0.56 for
// white noise in one frame, below 0.1 for a vowel.
func flatness(bins *[spectrumSize / 2]float32) float64 {
	const lowest, groups = 6, 14 // of eight bins
	var sum, logs float64
	for g := range groups {
		product := 1.0
		for _, p := range bins[lowest+8*g : lowest+8*g+8] {
			sum += float64(p)
			product *= float64(p) + 1e-3
		}
		logs += math.Log(product)
	}
	if sum == 0 {
		return 1
	}
	return math.Exp(logs/(8*groups)) / (sum / (8 * groups))
}
