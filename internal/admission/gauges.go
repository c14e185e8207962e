package admission

import (
	"math"
	"runtime/metrics"
	"time"
)

// Targets. A server of two cores that sets up 1,000 calls a second, which is about what it can, is at a tenth of
// those of calls and writes, at a fifth of that of the processors and at half of that of audio.
const (
	// openingTarget is how long even the fastest of the calls that come may take until it is stored. From half
	// a second on callers repeat their INVITE (RFC 3261, timer T1).
	openingTarget = 150 * time.Millisecond
	// writeTarget is how long a write may wait for its commit; a call that is answered has made three.
	writeTarget = 150 * time.Millisecond
	// lateTarget is the share of ticks that may send their audio more than half a frame late, which a phone's
	// jitter buffer hides.
	lateTarget = 1.0 / 3
	// runTarget is how long a goroutine that is ready may wait for a processor, on average. A call needs about
	// ten, one after the other.
	runTarget = 10 * time.Millisecond

	// queueAim is the level of what waits for a processor while calls are refused. Half a target keeps the processors
	// busy; more makes calls and audio wait and gets no more calls through.
	queueAim = 0.5

	openingName = "setup"
)

// gaugeMin is the gauge of what calls report: as in CoDel the least of what was seen, because one that was
// quick proves that nothing stands. While no call reports, the last report holds for a moment: a slow server
// has few.
type gaugeMin struct {
	least time.Duration
	at    time.Time // of the report
	fresh bool      // it was not read yet
}

func (g *gaugeMin) add(d time.Duration, now time.Time) {
	if !g.fresh || d < g.least {
		g.least, g.at, g.fresh = d, now, true
	}
}

func (g *gaugeMin) level(now time.Time) float64 {
	if !g.fresh && now.Sub(g.at) >= calm {
		return 0
	}
	g.fresh = false
	return ratio(g.least, openingTarget)
}

func ratio(d, target time.Duration) float64 { return float64(d) / float64(target) }

// Writes is the gauge of a store, which says how long its oldest write waits.
func Writes(backlog func() (n int, oldest time.Duration)) Gauge {
	return Gauge{Name: "store", Read: func(time.Duration) float64 {
		_, oldest := backlog()
		return ratio(oldest, writeTarget)
	}}
}

// Audio is the gauge of a media engine, which counts its ticks and the late ones.
func Audio(count func() (late, ticks uint64)) Gauge {
	var wasLate, was uint64
	var m mean
	return Gauge{Name: "media", Aim: queueAim, Read: func(since time.Duration) float64 {
		late, ticks := count()
		share := m.add(float64(late-wasLate), float64(ticks-was), since)
		wasLate, was = late, ticks
		return share / lateTarget
	}}
}

// Processors is the gauge of Go's scheduler: how long goroutines wait until they run.
func Processors() Gauge {
	sample := []metrics.Sample{{Name: "/sched/latencies:seconds"}}
	var seen []uint64
	var m mean
	return Gauge{Name: "cpu", Aim: queueAim, Read: func(since time.Duration) float64 {
		metrics.Read(sample)
		if sample[0].Value.Kind() != metrics.KindFloat64Histogram {
			return 0
		}
		h := sample[0].Value.Float64Histogram()
		if seen == nil {
			seen = make([]uint64, len(h.Counts))
		}
		var sum, n float64
		for i, count := range h.Counts {
			d := float64(count - seen[i])
			seen[i] = count
			n += d
			sum += d * middle(h.Buckets[i], h.Buckets[i+1])
		}
		return m.add(sum, n, since) / runTarget.Seconds()
	}}
}

// mean is that of the last tenth of a second: 25 ms have too few events, and garbage collections.
type mean struct{ sum, n float64 }

const (
	memory = 100 * time.Millisecond
	// enough is how many events a mean has to be made of.
	enough = 20
)

// add adds n events, and forgets what came before by and by.
func (m *mean) add(sum, n float64, since time.Duration) float64 {
	keep := math.Exp(-float64(since) / float64(memory))
	m.sum, m.n = keep*m.sum+sum, keep*m.n+n
	if m.n < enough {
		return 0
	}
	return m.sum / m.n
}

// middle of a bucket, whose ends may be infinite.
func middle(low, high float64) float64 {
	switch {
	case math.IsInf(low, -1):
		return max(high, 0)
	case math.IsInf(high, 1):
		return low
	}
	return (low + high) / 2
}
