// Package bus carries what happens to calls to whoever watches: stored events and passing trace lines.
// It carries speed, not truth: the store has every event, and a watcher that fell behind reads it there.
// A Subscription is about one call, a Follower about all of an account. This is the bus of one process.
package bus

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/offhook/offhook/internal/call"
)

const (
	traceLines   = 256  // kept per call
	traceLength  = 400  // bytes of a line; a URL in it may be long
	tracedCalls  = 2000 // calls whose lines are kept, the newest
	subscription = 256  // messages a watcher may fall behind
)

// Trace is one line of a call's timeline that is not an event: a verb, a request, a key.
type Trace struct {
	Time time.Time
	Text string
}

// Message is an event or a trace line of one call.
type Message struct {
	Event *call.Event // nil for a trace line
	Trace Trace
}

// Bus is safe for concurrent use; its zero value is not ready, use New.
type Bus struct {
	mu     sync.Mutex
	subs   map[string]map[*Subscription]struct{}
	traces map[string][]Trace
	order  []string // calls in traces, oldest first

	upTo     int64            // the position of the last event stored
	tails    map[string]*tail // by account, of those that somebody follows
	watchers atomic.Int64     // subscriptions and followers
}

// New makes an empty bus.
func New() *Bus {
	return &Bus{subs: map[string]map[*Subscription]struct{}{}, traces: map[string][]Trace{}, tails: map[string]*tail{}}
}

// Subscription is one watcher of one call.
type Subscription struct {
	// C carries what happens from now on. It is closed when the watcher fell behind, or by Close.
	C      <-chan Message
	c      chan Message
	bus    *Bus
	call   string
	closed bool
}

// Trace keeps a line of a call's timeline and tells its watchers. A very long one is cut.
func (b *Bus) Trace(callSID string, t Trace) {
	if len(t.Text) > traceLength {
		t.Text = strings.Clone(strings.ToValidUTF8(t.Text[:traceLength], "")) + "…"
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	lines, ok := b.traces[callSID]
	if !ok {
		if len(b.order) == tracedCalls {
			delete(b.traces, b.order[0])
			b.order = b.order[1:]
		}
		b.order = append(b.order, callSID)
	}
	if len(lines) < traceLines {
		b.traces[callSID] = append(lines, t)
	}
	b.sendLocked(callSID, Message{Trace: t})
}

func (b *Bus) sendLocked(callSID string, m Message) {
	for s := range b.subs[callSID] {
		select {
		case s.c <- m:
		default:
			s.closeLocked()
		}
	}
}

// Subscribe watches a call and returns the trace lines so far.
func (b *Bus) Subscribe(callSID string) (*Subscription, []Trace) {
	c := make(chan Message, subscription)
	s := &Subscription{C: c, c: c, bus: b, call: callSID}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.subs[callSID] == nil {
		b.subs[callSID] = map[*Subscription]struct{}{}
	}
	b.subs[callSID][s] = struct{}{}
	b.watchers.Add(1)
	return s, append([]Trace(nil), b.traces[callSID]...)
}

// Close ends the subscription; it may be called more than once.
func (s *Subscription) Close() {
	s.bus.mu.Lock()
	defer s.bus.mu.Unlock()
	s.closeLocked()
}

func (s *Subscription) closeLocked() {
	if s.closed {
		return
	}
	s.closed = true
	s.bus.watchers.Add(-1)
	close(s.c)
	delete(s.bus.subs[s.call], s)
	if len(s.bus.subs[s.call]) == 0 {
		delete(s.bus.subs, s.call)
	}
}
