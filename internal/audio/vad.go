package audio

import (
	"math"
	"slices"
	"time"
)

// maxLines is how many peaks of a spectrum are compared from frame to frame.
const maxLines = 5

// Figures of the VAD, chosen on the tuning part of the corpus (docs/amd.md).
const (
	vadThreshold = 16   // power over the noise floor that is a sound: 12 dB
	vadGoesOn    = 6.3  // and that still belongs to one: 8 dB
	vadLeast     = -40  // dBm0, below which no sound begins
	vadQuietest  = -48  // and none goes on
	vadLoudFloor = -42  // dBm0, the most that is taken for noise
	vadLowFloor  = -70  // and the least
	vadFaint     = 25   // times weaker, 14 dB, than the speech before is what lies in the background
	vadFlat      = 0.25 // flatness from which a sound is a hiss
	vadHiss      = 8    // frames of hiss that still belong to the voice before them
	vadDriftHz   = 6    // how far a line that stands still moves from frame to frame
	vadGlideHz   = 9    // and in all
	vadHold      = 6    // frames after which lines that stand still are a tone, or a note
	vadTonal     = 0.80 // share of the power that the lines of a tone have
	vadSteady    = 0.85 // share of that which stands still
	vadNarrow    = 0.85 // share of the power that lies around two tones that beat, within 140 Hz of the stronger
	vadBeatHz    = 12   // how far the middle of that band moves
	vadAgain     = 25   // frames after which it is another tone
	vadMusic     = 0.55 // share of lines that stand still in the power, on average, that is music
	vadTune      = 12   // frames of a sound before that is judged
	vadNote      = 9    // frames of one that has ended
	vadMemory    = 40   // frames over which the average reaches
	vadSmooth    = 0.25 // weight of a frame in the mean spectrum
	vadCompare   = 10   // frames between two that are compared
	vadAlike     = 0.75 // what they have in common, on average, when it is music: a voice comes to 0.4
	vadCompared  = 3    // comparisons before that is judged
	vadRecent    = 5    // comparisons over which the average reaches
	vadRest      = 4    // quiet frames between two sounds that are judged apart
	vadBlocks    = 8    // the floor is the quietest frame of this many blocks …
	vadBlock     = 10   // … of as many frames: 1.6 s
)

// maxRetracted is the most frames that Sound.Retracted tells of.
const maxRetracted = 100

// A VAD tells which frames of a call are speech: louder than the adapted noise floor, not as flat as noise, not a tone
// and not music, whose notes are sustained while a voice glides. The zero value is ready. It is not for concurrent use.
type VAD struct {
	window  [spectrumSize]float32            // samples without what is below 200 Hz
	past    struct{ x1, x2, y1, y2 float32 } // samples before, of the filter that does that
	bins    [spectrumSize / 2]float32
	lines   [2][maxLines]line // of this frame and the one before
	count   [2]int            // of lines; none in a quiet frame
	centre  float64           // of the band around the strongest line, Hz, when its tones began to beat
	frames  int
	sound   int                       // frames since the sound began, without the rest after it
	tone    int                       // of these, frames in which the lines stood still
	rest    int                       // quiet frames since
	still   float64                   // running average of the share of lines that stand still
	mean    [spectrumSize / 2]float32 // spectrum of the sound, smoothed
	before  [spectrumSize / 2]float32 // what that was at the last comparison
	alike   float64                   // running average of what two such spectra have in common
	matched int                       // comparisons made
	music   bool                      // what sounds is
	toneHz  float64                   // strongest line when the lines last stood still
	toneAt  int                       // frame of that
	beats   int                       // frames for which two tones have beaten
	held    int                       // frames for which the lines have stood still
	voiced  int                       // frames of hiss that may still follow the last voiced one
	minimum [vadBlocks]float64
	last    float64 // floor
	speech  float64 // running average of the power of speech
}

// A Sound is what a VAD found in one frame.
type Sound struct {
	Speech bool
	// Retracted is how many frames before this one were taken for speech, or may have been, though they belong to what
	// by now is known for a tone or for music.
	Retracted int
	Active    bool    // louder than the noise, whatever it is
	Age       int     // frames since it began to sound, with rests of up to vadRest frames; 0 when not active
	Tone      int     // of these, frames in which it stood still
	Music     bool    // sustained notes
	Held      int     // frames for which the sound has stood still: a tone or a note; 0 until vadHold
	Power     float64 // mean power above 200 Hz, as Power gives it
	Floor     float64 // the noise's mean power
	Hz        float64 // of the strongest line; 0 when not active
	Purity    float64 // share of the power that the strongest line has
	Flatness  float64 // of the spectrum, 0 to 1; 0 when not active
	Ripple    float64 // quietest over loudest quarter of the frame: near 1 for a single tone
}

// Write hears the next frame of FrameSamples samples; what is longer is not heard.
func (v *VAD) Write(frame []int16) Sound {
	copy(v.window[:], v.window[FrameSamples:])
	fresh := v.window[spectrumSize-FrameSamples:]
	v.highPass(fresh, frame[:FrameSamples])
	s := Sound{}
	s.Power, s.Ripple = envelope(fresh)
	s.Floor = v.floor(s.Power)
	v.frames++
	threshold := max(s.Floor*vadThreshold, least, v.speech/vadFaint)
	if v.count[0] > 0 {
		threshold = max(s.Floor*vadGoesOn, quietest)
	}
	if s.Power < threshold {
		s.Retracted = v.quiet()
		return s
	}
	s.Active = true
	spectrum(&v.bins, &v.window)
	total := sumOfBins(v.bins[3:])
	v.lines[1], v.count[1] = v.lines[0], v.count[0]
	v.count[0] = strongestLines(&v.lines[0], &v.bins)
	s.Flatness = flatness(&v.bins)
	if v.count[0] > 0 && total > 0 {
		s.Hz, s.Purity = float64(v.lines[0][0].hz), float64(v.lines[0][0].power/total)
	}
	steady, still := v.follow(total)
	if steady {
		v.toneHz, v.toneAt = s.Hz, v.frames
	} else if v.frames-v.toneAt <= vadAgain && v.again(s, total) {
		steady, still = true, 1
	}
	s.Retracted = v.judge(still)
	s.Music, s.Age = v.music, v.sound
	switch {
	case !steady:
		v.held = 0
	case v.held == 0:
		v.held = vadHold
		v.tone += vadHold
		s.Retracted = max(s.Retracted, min(vadHold-1, v.frames-1))
	default:
		v.held++
		v.tone++
	}
	s.Held, s.Tone = v.held, v.tone
	switch {
	case s.Held > 0, s.Music:
	case s.Flatness < vadFlat:
		v.voiced = vadHiss
		s.Speech = true
	case v.voiced > 0:
		v.voiced--
		s.Speech = true
	}
	if s.Speech {
		v.speech += (s.Power - v.speech) / vadMemory
	}
	return s
}

// quiet takes a frame in which nothing sounds; enough of them end what did. It says how many frames before this one belong
// to a note that was too short to be known for one.
func (v *VAD) quiet() (retracted int) {
	v.voiced = 0
	if v.rest++; v.rest != vadRest {
		return 0
	}
	if !v.music && v.sound >= vadNote && v.still >= vadMusic {
		retracted = min(v.sound+v.rest-1, maxRetracted)
	}
	v.count[0], v.centre, v.beats, v.held = 0, 0, 0, 0
	v.sound, v.tone, v.still, v.music = 0, 0, 0, false
	return retracted
}

// judge says whether the sound is music by now, and how many frames before this one belong to it that were not known
// to. Its first frames cannot have lines that have stood still.
func (v *VAD) judge(still float64) (retracted int) {
	if v.sound == 0 {
		v.rest = 0
	}
	v.sound += 1 + v.rest
	v.rest = 0
	if n := v.sound - vadHold + 1; n > 0 {
		v.still += (still - v.still) / float64(min(n, vadMemory))
	}
	v.compare()
	was := v.music
	v.music = v.sound >= vadTune && v.still >= vadMusic || v.matched >= vadCompared && v.alike >= vadAlike
	if v.music && !was {
		return min(v.sound-1, maxRetracted)
	}
	return 0
}

// compare takes the frame into the mean spectrum, and from time to time sees how far that is the one of 200 ms ago: chords
// last longer than syllables, and a band stays what it is.
func (v *VAD) compare() {
	const lowest, highest = 8, 118 // bins: 250 to 3,700 Hz
	mean, bins := v.mean[lowest:highest], v.bins[lowest:highest]
	weight := float32(vadSmooth)
	if v.sound == 1 {
		weight, v.matched = 1, 0
	}
	for k, p := range bins {
		mean[k] += weight * (p - mean[k])
	}
	if v.sound%vadCompare != 0 {
		return
	}
	if before := v.before[lowest:highest]; v.sound > vadCompare {
		var now, then, common float32
		for k, p := range mean {
			now, then = now+p, then+before[k]
		}
		if now > 0 && then > 0 {
			for k, p := range mean {
				common += min(p/now, before[k]/then)
			}
		}
		v.matched++
		v.alike += (float64(common/(2-common)) - v.alike) / float64(min(v.matched, vadRecent))
	}
	v.before = v.mean
}

var (
	least     = dBm0(vadLeast)
	quietest  = dBm0(vadQuietest)
	lowFloor  = dBm0(vadLowFloor)
	loudFloor = dBm0(vadLoudFloor)
)

// highPass writes frame without what is below 200 Hz, where telephones carry no speech but hum and rumble: a second
// order Butterworth filter. It is written out for four samples at a time, each from the two before the four: one that
// waits for the one before takes three times as long.
func (v *VAD) highPass(dst []float32, frame []int16) {
	x1, x2, y1, y2 := v.past.x1, v.past.x2, v.past.y1, v.past.y2
	h, q := &hp.h, &hp.q
	for len(frame) >= 4 && len(dst) >= 4 {
		a, b, c, d := float32(frame[0]), float32(frame[1]), float32(frame[2]), float32(frame[3])
		v0, v1, v2, v3 := hp.b*(a-2*x1+x2), hp.b*(b-2*a+x1), hp.b*(c-2*b+a), hp.b*(d-2*c+b)
		w1 := v1 + h[1]*v0
		w2 := v2 + h[1]*v1 + h[2]*v0
		w3 := v3 + h[1]*v2 + h[2]*v1 + h[3]*v0
		dst[0], dst[1] = v0+(h[1]*y1+q[1]*y2), w1+(h[2]*y1+q[2]*y2)
		y1, y2 = w3+(h[4]*y1+q[4]*y2), w2+(h[3]*y1+q[3]*y2)
		dst[2], dst[3] = y2, y1
		x1, x2 = d, c
		frame, dst = frame[4:], dst[4:]
	}
	v.past.x1, v.past.x2, v.past.y1, v.past.y2 = x1, x2, y1, y2
}

// hp has the filter's coefficients: h is its answer to an impulse, without the zeros, and q what of that comes by the
// older one of two samples.
var hp = func() (c struct {
	b    float32
	h, q [5]float32
}) {
	k := math.Tan(math.Pi * 200 / SampleRate)
	norm := 1 + math.Sqrt2*k + k*k
	a1, a2 := 2*(k*k-1)/norm, (1-math.Sqrt2*k+k*k)/norm
	c.b = float32(1 / norm)
	for i, before, now := 0, 0.0, 1.0; i < len(c.h); i++ {
		c.h[i], c.q[i] = float32(now), float32(-a2*before)
		before, now = now, -a1*now-a2*before
	}
	return c
}()

// envelope is the mean power of a frame, and its quietest quarter over its loudest.
func envelope(frame []float32) (power, ripple float64) {
	low, high := math.Inf(1), 0.0
	for q := range 4 {
		part := float64(sumOfSquares(frame[q*FrameSamples/4 : (q+1)*FrameSamples/4]))
		power += part
		low, high = min(low, part), max(high, part)
	}
	if high > 0 {
		ripple = low / high
	}
	return power / FrameSamples, ripple
}

// sumOfSquares is that of samples, whose number divides by four.
func sumOfSquares(samples []float32) float32 {
	var a, b, c, d float32
	for ; len(samples) >= 4; samples = samples[4:] {
		a += samples[0] * samples[0]
		b += samples[1] * samples[1]
		c += samples[2] * samples[2]
		d += samples[3] * samples[3]
	}
	return a + b + (c + d)
}

// floor is the power of the noise: that of the quietest frame of the last 1.6 s, which lies between two syllables at
// the latest. A tone is no noise, however long it sounds.
func (v *VAD) floor(power float64) float64 {
	block := v.frames / vadBlock
	at := &v.minimum[block%vadBlocks]
	if v.frames%vadBlock == 0 {
		*at = math.Inf(1)
	}
	if v.held == 0 && !v.music {
		*at = min(*at, power)
	}
	floor := slices.Min(v.minimum[:min(block+1, vadBlocks)])
	if math.IsInf(floor, 1) {
		floor = v.last
	}
	v.last = min(max(floor, lowFloor), loudFloor)
	return v.last
}

// follow finds the lines of the frame before in this one. still is the share of the lines' power that has stood still for
// vadHold frames, and steady reports whether that is most of the power: a tone sounds, or a chord.
func (v *VAD) follow(total float32) (steady bool, still float64) {
	var sum, old float32
	for i := range v.lines[0][:v.count[0]] {
		l := &v.lines[0][i]
		l.from = l.hz
		for _, before := range v.lines[1][:v.count[1]] {
			if near(l.hz, before.hz, vadDriftHz) && near(l.hz, before.from, vadGlideHz) && l.age <= before.age {
				l.age, l.from = before.age+1, before.from
			}
		}
		sum += l.power
		if l.age >= vadHold-1 {
			old += l.power
		}
	}
	centre, share := v.narrow(total)
	if share >= vadNarrow && math.Abs(centre-v.centre) < vadBeatHz {
		v.beats++
	} else {
		v.beats, v.centre = 0, centre
	}
	if v.beats >= vadHold-1 {
		return true, 1
	}
	if sum == 0 {
		return false, 0
	}
	return sum >= vadTonal*total && old >= vadSteady*sum, float64(old / sum)
}

// again reports whether the last tone goes on in this frame, after a packet was lost.
func (v *VAD) again(s Sound, total float32) bool {
	if s.Purity >= vadTonal {
		return math.Abs(s.Hz-v.toneHz) < vadGlideHz
	}
	_, share := v.narrow(total)
	return share >= vadNarrow && math.Abs(s.Hz-v.toneHz) < 4*vadBeatHz
}

func near(a, b, apart float32) bool { return a-b < apart && b-a < apart }

// narrow is the middle of the band of nine bins around the strongest line, and its share of the power, when that line lies
// where exchanges have their tones. Two of these that are 40 Hz apart have no steady lines: they beat.
func (v *VAD) narrow(total float32) (centre, share float64) {
	const lowest, highest, side = 11, 20, 4 // bins: 340 to 640 Hz
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
func span[T int | int32](n T) time.Duration { return time.Duration(n) * FrameDuration }
