package session

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/offhook/offhook/internal/audio"
	"github.com/offhook/offhook/internal/call"
)

// metrics are a Manager's counts; their names are in docs/metrics.md.
type metrics struct {
	ended   *prometheus.CounterVec // status, direction
	actions *prometheus.CounterVec // action
	queued  prometheus.Histogram
	talked  prometheus.Histogram
	found   *prometheus.CounterVec // answered_by
}

// Actions of the API.
const (
	actionCreate   = "create"
	actionRedirect = "redirect"
	actionCancel   = "cancel"
	actionHangup   = "hangup"
	actionChange   = "change" // of options only
	actionDelete   = "delete"
	actionHold     = "hold"
	actionUnhold   = "unhold"
	actionMute     = "mute"
	actionUnmute   = "unmute"
)

func newMetrics() *metrics {
	x := &metrics{
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "offhook_calls_ended_total", Help: "Calls that ended, by their final status.",
		}, []string{"status", "direction"}),
		actions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "offhook_call_actions_total", Help: "What the API asked for and got.",
		}, []string{"action"}),
		queued: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "offhook_call_queue_seconds", Help: "How long calls waited in their dialling queue.",
			Buckets: []float64{0.005, 0.02, 0.1, 0.5, 1, 5, 30, 120, 600},
		}),
		talked: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "offhook_call_answered_seconds", Help: "Length of answered calls, from the answer to the end.",
			Buckets: []float64{1, 5, 15, 30, 60, 180, 600, 1800, 7200},
		}),
	}
	x.found = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "offhook_machine_detections_total", Help: "What machine detection found out.",
	}, []string{"answered_by"})
	for _, s := range call.Statuses { // so that a rate begins at the first call, not at the second
		if s.Final() {
			for _, d := range call.Directions {
				x.ended.WithLabelValues(string(s), string(d))
			}
		}
	}
	for _, by := range []string{
		audio.AnsweredHuman, audio.AnsweredMachineStart, audio.AnsweredMachineEndBeep, audio.AnsweredMachineEndSilence,
		audio.AnsweredMachineEndOther, audio.AnsweredFax, audio.AnsweredUnknown,
	} {
		x.found.WithLabelValues(by)
	}
	for _, a := range []string{actionCreate, actionRedirect, actionCancel, actionHangup, actionChange, actionDelete, actionHold, actionUnhold, actionMute, actionUnmute} {
		x.actions.WithLabelValues(a)
	}
	return x
}

// over counts a call that has its final status.
func (x *metrics) over(c *call.Call) {
	x.ended.WithLabelValues(string(c.Status), string(c.Direction)).Inc()
	if !c.AnsweredAt.IsZero() {
		x.talked.Observe(c.EndedAt.Sub(c.AnsweredAt).Seconds())
	}
}

func (x *metrics) dialled(wait time.Duration) { x.queued.Observe(wait.Seconds()) }

func (x *metrics) detected(answeredBy string) { x.found.WithLabelValues(answeredBy).Inc() }

func (x *metrics) did(action string) { x.actions.WithLabelValues(action).Inc() }

// actionOf names what p asks for.
func actionOf(p *call.UpdateParams) string {
	switch {
	case p.Status == call.Canceled:
		return actionCancel
	case p.Status != "":
		return actionHangup
	case p.Redirects():
		return actionRedirect
	}
	return actionChange
}

var (
	liveDesc    = prometheus.NewDesc("offhook_calls_live", "Calls live now; queued is being dialled.", []string{"status"}, nil)
	waitingDesc = prometheus.NewDesc("offhook_calls_waiting", "Calls in the dialling queue.", nil, nil)
	startedDesc = prometheus.NewDesc("offhook_calls_started_total", "Calls that went live since the start.", nil, nil)
)

var _ prometheus.Collector = (*Manager)(nil)

// Describe implements prometheus.Collector.
func (m *Manager) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range m.metrics.all() {
		c.Describe(ch)
	}
	ch <- liveDesc
	ch <- waitingDesc
	ch <- startedDesc
}

// Collect implements prometheus.Collector.
func (m *Manager) Collect(ch chan<- prometheus.Metric) {
	for _, c := range m.metrics.all() {
		c.Collect(ch)
	}
	live := map[call.Status]int{call.Queued: 0, call.Ringing: 0, call.InProgress: 0}
	m.mu.Lock()
	for _, s := range m.live {
		if status := s.snapshot.Load().Status; !status.Final() { // else the leg is only saying goodbye
			live[status]++
		}
	}
	m.mu.Unlock()
	for status, n := range live {
		ch <- prometheus.MustNewConstMetric(liveDesc, prometheus.GaugeValue, float64(n), string(status))
	}
	ch <- prometheus.MustNewConstMetric(waitingDesc, prometheus.GaugeValue, float64(m.queue.waiting()))
	ch <- prometheus.MustNewConstMetric(startedDesc, prometheus.CounterValue, float64(m.Taken()))
}

func (x *metrics) all() []prometheus.Collector {
	return []prometheus.Collector{x.ended, x.actions, x.queued, x.talked, x.found}
}
