package session

import (
	"context"
	"net/url"
	"strconv"

	"github.com/offhook/offhook/internal/call"
)

// next is what follows a Dial that is over: its action, or the next verb.
func (d *dialing) next() (step, error) {
	if d.doc.over != nil {
		return d.overTrunk()
	}
	status := d.status()
	d.s.trace("dial over: %s", status)
	d.s.unconnected = nil
	if d.bridgedAt.IsZero() && d.s.snapshot.Load().Status == call.Ringing {
		d.s.unconnected = refusalFor(status)
	}
	if d.verb.Action == "" {
		return nextVerb, nil
	}
	return d.s.jump(d.doc, d.verb.Method, d.verb.Action, d.params(status))
}

// status is DialCallStatus.
func (d *dialing) status() call.Status {
	switch {
	case d.starred && d.bridgedAt.IsZero(): // whoever answered at that moment did not refuse
		return call.Canceled
	case d.winner != nil, d.picked:
		return call.Completed
	case d.last != nil:
		return d.last.Status
	default:
		return call.Failed // there was nobody to call
	}
}

// refusalFor is how a caller is refused who was never answered, since nobody was (answerOnBridge).
func refusalFor(status call.Status) *rejection {
	switch status {
	case call.Busy:
		return &rejection{486, "Busy Here", call.Busy}
	case call.NoAnswer:
		return &rejection{480, "Temporarily Unavailable", call.NoAnswer}
	case call.Completed:
		return &rejection{603, "Decline", call.NoAnswer} // screened
	default:
		return &rejection{503, "Service Unavailable", call.Failed}
	}
}

// params are those of the action (call-lifecycle section 3.5).
func (d *dialing) params(status call.Status) url.Values {
	p := url.Values{"DialCallStatus": {string(status)}, "DialBridged": {strconv.FormatBool(!d.bridgedAt.IsZero())}}
	if d.tape != nil {
		p.Set("RecordingUrl", d.s.m.baseURL()+d.tape.path)
	}
	c := d.last
	if c == nil {
		return p
	}
	p.Set("DialCallSid", c.SID)
	if seconds, ended := c.Duration(); ended && !c.AnsweredAt.IsZero() && !d.left {
		p.Set("DialCallDuration", strconv.Itoa(seconds))
	}
	if call.IsSIP(c.To) {
		if c.Dialog != nil {
			p.Set("DialSipCallId", c.Dialog.CallID)
		}
		code := 200
		if c.AnsweredAt.IsZero() {
			code = sipResponse(c)
		}
		p.Set("DialSipResponseCode", strconv.Itoa(code))
	}
	return p
}

// abandon ends a Dial whose caller hung up or was redirected. The action is requested all the same, and its
// answer thrown away (calls-api section 7); nobody waits for it but the document that follows.
func (d *dialing) abandon(ctx context.Context) {
	s := d.s
	if s.transfer.Load().orphan(d.link) { // whoever he talked to may be connected with somebody else
		d.dropRinging("the caller hung up")
	} else {
		d.dropAll("the caller hung up")
	}
	d.quiet()
	d.disconnect()
	status := call.Canceled
	for child := range d.ringing { // the first of them speaks for all
		if c := child.snapshot.Load(); !d.picked && (d.last == nil || d.last.Status != call.Canceled || c.SID < d.last.SID) {
			d.last = c.Clone()
			d.last.Status = call.Canceled
		}
	}
	if d.winner != nil || d.picked {
		status = call.Completed
		if !d.left && d.link == nil {
			d.last = d.sofar()
		}
	}
	if d.verb.Action == "" {
		return
	}
	s.bidFarewell(ctx, d.doc, d.verb.Method, d.verb.Action, d.params(status))
}
