package webhook

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/clock"
	"github.com/offhook/offhook/internal/twilio"
)

// Back-off between attempts (DESIGN 3).
const (
	minBackOff = time.Second
	maxBackOff = 5 * time.Minute
)

// backOff is how long to wait after so many failed attempts: doubling, the later half of it random, so
// that what failed together does not come back together.
func backOff(attempts int) time.Duration {
	d := maxBackOff
	if attempts < 9 { // 2^9 s is past the most
		d = min(2*minBackOff<<(attempts-1), maxBackOff)
	}
	return jitter(d)
}

func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d/2) }

// outcome is what a delivery reports to Run.
type outcome struct {
	healthy  bool // the host does its work
	again    bool // the callback stays in the outbox
	attempts int
	dueAt    time.Time
}

// deliver sends one callback and marks it in the outbox. ctx ends when it has to be abandoned: then the
// outbox is left as it is.
func (d *Dispatcher) deliver(ctx context.Context, it *item) {
	o := &it.outcome
	*o = outcome{healthy: true, again: true, attempts: it.Attempts, dueAt: it.DueAt}
	if !it.park.IsZero() {
		d.putOff(ctx, it)
		for _, it := range it.also {
			d.putOff(ctx, it)
		}
		return
	}
	if it.WebhookSID != "" {
		d.deliverEvent(ctx, it)
		return
	}
	token, ok := d.cfg.Token(it.AccountSID)
	if !ok {
		d.failed(ctx, it, nil, twilio.Err(11200, "the account "+it.AccountSID+" is not known now"))
		return
	}
	resp, f := d.cfg.Hooks.callback(token).Of(it.CallSID).do(d.cfg.Hooks.cfg.Tracer.Call(ctx, it.CallSID), Request{Method: it.Method, URL: it.URL, Params: it.Params, Token: it.ID}, kindCallback, nil)
	if ctx.Err() != nil {
		return
	}
	if resp == nil {
		d.trace(it, f.err.Message)
		o.healthy = hopeless(f.err)
		d.failed(ctx, it, nil, f.err)
		return
	}
	d.trace(it, fmt.Sprintf("%d in %v", resp.Status, resp.Duration.Round(100*time.Microsecond)))
	answered := twilio.Err(15003, fmt.Sprintf("%s answered %d %s", Redact(it.URL), resp.Status, http.StatusText(resp.Status)))
	o.healthy = !overloaded(resp.Status)
	_, rules, _ := splitURL(it.URL)
	if !o.healthy || rules.retryStatus(resp.Status) {
		d.failed(ctx, it, resp, answered)
		return
	}
	switch {
	case resp.Status >= 400:
		d.notify(it, resp, answered)
	case f != nil: // redirects that end nowhere
		d.notify(it, resp, f.err)
	}
	d.delivered(ctx, it)
}

func (d *Dispatcher) delivered(ctx context.Context, it *item) {
	it.outcome.again = false
	d.count.delivered.Add(1)
	d.count.lag.Observe(d.cfg.Clock.Now().Sub(it.CreatedAt).Seconds())
	d.mark(ctx, it, func(ctx context.Context) error { return d.cfg.Outbox.Delivered(ctx, it.ID) })
}

// overloaded: the server, or a proxy before it, says that it cannot do its work now.
func overloaded(status int) bool {
	switch status {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// hopeless: the URL itself is wrong, and stays so.
func hopeless(err *twilio.Error) bool {
	return err.Code == 11100 || err.Code == 11240 || err.Code == 11243
}

// failed puts a callback off after an attempt that did not deliver it, or gives it up.
func (d *Dispatcher) failed(ctx context.Context, it *item, resp *Response, err *twilio.Error) {
	now := d.cfg.Clock.Now()
	o := &it.outcome
	o.attempts++
	switch {
	case hopeless(err):
		d.notify(it, resp, err)
		d.dead(ctx, it, err.Message)
		return
	case now.Sub(it.CreatedAt) >= maxAge:
		d.notify(it, resp, twilio.Err(15002, fmt.Sprintf("given up after %d attempts in %v; the last: %s",
			o.attempts, now.Sub(it.CreatedAt).Round(time.Minute), err.Message)).With(err))
		d.dead(ctx, it, err.Message)
		return
	case it.Attempts == 0: // once is enough to find out why nothing comes
		d.notify(it, resp, err)
	}
	d.count.retried.Add(1)
	o.dueAt = now.Add(max(backOff(o.attempts), retryAfter(resp, now)))
	d.mark(ctx, it, func(ctx context.Context) error {
		return d.cfg.Outbox.Retry(ctx, it.ID, o.attempts, o.dueAt, err.Message)
	})
}

// retryAfter is how long the server asked us to stay away, up to the longest back-off.
func retryAfter(resp *Response, now time.Time) time.Duration {
	if resp == nil {
		return 0
	}
	s := resp.Header.Get("Retry-After")
	if n, err := strconv.Atoi(s); err == nil {
		return min(time.Duration(max(0, min(n, int(maxBackOff/time.Second))))*time.Second, maxBackOff)
	}
	if t, err := http.ParseTime(s); err == nil {
		return min(t.Sub(now), maxBackOff)
	}
	return 0
}

// putOff moves a callback out of memory without an attempt: its host has too many waiting.
func (d *Dispatcher) putOff(ctx context.Context, it *item) {
	const why = "put off: its server is too slow or does not answer"
	it.outcome = outcome{again: true, attempts: it.Attempts, dueAt: it.park}
	d.count.parked.Add(1)
	if d.cfg.Clock.Now().Sub(it.CreatedAt) >= maxAge {
		d.notify(it, nil, twilio.Err(15002, why))
		d.dead(ctx, it, why)
		return
	}
	d.mark(ctx, it, func(ctx context.Context) error {
		return d.cfg.Outbox.Retry(ctx, it.ID, it.Attempts, it.park, why)
	})
}

func (d *Dispatcher) dead(ctx context.Context, it *item, why string) {
	it.outcome.again = false
	d.count.dead.Add(1)
	d.cfg.Log.Warn("status callback given up", "call_sid", it.CallSID, "id", it.ID, "url", Redact(it.URL), "err", why)
	d.mark(ctx, it, func(ctx context.Context) error { return d.cfg.Outbox.Dead(ctx, it.ID, why) })
}

// mark writes to the outbox until it succeeds: what was delivered must not be sent again because the
// store was away for a moment.
func (d *Dispatcher) mark(ctx context.Context, it *item, write func(context.Context) error) {
	level := slog.LevelError
	for {
		err := write(ctx)
		if err == nil || ctx.Err() != nil {
			return
		}
		d.cfg.Log.Log(ctx, level, "cannot mark a callback in the outbox; trying again every second", "call_sid", it.CallSID, "id", it.ID, "err", err)
		level = slog.LevelDebug // an outage has many callbacks: one line each
		if clock.Sleep(ctx, d.cfg.Clock, time.Second) != nil {
			return
		}
	}
}

// trace tells the call's timeline of an attempt.
func (d *Dispatcher) trace(it *item, result string) {
	what := it.Params.Get("CallStatus")
	if what == "" {
		what = "event"
	}
	if it.WebhookSID != "" {
		d.cfg.Trace(it.CallSID, fmt.Sprintf("webhook %s: POST %s: %s", it.WebhookSID, Redact(it.URL), result))
		return
	}
	d.cfg.Trace(it.CallSID, fmt.Sprintf("status callback %s: %s %s: %s", what, it.Method, Redact(it.URL), result))
}

// notify tells the customer.
func (d *Dispatcher) notify(it *item, resp *Response, err *twilio.Error) {
	n := call.Notification{
		SID: twilio.NewSID(twilio.NotificationPrefix), CallSID: it.CallSID, AccountSID: it.AccountSID,
		Code: err.Code, Level: twilio.Level(err.Code), Message: err.Message, Time: d.cfg.Clock.Now(),
		RequestMethod: it.Method, RequestURL: Redact(it.URL), RequestParams: it.Params.Encode(),
	}
	if it.WebhookSID != "" {
		n.RequestParams = string(it.Body)
	}
	if resp != nil {
		n.ResponseHeaders = url.Values(resp.Header).Encode()
		n.ResponseBody = string(bytes.ToValidUTF8(resp.Body, []byte("\ufffd")))
	}
	d.cfg.Notify(n)
}
