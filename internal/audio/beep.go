package audio

import (
	"math"
	"time"
)

// Figures of the beep detector. Answering machines beep once, most of them at 440 to 1,400 Hz for 200 to 600 ms.
const (
	beepLowest  = 400 // Hz
	beepHighest = 2200
	beepShort   = 5   // frames of full level; the ones at its ends come on top: 120 ms
	beepLong    = 60  // frames, 1.2 s
	beepQuiet   = 10  // frames of quiet after it, 200 ms
	beepPurity  = 0.8 // share of the power in one line
	beepRipple  = 0.4 // quietest over loudest quarter of a frame; two tones beat
	beepDriftHz = 15
	beepFaults  = 3 // frames running, within the tone or after it, that the network may have spoilt
	beepFades   = 8 // times weaker, 9 dB, is what follows the tone: quiet, an echo, or one lost frame made up
)

// A tone is one frequency held at one level.
type tone struct {
	hz     float64 // mean
	power  float64 // of its loudest frame
	start  int     // number of its first frame
	frames int     // from the first to the last that had it
	good   int     // of these
	gap    int     // frames since the last good one
	loud   int     // of these, in which something else sounded
	chased bool    // another tone went before: part of a signal or a tune
}

// tones follows single tones through the sounds of a VAD. The zero value is ready.
type tones struct {
	now tone // good == 0: none
	n   int  // frames heard
}

// next takes the next frame and returns the tone that has just ended, in quiet, when one has.
func (t *tones) next(s Sound) (ended tone, ok bool) {
	n := t.n
	t.n++
	pure := s.Active && s.Purity >= beepPurity && s.Ripple >= beepRipple
	now := &t.now
	same := pure && now.good > 0 && math.Abs(s.Hz-now.hz) < beepDriftHz && s.Power < 2*now.power && 2*s.Power > now.power
	switch {
	case same && now.gap <= beepFaults:
		now.good++
		now.frames = n - now.start + 1
		now.gap, now.loud = 0, 0
		now.hz += (s.Hz - now.hz) / float64(now.good)
		now.power = max(now.power, s.Power)
	case now.good > 0 && (!s.Active || s.Power*beepFades < now.power):
		if now.gap++; now.gap >= beepQuiet {
			ended, ok = t.now, true
			t.now = tone{}
		}
	case pure && (now.good < 2 || now.gap >= beepFaults):
		// A second one within the quiet that a beep has after it belongs to a signal: SIT, busy tones, a tune.
		t.now = tone{hz: s.Hz, power: s.Power, start: n, frames: 1, good: 1, chased: now.good >= 3 || now.good > 0 && now.chased}
	case now.good > 0:
		now.gap++
		if now.loud++; now.loud > beepFaults {
			t.now = tone{}
		}
	}
	return ended, ok
}

// beep reports whether an ended tone is that of an answering machine. early is before anything was said, when a tone
// near 425 Hz is the other side's ringing, and one of a fax machine's was cut by the network and will go on.
func (t tone) beep(early bool) bool {
	progress := 10.0
	_, fax := t.fax()
	if early {
		progress = 35
		fax = t.faxRule() != ""
	}
	return !fax && t.hz >= beepLowest && t.hz <= beepHighest && math.Abs(t.hz-425) > progress &&
		t.good >= beepShort && t.frames <= beepLong && !t.chased
}

// fax reports whether a tone is, by now, a fax machine's: CNG or CED of ITU-T T.30, held for 400 ms.
func (t tone) fax() (rule string, ok bool) {
	rule = t.faxRule()
	return rule, rule != "" && time.Duration(t.frames)*FrameDuration >= faxHold
}

// faxRule is that of the fax machine's tone of t's frequency, "" for none.
func (t tone) faxRule() string {
	switch {
	case math.Abs(t.hz-1100) <= 38:
		return RuleCNG
	case math.Abs(t.hz-2100) <= 20:
		return RuleCED
	}
	return ""
}

const faxHold = 400 * time.Millisecond
