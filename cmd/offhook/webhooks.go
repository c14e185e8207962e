package main

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/offhook/offhook/internal/apiclient"
	"github.com/offhook/offhook/twiliocall"
)

type webhooksCommand struct {
	Create     webhooksCreateCommand     `cmd:"" help:"Have events sent to a URL."`
	List       webhooksListCommand       `cmd:"" help:"List webhooks, newest first."`
	Rotate     webhooksRotateCommand     `cmd:"" help:"Give a webhook another secret."`
	Delete     webhooksDeleteCommand     `cmd:"" help:"Remove a webhook with what is owed to it."`
	Deliveries webhooksDeliveriesCommand `cmd:"" help:"List what a webhook was sent, newest first."`
	Resend     webhooksResendCommand     `cmd:"" help:"Send what failed again."`
}

func (webhooksCommand) Help() string {
	return `Events of calls are sent to webhooks as they happen, signed with the webhook's secret (Standard Webhooks).

    offhook webhooks create http://127.0.0.1:3000/events --event completed
    offhook webhooks resend WH0123456789abcdef0123456789abcdef`
}

var (
	webhookColumns = []column{
		{title: "id", field: "id"}, {title: "url", field: "url"}, {title: "events", field: "events"}, {title: "secret", field: "secret"},
	}
	listedWebhookColumns = webhookColumns[:3]
	deliveryColumns      = []column{
		{title: "id", field: "id"}, {title: "call", field: "callId"}, {title: "status", field: "status"},
		{title: "attempts", field: "attempts"}, {title: "error", field: "lastError"},
	}
)

// webhookClient is the client of /v1, and what explains its errors.
func webhookClient(r *remote, a *app) (*twiliocall.Client, func(error) error, error) {
	c, err := r.connect(a)
	if err != nil {
		return nil, nil, err
	}
	client, err := c.TwilioCall()
	return client, c.Explain, err
}

// resources are values as they are shown.
func resources[T any](values ...T) ([]apiclient.Resource, error) {
	raw, err := json.Marshal(values)
	if err != nil {
		return nil, err
	}
	return apiclient.ParseList(raw)
}

// show writes one value.
func show[T any](o output, a *app, columns []column, value T) error {
	rows, err := resources(value)
	if err != nil {
		return err
	}
	return o.one(a.out, columns, rows[0])
}

type webhooksCreateCommand struct {
	URL    string   `arg:"" name:"url" help:"Where events go."`
	Event  []string `name:"event" placeholder:"NAME" help:"Only those, such as completed; may be repeated."`
	Secret string   `name:"secret" env:"OFFHOOK_WEBHOOK_SECRET" placeholder:"whsec_…" help:"Signs them (default: a new one, which is shown once)."`
	output
	remote
}

func (webhooksCreateCommand) Help() string {
	return `The secret is shown once: it checks who sent an event.

    offhook webhooks create http://127.0.0.1:3000/events --event completed --event busy`
}

func (c *webhooksCreateCommand) Run(ctx context.Context, a *app) error {
	client, explain, err := webhookClient(&c.remote, a)
	if err != nil {
		return err
	}
	w, err := client.CreateWebhook(ctx, twiliocall.CreateWebhook{URL: c.URL, Events: c.Event, Secret: c.Secret})
	if err != nil {
		return explain(err)
	}
	return show(c.output, a, webhookColumns, w)
}

type webhooksListCommand struct {
	output
	remote
}

func (webhooksListCommand) Help() string {
	return `Secrets are not shown.

    offhook webhooks list -o tsv`
}

func (c *webhooksListCommand) Run(ctx context.Context, a *app) error {
	client, explain, err := webhookClient(&c.remote, a)
	if err != nil {
		return err
	}
	list, err := client.Webhooks(ctx)
	if err != nil {
		return explain(err)
	}
	rows, err := resources(list...)
	if err != nil {
		return err
	}
	return c.list(a.out, listedWebhookColumns, rows)
}

type webhooksRotateCommand struct {
	ID string `arg:"" name:"id" help:"The webhook, WH…"`
	output
	remote
}

func (webhooksRotateCommand) Help() string {
	return `Shows the new secret; for 24 hours the one before signs too.

    offhook webhooks rotate WH0123456789abcdef0123456789abcdef`
}

func (c *webhooksRotateCommand) Run(ctx context.Context, a *app) error {
	client, explain, err := webhookClient(&c.remote, a)
	if err != nil {
		return err
	}
	w, err := client.RotateSecret(ctx, c.ID, "")
	if err != nil {
		return explain(err)
	}
	return show(c.output, a, webhookColumns, w)
}

type webhooksDeleteCommand struct {
	ID string `arg:"" name:"id" help:"The webhook, WH…"`
	remote
}

func (webhooksDeleteCommand) Help() string {
	return `What is still owed to it is not sent.

    offhook webhooks delete WH0123456789abcdef0123456789abcdef`
}

func (c *webhooksDeleteCommand) Run(ctx context.Context, a *app) error {
	client, explain, err := webhookClient(&c.remote, a)
	if err != nil {
		return err
	}
	_, err = client.DeleteWebhook(ctx, c.ID)
	return explain(err)
}

type webhooksDeliveriesCommand struct {
	ID     string `arg:"" name:"id" help:"The webhook, WH…"`
	Status string `name:"status" enum:"failed,pending,delivered" default:"failed" placeholder:"failed|pending|delivered" help:"What became of them (default ${default})."`
	Limit  atMost `name:"limit" default:"50" placeholder:"N" help:"At most so many (default ${default})."`
	output
	remote
}

func (webhooksDeliveriesCommand) Help() string {
	return `What an application does not take is tried again for 24 hours; then it has failed.

    offhook webhooks deliveries WH0123456789abcdef0123456789abcdef --status pending`
}

func (c *webhooksDeliveriesCommand) Run(ctx context.Context, a *app) error {
	client, explain, err := webhookClient(&c.remote, a)
	if err != nil {
		return err
	}
	var list []*twiliocall.Delivery
	for d, err := range client.Deliveries(ctx, c.ID, c.Status) {
		if err != nil {
			return explain(err)
		}
		if list = append(list, d); len(list) >= int(c.Limit) {
			break
		}
	}
	rows, err := resources(list...)
	if err != nil {
		return err
	}
	return c.list(a.out, deliveryColumns, rows)
}

type webhooksResendCommand struct {
	ID       string   `arg:"" name:"id" help:"The webhook, WH…"`
	Delivery []string `arg:"" name:"delivery" optional:"" help:"What to send, EV…; default all that failed."`
	remote
}

func (webhooksResendCommand) Help() string {
	return `Without deliveries all that failed, the oldest first.

    offhook webhooks resend WH0123456789abcdef0123456789abcdef`
}

func (c *webhooksResendCommand) Run(ctx context.Context, a *app) error {
	client, explain, err := webhookClient(&c.remote, a)
	if err != nil {
		return err
	}
	ids := c.Delivery
	if len(ids) == 0 {
		for d, err := range client.Deliveries(ctx, c.ID, "") {
			if err != nil {
				return explain(err)
			}
			ids = append(ids, d.ID)
		}
		slices.Reverse(ids) // the oldest first
	}
	for _, id := range ids {
		if err := client.Resend(ctx, c.ID, id); err != nil {
			return explain(err)
		}
	}
	return nil
}
