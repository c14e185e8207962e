package session

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/twilio"
	"github.com/offhook/offhook/internal/twiml"
)

// attempt is a party to call.
type attempt struct {
	noun   twiml.Noun
	target int // which of targets
	// targets are a Sip noun's, in the order to be tried.
	targets []twiml.SipTarget
}

// start calls one party; false when that cannot be.
func (d *dialing) start(ctx context.Context, a attempt) bool {
	c, err := d.newCall(ctx, a)
	if err != nil {
		d.s.notify(asTwilio(err), nil)
		return false
	}
	s, err := d.s.m.startChild(c, d, a)
	if err != nil { // a shutdown
		return false
	}
	d.s.trace("dial %s", c.To)
	d.ringing[s] = true
	return true
}

// newCall makes the call of one party, which is stored when its INVITE leaves.
func (d *dialing) newCall(ctx context.Context, a attempt) (*call.Call, error) {
	s, m := d.s, d.s.m
	parent, o := s.snapshot.Load(), a.noun.Options()
	now := m.Clock.Now()
	c := &call.Call{
		SID: twilio.NewSIDAt(twilio.CallPrefix, now), AccountSID: parent.AccountSID, ParentSID: parent.SID,
		From: parent.From, Direction: call.OutboundDial, Status: call.Queued,
		DateCreated: now, DateUpdated: now, PriceUnit: parent.PriceUnit, GroupSID: d.group, Epoch: m.Store.Epoch(),
		Options: call.Options{
			Method: o.Method, StatusMethod: o.StatusCallbackMethod, StatusEvents: o.StatusCallbackEvents,
			Timeout: int(d.verb.Timeout / time.Second), FromCountry: parent.Options.FromCountry,
			Hops: parent.Options.Hops + 1, CallReason: d.verb.CallReason,
		},
	}
	if o := d.doc.over; o != nil {
		c.Direction, c.CallerName = o.direction(), parent.CallerName
	}
	if d.verb.CallerID != "" {
		c.From = d.verb.CallerID
		c.Options.FromCountry = call.Country(c.From)
	}
	for _, u := range []struct {
		ref  string
		into *string
	}{{o.URL, &c.Options.URL}, {o.StatusCallback, &c.Options.StatusURL}, {notificationURL(a.noun), &c.Options.NotificationURL}} {
		if u.ref == "" {
			continue
		}
		target, err := s.resolve(d.doc, u.ref)
		if err != nil {
			return nil, err
		}
		*u.into = target
	}
	if err := d.address(ctx, c, a); err != nil {
		return nil, err
	}
	if err := d.detection(c, o.MachineDetection); err != nil {
		return nil, err
	}
	return c, d.checkFrom(ctx, c, parent)
}

// notificationURL is who wakes the phones of a noun, "" for nobody.
func notificationURL(n twiml.Noun) string {
	if client, ok := n.(*twiml.DialClient); ok {
		return client.NotificationURL
	}
	return ""
}

// address says whom c calls, and by which way.
func (d *dialing) address(ctx context.Context, c *call.Call, a attempt) error {
	m := d.s.m
	switch n := a.noun.(type) {
	case *twiml.DialNumber:
		c.To, c.Options.SendDigits = n.Number, n.SendDigits
		c.Options.ToCountry = call.Country(c.To)
		if o := d.doc.over; o != nil && o.toPBX {
			c.QueueKey, c.TrunkSID = o.trunk.SID, o.trunk.SID
			return nil
		}
		if n.BYOC == "" {
			c.QueueKey, c.TrunkSID = m.queueFor(ctx, c.AccountSID, c.To)
			return nil
		}
		t := m.byoc(c.AccountSID, n.BYOC)
		if t == nil {
			return &twilio.Error{Code: 13223, Message: "Dial: there is no BYOC trunk " + n.BYOC}
		}
		c.QueueKey, c.TrunkSID = t.SID, t.SID
	case *twiml.DialSip:
		t := a.targets[a.target]
		c.To = t.URI + sipQuery(n.Headers)
		c.QueueKey, c.TrunkSID = m.queueFor(ctx, c.AccountSID, c.To)
		c.Options.SIPUsername, c.Options.SIPPassword = t.Username, t.Password
	case *twiml.DialClient:
		c.To, c.Options.Parameters = "client:"+n.Identity, make(map[string]string, len(n.Parameters))
		for _, p := range n.Parameters {
			if err := call.AddParameter(c.Options.Parameters, p.Name, p.Value); err != nil {
				return &twilio.Error{Code: 12200, Message: "Dial: Parameter of <Client>: " + err.Error()}
			}
		}
		c.QueueKey, c.TrunkSID = m.queueFor(ctx, c.AccountSID, c.To)
	case *twiml.DialApplication:
		return d.application(ctx, c, n)
	}
	return nil
}

// sipQuery writes headers as a SIP URI has them (RFC 3261 section 19.1.1).
func sipQuery(headers map[string]string) string {
	pairs := make([]string, 0, len(headers))
	for name, value := range headers {
		pairs = append(pairs, sipEscape(name)+"="+sipEscape(value))
	}
	if len(pairs) == 0 {
		return ""
	}
	slices.Sort(pairs)
	return "?" + strings.Join(pairs, "&")
}

// sipEscape escapes all but the unreserved, of which no part of a URI makes anything.
func sipEscape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

// checkFrom finds the number of ours that c comes from, and refuses a caller ID that the account may not present to a
// number (twiml section 3, callerId).
func (d *dialing) checkFrom(ctx context.Context, c, parent *call.Call) error {
	switch n, err := d.s.m.Store.NumberByPhone(ctx, c.From); {
	case err == nil && n.AccountSID == c.AccountSID:
		c.NumberSID = n.SID
		return nil
	case err != nil && !errors.Is(err, call.ErrNotFound):
		return err
	case call.IsPhone(c.To), strings.HasPrefix(c.To, call.AppScheme), d.doc.over != nil:
		return nil
	case !call.IsE164(c.From):
		if call.IsPhone(c.From) { // no network of numbers can show it
			return &twilio.Error{Code: 13214, Message: "Dial: a call from " + c.From + " to a number needs a callerId"}
		}
		return nil
	case !d.s.m.OwnedFromOnly, c.From == parent.From, c.From == parent.To:
		return nil
	}
	if may, err := d.s.m.Store.MayCallFrom(ctx, c.AccountSID, c.From); err != nil || may {
		return err
	}
	return &twilio.Error{Code: 13214, Message: "Dial: callerId " + c.From + " is not a number of this account"}
}
