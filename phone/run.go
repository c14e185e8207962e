package phone

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// StepError is a script step that failed on a call.
type StepError struct {
	Step string // as written by Script.String
	N    int    // from 1
	Err  error
}

func (e *StepError) Error() string { return fmt.Sprintf("step %d (%s): %v", e.N, e.Step, e.Err) }
func (e *StepError) Unwrap() error { return e.Err }

// defaultWithin is how long an expectation of a script waits.
const defaultWithin = 30 * time.Second

// Run does the steps of a script in order and stops at the first that fails. The call is left as it
// is at the end; a script that should end it says hangup.
func (c *Call) Run(ctx context.Context, s *Script) error {
	for i, st := range s.steps {
		if err := c.step(ctx, st); err != nil {
			return &StepError{st.String(), i + 1, err}
		}
	}
	return nil
}

func (c *Call) step(ctx context.Context, st step) error {
	limited, cancel := context.WithTimeout(ctx, cmp.Or(st.within, defaultWithin))
	defer cancel()
	switch st.verb {
	case "ring":
		if err := c.Ring(); err != nil {
			return err
		}
		return c.pass(ctx, "ringing", st.d)
	case "progress":
		return c.Progress()
	case "answer":
		if err := c.Answer(); err != nil {
			return err
		}
		return c.WaitAnswered(limited) // after a late offer there is no audio before the ACK
	case "reject":
		code, err := strconv.Atoi(st.text)
		if err != nil {
			return err
		}
		return c.Reject(code)
	case "busy":
		return c.Busy()
	case "hangup":
		c.Hangup()
		return c.WaitHungUp(limited)
	case "wait":
		return c.pass(ctx, "waiting", st.d)
	case "wait answer":
		return c.WaitAnswered(limited)
	case "say":
		return c.Say(ctx, st.text)
	case "play":
		pcm, err := ReadWAV(st.text)
		if err != nil {
			return err
		}
		return c.Play(ctx, pcm)
	case "tone":
		return c.Play(ctx, Tone(st.d, st.hz...))
	case "press":
		return c.Press(ctx, st.text)
	case "hear":
		return c.WaitAudio(limited, st.d)
	case "hear tone":
		return c.WaitTone(limited, st.hz...)
	case "hear silence":
		return c.WaitSilence(limited, st.d)
	case "expect digits":
		return c.WaitDigits(limited, st.text)
	case "expect hangup":
		return c.expectHangup(limited)
	case "echo":
		c.Echo(true)
		return nil
	case "hold":
		return c.Hold(limited)
	case "unhold":
		return c.Unhold(limited)
	}
	return fmt.Errorf("phone: unknown step %q", st.verb)
}

func (c *Call) expectHangup(ctx context.Context) error {
	if err := c.WaitHungUp(ctx); err != nil {
		return err
	}
	if end, _ := c.End(); !end.Remote {
		return fmt.Errorf("phone: the call %s", end)
	}
	return nil
}

// pass lets d go by; the end of the call is an error.
func (c *Call) pass(ctx context.Context, what string, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-c.hungUp:
		end, _ := c.End()
		return &EndError{what, end}
	case <-ctx.Done():
		return fmt.Errorf("phone: %s: %w", what, ctx.Err())
	}
}

// Say speaks text and returns when it has been said: with Config.Speak, or as Babble.
func (c *Call) Say(ctx context.Context, text string) error {
	return c.Play(ctx, c.phone.speech(ctx, text))
}

// speakTimeout bounds one call of Config.Speak.
const speakTimeout = 10 * time.Second

// speech renders text.
func (p *Phone) speech(ctx context.Context, text string) []int16 {
	if p.cfg.Speak == nil {
		return Babble(text)
	}
	ctx, cancel := context.WithTimeout(ctx, speakTimeout)
	defer cancel()
	pcm, err := p.cfg.Speak(ctx, text)
	if err != nil {
		if !errors.Is(err, context.Canceled) {
			p.log.Warn("no speech, babbling instead", "error", err)
		}
		return Babble(text)
	}
	return pcm
}
