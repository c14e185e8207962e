package twilioapi

import (
	"errors"
	"net/http"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/twilio"
)

// accountForm is of create and update.
var accountForm = newForm([]param[call.AccountChange]{
	text("FriendlyName", func(c *call.AccountChange) *string { return &c.FriendlyName }),
	text("Status", func(c *call.AccountChange) *string { return (*string)(&c.Status) }),
})

// createAccount makes a subaccount. Status is none of its parameters.
func (a *api) createAccount(q *request) error {
	var ch call.AccountChange
	if _, err := accountForm.decode(q, &ch, nil); err != nil {
		return err
	}
	sub, err := call.NewSubaccount(q.account, ch.FriendlyName, a.Clock.Now().UTC())
	if err != nil {
		return err
	}
	err = a.Store.CreateAccount(q.r.Context(), sub)
	if errors.Is(err, call.ErrFull) {
		return twilio.Errf(20409, "The account has as many subaccounts as there may be")
	}
	if err != nil {
		return err
	}
	a.Gate.Forget()
	q.sendOne(http.StatusCreated, func() { q.enc.account(sub) })
	return nil
}

func (a *api) fetchAccount(q *request) error {
	q.sendOne(http.StatusOK, func() { q.enc.account(q.account) })
	return nil
}

// updateAccount renames an account, or suspends, closes or wakes a subaccount.
func (a *api) updateAccount(q *request) error {
	var ch call.AccountChange
	if _, err := accountForm.decode(q, &ch, nil); err != nil {
		return err
	}
	ctx := q.r.Context()
	account, err := a.Store.Account(ctx, q.account.SID) // as it is now
	if err != nil {
		return err
	}
	was := account.Status
	if err := ch.Apply(account, q.caller.Account); err != nil {
		return err
	}
	account.DateUpdated = a.Clock.Now().UTC()
	err = a.Store.UpdateAccount(ctx, account, was)
	a.Gate.Forget()
	if err != nil {
		return err
	}
	if account.Status == call.AccountClosed {
		if err := a.Calls.EndCalls(ctx, account.SID); err != nil {
			return err
		}
	}
	q.sendOne(http.StatusOK, func() { q.enc.account(account) })
	return nil
}

// accountQuery is a list request.
type accountQuery struct {
	page
	call.AccountFilter
}

var accountListForm = newForm(
	filters(
		text("FriendlyName", func(l *accountQuery) *string { return &l.FriendlyName }),
		text("Status", func(l *accountQuery) *string { return (*string)(&l.AccountFilter.Status) }),
	),
	pageParams(func(l *accountQuery) *page { return &l.page }),
)

// listAccounts lists the caller's account and its subaccounts.
func (a *api) listAccounts(q *request) error {
	var l accountQuery
	given, err := accountListForm.decode(q, &l, nil)
	if err == nil {
		err = l.check(given, twilio.AccountPrefix)
	}
	if err != nil {
		return err
	}
	switch l.AccountFilter.Status {
	case "", call.AccountActive, call.AccountSuspended, call.AccountClosed:
	default:
		return twilio.Errf(20001, "Status must be active, suspended or closed: %s", clip(string(l.AccountFilter.Status)))
	}
	l.Of = q.account
	l.Limit, l.Offset, l.Cursor = l.cursor()
	list, more, err := a.Store.ListAccounts(q.r.Context(), l.AccountFilter)
	if err != nil {
		return err
	}
	q.list(&l.page, base+"/Accounts", "accounts", len(list), more,
		func(i int) twilio.PageToken { return list[i].PageToken() },
		func(i int) { q.enc.account(list[i]) })
	q.send(http.StatusOK)
	return nil
}

// accountSubresources are the keys of an account's subresource_uris: what belongs to voice.
var accountSubresources = [...]struct{ name, path string }{
	{"applications", "/Applications"},
	{"available_phone_numbers", "/AvailablePhoneNumbers"},
	{"calls", "/Calls"},
	{"conferences", "/Conferences"},
	{"incoming_phone_numbers", "/IncomingPhoneNumbers"},
	{"keys", "/Keys"},
	{"notifications", "/Notifications"},
	{"outgoing_caller_ids", "/OutgoingCallerIds"},
	{"queues", "/Queues"},
	{"recordings", "/Recordings"},
	{"signing_keys", "/SigningKeys"},
	{"sip", "/SIP"},
	{"transcriptions", "/Transcriptions"},
}

func (e *enc) account(a *call.Account) {
	e.object("account", func() {
		e.str("sid", a.SID)
		e.str("owner_account_sid", a.OwnerSID)
		e.str("friendly_name", a.FriendlyName)
		e.str("status", string(a.Status))
		e.str("type", "Full")
		e.str("auth_token", a.AuthToken)
		e.time("date_created", a.DateCreated)
		e.time("date_updated", a.DateUpdated)
		e.link("uri", base+"/Accounts/", a.SID)
		e.child("subresource_uris", func() {
			for i := range accountSubresources {
				e.link(accountSubresources[i].name, base+"/Accounts/", a.SID, accountSubresources[i].path)
			}
		})
	})
}
