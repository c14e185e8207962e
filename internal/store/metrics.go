package store

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Bounds of the look into the outbox, which is made for a scrape: from an index, and once a second at most.
const (
	outboxLook    = 100_000 // rows counted
	outboxFresh   = time.Second
	outboxTimeout = 2 * time.Second
)

const (
	outboxPending = "SELECT COUNT(*), COALESCE(MIN(created_at), 0) FROM (SELECT created_at FROM outbox " +
		"WHERE state = 'pending' ORDER BY due_at, created_at LIMIT ?) AS pending"
	outboxDead = "SELECT COUNT(*) FROM (SELECT 1 FROM outbox WHERE state = 'dead' LIMIT ?) AS dead"
)

// metrics are the counts of a Store; their names are in docs/metrics.md.
type metrics struct {
	waited   *prometheus.HistogramVec // lane
	live     prometheus.Observer
	api      prometheus.Observer
	batch    prometheus.Histogram
	stopped  atomic.Bool // the database cannot be written
	outboxMu sync.Mutex
	outboxAt time.Time // when it was looked into
	outbox   outboxDepth
}

// outboxDepth is how many callbacks wait, as far as outboxLook counts, since when, and how many were given up.
type outboxDepth struct {
	pending, dead int64
	oldest        time.Time // zero: none waits
	known         bool
}

func newMetrics() *metrics {
	x := &metrics{
		waited: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "offhook_store_write_seconds", Help: "Writes, from joining their lane to the end of the commit.",
			Buckets: []float64{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5},
		}, []string{"lane"}),
		batch: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "offhook_store_batch_writes", Help: "Writes that shared a commit.",
			Buckets: []float64{1, 2, 4, 8, 16, 32, 64, 128, 256},
		}),
	}
	x.live, x.api = x.waited.WithLabelValues("live"), x.waited.WithLabelValues("api")
	return x
}

// committed counts a batch. The writer's goroutine only.
func (x *metrics) committed(jobs []*job, now time.Time) {
	x.batch.Observe(float64(len(jobs)))
	for _, j := range jobs {
		lane := x.live
		if j.api {
			lane = x.api
		}
		lane.Observe(now.Sub(j.since).Seconds())
	}
}

var (
	laneDesc     = prometheus.NewDesc("offhook_store_queued_writes", "Writes that wait for the writer.", []string{"lane"}, nil)
	writableDesc = prometheus.NewDesc("offhook_store_writable", "1 while the database takes writes, 0 after one that it did not.", nil, nil)
	depthDesc    = prometheus.NewDesc("offhook_outbox_callbacks",
		"Status callbacks in the outbox that are pending, and those that were given up (dead); counted up to 100,000.", []string{"state"}, nil)
	ageDesc = prometheus.NewDesc("offhook_outbox_oldest_seconds", "Age of the oldest pending status callback; 0 without one.", nil, nil)
)

var droppedDesc = prometheus.NewDesc("offhook_store_requests_dropped_total",
	"Requests to applications that the Events of their calls lack, because the database did not keep up.", nil, nil)

var _ prometheus.Collector = (*Store)(nil)

// Describe implements prometheus.Collector.
func (s *Store) Describe(ch chan<- *prometheus.Desc) {
	s.w.metrics.waited.Describe(ch)
	s.w.metrics.batch.Describe(ch)
	for _, d := range []*prometheus.Desc{laneDesc, writableDesc, depthDesc, ageDesc, droppedDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector. What the outbox holds is left out while it cannot be read.
func (s *Store) Collect(ch chan<- prometheus.Metric) {
	x := s.w.metrics
	x.waited.Collect(ch)
	x.batch.Collect(ch)
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	gauge(laneDesc, float64(len(s.w.liveLane)), "live")
	gauge(laneDesc, float64(len(s.w.apiLane)), "api")
	ch <- prometheus.MustNewConstMetric(droppedDesc, prometheus.CounterValue, float64(s.requests.dropped.Load()))
	writable := 1.0
	if x.stopped.Load() {
		writable = 0
	}
	gauge(writableDesc, writable)
	depth := s.outboxDepth()
	if !depth.known {
		return
	}
	gauge(depthDesc, float64(depth.pending), "pending")
	gauge(depthDesc, float64(depth.dead), "dead")
	age := 0.0
	if !depth.oldest.IsZero() {
		age = max(0, s.cfg.Clock.Now().Sub(depth.oldest).Seconds())
	}
	gauge(ageDesc, age)
}

// outboxDepth looks into the outbox, or says what it saw a moment ago.
func (s *Store) outboxDepth() outboxDepth {
	x := s.w.metrics
	x.outboxMu.Lock()
	defer x.outboxMu.Unlock()
	now := s.cfg.Clock.Now()
	if !x.outboxAt.IsZero() && now.Sub(x.outboxAt) < outboxFresh {
		return x.outbox
	}
	ctx, cancel := context.WithTimeout(context.Background(), outboxTimeout)
	defer cancel()
	var d outboxDepth
	err := s.queryRow(ctx, func(r scanner) error { return r.Scan(&d.pending, asTime{&d.oldest}) }, outboxPending, outboxLook)
	if err == nil {
		err = s.queryRow(ctx, func(r scanner) error { return r.Scan(&d.dead) }, outboxDead, outboxLook)
	}
	d.known = err == nil
	x.outbox, x.outboxAt = d, now
	return d
}
