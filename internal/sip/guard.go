package sip

import (
	"net/netip"
	"sync"
	"time"

	"github.com/offhook/offhook/internal/clock"
)

// guard shuts out sources that guess passwords, and knows those that had a right one.
type guard struct {
	clock clock.Clock

	mu      sync.Mutex
	of      map[netip.Addr]*offender
	friends map[netip.Addr]time.Time // when they last showed a password
}

// offender is a source that failed.
type offender struct {
	failures [guardFailures]time.Time // the last ones, as a ring: the oldest is at next
	next     int
	until    time.Time // shut out so long; zero when it never was
	times    int       // how often it was
}

const (
	guardWindow   = time.Minute      // within which
	guardFailures = 10               // so many failures shut a source out,
	guardShut     = 10 * time.Minute // at first so long, each further time twice as long,
	guardLongest  = 24 * time.Hour   // up to this; and so long it is remembered afterwards
	maxOffenders  = 4096

	friendship = 24 * time.Hour // as long as a registration may last
	maxFriends = 1 << 16
)

func newGuard(c clock.Clock) *guard {
	return &guard{clock: c, of: make(map[netip.Addr]*offender), friends: make(map[netip.Addr]time.Time)}
}

// passed notes a right password. It forgives nothing: whoever has one may guess others'.
func (g *guard) passed(src netip.Addr) {
	key, now := sourceKey(src), g.clock.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, known := g.friends[key]; !known && len(g.friends) >= maxFriends {
		for other := range g.friends { // any one: it is told from strangers again when it calls
			delete(g.friends, other)
			break
		}
	}
	g.friends[key] = now
}

// friend reports whether a source had a right password lately.
func (g *guard) friend(src netip.Addr) bool {
	key := sourceKey(src)
	g.mu.Lock()
	defer g.mu.Unlock()
	at, known := g.friends[key]
	return known && g.clock.Now().Sub(at) < friendship
}

// failed counts a wrong password. shut is for how long the source is shut out now, 0 when it is not.
func (g *guard) failed(src netip.Addr) (shut time.Duration) {
	key, now := sourceKey(src), g.clock.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	o := g.of[key]
	if o == nil {
		if len(g.of) >= maxOffenders {
			g.evictLocked(now)
		}
		o = &offender{}
		g.of[key] = o
	}
	if now.Sub(o.until) > guardLongest {
		o.times = 0
	}
	o.failures[o.next] = now
	o.next = (o.next + 1) % guardFailures
	if oldest := o.failures[o.next]; oldest.IsZero() || now.Sub(oldest) > guardWindow || now.Before(o.until) {
		return 0
	}
	shut = min(guardShut<<min(o.times, 10), guardLongest)
	o.until, o.times = now.Add(shut), o.times+1
	clear(o.failures[:])
	return shut
}

// shut reports whether a source is shut out.
func (g *guard) shut(src netip.Addr) bool {
	key := sourceKey(src)
	g.mu.Lock()
	defer g.mu.Unlock()
	o := g.of[key]
	return o != nil && g.clock.Now().Before(o.until)
}

// count is how many are.
func (g *guard) count() (n int) {
	now := g.clock.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, o := range g.of {
		if now.Before(o.until) {
			n++
		}
	}
	return n
}

// evictLocked makes room: those whose failures no longer count go, else the one that will be let in first.
func (g *guard) evictLocked(now time.Time) {
	var first netip.Addr
	var soonest time.Time
	for key, o := range g.of {
		end := o.failures[(o.next+guardFailures-1)%guardFailures].Add(guardWindow)
		if o.until.After(end) {
			end = o.until
		}
		if now.After(end.Add(guardLongest)) || o.until.IsZero() && now.After(end) {
			delete(g.of, key)
		} else if soonest.IsZero() || end.Before(soonest) {
			first, soonest = key, end
		}
	}
	if len(g.of) >= maxOffenders {
		delete(g.of, first)
	}
}
