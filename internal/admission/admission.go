// Package admission decides whether the server has room for one more call. It looks at what it can measure:
// how long writes wait for the store, how long goroutines wait for a processor, how late audio leaves, and how
// long a call that just came took until it was stored. While one of them stays above its target, new calls are
// let in at the rate at which calls get through, and the others are refused at once: whoever calls hears so in
// a millisecond, and what is live keeps what it needs. It is CoDel's idea (RFC 8289: a standing queue is bad, a
// burst is not) with a rate instead of drops, because a refused call comes back later.
package admission

import (
	"log/slog"
	"sync"
	"time"

	"github.com/offhook/offhook/internal/clock"
)

const (
	// step is the time between two looks at the gauges, bucket that over which calls are counted.
	step   = 25 * time.Millisecond
	bucket = 100 * time.Millisecond
	// interval is how long a gauge must stay above its target before a call is refused. What is over sooner
	// is a burst, a garbage collection or a slow sync.
	interval = 100 * time.Millisecond
	// calm is how long nobody must have been refused before all calls are taken again.
	calm = time.Second

	// The pace is the most that came through in half a second of the last three seconds.
	paceBuckets = 5
	keptBuckets = 30

	// gain is how much of the pace a gauge at twice its target takes away, and an idle one adds.
	gain = 0.5
	// least of the pace is let in whatever the gauges say.
	least = 0.2
	// growth is how fast the rate rises while the gauges are low: by a factor of e in a quarter of a second.
	growth = 4.0

	// floor and burst are what even a server that is stuck takes: it has to find out when it no longer is.
	floor = 10.0 // calls a second
	burst = 10.0 // calls at once
	// ripple is what a rate lets in at once, because calls do not come evenly.
	ripple = 50 * time.Millisecond
)

// Gauge is one measure of how loaded the server is.
type Gauge struct {
	// Name is the reason that refusals are counted under.
	Name string
	// Read is the level now: above 1 there is no room. since is the time since it was read before, 25 ms or
	// more. It is called under the controller's lock.
	Read func(since time.Duration) float64
}

// Controller admits calls. It has no goroutine: whoever asks makes it look at the gauges, so that an idle
// server does nothing. Its methods are safe for concurrent use.
type Controller struct {
	clock  clock.Clock
	log    *slog.Logger
	gauges []Gauge

	mu      sync.Mutex
	looked  time.Time // when the gauges were read
	above   time.Time // since when one of them is above its target; zero when none is
	reason  string    // the name of the highest
	opening gaugeMin  // how long calls took to be set up since the last look

	shedding bool
	tokens   float64   // calls that may come in now
	rate     float64   // and how many more a second
	refused  time.Time // when a call was last refused
	turned   uint64    // refused since shedding began
	counts   map[string]uint64

	through [keptBuckets]int // calls set up, by bucket
	now     int64            // the running bucket, counted from the zero time
}

// New makes a controller that looks at those gauges, and at how long calls take to be set up (Opened).
func New(c clock.Clock, log *slog.Logger, gauges ...Gauge) *Controller {
	return &Controller{clock: c, log: log, gauges: gauges, counts: make(map[string]uint64)}
}

// Admit reports whether there is room for a call that is asked for now; a refusal is counted.
func (c *Controller) Admit() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.clock.Now()
	if c.take(now) {
		return true
	}
	c.refused = now
	c.turned++
	c.counts[c.reason]++
	return false
}

// Room is Admit for a call that waits when there is none, and is not refused.
func (c *Controller) Room() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.take(c.clock.Now())
}

// Opened says that a call that was admitted is set up, or came to nothing, after d of our own work.
func (c *Controller) Opened(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.clock.Now()
	c.turn(now)
	c.through[c.now%keptBuckets]++
	c.opening.add(d, now)
}

// Stats are the controller's counts.
type Stats struct {
	Open    bool              // all calls are taken
	Refused map[string]uint64 // by reason, since the start
}

// Stats looks at the gauges and tells how things are.
func (c *Controller) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.look(c.clock.Now())
	s := Stats{Open: !c.shedding, Refused: make(map[string]uint64, len(c.gauges)+1)}
	s.Refused[openingName] = c.counts[openingName]
	for _, g := range c.gauges {
		s.Refused[g.Name] = c.counts[g.Name]
	}
	return s
}

// take lets a call in if there is room.
func (c *Controller) take(now time.Time) bool {
	c.look(now)
	if !c.shedding {
		return true
	}
	if c.tokens < 1 {
		return false
	}
	c.tokens--
	return true
}

// look reads the gauges when it is time to, and sets the rate by them.
func (c *Controller) look(now time.Time) {
	since := now.Sub(c.looked)
	if since >= 0 && since < step {
		return
	}
	c.looked = now
	c.turn(now)
	level := c.level(now, since)
	switch {
	case level <= 1:
		c.above = time.Time{}
	case c.above.IsZero() || since >= calm:
		c.above = now
	}
	if !c.shedding {
		if c.above.IsZero() || now.Sub(c.above) < interval {
			return
		}
		c.shedding, c.tokens, c.rate, c.refused, c.turned = true, burst, floor, now, 0
		c.log.Warn("too much waits: some new calls are refused with 503", "reason", c.reason)
	} else if level <= 1 && now.Sub(c.refused) >= calm || since >= calm {
		c.shedding = false
		c.log.Info("all new calls are taken again", "refused", c.turned)
		return
	}
	rate := max(floor, c.pace()*max(least, 1+gain*(1-level)))
	if level < 1 {
		rate = max(rate, c.rate*(1+growth*(1-level)*since.Seconds()))
	}
	c.rate = rate
	c.tokens = min(c.tokens+c.rate*min(since, calm).Seconds(), max(burst, c.rate*ripple.Seconds()))
}

// level is that of the highest gauge, which becomes the reason: the time that calls take is one only when no
// other gauge says why.
func (c *Controller) level(now time.Time, since time.Duration) float64 {
	var name string
	highest := 0.0
	for _, g := range c.gauges {
		if l := g.Read(since); l > highest {
			name, highest = g.Name, l
		}
	}
	opening := c.opening.level(now)
	if highest <= 1 && opening > highest {
		name = openingName
	}
	highest = max(highest, opening)
	if highest > 1 || c.reason == "" {
		c.reason = name
	}
	return highest
}

// turn moves on to the bucket of now.
func (c *Controller) turn(now time.Time) {
	n := now.UnixNano() / int64(bucket)
	if n-c.now > keptBuckets {
		c.now = n - keptBuckets
	}
	for c.now < n {
		c.now++
		c.through[c.now%keptBuckets] = 0
	}
}

// pace is how many calls a second came through at the best time of the last seconds.
func (c *Controller) pace() float64 {
	best := 0
	for first := c.now - keptBuckets + 1; first+paceBuckets-1 <= c.now; first++ {
		sum := 0
		for i := range int64(paceBuckets) {
			sum += c.through[(first+i)%keptBuckets]
		}
		best = max(best, sum)
	}
	return float64(best) / (paceBuckets * bucket.Seconds())
}
