package twilioapi

import (
	"net/http"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/twilio"
)

func (a *api) fetchAccount(q *request) error {
	q.sendOne(http.StatusOK, func() { q.enc.account(q.account) })
	return nil
}

// accountQuery is a list request.
type accountQuery struct {
	page
	friendlyName, status string
}

var accountForm = newForm(
	filters(
		text("FriendlyName", func(l *accountQuery) *string { return &l.friendlyName }),
		text("Status", func(l *accountQuery) *string { return &l.status }),
	),
	pageParams(func(l *accountQuery) *page { return &l.page }),
)

// listAccounts lists the one account that credentials can see: there are no subaccounts.
func (a *api) listAccounts(q *request) error {
	var l accountQuery
	given, err := accountForm.decode(q, &l, nil)
	if err == nil {
		err = l.check(given, twilio.AccountPrefix)
	}
	if err != nil {
		return err
	}
	n := 1
	if l.number > 0 || l.token.SID != "" || l.friendlyName != "" && l.friendlyName != q.account.FriendlyName ||
		l.status != "" && l.status != accountStatus {
		n = 0
	}
	q.list(&l.page, base+"/Accounts", "accounts", n, false,
		func(int) twilio.PageToken {
			return twilio.PageToken{SID: q.account.SID, Time: q.account.DateCreated.UnixMicro()}
		},
		func(int) { q.enc.account(q.account) })
	q.send(http.StatusOK)
	return nil
}

const accountStatus = "active"

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
		e.str("owner_account_sid", a.SID)
		e.str("friendly_name", a.FriendlyName)
		e.str("status", accountStatus)
		e.str("type", "Full")
		e.str("auth_token", a.AuthToken)
		e.time("date_created", a.DateCreated)
		e.time("date_updated", a.DateCreated)
		e.link("uri", base+"/Accounts/", a.SID)
		e.child("subresource_uris", func() {
			for i := range accountSubresources {
				e.link(accountSubresources[i].name, base+"/Accounts/", a.SID, accountSubresources[i].path)
			}
		})
	})
}
