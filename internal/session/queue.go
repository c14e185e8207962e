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

const (
	// roomRetry is how long the queue waits before it asks again whether there is room for its next call.
	roomRetry = 50 * time.Millisecond
	// lineBuffer is how many waiting calls of a line are in memory, heldCalls of all lines together; the store has
	// the rest. A call takes about 2 kB. leastRead is what a line reads even so.
	lineBuffer, heldCalls, leastRead = 100, 10_000, 10
	// maxWait is how long a call may wait, and how long a queue may grow (calls-api section 3, 22001 and 22005).
	maxWait = 24 * time.Hour
)

// queue has the calls that wait to be dialled. Where they go to (a trunk, the simulator, …) is a lane with its own
// pace; in each lane each account has a line, first in first out, and the lines take turns. An account has a pace as
// well, over all its lines, of which the call that was created first goes first.
//
// The stored status is the truth; the queue only remembers what to look at next, so a canceled call falls out when
// its claim fails. One goroutine takes calls out.
type queue struct {
	m    *Manager
	wake chan struct{}
	quit chan struct{}

	mu       sync.Mutex
	lanes    map[string]*lane
	payers   map[string]*payer
	held     int       // calls in memory
	sweep    time.Time // when it is searched for those that waited for too long
	sweeping bool
	running  bool
	stopped  bool
}

// pace is what is left of limits.
type pace struct {
	next   time.Time // when the next call may leave
	active int       // dialled and not over
}

// full reports whether no call may leave until one is over.
func (p *pace) full(l Limits) bool { return l.MaxCalls > 0 && p.active >= l.MaxCalls }

// took counts a call that leaves now.
func (p *pace) took(l Limits, now time.Time) {
	p.active++
	if l.CPS <= 0 {
		return
	}
	interval := time.Duration(float64(time.Second) / l.CPS)
	if now.Sub(p.next) > interval { // else it was due at p.next, and now is a little later
		p.next = now
	}
	p.next = p.next.Add(interval)
}

// lane is where calls go to.
type lane struct {
	pace
	key     string
	lines   []*line // with calls that wait, in the order of their turns
	waiting int
	resting bool // the store failed, nothing is dialled for a moment
}

// payer is an account with calls.
type payer struct {
	pace
	sid     string
	lines   []*line
	waiting int
}

// line is what waits of one account in one lane.
type line struct {
	lane    *lane
	payer   *payer
	calls   []*call.Call // the first ones
	more    bool         // the store has others
	reading bool         // from it
	ended   []string     // SIDs of those that ended meanwhile
	waiting int          // in all
}

func newQueue(m *Manager) *queue {
	return &queue{
		m: m, wake: make(chan struct{}, 1), quit: make(chan struct{}),
		lanes: map[string]*lane{}, payers: map[string]*payer{},
	}
}

func (q *queue) poke() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// stop ends the queue; the calls still waiting stay queued in the store.
func (q *queue) stop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.stopped {
		q.stopped = true
		close(q.quit)
	}
}

// startLocked begins to dial when there is something for the first time; false when the queue was stopped.
func (q *queue) startLocked() bool {
	if !q.running && !q.stopped {
		q.running = true
		q.sweep = q.m.Clock.Now().Add(sweepEvery)
		q.m.workers.Go(q.run)
	}
	return !q.stopped
}

func (q *queue) laneLocked(key string) *lane {
	l := q.lanes[key]
	if l == nil {
		l = &lane{key: key}
		q.lanes[key] = l
	}
	return l
}

func (q *queue) payerLocked(sid string) *payer {
	p := q.payers[sid]
	if p == nil {
		p = &payer{sid: sid}
		q.payers[sid] = p
	}
	return p
}

func (q *queue) lineLocked(key, accountSID string) *line {
	p, a := q.payerLocked(accountSID), q.laneLocked(key)
	for _, l := range p.lines {
		if l.lane == a {
			return l
		}
	}
	l := &line{lane: a, payer: p}
	a.lines, p.lines = append(a.lines, l), append(p.lines, l)
	return l
}

// countLocked notes that n more calls wait in l.
func (l *line) countLocked(n int) {
	n = max(n, -l.waiting)
	l.waiting += n
	l.lane.waiting += n
	l.payer.waiting += n
}

// add puts a stored, queued call at the end of its line.
func (q *queue) add(c *call.Call) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.startLocked() {
		return
	}
	l := q.lineLocked(c.QueueKey, c.AccountSID)
	l.countLocked(1)
	if l.more || len(l.calls) >= lineBuffer || q.held >= heldCalls {
		l.more = true
	} else {
		l.calls = append(l.calls, c)
		q.held++
	}
	q.poke()
}

// restore takes over what an earlier process had in its queue.
func (q *queue) restore(lines []call.Line) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.startLocked() {
		return
	}
	for _, stored := range lines {
		l := q.lineLocked(stored.QueueKey, stored.AccountSID)
		l.countLocked(stored.Calls)
		l.more = true
	}
	q.poke()
}

// forget takes a call that was canceled out of its line, so that it does not use up a turn.
func (q *queue) forget(c *call.Call) {
	dialled := q.m.runs(c.SID) // then it has left its line already
	q.mu.Lock()
	defer q.mu.Unlock()
	p := q.payers[c.AccountSID]
	if p == nil || dialled {
		return
	}
	for _, l := range p.lines {
		if l.lane.key == c.QueueKey {
			before := len(l.calls)
			l.calls = slices.DeleteFunc(l.calls, func(w *call.Call) bool { return w.SID == c.SID })
			q.held -= before - len(l.calls)
			if l.reading {
				l.ended = append(l.ended, c.SID)
			}
			l.countLocked(-1)
			q.tidyLocked(l)
			return
		}
	}
}

// full reports whether the calls that wait are as many as can be dialled in maxWait.
func (q *queue) full(accountSID, key string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	full := func(waiting int, l Limits) bool { return l.CPS > 0 && float64(waiting) >= l.CPS*maxWait.Seconds() }
	p, l := q.payers[accountSID], q.lanes[key]
	return p != nil && full(p.waiting, q.m.AccountLimits) || l != nil && full(l.waiting, q.m.limitsOf(key))
}

// waiting is how many calls wait.
func (q *queue) waiting() (n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, l := range q.lanes {
		n += l.waiting
	}
	return n
}

// occupy counts a call that was dialled without having waited, and returns what to do when it is over.
func (q *queue) occupy(c *call.Call) (release func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	a, p := q.laneLocked(c.QueueKey), q.payerLocked(c.AccountSID)
	a.active++
	p.active++
	return func() { q.released(a, p) }
}

// released gives places back when a call is over.
func (q *queue) released(a *lane, p *payer) {
	q.mu.Lock()
	defer q.mu.Unlock()
	a.active--
	p.active--
	q.tidyLaneLocked(a)
	q.tidyPayerLocked(p)
	q.poke()
}

// tidyLocked forgets a line without calls.
func (q *queue) tidyLocked(l *line) {
	if len(l.calls) > 0 || l.more || l.reading {
		return
	}
	l.countLocked(-l.waiting)
	is := func(o *line) bool { return o == l }
	l.lane.lines, l.payer.lines = slices.DeleteFunc(l.lane.lines, is), slices.DeleteFunc(l.payer.lines, is)
	q.tidyLaneLocked(l.lane)
	q.tidyPayerLocked(l.payer)
}

// tidyLaneLocked forgets a lane without calls whose trunk was removed. The others keep their pace.
func (q *queue) tidyLaneLocked(a *lane) {
	if a.active == 0 && len(a.lines) == 0 && !a.resting && strings.HasPrefix(a.key, twilio.TrunkPrefix) && q.m.trunk(a.key) == nil {
		delete(q.lanes, a.key)
	}
}

// tidyPayerLocked forgets an account without calls, unless it is still held back.
func (q *queue) tidyPayerLocked(p *payer) {
	if p.active == 0 && len(p.lines) == 0 && !p.next.After(q.m.Clock.Now()) {
		delete(q.payers, p.sid)
	}
}

// TrunksChanged lets the lanes of removed trunks end: each once its last call is over.
func (m *Manager) TrunksChanged() {
	q := m.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, a := range q.lanes {
		q.tidyLaneLocked(a)
	}
	q.poke()
}

// run dials one call after the other, each when the limits allow it.
func (q *queue) run() {
	timer := q.m.Clock.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		timer.Reset(q.dialDue())
		select {
		case <-q.wake:
		case <-timer.C():
		case <-q.quit:
			return
		}
	}
}

// dialDue dials what may leave, and returns when to look again if nothing happens before.
func (q *queue) dialDue() time.Duration {
	for {
		q.mu.Lock()
		now := q.m.Clock.Now()
		q.sweepLocked(now)
		l, until := q.findLocked(now)
		if l == nil || q.stopped {
			q.mu.Unlock()
			return max(until.Sub(now), 0)
		}
		if !q.m.Admission.Room() { // it was accepted, so it waits
			q.mu.Unlock()
			return roomRetry
		}
		c := q.takeLocked(l, now)
		q.mu.Unlock()
		if !q.m.dial(c, l) {
			q.released(l.lane, l.payer)
		}
	}
}

// findLocked finds a line whose first call may leave now; nil when there is none, and when there may be one.
func (q *queue) findLocked(now time.Time) (*line, time.Time) {
	until := q.sweep
	for _, a := range q.lanes {
		if len(a.lines) == 0 {
			continue
		}
		if open, at := q.open(a, now); !open {
			until = sooner(until, at)
			continue
		}
		for _, l := range a.lines {
			p := l.payer
			switch {
			case p.full(q.m.AccountLimits):
			case p.next.After(now):
				until = sooner(until, p.next)
			case l.reading: // what was added meanwhile is younger
			case len(l.calls) == 0:
				l.reading, l.more = true, false
				q.m.workers.Go(func() { q.read(l) })
			case q.first(l, now):
				return l, until
			}
		}
	}
	return nil, until
}

// open reports whether calls may leave a lane, and if not when they may, zero for when it is told.
func (q *queue) open(a *lane, now time.Time) (bool, time.Time) {
	switch {
	case a.resting || a.full(q.m.limitsOf(a.key)):
		return false, time.Time{}
	case a.next.After(now):
		return false, a.next
	}
	return true, time.Time{}
}

// first reports whether the first call of l is the account's oldest of those that may leave.
func (q *queue) first(l *line, now time.Time) bool {
	for _, o := range l.payer.lines {
		if o == l || len(o.calls) == 0 || o.calls[0].Seq > l.calls[0].Seq {
			continue
		}
		if open, _ := q.open(o.lane, now); open {
			return false // its turn comes in its own lane
		}
	}
	return true
}

func sooner(a, b time.Time) time.Time {
	if b.IsZero() || a.Before(b) {
		return a
	}
	return b
}

// takeLocked takes the first call of l, whose next turn comes after that of the others.
func (q *queue) takeLocked(l *line, now time.Time) *call.Call {
	c := l.calls[0]
	l.calls[0] = nil
	l.calls = l.calls[1:]
	q.held--
	l.countLocked(-1)
	a, p := l.lane, l.payer
	a.took(q.m.limitsOf(a.key), now)
	p.took(q.m.AccountLimits, now)
	i := slices.Index(a.lines, l)
	a.lines = append(slices.Delete(a.lines, i, i+1), l)
	q.tidyLocked(l)
	return c
}

// rest is for a store that failed: in a second the lane goes on with what the store then says.
func (q *queue) rest(key, accountSID string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.lineLocked(key, accountSID)
	q.held -= len(l.calls)
	l.calls, l.more = nil, true
	if a := l.lane; !a.resting {
		a.resting = true
		q.m.Clock.AfterFunc(storeRetry, func() {
			q.mu.Lock()
			defer q.mu.Unlock()
			a.resting = false
			q.poke()
		})
	}
}

// read takes what waits in a line from the store. No lock is held meanwhile: what is added then may be in the list
// as well.
func (q *queue) read(l *line) {
	q.mu.Lock()
	limit := min(max(heldCalls-q.held, leastRead), lineBuffer)
	q.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), saveTimeout)
	defer cancel()
	of := call.Line{QueueKey: l.lane.key, AccountSID: l.payer.sid}
	calls, err := q.m.Store.Queued(ctx, of, limit)
	if err != nil {
		q.m.Log.Error("dialling queue cannot be read, trying again in a second", "queue", of.QueueKey, "account_sid", of.AccountSID, "err", err)
		q.mu.Lock()
		l.reading, l.ended = false, nil
		q.mu.Unlock()
		q.rest(of.QueueKey, of.AccountSID)
		return
	}
	whole := len(calls) < limit
	seen := map[string]bool{}
	calls = slices.DeleteFunc(calls, func(c *call.Call) bool {
		seen[c.SID] = true
		return q.m.runs(c.SID) // being dialled
	})
	q.mu.Lock()
	defer q.mu.Unlock()
	calls = slices.DeleteFunc(calls, func(c *call.Call) bool { return slices.Contains(l.ended, c.SID) })
	q.held -= len(l.calls)
	if whole {
		for _, c := range l.calls {
			if !seen[c.SID] {
				calls = append(calls, c)
			}
		}
	} else {
		l.more = true // what was added comes later in the store
	}
	l.calls, l.reading, l.ended = calls, false, nil
	q.held += len(calls)
	if !l.more {
		l.countLocked(len(calls) - l.waiting)
	}
	q.tidyLocked(l)
	q.poke()
}

// dial makes the session of a call that waited in l, which gets its place back when the call is over.
// False when it was not started.
func (m *Manager) dial(c *call.Call, l *line) bool {
	s := m.newSession(c)
	let := m.Clock.Now()
	s.placed = func() { m.Admission.Placed(m.Clock.Now().Sub(let)) }
	return m.adopt(s, func(ctx context.Context) {
		defer m.queue.released(l.lane, l.payer)
		err := s.live(ctx, func() error { return s.dial(ctx) })
		if err == nil || errors.Is(err, call.ErrConflict) {
			return // else it was canceled while it waited
		}
		s.log.Error("call not dialled, trying again in a second", "err", err)
		m.queue.rest(l.lane.key, l.payer.sid)
	})
}
