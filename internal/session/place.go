package session

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/telemetry"
	"github.com/offhook/offhook/internal/twilio"
	"github.com/offhook/offhook/internal/webhook"
)

// minRingTime is left to ring for a phone that was woken at the last moment.
const minRingTime = time.Second

// place sends the INVITE of a queued call once that is committed, or ends the call.
func (s *Session) place(ctx context.Context) error {
	if err := s.connect(ctx); err != nil {
		return err
	}
	now := s.m.Clock.Now()
	s.call.QueueTime = now.Sub(s.call.DateCreated)
	leg, err := s.reach(ctx)
	if errors.Is(err, call.ErrConflict) {
		return err
	}
	ringTime := s.ringTime()
	if s.call.Options.NotificationURL != "" { // some of it went by
		awake := s.m.Clock.Now()
		ringTime, now = max(ringTime-awake.Sub(now), minRingTime), awake
	}
	s.m.ready(s)
	var gone *droppedError
	if errors.As(err, &gone) {
		s.onDropped(gone.reason)
		return nil
	}
	if err != nil {
		e := asTwilio(err)
		if e.Code == 12400 && s.child != nil && call.IsSIP(s.call.To) {
			e = &twilio.Error{Code: 13254, Message: "Dial: " + err.Error()} // a name that nobody has
		}
		s.notify(e, nil)
		s.call.DialedAt = now
		cause := call.Cause{Reason: err.Error(), Code: e.Code, Local: true}
		var le *call.LegError
		if errors.As(err, &le) {
			cause = le.Cause
		}
		s.finish(call.StatusOf(cause.SIPCode), cause)
		return nil
	}
	s.attach(leg)
	s.call.DialedAt, s.call.Dialog = now, leg.Dialog()
	if err := s.save("", "initiated", saveTimeout); err != nil {
		return err // the leg sent nothing
	}
	s.trace("INVITE %s", leg.Dialog().Target)
	s.ringing.Reset(ringTime)
	s.m.metrics.dialled(s.call.QueueTime)
	s.inviteSpan(telemetry.Client, now)
	leg.Invite()
	return nil
}

// ringTime is how long the called party may ring.
func (s *Session) ringTime() time.Duration {
	timeout := call.DefaultTimeout
	if s.call.Options.Timeout > 0 {
		timeout = time.Duration(s.call.Options.Timeout) * time.Second
	}
	if s.child != nil {
		timeout += dialBuffer
	}
	return timeout
}

// newLeg makes the leg to the called party: one of several when it has several phones.
func (s *Session) newLeg(ctx context.Context) (Leg, error) {
	if s.barred {
		return nil, twilio.Err(10001)
	}
	specs, err := s.m.legsFor(ctx, s.call)
	if err != nil {
		return nil, err
	}
	var legs []Leg
	for _, spec := range specs {
		if reason := s.call.Options.CallReason; reason != "" {
			headers := maps.Clone(spec.Headers) // others' too
			if headers == nil {
				headers = make(map[string]string)
			}
			headers[call.ReasonHeader] = reason
			spec.Headers = headers
		}
		leg, e := s.m.Dialer.NewLeg(spec)
		if e != nil {
			err = e
			continue
		}
		legs = append(legs, leg)
	}
	switch len(legs) {
	case 0:
		return nil, err
	case 1:
		return legs[0], nil
	}
	return s.m.fork(legs), nil
}

// wakeRetry is how often it is looked whether a phone that was woken has registered.
const wakeRetry = 250 * time.Millisecond

// droppedError says that a <Dial> had no use for a call any more before it was dialled.
type droppedError struct{ reason string }

func (e *droppedError) Error() string { return "session: dropped: " + e.reason }

// reach makes the leg to the called party. With a ClientNotificationUrl the application is asked to wake the party's
// phones, by a push notification of the kind that they take, and one that is not registered has until the ring
// time-out. Meanwhile the call is queued still.
func (s *Session) reach(ctx context.Context) (Leg, error) {
	leg, err := s.newLeg(ctx)
	if s.call.Options.NotificationURL == "" || s.barred {
		return leg, err
	}
	s.wake()
	late := s.m.Clock.NewTimer(s.ringTime())
	defer late.Stop()
	for asleep(err) {
		again := s.m.Clock.NewTimer(wakeRetry)
		select {
		case <-again.C():
		case <-late.C():
			return nil, err
		case reason := <-s.dropped():
			again.Stop()
			return nil, &droppedError{reason}
		case <-ctx.Done():
			again.Stop()
			return nil, context.Cause(ctx)
		}
		if !s.unstored {
			c, e := s.m.Store.Call(ctx, s.call.AccountSID, s.sid)
			if errors.Is(e, call.ErrNotFound) || e == nil && c.Status != call.Queued {
				return nil, call.ErrConflict // it was canceled
			}
		}
		leg, err = s.newLeg(ctx)
	}
	return leg, err
}

// asleep reports whether err says that somebody who may register has not.
func asleep(err error) bool {
	var e *call.LegError
	return errors.As(err, &e) && e.Cause.Code == unregisteredCode && e.Cause.SIPCode == 480
}

// wake asks the application to notify the phones of the called party.
func (s *Session) wake() {
	params, target := voiceParams(s.call), s.call.Options.NotificationURL
	params.Set("CallStatus", string(call.Initiated))
	s.trace("POST %s", webhook.Redact(target))
	s.m.sessions.Go(func() {
		response, err := s.hooks.Fetch(s.m.ctx, webhook.Request{Method: "POST", URL: target, Params: params})
		if err != nil {
			failed := &fetchError{err, "POST", target, params, response}
			s.notify(asTwilio(err), failed.describe)
		}
	})
}
