// Package admission decides whether the server has room for one more call. It looks at what it can measure:
// how long writes wait for the store, how long goroutines wait for a processor, how late audio leaves, and how
// long a call that just came took until it was stored. While one of them stays above its target, no more than a
// window of calls is set up at once, and the others are refused: whoever calls hears so in a millisecond, and what
// is live keeps what it needs. When to begin is CoDel's idea (RFC 8289: a standing queue is bad, a burst is not);
// the window is TCP's: a call comes in when another one is through, so that calls come in as fast as they get
// through without anybody having to know how fast that is, and the gauges only move the window.
package admission

import (
	"cmp"
	"log/slog"
	"math"
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
	// calm is how long nobody must have been refused before all calls are taken again, and how long a call that
	// says nothing more counts as one that is being set up.
	calm = time.Second
	kept = int64(calm / bucket)

	// least is how many calls may be set up at once whatever the gauges say: even a server that is stuck has to
	// find out when it no longer is.
	least = 10.0
	// burst is least for the first second in which calls are refused: an idle server takes what comes at once, however
	// long it is at it.
	burst = 100.0
	// most is how many calls are set up at once at any time: what comes in before a gauge can tell is worth waiting for.
	most = 1024.0
	// gain is how fast the window follows the gauges: it grows by a factor of e in a quarter of a second when they
	// are idle. They are a tenth of a second behind.
	gain = 4.0
	// steepest is the pressure from which on it shrinks no faster.
	steepest = 3.0
)

// Gauge is one measure of how loaded the server is.
type Gauge struct {
	// Name is the reason that refusals are counted under.
	Name string
	// Aim is the level at which it is held while calls are refused; 0 means 1.
	Aim float64
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
	began    time.Time // to shed
	window   float64   // while shedding: how many calls may be set up at once
	refused  time.Time // when a call was last refused
	turned   uint64    // refused since shedding began
	counts   map[string]uint64

	pending [kept]int // calls let in that are still being set up, by the bucket they came in
	peak    int       // the most that were at once since the last look
	now     int64     // the running bucket, counted from the zero time
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
	c.release(now, d)
	c.opening.add(d, now)
}

// Placed says that a call that Room let in was placed, or could not be, d later.
func (c *Controller) Placed(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.release(c.clock.Now(), d)
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
	c.turn(now)
	waiting := c.waiting()
	if !c.shedding && waiting >= most {
		c.shed(now, openingName)
	}
	if c.shedding && float64(waiting) >= c.window {
		return false
	}
	c.pending[c.now%kept]++
	c.peak = max(c.peak, waiting+1)
	return true
}

// release makes the room of a call free that came d before now. One that came too long ago has none.
func (c *Controller) release(now time.Time, d time.Duration) {
	c.turn(now)
	first := now.Add(-d).UnixNano() / int64(bucket)
	for n := max(first, c.now-kept+1); n <= min(first+1, c.now); n++ { // it may have asked a moment later
		if p := &c.pending[n%kept]; *p > 0 {
			*p--
			return
		}
	}
}

// look reads the gauges when it is time to, and moves the window by them.
func (c *Controller) look(now time.Time) {
	since := now.Sub(c.looked)
	if since >= 0 && since < step {
		return
	}
	c.looked = now
	c.turn(now)
	level, pressure := c.level(now, since)
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
		c.shed(now, c.reason)
	} else if level <= 1 && now.Sub(c.refused) >= calm || since >= calm {
		c.shedding = false
		c.log.Info("all new calls are taken again", "refused", c.turned)
		return
	}
	if float64(c.peak) < c.window/2 {
		pressure = max(pressure, 1) // nobody needs more
	}
	c.peak = 0
	c.window *= math.Exp(gain * (1 - min(pressure, steepest)) * max(since, 0).Seconds())
	floor := least
	if now.Sub(c.began) < calm {
		floor = burst
	}
	c.window = min(max(c.window, floor), most)
}

// shed begins to refuse calls.
func (c *Controller) shed(now time.Time, reason string) {
	c.shedding, c.began, c.refused, c.turned, c.reason = true, now, now, 0, reason
	c.window = max(burst, float64(c.waiting())/2)
	c.log.Warn("too much waits: some new calls are refused with 503", "reason", reason)
}

// level is that of the highest gauge, which becomes the reason: the time that calls take is one only when no
// other gauge says why. pressure is the highest level by what its gauge aims at.
func (c *Controller) level(now time.Time, since time.Duration) (level, pressure float64) {
	var name string
	for _, g := range c.gauges {
		l := g.Read(since)
		pressure = max(pressure, l/cmp.Or(g.Aim, 1))
		if l > level {
			name, level = g.Name, l
		}
	}
	opening := c.opening.level(now)
	if level <= 1 && opening > level {
		name = openingName
	}
	level, pressure = max(level, opening), max(pressure, opening)
	if level > 1 || c.reason == "" {
		c.reason = name
	}
	return level, pressure
}

// turn moves on to the bucket of now.
func (c *Controller) turn(now time.Time) {
	n := now.UnixNano() / int64(bucket)
	if n-c.now > kept || n < c.now { // long ago, or the clock was set back
		c.now = n - kept
	}
	for c.now < n {
		c.now++
		c.pending[c.now%kept] = 0
	}
}

// waiting is how many calls are being set up.
func (c *Controller) waiting() (n int) {
	for _, p := range c.pending {
		n += p
	}
	return n
}
