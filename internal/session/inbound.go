package session

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"time"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/telemetry"
	"github.com/offhook/offhook/internal/twilio"
)

// Inbound takes a call from outside: it is stored, rings, and its number's document decides. It returns
// at once.
func (m *Manager) Inbound(leg Leg, in call.InboundLeg) {
	ctx, cancel := context.WithTimeout(context.Background(), saveTimeout)
	defer cancel()
	taken, unstored := in.Taken, false
	if taken.IsZero() {
		taken = m.Clock.Now()
	}
	defer func() {
		if !unstored {
			m.Admission.Opened(m.Clock.Now().Sub(taken))
		}
	}()
	refuse := func(code int, reason string) {
		unstored = code == 503
		m.Log.Info("inbound call refused", "leg", "inbound", "sip_call_id", leg.Dialog().CallID, "from", in.From, "to", in.To, "source", in.Source, "sip_code", code, "reason", reason)
		leg.Reject(code, reason)
		go func() { // owned by the leg: its events end with it
			for range leg.Events() {
			}
		}()
	}
	if in.Replaces != nil {
		m.replace(leg, in, refuse)
		return
	}
	c, err := m.inboundCall(ctx, in)
	var rejected *rejection
	switch {
	case errors.As(err, &rejected):
		refuse(rejected.code, rejected.phrase)
		return
	case errors.Is(err, call.ErrNotFound):
		refuse(404, "Not Found")
		return
	case err != nil || m.Draining():
		refuse(503, "Service Unavailable")
		return
	}
	c.Dialog = leg.Dialog()
	if in.Hairpin {
		c.Options.SIPSource = "" // no SIP party outside
	}
	if in.Trunk != nil && c.TrunkSID == "" {
		c.TrunkSID = in.Trunk.SID
	}
	ch := call.Change{Events: newEvents(c, c.DateCreated, "created", "ringing")}
	if err := m.Store.AddCall(ctx, c, ch); err != nil {
		m.Log.Error("inbound call not stored", "call_sid", c.SID, "leg", "inbound", "sip_call_id", c.Dialog.CallID, "from", in.From, "to", in.To, "err", err)
		refuse(503, "Service Unavailable")
		return
	}
	m.publish(ch)
	s := m.newSession(c)
	s.attach(leg)
	s.ready = true
	if !m.adopt(s, func(ctx context.Context) { _ = s.live(ctx, func() error { s.receive(ctx); return nil }) }) {
		refuse(503, "Service Unavailable")
		_ = m.settleNow(c)
	}
}

// inboundCall is the call of an INVITE: for the number that is called, for a SIP domain, or from a PBX. call.ErrNotFound
// when it is for none of ours; the error may be a *rejection.
func (m *Manager) inboundCall(ctx context.Context, in call.InboundLeg) (*call.Call, error) {
	now := m.Clock.Now()
	c := &call.Call{
		SID: twilio.NewSIDAt(twilio.CallPrefix, now),
		To:  in.To, From: in.From, Direction: call.Inbound, Status: call.Ringing,
		DateCreated: now, DateUpdated: now, DialedAt: now, PriceUnit: "USD",
		CallerName: in.CallerName, ForwardedFrom: in.ForwardedFrom, Epoch: m.Store.Epoch(),
		Options: call.Options{StatusEvents: []string{"completed"}, SIPHeaders: in.Headers, SIPSource: host(in.Source), Hops: in.Hops},
	}
	o := &c.Options
	if d := in.Domain; d != nil {
		voice := &d.Voice
		if t := m.trunk(d.TrunkSID); t != nil {
			c.TrunkSID, voice = t.SID, &t.Voice
		}
		c.AccountSID, o.SIPDomain, o.SIPDomainSID = d.AccountSID, d.Name, d.SID
		o.Follow(voice)
		return c, nil
	}
	if sid, _, _ := strings.Cut(in.To, "@"); in.Hairpin && twilio.IsSID(sid, twilio.ApplicationPrefix) {
		return c, m.dialedApplication(ctx, c, in.Headers)
	}
	c.From = callerOf(c.From)
	t := in.Trunk
	if t != nil && t.Kind == call.Elastic {
		return c, m.terminating(ctx, c, t)
	}
	number, err := m.Store.NumberByPhone(ctx, in.To)
	if err == nil && t != nil && !m.serves(t, number.AccountSID) { // a carrier of somebody else's
		err = call.ErrNotFound
	}
	if errors.Is(err, call.ErrNotFound) && t != nil && t.Voice.URL != "" {
		c.AccountSID = t.AccountSID
		o.Follow(&t.Voice)
		o.FromCountry, o.ToCountry = call.Country(in.From), call.Country(in.To)
		return c, nil
	}
	if err != nil {
		return nil, err
	}
	c.AccountSID, c.NumberSID = number.AccountSID, number.SID
	if number.TrunkSID != "" {
		c.TrunkSID, c.Direction = number.TrunkSID, call.TrunkingOriginating
		number.VoiceURL, number.VoiceFallback = "", ""
	}
	o.URL, o.Method, o.FallbackURL, o.FallbackMethod = number.VoiceURL, number.VoiceMethod, number.VoiceFallback, number.FallbackMethod
	o.StatusURL, o.StatusMethod, o.CallerIDLookup = number.StatusURL, number.StatusMethod, number.CallerIDLookup
	if number.ApplicationSID != "" && number.TrunkSID == "" {
		if err := m.obey(ctx, c, number.ApplicationSID); err != nil {
			return nil, err
		}
	}
	o.FromCountry, o.ToCountry = call.Country(in.From), call.Country(in.To)
	return c, nil
}

// settleNow finalises a call that was stored but never ran.
func (m *Manager) settleNow(c *call.Call) error {
	ctx, cancel := context.WithTimeout(context.Background(), saveTimeout)
	defer cancel()
	return m.settle(ctx, c)
}

// receive rings and runs an inbound call to its end.
func (s *Session) receive(ctx context.Context) {
	s.aside(func() { s.ring(ctx) })
	s.run(ctx)
}

// ring takes the call as far as its first document, or ends it.
func (s *Session) ring(ctx context.Context) {
	s.trace("INVITE from %s to %s", s.call.From, s.call.To)
	s.inviteSpan(telemetry.Server, s.call.DateCreated)
	if err := s.connect(ctx); err != nil {
		s.log.Error("inbound call without account", "err", err)
		s.finish(call.Failed, call.Cause{SIPCode: 500, Reason: err.Error(), Local: true})
		return
	}
	if s.barred {
		e := twilio.Err(10001)
		s.notify(e, nil)
		s.finish(call.Failed, call.Cause{SIPCode: 403, Reason: e.Message, Code: e.Code, Local: true})
		return
	}
	if s.call.Direction.Trunking() {
		s.begin((*Session).trunkDocument)
		return
	}
	if s.call.Options.URL == "" {
		e, reason := &twilio.Error{Code: 11100, Message: "the number " + s.call.To + " has no VoiceUrl: set one with `offhook numbers update`"}, "number without VoiceUrl"
		if sid := s.call.Options.ApplicationSID; sid != "" {
			e.Message, reason = "the application "+sid+" has no VoiceUrl", "application without VoiceUrl"
		} else if name := s.call.Options.SIPDomain; name != "" {
			e.Message, reason = "the SIP domain "+name+" has no VoiceUrl", "SIP domain without VoiceUrl"
		}
		s.notify(e, nil)
		s.finish(call.Failed, call.Cause{SIPCode: 404, Reason: reason, Local: true})
		return
	}
	s.leg.Ring()
	s.inviteEvent(180)
	s.begin((*Session).firstDocument)
}

// host is the address in a source such as [2001:db8::1]:5060, without port and brackets.
func host(source string) string {
	a, err := netip.ParseAddrPort(source)
	if err != nil {
		return source
	}
	return a.Addr().String()
}

// wait pauses for d of the call's clock.
func (s *Session) wait(ctx context.Context, d time.Duration) error {
	t := s.newTimer(d)
	defer t.free()
	select {
	case <-t.C():
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
