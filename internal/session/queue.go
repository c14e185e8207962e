package session

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/offhook/offhook/internal/call"
)

// laneBuffer is how many waiting calls a dialling queue keeps in memory; the store has the rest.
const laneBuffer = 1000

// lane is one dialling queue: first in first out, paced by its limits. The stored status is the truth;
// the lane only remembers what to look at next, so a canceled call falls out when its claim fails.
type lane struct {
	key    string
	m      *Manager
	limits func() Limits
	wake   chan struct{}
	quit   chan struct{}

	mu      sync.Mutex
	waiting []*call.Call
	spilled bool // the store has calls that are not in waiting
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
	l := m.lanes[c.QueueKey]
	if l == nil {
		l = &lane{key: c.QueueKey, m: m, wake: make(chan struct{}, 1), quit: make(chan struct{})}
		l.limits = func() Limits { return m.limitsOf(l.key) }
		m.lanes[c.QueueKey] = l
		m.workers.Add(1)
		go func() {
			defer m.workers.Done()
			l.run()
		}()
	}
	m.mu.Unlock()
	l.add(c)
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
			select {
			case <-l.wake:
				continue
			case <-l.quit:
				return
			}
		}
		limits := l.limits()
		if limits.CPS > 0 {
			now := l.m.Clock.Now()
			if wait := next.Sub(now); wait > 0 {
				if !l.sleep(wait) {
					return
				}
				now = next
			}
			next = now.Add(time.Duration(float64(time.Second) / limits.CPS))
		}
		l.mu.Lock()
		l.active++
		l.mu.Unlock()
		if !l.m.dial(c, l.released) {
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
	limits := l.limits()
	l.mu.Lock()
	defer l.mu.Unlock()
	if limits.MaxCalls > 0 && l.active >= limits.MaxCalls {
		return nil
	}
	if len(l.waiting) == 0 && l.spilled {
		l.refillLocked()
	}
	if len(l.waiting) == 0 {
		return nil
	}
	c := l.waiting[0]
	l.waiting[0] = nil
	l.waiting = l.waiting[1:]
	return c
}

func (l *lane) refillLocked() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	calls, err := l.m.Store.Queued(ctx, l.key, laneBuffer)
	if err != nil {
		l.m.Log.Error("dialling queue cannot be read, trying again in a second", "queue", l.key, "err", err)
		l.m.Clock.AfterFunc(time.Second, l.poke)
		return
	}
	l.spilled = len(calls) == laneBuffer
	for _, c := range calls {
		if l.m.session(c.SID) == nil {
			l.waiting = append(l.waiting, c)
		}
	}
}

// released gives a place back when a call is over.
func (l *lane) released() {
	l.mu.Lock()
	l.active--
	l.mu.Unlock()
	l.poke()
}

// dial makes the session of a queued call; release is called when it is over. False when it was not started.
func (m *Manager) dial(c *call.Call, release func()) bool {
	s := m.newSession(c)
	return m.adopt(s, func(ctx context.Context) {
		defer release()
		defer s.recovered()
		err := s.dial(ctx)
		if errors.Is(err, call.ErrConflict) {
			return // canceled while it waited
		}
		if err != nil {
			s.log.Error("call not dialled", "err", err)
		}
	})
}
