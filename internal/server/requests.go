package server

import (
	"net/http"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/offhook/offhook/internal/clock"
	"github.com/offhook/offhook/internal/telemetry"
)

// requests counts HTTP requests by the pattern of their route, and gives those about a call their span.
type requests struct {
	clock    clock.Clock
	tracer   *telemetry.Tracer
	took     *prometheus.HistogramVec // method, route, status
	inFlight prometheus.Gauge
	answers  sync.Pool // *answer
}

func newRequests(c clock.Clock, t *telemetry.Tracer) *requests {
	return &requests{
		clock: c, tracer: t,
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "offhook_http_request_seconds", Help: "HTTP requests by the pattern of their route and the class of the answer.",
			Buckets: []float64{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5},
		}, []string{"method", "route", "status"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "offhook_http_requests_in_flight", Help: "HTTP requests being answered, event streams included.",
		}),
		answers: sync.Pool{New: func() any { return new(answer) }},
	}
}

// answer notes what is said of a request. An API tells it its own route by SetRoute.
type answer struct {
	http.ResponseWriter
	status int
	route  string
}

// SetRoute names the route by its pattern, so that what a caller writes into a path is no label.
func (a *answer) SetRoute(pattern string) { a.route = pattern }

// WriteHeader notes the status.
func (a *answer) WriteHeader(status int) {
	if a.status == 0 && status >= 200 {
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController through, for streams.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// count is mux with every request counted.
func (q *requests) count(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := q.clock.Now()
		a := q.answers.Get().(*answer)
		*a = answer{ResponseWriter: w}
		q.inFlight.Inc()
		r, about := q.tracer.Request(r)
		done := func() {
			q.inFlight.Dec()
			if a.route == "" { // the server's own: "GET /healthz"
				_, a.route, _ = strings.Cut(r.Pattern, " ")
				if a.route == "" {
					a.route = r.Pattern
				}
				if a.route == "" {
					a.route = "none"
				}
			}
			if a.status == 0 {
				a.status = http.StatusOK
			}
			method := methodLabel(r.Method)
			q.took.WithLabelValues(method, a.route, classes[min(max(a.status/100, 1), 5)]).Observe(q.clock.Now().Sub(began).Seconds())
			about.End(method, a.route, a.status)
			*a = answer{}
			q.answers.Put(a)
		}
		finished := false
		defer func() {
			if !finished { // a panic: net/http cuts the connection
				a.status = http.StatusInternalServerError
			}
			done()
		}()
		mux.ServeHTTP(a, r)
		finished = true
	})
}

var classes = [...]string{1: "1xx", 2: "2xx", 3: "3xx", 4: "4xx", 5: "5xx"}

// methodLabel is a method that the APIs have, else "other": anybody may invent one.
func methodLabel(method string) string {
	switch method {
	case http.MethodGet, http.MethodPost, http.MethodDelete, http.MethodHead, http.MethodOptions, http.MethodPut, http.MethodPatch:
		return method
	}
	return "other"
}

// Describe implements prometheus.Collector.
func (q *requests) Describe(ch chan<- *prometheus.Desc) {
	q.took.Describe(ch)
	q.inFlight.Describe(ch)
}

// Collect implements prometheus.Collector.
func (q *requests) Collect(ch chan<- prometheus.Metric) {
	q.took.Collect(ch)
	q.inFlight.Collect(ch)
}
