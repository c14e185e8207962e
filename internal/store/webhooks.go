package store

import (
	"context"
	"encoding/json"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/twilio"
)

var webhookKind = newKind(kind[*call.Webhook]{
	table:   "webhooks",
	columns: "url, events, secret, old_secret, old_until",
	empty:   func() *call.Webhook { return &call.Webhook{} },
	values: func(w *call.Webhook) []any {
		events, err := toJSON(w.Events, len(w.Events) == 0)
		if err != nil {
			panic("store: events of a webhook: " + err.Error()) // strings alone
		}
		return []any{w.URL, events, w.Secret, w.OldSecret, micros(w.OldUntil)}
	},
	dest: func(w *call.Webhook) []any {
		return []any{&w.URL, asJSON{&w.Events}, &w.Secret, &w.OldSecret, asTime{&w.OldUntil}}
	},
	limit: func(*call.Webhook) int { return call.MaxWebhooks },
})

// Webhooks are those of the accounts.
func (s *Store) Webhooks() Records[*call.Webhook] { return Records[*call.Webhook]{s, webhookKind} }

// DeleteWebhook removes a webhook, then, some at a time, all that was owed to it.
func (s *Store) DeleteWebhook(ctx context.Context, accountSID, sid string) error {
	if err := s.Webhooks().Delete(ctx, accountSID, sid); err != nil {
		return err
	}
	const some = "DELETE FROM outbox WHERE id IN (SELECT id FROM outbox WHERE webhook_sid = ? AND webhook_sid <> '' LIMIT ?)"
	for n := int64(sweepBatch); n == sweepBatch; {
		if err := s.w.api(ctx, &job{run: func(b *batch) (err error) {
			n, err = b.exec(some, sid, sweepBatch)
			return err
		}}); err != nil {
			return err
		}
	}
	return nil
}

// Deliveries lists what a webhook of an account was or is to be sent, newest first: those in state.
func (s *Store) Deliveries(ctx context.Context, f call.ListFilter, webhookSID, state string) ([]*call.Delivery, bool, error) {
	l := &listing{table: "outbox", columns: outboxColumns, order: "created_at", tie: "id", limit: f.Limit}
	if at := f.Cursor; at.SID != "" {
		l.cursor, l.before = []any{at.Time, at.SID}, at.Before
	}
	l.where("webhook_sid = ? AND webhook_sid <> '' AND state = ?", webhookSID, state) // in the words of the partial index
	return list(ctx, s, l, f.AccountSID, func(r scanner) (*call.Delivery, error) {
		cb, err := scanCallback(r)
		return &call.Delivery{Callback: cb, State: state}, err
	})
}

// ResendDelivery is Resend for a delivery of that webhook.
func (s *Store) ResendDelivery(ctx context.Context, accountSID, webhookSID, id string) error {
	return s.mark(ctx, call.ErrNotFound, "UPDATE outbox SET state = 'pending', attempts = 0, due_at = ? "+
		"WHERE id = ? AND account_sid = ? AND webhook_sid = ? AND state = 'dead'", micros(s.cfg.Clock.Now()), id, accountSID, webhookSID)
}

// hooks are the webhooks there are, by account; they are kept until one changes.
func (b *batch) hooks() (map[string][]*call.Webhook, error) {
	if b.conn.hooks != nil {
		return b.conn.hooks, nil
	}
	hooks := make(map[string][]*call.Webhook)
	err := b.rowsOf(func(r scanner) error {
		w, err := webhookKind.scan(r)
		if err == nil {
			hooks[w.AccountSID] = append(hooks[w.AccountSID], w)
		}
		return err
	}, "SELECT "+webhookKind.read+" FROM webhooks ORDER BY sid")
	if err == nil {
		b.conn.hooks = hooks
	}
	return hooks, err
}

// owe adds a row to the outbox for each event of the batch and webhook that wants it.
func (b *batch) owe() error {
	rows := b.rows[eventRows]
	if len(rows) == 0 {
		return nil
	}
	hooks, err := b.hooks()
	if err != nil || len(hooks) == 0 {
		return err
	}
	for i, row := range rows {
		var e call.Event
		var body []byte
		for _, w := range hooks[row[eventAccount].(string)] {
			if !w.Wants(row[eventName].(string)) {
				continue
			}
			if body == nil {
				if e, err = b.whole(rows, i); err != nil {
					return err
				}
				if body, err = json.Marshal(e.Resource()); err != nil {
					panic("store: event: " + err.Error()) // its data was encoded by us
				}
			}
			owed := callbackRow(&call.Callback{
				ID: twilio.NewSIDAt("EV", e.Time), CallSID: e.CallSID, AccountSID: e.AccountSID, Seq: e.Seq,
				Method: "POST", URL: w.URL, Body: body, WebhookSID: w.SID, CreatedAt: e.Time,
			})
			b.rows[owed.table] = append(b.rows[owed.table], owed.values)
			b.owed = true
		}
	}
	return nil
}

// whole is an event of the batch with its data, which an earlier one of its call may have.
func (b *batch) whole(rows [][]any, i int) (e call.Event, err error) {
	e = eventOf(rows[i])
	for j := i - 1; len(e.Snapshot) == 0 && j >= 0 && rows[j][0] == rows[i][0]; j-- {
		e.Snapshot = eventOf(rows[j]).Snapshot
	}
	if len(e.Snapshot) == 0 {
		const before = "SELECT data FROM events WHERE call_sid = ? AND seq < ? AND data <> '' ORDER BY seq DESC LIMIT 1"
		err = b.scan(func(data string) { e.Snapshot = []byte(data) }, before, e.CallSID, e.Seq)
	}
	return e, err
}
