package webhook

import (
	"context"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/offhook/offhook/internal/telemetry"
)

// metrics are the counts of Hooks; their names are in docs/metrics.md.
type metrics struct {
	took     [kinds]prometheus.Observer
	duration *prometheus.HistogramVec // kind
	answers  *prometheus.CounterVec   // kind, status
	failures *prometheus.CounterVec   // kind, code
}

const kinds = 4

func (k kind) String() string { return [kinds]string{"twiml", "media", "callback", "event"}[k] }

// spanName says what a request is for.
func (k kind) spanName() string {
	return [kinds]string{"fetch TwiML", "fetch media", "status callback", "webhook"}[k]
}

func newMetrics() *metrics {
	x := &metrics{
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "offhook_webhook_request_seconds",
			Help:    "Requests to applications, retries by the URL's own rules and redirects included.",
			Buckets: []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15},
		}, []string{"kind"}),
		answers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "offhook_webhook_answers_total", Help: "Answers of applications, by the class of their status.",
		}, []string{"kind", "status"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "offhook_webhook_failures_total",
			Help: "Requests without a usable answer, by runtime error code: 11200 time-out, 11201 to 11210 connection and DNS, 11220 to 11237 TLS.",
		}, []string{"kind", "code"}),
	}
	for k := range kind(kinds) { // so that a rate begins at the first failure, not at the second
		x.took[k] = x.duration.WithLabelValues(k.String())
		for _, s := range []string{"2xx", "4xx", "5xx"} {
			x.answers.WithLabelValues(k.String(), s)
		}
		for _, code := range []int{11200, 11201, 11202, 11205, 11210, 11220} {
			x.failures.WithLabelValues(k.String(), strconv.Itoa(code))
		}
	}
	return x
}

// asked counts a request.
func (x *metrics) asked(k kind, resp *Response, f *failure, took time.Duration) {
	x.took[k].Observe(took.Seconds())
	if resp != nil && resp.Status >= 100 && resp.Status < 600 {
		x.answers.WithLabelValues(k.String(), strconv.Itoa(resp.Status/100)+"xx").Inc()
	}
	if f != nil {
		x.failures.WithLabelValues(k.String(), strconv.Itoa(f.err.Code)).Inc()
	}
}

// do makes a request in a span of its own, and counts it. See attempt.
func (c *Client) do(ctx context.Context, r Request, k kind, ask *validity) (*Response, *failure) {
	start := c.h.cfg.Clock.Now()
	ctx, span := c.h.cfg.Tracer.Start(ctx, k.spanName(), telemetry.Client)
	resp, f := c.attempt(ctx, span, r, k, ask)
	if ctx.Err() == nil { // else it was given up: no fault of the application's
		c.h.metrics.asked(k, resp, f, c.h.cfg.Clock.Now().Sub(start))
	}
	if span != nil {
		span.Set("http.request.method", r.Method)
		span.Set("url.full", Redact(r.URL))
		if resp != nil {
			span.SetInt("http.response.status_code", resp.Status)
		}
		switch {
		case ctx.Err() != nil:
			span.Event(context.Cause(ctx).Error())
		case f != nil:
			span.SetInt("offhook.error_code", f.err.Code)
			span.Fail(f.err.Message)
		case resp.Status >= 400:
			span.Fail(strconv.Itoa(resp.Status))
		}
		span.End()
	}
	return resp, f
}

var _ prometheus.Collector = (*Hooks)(nil)

// Describe implements prometheus.Collector.
func (h *Hooks) Describe(ch chan<- *prometheus.Desc) {
	h.metrics.duration.Describe(ch)
	h.metrics.answers.Describe(ch)
	h.metrics.failures.Describe(ch)
}

// Collect implements prometheus.Collector.
func (h *Hooks) Collect(ch chan<- prometheus.Metric) {
	h.metrics.duration.Collect(ch)
	h.metrics.answers.Collect(ch)
	h.metrics.failures.Collect(ch)
}

// deliveries are the counts of a Dispatcher. Its goroutines write, anybody reads.
type deliveries struct {
	delivered, retried, parked, dead atomic.Uint64

	held, inFlight, hosts, down atomic.Int64 // as Run left them last
	lag                         prometheus.Histogram
}

func newDeliveries() *deliveries {
	return &deliveries{lag: prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "offhook_callback_delay_seconds", Help: "From the commit of a status callback to its delivery.",
		Buckets: []float64{0.002, 0.005, 0.01, 0.025, 0.1, 0.5, 1, 5, 30, 300, 3600, 86400},
	})}
}

var (
	deliveriesDesc = prometheus.NewDesc("offhook_callback_attempts_total",
		"Status callbacks by what became of an attempt: delivered, retry (later again), parked (put off without an attempt), dead (given up).",
		[]string{"result"}, nil)
	heldDesc     = prometheus.NewDesc("offhook_callbacks_held", "Status callbacks in memory.", nil, nil)
	inFlightDesc = prometheus.NewDesc("offhook_callbacks_in_flight", "Status callbacks being sent.", nil, nil)
	hostsDesc    = prometheus.NewDesc("offhook_callback_hosts", "Servers that status callbacks go to, by the state of their circuit breaker.",
		[]string{"breaker"}, nil)
)

var _ prometheus.Collector = (*Dispatcher)(nil)

// Describe implements prometheus.Collector.
func (d *Dispatcher) Describe(ch chan<- *prometheus.Desc) {
	d.count.lag.Describe(ch)
	for _, desc := range []*prometheus.Desc{deliveriesDesc, heldDesc, inFlightDesc, hostsDesc} {
		ch <- desc
	}
}

// Collect implements prometheus.Collector.
func (d *Dispatcher) Collect(ch chan<- prometheus.Metric) {
	c := d.count
	c.lag.Collect(ch)
	for result, n := range map[string]*atomic.Uint64{
		"delivered": &c.delivered, "retry": &c.retried, "parked": &c.parked, "dead": &c.dead,
	} {
		ch <- prometheus.MustNewConstMetric(deliveriesDesc, prometheus.CounterValue, float64(n.Load()), result)
	}
	gauge := func(desc *prometheus.Desc, n int64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(n), labels...)
	}
	gauge(heldDesc, c.held.Load())
	gauge(inFlightDesc, c.inFlight.Load())
	down := c.down.Load()
	gauge(hostsDesc, down, "open")
	gauge(hostsDesc, max(c.hosts.Load()-down, 0), "closed")
}

// look notes how Run stands. Run's goroutine only.
func (d *Dispatcher) look() {
	down := 0
	for h := range d.sick {
		if h.breaker.open() {
			down++
		}
	}
	c := d.count
	c.held.Store(int64(len(d.held)))
	c.inFlight.Store(int64(d.inFlight))
	c.hosts.Store(int64(len(d.hosts)))
	c.down.Store(int64(down))
}
