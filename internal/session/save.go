package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"time"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/twilio"
)

// How a session reaches the store: a change is written whole, and what the store refuses stays until it takes it.

// storeEnd stores the end of a call that the store has not taken yet, for as long as that needs. When ctx
// ends first, the next start finds the call and ends it.
func (s *Session) storeEnd(ctx context.Context) {
	defer s.retry.Stop()
	for s.over && s.stored != s.call.Status {
		select {
		case <-s.retry.C():
			s.flush()
		case <-ctx.Done():
			return
		}
	}
}

// storeFailed is for a live call whose state could not be stored: a conflict means that another owner
// took the call, so it ends here; otherwise the audio goes on, and what is unsaved is tried again.
func (s *Session) storeFailed(err error) {
	level := slog.LevelError
	if s.refused { // said already; an outage has many calls, and each tries every second
		level = slog.LevelDebug
	}
	s.refused = true
	s.log.Log(context.Background(), level, "state of the call not stored", "status", s.call.Status, "err", err)
	if errors.Is(err, call.ErrConflict) {
		s.stored, s.unsaved = s.call.Status, call.Change{} // not ours to tell
		s.giveUp("the call was taken over")
		return
	}
	s.retry.Reset(storeRetry)
}

// save writes the call, the event and the status callback of that name ("" for none) in one transaction,
// together with what an earlier save could not write. It takes no longer than timeout.
func (s *Session) save(event, callback string, timeout time.Duration) error {
	now := s.m.Clock.Now()
	c := s.call
	c.DateUpdated = now
	switch {
	case event == "":
	case event == "answered" && !s.detection.waits(): // media is connected and the first instruction is next
		s.unsaved.Events = append(s.unsaved.Events, newEvents(c, now, event, "in-progress")...)
	default:
		s.unsaved.Events = append(s.unsaved.Events, newEvents(c, now, event)...)
	}
	if callback != "" {
		params := voiceParams(c)
		if callback == "completed" {
			for _, t := range []*tape{s.bridged.Load(), s.whole} {
				maps.Copy(params, t.params(s.m.baseURL()))
			}
		}
		s.unsaved.Callbacks = append(s.unsaved.Callbacks, newCallbacks(c, callback, now, params)...)
	}
	s.snapshot.Store(c.Clone())
	return s.write(timeout)
}

// price says what c, which has just ended, costs; it is stored with the end.
func (m *Manager) price(c *call.Call) {
	if m.Rates == nil {
		return
	}
	if price, currency, ok := m.Rates.Price(c); ok {
		c.Price, c.PriceUnit = price, currency
	}
}

// write stores the call as it is with what is unsaved.
func (s *Session) write(timeout time.Duration) error {
	s.notesMu.Lock()
	s.unsaved.Notifications = append(s.unsaved.Notifications, s.notes...)
	s.notes, s.written = nil, len(s.unsaved.Notifications)
	s.notesMu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	var err error
	if s.unstored {
		err = s.m.Store.AddCall(ctx, s.call, s.unsaved)
	} else {
		err = s.m.Store.SaveCall(ctx, s.call, s.stored, s.unsaved)
	}
	if err != nil {
		return fmt.Errorf("session: save %s: %w", s.sid, err)
	}
	ch := s.unsaved
	s.unstored, s.stored, s.unsaved, s.refused = false, s.call.Status, call.Change{}, false
	s.notesMu.Lock()
	s.written = 0
	s.notesMu.Unlock()
	s.m.publish(ch)
	return nil
}

// flush stores what the store refused and what the verbs noted, unless a later save has done it.
func (s *Session) flush() {
	s.notesMu.Lock()
	noted := len(s.notes) > 0
	s.notesMu.Unlock()
	u := &s.unsaved
	if !noted && len(u.Events)+len(u.Callbacks)+len(u.Notifications)+len(u.Recordings) == 0 && s.stored == s.call.Status {
		return
	}
	if err := s.write(laterTimeout); err != nil {
		s.storeFailed(err)
	}
}

func (s *Session) trace(format string, args ...any) { s.m.trace(s.sid, format, args...) }

// notify tells the customer of an error or warning of this call. The loop stores it, or the call's next save;
// whoever calls does not wait for the store.
func (s *Session) notify(e *twilio.Error, fill func(*call.Notification)) {
	n := notification(s.snapshot.Load(), e, s.m.Clock.Now())
	if fill != nil {
		fill(&n)
	}
	s.trace("%d %s", n.Code, n.Message)
	s.notesMu.Lock()
	defer s.notesMu.Unlock()
	if len(s.notes)+s.written >= maxNotes {
		s.log.Error("notification lost: too many wait for the store", "code", n.Code)
		return
	}
	s.notes = append(s.notes, n)
	select {
	case s.noted <- struct{}{}:
	default:
	}
}

// asTwilio finds the catalogue's error in err, else calls it an internal one.
func asTwilio(err error) *twilio.Error {
	var e *twilio.Error
	if errors.As(err, &e) {
		return e
	}
	return &twilio.Error{Code: 12400, Message: err.Error(), Cause: err}
}
