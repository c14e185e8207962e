package session

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/twilio"
)

// Keys of the dialling queues that are not a trunk's.
const (
	queueSIP       = "sip"
	queueSimulator = "sim"
	queueInternal  = "own"    // our own numbers: not paced
	queuePhones    = "phones" // that registered at our domains: not paced either
)

// queueFor decides at create time which queue a call to that endpoint waits in, and the trunk it takes.
func (m *Manager) queueFor(ctx context.Context, accountSID, to string) (key, trunkSID string) {
	if _, ok := call.ClientIdentity(to); ok || m.domainOf(accountSID, to) != nil {
		return queuePhones, ""
	}
	if call.IsSIP(to) {
		return queueSIP, ""
	}
	if _, err := m.Store.NumberByPhone(ctx, to); err == nil {
		return queueInternal, ""
	}
	if t := m.trunkFor(accountSID, to); t != nil {
		return t.SID, t.SID
	}
	return queueSimulator, ""
}

func (m *Manager) limitsOf(key string) Limits {
	switch key {
	case queueSIP:
		return m.SIPLimits
	case queueSimulator:
		return m.SimulatorLimits
	case queueInternal, queuePhones:
		return Limits{}
	}
	if t := m.trunk(key); t != nil {
		return Limits{CPS: t.CPS, MaxCalls: t.MaxCalls}
	}
	return Limits{}
}

func (m *Manager) trunk(sid string) *call.Trunk {
	for _, t := range m.Trunks() {
		if t.SID == sid {
			return &t
		}
	}
	return nil
}

// byoc is the trunk that a BYOC trunk's SID names: one record has one number under both prefixes.
func (m *Manager) byoc(accountSID, sid string) *call.Trunk {
	if !twilio.IsSID(sid, twilio.ByocPrefix) {
		return nil
	}
	if t := m.trunk(call.TrunkSID(sid)); t != nil && t.AccountSID == accountSID && t.Kind != call.Elastic {
		return t
	}
	return nil
}

// trunkFor is the trunk whose prefix matches the number best; the older one wins a tie. Those of the account go before
// the server's, and others are not for it.
func (m *Manager) trunkFor(accountSID, number string) *call.Trunk {
	var best *call.Trunk
	longest := 0
	for _, own := range []bool{true, false} {
		for _, t := range m.Trunks() {
			if (t.AccountSID == accountSID) != own || !m.serves(&t, accountSID) {
				continue
			}
			for _, p := range t.Prefixes {
				if len(p) > longest && strings.HasPrefix(number, p) {
					best, longest = &t, len(p)
				}
			}
		}
		if best != nil {
			break
		}
	}
	return best
}

// domainOf is the SIP domain of the account that a sip: URI names. That of another account is called as the rest of
// the world is, and asks who calls.
func (m *Manager) domainOf(accountSID, to string) *call.Domain {
	if !call.IsSIP(to) {
		return nil
	}
	_, host := call.SIPAddress(to)
	domains := m.Domains()
	for i := range domains {
		if d := &domains[i]; d.Name == host && d.AccountSID == accountSID {
			return d
		}
	}
	return nil
}

// legsFor says how c is to be reached: at several places, whichever answers first.
func (m *Manager) legsFor(ctx context.Context, c *call.Call) ([]call.OutboundLeg, error) {
	leg, err := m.legFor(c)
	if err != nil || c.QueueKey != queuePhones {
		return []call.OutboundLeg{leg}, err
	}
	if identity, ok := call.ClientIdentity(c.To); ok {
		leg.Headers = c.Options.Parameters
		return m.client(ctx, c.AccountSID, identity, leg)
	}
	user, _ := call.SIPAddress(c.To)
	if _, leg.Headers, err = call.SplitSIP(c.To); err != nil {
		return nil, err
	}
	d := m.domainOf(c.AccountSID, c.To)
	if d == nil || !registers(d, user) {
		return nil, unregistered(404, c.To)
	}
	return m.phones(ctx, d, user, leg, c.To)
}

// client finds the phones that registered under an identity at any domain of the account.
func (m *Manager) client(ctx context.Context, accountSID, identity string, leg call.OutboundLeg) (all []call.OutboundLeg, err error) {
	domains := m.Domains()
	err = unregistered(480, "client:"+identity)
	for i := range domains {
		d := &domains[i]
		if d.AccountSID != accountSID || !registers(d, identity) || len(all) >= maxPhones {
			continue
		}
		legs, e := m.phones(ctx, d, identity, leg, "client:"+identity)
		if e != nil {
			err = e
			continue
		}
		all = append(all, legs...)
	}
	if len(all) > 0 {
		return all[:min(len(all), maxPhones)], nil
	}
	return nil, err
}

// maxPhones bounds those that ring for one call.
const maxPhones = 20

func registers(d *call.Domain, user string) bool {
	_, ok := d.Registrants[user]
	return d.SIPRegistration && ok
}

// phones are the legs to those that registered as user.
func (m *Manager) phones(ctx context.Context, d *call.Domain, user string, leg call.OutboundLeg, to string) ([]call.OutboundLeg, error) {
	contacts, err := m.Locations.Lookup(ctx, m.Clock.Now(), d.SID, user)
	if err != nil {
		return nil, &call.LegError{Cause: call.Cause{SIPCode: 503, Reason: "registrations cannot be read", Local: true}, Err: err}
	}
	leg.To = "sip:" + url.PathEscape(user) + "@" + d.Name
	leg.Symmetric, leg.Secure = true, d.Secure
	from, _ := strings.CutPrefix(leg.From, "client:")
	if from != "" && !call.IsSIP(from) {
		leg.From = "sip:" + url.PathEscape(from) + "@" + d.Name
	}
	var legs []call.OutboundLeg
	for i := range contacts {
		c := &contacts[i]
		if d.Secure && c.Transport != "tls" {
			continue // the domain was made secure since
		}
		leg.Target, leg.Dest, leg.Transport = c.URI, c.Dest, c.Transport
		legs = append(legs, leg)
	}
	if len(legs) == 0 {
		return nil, unregistered(480, to)
	}
	return legs, nil
}

const unregisteredCode = 32009

// unregistered is a call to somebody who has no phone here now.
func unregistered(code int, to string) error {
	e := &twilio.Error{Code: unregisteredCode, Message: to + " is not registered"}
	return &call.LegError{Cause: call.Cause{SIPCode: code, Reason: e.Message, Code: e.Code, Local: true}, Err: e}
}

// legFor says how c is to be reached, but for what legsFor finds out.
func (m *Manager) legFor(c *call.Call) (call.OutboundLeg, error) {
	o := &c.Options
	leg := call.OutboundLeg{
		CallSID: c.SID, From: c.From, Username: o.SIPUsername, Password: o.SIPPassword, HoldACK: true, Hops: o.Hops,
	}
	if o.CallerID != "" {
		leg.From = o.CallerID
	}
	switch c.QueueKey {
	case queueSIP:
		var err error
		leg.Target, leg.Headers, err = call.SplitSIP(c.To)
		return leg, err
	case queuePhones:
		return leg, nil
	case queueInternal:
		leg.Dest, leg.Transport, leg.Hairpin = m.Dialer.Self(), "udp", true
		leg.DivertedBy = c.ForwardedFrom
		leg.Target = "sip:" + c.To + "@" + leg.Dest
		if sid, ok := strings.CutPrefix(c.To, call.AppScheme); ok {
			leg.Target = "sip:" + sid + "@" + leg.Dest
			leg.Headers = map[string]string{dialerHeader: c.SID}
			if !call.IsE164(leg.From) && !call.IsSIP(leg.From) {
				leg.From = "sip:" + url.PathEscape(strings.TrimPrefix(leg.From, "client:")) + "@" + leg.Dest
			}
		}
		return leg, nil
	case queueSimulator:
		leg.Dest, leg.Transport = m.Simulator(), "udp"
		if leg.Dest == "" {
			return leg, &twilio.Error{Code: 21214, Message: fmt.Sprintf(
				"no trunk serves %s: add one with `offhook trunks add`", c.To)}
		}
		leg.Target = "sip:" + c.To + "@" + leg.Dest
		return leg, nil
	}
	t := m.trunk(c.QueueKey)
	if t == nil {
		return leg, &twilio.Error{Code: 21214, Message: "the trunk of this call was removed while it waited"}
	}
	uris := t.Route(c.To, rand.IntN)
	if len(uris) == 0 {
		return leg, &twilio.Error{Code: 21214, Message: "the trunk of this call has no target that is enabled"}
	}
	leg.Target, leg.Targets = uris[0], uris[1:]
	leg.Secure, leg.Trusted, leg.DivertedBy = t.Secure, true, c.ForwardedFrom
	if t.Kind == call.Elastic {
		if t.CNAMLookup {
			leg.FromName = c.CallerName
		}
		if user, host, ok := strings.Cut(leg.From, "@"); ok && !call.IsSIP(leg.From) {
			leg.From = "sip:" + url.PathEscape(user) + "@" + host
		}
	}
	if t.FromHost != "" && !call.IsSIP(leg.From) {
		leg.From = "sip:" + url.PathEscape(leg.From) + "@" + t.FromHost
	}
	if leg.Username == "" {
		leg.Username, leg.Password = t.Username, t.Password
	}
	return leg, nil
}
