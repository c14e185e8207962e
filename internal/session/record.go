package session

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/offhook/offhook/internal/audio"
	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/twilio"
	"github.com/offhook/offhook/internal/twiml"
)

// settleWait is how long a <Record> that is over waits until its audio can be downloaded, before it says so.
const settleWait = 2 * time.Second

// beep is what a caller hears before a <Record>.
var beep = sync.OnceValue(func() *audio.Clip {
	return audio.NewClip(audio.EncodeULaw(audio.Tone(500*time.Millisecond, 1000)))
})

// recordingOf is the recording that a verb of doc asks for.
func (s *Session) recordingOf(doc *document, source string, v twiml.Recording) *call.Recording {
	r := &call.Recording{
		Status: call.RecordingInProgress, Source: source, Track: v.Track, Channels: 1, PriceUnit: "USD",
		Options: call.RecordingOptions{
			StatusURL: s.resolveOr(doc, v.StatusCallback), StatusMethod: v.StatusCallbackMethod,
			StatusEvents: v.StatusCallbackEvents, Trim: v.Trim == "trim-silence",
		},
	}
	return r
}

// resolveOr is resolve for a URL that the call can do without.
func (s *Session) resolveOr(doc *document, ref string) string {
	if ref == "" {
		return ""
	}
	target, err := s.resolve(doc, ref)
	if err != nil {
		s.notify(asTwilio(err), nil)
	}
	return target
}

// beginTape begins a recording for a verb; nil when that failed, which is told, or ctx has ended.
func (s *Session) beginTape(ctx context.Context, r *call.Recording, quiet time.Duration) *tape {
	made := make(chan *tape, 1)
	err := s.do(ctx, func() error {
		if ctx.Err() == nil && !s.over {
			made <- s.recordOr(r, quiet)
		}
		return nil
	})
	select {
	case t := <-made:
		if err != nil && t != nil { // ctx ended behind it
			s.letEnd(t)
			return nil
		}
		return t
	default:
		return nil
	}
}

// letEnd ends a recording as soon as the loop has time, for verbs that it stops.
func (s *Session) letEnd(t *tape) {
	t.capture.stop()
	s.m.sessions.Go(func() {
		_ = s.do(context.Background(), func() error { return s.endTape(t) }) // else the call's end does it
	})
}

// recordVerb runs <Record>: what the caller says until a key, silence, the longest length or the end of the call.
func (s *Session) recordVerb(ctx context.Context, doc *document, v *twiml.Record) (step, error) {
	if v.Recording.ConfigurationID != "" {
		return nextVerb, notYet(v.Line(), "<Record> recordingConfigurationId")
	}
	if _, err := s.resolve(doc, v.Action); err != nil {
		return nextVerb, err
	}
	r := s.recordingOf(doc, call.SourceRecord, v.Recording)
	r.Track = call.TrackInbound
	r.Options.MaxLength = int(v.MaxLength / time.Second)
	if v.Transcribe {
		r.Options.TranscribeURL = s.resolveOr(doc, v.TranscribeCallback)
	}
	keys := make(chan byte, 64)
	s.keys.Store(&keys)
	defer s.keys.Store(nil)
	if v.PlayBeep {
		if err := s.play(ctx, one(beep()), 1); err != nil {
			return nextVerb, err
		}
	}
	s.trace("record for at most %v", v.MaxLength)
	t := s.beginTape(ctx, r, v.Timeout)
	if t == nil {
		return nextVerb, context.Cause(ctx)
	}
	digits, err := s.taping(ctx, t, keys, v.FinishOnKey)
	if err == nil {
		err = s.do(ctx, func() error { _ = s.endTape(t); return nil }) // what the store refused is tried again
	}
	if err == nil {
		s.settled(ctx, t)
		err = context.Cause(ctx)
	}
	if err != nil {
		s.letEnd(t)
		if !errors.Is(context.Cause(ctx), errRedirected) && !t.capture.empty() {
			s.bidFarewell(ctx, doc, v.Method, v.Action, s.recorded(t, "hangup"))
		}
		return nextVerb, err
	}
	if t.capture.empty() {
		s.trace("record: the caller sent no audio")
		return nextVerb, nil
	}
	return s.jump(doc, v.Method, v.Action, s.recorded(t, digits))
}

// taping waits for the end of a <Record>, and returns the key that made it.
func (s *Session) taping(ctx context.Context, t *tape, keys <-chan byte, finish string) (key string, err error) {
	for {
		select {
		case k := <-keys:
			if strings.IndexByte(finish, k) >= 0 {
				s.trace("record: ended by a key")
				return string(k), nil
			}
		case <-t.capture.quiet:
			s.trace("record: ended by silence")
			return "", nil
		case <-t.over:
			return "", nil
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
}

// settled waits until it is known what became of a recording, but not long.
func (s *Session) settled(ctx context.Context, t *tape) {
	late := s.m.Clock.NewTimer(settleWait)
	defer late.Stop()
	select {
	case <-t.settled:
	case <-late.C():
	case <-ctx.Done():
	}
}

// recorded are the parameters of a Record's action (call-lifecycle section 3.5).
func (s *Session) recorded(t *tape, digits string) url.Values {
	p := t.params(s.m.baseURL())
	if digits != "" {
		p.Set("Digits", digits)
	}
	return p
}

// startVerb runs <Start><Recording>.
func (s *Session) startVerb(ctx context.Context, doc *document, v *twiml.StartRecording) error {
	if v.Recording.ConfigurationID != "" {
		return notYet(v.Line(), "<Recording> recordingConfigurationId")
	}
	r := s.recordingOf(doc, call.SourceTwiML, v.Recording)
	if v.Dual && r.Track == call.TrackBoth {
		r.Channels = 2
	}
	taken := false
	if err := s.do(ctx, func() error { taken = v.Label != "" && s.named(v.Label) != nil; return nil }); err != nil {
		return err
	}
	if taken {
		s.notify(&twilio.Error{Code: 12200, Message: "Start: a recording of the name " + v.Label + " runs already"}, nil)
		return nil
	}
	if t := s.beginTape(ctx, r, 0); t != nil {
		return s.do(ctx, func() error { t.name = v.Label; return nil })
	}
	return context.Cause(ctx)
}

// named is the recording of that name that a <Start> began and that runs, "" for the newest. Loop only.
func (s *Session) named(name string) (found *tape) {
	for _, t := range s.tapes {
		if t.r.Source == call.SourceTwiML && t.r.Status.Runs() && (name == "" || t.name == name) {
			found = t
		}
	}
	return found
}

// stopVerb runs <Stop><Recording>. Nothing is stopped when there is nothing of that name.
func (s *Session) stopVerb(ctx context.Context, v *twiml.StopRecording) error {
	return s.do(ctx, func() error {
		if t := s.named(v.Label); t != nil {
			_ = s.endTape(t) // what the store refused is tried again
		}
		return nil
	})
}
