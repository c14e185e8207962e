package session

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/offhook/offhook/internal/audio"
	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/clock"
	"github.com/offhook/offhook/internal/recording"
	"github.com/offhook/offhook/internal/twilio"
)

// Hold and mute of one party (twiliocall section 3). No re-INVITE is sent: the phone knows nothing of either.

func errNotLive(what string) error {
	return twilio.Errf(21220, "Call is not in-progress. Cannot %s.", what)
}

// Hold keeps the party of a call on hold: it hears music, from a URL or our own, and nothing else, and what it
// says and presses goes nowhere. What the call does waits. A party that is held already hears the new music, if
// there is a URL.
func (m *Manager) Hold(ctx context.Context, accountSID, sid, musicURL string) (*call.Call, error) {
	if musicURL != "" && !call.IsWebURL(musicURL) {
		return nil, twilio.Errf(21205, "musicUrl is not a valid URL: %s", musicURL)
	}
	return m.setLive(ctx, accountSID, sid, actionHold, "hold", func(s *Session) (func() error, error) {
		music := audio.HoldMusic()
		if musicURL != "" {
			var err error
			if music, err = s.file(ctx, musicURL); err != nil {
				return nil, err
			}
		}
		return func() error {
			if s.call.Options.Held && musicURL == "" {
				return nil
			}
			if err := s.setOption(&s.call.Options.Held, true); err != nil {
				return err
			}
			s.trace("hold")
			s.hearOn()
			s.leg.PutAside(music)
			s.still.stop()
			for _, t := range s.tapes {
				if t.r.Source == call.SourceRecord && t.r.Status == call.RecordingInProgress {
					t.capture.pause(recording.Skip) // <Record> waits as every verb does
				}
			}
			return nil
		}, nil
	})
}

// Unhold ends Hold: what the call did goes on where it stood.
func (m *Manager) Unhold(ctx context.Context, accountSID, sid string) (*call.Call, error) {
	return m.setLive(ctx, accountSID, sid, actionUnhold, "unhold", func(s *Session) (func() error, error) {
		return func() error {
			if !s.call.Options.Held {
				return nil
			}
			if err := s.setOption(&s.call.Options.Held, false); err != nil {
				return err
			}
			s.trace("unhold")
			for _, t := range s.tapes {
				if t.r.Source == call.SourceRecord && t.r.Status == call.RecordingInProgress {
					t.capture.resume()
				}
			}
			s.leg.TakeBack()
			s.hearOn()
			s.still.goOn()
			return nil
		}, nil
	})
}

// Mute makes what the party of a call says silence for everybody and everything, or ends that. It still hears all,
// and its keys count.
func (m *Manager) Mute(ctx context.Context, accountSID, sid string, on bool) (*call.Call, error) {
	action, name := actionMute, "mute"
	if !on {
		action, name = actionUnmute, "unmute"
	}
	return m.setLive(ctx, accountSID, sid, action, name, func(s *Session) (func() error, error) {
		return func() error {
			if s.call.Options.Muted == on {
				return nil
			}
			if err := s.setOption(&s.call.Options.Muted, on); err != nil {
				return err
			}
			s.trace("%s", name)
			s.leg.Mute(on)
			s.hearOn()
			return nil
		}, nil
	})
}

// setLive does something to a call in progress: prepare may wait, what it returns runs in the session's loop.
func (m *Manager) setLive(ctx context.Context, accountSID, sid, action, name string, prepare func(*Session) (func() error, error)) (*call.Call, error) {
	c, err := m.Store.Call(ctx, accountSID, sid)
	if err != nil {
		return nil, err
	}
	s := m.session(sid)
	if s == nil || c.Status != call.InProgress {
		return nil, errNotLive(name)
	}
	do, err := prepare(s)
	if err != nil {
		return nil, err
	}
	err = s.do(ctx, func() error {
		if s.over || s.call.Status != call.InProgress {
			return errNotLive(name)
		}
		return do()
	})
	if errors.Is(err, errOver) {
		err = errNotLive(name)
	}
	if err != nil {
		return nil, err
	}
	m.metrics.did(action)
	return m.Store.Call(ctx, accountSID, sid)
}

// setOption changes an option of the call and stores it, or neither. Loop only.
func (s *Session) setOption(option *bool, to bool) error {
	before := *option
	*option = to
	if err := s.save("", "", saveTimeout); err != nil {
		*option = before
		s.snapshot.Store(s.call.Clone())
		s.storeFailed(err)
		return err
	}
	return nil
}

// stillness stops the clocks of a call's verbs while its party is on hold.
type stillness struct {
	clock clock.Clock

	mu     sync.Mutex
	on     bool
	timers map[*verbTimer]struct{}
}

// verbTimer is a timer of a verb. It is one goroutine's, which frees it when it needs it no more.
type verbTimer struct {
	clock.Timer
	still *stillness

	// Under still.mu.
	runs bool
	at   time.Time     // when it fires, unless the call is still
	left time.Duration // until it fires, from the end of the stillness on
}

// newTimer starts a timer that stands still with the call.
func (s *Session) newTimer(d time.Duration) *verbTimer {
	x := &s.still
	x.mu.Lock()
	defer x.mu.Unlock()
	t := &verbTimer{Timer: x.clock.NewTimer(d), still: x, runs: true, at: x.clock.Now().Add(d), left: d}
	if x.on {
		t.Timer.Stop()
	}
	if x.timers == nil {
		x.timers = make(map[*verbTimer]struct{})
	}
	x.timers[t] = struct{}{}
	return t
}

// Stop keeps the timer from firing before the next Reset.
func (t *verbTimer) Stop() bool {
	t.still.mu.Lock()
	defer t.still.mu.Unlock()
	t.runs = false
	return t.Timer.Stop()
}

// Reset starts the timer anew.
func (t *verbTimer) Reset(d time.Duration) bool {
	t.still.mu.Lock()
	defer t.still.mu.Unlock()
	t.runs, t.left, t.at = true, d, t.still.clock.Now().Add(d)
	if t.still.on {
		return t.Timer.Stop()
	}
	return t.Timer.Reset(d)
}

// free ends the timer.
func (t *verbTimer) free() {
	t.still.mu.Lock()
	defer t.still.mu.Unlock()
	t.Timer.Stop()
	delete(t.still.timers, t)
}

func (x *stillness) stop() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.on {
		return
	}
	x.on = true
	now := x.clock.Now()
	for t := range x.timers {
		if t.runs && t.Timer.Stop() { // else it has fired
			t.left = max(0, t.at.Sub(now))
		} else {
			t.runs = false
		}
	}
}

func (x *stillness) goOn() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.on = false
	now := x.clock.Now()
	for t := range x.timers {
		if t.runs {
			t.at = now.Add(t.left)
			t.Timer.Reset(t.left)
		}
	}
}
