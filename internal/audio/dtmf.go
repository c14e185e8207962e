package audio

// dtmfBlock is the detector's window: 102 samples, 12.75 ms, whose bins fall best on the eight frequencies.
const dtmfBlock = 102

// A DTMFDetector finds keys pressed in band, after ITU-T Q.24: a pair counts once it was heard in two blocks
// running (a 40 ms tone always covers two), and again only after a pause. The zero value is ready.
type DTMFDetector struct {
	buf  [dtmfBlock]int16
	n    int
	last byte // what the previous block held, 0 for no pair
	down byte // the key reported and not yet released
	gap  int  // blocks without down since it was last heard
}

// Write takes the next samples and returns the keys that went down in them.
func (d *DTMFDetector) Write(pcm []int16) (keys []byte) {
	for len(pcm) > 0 {
		n := copy(d.buf[d.n:], pcm)
		d.n, pcm = d.n+n, pcm[n:]
		if d.n < dtmfBlock {
			break
		}
		d.n = 0
		if key := d.block(dtmfPair(d.buf[:])); key != 0 {
			keys = append(keys, key)
		}
	}
	return keys
}

// block takes what one block held and says which key it completes, if any.
func (d *DTMFDetector) block(key byte) (down byte) {
	switch {
	case d.down != 0 && key == d.down:
		d.gap = 0
	case d.down != 0:
		if d.gap++; d.gap >= 2 { // one bad block in a press is not a release
			d.down = 0
		}
	}
	if key != 0 && key == d.last && key != d.down {
		d.down, d.gap, down = key, 0, key
	}
	d.last = key
	return down
}

// dtmfPair is the key whose pair fills the block, or 0. Limits: -42 dBFS a tone; twist +8 dB (low stronger)
// and -8 dB; the pair holds most of the power, which speech seldom does; second best at least 6 dB lower.
func dtmfPair(block []int16) byte {
	total := Power(block)
	if total < 4e4 {
		return 0
	}
	row, low, low2 := strongest(block, dtmfLow)
	col, high, high2 := strongest(block, dtmfHigh)
	switch {
	case low+high < 0.75*total,
		low > 6.3*high, high > 6.3*low,
		low < 4*low2, high < 4*high2:
		return 0
	}
	return dtmfKeys[row*4+col]
}

func strongest(block []int16, freqs [4]float64) (at int, best, second float64) {
	for i, f := range freqs {
		switch p := Goertzel(block, f); {
		case p > best:
			at, best, second = i, p, best
		case p > second:
			second = p
		}
	}
	return at, best, second
}
