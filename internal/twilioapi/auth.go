package twilioapi

import (
	"net/http"
	"strings"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/twilio"
)

// authenticate checks the Basic credentials, of an account or an API key (calls-api section 2), and that they may
// act for the account that the path names. Paths under /v1 name none: there it is the caller's own.
func (q *request) authenticate(path string) error {
	if done, err := q.authenticateMedia(path); done || err != nil {
		return err
	}
	user, password, _ := q.r.BasicAuth()
	caller, err := q.api.Gate.Check(q.r.Context(), user, password)
	if err != nil {
		return err
	}
	q.caller, q.account = caller, caller.Account
	if rest, ok := strings.CutPrefix(path, "/Accounts/"); ok {
		of, _, _ := strings.Cut(rest, "/")
		if q.account, err = q.api.Gate.For(q.r.Context(), caller, of); err != nil {
			return err
		}
	}
	if q.account.Status == call.AccountClosed && q.r.Method == http.MethodPost {
		return twilio.Errf(20005, "The account is closed, which is final")
	}
	return nil
}

// byToken refuses API keys: they manage neither accounts nor keys.
func byToken(f func(*request) error) func(*request) error {
	return func(q *request) error {
		if q.caller.Key != "" {
			return twilio.Err(20003)
		}
		return f(q)
	}
}
