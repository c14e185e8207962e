package server

import (
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics is the handler of /metrics, in the text format of Prometheus: calls, the media engine with its
// histogram of late ticks, the Go runtime and the process.
func (s *Server) metrics() http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(
		prometheus.NewGaugeFunc(
			prometheus.GaugeOpts{Name: "offhook_calls_live", Help: "Calls live now."},
			func() float64 { return float64(s.manager.Count()) },
		),
		prometheus.NewCounterFunc(
			prometheus.CounterOpts{Name: "offhook_calls_total", Help: "Calls that went live since the start."},
			func() float64 { return float64(s.manager.Taken()) },
		),
		s.media, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
		MaxRequestsInFlight: 4, // a scrape walks every stream
	})
}
