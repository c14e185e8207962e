package session

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/offhook/offhook/internal/audio"
	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/clock"
	"github.com/offhook/offhook/internal/twilio"
	"github.com/offhook/offhook/internal/twiml"
)

// dialing is one run of <Dial>. The verbs of the caller's session own it; the called ones report to it.
type dialing struct {
	s       *Session // the caller's
	doc     *document
	verb    *twiml.Dial
	group   string // GP…, of calls that ring together
	reports chan report
	links   chan *link    // a transfer connects the caller with somebody else
	pickups chan pickup   // another phone takes a call that rings
	gone    chan struct{} // closed when the Dial is over

	waiting []attempt         // not called yet, in order
	ringing map[*Session]bool // called and neither over nor the winner
	winner  *Session          // the first that answered
	done    bool              // the winner has ended, or goes its own way
	left    bool              // the latter
	picked  bool              // another phone took the call instead of who was called
	closed  bool              // nobody else is called
	starred bool              // the caller pressed * to end it

	link   *link           // with whom a transfer connected the caller, instead of the winner; nil for nobody
	awaits <-chan struct{} // the winner left while his transfer was not decided: how it ends is

	limit     clock.Timer // of the conversation; nil before
	bridgedAt time.Time   // when caller and winner began to hear each other; zero before
	last      *call.Call  // the winner's, else that of the party that says most of why nobody answered
	tape      *tape       // of the caller and whom he hears; nil for none
	sounding  bool        // the caller hears how it rings
	early     bool        // and that from the network of the called party
	rang      bool        // it rang somewhere
}

// dialVerb runs <Dial>: it calls its parties, connects the first that answers, and goes on when that is over.
func (s *Session) dialVerb(ctx context.Context, doc *document, v *twiml.Dial) (step, error) {
	if err := unready(v); err != nil {
		return nextVerb, err
	}
	d := &dialing{s: s, doc: doc, verb: v, ringing: map[*Session]bool{}, links: make(chan *link), pickups: make(chan pickup), gone: make(chan struct{})}
	calls := 0
	for _, n := range v.Nouns {
		a := attempt{noun: n}
		calls++
		if sip, ok := n.(*twiml.DialSip); ok {
			a.targets = call.Draw(slices.Clone(sip.Targets), func(t twiml.SipTarget) (int, int) { return t.Priority, t.Weight }, rand.IntN)
			calls += len(a.targets) - 1
		}
		d.waiting = append(d.waiting, a)
	}
	d.reports = make(chan report, calls*reportKinds)
	if len(v.Nouns) > 1 && !v.Sequential {
		d.group = twilio.NewSIDAt("GP", s.m.Clock.Now())
	}
	s.dialing.Store(d)
	ran := false
	defer func() {
		if !ran { // a panic, and nobody else will see to the called ones
			d.dropAll("internal error")
		}
		s.dialing.Store(nil)
		d.stopRecording()
		close(d.gone)
	}()
	next, err := d.run(ctx)
	ran = true
	return next, err
}

// unready refuses what this version cannot do yet: an error, not silence.
func unready(v *twiml.Dial) error {
	for _, o := range []struct {
		name  string
		asked bool
	}{
		{"passports", v.Passports != ""}, {"recordingConfigurationId", v.Recording.ConfigurationID != ""},
	} {
		if o.asked {
			return notYet(v.Line(), "<Dial> "+o.name)
		}
	}
	return nil
}

func (d *dialing) run(ctx context.Context) (step, error) {
	keys := make(chan byte, 64)
	d.s.keys.Store(&keys)
	defer d.s.keys.Store(nil)
	var limit <-chan time.Time // from the connection on
	defer func() {
		if d.limit != nil {
			d.limit.Stop()
		}
	}()

	if strings.HasPrefix(d.verb.Record, "record-from-ringing") {
		d.record(ctx)
	}
	d.call(ctx)
	for !d.done && (d.winner != nil || d.picked || len(d.ringing) > 0) {
		select {
		case r := <-d.reports:
			if err := d.onReport(ctx, r); err != nil {
				d.dropAll("the caller could not be answered")
				return nextVerb, err
			}
			if d.limit != nil {
				limit = d.limit.C()
			}
		case l := <-d.links:
			d.joined(l)
		case p := <-d.pickups:
			p.done <- d.pickedUp(ctx, p)
			if d.limit != nil {
				limit = d.limit.C()
			}
		case <-d.linkOver():
			d.done = true
			d.s.disconnect()
		case <-d.awaits:
			d.done = true
		case key := <-keys:
			if key == '*' && d.verb.HangupOnStar {
				d.s.trace("dial: * pressed")
				d.starred = true
				d.dropAll("* pressed by the caller")
			}
		case <-limit:
			d.s.trace("dial: time limit reached")
			d.dropAll("time limit of the Dial")
		case <-ctx.Done():
			d.abandon(ctx)
			return nextVerb, context.Cause(ctx)
		}
	}
	if d.s.leaving.Load() { // nothing follows for a caller who has transferred his call but its end
		<-ctx.Done()
	}
	if ctx.Err() != nil {
		d.abandon(ctx)
		return nextVerb, context.Cause(ctx)
	}
	d.quiet()
	return d.next()
}

// record begins the recording of the conversation, or of all the caller hears.
func (d *dialing) record(ctx context.Context) {
	source := call.SourceDial
	if d.doc.over != nil {
		source = call.SourceTrunk
	}
	r := d.s.recordingOf(d.doc, source, d.verb.Recording)
	if strings.HasSuffix(d.verb.Record, "-dual") && r.Track == call.TrackBoth {
		r.Channels = 2
	}
	d.tape = d.s.beginTape(ctx, r, 0)
}

func (d *dialing) stopRecording() {
	if d.tape != nil {
		d.s.letEnd(d.tape)
	}
}

// call calls whose turn it is: one party when they go in sequence, else all.
func (d *dialing) call(ctx context.Context) {
	for len(d.waiting) > 0 && !d.closed && ctx.Err() == nil {
		a := d.waiting[0]
		d.waiting = d.waiting[1:]
		if d.start(ctx, a) && d.verb.Sequential {
			return
		}
	}
}

func (d *dialing) onReport(ctx context.Context, r report) error {
	switch r.kind {
	case childRings, childHeard:
		d.onRinging(r)
	case childAnswered: // the first one wins
		if d.winner != nil || d.closed {
			r.from.dropFor("another party answered")
			return nil
		}
		d.winner, d.waiting = r.from, nil
		delete(d.ringing, r.from)
		d.dropRinging("another party answered")
	case childReady:
		if r.from == d.winner {
			return d.connect(ctx, r)
		}
	case childLeft, childEnded:
		d.onOver(ctx, r)
	}
	return nil
}

// onRinging lets the caller hear that it rings, unless his own phone does that.
func (d *dialing) onRinging(r report) {
	s, tone := d.s, d.verb.RingTone
	d.rang = true
	alone := len(d.verb.Nouns) == 1 || d.verb.Sequential
	early := r.earlyMedia && alone && tone == ""
	if d.winner != nil || !d.ringing[r.from] || d.sounding && (d.early || !early) {
		return
	}
	if s.snapshot.Load().Status == call.Ringing {
		if !early && tone == "" {
			s.leg.Ring() // that over a trunk was told nothing so far
			return
		}
		if err := s.leg.Progress(); err != nil {
			return // the caller has gone, as his leg will say
		}
	}
	d.sounding, d.early = true, early
	if early {
		s.leg.Flush()
		s.leg.Hear(r.leg)
	} else {
		s.leg.Loop(audio.Ringback(tone))
	}
}

// quiet ends what the caller heard while it rang.
func (d *dialing) quiet() {
	if d.sounding {
		d.sounding, d.early = false, false
		d.s.leg.Hear(nil)
		d.s.leg.Flush()
	}
}

// connect lets caller and winner hear each other.
func (d *dialing) connect(ctx context.Context, r report) error {
	s := d.s
	if err := s.do(ctx, s.answer); err != nil { // only with answerOnBridge there is something to answer
		if ctx.Err() != nil || errors.Is(err, errOver) {
			return nil //nolint:nilerr // the end of ctx says it, now or in a moment
		}
		return err
	}
	_ = d.bridge(ctx, r.from, func() error { // else a report that is on its way says what became of it
		if r.from.over || !r.from.inDial() {
			return errApart
		}
		r.from.bridged.Store(d.tape)
		s.trace("connected to %s", r.call.To)
		return nil
	})
	return nil
}

// bridge lets the caller and another party hear each other, if that one is ready in its own loop, where it may be about
// to leave; and does so to the end, whatever becomes of the caller.
func (d *dialing) bridge(ctx context.Context, with *Session, ready func() error) error {
	d.quiet()
	if strings.HasPrefix(d.verb.Record, "record-from-answer") {
		d.record(ctx)
	}
	err := with.do(context.WithoutCancel(ctx), func() error {
		if err := ready(); err != nil {
			return err
		}
		connect(d.s, with)
		return nil
	})
	if err == nil {
		d.bridgedAt, d.limit = d.s.m.Clock.Now(), d.s.m.Clock.NewTimer(d.verb.TimeLimit)
	}
	return err
}

// disconnect ends the connection at the caller's side.
func (d *dialing) disconnect() {
	if !d.bridgedAt.IsZero() {
		d.s.disconnect()
	}
}

// joined goes on with the party that a transfer brought, instead of the winner, whose call ends. The action will
// speak of his all the same: it is the one that this Dial made.
func (d *dialing) joined(l *link) {
	if d.winner == nil && !d.picked { // he was called away from whom he talked to, and this Dial still rings
		l.end()
		return
	}
	if d.link == nil && !d.left && d.awaits == nil && !d.picked {
		d.last = d.sofar()
	}
	d.link, d.awaits = l, nil
}

// linkOver is closed when the party that a transfer brought has gone.
func (d *dialing) linkOver() <-chan struct{} {
	if d.link == nil {
		return nil
	}
	return d.link.over
}

// sofar is the winner's call as if it ended now.
func (d *dialing) sofar() *call.Call {
	c := d.winner.snapshot.Load().Clone()
	if c.EndedAt.IsZero() {
		c.EndedAt = d.s.m.Clock.Now()
	}
	return c
}

// onOver takes note of a party that is gone, and calls who is to be called then.
func (d *dialing) onOver(ctx context.Context, r report) {
	delete(d.ringing, r.from)
	if r.from == d.winner {
		if d.link != nil {
			return
		}
		d.left, d.last = r.kind == childLeft, r.call
		d.disconnect()
		if t := r.from.transfer.Load(); r.kind == childEnded && t.orphan(nil) {
			d.awaits = t.over
		} else {
			d.done = true
		}
		return
	}
	if d.winner != nil || d.picked {
		return
	}
	if d.last == nil || says(r.call.Status) >= says(d.last.Status) {
		d.last = r.call
	}
	if d.closed {
		return
	}
	if len(d.ringing) == 0 {
		d.quiet()
	}
	a := r.from.child.attempt
	if r.call.Status == call.Failed && a.target+1 < len(a.targets) {
		a.target++ // nobody is there: the next of its addresses
		if d.start(ctx, a) {
			return
		}
	}
	if len(d.ringing) == 0 {
		d.call(ctx)
	}
}

// says orders how parties that did not answer ended by what it tells the caller: somebody was there.
func says(s call.Status) int {
	return slices.Index([]call.Status{call.Canceled, call.Failed, call.NoAnswer, call.Busy}, s)
}

func (d *dialing) dropRinging(reason string) {
	for s := range d.ringing {
		s.dropFor(reason)
	}
}

// dropAll ends every call of the Dial, and calls nobody else.
func (d *dialing) dropAll(reason string) {
	d.closed, d.waiting = true, nil
	d.dropRinging(reason)
	switch {
	case d.link != nil:
		d.link.end()
	case d.winner != nil:
		d.winner.dropFor(reason)
	}
}
