package session

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/telemetry"
	"github.com/offhook/offhook/internal/twiml"
)

// attach gives the call its leg, which from then on every log line names.
func (s *Session) attach(leg Leg) {
	s.leg = leg
	name := "outbound"
	if s.call.CameIn() {
		name = "inbound"
		if l, ok := leg.(interface{ Named(callSID string) }); ok {
			l.Named(s.sid)
		}
	}
	s.log = s.m.Log.With("call_sid", s.sid, "leg", name, "sip_call_id", leg.Dialog().CallID)
}

// inviteSpan begins the span of the INVITE that made the call, or is to. Loop only.
func (s *Session) inviteSpan(kind telemetry.Kind, at time.Time) {
	t := s.m.Tracer
	if t == nil {
		return
	}
	ctx := t.Call(context.Background(), s.sid)
	if kind == telemetry.Client {
		queueSpan(t, s.call, at)
	}
	_, s.invite = t.StartAt(ctx, "INVITE", kind, at)
	s.invite.Set("sip.call_id", s.leg.Dialog().CallID)
}

// queueSpan is the time that a call waited to be dialled.
func queueSpan(t *telemetry.Tracer, c *call.Call, until time.Time) {
	_, q := t.StartAt(t.Call(context.Background(), c.SID), "queue", telemetry.Internal, c.DateCreated)
	q.Set("offhook.queue", c.QueueKey)
	q.EndAt(until)
}

// inviteEvent notes a response to the INVITE; a final one ends it.
func (s *Session) inviteEvent(code int) {
	if s.invite == nil {
		return
	}
	s.invite.Event(strconv.Itoa(code))
	if code >= 200 {
		s.invite.SetInt("sip.response.code", code)
		if code >= 300 {
			s.invite.Fail(strconv.Itoa(code))
		}
		s.invite.End()
		s.invite = nil
	}
}

// spanEnded makes the root span of a call that is over.
func spanEnded(t *telemetry.Tracer, c *call.Call) {
	root := t.Root(c.SID, c.DateCreated)
	if root == nil {
		return
	}
	root.Set("offhook.direction", string(c.Direction))
	root.Set("offhook.status", string(c.Status))
	root.Set("offhook.cause", c.Cause.Reason)
	if c.Cause.SIPCode != 0 {
		root.SetInt("sip.response.code", c.Cause.SIPCode)
	}
	if c.Status == call.Failed || c.Cause.Code != 0 {
		root.Fail(c.Cause.Reason)
	}
	root.EndAt(c.EndedAt)
}

// runVerb runs one verb in a span of its own.
func (s *Session) runVerb(ctx context.Context, doc *document, v twiml.Verb, first bool, silent *int) (step, error) {
	ctx, span := s.m.Tracer.Start(ctx, v.Name(), telemetry.Internal)
	next, err := s.obeyVerb(ctx, doc, v, first, silent)
	if span != nil {
		var stop stopError
		switch {
		case err == nil || errors.As(err, &stop):
		case ctx.Err() != nil:
			span.Event(context.Cause(ctx).Error()) // a hangup or a redirect: no fault
		default:
			span.Fail(err.Error())
		}
		span.End()
	}
	return next, err
}
