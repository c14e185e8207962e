package twilioapi

import (
	"context"
	"net/http"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/twilio"
)

const callerIDsPath = "/OutgoingCallerIds"

// callerID is a request for a number to call from.
type callerID struct {
	call.CallerID
	verified *bool
}

var (
	callerIDForm = requiring(newForm([]param[callerID]{
		text("PhoneNumber", func(c *callerID) *string { return &c.PhoneNumber }),
		text("FriendlyName", func(c *callerID) *string { return &c.FriendlyName }),
		boolean("Verified", func(c *callerID) **bool { return &c.verified }), // Twilio has no such parameter
		notYet[callerID]("CallDelay", "0"),
		notYet[callerID]("Extension"),
		notYet[callerID]("StatusCallback"),
		notYet[callerID]("StatusCallbackMethod", "POST"),
	}), "PhoneNumber")
	callerIDUpdateForm = newForm([]param[*call.CallerID]{
		into("FriendlyName", func(c *call.CallerID) *string { return &c.FriendlyName }),
	})
)

// routeCallerIDs adds the numbers of others that an account may call from.
func (a *api) routeCallerIDs() {
	const path = "/Accounts/{AccountSid}" + callerIDsPath
	if a.CallerIDs == nil {
		a.none(path)
		return
	}
	routeResource(a, resource[*call.CallerID]{
		path: callerIDsPath, key: "outgoing_caller_ids", prefix: twilio.NumberPrefix, records: a.CallerIDs,
		update: callerIDUpdateForm, check: (*call.CallerID).Validate, byName: true, byPhone: true,
		changed: func(context.Context) error { return nil },
		write: func(e *enc, c *call.CallerID, at string) {
			e.object("outgoing_caller_id", func() {
				e.str("sid", c.SID)
				e.str("account_sid", c.AccountSID)
				e.str("friendly_name", c.FriendlyName)
				e.str("phone_number", c.PhoneNumber)
				e.time("date_created", c.DateCreated)
				e.time("date_updated", c.DateUpdated)
				e.self(at, "/", c.SID)
			})
		},
	})
	a.routes.Post(path, a.handle(a.createCallerID))
}

// createCallerID takes a number that the server's account vouches for. A call that asks its owner is not made.
func (a *api) createCallerID(q *request) error {
	var c callerID
	if _, err := callerIDForm.decode(q, &c, nil); err != nil {
		return err
	}
	switch {
	case c.verified == nil || !*c.verified:
		return twilio.Errf(20001, "A validation call is not available in this version: the account that owns the number's account adds it with Verified=true")
	case q.caller.Account.Sub():
		return twilio.Errf(20006, "A subaccount cannot say itself that a number is verified: the account that made it does")
	}
	if err := c.Validate(); err != nil {
		return err
	}
	now := a.Clock.Now().UTC()
	c.Record = call.Record{SID: twilio.NewSIDAt(twilio.NumberPrefix, now), AccountSID: q.account.SID, DateCreated: now, DateUpdated: now}
	r := resource[*call.CallerID]{}
	if err := r.refusal(a.CallerIDs.Create(q.r.Context(), &c.CallerID)); err != nil {
		return err
	}
	q.sendOne(http.StatusOK, func() {
		e := &q.enc
		e.object("validation_request", func() {
			e.str("account_sid", c.AccountSID)
			e.null("call_sid")
			e.str("friendly_name", c.FriendlyName)
			e.str("phone_number", c.PhoneNumber)
			e.null("validation_code")
		})
	})
	return nil
}
