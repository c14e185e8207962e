package audio

import (
	"math"
	"math/cmplx"
	"time"
)

// A key is looked for every 10 ms in the last 30 ms: a tone of 40 ms, the least that has to be heard (ITU-T Q.24),
// always fills one such block, one below 24 ms never does.
const (
	dtmfHop    = 80
	dtmfWindow = 2 * dtmfHop // of a measured phase: 20 ms
	dtmfBlock  = 3 * dtmfHop
)

// Limits of a key, ITU-T Q.24 and what keeps speech out.
const (
	// dtmfFloor is the least power of a block, -44 dBFS.
	dtmfFloor = 4e4
	// dtmfShare of a block's power has the pair, which speech seldom gives two frequencies for 30 ms.
	dtmfShare = 0.8
	// dtmfOff is how far a tone may be off its frequency: 1.5 % must be heard, 3.5 % must not.
	dtmfOff = 0.024
	// dtmfTwistHigh is how much stronger the high tone may be than the low one: 4 dB must be heard, this is 6 dB;
	// dtmfTwistLow the same the other way round, where lines damp high tones: 8 dB must be heard, this is 10 dB.
	dtmfTwistHigh = 4
	dtmfTwistLow  = 10
	// dtmfOther is how much weaker the next best tone of a group is at least: 6 dB.
	dtmfOther = 4
	// dtmfGone is the share of its power below which a tone has ended. An interruption of 10 ms, which is not to make
	// two keys of one, leaves more of it in 20 ms.
	dtmfGone = 0.1
)

const (
	dtmfReleased = 2                      // windows without the tone that end a key: a pause of 30 ms
	dtmfDrowned  = 80 * time.Millisecond  // of other sound do as well
	dtmfForgot   = 160 * time.Millisecond // and so does as much that was lost: the least tone and pause there are
)

// A DTMFDetector finds keys pressed in band by the energy at their frequencies (Goertzel). The phases of two windows
// 10 ms apart say how far off a tone is; where it is then has to hold the power. The zero value is ready. It is not
// for concurrent use.
type DTMFDetector struct {
	pcm   [dtmfBlock]int16
	n     int
	older [8]complex128 // spectrum of the first window in pcm

	half      byte    // the key that the newest window seemed to hold by itself, 0 for none
	halfLevel float64 // of its pair
	windows   int     // since the beginning or the last loss
	bounded   bool    // by a loss

	down     byte    // the key that was reported and is not yet released
	level    float64 // of its pair, when it was last heard
	gone     int     // windows without it
	drowned  time.Duration
	lostTime time.Duration
}

// Write takes the next samples and returns the keys that went down in them.
func (d *DTMFDetector) Write(pcm []int16) (keys []byte) {
	for len(pcm) > 0 {
		n := copy(d.pcm[d.n:min(len(d.pcm), d.n+dtmfHop-d.n%dtmfHop)], pcm)
		d.n, pcm = d.n+n, pcm[n:]
		if d.n%dtmfHop != 0 || d.n < dtmfWindow {
			continue
		}
		if key := d.hop(); key != 0 {
			keys = append(keys, key)
		}
		if d.n == dtmfBlock {
			d.n = copy(d.pcm[:], d.pcm[dtmfHop:])
		}
	}
	return keys
}

// Skip says that samples were lost for so long: a key that was down may still be. It returns the key that went down
// between this loss and the one before, if all that came of it was a single window.
func (d *DTMFDetector) Skip(lost time.Duration) (keys []byte) {
	if d.bounded && d.windows == 1 && d.half != 0 && d.half != d.down {
		d.down, d.level, d.gone, d.drowned = d.half, d.halfLevel, 0, 0
		keys = []byte{d.half}
	}
	d.n, d.windows, d.bounded = 0, 0, true
	if d.lostTime += lost; d.lostTime >= dtmfForgot {
		d.down, d.half = 0, 0
	}
	return keys
}

// hop looks at the newest window and block, and returns the key that went down.
func (d *DTMFDetector) hop() (down byte) {
	d.lostTime = 0
	d.windows++
	window := d.pcm[d.n-dtmfWindow : d.n]
	var newer [8]complex128
	total := Power(window)
	if total >= dtmfFloor {
		goertzel4(newer[:4], window, &dtmfLow)
		goertzel4(newer[4:], window, &dtmfHigh)
	}
	key := byte(0)
	half, level := alone(&newer, total)
	switch {
	case d.n == dtmfBlock: // there are two windows
		key, level = d.steady(&newer)
	case d.bounded && half == d.half: // the first one after a loss goes on with the last one before
		key = half
	}
	d.half, d.halfLevel = half, level
	d.older = newer
	switch {
	case key != 0 && key != d.down:
		down = key
		fallthrough
	case key != 0:
		d.down, d.level, d.gone, d.drowned = key, level, 0, 0
	case d.down != 0:
		d.absent(&newer)
	}
	return down
}

// absent ends the key that is down once it is no longer heard.
func (d *DTMFDetector) absent(newer *[8]complex128) {
	row, col := dtmfPlace(d.down)
	if power(newer[row])+power(newer[4+col]) < dtmfGone*d.level {
		d.gone++
	}
	if d.drowned += dtmfHop * time.Second / SampleRate; d.gone >= dtmfReleased || d.drowned >= dtmfDrowned {
		d.down = 0
	}
}

// steady is the key whose two tones hold through the block, 0 for none, and the level of its pair in newer.
func (d *DTMFDetector) steady(newer *[8]complex128) (key byte, level float64) {
	total := Power(d.pcm[:])
	if total < dtmfFloor {
		return 0, 0
	}
	row, col, ok := strongest(newer)
	if r, c, same := strongest(&d.older); !ok || !same || r != row || c != col {
		return 0, 0
	}
	low, lowOK := d.at(row, newer)
	high, highOK := d.at(4+col, newer)
	if !lowOK || !highOK || !dtmfPair(low, high, total) {
		return 0, 0
	}
	return dtmfKeys[row*4+col], power(newer[row]) + power(newer[4+col])
}

// at is the power of tone i where it really is, and whether that is near enough.
func (d *DTMFDetector) at(i int, newer *[8]complex128) (float64, bool) {
	f := dtmfFrequency(i)
	expected := 2 * math.Pi * f * dtmfHop / SampleRate
	turned := math.Remainder(cmplx.Phase(newer[i])-cmplx.Phase(d.older[i])-expected, 2*math.Pi)
	off := turned * SampleRate / (2 * math.Pi * dtmfHop)
	if math.Abs(off) > dtmfOff*f {
		return 0, false
	}
	return power(goertzel(d.pcm[:], f+off)), true
}

// alone is the key that a single window of that power holds, 0 for none.
func alone(w *[8]complex128, total float64) (key byte, level float64) {
	row, col, ok := strongest(w)
	low, high := power(w[row]), power(w[4+col])
	if total < dtmfFloor || !ok || !dtmfPair(low, high, total) {
		return 0, 0
	}
	return dtmfKeys[row*4+col], low + high
}

// dtmfPair says whether two tones are a key's in sound of that power.
func dtmfPair(low, high, total float64) bool {
	return low+high >= dtmfShare*total && high <= dtmfTwistHigh*low && low <= dtmfTwistLow*high
}

// strongest is the strongest tone of each group; false when one does not stand out.
func strongest(w *[8]complex128) (row, col int, ok bool) {
	row, first := outstanding(w[:4])
	col, second := outstanding(w[4:])
	return row, col, first && second
}

func outstanding(group []complex128) (at int, ok bool) {
	var best, second float64
	for i, x := range group {
		switch p := power(x); {
		case p > best:
			at, best, second = i, p, best
		case p > second:
			second = p
		}
	}
	return at, best > dtmfOther*second
}

// dtmfFrequency is that of tone i: the rows, then the columns.
func dtmfFrequency(i int) float64 {
	if i < 4 {
		return dtmfLow[i]
	}
	return dtmfHigh[i-4]
}

func dtmfPlace(key byte) (row, col int) {
	for i := range dtmfKeys {
		if dtmfKeys[i] == key {
			return i / 4, i % 4
		}
	}
	return 0, 0
}

// goertzel is the amplitude and phase of pcm at freq Hz, the phase that of its end; its power is that of Goertzel.
func goertzel(pcm []int16, freq float64) complex128 {
	sin, cos := math.Sincos(2 * math.Pi * freq / SampleRate)
	c := 2 * cos
	var s1, s2 float64
	for _, s := range pcm {
		s1, s2 = float64(s)+c*s1-s2, s1
	}
	return complex(s1-cos*s2, sin*s2) * complex(math.Sqrt2/float64(len(pcm)), 0)
}

// goertzel4 is goertzel of four frequencies at once, which do not wait for each other: three times as fast.
func goertzel4(dst []complex128, pcm []int16, freqs *[4]float64) {
	var sin, cos [4]float64
	for i, f := range freqs {
		sin[i], cos[i] = math.Sincos(2 * math.Pi * f / SampleRate)
	}
	c0, c1, c2, c3 := 2*cos[0], 2*cos[1], 2*cos[2], 2*cos[3]
	var a0, a1, a2, a3, b0, b1, b2, b3 float64
	for _, s := range pcm {
		x := float64(s)
		a0, b0 = x+c0*a0-b0, a0
		a1, b1 = x+c1*a1-b1, a1
		a2, b2 = x+c2*a2-b2, a2
		a3, b3 = x+c3*a3-b3, a3
	}
	scale := complex(math.Sqrt2/float64(len(pcm)), 0)
	for i, s := range [4][2]float64{{a0, b0}, {a1, b1}, {a2, b2}, {a3, b3}} {
		dst[i] = complex(s[0]-cos[i]*s[1], sin[i]*s[1]) * scale
	}
}

func power(x complex128) float64 { return real(x)*real(x) + imag(x)*imag(x) }
