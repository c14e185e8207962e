package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/offhook/offhook/internal/audio"
	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/clock"
	"github.com/offhook/offhook/internal/telemetry"
	"github.com/offhook/offhook/internal/twilio"
	"github.com/offhook/offhook/internal/webhook"
)

const (
	// lastWords is how long a shutdown waits for a phone to answer its BYE: one that is gone would hold it
	// up for half a minute.
	lastWords = 2 * time.Second
	// saveTimeout bounds a write that must be done before the call goes on, such as that of its answer.
	saveTimeout = 5 * time.Second
	// laterTimeout bounds a write that is tried again while the call goes on: its loop has other things to do.
	laterTimeout = 2 * time.Second
	// maxNotes bounds the notifications of a call that wait to be stored, those of a write that failed included.
	maxNotes = 100
	// dialBuffer is what the parties of a <Dial> have beyond its timeout (twiml section 3, timeout).
	dialBuffer = 5 * time.Second
	// storeRetry is how long a store that refused a write is left alone.
	storeRetry = time.Second
)

// Session is one live call. Its loop owns call, leg and verbs; others reach them through do.
type Session struct {
	m      *Manager
	sid    string
	log    *slog.Logger
	hooks  *webhook.Client // of this call: cookies, credentials
	barred bool            // its account is not active
	inbox  chan command
	done   chan struct{} // closed when the call is over, or was not dialled after all

	call   *call.Call
	leg    Leg
	verbs  *verbs          // the running document; nil before the first
	invite *telemetry.Span // the INVITE without a final response; nil when nobody traces
	over   bool            // the call has its final status
	child  *child          // what a <Dial> that made this call needs; nil for other calls
	ready  bool            // changes of the call come here; under the manager's lock

	placed func() // the INVITE is out, or never will be; nil when nobody counts it

	unstored bool        // the store has never heard of the call
	stored   call.Status // the status that the store has
	unsaved  call.Change // what the store has not taken yet, in order
	retry    clock.Timer // of a write that the store refused
	refused  bool        // the last write was, which the log knows

	notesMu sync.Mutex
	notes   []call.Notification // for the next write
	written int                 // how many unsaved has
	noted   chan struct{}       // there are some; capacity 1

	sentDigits bool      // SendDigits has left; the verbs' own
	lastHeard  time.Time // when audio last came to its end; the verbs' own

	partner     atomic.Pointer[Session] // with whom the party is connected
	dialing     atomic.Pointer[dialing] // the <Dial> that runs
	transfer    atomic.Pointer[transfer]
	holds       atomic.Bool   // the party keeps its partner on hold, without music of its own
	leaving     atomic.Bool   // the party has transferred its call
	parting     clock.Timer   // and until when it may hang up by itself; nil before
	tie         *link         // with whose end the call ends; nil for none. The loop's own
	screening   atomic.Bool   // the documents are those that a called party hears before it is connected
	unconnected *rejection    // how a caller is refused whose <Dial> reached nobody; the verbs' own
	farewell    chan struct{} // closed when the action of a verb that was cut short was requested; the verbs' own

	still stillness // of the verbs, while the party is on hold

	tapes []*tape // recordings that are not settled; the loop's own
	whole *tape   // the recording that a create asked for; nil for none. The loop's own

	bridged   atomic.Pointer[tape] // of the <Dial> that connected this called party; nil for none
	detection *detection           // of who answered; nil before, after and without. The loop's own

	ringing clock.Timer // ring time-out of an outbound call
	limit   clock.Timer // TimeLimit, from the answer

	snapshot atomic.Pointer[call.Call]          // the call after its last change, for the verbs to read
	keys     atomic.Pointer[chan byte]          // where pressed keys go while somebody listens
	news     atomic.Pointer[chan call.LegEvent] // where what the phone tells of a <Refer> goes
}

// command is a function to be run by the session's loop.
type command struct {
	fn    func() error
	reply chan error
}

var errOver = errors.New("session: the call is over")

func (m *Manager) newSession(c *call.Call) *Session {
	s := &Session{
		m: m, sid: c.SID, call: c, stored: c.Status,
		log:   m.Log.With("call_sid", c.SID),
		still: stillness{clock: m.Clock},
		inbox: make(chan command), done: make(chan struct{}), noted: make(chan struct{}, 1),
		ringing: m.Clock.NewTimer(time.Hour), limit: m.Clock.NewTimer(time.Hour), retry: m.Clock.NewTimer(time.Hour),
	}
	s.ringing.Stop()
	s.limit.Stop()
	s.retry.Stop()
	s.snapshot.Store(c.Clone())
	return s
}

// do runs fn in the session's loop and returns what it returned, errOver when the call ended first. When
// ctx ends it returns at once, fn running or not: the loop waits for verbs that it stops.
func (s *Session) do(ctx context.Context, fn func() error) error {
	c := command{fn, make(chan error, 1)}
	select {
	case s.inbox <- c:
	case <-s.done:
		return errOver
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case err := <-c.reply: // the loop answers every command it took, even by panic
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// connect reads the account's token and opens its webhook client.
func (s *Session) connect(ctx context.Context) error {
	a, err := s.m.Store.Account(ctx, s.call.AccountSID)
	if err != nil {
		return fmt.Errorf("session: account %s: %w", s.call.AccountSID, err)
	}
	s.hooks, s.barred = s.m.Hooks.Client(a.AuthToken).Of(s.sid), !a.Active()
	return nil
}

// dial takes a queued call: it commits that the INVITE leaves, sends it and runs the call to its end.
func (s *Session) dial(ctx context.Context) (err error) {
	s.aside(func() { err = s.place(ctx) })
	if s.placed != nil {
		s.placed()
	}
	if err == nil {
		s.run(ctx)
	}
	return err
}

// live runs f, which makes the call and takes it through its life, and returns when the end is stored and
// the leg is gone. A panic ends this call, and nothing else.
func (s *Session) live(ctx context.Context, f func() error) error {
	err := s.guarded(f)
	var p panicError
	if errors.As(err, &p) {
		err = s.guarded(func() error { s.giveUp("internal error"); return nil })
	}
	_ = s.guarded(func() error { // it has logged what there is to say
		s.storeEnd(ctx)
		s.drainLeg()
		return nil
	})
	return err
}

// run is the only goroutine that changes the call, with those it waits for.
func (s *Session) run(ctx context.Context) {
	for !s.over {
		var f func()
		select {
		case e, ok := <-s.leg.Events():
			if !ok {
				e = call.LegEnded{Cause: call.Cause{Reason: "leg lost", Local: true}}
			}
			f = func() { s.onLeg(e) }
		case c := <-s.inbox:
			f = func() { s.obey(c) }
		case result := <-s.verbs.ended():
			f = func() { s.onDocumentEnd(result) }
		case found := <-s.detection.verdict():
			f = func() { s.onDetected(found) }
		case reason := <-s.dropped():
			f = func() { s.onDropped(reason) }
		case <-s.tied():
			f = func() {
				s.hangup(call.Completed, call.Cause{SIPCode: 200, Reason: "the other party hung up", Local: true})
			}
		case <-s.parted():
			f = func() {
				s.hangup(call.Completed, call.Cause{SIPCode: 200, Reason: "transferred", Local: true})
			}
		case <-s.ringing.C():
			f = func() {
				s.trace("nobody answered in time")
				s.hangup(call.NoAnswer, call.Cause{SIPCode: 487, Reason: "ring time-out", Local: true})
			}
		case <-s.limit.C():
			f = func() {
				s.trace("time limit reached")
				s.hangup(call.Completed, call.Cause{SIPCode: 200, Reason: "time limit", Local: true})
			}
		case <-s.retry.C():
			f = s.flush
		case <-s.noted:
			f = s.flush
		case <-ctx.Done():
			f = func() {
				s.trace("offhook is shutting down")
				s.giveUp(context.Cause(ctx).Error())
			}
		}
		s.aside(f)
	}
}

// aside runs f in a goroutine of its own and waits for it. Those that live as long as the call and wait most of
// that time leave deep work to it, which SQL, HTTP and JSON are: a grown stack is kept until its goroutine ends.
// A panic of f is one of the caller's.
func (s *Session) aside(f func()) {
	done := make(chan error)
	go func() { done <- s.guarded(func() error { f(); return nil }) }()
	var p panicError
	if err := <-done; errors.As(err, &p) {
		panic(p)
	}
}

// obey answers c even when its function panics; the panic then ends this call (recovered).
func (s *Session) obey(c command) {
	err := errors.New("internal error")
	defer func() { c.reply <- err }()
	err = c.fn()
}

// giveUp ends the call whatever its state, for a reason of ours.
func (s *Session) giveUp(reason string) {
	if s.over {
		return
	}
	status, cause := call.Failed, call.Cause{Reason: reason, Local: true}
	switch {
	case s.call.Status == call.InProgress:
		status = call.Completed
	case s.call.CameIn():
		cause.SIPCode = 503 // the caller may try another of his routes
	}
	s.hangup(status, cause)
}

func (s *Session) onLeg(e call.LegEvent) {
	switch e := e.(type) {
	case call.LegRinging:
		if s.call.Status == call.Ringing && e.EarlyMedia {
			s.report(report{kind: childHeard, earlyMedia: true})
		}
		if s.call.Status != call.Queued {
			return
		}
		s.trace("%d ringing", e.Code)
		s.inviteEvent(e.Code)
		s.call.Dialog = s.leg.Dialog() // a challenge or another target changed CSeq and branch
		s.move(call.Ringing, "ringing", "ringing")
		if !s.over {
			s.report(report{kind: childRings, earlyMedia: e.EarlyMedia})
		}
	case call.LegMoved:
		s.trace("INVITE %s", s.leg.Dialog().Target)
		s.call.Dialog = s.leg.Dialog()
		if err := s.save("", "", laterTimeout); err != nil {
			s.storeFailed(err)
		}
	case call.LegAnswered:
		s.ringing.Stop()
		if f, ok := s.leg.(*fork); ok {
			s.attach(f.take())
		}
		s.call.AnsweredAt = s.m.Clock.Now()
		s.call.Dialog = s.leg.Dialog()
		s.trace("200 answered")
		s.inviteEvent(200)
		s.startLimit()
		recorded := s.recordAnswered()
		s.detect() // not later: who picks up says hello
		s.move(call.InProgress, "answered", "answered")
		// Not before it is stored: until its ACK the callee repeats the answer, for a process that takes over.
		s.leg.Acknowledge()
		switch { // who picked up does not wait for the store
		case s.over:
		case s.child != nil:
			s.pickedUp()
		case s.detection.waits():
		default:
			s.begin((*Session).firstDocument)
		}
		if recorded != nil && !s.over {
			if err := s.saveRecording(recorded, laterTimeout); err != nil {
				s.storeFailed(err)
			}
		}
	case call.LegDigit:
		if s.call.Options.Held { // by INFO; those of RTP do not come
			s.trace("key %c, on hold", e.Key)
			return
		}
		s.trace("key %c", e.Key)
		if keys := s.keys.Load(); keys != nil {
			select {
			case *keys <- e.Key:
			default: // a listener takes 64 keys without pause; more is noise
			}
		}
	case call.LegHeld:
		s.onHeld(e)
	case call.LegReferred:
		s.onReferred(e)
	case call.LegReferAnswered, call.LegReferNotified:
		s.hear(e)
	case call.LegEnded:
		s.onLegEnded(e)
	}
}

// onHeld lets the other party of a conversation hear music while it waits, unless whoever holds it sends some.
func (s *Session) onHeld(e call.LegHeld) {
	s.trace("on hold: %v", e.On)
	s.holds.Store(e.On && !e.Sends)
	p := s.partner.Load()
	switch {
	case p == nil:
	case e.On && !e.Sends:
		p.leg.Loop(audio.HoldMusic())
	default:
		p.leg.Flush()
	}
}

// startLimit begins the time that the call may take.
func (s *Session) startLimit() { s.limit.Reset(timeLimit(s.call)) }

// timeLimit is how long c may take from its answer.
func timeLimit(c *call.Call) time.Duration {
	if c.Options.TimeLimit > 0 {
		return time.Duration(c.Options.TimeLimit) * time.Second
	}
	return call.DefaultTimeLimit
}

func (s *Session) onLegEnded(e call.LegEnded) {
	cause := e.Cause
	if cause.Code != 0 { // such as 32014: the audio stopped coming
		s.notify(&twilio.Error{Code: cause.Code, Message: cause.Reason}, nil)
	}
	switch {
	case s.call.Status == call.InProgress:
		s.trace("%s", hangupText(cause))
		s.finish(call.Completed, cause)
	case e.Canceled:
		s.trace("the caller gave up")
		cause.SIPCode = 487
		s.finish(call.NoAnswer, cause)
	case s.call.CameIn():
		s.trace("%s", hangupText(cause))
		s.finish(call.Failed, cause)
	default:
		s.trace("%d %s", cause.SIPCode, cause.Reason)
		s.finish(call.StatusOf(cause.SIPCode), cause)
	}
}

func hangupText(c call.Cause) string {
	switch {
	case c.Reason != "" && c.Local:
		return c.Reason
	case c.Local:
		return "hung up by us"
	case c.Reason != "" && c.Reason != "OK":
		return "hung up by the other side: " + c.Reason
	default:
		return "hung up by the other side"
	}
}

// onDocumentEnd is the end of the instructions: the call ends with them.
func (s *Session) onDocumentEnd(r result) {
	switch {
	case s.inDial() && r.reason == endOfDocument:
		s.screening.Store(false)
		s.report(report{kind: childReady})
	case r.reject != nil && s.call.Status == call.Ringing:
		s.hangup(r.reject.status, call.Cause{SIPCode: r.reject.code, Reason: r.reject.phrase, Local: true})
	case s.call.Status == call.Ringing: // an empty document still answers (twiml section 1)
		if s.answer() != nil {
			return
		}
		s.hangup(call.Completed, call.Cause{SIPCode: 200, Reason: r.reason, Local: true})
	default:
		s.hangup(call.Completed, call.Cause{SIPCode: 200, Reason: r.reason, Local: true})
	}
}

// answer takes the inbound call: first it is stored, then the 200 leaves. Loop only.
func (s *Session) answer() error {
	if s.over {
		return errOver
	}
	if s.call.Status != call.Ringing || !s.call.CameIn() {
		return nil
	}
	before, unsaved := *s.call, s.unsaved
	s.call.AnsweredAt, s.call.Status = s.m.Clock.Now(), call.InProgress
	if err := s.save("answered", "answered", saveTimeout); err != nil {
		unsaved.Notifications = s.unsaved.Notifications
		*s.call, s.unsaved = before, unsaved
		s.finish(call.Failed, call.Cause{SIPCode: 503, Reason: "Service Unavailable", Local: true})
		return err
	}
	s.startLimit()
	if err := s.leg.Answer(); err != nil {
		return fmt.Errorf("session: answer: %w", err) // LegEnded follows
	}
	s.call.Dialog = s.leg.Dialog()
	s.trace("answered")
	s.inviteEvent(200)
	return nil
}

// update changes the live call. Loop only.
func (s *Session) update(p call.UpdateParams) error {
	if s.over {
		return errOver
	}
	c := s.call
	switch {
	case p.Status != "" && c.Status != call.InProgress:
		code := 487
		if c.CameIn() {
			code = 480 // 487 belongs to the caller's own CANCEL
		}
		s.hangup(call.Canceled, call.Cause{SIPCode: code, Reason: "canceled by the API", Local: true})
		return nil
	case p.Status == call.Canceled:
		return nil // no effect on an answered call
	case p.Status == call.Completed:
		s.hangup(call.Completed, call.Cause{SIPCode: 200, Reason: "hung up by the API", Local: true})
		return nil
	case p.Redirects() && c.Direction.Trunking():
		return errTrunkCall()
	case p.Redirects() && c.Status != call.InProgress && s.verbs == nil:
		return p.StateError() // an inbound call may be redirected while its document runs unanswered
	}
	options, seq := c.Options, c.CallbackSeq
	p.Apply(&c.Options)
	if c.Options.StatusURL != options.StatusURL {
		c.CallbackSeq = 0 // it counts the events of one URL
	}
	if err := s.save("", "", saveTimeout); err != nil {
		c.Options, c.CallbackSeq = options, seq // what runs goes on
		s.storeFailed(err)
		return err
	}
	if p.TimeLimit > 0 && c.Status == call.InProgress {
		left := time.Duration(p.TimeLimit)*time.Second - s.m.Clock.Now().Sub(c.AnsweredAt)
		s.limit.Reset(max(left, 0))
	}
	if p.Redirects() {
		s.trace("redirected by the API")
		s.goAhead()
		s.leave()
		s.begin((*Session).firstDocument)
	}
	return nil
}

// begin runs the document that start gives, instead of the one that runs. Loop only.
func (s *Session) begin(start source) {
	s.verbs.stop(errRedirected)
	s.verbs = s.startVerbs(start)
}

// move takes the call to a status that is not final and stores it with its event and callback.
func (s *Session) move(to call.Status, event, callback string) {
	if err := s.call.Move(to); err != nil {
		s.log.Error("status ignored", "err", err)
		return
	}
	if err := s.save(event, callback, laterTimeout); err != nil {
		s.storeFailed(err)
	}
}

// hangup ends a call from our side: the final status is stored first, then the other side hears of it.
func (s *Session) hangup(status call.Status, cause call.Cause) {
	s.trace("%s", hangupText(cause))
	s.finish(status, cause)
}

// finish stores the final status and lets the leg go. Loop only.
func (s *Session) finish(status call.Status, cause call.Cause) {
	if s.over {
		return
	}
	s.over = true
	defer close(s.done)
	s.verbs.stop(errOver)
	if s.tie != nil && !s.transfer.Load().orphan(s.tie) {
		s.tie.end()
	}
	if s.parting != nil {
		s.parting.Stop()
	}
	s.ringing.Stop()
	s.limit.Stop()
	from := s.call.Status
	if err := s.call.Move(status); err != nil {
		s.log.Error("final status ignored", "err", err)
	}
	s.call.EndedAt, s.call.Cause = s.m.Clock.Now(), cause
	s.m.price(s.call)
	s.inviteEvent(sipResponse(s.call))
	s.m.metrics.over(s.call)
	spanEnded(s.m.Tracer, s.call)
	stopped := s.stopTapes()
	err := s.save(string(status), "completed", laterTimeout)
	switch {
	case s.leg == nil:
	case s.call.CameIn() && from == call.Ringing && cause.SIPCode >= 300:
		s.leg.Reject(cause.SIPCode, cause.Reason)
	default:
		s.leg.Hangup()
	}
	for _, t := range stopped {
		s.keep(t)
	}
	if err != nil {
		s.storeFailed(err)
	}
}

// drainLeg waits until the leg is over, so that its ports and its place in the queue are free.
func (s *Session) drainLeg() {
	if s.leg == nil {
		return
	}
	s.leg.Hangup()
	closing := s.m.ctx.Done()
	var late <-chan time.Time
	for {
		select {
		case _, ok := <-s.leg.Events():
			if !ok {
				return
			}
		case <-closing:
			closing = nil
			t := s.m.Clock.NewTimer(lastWords)
			defer t.Stop()
			late = t.C()
		case <-late:
			return // signalling lets go of the leg when it closes
		}
	}
}
