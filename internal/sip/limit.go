package sip

import (
	"net/netip"
	"sync"
	"time"

	"github.com/offhook/offhook/internal/clock"
)

// limiter is a token bucket for each source. Only addresses that may begin something have one.
type limiter struct {
	clock clock.Clock
	rate  float64 // tokens a second
	burst float64

	mu      sync.Mutex
	buckets map[netip.Addr]bucket
}

type bucket struct {
	tokens float64
	at     time.Time
}

// maxBuckets bounds the sources that are told apart.
const maxBuckets = 4096

func newLimiter(c clock.Clock, rate int) *limiter {
	return &limiter{clock: c, rate: float64(rate), burst: 2 * float64(rate), buckets: make(map[netip.Addr]bucket)}
}

// allow takes a token from the source's bucket.
func (l *limiter) allow(src netip.Addr) bool {
	key, now := sourceKey(src), l.clock.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	b, ok := l.buckets[key]
	if !ok {
		if len(l.buckets) >= maxBuckets {
			l.evictLocked(now)
		}
		b = bucket{l.burst, now}
	}
	b.tokens = min(l.burst, b.tokens+l.rate*now.Sub(b.at).Seconds())
	b.at = now
	ok = b.tokens >= 1
	if ok {
		b.tokens--
	}
	l.buckets[key] = b
	return ok
}

// evictLocked makes room: of some buckets those that are full again go, for they say nothing, else any one. It
// looks at no more of them, because a flood of forged sources has it called for each message.
func (l *limiter) evictLocked(now time.Time) {
	var some netip.Addr
	looked := 0
	for key, b := range l.buckets { // begins anywhere
		if b.tokens+l.rate*now.Sub(b.at).Seconds() >= l.burst {
			delete(l.buckets, key)
		}
		some = key
		if looked++; looked == 16 {
			break
		}
	}
	if len(l.buckets) >= maxBuckets {
		delete(l.buckets, some)
	}
}

// callEntry is a Call-ID of ours: how many legs have it, live and just ended, and what its messages may still
// take. Whoever knows it may speak, but not without end.
type callEntry struct {
	legs   int
	tokens float64
	at     time.Time
}

const (
	callRate  = 100 // messages a second of one call
	callBurst = 200 // and at once
)

// allow takes a token.
func (c *callEntry) allow(now time.Time) bool {
	if c.at.IsZero() {
		c.tokens = callBurst
	} else {
		c.tokens = min(callBurst, c.tokens+callRate*now.Sub(c.at).Seconds())
	}
	c.at = now
	if c.tokens < 1 {
		return false
	}
	c.tokens--
	return true
}

// sourceKey is whom an address stands for: in IPv6 one host has a /64.
func sourceKey(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		p, _ := a.Prefix(64)
		return p.Addr()
	}
	return a
}

// connections counts TCP connections, in all and by source.
type connections struct {
	most, mostOf int

	mu  sync.Mutex
	all int
	of  map[netip.Addr]int
}

func newConnections(most, mostOf int) *connections {
	return &connections{most: most, mostOf: mostOf, of: make(map[netip.Addr]int)}
}

// open counts a connection of src unless there are too many. Strangers have half of all and a quarter of what
// one source may have: the rest is for those who are known.
func (c *connections) open(src netip.Addr, stranger bool) bool {
	most, mostOf := c.most, c.mostOf
	if stranger {
		most, mostOf = (most+1)/2, (mostOf+3)/4
	}
	key := sourceKey(src)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all >= most || c.of[key] >= mostOf {
		return false
	}
	c.all++
	c.of[key]++
	return true
}

func (c *connections) close(src netip.Addr) {
	key := sourceKey(src)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all--
	if c.of[key]--; c.of[key] <= 0 {
		delete(c.of, key)
	}
}

func (c *connections) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.all
}
