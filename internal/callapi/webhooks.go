package callapi

import (
	"context"
	"net/http"
	"net/url"

	"github.com/danielgtaylor/huma/v2"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/twilio"
	"github.com/offhook/offhook/twiliocall"
)

// webhookPrefix begins the SIDs of webhooks, which Twilio has none for.
const webhookPrefix = "WH"

// WebhookID is the path of what is done with one webhook.
type WebhookID struct {
	ID string `path:"id" doc:"The webhook's SID, WH and 32 hexadecimal digits."`
}

type webhookAnswer struct {
	Body twiliocall.Webhook
}

// webhooks registers what is done with webhooks (twiliocall section 4).
func (a *api) webhooks(h huma.API) {
	const base = "/v1/webhooks"
	action := func(id, method, path, summary string, errs ...int) huma.Operation {
		return huma.Operation{
			OperationID: id, Method: method, Path: path, Summary: summary, Tags: []string{"webhooks"},
			MaxBodyBytes: 64 << 10, Errors: append(errs, http.StatusUnauthorized, http.StatusServiceUnavailable),
			Security: []map[string][]string{{"basic": {}}},
		}
	}
	create := action("createWebhook", http.MethodPost, base, "Have the events of all calls sent to a URL, signed (Standard Webhooks)", 400, 409)
	create.DefaultStatus = http.StatusCreated
	huma.Register(h, create, a.createWebhook)
	huma.Register(h, action("listWebhooks", http.MethodGet, base, "List webhooks, newest first"), a.listWebhooks)
	huma.Register(h, action("retrieveWebhook", http.MethodGet, base+"/{id}", "Show a webhook", 404), a.retrieveWebhook)
	huma.Register(h, action("updateWebhook", http.MethodPatch, base+"/{id}", "Change a webhook", 400, 404), a.updateWebhook)
	huma.Register(h, action("deleteWebhook", http.MethodDelete, base+"/{id}", "Remove a webhook with what is owed to it", 404), a.deleteWebhook)
	huma.Register(h, action("rotateSecret", http.MethodPost, base+"/{id}/rotateSecret", "Give a webhook another secret; the one before signs too for a day", 400, 404), a.rotateSecret)
	huma.Register(h, action("listDeliveries", http.MethodGet, base+"/{id}/deliveries", "List what a webhook was sent, newest first", 400, 404), a.listDeliveries)
	huma.Register(h, action("resendDelivery", http.MethodPost, base+"/{id}/deliveries/{delivery}/resend", "Send what failed again", 404), a.resendDelivery)
}

// webhook is the one of the account that has that SID.
func (a *api) webhook(ctx context.Context, id string) (*call.Webhook, error) {
	if !twilio.IsSID(id, webhookPrefix) {
		return nil, call.ErrNotFound
	}
	return a.Webhooks.Get(ctx, account(ctx), id)
}

// webhookAnswer shows a webhook, with its secret when that was just set.
func (a *api) webhookAnswer(w *call.Webhook, secret string, err error) (*webhookAnswer, error) {
	if err != nil {
		return nil, a.problemOf(err)
	}
	body := w.Resource()
	body.Secret = secret
	return &webhookAnswer{body}, nil
}

func (a *api) createWebhook(ctx context.Context, in *struct{ Body twiliocall.CreateWebhook }) (*webhookAnswer, error) {
	now := a.Clock.Now().UTC()
	w := &call.Webhook{URL: in.Body.URL, Secret: in.Body.Secret}
	w.Record = call.Record{SID: twilio.NewSIDAt(webhookPrefix, now), AccountSID: account(ctx), DateCreated: now, DateUpdated: now}
	var err error
	if w.Events, err = eventNames(in.Body.Events); err != nil {
		err = twilio.Errf(20001, "events: %s", err)
	}
	if err == nil {
		err = w.Validate()
	}
	if err == nil {
		err = a.Webhooks.Create(ctx, w)
	}
	return a.webhookAnswer(w, w.Secret, err)
}

type webhooksInput struct{}

// Resolve refuses filters, of which there are none.
func (*webhooksInput) Resolve(ctx huma.Context) []error {
	u := ctx.URL()
	return noOthers(ctx, u.Query())
}

func (a *api) listWebhooks(ctx context.Context, _ *webhooksInput) (*struct{ Body []twiliocall.Webhook }, error) {
	page, _, err := a.Webhooks.List(ctx, call.ListFilter{AccountSID: account(ctx), Limit: call.MaxWebhooks})
	if err != nil {
		return nil, a.problemOf(err)
	}
	out := &struct{ Body []twiliocall.Webhook }{Body: make([]twiliocall.Webhook, len(page))}
	for i, w := range page {
		out.Body[i] = w.Resource()
	}
	return out, nil
}

func (a *api) retrieveWebhook(ctx context.Context, in *WebhookID) (*webhookAnswer, error) {
	w, err := a.webhook(ctx, in.ID)
	return a.webhookAnswer(w, "", err)
}

func (a *api) updateWebhook(ctx context.Context, in *struct {
	WebhookID
	Body twiliocall.UpdateWebhook
}) (*webhookAnswer, error) {
	w, err := a.webhook(ctx, in.ID)
	if err != nil {
		return nil, a.problemOf(err)
	}
	if in.Body.URL != nil {
		w.URL = *in.Body.URL
	}
	if in.Body.Events != nil {
		if w.Events, err = eventNames(*in.Body.Events); err != nil {
			return nil, a.problemOf(twilio.Errf(20001, "events: %s", err))
		}
	}
	return a.webhookAnswer(w, "", a.changeWebhook(ctx, w))
}

func (a *api) changeWebhook(ctx context.Context, w *call.Webhook) error {
	if err := w.Validate(); err != nil {
		return err
	}
	w.DateUpdated = a.Clock.Now().UTC()
	return a.Webhooks.Update(ctx, w)
}

func (a *api) deleteWebhook(ctx context.Context, in *WebhookID) (*webhookAnswer, error) {
	w, err := a.webhook(ctx, in.ID)
	if err == nil {
		err = a.Store.DeleteWebhook(ctx, account(ctx), in.ID)
	}
	return a.webhookAnswer(w, "", err)
}

func (a *api) rotateSecret(ctx context.Context, in *struct {
	WebhookID
	Body *struct {
		Secret string `json:"secret,omitempty" doc:"Default: a new one, which the answer tells."`
	}
}) (*webhookAnswer, error) {
	w, err := a.webhook(ctx, in.ID)
	if err != nil {
		return nil, a.problemOf(err)
	}
	secret := twiliocall.NewSecret()
	if in.Body != nil && in.Body.Secret != "" {
		secret = in.Body.Secret
	}
	w.Rotate(secret, a.Clock.Now())
	return a.webhookAnswer(w, w.Secret, a.changeWebhook(ctx, w))
}

type deliveriesInput struct {
	WebhookID
	Status string `query:"status" default:"failed" enum:"failed,pending,delivered" doc:"What became of them."`
	Limit  int    `query:"limit" default:"50" minimum:"1" maximum:"1000" doc:"Deliveries a page."`
	Cursor string `query:"cursor" doc:"Where the page begins, from the Link of the one before."`

	query url.Values
}

// Resolve keeps the query for the link to the next page, and refuses what is no filter.
func (d *deliveriesInput) Resolve(ctx huma.Context) []error {
	u := ctx.URL()
	d.query = u.Query()
	return noOthers(ctx, d.query)
}

func noOthers(ctx huma.Context, query url.Values) []error {
	for name, values := range query {
		if err := notAFilter(ctx, name, values[0]); err != nil {
			return err
		}
	}
	return nil
}

type deliveriesAnswer struct {
	Link string `header:"Link" doc:"The next page (RFC 8288); absent on the last one."`
	Body []twiliocall.Delivery
}

func (a *api) listDeliveries(ctx context.Context, in *deliveriesInput) (*deliveriesAnswer, error) {
	f := call.ListFilter{AccountSID: account(ctx), Limit: in.Limit}
	if in.Cursor != "" {
		var ok bool
		if f.Cursor, ok = twilio.ParsePageToken(in.Cursor, "EV"); !ok {
			return nil, a.problemOf(twilio.Errf(20001, "cursor is none that a list gave: %s", in.Cursor))
		}
	}
	w, err := a.webhook(ctx, in.ID)
	if err != nil {
		return nil, a.problemOf(err)
	}
	state := in.Status
	if state == "failed" {
		state = "dead"
	}
	page, more, err := a.Store.Deliveries(ctx, f, w.SID, state)
	if err != nil {
		return nil, a.problemOf(err)
	}
	out := &deliveriesAnswer{Body: make([]twiliocall.Delivery, len(page))}
	for i, d := range page {
		out.Body[i] = d.Resource()
	}
	if more {
		in.query.Set("cursor", page[len(page)-1].PageToken().String())
		out.Link = "</v1/webhooks/" + w.SID + "/deliveries?" + in.query.Encode() + `>; rel="next"`
	}
	return out, nil
}

func (a *api) resendDelivery(ctx context.Context, in *struct {
	WebhookID
	Delivery string `path:"delivery" doc:"The delivery's id, EV and 32 hexadecimal digits."`
}) (*struct{}, error) {
	if !twilio.IsSID(in.ID, webhookPrefix) || !twilio.IsSID(in.Delivery, "EV") {
		return nil, a.problemOf(call.ErrNotFound)
	}
	if err := a.Store.ResendDelivery(ctx, account(ctx), in.ID, in.Delivery); err != nil {
		return nil, a.problemOf(err)
	}
	return nil, nil //nolint:nilnil // 204
}
