package call

import (
	"slices"
	"strings"
	"time"

	"github.com/offhook/offhook/internal/twilio"
	"github.com/offhook/offhook/twiliocall"
)

// MaxWebhooks is how many an account may have: each costs a row for each event.
const MaxWebhooks = 32

// secretOverlap is how long an old secret signs beside the new one (Standard Webhooks, "Secret rotation").
const secretOverlap = 24 * time.Hour

// Webhook is a URL that is sent the events of an account.
type Webhook struct {
	Record           // WH…
	URL       string // http or https
	Events    []string
	Secret    string    // whsec_…
	OldSecret string    // signs too before OldUntil
	OldUntil  time.Time // zero: there is none
}

// Wants reports whether the webhook is sent the events of that name.
func (w *Webhook) Wants(name string) bool {
	return len(w.Events) == 0 || slices.Contains(w.Events, name)
}

// Validate checks the webhook, and gives it a secret when it has none. Its error is a *twilio.Error.
func (w *Webhook) Validate() error {
	if w.URL == "" {
		return twilio.Errf(20001, "url is required")
	}
	if err := checkURL(20001, "url", w.URL); err != nil {
		return err
	}
	slices.Sort(w.Events)
	w.Events = slices.Compact(w.Events)
	for _, name := range w.Events {
		if !slices.Contains(EventNames, name) {
			return twilio.Errf(20001, "events: %q is no event; there are %s", clip(name), strings.Join(EventNames, ", "))
		}
	}
	if w.Secret == "" {
		w.Secret = twiliocall.NewSecret()
	}
	if _, err := twiliocall.ParseSecret(w.Secret); err != nil {
		return twilio.Errf(20001, "secret is whsec_ and 24 to 64 bytes in base64")
	}
	return nil
}

// Rotate makes secret the webhook's; the one before signs too for a day.
func (w *Webhook) Rotate(secret string, now time.Time) {
	if secret == w.Secret {
		return
	}
	w.OldSecret, w.OldUntil, w.Secret = w.Secret, now.Add(secretOverlap), secret
}

// Sign is the header webhook-signature of a message sent now.
func (w *Webhook) Sign(id string, now time.Time, body []byte) (string, error) {
	signature, err := twiliocall.SignWebhook(w.Secret, id, now, body)
	if err == nil && now.Before(w.OldUntil) {
		var old string
		old, err = twiliocall.SignWebhook(w.OldSecret, id, now, body)
		signature += " " + old
	}
	return signature, err
}

// Resource is the webhook as customers get it.
func (w *Webhook) Resource() twiliocall.Webhook {
	return twiliocall.Webhook{
		ID: w.SID, AccountSID: w.AccountSID, URL: w.URL, Events: append([]string{}, w.Events...),
		DateCreated: w.DateCreated.Unix(), DateUpdated: w.DateUpdated.Unix(),
	}
}

// Delivery is a callback of a webhook with what became of it.
type Delivery struct {
	Callback
	State string // pending, delivered, dead
}

// PageToken is d's place in a list.
func (d *Delivery) PageToken() twilio.PageToken {
	return twilio.PageToken{SID: d.ID, Time: d.CreatedAt.UnixMicro()}
}

// Resource is the delivery as customers get it.
func (d *Delivery) Resource() twiliocall.Delivery {
	r := twiliocall.Delivery{
		ID: d.ID, WebhookID: d.WebhookSID, CallID: d.CallSID, Status: d.State, Attempts: d.Attempts,
		LastError: optional(d.LastError), DateCreated: d.CreatedAt.Unix(),
	}
	if len(d.Body) > 0 {
		r.Event = d.Body
	}
	switch d.State {
	case "dead":
		r.Status = "failed"
	case "pending":
		r.NextAttempt = unix(d.DueAt)
	}
	return r
}
