package session

import (
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/twilio"
)

// newEvents makes the events of those names of what c is now, and counts its event sequence up.
func newEvents(c *call.Call, now time.Time, names ...string) []call.Event {
	snapshot := call.Snapshot(c, nil)
	events := make([]call.Event, len(names))
	for i, name := range names {
		events[i] = call.Event{
			ID: twilio.NewSIDAt("EV", now), CallSID: c.SID, AccountSID: c.AccountSID,
			Seq: c.EventSeq, Name: name, Time: now, Snapshot: snapshot,
		}
		c.EventSeq++
	}
	return events
}

// newCallbacks is the status callback of an event (initiated, ringing, answered, completed) if the
// application asked for it; it counts the SequenceNumber up. Its order is that of the event, since the
// SequenceNumber begins anew with another URL, which may be one that was there before.
func newCallbacks(c *call.Call, event string, now time.Time, params url.Values) []call.Callback {
	o := &c.Options
	if o.StatusURL == "" || !slices.Contains(o.StatusEvents, event) {
		return nil
	}
	p := params
	p.Set("Timestamp", twilio.FormatTime(now))
	p.Set("CallbackSource", "call-progress-events")
	p.Set("SequenceNumber", strconv.Itoa(c.CallbackSeq))
	if event == "initiated" {
		p.Set("CallStatus", string(call.Initiated))
	}
	if seconds, ended := c.Duration(); ended {
		p.Set("CallDuration", strconv.Itoa(seconds))
		p.Set("Duration", strconv.Itoa((seconds+59)/60))
		p.Set("SipResponseCode", strconv.Itoa(sipResponse(c)))
		if c.AnsweredBy != "" {
			p.Set("AnsweredBy", c.AnsweredBy)
		}
	}
	cb := call.Callback{
		ID: twilio.NewSIDAt("EV", now), CallSID: c.SID, AccountSID: c.AccountSID,
		Seq: c.EventSeq, Method: o.StatusMethod, URL: o.StatusURL, Params: p, CreatedAt: now,
	}
	c.CallbackSeq++
	return []call.Callback{cb}
}

// sipResponse is the final SIP code of c, or the one that says the same when none was seen.
func sipResponse(c *call.Call) int {
	switch {
	case c.Cause.SIPCode != 0:
		return c.Cause.SIPCode
	case c.Status == call.Completed:
		return 200
	case c.Status == call.Canceled:
		return 487
	case c.Cause.Code == 21214: // nothing leads to that number
		return 404
	default:
		return 503
	}
}

// voiceParams are the parameters that every request about c carries (call-lifecycle section 3.1).
func voiceParams(c *call.Call) url.Values {
	p := url.Values{
		"CallSid": {c.SID}, "AccountSid": {c.AccountSID}, "ApiVersion": {"2010-04-01"},
		"From": {c.From}, "To": {c.To}, "Caller": {c.From}, "Called": {c.To},
		"CallStatus": {string(c.Status)}, "Direction": {string(c.Direction)},
	}
	if c.ParentSID != "" {
		p.Set("ParentCallSid", c.ParentSID)
	}
	if c.Options.ApplicationSID != "" {
		p.Set("ApplicationSid", c.Options.ApplicationSID)
	}
	if c.ForwardedFrom != "" {
		p.Set("ForwardedFrom", c.ForwardedFrom)
	}
	if c.CallerName != "" && c.Options.CallerIDLookup {
		p.Set("CallerName", c.CallerName)
	}
	setPlace(p, "From", "Caller", c.Options.FromCountry)
	setPlace(p, "To", "Called", c.Options.ToCountry)
	for name, value := range c.Options.SIPHeaders {
		p.Set("SipHeader_"+name, value)
	}
	if c.Options.SIPSource != "" {
		p.Set("SipSourceIp", c.Options.SIPSource)
	}
	if c.Options.SIPDomain != "" {
		p.Set("SipDomain", c.Options.SIPDomain)
		p.Set("SipDomainSid", c.Options.SIPDomainSID)
	}
	if c.Dialog != nil && (c.Options.SIPSource != "" || call.IsSIP(c.To)) {
		p.Set("SipCallId", c.Dialog.CallID)
	}
	setDialed(p, c)
	return p
}

// setPlace adds the geographic parameters of a number, as far as its numbering plan tells: the country.
// Twilio sends the keys of what it does not know with an empty value.
func setPlace(p url.Values, a, b, country string) {
	if country == "" {
		return
	}
	for _, prefix := range [...]string{a, b} {
		p.Set(prefix+"City", "")
		p.Set(prefix+"State", "")
		p.Set(prefix+"Zip", "")
		p.Set(prefix+"Country", country)
	}
}

// notification makes a notification of c from a runtime error.
func notification(c *call.Call, e *twilio.Error, now time.Time) call.Notification {
	return call.Notification{
		SID: twilio.NewSIDAt(twilio.NotificationPrefix, now), CallSID: c.SID, AccountSID: c.AccountSID,
		Code: e.Code, Level: twilio.Level(e.Code), Message: e.Message, Time: now,
	}
}
