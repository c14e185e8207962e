package session

import (
	"context"
	"encoding/json"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/offhook/offhook/internal/audio"
	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/twilio"
	"github.com/offhook/offhook/internal/twiml"
)

const (
	// earful is how much is heard before the detector gets it, 100 ms: fewer wake-ups cost less, and nobody notices.
	earful = 5 * audio.FrameSamples
	// earsOrder is how far behind the newest sample another may come for a place before it, 40 ms.
	earsOrder = 2 * audio.FrameSamples
	// earsPatience is how much longer than a tap does ears wait where nothing comes, 340 ms: a network that stops for
	// that long does not make silence.
	earsPatience = 17 * audio.FrameSamples
	// earsSize is what waits for a detector that is slow, 2 s, a power of two; of the rest only its length is known.
	earsSize = 1 << 14
	// amdGrace is how much longer than its time-out a detection may take on a leg that gives no samples.
	amdGrace = time.Second
	// sampleSize is how much of a call is kept for tuning, 30 s.
	sampleSize = 30 * audio.SampleRate
)

// SampleKeeper keeps what called parties said first, for whoever tunes machine detection. Safe for concurrent use.
type SampleKeeper interface {
	// Begin reports whether a sample may be made now; who may calls Keep once.
	Begin() bool
	// Keep takes the sample of a call, which it may change, and what was found out. It waits for the disk.
	Keep(ulaw []byte, found call.Detection)
}

// detection finds out, beside the session's loop, whether a person or a machine answered.
type detection struct {
	settings call.MachineDetection
	blocks   bool // the first instruction waits for it. The loop's own
	ears     *ears
	untap    func()
	found    chan call.Detection // one value; none when the call ends first
}

// waits reports whether the first instruction of the call waits for d.
func (d *detection) waits() bool { return d != nil && d.blocks }

// verdict is where it arrives; nil blocks when nothing is detected.
func (d *detection) verdict() <-chan call.Detection {
	if d == nil {
		return nil
	}
	return d.found
}

// tell tells the verdict, the first only.
func (d *detection) tell(found call.Detection) {
	select {
	case d.found <- found:
	default:
	}
}

// detect begins the detection that the call asked for, if it did. Loop only.
func (s *Session) detect() {
	o := s.call.Options.MachineDetection
	if o == nil {
		return
	}
	d := &detection{settings: *o, blocks: !o.Async, ears: newEars(), found: make(chan call.Detection, 1)}
	d.untap = s.leg.Tap(d.ears)
	s.detection = d
	s.trace("machine detection begins: %s", o.Mode)
	s.m.sessions.Go(func() {
		defer d.untap()
		if s.guarded(func() error { s.listen(d); return nil }) != nil {
			d.tell(s.foundOut(d, audio.AMDVerdict{AnsweredBy: audio.AnsweredUnknown}, nil))
		}
	})
}

// listen hears the party until it is known who answered, and on as long as what it says is kept.
func (s *Session) listen(d *detection) {
	o := &d.settings
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	timeout := time.Duration(o.Timeout) * time.Second
	detector := audio.NewAMD(audio.AMDConfig{
		MessageEnd: o.Mode == call.DetectMessageEnd, Timeout: timeout, SpeechThreshold: ms(o.SpeechThreshold),
		SpeechEndThreshold: ms(o.SpeechEndThreshold), SilenceTimeout: ms(o.SilenceTimeout),
	})
	late := s.newTimer(timeout + amdGrace)
	defer late.free()
	var sample []byte
	var found call.Detection
	if k := s.m.Samples; k != nil && k.Begin() {
		sample = make([]byte, 0, sampleSize)
		defer func() {
			if found.AnsweredBy == "" {
				found = s.foundOut(d, audio.AMDVerdict{}, detector)
			}
			k.Keep(sample, found)
		}()
	}
	var heard []byte
	var pcm []int16
	for {
		expired := false
		select {
		case <-d.ears.wake:
		case <-late.C():
			expired = true
		case <-s.done:
			return
		}
		var missed bool
		if heard, missed = d.ears.take(heard[:0]); missed {
			detector.Missed()
		}
		sample = append(sample, heard[:min(len(heard), cap(sample)-len(sample))]...)
		if found.AnsweredBy == "" {
			pcm = audio.AppendDecodedULaw(pcm[:0], heard)
			verdict, ok := detector.Write(pcm)
			if expired && !ok {
				verdict, ok = detector.Expire(), true
			}
			if ok {
				found = s.foundOut(d, verdict, detector)
				d.tell(found)
			}
		}
		if found.AnsweredBy != "" && len(sample) == cap(sample) {
			return
		}
	}
}

// foundOut is what is kept of a detection. It touches nothing of the loop's.
func (s *Session) foundOut(d *detection, v audio.AMDVerdict, detector *audio.AMD) call.Detection {
	found := call.Detection{
		CallSID: s.sid, AccountSID: s.snapshot.Load().AccountSID, Time: s.m.Clock.Now(),
		AnsweredBy: v.AnsweredBy, After: v.After, Rule: v.Rule, Settings: d.settings,
	}
	if detector != nil {
		trace, err := json.Marshal(detector.Trace())
		if err != nil { // numbers and words encode
			panic("session: trace of a detection: " + err.Error())
		}
		found.Trace = trace
	}
	return found
}

// onDetected goes on with who answered: with the first instruction, if that waited. Loop only.
func (s *Session) onDetected(found call.Detection) {
	waited := s.detection.waits()
	s.detection = nil
	s.m.metrics.detected(found.AnsweredBy)
	s.trace("answered by %s, known after %d ms by %s", found.AnsweredBy, found.After.Milliseconds(), found.Rule)
	c := s.call
	c.AnsweredBy = found.AnsweredBy
	s.unsaved.Detections = append(s.unsaved.Detections, found)
	params := url.Values{
		"AnsweredBy": {found.AnsweredBy}, "MachineDetectionDuration": {strconv.FormatInt(found.After.Milliseconds(), 10)},
	}
	if o := &found.Settings; o.CallbackURL != "" { // these four and no more (call-lifecycle section 3.4)
		told := url.Values{"CallSid": {c.SID}, "AccountSid": {c.AccountSID}}
		for name, value := range params {
			told[name] = value
		}
		s.unsaved.Callbacks = append(s.unsaved.Callbacks, call.Callback{
			ID: twilio.NewSIDAt("EV", found.Time), CallSID: c.SID, AccountSID: c.AccountSID, Seq: c.EventSeq,
			Method: o.CallbackMethod, URL: o.CallbackURL, Params: told, CreatedAt: found.Time,
		})
	}
	event := ""
	if waited {
		event = "in-progress"
	}
	if err := s.save(event, "", laterTimeout); err != nil {
		s.storeFailed(err)
	}
	if waited && !s.over {
		s.begin(func(s *Session, ctx context.Context) (*document, error) { return s.open(ctx, params) })
	}
}

// hearOn has the detection wait as long as the party is on hold or muted. Loop only.
func (s *Session) hearOn() {
	if s.detection != nil {
		s.detection.ears.deafen(s.call.Options.Held || s.call.Options.Muted)
	}
}

// goAhead has the first instruction of the call wait no longer: the API gave it another. Who answered is found out
// all the same, for the resource and the last callback. Loop only.
func (s *Session) goAhead() {
	if !s.detection.waits() {
		return
	}
	s.detection.blocks = false
	if err := s.save("in-progress", "", laterTimeout); err != nil {
		s.storeFailed(err)
	}
}

// detection has it found out beside the conversation who answers the call c of a noun, if o asks for that. One that
// sends digits talks to a machine for sure.
func (d *dialing) detection(c *call.Call, o *twiml.MachineDetection) error {
	if o == nil || c.Options.SendDigits != "" {
		return nil
	}
	m := &call.MachineDetection{
		Mode: o.Mode, Timeout: int(o.Timeout / time.Second), SpeechThreshold: int(o.SpeechThreshold.Milliseconds()),
		SpeechEndThreshold: int(o.SpeechEndThreshold.Milliseconds()), SilenceTimeout: int(o.SilenceTimeout.Milliseconds()),
		Async: true, CallbackMethod: o.StatusCallbackMethod,
	}
	if o.StatusCallback != "" {
		target, err := d.s.resolve(d.doc, o.StatusCallback)
		if err != nil {
			return err
		}
		m.CallbackURL = target
	}
	c.Options.MachineDetection = m
	return nil
}

// ears is the tap of a detection. It puts what the party says into order, for one who takes it.
type ears struct {
	wake chan struct{} // there is an earful; capacity 1

	mu    sync.Mutex
	deaf  bool
	lost  bool // something since what was taken last
	begun bool
	told  int64 // where the last earful ended
	next  int64 // place of the first sample that was not taken
	whole int64 // and of the first that is waited for
	ring  [earsSize]byte
}

func newEars() *ears {
	e := &ears{wake: make(chan struct{}, 1)}
	hush(e.ring[:])
	return e
}

func hush(ulaw []byte) {
	for i := range ulaw {
		ulaw[i] = audio.ULawSilence
	}
}

// Write is audio.Tap's. What was said before the clock told the time first is not heard.
func (e *ears) Write(track int, at int64, ulaw []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.deaf:
	case track != audio.Inbound:
		if ulaw == nil && !e.begun {
			e.begun, e.told, e.next, e.whole = true, at, at, at
		}
	case !e.begun:
	case ulaw == nil:
		e.complete(at - earsPatience)
	default:
		e.complete(at + int64(len(ulaw)) - earsOrder)
		if early := e.next - at; early > 0 {
			at, ulaw = at+early, ulaw[min(early, int64(len(ulaw))):]
		}
		for len(ulaw) > 0 && at < e.next+earsSize {
			i := at % earsSize
			n := int64(copy(e.ring[i:min(earsSize, i+e.next+earsSize-at)], ulaw))
			at, ulaw = at+n, ulaw[n:]
		}
	}
}

// deafen keeps what comes from the detection, whose clock stands still meanwhile: the silence of a party that is put
// aside or muted says nothing about who it is.
func (e *ears) deafen(on bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.deaf == on {
		return
	}
	e.deaf, e.lost, e.begun, e.next = on, true, false, e.whole
	hush(e.ring[:])
}

// complete says that nothing before at is waited for.
func (e *ears) complete(at int64) {
	if e.whole = max(e.whole, at); e.whole-e.told < earful {
		return
	}
	e.told = e.whole
	select {
	case e.wake <- struct{}{}:
	default: // it was told, and takes all
	}
}

// take appends what is complete to ulaw: whole frames, silent where nothing came. It says whether the party was not
// heard for a while before that.
func (e *ears) take(ulaw []byte) (heard []byte, missed bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	missed, e.lost = e.lost && !e.deaf, e.lost && e.deaf
	for e.next < e.whole {
		i := e.next % earsSize
		part := e.ring[i:min(earsSize, i+e.whole-e.next)]
		ulaw = append(ulaw, part...)
		hush(part)
		e.next += int64(len(part))
	}
	return ulaw, missed
}
