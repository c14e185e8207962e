package audio

import (
	"cmp"
	"math"
	"time"
)

// Who answered, as AnsweredBy says it.
const (
	AnsweredHuman             = "human"
	AnsweredMachineStart      = "machine_start"
	AnsweredMachineEndBeep    = "machine_end_beep"
	AnsweredMachineEndSilence = "machine_end_silence"
	AnsweredMachineEndOther   = "machine_end_other"
	AnsweredFax               = "fax"
	AnsweredUnknown           = "unknown"
)

// Rules that decide, for AMDVerdict.
const (
	RuleInitialSilence = "initial_silence" // nobody spoke for SilenceTimeout
	RuleShortUtterance = "short_utterance" // speech of at most SpeechThreshold, then SpeechEndThreshold of silence
	RuleLongUtterance  = "long_utterance"  // speech went on for more than SpeechThreshold
	RuleBeep           = "beep"            // a machine's single tone
	RuleMessageEnd     = "message_end"     // silence after a machine's greeting
	RuleCNG            = "cng"             // a fax machine's calling tone, 1100 Hz
	RuleCED            = "ced"             // a fax machine's answer tone, 2100 Hz
	RuleTimeout        = "timeout"         // the time was up
)

// messageEndSilence is the least silence that ends a machine's greeting: people pause before "leave a message", and a
// machine before its beep.
const messageEndSilence = 2200 * time.Millisecond

// Figures of the decision beside those that callers choose.
const (
	amdFirst  = 5                // frames of speech that begin an utterance: 100 ms
	amdAgain  = 3                // frames of speech that continue it after a pause: a click is shorter
	amdPause  = 5                // frames without speech that are a pause
	amdTone   = 150              // frames a tone is waited for that sounds when a greeting seems over: 3 s
	amdRing   = 18               // frames after which a tone is the ringing of a call that was answered too early
	amdRecall = maxRetracted + 4 // frames whose progress is remembered
)

// Ringing tones lie between these, in Hz; the stronger of two may be either.
const ringLowest, ringHighest, ringBeat = 380, 500, 50

// ringRest is a little more than the longest pause between two rings, in Austria, Portugal and Sweden.
const ringRest = 5500 * time.Millisecond

// AMDConfig is what answering-machine detection goes by, after Twilio's MachineDetection parameters. The zero value has
// Twilio's defaults.
type AMDConfig struct {
	MessageEnd         bool          // wait for a machine's greeting to end: DetectMessageEnd
	Timeout            time.Duration // when to give up; default 30 s
	SpeechThreshold    time.Duration // a longer first utterance is a machine's; default 2.4 s
	SpeechEndThreshold time.Duration // silence that ends it; default 1.2 s
	SilenceTimeout     time.Duration // silence at first that ends the detection; default 5 s
}

// AMD detects answering machines in what the called party is heard to say from its answer on. It is not for
// concurrent use. See docs/amd.md for its rules.
type AMD struct {
	cfg     AMDConfig
	vad     VAD
	tones   tones
	frame   [FrameSamples]int16
	filled  int   // samples of frame
	heard   int32 // whole frames
	ringing int32 // frame after the last one of a ringing tone
	ringHz  float64
	now     progress
	past    [amdRecall]progress // before each of the last frames
	missed  int32               // frame before which something was not heard; -1: all was
	verdict AMDVerdict          // AnsweredBy == "": none yet
	trace   trace
}

// progress is what a frame may change that is later found to be no speech.
type progress struct {
	phase phase
	start int32 // frame in which the utterance began
	last  int32 // frame after the last one of speech
	run   int32 // frames of speech since the last pause
	spans int32 // of the trace
	end   int32 // of its last span
	cut   bool  // only a part of the utterance was heard
}

type phase int32

const (
	waiting  phase = iota // for somebody to speak
	speaking              // the first utterance
	greeting              // a machine's, until it ends
)

// AMDVerdict is what answered, and how that was found.
type AMDVerdict struct {
	AnsweredBy string        // one of the Answered constants
	After      time.Duration // of heard audio since the answer
	Rule       string        // one of the Rule constants
}

// NewAMD is a detector that has heard nothing.
func NewAMD(cfg AMDConfig) *AMD {
	cfg.Timeout = cmp.Or(cfg.Timeout, 30*time.Second)
	cfg.SpeechThreshold = cmp.Or(cfg.SpeechThreshold, 2400*time.Millisecond)
	cfg.SpeechEndThreshold = cmp.Or(cfg.SpeechEndThreshold, 1200*time.Millisecond)
	cfg.SilenceTimeout = cmp.Or(cfg.SilenceTimeout, 5*time.Second)
	return &AMD{cfg: cfg, missed: -1}
}

// Write hears the next samples and says whether a verdict stands. It is reached after whole frames of FrameSamples; what
// comes after it is not heard.
func (a *AMD) Write(pcm []int16) (AMDVerdict, bool) {
	for len(pcm) > 0 && a.verdict.AnsweredBy == "" {
		n := copy(a.frame[a.filled:], pcm)
		pcm = pcm[n:]
		a.fill(n)
	}
	return a.verdict, a.verdict.AnsweredBy != ""
}

// WriteULaw is Write of µ-law samples.
func (a *AMD) WriteULaw(ulaw []byte) (AMDVerdict, bool) {
	for len(ulaw) > 0 && a.verdict.AnsweredBy == "" {
		n := min(len(ulaw), FrameSamples-a.filled)
		expand(a.frame[a.filled:], ulaw[:n])
		ulaw = ulaw[n:]
		a.fill(n)
	}
	return a.verdict, a.verdict.AnsweredBy != ""
}

// fill says that n samples more of the frame are there.
func (a *AMD) fill(n int) {
	if a.filled += n; a.filled == FrameSamples {
		a.filled = 0
		a.next(a.vad.Write(a.frame[:]))
	}
}

// Missed says that the party was not heard for a while before what comes next, as on hold. An utterance of which a part
// may have gone by is no person's only because the rest is short: such a verdict is unknown then.
func (a *AMD) Missed() {
	a.missed = a.heard
	a.now.miss()
	for i := range a.past {
		a.past[i].miss()
	}
}

func (p *progress) miss() { p.cut = p.cut || p.phase == speaking }

// Expire is the verdict once the caller's time is up, whether or not audio came.
func (a *AMD) Expire() AMDVerdict {
	if a.verdict.AnsweredBy == "" {
		a.timeout()
	}
	return a.verdict
}

func (a *AMD) decide(answeredBy, rule string) {
	a.verdict = AMDVerdict{AnsweredBy: answeredBy, After: span(a.heard), Rule: rule}
}

func (a *AMD) timeout() {
	if a.now.phase == greeting {
		a.decide(AnsweredMachineEndOther, RuleTimeout)
		return
	}
	a.decide(AnsweredUnknown, RuleTimeout)
}

// next takes one frame.
func (a *AMD) next(s Sound) {
	n := a.heard // its number
	a.heard++
	a.trace.level(s)
	if s.Retracted > 0 {
		a.retract(n, int32(s.Retracted))
	}
	a.past[n%amdRecall] = a.now
	tone, ended := a.tones.next(s)
	if s.Speech {
		a.speech(n)
	} else if n-a.now.last >= amdPause {
		a.now.run = 0
	}
	quiet := span(a.heard - a.now.last)
	if rule, ok := a.tones.now.fax(); ok && (a.now.phase == waiting || a.now.phase == speaking && rule == RuleCED) {
		a.trace.tone(a.tones.now)
		a.decide(AnsweredFax, rule)
		return
	}
	if ended {
		a.trace.tone(tone)
		if tone.beep(a.now.phase == waiting) {
			a.machine(AnsweredMachineEndBeep, RuleBeep)
			return
		}
	}
	switch a.now.phase {
	case waiting:
		if a.rings(s) {
			a.ringing = a.heard
		}
		if quiet >= a.cfg.SilenceTimeout && a.now.run == 0 && (a.ringing == 0 || span(a.heard-a.ringing) >= max(a.cfg.SilenceTimeout, ringRest)) {
			a.decide(AnsweredUnknown, RuleInitialSilence)
			return
		}
	case speaking:
		switch {
		case span(a.now.last-a.now.start) > a.cfg.SpeechThreshold:
			a.now.phase = greeting
			if !a.cfg.MessageEnd {
				a.machine("", RuleLongUtterance)
				return
			}
		case quiet >= a.cfg.SpeechEndThreshold && !a.toneSounds():
			by := AnsweredHuman
			if a.now.cut {
				by = AnsweredUnknown
			}
			a.decide(by, RuleShortUtterance)
			return
		}
	case greeting:
		if quiet >= max(a.cfg.SpeechEndThreshold, messageEndSilence) && !a.toneSounds() {
			a.machine(AnsweredMachineEndSilence, RuleMessageEnd)
			return
		}
	}
	if span(a.heard) >= a.cfg.Timeout {
		a.timeout()
	}
}

// rings reports whether s belongs to a ringing tone: held from the beginning, unlike the notes of a tune at one pitch.
func (a *AMD) rings(s Sound) bool {
	switch {
	case s.Tone < amdRing || 4*s.Tone < 3*s.Age:
		if s.Age > 0 && s.Age < amdRing {
			a.ringHz = s.Hz
		}
		return false
	case s.Hz < ringLowest, s.Hz > ringHighest, math.Abs(s.Hz-a.ringHz) > ringBeat:
		a.ringHz = 0 // a tune
		return false
	}
	return true
}

// retract forgets what the frames from n-frames to n-1 have changed.
func (a *AMD) retract(n, frames int32) {
	a.now = a.past[(n-frames)%amdRecall]
	for i := n - frames; i < n; i++ {
		a.past[i%amdRecall] = a.now
	}
	a.trace.back(a.now)
}

// machine is the verdict that a machine answered; end is how its greeting ended, if that was asked for.
func (a *AMD) machine(end, rule string) {
	if !a.cfg.MessageEnd {
		end = AnsweredMachineStart
	}
	a.decide(end, rule)
}

// toneSounds reports whether a tone sounds that may become a beep, or just has: what it is will be known soon.
func (a *AMD) toneSounds() bool {
	t := a.tones.now
	return t.good >= 3 && t.frames < amdTone
}

// speech takes frame n as speech. One that begins or continues an utterance only counts with enough after it.
func (a *AMD) speech(n int32) {
	p := &a.now
	p.run++
	switch {
	case p.phase == waiting && p.run >= amdFirst:
		p.phase, p.start = speaking, n+1-p.run
		p.cut = a.missed >= 0 && p.start <= a.missed+amdFirst
		p.last = n + 1
	case p.phase != waiting && p.run >= amdAgain:
		p.last = n + 1
	default:
		return
	}
	a.trace.speech(p, n)
}

// AMDTrace is how a verdict came about, small enough to be kept with a call. Times are milliseconds since the answer.
type AMDTrace struct {
	AnsweredBy  string   `json:"answered_by,omitempty"` // empty: no verdict yet
	Rule        string   `json:"rule,omitempty"`
	AfterMs     int      `json:"after_ms"`              // when the verdict fell, else what was heard
	Speech      [][2]int `json:"speech"`                // from, to
	Tones       [][3]int `json:"tones,omitempty"`       // from, to, Hz
	Truncated   bool     `json:"truncated,omitempty"`   // more speech or tones than are kept
	UtteranceMs int      `json:"utterance_ms"`          // from the first to the last speech
	SilenceMs   int      `json:"silence_ms"`            // since the last speech
	SpeechDBm0  float64  `json:"speech_dbm0,omitempty"` // mean level of the frames that were speech
	NoiseDBm0   float64  `json:"noise_dbm0"`            // noise floor in the end
}

// Bounds of a trace, which keep its JSON below 4 KiB.
const (
	maxSpans = 160
	maxTones = 40
)

// trace is what an AMD writes down of frames, in numbers of frames.
type trace struct {
	spans     [maxSpans][2]uint16
	tones     [maxTones]struct{ from, to, hz uint16 }
	toneCount int
	truncated bool
	power     float64 // sum over the frames of speech
	loud      int     // how many
	floor     float64
}

func (t *trace) level(s Sound) {
	t.floor = s.Floor
	if s.Speech {
		t.power += s.Power
		t.loud++
	}
}

// speech adds frame n; pauses of less than amdPause do not part two spans.
func (t *trace) speech(p *progress, n int32) {
	if p.spans == 0 || n-p.end > amdPause {
		if p.spans == maxSpans {
			t.truncated = true
			return
		}
		t.spans[p.spans] = [2]uint16{uint16(n + 1 - p.run), 0}
		p.spans++
	}
	p.end = n + 1
	t.spans[p.spans-1][1] = uint16(p.end)
}

// back restores the last span to what it was.
func (t *trace) back(p progress) {
	if p.spans > 0 {
		t.spans[p.spans-1][1] = uint16(p.end)
	}
}

func (t *trace) tone(tone tone) {
	if tone.good < beepShort {
		return
	}
	if t.toneCount == maxTones {
		t.truncated = true
		return
	}
	at := &t.tones[t.toneCount]
	at.from, at.to, at.hz = uint16(tone.start), uint16(tone.start+tone.frames), uint16(math.Round(tone.hz))
	t.toneCount++
}

// Trace is how the detection stands, or ended.
func (a *AMD) Trace() AMDTrace {
	ms := func(frames int32) int { return int(span(frames).Milliseconds()) }
	t := AMDTrace{
		AnsweredBy: a.verdict.AnsweredBy, Rule: a.verdict.Rule, AfterMs: ms(a.heard), Speech: [][2]int{},
		Truncated: a.trace.truncated, SilenceMs: ms(a.heard - a.now.last), NoiseDBm0: levelOfPower(a.trace.floor),
	}
	for _, s := range a.trace.spans[:a.now.spans] {
		t.Speech = append(t.Speech, [2]int{ms(int32(s[0])), ms(int32(s[1]))})
	}
	for _, s := range a.trace.tones[:a.trace.toneCount] {
		t.Tones = append(t.Tones, [3]int{ms(int32(s.from)), ms(int32(s.to)), int(s.hz)})
	}
	if a.now.phase != waiting {
		t.UtteranceMs = ms(a.now.last - a.now.start)
	}
	if a.trace.loud > 0 {
		t.SpeechDBm0 = levelOfPower(a.trace.power / float64(a.trace.loud))
	}
	return t
}

// levelOfPower is a mean power in dBm0, to a tenth; -90 for silence.
func levelOfPower(power float64) float64 {
	return math.Round(100*math.Log10(max(power/dBm0(0), 1e-9))) / 10
}
