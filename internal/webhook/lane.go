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
	sent     bool      // tried since it was loaded
	park     time.Time // not zero: its host has too many waiting, so it is put off until then instead of sent
	down     bool      // because it is down
	also     []*item   // put off with it
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

// due reports whether an item could be sent but for those before it.
func (l *lane) due(now time.Time) bool {
	return slices.ContainsFunc(l.items, func(it *item) bool { return !it.DueAt.After(now) })
}

// take removes an item that is sent now. Those behind wait from now on for it, if it is its first time:
// until then it was the queue of their host that they waited in.
func (l *lane) take(it *item, now time.Time) {
	l.items = slices.DeleteFunc(l.items, func(o *item) bool { return o == it })
	l.inFlight++
	l.host.inFlight++
	if !it.sent {
		it.sent = true
		for _, o := range l.items {
			o.patience = now.Add(patience)
		}
	}
}

// takeDue removes all items that are due, to be put off together: they come back together, in order.
func (l *lane) takeDue(now time.Time) *item {
	until := now.Add(jitter(4 * time.Second))
	if l.host.breaker.open() {
		until = now.Add(jitter(maxBackOff))
		for _, it := range l.items {
			if it.DueAt.After(now) {
				until = it.DueAt // with those before it, which are put off already
			}
		}
	}
	var first *item
	l.items = slices.DeleteFunc(l.items, func(it *item) bool {
		if it.DueAt.After(now) {
			return false
		}
		it.park, it.down, it.also = until, l.host.breaker.open(), nil
		if first == nil {
			first = it
		} else {
			first.also = append(first.also, it)
		}
		return true
	})
	l.inFlight++
	return first
}

// idle: nothing in the lane has to be done now or watched.
func (l *lane) idle(now time.Time) bool {
	return l.inFlight == 0 && !l.queued && !l.due(now)
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

	recalled bool      // in Dispatcher.recalls: it was down, and what was put off is being brought back
	recall   time.Time // as far as this has come
}

// downRoom is how many lanes may wait in memory for a host that is down, enough to find out whether it is back.
const downRoom = 16

// crowded: the host is down, and has more waiting than it takes to find out whether it is back.
func (h *host) crowded() bool { return h.breaker.open() && h.lanes > downRoom }

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
		return downRoom
	}
	return max(downRoom, (maxHeld-held)/2)
}

// A breaker stops the requests to a host after some failures in a row; then one at a time tries whether
// it is back. When it is, each success lets one more go at once, so that what has just been started is not
// run over by what has waited for it.
type breaker struct {
	failures int
	pause    time.Duration
	until    time.Time // no request before that while open
	missing  int       // requests at once that it has not yet earned back
}

const (
	breakerFailures = 5
	minBreakerPause = time.Second
	maxBreakerPause = 15 * time.Second
)

func (b *breaker) open() bool { return b.failures >= breakerFailures }

// atOnce is how many requests may be under way.
func (b *breaker) atOnce() int { return maxHostInFlight - b.missing }

// allow reports whether a request may be sent to a host that has inFlight of them under way.
func (b *breaker) allow(now time.Time, inFlight int) bool {
	if b.open() {
		return inFlight == 0 && !now.Before(b.until)
	}
	return inFlight < b.atOnce()
}

// report takes the end of a request into account; back is true when the host was down until then.
func (b *breaker) report(healthy bool, now time.Time) (back bool) {
	if healthy {
		back = b.open()
		b.failures, b.until = 0, time.Time{}
		if b.missing = max(b.missing-1, 0); b.missing == 0 {
			b.pause = 0
		}
		return back
	}
	b.failures++
	if b.open() && !now.Before(b.until) { // those that were under way when it opened count once
		b.pause = min(max(2*b.pause, minBreakerPause), maxBreakerPause)
		b.until = now.Add(b.pause)
		b.missing = maxHostInFlight - 1
	}
	return false
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
	if l.host.crowded() && l.due(now) {
		at = now // to be put off, if nothing else
	}
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
	if h.lanes == 0 && !h.recalled && (h.breaker.failures == 0 || now.Sub(h.breaker.until) > maxBackOff) {
		delete(d.hosts, h.name)
		delete(d.sick, h)
	}
}

// mature queues the lanes whose time has come at their hosts, and offers hosts whose breaker lets one try.
func (d *Dispatcher) mature(now time.Time) {
	for len(d.waiting) > 0 && !d.waiting[0].at.After(now) {
		l := heap.Pop(&d.waiting).(*lane)
		l.queued = true
		if _, at := l.next(); at.After(now) {
			d.parks = append(d.parks, l) // nothing to send, and its host is crowded
			continue
		}
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
	for len(d.parks) > 0 && d.inFlight < maxInFlight {
		l := d.parks[0]
		d.parks = d.parks[1:]
		if !l.host.crowded() { // no more: it waits for its turn as all do
			l.queued = false
			d.plan(l, now)
		} else if it := d.turn(l, now, true); it != nil {
			return it
		}
	}
	for len(d.ready) > 0 && d.inFlight < maxInFlight {
		h := d.ready[0]
		d.ready = d.ready[1:]
		h.ready = false
		park := len(h.queue) > h.room(len(d.held))
		if len(h.queue) == 0 || !park && !h.breaker.allow(now, h.inFlight) {
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
		it := d.turn(l, now, park)
		d.offer(h)
		if it != nil {
			return it
		}
	}
	return nil
}

// turn takes what a lane whose turn has come wants to send, or all that is to be put off.
func (d *Dispatcher) turn(l *lane, now time.Time, park bool) *item {
	l.queued = false
	it, at := l.next()
	switch {
	case park && l.due(now):
		it = l.takeDue(now)
	case it != nil && !at.After(now):
		l.take(it, now)
	default:
		it = nil
	}
	if it != nil {
		d.inFlight++
	}
	d.plan(l, now)
	return it
}

// settle takes a delivery's outcome into account.
func (d *Dispatcher) settle(it *item, now time.Time) {
	l, h := it.lane, it.lane.host
	l.inFlight--
	d.inFlight--
	back := false
	if it.park.IsZero() {
		h.inFlight--
		back = h.breaker.report(it.outcome.healthy, now)
		if h.breaker.failures > 0 {
			d.sick[h] = struct{}{}
		} else {
			delete(d.sick, h)
		}
	}
	for _, it := range append(it.also, it) {
		d.keep(it, now)
	}
	it.also = nil
	if back {
		d.welcome(h, now)
	}
	d.plan(l, now)
	d.offer(h)
}

// keep puts an item back that stays in the outbox.
func (d *Dispatcher) keep(it *item, now time.Time) {
	if !it.outcome.again {
		delete(d.held, it.ID)
		return
	}
	it.Attempts, it.DueAt = it.outcome.attempts, it.outcome.dueAt
	if it.down && !it.lane.host.breaker.open() {
		it.DueAt = now // it was put off because the host was down, which it is no more
	}
	it.park, it.down = time.Time{}, false
	it.lane.insert(it)
}

// welcome sends what waits for a host that was down and is back: what is in memory now, what was put off as
// fast as it goes.
func (d *Dispatcher) welcome(h *host, now time.Time) {
	for _, l := range d.lanes {
		if l.host != h {
			continue
		}
		for _, it := range l.items {
			it.DueAt = now
		}
		if len(l.items) > 0 {
			d.plan(l, now)
		}
	}
	h.recall = now.Truncate(time.Microsecond) // as the outbox counts
	if !h.recalled {
		h.recalled = true
		d.recalls = append(d.recalls, h)
	}
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
