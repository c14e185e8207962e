package sip

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/offhook/offhook/internal/call"
)

// reorderWait is how long a request waits for the one before it. sipgo hands every message over in a
// goroutine of its own, so two that came together may overtake each other.
const reorderWait = 20 * time.Millisecond

// maxHeld bounds the requests that wait for an earlier one.
const maxHeld = 8

// heldRequest waits for the request before it.
type heldRequest struct {
	req *sip.Request
	tx  *sip.ServerTx
}

// onRequest takes every request inside the dialog but ACK, in the order of CSeq. It must answer each.
func (l *Leg) onRequest(req *sip.Request, tx *sip.ServerTx) {
	cseq := req.CSeq().SeqNo
	switch {
	case l.state == over && req.Method == sip.BYE:
		l.e.respond(req, tx, 200, "OK")
	case l.state == over, tagOf(req.From().Params) != l.d.remoteTag && (l.uas || l.out.answered): // before the answer any fork may ask
		l.e.respond(req, tx, 481, "Call/Transaction Does Not Exist")
	case l.d.remoteSeen && cseq > l.d.remoteCSeq+1 && len(l.held) < maxHeld:
		l.held = append(l.held, heldRequest{req, tx})
		slices.SortFunc(l.held, func(a, b heldRequest) int { return cmp.Compare(a.req.CSeq().SeqNo, b.req.CSeq().SeqNo) })
		l.after("reorder", reorderWait, func() { l.unhold(true) })
	default:
		l.handle(req, tx)
		l.unhold(false)
	}
}

// unhold treats the requests whose turn has come; all of them when the gap is believed.
func (l *Leg) unhold(all bool) {
	for len(l.held) > 0 && (all || l.state == over || l.held[0].req.CSeq().SeqNo <= l.d.remoteCSeq+1) {
		h := l.held[0]
		l.held = l.held[1:]
		if l.state == over {
			l.onRequest(h.req, h.tx)
		} else {
			l.handle(h.req, h.tx)
		}
	}
	if len(l.held) == 0 {
		l.cancelTimer("reorder")
	}
}

// handle answers one request of the dialog.
func (l *Leg) handle(req *sip.Request, tx *sip.ServerTx) {
	cseq := req.CSeq().SeqNo
	if l.d.remoteSeen && cseq < l.d.remoteCSeq && req.Method != sip.BYE { // RFC 3261 section 12.2.2; a late BYE still ends the call
		l.e.respond(req, tx, 500, "Out Of Order")
		return
	}
	if l.d.remoteSeen && cseq == l.d.remoteCSeq { // by another path: sipgo absorbs plain retransmissions
		l.e.respond(req, tx, 482, "Loop Detected")
		return
	}
	l.d.remoteCSeq, l.d.remoteSeen = max(cseq, l.d.remoteCSeq), true
	switch req.Method {
	case sip.BYE:
		l.onBye(req, tx)
	case sip.INVITE:
		l.onReinvite(req, tx)
	case sip.UPDATE:
		l.onUpdate(req, tx)
	case sip.PRACK:
		l.onPrack(req, tx)
	case sip.INFO:
		l.onInfo(req, tx)
	case sip.REFER:
		l.onRefer(req, tx)
	case sip.NOTIFY:
		l.onNotify(req, tx)
	case sip.OPTIONS:
		l.e.respond(req, tx, 200, "OK", capabilities()...)
	default:
		l.e.respond(req, tx, 405, "Method Not Allowed", sip.NewHeader("Allow", allowed))
	}
}

// onBye ends the call, ACK or not.
func (l *Leg) onBye(req *sip.Request, tx *sip.ServerTx) {
	if !l.uas && !l.out.answered { // RFC 3261 section 15: the callee may not
		l.e.respond(req, tx, 481, "Call/Transaction Does Not Exist")
		return
	}
	l.e.respond(req, tx, 200, "OK")
	tx.Terminate() // the registry answers the BYE should it come again
	cause := call.Cause{SIPCode: 200, Reason: "peer hung up", Q850: q850Of(req)}
	switch {
	case l.state == incoming: // the caller may, in an early dialog
		l.decline(487, "Request Terminated")
		cause.SIPCode = 487
		l.finish(cause, true)
	case l.hangup: // both at once: our own cause stands
		l.finish(l.cause, false)
	default:
		l.finish(cause, false)
	}
}

// retarget takes a new Contact of a target refresh request (RFC 3261 section 12.2.2).
func (l *Leg) retarget(req *sip.Request) {
	if c := req.Contact(); c != nil && isSIP(&c.Address) {
		l.d.target = *c.Address.Clone()
		l.d.target.Headers = nil
		l.aim(req)
		l.publish()
	}
}

// onReinvite answers a re-INVITE at once: hold, unhold, a new target, or a session refresh.
func (l *Leg) onReinvite(req *sip.Request, tx *sip.ServerTx) {
	switch {
	case l.state == incoming: // RFC 3261 section 14.2: the first INVITE is still open
		l.e.respond(req, tx, 500, "Server Internal Error", retryAfter())
		return
	case l.inviting || l.awaitsAnswer():
		l.e.respond(req, tx, 491, "Request Pending")
		return
	case l.state != accepted && l.state != confirmed:
		l.e.respond(req, tx, 481, "Call/Transaction Does Not Exist")
		return
	case len(l.acks) >= maxUnacked: // each 2xx is sent eleven times
		l.e.respond(req, tx, 500, "Server Internal Error", retryAfter())
		return
	}
	if h := tooSmall(req); h != nil {
		l.e.respond(req, tx, 422, "Session Interval Too Small", h)
		return
	}
	var sdp []byte
	offer, has := sdpOf(req)
	switch {
	case l.mediaOff: // hanging up
		l.e.respond(req, tx, 487, "Request Terminated")
		return
	case has:
		var err error
		if sdp, err = l.media.Answer(offer); err != nil {
			code := sdpCode(err)
			l.e.respond(req, tx, code, reasonPhrase(code), warning(err)) // the session stays as it was
			return
		}
	default:
		sdp = l.media.Offer()
	}
	l.retarget(req)
	res := l.inDialogReply(req)
	l.ses.accept(l, req, res)
	setSDP(res, sdp)
	_ = tx.Respond(res)
	l.tellHold()
	l.await(req.CSeq().SeqNo, res, through(tx), !has)
}

// maxUnacked bounds the answered INVITEs of a dialog whose ACK has not come.
const maxUnacked = 4

// inDialogReply is a 200 with what a dialog's 2xx carries.
func (l *Leg) inDialogReply(req *sip.Request) *sip.Response {
	return l.e.response(req, 200, "OK", l.contact(), sip.NewHeader("Allow", allowed),
		sip.NewHeader("Supported", strings.Join(supported, ", ")))
}

// awaitsAnswer reports whether an offer of ours waits for its answer in an ACK.
func (l *Leg) awaitsAnswer() bool {
	for _, u := range l.acks {
		if u.late {
			return true
		}
	}
	return false
}

// onUpdate is a re-INVITE without the three-way handshake (RFC 3311).
func (l *Leg) onUpdate(req *sip.Request, tx *sip.ServerTx) {
	if h := tooSmall(req); h != nil {
		l.e.respond(req, tx, 422, "Session Interval Too Small", h)
		return
	}
	offer, has := sdpOf(req)
	switch {
	case has && (l.inviting || l.awaitsAnswer()):
		l.e.respond(req, tx, 491, "Request Pending")
		return
	case has && l.state != accepted && l.state != confirmed && !(l.uas && l.in.settled): // RFC 3311 section 5.2: the first exchange is open
		l.e.respond(req, tx, 500, "Server Internal Error", retryAfter())
		return
	case has && l.mediaOff:
		l.e.respond(req, tx, 487, "Request Terminated")
		return
	}
	var sdp []byte
	if has {
		var err error
		if sdp, err = l.media.Answer(offer); err != nil {
			code := sdpCode(err)
			l.e.respond(req, tx, code, reasonPhrase(code), warning(err))
			return
		}
	}
	if l.uas || l.out.answered { // an early fork's contact is not the dialog's yet
		l.retarget(req)
	}
	res := l.inDialogReply(req)
	if l.state == accepted || l.state == confirmed {
		l.ses.accept(l, req, res)
	}
	if sdp != nil {
		setSDP(res, sdp)
	}
	_ = tx.Respond(res)
	l.tellHold()
}

// onPrack takes the acknowledgement of our reliable provisional response (RFC 3262).
func (l *Leg) onPrack(req *sip.Request, tx *sip.ServerTx) {
	r, ok := parseRAck(headerValue(req, "RAck", ""))
	if !ok || !l.uas || l.in.waiting == nil || r.rseq != l.in.rseq || r.cseq != l.in.req.CSeq().SeqNo || r.method != string(sip.INVITE) {
		l.e.respond(req, tx, 481, "Call/Transaction Does Not Exist")
		return
	}
	if l.in.offered {
		sdp, has := sdpOf(req)
		if !has || l.media.Accept(sdp) != nil {
			l.e.respond(req, tx, 488, "Not Acceptable Here")
			l.refuse(488, "Not Acceptable Here", call.Cause{SIPCode: 488, Reason: "answer not acceptable", Local: true})
			return
		}
		l.in.settled = true
	}
	l.in.settled = l.in.settled || l.in.progressed
	l.in.waiting = nil
	l.cancelTimer("prack")
	l.e.respond(req, tx, 200, "OK")
	if l.in.early && !l.in.progressed && l.state == incoming {
		l.sendProgress()
		if l.in.pending {
			return // the answer waits for this PRACK
		}
	}
	if l.in.pending {
		l.in.pending = false
		_ = l.answer()
	}
}

// acknowledge sends PRACK for a reliable provisional response; false when it was acknowledged before or
// comes out of order (RFC 3262 section 4).
func (l *Leg) acknowledge(res *sip.Response, tag string) bool {
	n, err := strconv.ParseUint(headerValue(res, "RSeq", ""), 10, 32)
	if err != nil {
		return false
	}
	rseq := uint32(n)
	if last, seen := l.out.prack[tag]; seen && rseq != last+1 || len(l.out.prack) >= maxForks && !seen {
		return false
	}
	l.out.prack[tag] = rseq
	d := l.d // of this fork's early dialog
	d.establish(res)
	l.d.cseq++
	next := d.nextURI()
	h, ok := uriHop(&next, l.hop.transport)
	if !ok || l.hop.transport == "TLS" { // its connection
		h = l.hop
	}
	req := l.e.request(&d, sip.PRACK, l.d.cseq, newBranch(), h)
	req.AppendHeader(sip.NewHeader("RAck", strconv.FormatUint(n, 10)+" "+strconv.FormatUint(uint64(l.out.req.CSeq().SeqNo), 10)+" INVITE"))
	req.SetBody(nil)
	l.send(req, func(*sip.Response, error) {})
	return true
}

// maxForks bounds the early dialogs of one INVITE we keep count of, and the answers of forks we hang up.
const maxForks = 32

// onInfo takes keys sent by signalling; other INFO is accepted and ignored (RFC 6086 section 3).
func (l *Leg) onInfo(req *sip.Request, tx *sip.ServerTx) {
	l.e.respond(req, tx, 200, "OK")
	if ct := req.ContentType(); ct != nil {
		if key, ok := dtmfInfo(string(*ct), req.Body()); ok {
			l.press(key, byINFO)
		}
	}
}
