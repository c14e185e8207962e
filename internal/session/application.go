package session

import (
	"context"
	"errors"
	"net/url"
	"strings"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/twilio"
	"github.com/offhook/offhook/internal/twiml"
)

// obey has a call that came in for something of the account follow one of its applications. What the call was for may
// have its own wish for the caller's name.
func (m *Manager) obey(ctx context.Context, c *call.Call, sid string) error {
	a, err := m.Store.Application(ctx, sid)
	if err != nil {
		return err // it was deleted at this moment, and with it the reference to it
	}
	c.Options.Obey(a)
	c.Options.CallerIDLookup = c.Options.CallerIDLookup || a.CallerIDLookup
	return nil
}

// follow has an outbound call follow the application that its create names, if it does. The error is a *twilio.Error
// when that is none to follow.
func (m *Manager) follow(ctx context.Context, c *call.Call, sid string) error {
	if sid == "" {
		return nil
	}
	a, err := m.Store.Application(ctx, sid)
	switch {
	case errors.Is(err, call.ErrNotFound) || err == nil && a.AccountSID != c.AccountSID:
		return call.ErrNoApplication(sid)
	case err != nil:
		return err
	case a.Voice.URL == "":
		return twilio.Errf(21205, "The application %s has no VoiceUrl", sid)
	}
	c.Options.Obey(a)
	return nil
}

// A <Dial> of an application is two calls, as that of one of our own numbers is: the called party's, and one that comes
// in for the application, by our own listener.

// dialerHeader tells the call that comes in which call it is the other end of. It is believed of our own INVITEs only.
const dialerHeader = "X-Offhook-Call"

// customerParameter is the customerId of <Application> in the application's requests.
const customerParameter = "CustomerId"

// application makes c the called party's call of an <Application>.
func (d *dialing) application(ctx context.Context, c *call.Call, n *twiml.DialApplication) error {
	a, err := d.s.m.Store.Application(ctx, n.SID)
	switch {
	case errors.Is(err, call.ErrNotFound) || err == nil && !a.Admits(c.AccountSID):
		return &twilio.Error{Code: 21218, Message: "Dial: there is no application " + n.SID}
	case err != nil:
		return err
	}
	o := &c.Options
	c.To, c.QueueKey = call.AppScheme+n.SID, queueInternal
	o.Parameters = make(map[string]string, len(n.Parameters)+1)
	for _, p := range n.Parameters {
		o.Parameters[p.Name] = p.Value
	}
	if n.CustomerID != "" {
		o.Parameters[customerParameter] = n.CustomerID
	}
	if n.CopyParentTo {
		o.AppTo = d.s.snapshot.Load().To
	}
	return nil
}

// dialedApplication makes c the call of an application that one of our own calls is for.
func (m *Manager) dialedApplication(ctx context.Context, c *call.Call, headers map[string]string) error {
	m.mu.Lock()
	dialer := m.live[headers[dialerHeader]]
	m.mu.Unlock()
	if dialer == nil {
		return call.ErrNotFound
	}
	from := dialer.snapshot.Load()
	sid := strings.TrimPrefix(from.To, call.AppScheme)
	a, err := m.Store.Application(ctx, sid)
	if err != nil {
		return err
	}
	c.AccountSID, c.From, c.To = a.AccountSID, from.From, from.To
	o := &c.Options
	if from.Options.AppTo != "" {
		c.To = from.Options.AppTo
	}
	delete(o.SIPHeaders, dialerHeader)
	o.Obey(a)
	o.CallerIDLookup, o.Parameters = a.CallerIDLookup, from.Options.Parameters
	o.FromCountry, o.ToCountry = call.Country(c.From), call.Country(c.To)
	return nil
}

// setDialed adds what a <Dial> had for the application that c came in for. None of it stands in for what a request says
// of the call itself.
func setDialed(p url.Values, c *call.Call) {
	if !c.CameIn() {
		return
	}
	for name, value := range c.Options.Parameters {
		if !p.Has(name) {
			p.Set(name, value)
		}
	}
}
