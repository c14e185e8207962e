package session

import (
	"context"
	"errors"
	"net/url"
	"strings"

	"github.com/offhook/offhook/internal/audio"
	"github.com/offhook/offhook/internal/twiml"
	"github.com/offhook/offhook/internal/webhook"
)

// errBargeIn is why the prompts of a <Gather> stop when a key is pressed.
var errBargeIn = errors.New("session: a key was pressed")

// gather runs <Gather>: prompts play while digits are collected; the first key cuts them.
func (s *Session) gather(ctx context.Context, doc *document, v *twiml.Gather) (step, error) {
	digits, finishedOn, err := s.collect(ctx, doc, v)
	if err != nil {
		return nextVerb, err
	}
	if digits == "" && !v.ActionOnEmptyResult {
		s.trace("gather: no input")
		return nextVerb, nil
	}
	s.trace("gather: %s", strings.Repeat("•", len(digits)))
	return s.jump(doc, v.Method, v.Action, url.Values{
		"Digits": {digits}, "FinishedOnKey": {finishedOn}, "msg": {"Gather End"},
	})
}

// collect plays the prompts and returns the digits without the key that ended them.
func (s *Session) collect(ctx context.Context, doc *document, v *twiml.Gather) (digits, finishedOn string, err error) {
	keys := make(chan byte, 64)
	s.keys.Store(&keys)
	defer s.keys.Store(nil)

	promptCtx, cut := context.WithCancelCause(ctx)
	defer cut(nil)
	var promptErr error
	prompted := make(chan struct{}) // closed when the prompts have ended; promptErr says how
	go func() {
		defer close(prompted)
		promptErr = s.guarded(func() error { return s.prompts(promptCtx, doc, v.Prompts) })
	}()
	stopPrompts := func() { cut(errBargeIn); <-prompted }
	defer stopPrompts()

	// The clock of silence runs from the end of the prompts, and anew from every key.
	silence := s.newTimer(v.Timeout)
	silence.Stop()
	defer silence.free()
	for playing := prompted; ; {
		select {
		case key := <-keys:
			stopPrompts()
			playing = nil // how they ended no longer matters
			if v.FinishOnKey != "" && v.FinishOnKey[0] == key {
				return digits, string(key), nil
			}
			digits += string(key)
			if v.NumDigits > 0 && len(digits) >= v.NumDigits {
				return digits, "", nil
			}
			silence.Reset(v.Timeout)
		case <-playing:
			playing = nil
			if promptErr != nil {
				return "", "", promptErr
			}
			silence.Reset(v.Timeout)
		case <-silence.C():
			return digits, "", nil
		case <-ctx.Done():
			return "", "", context.Cause(ctx)
		}
	}
}

// prompts plays the nested verbs in order. Files are fetched before anything is heard (twiml, Play).
func (s *Session) prompts(ctx context.Context, doc *document, prompts []twiml.Verb) error {
	files := map[*twiml.Play]*audio.Clip{}
	for _, v := range prompts {
		if p, ok := v.(*twiml.Play); ok && p.Digits == "" {
			clip, err := s.clip(ctx, doc, p)
			if err != nil {
				return err
			}
			files[p] = clip
		}
	}
	for _, v := range prompts {
		var err error
		switch v := v.(type) {
		case *twiml.Say:
			err = s.say(ctx, v)
		case *twiml.Play:
			s.trace("play %s", webhook.Redact(v.URL))
			err = s.play(ctx, one(files[v]), v.Loop)
		case *twiml.Pause:
			err = s.pause(ctx, v)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
