package server

import (
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/offhook/offhook/internal/telemetry"
)

// metrics is the handler of /metrics, in the text format of Prometheus. docs/metrics.md lists what it says.
func (s *Server) metrics() http.Handler {
	return promhttp.HandlerFor(s.registry(), promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: 4, // a scrape walks every call
	})
}

// registry collects from every part that counts, the Go runtime and the process.
func (s *Server) registry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "offhook_build_info", Help: "1, with the version as a label.",
			ConstLabels: prometheus.Labels{"version": s.cfg.Version},
		}, func() float64 { return 1 }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "offhook_draining", Help: "1 while new calls are refused for good, else 0."},
			func() float64 {
				if s.manager.Draining() {
					return 1
				}
				return 0
			}),
		s.manager, s.admission, s.sip, s.media, s.recorder, s.keeper, s.store, s.hooks, s.dispatcher, s.requests, spans{s.tracer},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return r
}

// spans tells how tracing does; nothing while it is off.
type spans struct{ tracer *telemetry.Tracer }

var spansDesc = prometheus.NewDesc("offhook_trace_spans_total",
	"Spans by what became of them: ended, and of those exported or failed; the rest waits or was dropped. Only with --otlp.", []string{"result"}, nil)

// Describe implements prometheus.Collector.
func (s spans) Describe(ch chan<- *prometheus.Desc) { ch <- spansDesc }

// Collect implements prometheus.Collector.
func (s spans) Collect(ch chan<- prometheus.Metric) {
	if s.tracer == nil {
		return
	}
	st := s.tracer.Stats()
	for result, n := range map[string]uint64{"ended": st.Ended, "exported": st.Exported, "failed": st.Failed} {
		ch <- prometheus.MustNewConstMetric(spansDesc, prometheus.CounterValue, float64(n), result)
	}
}
