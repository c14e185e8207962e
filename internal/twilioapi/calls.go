package twilioapi

import (
	"net/http"
	"slices"
	"time"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/twilio"
)

// createForm: calls-api section 4.
var createForm = newForm([]param[call.CreateParams]{
	text("To", func(p *call.CreateParams) *string { return &p.To }),
	text("From", func(p *call.CreateParams) *string { return &p.From }),
	text("Url", func(p *call.CreateParams) *string { return &p.Options.URL }),
	text("Twiml", func(p *call.CreateParams) *string { return &p.Options.Twiml }),
	text("ApplicationSid", func(p *call.CreateParams) *string { return &p.ApplicationSID }),
	text("Method", func(p *call.CreateParams) *string { return &p.Options.Method }),
	text("FallbackUrl", func(p *call.CreateParams) *string { return &p.Options.FallbackURL }),
	text("FallbackMethod", func(p *call.CreateParams) *string { return &p.Options.FallbackMethod }),
	text("StatusCallback", func(p *call.CreateParams) *string { return &p.Options.StatusURL }),
	text("StatusCallbackMethod", func(p *call.CreateParams) *string { return &p.Options.StatusMethod }),
	texts("StatusCallbackEvent", func(p *call.CreateParams) *[]string { return &p.Options.StatusEvents }),
	text("SendDigits", func(p *call.CreateParams) *string { return &p.Options.SendDigits }),
	integer("Timeout", 21208, 1, int(call.MaxTimeout.Seconds()), func(p *call.CreateParams) *int { return &p.Options.Timeout }),
	integer("TimeLimit", 20001, 1, int(call.DefaultTimeLimit.Seconds()), func(p *call.CreateParams) *int { return &p.Options.TimeLimit }),
	text("Byoc", func(p *call.CreateParams) *string { return &p.Byoc }),
	text("CallReason", func(p *call.CreateParams) *string { return &p.Options.CallReason }),
	text("CallerId", func(p *call.CreateParams) *string { return &p.Options.CallerID }),
	text("SipAuthUsername", func(p *call.CreateParams) *string { return &p.Options.SIPUsername }),
	text("SipAuthPassword", func(p *call.CreateParams) *string { return &p.Options.SIPPassword }),

	boolean("Record", func(p *call.CreateParams) **bool { return &p.Record }),
	text("RecordingChannels", func(p *call.CreateParams) *string { return &p.Recording.Channels }),
	text("RecordingTrack", func(p *call.CreateParams) *string { return &p.Recording.Track }),
	text("RecordingStatusCallback", func(p *call.CreateParams) *string { return &p.Recording.StatusURL }),
	text("RecordingStatusCallbackMethod", func(p *call.CreateParams) *string { return &p.Recording.StatusMethod }),
	texts("RecordingStatusCallbackEvent", func(p *call.CreateParams) *[]string { return &p.Recording.StatusEvents }),
	text("Trim", func(p *call.CreateParams) *string { return &p.Recording.Trim }),

	text("MachineDetection", func(p *call.CreateParams) *string { return &p.MachineDetection.Mode }),
	integer("MachineDetectionTimeout", 21234, call.MinDetectionTimeout, call.MaxDetectionTimeout, func(p *call.CreateParams) *int { return &p.MachineDetection.Timeout }),
	integer("MachineDetectionSpeechThreshold", 21234, call.MinSpeechThreshold, call.MaxSpeechThreshold, func(p *call.CreateParams) *int { return &p.MachineDetection.SpeechThreshold }),
	integer("MachineDetectionSpeechEndThreshold", 21234, call.MinSpeechEndThreshold, call.MaxSpeechEndThreshold, func(p *call.CreateParams) *int { return &p.MachineDetection.SpeechEndThreshold }),
	integer("MachineDetectionSilenceTimeout", 21234, call.MinSilenceTimeout, call.MaxSilenceTimeout, func(p *call.CreateParams) *int { return &p.MachineDetection.SilenceTimeout }),
	boolean("AsyncAmd", func(p *call.CreateParams) **bool { return &p.AsyncAMD }),
	text("AsyncAmdStatusCallback", func(p *call.CreateParams) *string { return &p.MachineDetection.CallbackURL }),
	text("AsyncAmdStatusCallbackMethod", func(p *call.CreateParams) *string { return &p.MachineDetection.CallbackMethod }),

	text("CallToken", func(p *call.CreateParams) *string { return &p.CallToken }),
	text("ClientNotificationUrl", func(p *call.CreateParams) *string { return &p.Options.NotificationURL }),
	// Twilio's of old, which it does not describe any more.
	{name: "IfMachine", read: func(_ *call.CreateParams, value string) error {
		if value == "" {
			return nil
		}
		return twilio.Errf(21207, "IfMachine has given way to MachineDetection: %s", clip(value))
	}},
})

func (a *api) createCall(q *request) error {
	if !q.account.Active() { // its parent asks
		return twilio.Err(20005)
	}
	var p call.CreateParams
	if _, err := createForm.decode(q, &p, p.Missing); err != nil {
		return err
	}
	c, err := a.Calls.Create(q.r.Context(), q.account.SID, p)
	if err != nil {
		return err
	}
	q.sendCall(http.StatusCreated, c)
	return nil
}

func (q *request) sendCall(status int, c *call.Call) {
	q.sendOne(status, func() { q.enc.call(c) })
}

func (a *api) fetchCall(q *request) error {
	sid, err := q.sid("Sid", twilio.CallPrefix)
	if err != nil {
		return err
	}
	c, err := a.Store.Call(q.r.Context(), q.account.SID, sid)
	if err != nil {
		return err
	}
	q.sendCall(http.StatusOK, c)
	return nil
}

// updateForm: calls-api section 7.
var updateForm = newForm([]param[call.UpdateParams]{
	text("Status", func(p *call.UpdateParams) *string { return (*string)(&p.Status) }),
	text("Url", func(p *call.UpdateParams) *string { return &p.URL }),
	text("Method", func(p *call.UpdateParams) *string { return &p.Method }),
	text("Twiml", func(p *call.UpdateParams) *string { return &p.Twiml }),
	text("FallbackUrl", func(p *call.UpdateParams) *string { return &p.FallbackURL }),
	text("FallbackMethod", func(p *call.UpdateParams) *string { return &p.FallbackMethod }),
	text("StatusCallback", func(p *call.UpdateParams) *string { return &p.StatusURL }),
	text("StatusCallbackMethod", func(p *call.UpdateParams) *string { return &p.StatusMethod }),
	integer("TimeLimit", 20001, 1, int(call.DefaultTimeLimit.Seconds()), func(p *call.UpdateParams) *int { return &p.TimeLimit }),
})

func (a *api) updateCall(q *request) error {
	sid, err := q.sid("Sid", twilio.CallPrefix)
	if err != nil {
		return err
	}
	var p call.UpdateParams
	if _, err := updateForm.decode(q, &p, nil); err != nil {
		return err
	}
	c, err := a.Calls.Update(q.r.Context(), q.account.SID, sid, p)
	if err != nil {
		return err
	}
	q.sendCall(http.StatusOK, c)
	return nil
}

func (a *api) deleteCall(q *request) error {
	sid, err := q.sid("Sid", twilio.CallPrefix)
	if err != nil {
		return err
	}
	if err := a.Calls.Delete(q.r.Context(), q.account.SID, sid); err != nil {
		return err
	}
	q.send(http.StatusNoContent)
	return nil
}

// callQuery is a list request; calls-api section 6.
type callQuery struct {
	page
	call.Filter
}

var listForm = newForm(
	filters(
		param[callQuery]{name: "Status", list: true, read: func(l *callQuery, value string) error {
			switch s := call.Status(value); {
			case value == "":
			case !slices.Contains(call.Statuses, s):
				return twilio.Errf(20001, "Status must be one of %v: %s", call.Statuses, clip(value))
			case !slices.Contains(l.Statuses, s):
				l.Statuses = append(l.Statuses, s)
			}
			return nil
		}},
		endpoint("To", func(l *callQuery) *string { return &l.To }),
		endpoint("From", func(l *callQuery) *string { return &l.From }),
		text("ParentCallSid", func(l *callQuery) *string { return &l.ParentSID }),
	),
	bounds("StartTime", func(l *callQuery) *time.Time { return &l.StartAfter }, func(l *callQuery) *time.Time { return &l.StartBefore }),
	bounds("EndTime", func(l *callQuery) *time.Time { return &l.EndAfter }, func(l *callQuery) *time.Time { return &l.EndBefore }),
	pageParams(func(l *callQuery) *page { return &l.page }),
)

// endpoint is a filter on a party; a phone number matches however it is written.
func endpoint[T any](name string, field func(*T) *string) param[T] {
	return param[T]{name: name, read: func(dst *T, value string) error {
		if number, _, ok := call.ParseNumber(value); ok {
			value = number
		}
		*field(dst) = value
		return nil
	}}
}

func (a *api) listCalls(q *request) error {
	var l callQuery
	given, err := listForm.decode(q, &l, nil)
	if err == nil {
		err = l.check(given, twilio.CallPrefix)
	}
	if err != nil {
		return err
	}
	l.AccountSID = q.account.SID
	l.Limit, l.Offset, l.Cursor = l.cursor()
	calls, more, err := a.Store.ListCalls(q.r.Context(), l.Filter)
	if err != nil {
		return err
	}
	q.list(&l.page, base+"/Accounts/"+q.account.SID+"/Calls", "calls", len(calls), more,
		func(i int) twilio.PageToken { return calls[i].PageToken() },
		func(i int) { q.enc.call(calls[i]) })
	q.send(http.StatusOK)
	return nil
}
