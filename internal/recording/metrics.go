package recording

import "github.com/prometheus/client_golang/prometheus"

var (
	runningDesc = prometheus.NewDesc("offhook_recording_running", "Recordings that run now.", nil, nil)
	bytesDesc   = prometheus.NewDesc("offhook_recording_spooled_bytes_total", "Audio written to spools.", nil, nil)
	lostDesc    = prometheus.NewDesc("offhook_recording_samples_lost_total",
		"Samples for which silence stands: full, the disk could not keep up; late, they came when their place was written.", []string{"reason"}, nil)
	brokenDesc  = prometheus.NewDesc("offhook_recording_failed_total", "Recordings that the disk ended.", nil, nil)
	writingDesc = prometheus.NewDesc("offhook_recording_write_seconds_total", "Time spent in writes to spools.", nil, nil)
	inHandDesc  = prometheus.NewDesc("offhook_recording_in_hand", "Recordings on their way to where they are kept, or to be erased.", nil, nil)
	keptDesc    = prometheus.NewDesc("offhook_recording_settled_total", "Recordings of which it is stored what became of them.", nil, nil)
	againDesc   = prometheus.NewDesc("offhook_recording_retries_total", "Tries to keep or erase a recording that failed and are made again.", nil, nil)
)

var _, _ prometheus.Collector = (*Recorder)(nil), (*Keeper)(nil)

// Describe implements prometheus.Collector.
func (r *Recorder) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{runningDesc, bytesDesc, lostDesc, brokenDesc, writingDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (r *Recorder) Collect(ch chan<- prometheus.Metric) {
	s := r.Stats()
	ch <- prometheus.MustNewConstMetric(runningDesc, prometheus.GaugeValue, float64(s.Open))
	ch <- prometheus.MustNewConstMetric(bytesDesc, prometheus.CounterValue, float64(s.Bytes))
	ch <- prometheus.MustNewConstMetric(lostDesc, prometheus.CounterValue, float64(s.Lost), "full")
	ch <- prometheus.MustNewConstMetric(lostDesc, prometheus.CounterValue, float64(s.Late), "late")
	ch <- prometheus.MustNewConstMetric(brokenDesc, prometheus.CounterValue, float64(s.Failed))
	ch <- prometheus.MustNewConstMetric(writingDesc, prometheus.CounterValue, s.Writing.Seconds())
}

// Describe implements prometheus.Collector.
func (k *Keeper) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{inHandDesc, keptDesc, againDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (k *Keeper) Collect(ch chan<- prometheus.Metric) {
	s := k.Stats()
	ch <- prometheus.MustNewConstMetric(inHandDesc, prometheus.GaugeValue, float64(s.InHand))
	ch <- prometheus.MustNewConstMetric(keptDesc, prometheus.CounterValue, float64(s.Put))
	ch <- prometheus.MustNewConstMetric(againDesc, prometheus.CounterValue, float64(s.Failed))
}
