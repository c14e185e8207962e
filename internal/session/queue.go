package session

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/twilio"
)

// roomRetry is how long a queue waits before it asks again whether there is room for its next call.
const roomRetry = 50 * time.Millisecond

// laneBuffer is how many waiting calls a dialling queue keeps in memory; the store has the rest.
const laneBuffer = 1000

// lane is one dialling queue: first in first out, paced by its limits. The stored status is the truth;
// the lane only remembers what to look at next, so a canceled call falls out when its claim fails.
type lane struct {
	key  string
	m    *Manager
	wake chan struct{}
	quit chan struct{}

	mu      sync.Mutex
	waiting []*call.Call
	spilled bool // the store has calls that are not in waiting
	resting bool // the store failed, nothing is dialled for a moment
	active  int  // dialled and not over
	stopped bool
}

// enqueue hands a stored, queued call to its lane.
func (m *Manager) enqueue(c *call.Call) {
	m.mu.Lock()
	if m.draining {
		m.mu.Unlock()
		return
	}
	l := m.laneLocked(c.QueueKey)
	l.add(c) // under the lock, so that the lane is not dropped meanwhile
	m.mu.Unlock()
}

func (m *Manager) laneLocked(key string) *lane {
	l := m.lanes[key]
	if l == nil {
		l = &lane{key: key, m: m, wake: make(chan struct{}, 1), quit: make(chan struct{})}
		m.lanes[key] = l
		m.workers.Go(l.run)
	}
	return l
}

// TrunksChanged lets the dialling queues of removed trunks end: each once its last call is over.
func (m *Manager) TrunksChanged() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range m.lanes {
		l.poke()
	}
}

// dropLane forgets a queue that has no call left and whose trunk was removed.
func (m *Manager) dropLane(l *lane) bool {
	if !strings.HasPrefix(l.key, twilio.TrunkPrefix) || m.trunk(l.key) != nil {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.active > 0 || len(l.waiting) > 0 || l.spilled || l.resting || l.stopped {
		return false
	}
	l.stopped = true // whoever holds it still, and adds a call, is told
	delete(m.lanes, l.key)
	return true
}

// reload makes every dialling queue read again what waits for it in the store.
func (m *Manager) reload() {
	m.mu.Lock()
	defer m.mu.Unlock()
	keys := []string{queueSIP, queueSimulator, queueInternal}
	for _, t := range m.Trunks() {
		keys = append(keys, t.SID)
	}
	for _, key := range keys {
		m.laneLocked(key)
	}
	for _, l := range m.lanes {
		l.reload()
	}
}

// forget takes a call that was canceled out of its queue, so that it does not use up the queue's pace.
func (m *Manager) forget(c *call.Call) {
	m.mu.Lock()
	l := m.lanes[c.QueueKey]
	m.mu.Unlock()
	if l != nil {
		l.mu.Lock()
		l.waiting = slices.DeleteFunc(l.waiting, func(w *call.Call) bool { return w.SID == c.SID })
		l.mu.Unlock()
	}
}

func (l *lane) reload() {
	l.mu.Lock()
	l.waiting, l.spilled = nil, true
	l.mu.Unlock()
	l.poke()
}

// rest is for a store that failed: in a second the lane goes on with what the store then says.
func (l *lane) rest() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting, l.spilled = nil, true
	if l.resting {
		return
	}
	l.resting = true
	l.m.Clock.AfterFunc(storeRetry, func() {
		l.mu.Lock()
		l.resting = false
		l.mu.Unlock()
		l.poke()
	})
}

func (l *lane) add(c *call.Call) {
	l.mu.Lock()
	if len(l.waiting) >= laneBuffer || l.spilled {
		l.spilled = true
	} else {
		l.waiting = append(l.waiting, c)
	}
	l.mu.Unlock()
	l.poke()
}

func (l *lane) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// stop ends run; the calls still waiting stay queued in the store.
func (l *lane) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.stopped {
		l.stopped = true
		close(l.quit)
	}
}

// run dials one call after the other, each when the limits allow it.
func (l *lane) run() {
	var next time.Time // when the rate allows the next call
	for {
		c := l.next()
		if c == nil {
			if l.m.dropLane(l) {
				return
			}
			select {
			case <-l.wake:
				continue
			case <-l.quit:
				return
			}
		}
		if limits := l.m.limitsOf(l.key); limits.CPS > 0 {
			now := l.m.Clock.Now()
			if wait := next.Sub(now); wait > 0 {
				if !l.sleep(wait) {
					return
				}
				now = next
			}
			next = now.Add(time.Duration(float64(time.Second) / limits.CPS))
		}
		for !l.m.Admission.Room() { // it was accepted, so it waits
			if !l.sleep(roomRetry) {
				return
			}
		}
		l.mu.Lock()
		l.active++
		l.mu.Unlock()
		if !l.m.dial(c, l) {
			l.released()
		}
		select {
		case <-l.quit:
			return
		default:
		}
	}
}

// sleep waits for d; false when the lane was stopped.
func (l *lane) sleep(d time.Duration) bool {
	t := l.m.Clock.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C():
		return true
	case <-l.quit:
		return false
	}
}

// next takes the first waiting call, or nil when there is none or no place for one more.
func (l *lane) next() *call.Call {
	limits := l.m.limitsOf(l.key)
	l.mu.Lock()
	full := l.resting || limits.MaxCalls > 0 && l.active >= limits.MaxCalls
	read := !full && len(l.waiting) == 0 && l.spilled
	l.mu.Unlock()
	if full {
		return nil
	}
	if read {
		l.refill()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) == 0 {
		return nil
	}
	c := l.waiting[0]
	l.waiting[0] = nil
	l.waiting = l.waiting[1:]
	return c
}

// refill reads from the store what waits there. No lock is held meanwhile: what is added then may be in
// the list as well.
func (l *lane) refill() {
	l.mu.Lock()
	l.spilled = false
	l.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), saveTimeout)
	defer cancel()
	calls, err := l.m.Store.Queued(ctx, l.key, laneBuffer)
	if err != nil {
		l.m.Log.Error("dialling queue cannot be read, trying again in a second", "queue", l.key, "err", err)
		l.rest()
		return
	}
	full := len(calls) == laneBuffer
	seen := map[string]bool{}
	calls = slices.DeleteFunc(calls, func(c *call.Call) bool {
		seen[c.SID] = true
		return l.m.runs(c.SID) // being dialled
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	if full { // what was added comes later in the store
		l.waiting, l.spilled = calls, true
		return
	}
	for _, c := range l.waiting {
		if !seen[c.SID] {
			calls = append(calls, c)
		}
	}
	l.waiting = calls
}

// released gives a place back when a call is over.
func (l *lane) released() {
	l.mu.Lock()
	l.active--
	l.mu.Unlock()
	l.poke()
}

// dial makes the session of a call that waited in l, which gets its place back when the call is over.
// False when it was not started.
func (m *Manager) dial(c *call.Call, l *lane) bool {
	s := m.newSession(c)
	let := m.Clock.Now()
	s.placed = func() { m.Admission.Placed(m.Clock.Now().Sub(let)) }
	return m.adopt(s, func(ctx context.Context) {
		defer l.released()
		err := s.live(ctx, func() error { return s.dial(ctx) })
		if err == nil || errors.Is(err, call.ErrConflict) {
			return // else it was canceled while it waited
		}
		s.log.Error("call not dialled, trying again in a second", "err", err)
		l.rest()
	})
}
