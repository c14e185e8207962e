package session

import (
	"context"
	"encoding/json"
	"net/url"
	"strconv"
	"time"

	"github.com/offhook/offhook/internal/audio"
	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/twilio"
	"github.com/offhook/offhook/internal/twiml"
)

const (
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
	// Forget removes the sample of a call, if there is one.
	Forget(callSID string)
}

// detection finds out, beside the session's loop, whether a person or a machine answered.
type detection struct {
	settings call.MachineDetection
	blocks   bool // the first instruction waits for it. The loop's own
	ears     *ears
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
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	d := &detection{settings: *o, blocks: !o.Async, found: make(chan call.Detection, 1), ears: newEars(audio.NewAMD(audio.AMDConfig{
		MessageEnd: o.Mode == call.DetectMessageEnd, Timeout: time.Duration(o.Timeout) * time.Second,
		SpeechThreshold: ms(o.SpeechThreshold), SpeechEndThreshold: ms(o.SpeechEndThreshold), SilenceTimeout: ms(o.SilenceTimeout),
	}))}
	s.detection = d
	s.trace("machine detection begins: %s", o.Mode)
	leg := s.leg
	s.m.sessions.Go(func() {
		if s.guarded(func() error { s.listen(d, leg); return nil }) != nil {
			d.tell(s.foundOut(d, audio.AMDVerdict{AnsweredBy: audio.AnsweredUnknown}))
		}
	})
}

// listen waits until it is known who answered the leg, and on as long as what the party says is kept.
func (s *Session) listen(d *detection, leg Leg) {
	timeout := s.newTimer(time.Duration(d.settings.Timeout)*time.Second + amdGrace)
	defer timeout.free()
	var found call.Detection
	if k := s.m.Samples; k != nil && k.Begin() {
		d.ears.keep(sampleSize)
		defer func() {
			if found.AnsweredBy == "" {
				found = s.foundOut(d, audio.AMDVerdict{})
			}
			k.Keep(d.ears.close(), found)
		}()
	}
	defer leg.Tap(d.ears)()
	select {
	case <-d.ears.decided:
	case <-timeout.C():
	case <-s.done:
		return
	}
	found = s.foundOut(d, d.ears.verdict())
	d.tell(found)
	select {
	case <-d.ears.full:
	case <-s.done:
	}
}

// foundOut is what is kept of a detection. It touches nothing of the loop's.
func (s *Session) foundOut(d *detection, v audio.AMDVerdict) call.Detection {
	found := call.Detection{
		CallSID: s.sid, AccountSID: s.snapshot.Load().AccountSID, Time: s.m.Clock.Now(),
		AnsweredBy: v.AnsweredBy, After: v.After, Rule: v.Rule, Settings: d.settings,
	}
	if trace, ok := d.ears.trace(); ok {
		var err error
		if found.Trace, err = json.Marshal(trace); err != nil { // numbers and words encode
			panic("session: trace of a detection: " + err.Error())
		}
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
