package webhook

import (
	"cmp"
	"container/heap"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/offhook/offhook/internal/call"
)

// laneKey names what is delivered in order: one call's callbacks to one URL.
type laneKey struct{ callSID, url string }

// item is one callback in the dispatcher's memory.
type item struct {
	call.Callback
	lane     *lane
	patience time.Time // when it stops waiting for those before it
	park     bool      // its host has too many waiting: put it off instead of sending it
	hostDown bool      // and for long
	outcome  outcome   // of its delivery
}

// lane is one line of callbacks, earliest first.
type lane struct {
	key      laneKey
	host     *host
	items    []*item // waiting, not in flight
	inFlight int     // more than one only when patience ended
	queued   bool    // in host.queue
	at       time.Time
	index    int // in Dispatcher.waiting, -1 when not; there until at
}

func (l *lane) insert(it *item) {
	i, _ := slices.BinarySearchFunc(l.items, it, func(a, b *item) int {
		return cmp.Or(cmp.Compare(a.Seq, b.Seq), a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	l.items = slices.Insert(l.items, i, it)
}

// next is the item that may be sent first, and when: the head when it is due, another when its patience
// has ended as well.
func (l *lane) next() (first *item, at time.Time) {
	for i, it := range l.items {
		t := it.DueAt
		if (i > 0 || l.inFlight > 0) && t.Before(it.patience) {
			t = it.patience
		}
		if first == nil || t.Before(at) {
			first, at = it, t
		}
	}
	return first, at
}

// idle: nothing in the lane has to be done now or watched.
func (l *lane) idle(now time.Time) bool {
	return l.inFlight == 0 && !l.queued && !slices.ContainsFunc(l.items, func(it *item) bool { return !it.DueAt.After(now) })
}

// laneHeap orders lanes by when they want to be looked at.
type laneHeap []*lane

func (h laneHeap) Len() int           { return len(h) }
func (h laneHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h laneHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push appends a lane (container/heap).
func (h *laneHeap) Push(x any) {
	l := x.(*lane)
	l.index = len(*h)
	*h = append(*h, l)
}

// Pop removes the last lane (container/heap).
func (h *laneHeap) Pop() any {
	old := *h
	l := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	l.index = -1
	return l
}

// host is what all lanes to one server share.
type host struct {
	name     string
	lanes    int
	queue    []*lane // with something to send now, first come first served
	inFlight int
	ready    bool // in Dispatcher.ready
	breaker  breaker
}

// hostOf is the scheme, host and port of a URL. What cannot be parsed shares a host, and fails on delivery.
func hostOf(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + strings.ToLower(u.Host)
}

// room is how many lanes may wait in memory for the host when held callbacks are there in all; more are
// put off in the outbox, so that a slow or dead server cannot fill the memory that others need. A server
// that works gets half of what is free: however many of them are slow, some stays free.
func (h *host) room(held int) int {
	if h.breaker.open() {
		return 16
	}
	return max(16, (maxHeld-held)/2)
}

// A breaker stops the requests to a host after some failures in a row; then one at a time tries whether
// it is back.
type breaker struct {
	failures int
	pause    time.Duration
	until    time.Time // no request before that while open
}

const (
	breakerFailures = 5
	minBreakerPause = time.Second
	maxBreakerPause = 15 * time.Second
)

func (b *breaker) open() bool { return b.failures >= breakerFailures }

// allow reports whether a request may be sent to a host that has inFlight of them under way.
func (b *breaker) allow(now time.Time, inFlight int) bool {
	return !b.open() || (inFlight == 0 && !now.Before(b.until))
}

func (b *breaker) report(healthy bool, now time.Time) {
	if healthy {
		*b = breaker{}
		return
	}
	b.failures++
	if b.open() && !now.Before(b.until) { // those that were under way when it opened count once
		b.pause = min(max(2*b.pause, minBreakerPause), maxBreakerPause)
		b.until = now.Add(b.pause)
	}
}

// add puts a callback in its lane. The caller plans the lane.
func (d *Dispatcher) add(cb call.Callback, now time.Time) *lane {
	key := laneKey{cb.CallSID, cb.URL}
	l := d.lanes[key]
	if l == nil {
		name := hostOf(cb.URL)
		h := d.hosts[name]
		if h == nil {
			h = &host{name: name}
			d.hosts[name] = h
		}
		h.lanes++
		l = &lane{key: key, host: h, index: -1}
		d.lanes[key] = l
	}
	it := &item{Callback: cb, lane: l, patience: now.Add(patience)}
	d.held[cb.ID] = it
	l.insert(it)
	return l
}

// plan puts a lane where it belongs after a change: among those that wait, or out of memory when all it
// has is retries for later: the outbox brings them back in time.
func (d *Dispatcher) plan(l *lane, now time.Time) {
	if l.idle(now) {
		for _, it := range l.items {
			delete(d.held, it.ID)
		}
		if l.index >= 0 {
			heap.Remove(&d.waiting, l.index)
		}
		delete(d.lanes, l.key)
		l.host.lanes--
		d.forget(l.host, now)
		return
	}
	it, at := l.next()
	switch {
	case it == nil || l.queued: // looked at again when something changes, or its turn comes
		if l.index >= 0 {
			heap.Remove(&d.waiting, l.index)
		}
	case l.index >= 0:
		l.at = at
		heap.Fix(&d.waiting, l.index)
	default:
		l.at = at
		heap.Push(&d.waiting, l)
	}
}

// forget drops a host that nobody needs; one that failed lately is remembered for the longest back-off.
func (d *Dispatcher) forget(h *host, now time.Time) {
	if h.lanes == 0 && (h.breaker.failures == 0 || now.Sub(h.breaker.until) > maxBackOff) {
		delete(d.hosts, h.name)
		delete(d.sick, h)
	}
}

// mature queues the lanes whose time has come at their hosts, and offers hosts whose breaker lets one try.
func (d *Dispatcher) mature(now time.Time) {
	for len(d.waiting) > 0 && !d.waiting[0].at.After(now) {
		l := heap.Pop(&d.waiting).(*lane)
		l.queued = true
		l.host.queue = append(l.host.queue, l)
		d.offer(l.host)
	}
	for h := range d.sick {
		d.offer(h)
		d.forget(h, now)
	}
}

// offer puts a host that has something to send among those that pick looks at.
func (d *Dispatcher) offer(h *host) {
	if !h.ready && len(h.queue) > 0 {
		h.ready = true
		d.ready = append(d.ready, h)
	}
}

// pick takes the next callback that may be sent, or should be put off; nil when there is none now. Hosts
// take turns.
func (d *Dispatcher) pick(now time.Time) *item {
	for len(d.ready) > 0 && d.inFlight < maxInFlight {
		h := d.ready[0]
		d.ready = d.ready[1:]
		h.ready = false
		park := len(h.queue) > h.room(len(d.held))
		if len(h.queue) == 0 || !park && (h.inFlight >= maxHostInFlight || !h.breaker.allow(now, h.inFlight)) {
			continue // settle offers it again, or mature when its breaker allows
		}
		var l *lane
		if park { // the last that came
			l = h.queue[len(h.queue)-1]
			h.queue = h.queue[:len(h.queue)-1]
		} else {
			l = h.queue[0]
			h.queue = h.queue[1:]
		}
		l.queued = false
		it, at := l.next()
		if it != nil && !at.After(now) {
			it.park, it.hostDown = park, h.breaker.open()
			l.items = slices.DeleteFunc(l.items, func(o *item) bool { return o == it })
			l.inFlight++
			d.inFlight++
			if !park {
				h.inFlight++
			}
		} else {
			it = nil
		}
		d.plan(l, now)
		d.offer(h)
		if it != nil {
			return it
		}
	}
	return nil
}

// settle takes a delivery's outcome into account.
func (d *Dispatcher) settle(it *item, now time.Time) {
	l, h := it.lane, it.lane.host
	l.inFlight--
	d.inFlight--
	if !it.park {
		h.inFlight--
		h.breaker.report(it.outcome.healthy, now)
		if h.breaker.failures > 0 {
			d.sick[h] = struct{}{}
		} else {
			delete(d.sick, h)
		}
	}
	it.park = false
	if it.outcome.again {
		it.Attempts, it.DueAt = it.outcome.attempts, it.outcome.dueAt
		l.insert(it)
	} else {
		delete(d.held, it.ID)
	}
	d.plan(l, now)
	d.offer(h)
}

// until is how long nothing will happen by itself.
func (d *Dispatcher) until(now time.Time) time.Duration {
	wait := pollInterval
	if len(d.waiting) > 0 {
		wait = min(wait, d.waiting[0].at.Sub(now))
	}
	for h := range d.sick {
		if h.breaker.open() && len(h.queue) > 0 && h.inFlight == 0 {
			wait = min(wait, h.breaker.until.Sub(now))
		}
	}
	return max(wait, 0)
}
