package admission

import "github.com/prometheus/client_golang/prometheus"

var (
	openDesc    = prometheus.NewDesc("offhook_admission_open", "1 while every new call is taken, 0 while some are refused for want of headroom.", nil, nil)
	refusedDesc = prometheus.NewDesc("offhook_admission_refused_total",
		"New calls refused with 503 for want of headroom, by what had none: store, media, cpu, or setup, the time a call takes until it is stored.",
		[]string{"reason"}, nil)
)

var _ prometheus.Collector = (*Controller)(nil)

// Describe implements prometheus.Collector.
func (c *Controller) Describe(ch chan<- *prometheus.Desc) {
	ch <- openDesc
	ch <- refusedDesc
}

// Collect implements prometheus.Collector.
func (c *Controller) Collect(ch chan<- prometheus.Metric) {
	s := c.Stats()
	open := 0.0
	if s.Open {
		open = 1
	}
	ch <- prometheus.MustNewConstMetric(openDesc, prometheus.GaugeValue, open)
	for reason, n := range s.Refused {
		ch <- prometheus.MustNewConstMetric(refusedDesc, prometheus.CounterValue, float64(n), reason)
	}
}
