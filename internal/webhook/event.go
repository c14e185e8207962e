package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/twilio"
)

// event is what a webhook is sent (Standard Webhooks 1.0): a CloudEvent, signed.
type event struct {
	id, timestamp, signature string
	body                     []byte
}

func newEvent(hook *call.Webhook, body []byte, now time.Time) (*event, error) {
	var named struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(body, &named); err != nil {
		return nil, err
	}
	signature, err := hook.Sign(named.ID, now, body)
	return &event{named.ID, strconv.FormatInt(now.Unix(), 10), signature, body}, err
}

func (e *event) header(h http.Header) {
	h.Set("Content-Type", "application/cloudevents+json; charset=utf-8")
	// Written as the specification has them, for those who look at the raw request.
	h["webhook-id"], h["webhook-timestamp"], h["webhook-signature"] = []string{e.id}, []string{e.timestamp}, []string{e.signature}
	h["X-Idempotency-Key"] = nil // see exchange.header
}

// deliverEvent sends a webhook what it is owed, where it is now.
func (d *Dispatcher) deliverEvent(ctx context.Context, it *item) {
	hook, err := d.cfg.Webhook(it.AccountSID, it.WebhookSID)
	switch {
	case errors.Is(err, call.ErrNotFound):
		d.dead(ctx, it, "the webhook was deleted")
		return
	case err != nil:
		d.failed(ctx, it, nil, twilio.Err(11200, "the webhook "+it.WebhookSID+" is not known now"))
		return
	}
	e, err := newEvent(hook, it.Body, d.cfg.Clock.Now())
	if err != nil {
		d.dead(ctx, it, err.Error())
		return
	}
	resp, f := d.cfg.Hooks.callback("").do(d.cfg.Hooks.cfg.Tracer.Call(ctx, it.CallSID), Request{Method: http.MethodPost, URL: hook.URL, event: e}, kindEvent, nil)
	if ctx.Err() != nil {
		return
	}
	if resp == nil {
		d.trace(it, f.err.Message)
		it.outcome.healthy = hopeless(f.err)
		d.failed(ctx, it, nil, f.err)
		return
	}
	d.trace(it, fmt.Sprintf("%d in %v", resp.Status, resp.Duration.Round(100*time.Microsecond)))
	it.outcome.healthy = !overloaded(resp.Status)
	answered := twilio.Err(15003, fmt.Sprintf("%s answered %d %s", Redact(hook.URL), resp.Status, http.StatusText(resp.Status)))
	switch {
	case resp.Status >= 200 && resp.Status < 300:
		d.delivered(ctx, it)
	case resp.Status == http.StatusGone: // it says itself that nobody is there any more
		d.notify(it, resp, answered)
		d.dead(ctx, it, answered.Message)
	default:
		d.failed(ctx, it, resp, answered)
	}
}
