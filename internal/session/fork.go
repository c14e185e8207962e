package session

import (
	"sync"
	"time"

	"github.com/offhook/offhook/internal/call"
)

// fork calls several contacts of one address at once, as one leg (RFC 3261 section 16.7): the first that answers
// takes the call, the others are canceled. When nobody does, the best of their answers is that of the call. It
// stands for the winner only until take.
type fork struct {
	Leg    // the first, for what needs one before anybody answered
	legs   []Leg
	events chan call.LegEvent
	taken  chan struct{} // closed by take
	ended  chan struct{} // closed by Hangup

	mu     sync.Mutex
	early  Leg // whose network is heard first
	rang   bool
	winner Leg
	over   bool
	left   int
	best   *call.LegEnded
}

// forkEvents has room for all that a fork says: it rings, it is heard, it is answered, it has ended.
const forkEvents = 8

// fork makes one leg of several, which is over before m is.
func (m *Manager) fork(legs []Leg) *fork {
	f := &fork{
		Leg: legs[0], legs: legs, left: len(legs), events: make(chan call.LegEvent, forkEvents),
		taken: make(chan struct{}), ended: make(chan struct{}),
	}
	for _, l := range legs {
		m.sessions.Go(func() { f.listen(m, l) })
	}
	return f
}

// Events is Leg's; nothing more comes after take.
func (f *fork) Events() <-chan call.LegEvent { return f.events }

// Dialog is that of the first, with the others'.
func (f *fork) Dialog() *call.Dialog {
	d := *f.Leg.Dialog()
	for _, l := range f.legs[1:] {
		d.Forks = append(d.Forks, l.Dialog())
	}
	return &d
}

// Invite calls all.
func (f *fork) Invite() {
	for _, l := range f.legs {
		l.Invite()
	}
}

// Hangup ends all.
func (f *fork) Hangup() {
	f.mu.Lock()
	first := !f.over
	f.over = true
	f.mu.Unlock()
	if first {
		close(f.ended)
	}
	f.drop(nil)
}

// drop ends all legs but one.
func (f *fork) drop(but Leg) {
	for _, l := range f.legs {
		if l != but {
			l.Hangup()
		}
	}
}

// heard is the leg whose network is to be heard while it rings.
func (f *fork) heard() Leg {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.early != nil {
		return f.early
	}
	return f.Leg
}

// take is the leg that answered, after LegAnswered. The caller reads its events from now on.
func (f *fork) take() Leg {
	close(f.taken)
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.winner
}

// listen follows one leg to its end, or until it is taken. A shutdown does not wait for a phone that is gone.
func (f *fork) listen(m *Manager, l Leg) {
	last := call.LegEnded{Cause: call.Cause{Reason: "leg lost", Local: true}}
	closing := m.ctx.Done()
	var late <-chan time.Time
	for {
		var e call.LegEvent
		more := true
		select {
		case e, more = <-l.Events():
		case <-closing:
			closing = nil
			t := m.Clock.NewTimer(lastWords)
			defer t.Stop()
			late = t.C()
			continue
		case <-late: // signalling lets go of the leg when it closes
			more = false
		}
		if !more {
			f.fails(l, last)
			return
		}
		switch e := e.(type) {
		case call.LegRinging:
			f.rings(l, e)
		case call.LegAnswered:
			if !f.wins(l) {
				l.Hangup()
				continue
			}
			f.drop(l)
			f.events <- e
			select {
			case <-f.taken:
				return
			case <-f.ended: // nobody wants it any more
			}
		case call.LegEnded:
			last = e
		}
	}
}

// rings passes on the first ringing, and the first that can be heard.
func (f *fork) rings(l Leg, e call.LegRinging) {
	f.mu.Lock()
	defer f.mu.Unlock()
	news := e.EarlyMedia && f.early == nil
	if f.winner != nil || f.rang && !news {
		return
	}
	if news {
		f.early = l
	}
	f.rang = true
	f.events <- e
}

func (f *fork) wins(l Leg) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.winner != nil || f.over {
		return false
	}
	f.winner = l
	return true
}

// fails takes note of the end of a leg; that of the last is the fork's.
func (f *fork) fails(l Leg, e call.LegEnded) {
	f.mu.Lock()
	if f.best == nil || l == f.winner || f.winner == nil && rank(e.Cause.SIPCode) < rank(f.best.Cause.SIPCode) {
		f.best = &e
	}
	f.left--
	global := e.Cause.SIPCode >= 600 && f.winner == nil
	if f.left == 0 {
		select {
		case <-f.taken: // the fork has said all
		default:
			f.events <- *f.best
			close(f.events)
		}
	}
	f.mu.Unlock()
	if global { // whoever it is does not want the call anywhere (RFC 3261 section 16.7, step 5)
		f.drop(l)
	}
}

// rank orders final responses, the best first (RFC 3261 section 16.7, step 6): what speaks for all, what the
// caller could mend, then what says most about the person.
func rank(code int) int {
	switch {
	case code >= 600:
		return 0
	case code == 401, code == 407, code == 415, code == 420, code == 484, code >= 300 && code < 400:
		return 1
	case code == 486:
		return 2
	case code == 408, code == 487:
		return 4
	case code >= 400 && code < 500:
		return 3
	}
	return 5
}
