package session

import (
	"context"
	"errors"
	"net/url"
	"sync"
	"time"

	"github.com/offhook/offhook/internal/audio"
	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/telemetry"
	"github.com/offhook/offhook/internal/twilio"
)

const (
	// transferTimeout bounds what a transfer has to wait for: the request to referUrl.
	transferTimeout = 20 * time.Second
	// partingTime is how long a phone that transferred its call may take to hang up by itself, as most do.
	partingTime = 2 * time.Second
)

// errApart is a party that is no longer in the conversation it was to be taken from.
var errApart = errors.New("session: not in a conversation any more")

// link is what two calls have in common that talk to each other without being caller and called of one <Dial>: a
// transfer left both. Whoever goes ends it.
type link struct {
	once sync.Once
	over chan struct{}
}

func newLink() *link { return &link{over: make(chan struct{})} }

func (l *link) end() { l.once.Do(func() { close(l.over) }) }

// transfer is a REFER of a party that is in a conversation. It runs beside both calls, whose loops it asks.
type transfer struct {
	of  *Session // whose party asked, and will leave
	ask call.LegReferred

	mu       sync.Mutex
	orphaned bool
	link     *link // of the orphan
	decided  bool
	over     chan struct{} // closed when it is decided
}

// orphan says that the party has left before it was decided; false when it was, or when there is no transfer. What
// comes of the other one, at the other end of l if it is not nil, is then the transfer's to see to.
func (t *transfer) orphan(l *link) bool {
	if t == nil {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.decided {
		return false
	}
	t.orphaned, t.link = true, l
	return true
}

// decide ends the transfer, and reports whether it was orphaned meanwhile.
func (t *transfer) decide() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.decided {
		t.decided = true
		t.of.transfer.CompareAndSwap(t, nil)
		close(t.over)
	}
	return t.orphaned
}

// onReferred takes a REFER. Loop only.
func (s *Session) onReferred(e call.LegReferred) {
	s.trace("REFER to %s", e.To)
	t := &transfer{of: s, ask: e, over: make(chan struct{})}
	if s.parting != nil || !s.transfer.CompareAndSwap(nil, t) {
		s.leg.ReferReply(e.ID, 491)
		return
	}
	s.m.sessions.Go(func() {
		defer t.decide()
		_ = s.guarded(func() error { t.run(); return nil }) // it has logged what there is to say
	})
}

// run decides what becomes of the REFER (twiml section 3, Dial referUrl).
func (t *transfer) run() {
	s := t.of
	ctx, cancel := context.WithTimeout(s.m.ctx, transferTimeout)
	defer cancel()
	other := s.partner.Load()
	d := dialOf(other, s)
	var trunk *over
	if d != nil {
		trunk = d.doc.over
	}
	if r := t.ask.Replaces; r != nil && (trunk == nil || trunk.trunk.TransferMode != transferNone) {
		if replaced := s.m.byDialog(r); replaced != nil && replaced.account() == s.account() {
			t.attended(ctx, other, replaced)
			return
		}
	}
	var doc *document
	if trunk != nil {
		doc = trunk.redial(s, other, t.ask.To)
	}
	if doc == nil && (d == nil || d.verb.ReferURL == "") {
		why := "no <Dial> with a referUrl connects it"
		if trunk != nil {
			why = "the TransferMode of its trunk does not allow that"
		}
		s.notify(&twilio.Error{Code: 13802, Message: "Refer: the phone asked for a transfer to " + t.ask.To + ", but " + why}, nil)
		s.leg.ReferReply(t.ask.ID, 603)
		return
	}
	s.leg.ReferReply(t.ask.ID, 202)
	err := error(nil)
	if doc == nil {
		doc, err = t.document(ctx, other, d)
	}
	if err == nil {
		err = t.blind(other, doc)
	}
	if err != nil {
		t.failed(other, err)
	}
}

// dialOf is the Dial that connects two parties, of which one may be missing; the first one's own before the other's.
func dialOf(a, b *Session) *dialing {
	if a == nil || b == nil {
		return nil
	}
	if d := a.dialing.Load(); d != nil {
		return d
	}
	return b.dialing.Load()
}

// document is that of the Dial's referUrl, for the other party.
func (t *transfer) document(ctx context.Context, other *Session, d *dialing) (*document, error) {
	target, err := d.s.resolve(d.doc, d.verb.ReferURL)
	if err != nil {
		return nil, err
	}
	return other.fetch(ctx, step{
		jump: true, method: d.verb.ReferMethod, url: target, params: url.Values{"ReferTransferTarget": {t.ask.To}},
	})
}

// blind gives the other party a document of its own.
func (t *transfer) blind(other *Session, doc *document) error {
	ctx := t.of.m.ctx                                                           // it is not to be left half done
	if err := t.of.do(ctx, t.of.part); err != nil && !errors.Is(err, errOver) { // it may hang up as soon as it was promised
		return err
	}
	err := other.do(ctx, func() error {
		if other.over {
			return errOver
		}
		other.trace("transferred to %s", t.ask.To)
		other.leave()
		other.begin(func(s *Session, ctx context.Context) (*document, error) { return doc, s.bidden(ctx) })
		return nil
	})
	if err != nil {
		return err
	}
	t.decide()
	t.of.leg.ReferNotify(t.ask.ID, 200, "OK")
	return nil
}

// failed tells the party that asked, who talks on.
func (t *transfer) failed(other *Session, err error) {
	other.notify(asTwilio(err), func(n *call.Notification) {
		var fe *fetchError
		if errors.As(err, &fe) {
			fe.describe(n)
		}
	})
	t.of.leg.ReferNotify(t.ask.ID, 503, "Service Unavailable")
	switch orphaned := t.decide(); {
	case !orphaned:
	case t.link != nil:
		t.link.end()
	case other.child != nil: // nobody is left to talk on with
		other.dropFor("the other party hung up")
	}
}

// attended joins the parties that two calls of one phone leave.
func (t *transfer) attended(ctx context.Context, other, replaced *Session) {
	s := t.of
	second := replaced.partner.Load()
	switch {
	case t.ask.Replaces.EarlyOnly:
		s.leg.ReferReply(t.ask.ID, 486)
		return
	case other == nil || second == nil || replaced == s || other == replaced || second == s || second == other:
		s.trace("no transfer: one of the two calls is in no conversation")
		s.leg.ReferReply(t.ask.ID, 480)
		return
	}
	s.leg.ReferReply(t.ask.ID, 202)
	err := s.m.alone(ctx, func() error { return s.m.join(ctx, []*Session{s, replaced}, other, second) })
	t.decide()
	if err != nil {
		s.leg.ReferNotify(t.ask.ID, 480, "Temporarily Unavailable")
		return
	}
	s.leg.ReferNotify(t.ask.ID, 200, "OK")
	_ = replaced.do(ctx, func() error { // RFC 3891 section 3: whom it replaces hears BYE
		replaced.hangup(call.Completed, call.Cause{SIPCode: 200, Reason: "transferred", Local: true})
		return nil
	})
}

func (s *Session) account() string { return s.snapshot.Load().AccountSID }

// byDialog is the call whose dialog a Replaces names, nil when it is none of ours. Who writes it may have taken his
// own view of the dialog: a tag is too long to be guessed either way.
func (m *Manager) byDialog(r *call.Replaces) *Session {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.live {
		d := s.snapshot.Load().Dialog
		if d == nil || !s.ready || d.CallID != r.CallID {
			continue
		}
		if d.LocalTag == r.ToTag && d.RemoteTag == r.FromTag || d.LocalTag == r.FromTag && d.RemoteTag == r.ToTag {
			return s
		}
	}
	return nil
}

// alone runs f while no other call is joined: two that had a party in common would take it from each other half-way.
func (m *Manager) alone(ctx context.Context, f func() error) error {
	select {
	case m.joining <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-m.joining }()
	return f()
}

// join connects x and y, whose parties leave, alone. docs/transfers.md has the rules.
func (m *Manager) join(ctx context.Context, leaving []*Session, x, y *Session) error {
	for _, s := range append([]*Session{x, y}, leaving...) {
		if s.leaving.Load() { // another transfer was first
			return errApart
		}
	}
	for _, s := range leaving { // but those whom a Dial of x or y has called
		err := s.do(ctx, func() error {
			if s.inDial() {
				return nil
			}
			return s.part()
		})
		if err != nil && !errors.Is(err, errOver) {
			return err
		}
	}
	l := newLink()
	for _, s := range []*Session{x, y} {
		if err := s.take(ctx, l); err != nil {
			l.end()
			return err
		}
	}
	for _, s := range leaving { // those too, now that no Dial counts on them
		if err := s.do(ctx, s.part); err != nil && !errors.Is(err, errOver) {
			l.end()
			return err
		}
	}
	connect(x, y)
	select {
	case <-l.over: // one of them has gone meanwhile
		x.leg.Hear(nil)
		y.leg.Hear(nil)
		return errApart
	default:
	}
	x.trace("joined with %s", y.sid)
	y.trace("joined with %s", x.sid)
	return nil
}

// connect lets two parties hear each other, and music when one of them is held.
func connect(a, b *Session) {
	a.partner.Store(b)
	b.partner.Store(a)
	for _, p := range [2][2]*Session{{a, b}, {b, a}} {
		p[0].leg.Flush()
		p[0].leg.Hear(p[1].leg)
		if p[1].holds.Load() {
			p[0].leg.Loop(audio.HoldMusic())
		}
	}
}

// disconnect ends what s has with its partner, at its own side.
func (s *Session) disconnect() {
	if p := s.partner.Swap(nil); p != nil {
		p.partner.CompareAndSwap(s, nil)
	}
	s.leg.Hear(nil)
	s.leg.Flush()
}

// leave takes s out of the conversation it has, for something else. A Dial of its own it leaves by ending its
// verbs. Loop only.
func (s *Session) leave() {
	if s.tie != nil {
		s.tie.end()
		s.tie = nil
		s.disconnect()
	}
	s.leaveDial()
}

// take makes s one end of l: its Dial, when it has called somebody, goes on with l instead of whom it called; else
// the call itself ends with l.
func (s *Session) take(ctx context.Context, l *link) error {
	d := s.dialing.Load()
	if d == nil {
		return s.do(ctx, func() error {
			if s.over {
				return errOver
			}
			s.leave()
			s.tie = l
			return nil
		})
	}
	select {
	case d.links <- l:
		return nil
	case <-d.gone:
		return errApart
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// part takes s out of its conversation because its party transferred it: it hangs up, or is hung up in a moment.
// Loop only.
func (s *Session) part() error {
	if s.over {
		return errOver
	}
	if s.parting != nil {
		return nil
	}
	if s.child != nil {
		s.child.free = true // its Dial knows
	}
	s.tie = nil
	s.leaving.Store(true)
	s.partner.Store(nil)
	s.leg.Hear(nil)
	s.parting = s.m.Clock.NewTimer(partingTime)
	return nil
}

// tied is closed when the call has nobody left to talk to.
func (s *Session) tied() <-chan struct{} {
	if s.tie == nil {
		return nil
	}
	return s.tie.over
}

// parted is when a party that transferred its call has had the time to hang up.
func (s *Session) parted() <-chan time.Time {
	if s.parting == nil {
		return nil
	}
	return s.parting.C()
}

// replace takes a call that is to take the place of another one (RFC 3891): its party talks on with whom that one
// talked to.
func (m *Manager) replace(leg Leg, in call.InboundLeg, refuse func(code int, reason string)) {
	old := m.byDialog(in.Replaces)
	switch {
	case old == nil, in.Hairpin, in.Trunk != nil && in.Trunk.AccountSID != old.account(),
		in.Domain != nil && in.Domain.AccountSID != old.account():
		refuse(481, "Call/Transaction Does Not Exist")
		return
	case old.snapshot.Load().Status != call.InProgress && !old.rings(): // only a call of ours that rings is picked up
		refuse(481, "Call/Transaction Does Not Exist")
		return
	case in.Replaces.EarlyOnly && !old.rings():
		refuse(486, "Busy Here")
		return
	case m.Draining():
		refuse(503, "Service Unavailable")
		return
	}
	if old.partner.Load() == nil && !old.rings() {
		refuse(480, "Temporarily Unavailable")
		return
	}
	now := m.Clock.Now()
	c := &call.Call{
		SID: twilio.NewSIDAt(twilio.CallPrefix, now), AccountSID: old.account(),
		To: in.To, From: in.From, Direction: call.Inbound, Status: call.Ringing,
		DateCreated: now, DateUpdated: now, DialedAt: now, PriceUnit: old.snapshot.Load().PriceUnit,
		CallerName: in.CallerName, Dialog: leg.Dialog(), Epoch: m.Store.Epoch(),
		Options: call.Options{
			FromCountry: call.Country(in.From), ToCountry: call.Country(in.To),
			SIPHeaders: in.Headers, SIPSource: host(in.Source), Hops: in.Hops,
		},
	}
	if t := in.Trunk; t != nil {
		c.TrunkSID = t.SID
		if t.Kind == call.Elastic {
			c.Direction = call.TrunkingTerminating
		}
	}
	if d := in.Domain; d != nil {
		c.Options.SIPDomain, c.Options.SIPDomainSID = d.Name, d.SID
	}
	ctx, cancel := context.WithTimeout(context.Background(), saveTimeout)
	defer cancel()
	ch := call.Change{Events: newEvents(c, now, "created", "ringing")}
	if err := m.Store.AddCall(ctx, c, ch); err != nil {
		m.Log.Error("inbound call not stored", "call_sid", c.SID, "leg", "inbound", "sip_call_id", c.Dialog.CallID, "err", err)
		refuse(503, "Service Unavailable")
		return
	}
	m.publish(ch)
	s := m.newSession(c)
	s.attach(leg)
	s.ready = true
	run := func(ctx context.Context) {
		_ = s.live(ctx, func() error { s.takeOver(ctx, old); return nil })
	}
	if !m.adopt(s, run) {
		refuse(503, "Service Unavailable")
		_ = m.settleNow(c)
	}
}

// takeOver runs a call that takes the place of old.
func (s *Session) takeOver(ctx context.Context, old *Session) {
	s.trace("INVITE from %s, to take the place of %s", s.call.From, old.sid)
	s.inviteSpan(telemetry.Server, s.call.DateCreated)
	if err := s.connect(ctx); err != nil {
		s.log.Error("inbound call without account", "err", err)
		s.finish(call.Failed, call.Cause{SIPCode: 500, Reason: err.Error(), Local: true})
		return
	}
	s.m.sessions.Go(func() {
		ctx, cancel := context.WithTimeout(s.m.ctx, transferTimeout)
		defer cancel()
		_ = s.guarded(func() error {
			if old.rings() {
				return s.pickUp(ctx, old)
			}
			err := s.do(ctx, s.answer)
			if err == nil {
				err = s.m.alone(ctx, func() error {
					other := old.partner.Load() // whom it has now
					if other == nil {
						return errApart
					}
					return s.m.join(ctx, []*Session{old}, s, other)
				})
			}
			leaves, why := old, "replaced by "+s.sid
			if err != nil {
				leaves, why = s, "the call that was to be replaced is over"
			}
			return leaves.do(ctx, func() error {
				leaves.hangup(call.Completed, call.Cause{SIPCode: 200, Reason: why, Local: true})
				return nil
			})
		})
	})
	s.run(ctx)
}

// rings reports whether s is a party of a <Dial> that rings: RFC 3891 section 3 lets another phone take only a call that
// we make.
func (s *Session) rings() bool {
	return s.child != nil && s.snapshot.Load().Status == call.Ringing
}

// pickup is a call that takes the place of a party of a <Dial> that rings.
type pickup struct {
	by, old *Session
	link    *link // between by and the caller
	done    chan error
}

// pickUp takes the place of old, which rings.
func (s *Session) pickUp(ctx context.Context, old *Session) error {
	p := pickup{s, old, newLink(), make(chan error, 1)}
	d, err := old.child.dialing, errApart
	select {
	case d.pickups <- p:
		err = <-p.done
	case <-d.gone:
	case <-ctx.Done():
	}
	if err == nil {
		return nil
	}
	return s.do(ctx, func() error { // it was answered meanwhile, or given up
		status := call.Failed
		if s.call.Status == call.InProgress {
			status = call.Completed
		}
		s.hangup(status, call.Cause{SIPCode: 481, Reason: "Call/Transaction Does Not Exist", Local: true})
		return nil
	})
}

// pickedUp connects the caller with the phone that takes a call which rings elsewhere, and lets nobody ring any more.
func (d *dialing) pickedUp(ctx context.Context, p pickup) error {
	if d.winner != nil || d.closed || !d.ringing[p.old] {
		return errApart
	}
	for _, s := range []*Session{p.by, d.s} {
		if err := s.do(ctx, s.answer); err != nil {
			return err
		}
	}
	d.picked, d.closed, d.waiting = true, true, nil
	d.last = p.old.snapshot.Load().Clone()
	d.last.Status = call.Canceled
	d.dropRinging("picked up by another phone")
	d.link = p.link
	err := d.bridge(ctx, p.by, func() error {
		if p.by.over {
			return errOver
		}
		p.by.tie = p.link
		return nil
	})
	if err != nil { // it has gone
		p.link.end()
	}
	d.s.trace("picked up by %s", p.by.sid)
	return nil
}
