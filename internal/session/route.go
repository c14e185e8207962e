package session

import (
	"context"
	"fmt"
	"strings"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/twilio"
)

// Keys of the dialling queues that are not a trunk's.
const (
	queueSIP       = "sip"
	queueSimulator = "sim"
	queueInternal  = "own" // our own numbers: not paced
)

// queueFor decides at create time which queue a call to that endpoint waits in, and the trunk it takes.
func (m *Manager) queueFor(ctx context.Context, to string) (key, trunkSID string) {
	if call.IsSIP(to) {
		return queueSIP, ""
	}
	if _, err := m.Store.NumberByPhone(ctx, to); err == nil {
		return queueInternal, ""
	}
	if t := m.trunkFor(to); t != nil {
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
	case queueInternal:
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
func (m *Manager) byoc(sid string) *call.Trunk {
	if id, ok := strings.CutPrefix(sid, twilio.ByocPrefix); ok {
		return m.trunk(twilio.TrunkPrefix + id)
	}
	return nil
}

// trunkFor is the trunk whose prefix matches the number best; the older one wins a tie.
func (m *Manager) trunkFor(number string) *call.Trunk {
	var best *call.Trunk
	longest := 0
	for _, t := range m.Trunks() {
		for _, p := range t.Prefixes {
			if len(p) > longest && strings.HasPrefix(number, p) {
				best, longest = &t, len(p)
			}
		}
	}
	return best
}

// legFor says how c is to be reached.
func (m *Manager) legFor(c *call.Call) (call.OutboundLeg, error) {
	o := &c.Options
	leg := call.OutboundLeg{
		CallSID: c.SID, From: c.From, Username: o.SIPUsername, Password: o.SIPPassword, HoldACK: true,
	}
	if o.CallerID != "" {
		leg.From = o.CallerID
	}
	switch c.QueueKey {
	case queueSIP:
		var err error
		leg.Target, leg.Headers, err = call.SplitSIP(c.To)
		return leg, err
	case queueInternal:
		leg.Dest, leg.Transport, leg.Hairpin = m.Dialer.Self(), "udp", true
		leg.Target = "sip:" + c.To + "@" + leg.Dest
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
	leg.Target = "sip:" + c.To + "@" + t.Host + ";user=phone"
	leg.Transport = t.Transport
	if leg.Username == "" {
		leg.Username, leg.Password = t.Username, t.Password
	}
	return leg, nil
}
