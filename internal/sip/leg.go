package sip

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/offhook/offhook/internal/audio"
	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/clock"
)

// state is where a leg stands.
type state int

const (
	built      state = iota // outbound: made, INVITE not sent
	calling                 // outbound: INVITE sent, nothing heard
	proceeding              // outbound: a provisional response came
	canceling               // outbound: CANCEL sent
	incoming                // inbound: INVITE received, no final response yet
	accepted                // inbound: 2xx sent, ACK not seen
	confirmed               // the dialog stands
	ending                  // BYE sent
	over
)

var stateNames = [...]string{"built", "calling", "proceeding", "canceling", "incoming", "accepted", "confirmed", "ending", "over"}

func (s state) String() string { return stateNames[s] }

// transitions lists every legal move of a leg; over is legal from everywhere.
var transitions = map[state][]state{
	built:      {calling, over},
	calling:    {proceeding, confirmed, ending, over},
	proceeding: {calling, canceling, confirmed, ending, over}, // calling: another attempt after 3xx, 401, 422, 503
	canceling:  {ending, over},
	incoming:   {accepted, over},
	accepted:   {confirmed, ending, over},
	confirmed:  {ending, over},
	ending:     {over},
}

// Leg is one party's signalling and media. Its methods are safe for concurrent use and never wait for the
// network; what comes of them are Events.
type Leg struct {
	e       *Endpoint
	log     *slog.Logger // see logger
	callSID atomic.Pointer[string]
	mail    *mailbox
	events  chan call.LegEvent
	gone    chan struct{} // closed when the leg is over
	dialog  atomic.Pointer[call.Dialog]
	tx      atomic.Pointer[inviteTx] // of the last INVITE we sent
	media   MediaStream
	uas     bool
	hairpin bool
	// symmetric: the peer is a phone of ours, which is reached where it speaks from.
	symmetric bool
	invKey    *inviteKey // registry key of the INVITE received; set by add, nil once it was declined

	// Everything below belongs to run.
	state    state
	d        dialog
	hop      hop // next hop of the dialog; valid when hopReady
	hopReady bool
	peer     netip.Addr // of the hop, as the endpoint knows it; invalid before add and after remove
	hopQueue []func()   // waits for the hop
	cause    call.Cause // set when the end was decided
	hangup   bool       // hang up as soon as the protocol allows
	timers   map[string]clock.Timer
	mediaUp  bool // the stream was started
	mediaOff bool // the stream was closed
	rang     bool
	early    bool         // and can be heard
	agreed   call.LegHeld // as it was agreed on last
	holding  call.LegHeld // as the owner knows it

	out      out // the INVITE we sent
	in       in  // the INVITE we received
	ses      session
	acks     map[uint32]*unacked // our 2xx that wait for an ACK, by the CSeq of the INVITE
	lastACK  *pendingACK         // of our last INVITE
	acked    chan struct{}       // closed when our last ACK over TCP was written; nil before the first
	auth     *credentials
	held     []heldRequest
	inviting bool // a re-INVITE or UPDATE of ours is pending
	presses  []press
	refers   *referrals // nil before the first REFER
}

func (e *Endpoint) newLeg() *Leg {
	l := &Leg{
		e: e, log: e.log,
		events: make(chan call.LegEvent, maxEvents), gone: make(chan struct{}),
		timers: make(map[string]clock.Timer), acks: make(map[uint32]*unacked),
	}
	l.mail = newMailbox(l.run)
	return l
}

func (l *Leg) key() dialogKey { return dialogKey{l.d.callID, l.d.localTag} }

func (l *Leg) isOver() bool {
	select {
	case <-l.gone:
		return true
	default:
		return false
	}
}

// Dialog is the dialog as it stands, for the store. It is complete before Invite; later responses add the
// peer's half, and another attempt (authentication, redirect) changes CSeq and branch.
func (l *Leg) Dialog() *call.Dialog {
	d := *l.dialog.Load()
	d.RouteSet = slices.Clone(d.RouteSet)
	return &d
}

// Events tells what happens to the leg; closed after LegEnded. Digits are dropped when nobody listens, the
// other events never.
func (l *Leg) Events() <-chan call.LegEvent { return l.events }

// Invite sends the INVITE of an outbound leg. A second call does nothing.
func (l *Leg) Invite() {
	l.mail.post(func() {
		if l.state == built {
			l.invite()
		}
	}, 0)
}

// Ring says 180 to an inbound leg's caller.
func (l *Leg) Ring() { l.mail.post(l.ring, 0) }

// Progress lets the caller of an inbound leg hear what is played, before he is answered: 183 with SDP; media
// starts. It fails when the leg is over.
func (l *Leg) Progress() error { return l.inLeg(l.progress) }

// Answer accepts an inbound leg: 200 with SDP; media starts. It fails when the leg is over.
func (l *Leg) Answer() error {
	return l.inLeg(l.answer)
}

// inLeg runs f in the leg and returns what it returned, ErrOver when the leg ended first.
func (l *Leg) inLeg(f func() error) error {
	reply := make(chan error, 1)
	if !l.mail.post(func() { reply <- f() }, 0) {
		return ErrOver
	}
	select {
	case err := <-reply:
		return err
	case <-l.gone:
		select {
		case err := <-reply:
			return err
		default:
			return ErrOver
		}
	}
}

// Reject refuses an inbound leg that was not answered with a final code of 300 to 699.
func (l *Leg) Reject(code int, reason string) {
	l.mail.post(func() {
		if l.state == incoming {
			l.refuse(code, reason, call.Cause{SIPCode: code, Reason: reason, Local: true})
		}
	}, 0)
}

// Hangup ends the leg as its state demands: CANCEL, BYE or a final response. It is idempotent; LegEnded
// follows, at the latest when the peer had 64*T1 (32 s) to answer.
func (l *Leg) Hangup() {
	l.mail.post(func() { l.end(call.Cause{Reason: "hung up", Local: true}) }, 0)
}

// drop ends the leg without a word to the peer, for a shutdown that ran out of time.
func (l *Leg) drop() {
	l.mail.post(func() { l.finish(call.Cause{SIPCode: 503, Reason: "shut down", Local: true}, false) }, 0)
}

// Play queues a clip; the channel closes when it was played or flushed.
func (l *Leg) Play(c *audio.Clip) <-chan struct{} { return l.media.Play(c) }

// PlayDigits queues keys (0-9 A-D * #, w and W pause) as telephone-events or tones.
func (l *Leg) PlayDigits(digits string) <-chan struct{} { return l.media.PlayDigits(digits) }

// Loop queues a clip again and again, until Flush.
func (l *Leg) Loop(c *audio.Clip) { l.media.Loop(c) }

// Hear lets this party hear what the other one says, nil ends that; what plays is heard instead. It ends by
// itself when either leg does.
func (l *Leg) Hear(other *Leg) {
	if other == nil {
		l.media.Hear(nil)
		return
	}
	l.media.Hear(other.media)
}

// Tap gives t what the party says and hears, until untap.
func (l *Leg) Tap(t audio.Tap) (untap func()) { return l.media.Tap(t) }

// Flush drops what plays and what is queued.
func (l *Leg) Flush() { l.media.Flush() }

// Mute makes what the party says silence for everybody.
func (l *Leg) Mute(on bool) { l.media.Mute(on) }

// PutAside keeps the party on hold with music, nil for silence, without a word to its phone, until TakeBack.
func (l *Leg) PutAside(music *audio.Clip) { l.media.PutAside(music) }

// TakeBack ends PutAside.
func (l *Leg) TakeBack() { l.media.TakeBack() }

// sink takes the media's calls, from a media worker.
type sink struct{ l *Leg }

// Digit takes no more of the mailbox than a quarter, so that a flood of keys leaves room for signalling.
func (s sink) Digit(key byte) { s.l.mail.post(func() { s.l.press(key, byRTP) }, maxInbox/4) }

func (s sink) Timeout() {
	s.l.mail.post(func() {
		if s.l.state != accepted && s.l.state != confirmed {
			return // a phone that rings may be silent
		}
		s.l.end(call.Cause{SIPCode: 200, Reason: "rtp timeout", Code: 32014, Local: true})
	}, 0)
}

// run does what is in the mailbox. One at a time is at work, and only it changes the leg.
func (l *Leg) run() {
	batch, last := l.mail.take(nil)
	for ; len(batch) > 0; batch, last = l.mail.take(batch) {
		for i, it := range batch {
			batch[i] = item{}
			if l.state != over || it.request {
				l.guard(it.do)
			}
		}
	}
	if last {
		l.e.work.Done()
	}
}

// guard runs f; a panic ends this leg and nothing else.
func (l *Leg) guard(f func()) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		l.logger().Error("sip: panic in a leg, the call is ended", "panic", p, "state", l.state, "stack", string(debug.Stack()))
		defer func() {
			if recover() != nil || l.state != over { // even hanging up failed
				l.finish(call.Cause{SIPCode: 500, Reason: "internal error", Local: true}, false)
			}
		}()
		l.cause = call.Cause{SIPCode: 500, Reason: "internal error", Local: true}
		l.farewell()
		l.finish(l.cause, false)
	}()
	f()
}

// move changes the state; an illegal move is a bug of ours and ends the leg through guard.
func (l *Leg) move(next state) {
	if !slices.Contains(transitions[l.state], next) {
		panic("sip: " + l.state.String() + " to " + next.String() + " is not a legal move")
	}
	l.e.states[l.state].Add(-1)
	l.state = next
	l.e.states[l.state].Add(1)
}

// end hangs up with a cause, by whatever means the state has.
func (l *Leg) end(cause call.Cause) {
	if l.hangup || l.state == ending || l.state == over {
		return
	}
	l.cause = cause
	switch l.state {
	case built:
		l.finish(call.Cause{SIPCode: 487, Reason: "hung up before dialling", Local: true}, false)
	case calling: // RFC 3261 section 9.1: no CANCEL before a provisional response
		l.hangup = true
		l.closeMedia()
	case proceeding:
		l.hangup = true
		l.closeMedia()
		l.cancel()
	case incoming:
		l.refuse(480, "Temporarily Unavailable", cause)
	case accepted: // RFC 3261 section 15: no BYE before the ACK
		l.hangup = true
		l.closeMedia()
	case confirmed:
		if l.cause.SIPCode == 0 {
			l.cause.SIPCode = 200
		}
		l.bye()
	case canceling, ending, over:
	}
}

// farewell is one message to the peer that the call is over, with nobody waiting for the outcome.
func (l *Leg) farewell() {
	switch l.state {
	case proceeding:
		l.send(l.cancelRequest(), func(*sip.Response, error) {})
	case incoming:
		l.decline(500, "Server Internal Error")
	case accepted, confirmed:
		l.releaseACK()
		bye := l.request(sip.BYE)
		bye.SetBody(nil)
		l.send(bye, func(*sip.Response, error) {})
	default: // nobody to tell
	}
}

// finish is the one way a leg gets over. It releases everything and tells the owner.
func (l *Leg) finish(cause call.Cause, canceled bool) {
	if l.state == over {
		return
	}
	l.e.states[l.state].Add(-1)
	l.state = over
	l.mail.close()
	for _, t := range l.timers {
		t.Stop()
	}
	l.closeMedia()
	l.unhold(true)
	l.refuseReferrals()
	l.release()
	l.e.remove(l)
	l.emit(call.LegEnded{Cause: cause, Canceled: canceled})
	close(l.events)
	close(l.gone)
}

// release ends the INVITE's transactions: the client's after a while, the server's at once when the call was
// answered and acknowledged. It is there to absorb retransmissions, which the registry does as well for
// 64*T1 and in a tenth of the memory.
func (l *Leg) release() {
	if tx := l.tx.Load(); tx != nil {
		l.e.cfg.Clock.AfterFunc(linger, tx.end)
	}
	if l.in.tx != nil && l.in.answered && len(l.acks) == 0 {
		l.in.tx.Terminate()
	}
}

func (l *Leg) closeMedia() {
	if !l.mediaOff {
		l.mediaOff = true
		l.media.Close()
	}
}

func (l *Leg) startMedia() {
	if !l.mediaUp && !l.mediaOff {
		l.mediaUp = true
		l.media.Start()
	}
}

// emit never blocks: digit leaves room for the four state events a leg can have.
func (l *Leg) emit(ev call.LegEvent) { l.events <- ev }

func (l *Leg) digit(key byte) {
	if l.hasRoom() {
		l.emit(call.LegDigit{Key: key})
	}
}

// hasRoom reports whether the owner takes an event that may come any number of times.
func (l *Leg) hasRoom() bool { return len(l.events) < cap(l.events)-4 }

// tellHold tells the owner when the party put us on hold, or took us back.
func (l *Leg) tellHold() {
	now := call.LegHeld{}
	now.On, now.Sends = l.media.Hold()
	if !now.On {
		now.Sends = false // it is no news that it speaks
	}
	if now == l.agreed || l.state != accepted && l.state != confirmed || !l.hasRoom() {
		return
	}
	l.agreed = now
	l.hold(now)
	l.cancelTimer("hold")
	if now.Sends {
		l.listen(l.media.Received())
	}
}

// holdSilence is how long a party that holds may send nothing before that counts as no music of its own.
const holdSilence = time.Second

// listen tells the owner whether a party that holds, and said that it would send, does: received is how much had come.
func (l *Leg) listen(received uint64) {
	l.after("hold", holdSilence, func() {
		n := l.media.Received()
		l.hold(call.LegHeld{On: true, Sends: n > received})
		l.listen(n)
	})
}

func (l *Leg) hold(now call.LegHeld) {
	if now != l.holding && l.hasRoom() {
		l.holding = now
		l.emit(now)
	}
}

// after runs f in the leg once d has passed; a second timer of the same name replaces the first.
func (l *Leg) after(name string, d time.Duration, f func()) {
	l.cancelTimer(name)
	var t clock.Timer
	t = l.e.cfg.Clock.AfterFunc(d, func() {
		l.mail.post(func() {
			if l.timers[name] == t { // not replaced while this waited in the mailbox
				delete(l.timers, name)
				f()
			}
		}, 0)
	})
	l.timers[name] = t
}

func (l *Leg) cancelTimer(name string) {
	if t := l.timers[name]; t != nil {
		t.Stop()
		delete(l.timers, name)
	}
}

// publish makes the dialog's state visible to Dialog.
func (l *Leg) publish() {
	branch := ""
	if !l.uas {
		branch = l.out.branch
	}
	s := l.d.snapshot(l.hop, branch, l.uas)
	if l.out.req != nil && !l.out.answered {
		s.CSeq = l.out.req.CSeq().SeqNo // a CANCEL needs the INVITE's; PRACKs have raised the dialog's
	}
	if l.uas && !l.in.answered {
		s.Source, s.PeerCSeq = l.in.req.Source(), l.in.req.CSeq().SeqNo
		for _, via := range l.in.req.GetHeaders("Via") {
			s.Vias = append(s.Vias, via.Value())
		}
	}
	l.dialog.Store(s)
	if a := l.hop.addr.Addr(); l.peer.IsValid() && a != l.peer {
		l.e.moved(l.peer, a)
		l.peer = a
	}
}

// failureCause maps the error of a client transaction (RFC 3261 section 8.1.3.1).
func failureCause(err error) call.Cause {
	if errors.Is(err, sip.ErrTransactionTimeout) {
		return call.Cause{SIPCode: 408, Reason: "request timeout"}
	}
	return call.Cause{SIPCode: 503, Reason: "transport error: " + plainly(err)}
}

// plainly is an error of a socket or of sipgo's in few words, for the call's owner; sipgo's own text has addresses
// and the layers it passed.
func plainly(err error) string {
	var errno syscall.Errno
	var timeout interface{ Timeout() bool }
	var cert *tls.CertificateVerificationError
	switch {
	case errors.Is(err, errNoTLS):
		return err.Error()
	case errors.As(err, &cert):
		return cert.Error()
	case errors.As(err, &errno):
		return errno.Error()
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "timed out"
	case errors.Is(err, net.ErrClosed), errors.Is(err, sip.ErrTransactionTransport), errors.Is(err, sip.ErrTransactionTerminated):
		return "connection lost"
	}
	return "request not sent"
}
