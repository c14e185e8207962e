package session

import (
	"context"
	"errors"

	"github.com/offhook/offhook/internal/call"
)

// child is what a session that a <Dial> made knows of it. It tells the Dial by reports and is told to go by
// drop; neither ever waits for the other.
type child struct {
	dialing *dialing
	attempt attempt
	drop    chan string // why the Dial has no use for the call any more; capacity 1
	free    bool        // it was redirected or has ended: no business of the Dial's. The loop's own
}

// report is what a child tells its Dial.
type report struct {
	from *Session
	kind reportKind
	call *call.Call // as it was then
	leg  Leg
	// earlyMedia: the called party's network can be heard while it rings.
	earlyMedia bool
}

type reportKind int

// Each kind comes at most once.
const (
	childRings    reportKind = iota
	childHeard               // it rang, and now its network can be heard
	childAnswered            // whoever picked up hears the noun's document first, if it has one
	childReady               // to be connected
	childLeft                // the API gave it a document of its own
	childEnded
	reportKinds = int(childEnded) + 1
)

// startChild makes the session of c, which is not stored yet, and calls.
func (m *Manager) startChild(c *call.Call, d *dialing, a attempt) (*Session, error) {
	s := m.newSession(c)
	s.unstored = true
	s.unsaved.Events = newEvents(c, c.DateCreated, "created")
	s.child = &child{dialing: d, attempt: a, drop: make(chan string, 1)}
	over := m.queue.occupy(c)
	run := func(ctx context.Context) {
		defer over()
		err := s.live(ctx, func() error {
			defer s.lastReport()
			return s.dial(ctx)
		})
		if err != nil && !errors.Is(err, call.ErrConflict) {
			s.log.Error("call of a <Dial> not made", "err", err)
		}
	}
	if !m.adopt(s, run) {
		over()
		return nil, errShutdown
	}
	return s, nil
}

// report tells the Dial of s, if there is one that it concerns. Loop only.
func (s *Session) report(r report) {
	if !s.inDial() {
		return
	}
	r.from, r.leg = s, s.leg
	if f, ok := s.leg.(*fork); ok {
		r.leg = f.heard()
	}
	if r.call == nil {
		r.call = s.call.Clone()
	}
	s.child.free = r.kind == childLeft || r.kind == childEnded
	s.child.dialing.reports <- r // has room for every report of every child
}

// lastReport is the end of s, also when it could not even be stored.
func (s *Session) lastReport() {
	c := s.call.Clone()
	if !s.over {
		c.Status, c.Cause = call.Failed, call.Cause{SIPCode: 503, Reason: "not dialled", Local: true}
	}
	s.report(report{kind: childEnded, call: c})
}

// dropFor ends a call of a Dial that has no use for it, whose loop will see to it.
func (s *Session) dropFor(reason string) {
	select {
	case s.child.drop <- reason:
	default: // it was told
	}
}

// dropped is where s is told that its Dial has no use for it; nil blocks when there is none.
func (s *Session) dropped() <-chan string {
	if s.child == nil {
		return nil
	}
	return s.child.drop
}

// onDropped ends s as its Dial asked: canceled while it rings. Loop only.
func (s *Session) onDropped(reason string) {
	switch {
	case !s.inDial():
	case s.call.Status == call.InProgress:
		s.hangup(call.Completed, call.Cause{SIPCode: 200, Reason: reason, Local: true})
	default:
		s.hangup(call.Canceled, call.Cause{SIPCode: 487, Reason: reason, Local: true})
	}
}

// pickedUp goes on after the answer of a child: with what its noun lets it hear or sends it first. Loop only.
func (s *Session) pickedUp() {
	s.report(report{kind: childAnswered})
	if s.call.Options.URL == "" && s.call.Options.SendDigits == "" {
		s.report(report{kind: childReady})
		return
	}
	s.screening.Store(true)
	s.begin((*Session).firstDocument)
}

// inDial reports whether a Dial still counts on s. Loop only.
func (s *Session) inDial() bool { return s.child != nil && !s.child.free }

// leaveDial takes s out of its Dial: the API gave it a document of its own. Loop only.
func (s *Session) leaveDial() {
	if !s.inDial() {
		return
	}
	s.screening.Store(false)
	s.leg.Hear(nil)
	s.leg.Flush()
	s.report(report{kind: childLeft})
}
