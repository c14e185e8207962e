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
	quarters(&re, &im, turns4)
	quarters(&re, &im, turns16)
	lr, li, hr, hi := re[:half/2], im[:half/2], re[half/2:], im[half/2:]
	for k := range lr { // and the last
		c, s := real(unity[2*k]), imag(unity[2*k])
		tr, ti := hr[k]*c-hi[k]*s, hr[k]*s+hi[k]*c
		hr[k], hi[k] = lr[k]-tr, li[k]-ti
		lr[k], li[k] = lr[k]+tr, li[k]+ti
	}
	bins[0] = 0 // a constant is no sound
	bins[half/2] = re[half/2]*re[half/2] + im[half/2]*im[half/2]
	for k := 1; k < half/2; k++ { // of both halves, which share what they are made of
		ar, ai, br, bi := re[k], im[k], re[half-k], -im[half-k]
		c, s := real(unity[k]), imag(unity[k])
		er, ei, or, oi := ar+br, ai+bi, ai-bi, br-ar // twice what they are
		tr, ti := c*or-s*oi, c*oi+s*or
		xr, xi, yr, yi := er+tr, ei+ti, er-tr, ei-ti
		bins[k], bins[half-k] = (xr*xr+xi*xi)/4, (yr*yr+yi*yi)/4
	}
}

// turn is the real and the imaginary part of each by which the second, third and fourth quarter of a block turn.
type turn struct{ r1, i1, r2, i2, r3, i3 float32 }

// quarters is two stages of a transform at once: it joins blocks of as many values as there are turns, four by four.
func quarters(re, im *[spectrumSize / 2]float32, turns []turn) {
	const mask = spectrumSize/2 - 1 // which no index has more than; the compiler sees it
	n := len(turns)
	for k := range turns {
		t := turns[k]
		for at := k; at <= mask; at += 4 * n {
			a, b, c, d := at&mask, (at+n)&mask, (at+2*n)&mask, (at+3*n)&mask
			xr, xi := re[b]*t.r1-im[b]*t.i1, re[b]*t.i1+im[b]*t.r1
			yr, yi := re[c]*t.r2-im[c]*t.i2, re[c]*t.i2+im[c]*t.r2
			zr, zi := re[d]*t.r3-im[d]*t.i3, re[d]*t.i3+im[d]*t.r3
			pr, pi, qr, qi := re[a]+xr, im[a]+xi, re[a]-xr, im[a]-xi
			sr, si, ur, ui := yr+zr, yi+zi, yi-zi, zr-yr
			re[a], im[a], re[c], im[c] = pr+sr, pi+si, pr-sr, pi-si
			re[b], im[b], re[d], im[d] = qr+ur, qi+ui, qr-ur, qi-ui
		}
	}
}

// turns4 and turns16 are those of the third and fourth stage, and of the fifth and sixth.
var turns4, turns16 = makeTurns(4), makeTurns(16)

func makeTurns(n int) []turn {
	turns := make([]turn, n)
	for k := range turns {
		at := func(times float64) (re, im float32) {
			s, c := math.Sincos(-math.Pi * float64(k) / float64(n) * times)
			return float32(c), float32(s)
		}
		t := &turns[k]
		t.r1, t.i1 = at(1)
		t.r2, t.i2 = at(0.5)
		t.r3, t.i3 = at(1.5)
	}
	return turns
}

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
	var least float32 // a peak that is lower is none of them, whatever is around it
	for k := lowest; k <= highest; k++ {
		p := bins[k]
		if p < least {
			continue
		}
		if p > bins[k-1] && p >= bins[k+1] && p > bins[k-2] && p >= bins[k+2] {
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
			if least = lines[0].power / 501; n == maxLines {
				least = max(least, lines[n-1].power/5.01)
			}
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

// sumOfBins is the power in bins.
func sumOfBins(bins []float32) float32 {
	var a, b, c, d float32
	for ; len(bins) >= 4; bins = bins[4:] {
		a, b, c, d = a+bins[0], b+bins[1], c+bins[2], d+bins[3]
	}
	for _, p := range bins {
		a += p
	}
	return a + b + (c + d)
}

// flatness is how evenly the power of 190 to 3,700 Hz is spread: the geometric mean over the arithmetic one, 0.56 for
// white noise in one frame, below 0.1 for a vowel.
func flatness(bins *[spectrumSize / 2]float32) float64 {
	const lowest, groups, size = 6, 7, 16 // the product of 16 powers is no more than 1e220
	const n = groups * size
	var sum, logs float64
	for g := range groups {
		a, b := 1.0, 1.0
		group := bins[lowest+size*g:][:size]
		for i := 0; i < size; i += 2 {
			p, q := float64(group[i]), float64(group[i+1])
			sum += p + q
			a *= p + 1e-3
			b *= q + 1e-3
		}
		logs += math.Log(a * b)
	}
	if sum == 0 {
		return 1
	}
	return math.Exp(logs/n) / (sum / n)
}
