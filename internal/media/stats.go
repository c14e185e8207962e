package media

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Stats says how a stream went.
type Stats struct {
	PacketsSent, PacketsReceived uint64
	// PacketsLost of the peer's, by its sequence numbers; negative when the network repeated some.
	PacketsLost int64
	// Jitter is the interarrival jitter of what came, RFC 3550 section 6.4.1.
	Jitter time.Duration
	// What the peer's last RTCP report says of our packets; zero without one.
	RemoteLost   int64
	RemoteJitter time.Duration
	RoundTrip    time.Duration
	// Digits are the keys the peer pressed.
	Digits uint64
	// Foreign packets came from others than the peer and were ignored. Once the peer is known the system keeps most
	// of them from us: they meet a closed port and are counted nowhere here.
	Foreign uint64
	// Malformed packets were neither RTP nor RTCP.
	Malformed uint64
	// Refused counts sends that met a closed port, Failed those the system did not take.
	Refused, Failed uint64
}

// units is n RTP timestamp units as time.
func units(n uint32) time.Duration { return time.Duration(n) * 125 * time.Microsecond }

// stats is the flow's count so far.
func (f *flow) stats() Stats {
	return Stats{
		PacketsSent: uint64(f.tx.packets), PacketsReceived: f.received + uint64(f.rx.received),
		PacketsLost: f.lost + int64(f.rx.lost()), Jitter: units(f.rx.jitterUnits()),
		RemoteLost: int64(f.reporter.lost), RemoteJitter: units(f.reporter.jitter), RoundTrip: f.reporter.roundTrip,
		Digits: f.digits, Foreign: f.foreign, Malformed: f.broken, Refused: f.refused, Failed: f.failed,
	}
}

// counters are a worker's totals. The worker writes, anybody reads.
type counters struct {
	streams atomic.Int64 // open now

	sent, received, foreign, malformed, refused, failed, digits atomic.Uint64
	lost, panics, skipped                                       atomic.Uint64

	late, jitter histogram
}

// ended adds what is only known at the end of a stream.
func (c *counters) ended(s Stats) {
	if s.PacketsLost > 0 {
		c.lost.Add(uint64(s.PacketsLost))
	}
	if s.PacketsReceived > 0 {
		c.jitter.observe(s.Jitter)
	}
}

// bounds are the upper ends of a histogram's buckets.
var bounds = [...]time.Duration{
	100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond, time.Millisecond,
	2 * time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond,
	50 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond,
}

// histogram counts durations; one goroutine writes, anybody reads.
type histogram struct {
	buckets [len(bounds) + 1]atomic.Uint64 // the last: above all bounds
	sum     atomic.Int64                   // ns
}

func (h *histogram) observe(d time.Duration) {
	i := 0
	for i < len(bounds) && d > bounds[i] {
		i++
	}
	h.buckets[i].Add(1)
	h.sum.Add(int64(d))
}

// Histogram is a distribution of durations.
type Histogram struct {
	Count   uint64
	Sum     time.Duration
	Buckets []Bucket // ascending
}

// Bucket says how many of a Histogram's values are at most UpTo.
type Bucket struct {
	UpTo  time.Duration
	Count uint64 // cumulative
}

// Quantile is the bound of the bucket that the q-th value, 0 to 1, falls into.
func (h Histogram) Quantile(q float64) time.Duration {
	for _, b := range h.Buckets {
		if float64(b.Count) >= q*float64(h.Count) {
			return b.UpTo
		}
	}
	return bounds[len(bounds)-1]
}

// EngineStats are an engine's totals since its start.
type EngineStats struct {
	Streams                                          int // open now
	Sent, Received, Foreign, Refused, Failed, Digits uint64
	// Malformed packets were neither RTP nor RTCP.
	Malformed uint64
	// Lost packets of streams that ended.
	Lost uint64
	// Panics closed a stream each.
	Panics uint64
	// SkippedFrames were left out, each for all streams of a worker, after a stop of the process.
	SkippedFrames uint64
	// LateTicks is how late the 2 ms slots began that had something to do.
	LateTicks Histogram
	// Jitter is that of each stream that ended.
	Jitter Histogram
}

// Stats adds up the workers' counts. Safe for concurrent use.
func (e *Engine) Stats() EngineStats {
	var s EngineStats
	var late, jitter []*histogram
	for _, w := range e.workers {
		c := &w.count
		s.Streams += int(c.streams.Load())
		s.Sent += c.sent.Load()
		s.Received += c.received.Load()
		s.Foreign += c.foreign.Load()
		s.Malformed += c.malformed.Load()
		s.Refused += c.refused.Load()
		s.Failed += c.failed.Load()
		s.Digits += c.digits.Load()
		s.Lost += c.lost.Load()
		s.Panics += c.panics.Load()
		s.SkippedFrames += c.skipped.Load()
		late, jitter = append(late, &c.late), append(jitter, &c.jitter)
	}
	s.LateTicks, s.Jitter = merge(late), merge(jitter)
	return s
}

// lateTick is from when on a slot counts as late: half a frame, which a phone's jitter buffer still hides.
const lateTick = 10 * time.Millisecond

// Late counts the ticks since the start, and those of them that began more than 10 ms behind. A tick is a
// 2 ms slot of a worker that had something to do; whoever reads it every second has the share of late ones in
// between. It costs a few dozen atomic loads. Safe for concurrent use.
func (e *Engine) Late() (late, ticks uint64) {
	for _, w := range e.workers {
		for i := range w.count.late.buckets {
			n := w.count.late.buckets[i].Load()
			ticks += n
			if i >= len(bounds) || bounds[i] > lateTick {
				late += n
			}
		}
	}
	return late, ticks
}

func merge(hs []*histogram) (m Histogram) {
	for i := range len(bounds) + 1 {
		for _, h := range hs {
			m.Count += h.buckets[i].Load()
		}
		if i < len(bounds) {
			m.Buckets = append(m.Buckets, Bucket{bounds[i], m.Count})
		}
	}
	for _, h := range hs {
		m.Sum += time.Duration(h.sum.Load())
	}
	return m
}

// metric is one line of the exposition: counters of EngineStats.
type metric struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(*EngineStats) float64
}

func newDesc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("offhook_media_"+name, help, nil, nil)
}

func counter(name, help string, value func(*EngineStats) uint64) metric {
	return metric{newDesc(name, help), prometheus.CounterValue, func(s *EngineStats) float64 { return float64(value(s)) }}
}

var (
	metrics = []metric{
		{newDesc("streams", "Streams open now."), prometheus.GaugeValue, func(s *EngineStats) float64 { return float64(s.Streams) }},
		counter("packets_sent_total", "RTP packets sent.", func(s *EngineStats) uint64 { return s.Sent }),
		counter("packets_received_total", "RTP packets received from the streams' peers.", func(s *EngineStats) uint64 { return s.Received }),
		counter("packets_lost_total", "RTP packets of ended streams that never came.", func(s *EngineStats) uint64 { return s.Lost }),
		counter("packets_foreign_total", "Packets ignored because they came from others than the peer.", func(s *EngineStats) uint64 { return s.Foreign }),
		counter("packets_malformed_total", "Packets ignored because they were neither RTP nor RTCP.", func(s *EngineStats) uint64 { return s.Malformed }),
		counter("sends_refused_total", "Packets that met a closed port.", func(s *EngineStats) uint64 { return s.Refused }),
		counter("sends_failed_total", "Packets the system did not take.", func(s *EngineStats) uint64 { return s.Failed }),
		counter("digits_total", "Keys received, as telephone-events or tones.", func(s *EngineStats) uint64 { return s.Digits }),
		counter("panics_total", "Streams closed after a panic.", func(s *EngineStats) uint64 { return s.Panics }),
		counter("frames_skipped_total", "Frames left out by a worker that was stopped for long.", func(s *EngineStats) uint64 { return s.SkippedFrames }),
	}
	lateDesc   = newDesc("tick_late_seconds", "How late the 2 ms slots began that had something to do.")
	jitterDesc = newDesc("jitter_seconds", "Interarrival jitter of ended streams.")
)

var _ prometheus.Collector = (*Engine)(nil)

// Describe implements prometheus.Collector.
func (e *Engine) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range metrics {
		ch <- m.desc
	}
	ch <- lateDesc
	ch <- jitterDesc
}

// Collect implements prometheus.Collector.
func (e *Engine) Collect(ch chan<- prometheus.Metric) {
	s := e.Stats()
	for _, m := range metrics {
		ch <- prometheus.MustNewConstMetric(m.desc, m.kind, m.value(&s))
	}
	ch <- s.LateTicks.metric(lateDesc)
	ch <- s.Jitter.metric(jitterDesc)
}

func (h Histogram) metric(desc *prometheus.Desc) prometheus.Metric {
	buckets := make(map[float64]uint64, len(h.Buckets))
	for _, b := range h.Buckets {
		buckets[b.UpTo.Seconds()] = b.Count
	}
	return prometheus.MustNewConstHistogram(desc, h.Count, h.Sum.Seconds(), buckets)
}
