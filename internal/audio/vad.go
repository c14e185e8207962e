package audio

import (
	"math"
	"time"
)

// maxLines is how many peaks of a spectrum are compared from frame to frame.
const maxLines = 5

// Figures of the VAD, chosen on the tuning part of the corpus (docs/amd.md).
const (
	vadThreshold = 6.3  // power over the noise floor that is a sound: 8 dB
	vadQuietest  = -50  // dBm0, below which nothing is a sound
	vadStart     = -45  // dBm0, the most the noise floor may be taken for before it was observed
	vadFlat      = 0.25 // flatness from which a sound is a hiss
	vadHiss      = 8    // frames of hiss that still belong to the voice before them
	vadHold      = 6    // frames whose lines stand still before they are a tone
	vadTonal     = 0.80 // share of the power that the lines of a tone have
	vadSteady    = 0.85 // share of that which stays where it is
	vadDriftHz   = 9    // how far a line moves at most that stands still
	vadNarrow    = 0.85 // share of the power that lies within 160 Hz of two tones that beat
	vadBeatHz    = 25   // how far the middle of their band moves
	vadBlocks    = 8    // the floor is the quietest frame of this many blocks …
	vadBlock     = 10   // … of as many frames: 1.6 s
)

// A VAD tells which frames of a call are speech: louder than the adapted noise floor, not as flat as noise, and not a
// tone or a held note. The zero value is ready. It is not for concurrent use.
type VAD struct {
	window  [spectrumSize]int16
	bins    [spectrumSize / 2]float32
	lines   [2][maxLines]line // of this frame and the one before
	count   [2]int            // of lines; none in a quiet frame
	frames  int
	centre  float64 // of the band around the strongest line, Hz
	held    int     // frames for which the lines have stood still
	voiced  int     // frames of hiss that may still follow the last voiced one
	minimum [vadBlocks]float64
}

// A Sound is what a VAD found in one frame.
type Sound struct {
	Speech bool
	// Retracted is how many frames before this one were taken for speech, or may have been, before their tone had been
	// held long enough to be known for one.
	Retracted int
	Active    bool    // louder than the noise, whatever it is
	Held      int     // frames for which the sound's lines have stood still: a tone or a note
	Power     float64 // mean power, as Power gives it
	Floor     float64 // the noise's mean power
	Hz        float64 // of the strongest line; 0 when not active
	Purity    float64 // share of the power that the strongest line has
	Flatness  float64 // of the spectrum, 0 to 1; 0 when not active
	Ripple    float64 // quietest over loudest quarter of the frame: near 1 for a single tone
}

// Write hears the next frame of FrameSamples samples; what is longer is not heard.
func (v *VAD) Write(frame []int16) Sound {
	copy(v.window[:], v.window[FrameSamples:])
	copy(v.window[spectrumSize-FrameSamples:], frame[:FrameSamples])
	s := Sound{}
	s.Power, s.Ripple = envelope(frame[:FrameSamples])
	s.Floor = v.floor(s.Power)
	v.frames++
	v.lines[1], v.count[1] = v.lines[0], v.count[0]
	if s.Power < max(s.Floor*vadThreshold, quietest) {
		v.count[0], v.centre, v.held, v.voiced = 0, 0, 0, 0
		return s
	}
	s.Active = true
	spectrum(&v.bins, &v.window)
	v.count[0] = strongestLines(&v.lines[0], &v.bins)
	s.Flatness = flatness(&v.bins)
	var total float32
	for _, p := range v.bins[3:] {
		total += p
	}
	if v.count[0] > 0 && total > 0 {
		s.Hz, s.Purity = float64(v.lines[0][0].hz), float64(v.lines[0][0].power/total)
	}
	centre, share := v.narrow(total)
	narrow := share >= vadNarrow && math.Abs(centre-v.centre) < vadBeatHz
	v.centre = centre
	if narrow || v.steady(total) {
		v.held++
	} else {
		v.held = 0
	}
	s.Held = v.held
	if s.Held >= vadHold {
		if s.Held == vadHold {
			s.Retracted = vadHold
		}
		return s
	}
	if s.Flatness < vadFlat {
		v.voiced = vadHiss
		s.Speech = true
	} else if v.voiced > 0 {
		v.voiced--
		s.Speech = true
	}
	return s
}

var (
	quietest   = dBm0(vadQuietest)
	startFloor = dBm0(vadStart)
	leastFloor = dBm0(-70)
)

// envelope is the mean power of a frame without its constant part, and its quietest quarter over its loudest.
func envelope(frame []int16) (power, ripple float64) {
	var sum int64
	low, high := int64(math.MaxInt64), int64(0)
	var squares int64
	for q := range 4 {
		var part int64
		for _, s := range frame[q*FrameSamples/4 : (q+1)*FrameSamples/4] {
			sum += int64(s)
			part += int64(s) * int64(s)
		}
		squares += part
		low, high = min(low, part), max(high, part)
	}
	mean := float64(sum) / FrameSamples
	if high > 0 {
		ripple = float64(low) / float64(high)
	}
	return max(0, float64(squares)/FrameSamples-mean*mean), ripple
}

// floor is the power of the noise: that of the quietest frame of the last 1.6 s, which lies between two syllables at
// the latest. What a call begins with may be speech, so the first block does not raise it above vadStart.
func (v *VAD) floor(power float64) float64 {
	block := v.frames / vadBlock
	if at := &v.minimum[block%vadBlocks]; v.frames%vadBlock == 0 || power < *at {
		*at = power
	}
	floor := math.Inf(1)
	for i, m := range v.minimum {
		if i <= block {
			floor = min(floor, m)
		}
	}
	if block < 2 {
		floor = min(floor, startFloor)
	}
	return max(floor, leastFloor)
}

// steady reports whether the lines of this frame have most of its power and are where they were in the last one.
func (v *VAD) steady(total float32) bool {
	var sum, stayed float32
	for _, l := range v.lines[0][:v.count[0]] {
		sum += l.power
		for _, before := range v.lines[1][:v.count[1]] {
			if d := l.hz - before.hz; d < vadDriftHz && d > -vadDriftHz {
				stayed += l.power
				break
			}
		}
	}
	return sum >= vadTonal*total && stayed >= vadSteady*sum
}

// narrow is the middle of the band of 11 bins around the strongest line, and its share of the power, when that line lies
// where exchanges have their tones. Two of these that are 40 Hz apart have no steady lines: they beat.
func (v *VAD) narrow(total float32) (centre, share float64) {
	const lowest, highest, side = 11, 20, 5 // bins: 340 to 640 Hz
	if v.count[0] == 0 {
		return 0, 0
	}
	at := int(v.lines[0][0].hz/float32(binHz) + 0.5)
	if at < lowest || at > highest {
		return 0, 0
	}
	var sum, moment float32
	for k := at - side; k <= at+side; k++ {
		sum += v.bins[k]
		moment += v.bins[k] * float32(k)
	}
	return float64(moment/sum) * binHz, float64(sum / total)
}

// span is the length of n frames.
func span(n int) time.Duration { return time.Duration(n) * FrameDuration }
