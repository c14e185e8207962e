package session

import (
	"context"
	"errors"
	"iter"
	"net/url"
	"time"

	"github.com/offhook/offhook/internal/audio"
	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/speech"
	"github.com/offhook/offhook/internal/twilio"
	"github.com/offhook/offhook/internal/twiml"
	"github.com/offhook/offhook/internal/webhook"
)

// playAhead is how many clips are queued at the leg behind the one that plays, so that there is no gap.
const playAhead = 2

// say speaks a text, Loop times or until the call ends.
func (s *Session) say(ctx context.Context, v *twiml.Say) error {
	u := speech.Utterance{Voice: v.Voice, Language: v.Language}
	for _, p := range v.Parts {
		u.Parts = append(u.Parts, speech.Part{Text: p.Text, Pause: p.Pause})
	}
	s.trace("say %q", excerpt(v.Parts))
	_, warnings := s.m.Voices.Resolve(u.Voice, u.Language)
	for _, w := range warnings {
		s.notify(w, nil)
	}
	err := s.play(ctx, s.m.Voices.Say(ctx, u), v.Loop)
	var te *twilio.Error
	if err != nil && ctx.Err() == nil && errors.As(err, &te) && twilio.Level(te.Code) == call.LevelWarning {
		s.notify(te, nil) // a voice that cannot speak this text: this Say fails, the next verb runs
		return nil
	}
	return err
}

func excerpt(parts []twiml.Part) string {
	text := ""
	for _, p := range parts {
		if text != "" && p.Text != "" {
			text += " "
		}
		text += p.Text
	}
	if r := []rune(text); len(r) > 60 {
		return string(r[:57]) + "..."
	}
	return text
}

// playVerb plays a file, Loop times, or digits.
func (s *Session) playVerb(ctx context.Context, doc *document, v *twiml.Play) error {
	if v.Digits != "" {
		s.trace("play digits %s", v.Digits)
		return s.heard(ctx, s.leg.PlayDigits(v.Digits))
	}
	var clip *audio.Clip
	var err error
	s.aside(func() {
		if clip, err = s.clip(ctx, doc, v); err == nil {
			s.trace("play %s (%.1f s)", webhook.Redact(v.URL), clip.Duration().Seconds())
		}
	})
	if err != nil {
		return err
	}
	return s.play(ctx, one(clip), v.Loop)
}

// clip is the audio of a <Play>.
func (s *Session) clip(ctx context.Context, doc *document, v *twiml.Play) (*audio.Clip, error) {
	if v.Body != nil { // the document itself was audio
		return s.m.Hooks.Decode(ctx, &webhook.Response{ContentType: v.ContentType, Body: v.Body, URL: doc.URL})
	}
	target, err := s.resolve(doc, v.URL)
	if err != nil {
		return nil, err
	}
	return s.file(ctx, target)
}

// file is the audio behind a URL, which may be that of a recording of ours.
func (s *Session) file(ctx context.Context, target string) (*audio.Clip, error) {
	if u, err := url.Parse(target); err == nil && s.m.Recorded != nil {
		path, here := s.m.Recorded.Here(u)
		if accountSID, sid, ok := call.RecordingOf(path); here && ok {
			return s.recordedClip(ctx, accountSID, sid, target)
		}
	}
	return s.m.Hooks.Clip(ctx, s.hooks, target)
}

// recordedClip is the audio of one of our own recordings. The application that names it has its account's
// credentials, so none are asked for; a recording of another account is none.
func (s *Session) recordedClip(ctx context.Context, accountSID, sid, target string) (*audio.Clip, error) {
	err := call.ErrNotFound
	if accountSID == s.snapshot.Load().AccountSID {
		var r *call.Recording
		if r, err = s.m.Recordings.Recording(ctx, accountSID, sid); err == nil {
			var clip *audio.Clip
			if clip, err = s.m.Recorded.Clip(ctx, r); err == nil {
				return clip, nil
			}
		}
	}
	if errors.Is(err, call.ErrNotFound) {
		return nil, twilio.Err(11200, webhook.Redact(target)+" is no recording that can be played")
	}
	return nil, err
}

func one(c *audio.Clip) iter.Seq2[*audio.Clip, error] {
	return func(yield func(*audio.Clip, error) bool) { yield(c, nil) }
}

// play sends clips to the other party, loop times (0: until ctx ends), and returns when the last was
// heard. When ctx ends it stops within one frame.
func (s *Session) play(ctx context.Context, clips iter.Seq2[*audio.Clip, error], loop int) error {
	var played []*audio.Clip
	var pending []<-chan struct{}
	enqueue := func(c *audio.Clip) error {
		pending = append(pending, s.leg.Play(c))
		if len(pending) <= playAhead {
			return nil
		}
		first := pending[0]
		pending = pending[1:]
		return s.heard(ctx, first)
	}
	for c, err := range clips {
		if err != nil {
			if ctx.Err() != nil {
				s.leg.Flush()
			}
			return err
		}
		if c.Frames() == 0 {
			continue
		}
		if loop != 1 {
			played = append(played, c)
		}
		if err := enqueue(c); err != nil {
			return err
		}
	}
	for n := 1; len(played) > 0 && (loop == 0 || n < loop); n++ {
		for _, c := range played {
			if err := enqueue(c); err != nil {
				return err
			}
		}
	}
	for _, done := range pending {
		if err := s.heard(ctx, done); err != nil {
			return err
		}
	}
	return nil
}

// jitterBuffer is how much of what was sent a phone may still have to play: what a BYE right behind the last
// frame cuts off (measured: baresip holds 100 to 200 ms).
const jitterBuffer = 200 * time.Millisecond

// hearOut lets the other party hear the end of what was just played, before the call ends.
func (s *Session) hearOut(ctx context.Context) error {
	if left := jitterBuffer - s.m.Clock.Now().Sub(s.lastHeard); left > 0 {
		return s.heard(ctx, s.leg.Play(audio.Silence(left)))
	}
	return context.Cause(ctx)
}

// heard waits until what was queued has left, and drops it all when ctx ends first.
func (s *Session) heard(ctx context.Context, done <-chan struct{}) error {
	select {
	case <-done:
		s.lastHeard = s.m.Clock.Now()
		return context.Cause(ctx)
	case <-ctx.Done():
		s.leg.Flush()
		return context.Cause(ctx)
	}
}

// pause waits; on a call that still rings it keeps ringing.
func (s *Session) pause(ctx context.Context, v *twiml.Pause) error {
	s.trace("pause %v", v.Length)
	return s.wait(ctx, v.Length)
}
