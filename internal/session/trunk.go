package session

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"time"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/twilio"
	"github.com/offhook/offhook/internal/twiml"
)

// A call over an elastic trunk is two calls, as that of a <Dial> is: the one that came in, and its child to the other
// side. No document says so: the call that came in runs a Dial that trunkDocument made.

// trunkRings is how long the other side of a trunk may ring: with dialBuffer more than the 3 minutes of a proxy's Timer C
// (RFC 3261 section 16.6).
const trunkRings = 3 * time.Minute

// serves reports whether an account's calls may go through t, and t's calls may be for the account's numbers: t is
// its own, or the server's, which has the account that the operator made trunks with.
func (m *Manager) serves(t *call.Trunk, accountSID string) bool {
	return t.AccountSID == accountSID || m.isServers(t)
}

func (m *Manager) isServers(t *call.Trunk) bool {
	return t.Kind != call.Elastic && (t.AccountSID == "" || t.AccountSID == m.Operator)
}

// Fits says how well t fits a call to a number from a carrier that accounts share: 2 when both are one account's, 1
// when t is the server's and the number some account's, else 0.
func (m *Manager) Fits(t *call.Trunk, number string) int {
	ctx, cancel := context.WithTimeout(context.Background(), saveTimeout)
	defer cancel()
	n, err := m.Store.NumberByPhone(ctx, number)
	switch {
	case err != nil: // or the store says so again, when the call is to be stored
		return 0
	case t.AccountSID == n.AccountSID:
		return 2
	case m.isServers(t):
		return 1
	}
	return 0
}

// terminating makes c the call of t's PBX to a number. The error may be a *rejection.
func (m *Manager) terminating(ctx context.Context, c *call.Call, t *call.Trunk) error {
	c.AccountSID, c.TrunkSID, c.Direction = t.AccountSID, t.SID, call.TrunkingTerminating
	if !call.IsE164(c.To) {
		return &rejection{404, "No Phone Number In E.164 Form", call.Failed}
	}
	n, err := m.Store.NumberByPhone(ctx, c.From)
	switch {
	case err == nil && n.AccountSID == c.AccountSID:
		c.NumberSID = n.SID
	case err != nil && !errors.Is(err, call.ErrNotFound):
		return err
	case !call.IsE164(c.From) && c.From != anonymous, m.OwnedFromOnly && c.From == anonymous:
		return notCallerID()
	case m.OwnedFromOnly:
		if may, err := m.Store.MayCallFrom(ctx, c.AccountSID, c.From); err != nil || !may {
			return cmp.Or(err, notCallerID())
		}
	}
	c.Options.FromCountry, c.Options.ToCountry = call.Country(c.From), call.Country(c.To)
	return nil
}

func notCallerID() error {
	return &rejection{403, "Caller ID Is No Number Of The Account", call.Failed}
}

// anonymous is the From of a caller who is not to be named (RFC 3323 section 4.1.1.3).
const anonymous = "anonymous"

// callerOf is who calls over a trunk: of an address that names nobody only that.
func callerOf(from string) string {
	if user, _, _ := strings.Cut(from, "@"); strings.EqualFold(user, anonymous) {
		return anonymous
	}
	return from
}

// Error makes a rejection what is wrong with an INVITE.
func (r *rejection) Error() string { return r.phrase }

// over is what a document that no application wrote is for: to call the other side of an elastic trunk.
type over struct {
	trunk *call.Trunk
	toPBX bool // by the trunk's targets
	moved bool // a transfer led to it: the PBX has left
}

// dials is the document that calls somebody over a trunk.
func (o *over) dials(noun twiml.Noun, callerID string) *document {
	d := &twiml.Dial{
		AnswerOnBridge: true, Method: "POST", ReferMethod: "POST", CallerID: callerID,
		TimeLimit: call.DefaultTimeLimit, Timeout: trunkRings, Record: o.trunk.RecordMode,
		Recording: twiml.Recording{Track: call.TrackBoth, Trim: o.trunk.RecordTrim, StatusCallbackMethod: "POST"},
		Nouns:     []twiml.Noun{noun},
	}
	return &document{Document: &twiml.Document{Verbs: []twiml.Verb{d}}, method: "POST", over: o}
}

// direction is that of a call to the other side.
func (o *over) direction() call.Direction {
	if o.toPBX {
		return call.TrunkingOriginating
	}
	return call.TrunkingTerminating
}

// trunkDocument is the first document of a call over a trunk.
func (s *Session) trunkDocument(context.Context) (*document, error) {
	c := s.snapshot.Load()
	t := s.m.trunk(c.TrunkSID)
	if t == nil {
		return nil, stopError{result{"the trunk was removed", &rejection{480, "Temporarily Unavailable", call.Failed}}}
	}
	o := &over{trunk: t, toPBX: c.Direction == call.TrunkingOriginating}
	return o.dials(&twiml.DialNumber{Number: c.To}, ""), nil
}

// overTrunk is what follows a call over a trunk that is over: nothing, but the document for a disaster when its PBX
// could not be reached. A caller who was not answered gets the answer of the far side.
func (d *dialing) overTrunk() (step, error) {
	status := d.status()
	d.s.trace("trunk: %s", status)
	if status == call.Completed {
		return nextVerb, stopError{result{reason: "the other party hung up"}}
	}
	o, r := d.doc.over, refusalFor(status)
	if o.toPBX && o.trunk.RecoveryURL != "" && d.unreachable() {
		d.s.trace("trunk: none of its targets was reached: disaster recovery")
		return d.s.jump(d.doc, o.trunk.RecoveryMethod, o.trunk.RecoveryURL, nil)
	}
	if c := d.last; c != nil {
		cause := c.Cause
		switch {
		case cause.SIPCode == 401, cause.SIPCode == 407: // they ask us, and the caller could not answer
		case cause.SIPCode >= 400 && cause.SIPCode != 487:
			r = &rejection{cause.SIPCode, cause.Reason, status}
			if cause.Local || r.phrase == "" {
				r.phrase = "Call Failed" // not our own words
			}
		case cause.Code == 21214 && !o.toPBX: // no carrier goes there
			r = &rejection{404, "Not Found", status}
		}
	}
	return nextVerb, stopError{result{r.phrase, r}}
}

// unreachable reports whether nobody was there who could have said that it rings, is busy or whatever.
func (d *dialing) unreachable() bool {
	c := d.last
	switch {
	case d.rang || c != nil && c.Status == call.Canceled:
		return false
	case c == nil || c.Cause.Local || c.Cause.SIPCode == 408:
		return true
	}
	return c.Cause.SIPCode >= 500 && c.Cause.SIPCode < 600
}

// redial is the document for the other party that a REFER of the trunk's PBX leads to; nil when the TransferMode does
// not allow it.
func (o *over) redial(asks, other *Session, uri string) *document {
	// Whoever asks must be the PBX: it called, or the trunk's targets led to it.
	if o.moved || o.toPBX != (asks.child != nil) || o.trunk.TransferMode == transferNone {
		return nil
	}
	c, to := other.snapshot.Load(), &over{trunk: o.trunk, moved: true}
	shown, transferor := c.To, c.From
	if c.CameIn() {
		shown, transferor = transferor, shown
	}
	if o.trunk.TransferCallerID == "from-transferor" {
		shown = transferor
	}
	user, host := call.SIPAddress(uri)
	if _, us := call.SIPAddress(asks.leg.Dialog().LocalURI); call.IsE164(user) && (host == o.trunk.DomainName || host == us) {
		if o.trunk.TransferMode != transferAll {
			return nil
		}
		return to.dials(&twiml.DialNumber{Number: user}, shown)
	}
	target, headers, err := call.SplitSIP(uri)
	if err != nil || !call.IsSIP(target) {
		return nil
	}
	return to.dials(&twiml.DialSip{Targets: []twiml.SipTarget{{URI: target}}, Headers: headers}, shown)
}

// Values of TransferMode; between them there is sip-only.
const (
	transferNone = "disable-all"
	transferAll  = "enable-all"
)

// errTrunkCall refuses new instructions for a call that runs none.
func errTrunkCall() error {
	return twilio.Errf(21220, "Call is one over an elastic trunk. Cannot redirect.")
}
