package sip

import (
	"net/netip"
	"runtime/debug"
	"strings"

	"github.com/emiago/sipgo/sip"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/clock"
)

// methodCancel is what mark makes of CANCEL. sipgo answers a CANCEL by itself, with a 487 whose tag is not
// the leg's and before the leg could have committed a 2xx; under another name the request comes to us as
// any other does. Its CSeq still says CANCEL, so the wire sees nothing of it.
const methodCancel sip.RequestMethod = "CANCEL (offhook)"

// freshTag marks a request that came without a To tag and was given one by mark. The parser cannot make
// one, and responses do not copy it.
type freshTag struct{ sip.Header }

// mark runs in the reader's goroutine, before the transaction layer sees the message: the only place where
// a request can still be changed without a race.
func (e *Endpoint) mark(m sip.Message) {
	req, ok := m.(*sip.Request)
	if !ok {
		e.markResponse(m.(*sip.Response))
		return
	}
	count(&e.traffic.requestsIn, req.Method)
	if via := req.Via(); via != nil {
		tidy(&via.Params)
	}
	if from := req.From(); from != nil {
		tidy(&from.Params)
	}
	if to := req.To(); to != nil {
		tidy(&to.Params)
	}
	if req.Method == sip.CANCEL {
		req.Method = methodCancel
	}
	if from, via := req.From(), req.Via(); from != nil && via != nil && tagOf(from.Params) == "" {
		if branch, _ := via.Params.Get("branch"); !strings.HasPrefix(branch, sip.RFC3261BranchMagicCookie) {
			from.Params.Add("tag", "") // of RFC 2543: the transaction's key needs one; responses are written without
		}
	}
	if to := req.To(); to != nil && tagOf(to.Params) == "" {
		// Every response, sipgo's own 100 and 487 too, now carries the same tag (RFC 3261 section 8.2.6.2).
		to.Params.Add("tag", newTag())
		req.AppendHeader(freshTag{sip.NewHeader("To-Tag", "fresh")})
		return
	}
	if req.Method == sip.ACK && validate(req) == nil {
		// Taken here, so that it is in the mailbox before whatever the peer sends next. It has no use for the
		// transaction sipgo makes of it.
		if l, _ := e.lookup(dialogKey{string(*req.CallID()), tagOf(req.To().Params)}); l != nil {
			l.mail.post(func() { l.onACK(req) }, maxInbox)
		}
	}
}

// tidy takes the white space off parameters that may stand around '=' and ';' (RFC 3261 section 25.1): sipgo
// leaves it in, and then finds neither tag nor branch. The names of those two are put in small letters.
func tidy(params *sip.HeaderParams) {
	for i := range *params {
		p := &(*params)[i]
		p.K, p.V = strings.TrimSpace(p.K), strings.TrimSpace(p.V)
		for _, name := range [...]string{"tag", "branch", "rport"} {
			if strings.EqualFold(p.K, name) {
				p.K = name
			}
		}
	}
	params.Remove("")
}

// markResponse hands a provisional response to an INVITE to its leg in the order of arrival. The transaction
// layer starts a goroutine for each message, and of a 180 with a 200 right behind it the 200 mostly runs first.
func (e *Endpoint) markResponse(res *sip.Response) {
	countClass(&e.traffic.responsesIn, res.StatusCode)
	if res.StatusCode <= 100 || res.StatusCode >= 200 || !validResponse(res) || res.CSeq().MethodName != sip.INVITE {
		return
	}
	if l, _ := e.lookup(dialogKey{string(*res.CallID()), tagOf(res.From().Params)}); l != nil && !l.uas {
		l.mail.post(func() { l.onEarly(res) }, maxInbox)
	}
}

func isFresh(req *sip.Request) bool {
	hs := req.Headers()
	for i := len(hs) - 1; i >= 0; i-- {
		if _, ok := hs[i].(freshTag); ok {
			return true
		}
	}
	return false
}

// respond builds a response to req and sends it. Errors are the transaction's: the peer asks again.
func (e *Endpoint) respond(req *sip.Request, tx *sip.ServerTx, code int, reason string, headers ...sip.Header) {
	_ = tx.Respond(e.response(req, code, reason, headers...))
}

// dismiss responds and keeps nothing: a copy of the request gets the same answer (RFC 3261 section 8.2.7). sipgo
// would hold on to the transaction for 32 s.
func (e *Endpoint) dismiss(req *sip.Request, tx *sip.ServerTx, code int, reason string, headers ...sip.Header) {
	_ = tx.Connection().WriteMsg(e.response(req, code, reason, headers...)) // the peer asks again
	tx.Terminate()
}

func (e *Endpoint) response(req *sip.Request, code int, reason string, headers ...sip.Header) *sip.Response {
	countClass(&e.traffic.responsesOut, code)
	res := sip.NewResponseFromRequest(req, code, reason, nil)
	res.SipVersion = "SIP/2.0"
	if from := res.From(); from != nil && tagOf(from.Params) == "" {
		from.Params.Remove("tag")
	}
	// sipgo fills received in only when rport was asked for (RFC 3261 section 18.2.1, RFC 3581 section 4).
	if via := res.Via(); via != nil {
		if src, err := netip.ParseAddrPort(req.Source()); err == nil && strings.Trim(via.Host, "[]") != src.Addr().String() {
			via.Params.Add("received", src.Addr().String())
		}
	}
	res.AppendHeader(sip.NewHeader("Server", e.cfg.UserAgent))
	for _, h := range headers {
		res.AppendHeader(h)
	}
	return res
}

// onRequest is called by the transaction layer, in a goroutine of the request's own.
func (e *Endpoint) onRequest(req *sip.Request, tx *sip.ServerTx) {
	defer func() {
		if p := recover(); p != nil {
			e.log.Error("sip: panic while receiving", "panic", p, "method", string(req.Method), "stack", string(debug.Stack()))
			e.respond(req, tx, 500, "Server Internal Error")
		}
	}()
	if req.Method == sip.ACK {
		tx.Terminate() // mark took it; without a response sipgo would keep the transaction for ever
		return
	}
	e.transactions.Add(1)
	if !tx.OnTerminate(func(string, error) { e.transactions.Add(-1) }) {
		e.transactions.Add(-1)
	}
	if f := validate(req); f != nil {
		e.drops.malformed.Add(1)
		e.dismiss(req, tx, f.code, f.reason, f.headers...)
		return
	}
	switch {
	case req.Method == methodCancel:
		e.onCancel(req, tx)
	case !isFresh(req):
		e.onInDialog(req, tx)
	case req.Method == sip.INVITE:
		e.onInvite(req, tx)
	case req.Method == sip.REGISTER && e.cfg.Locations != nil:
		e.onRegister(req, tx)
	case req.Method == sip.OPTIONS:
		if _, _, ok := e.authorized(req); !ok {
			tx.Terminate()
			return
		}
		e.dismiss(req, tx, 200, "OK", capabilities()...)
	case req.Method == sip.BYE, req.Method == sip.INFO, req.Method == sip.UPDATE, req.Method == sip.PRACK:
		e.dismiss(req, tx, 481, "Call/Transaction Does Not Exist")
	default:
		e.dismiss(req, tx, 405, "Method Not Allowed", sip.NewHeader("Allow", allowed))
	}
}

func capabilities() []sip.Header {
	return []sip.Header{
		sip.NewHeader("Allow", allowed),
		sip.NewHeader("Accept", "application/sdp, application/dtmf-relay"),
		sip.NewHeader("Supported", strings.Join(supported, ", ")),
	}
}

// authorized reports whether a request outside a dialog may be answered: its source is a trunk (returned),
// loopback in dev mode, or it is one of our own calls come back. A UDP datagram of anybody else was dropped
// by admit already; this is for TCP connections of a call's peer, which say something new.
func (e *Endpoint) authorized(req *sip.Request) (t *call.Trunk, hairpin, ok bool) {
	e.mu.Lock()
	hairpin = e.hairpins[inviteKey{string(*req.CallID()), tagOf(req.From().Params)}]
	e.mu.Unlock()
	if hairpin {
		return nil, true, true
	}
	src, err := netip.ParseAddrPort(req.Source())
	if err != nil {
		return nil, false, false
	}
	a := src.Addr().Unmap().WithZone("")
	if t = e.trunkOf(a); t != nil {
		return t, false, true
	}
	return nil, false, e.cfg.Dev && a.IsLoopback()
}

// cancelWaits is how often a CANCEL is looked at again, every reorderWait, before it is believed to name an
// INVITE that we never got: it may have come right behind it, or have overtaken it.
const cancelWaits = 10

// onCancel finds the INVITE a CANCEL belongs to (RFC 3261 section 9.2).
func (e *Endpoint) onCancel(req *sip.Request, tx *sip.ServerTx) {
	key := inviteKey{string(*req.CallID()), tagOf(req.From().Params)}
	rec, ok := e.record(key)
	for waits := 0; (!ok || rec.opening) && waits < cancelWaits; waits++ {
		if clock.Sleep(e.ctx, e.cfg.Clock, reorderWait) != nil {
			tx.Terminate()
			return
		}
		rec, ok = e.record(key)
	}
	branch, _ := req.Via().Params.Get("branch")
	switch {
	case !ok || rec.branch != branch:
		e.respond(req, tx, 481, "Call/Transaction Does Not Exist")
	case rec.leg != nil && rec.leg.mail.postRequest(func() { rec.leg.onCancel(req, tx) }):
		return // the leg answers and ends the transaction
	case rec.opening, rec.leg != nil && !rec.leg.isOver(): // its mailbox is full: the peer sends it again
	default:
		e.respond(req, tx, 200, "OK") // too late, RFC 3261 section 9.2
	}
	tx.Terminate()
}

// onInDialog hands a request with a To tag to its leg.
func (e *Endpoint) onInDialog(req *sip.Request, tx *sip.ServerTx) {
	l, justEnded := e.lookup(dialogKey{string(*req.CallID()), tagOf(req.To().Params)})
	switch {
	case l != nil && l.mail.postRequest(func() { l.onRequest(req, tx) }):
	case l != nil && !l.isOver():
		// The mailbox is full: say nothing, the peer sends it again.
		tx.Terminate()
	case (l != nil || justEnded) && req.Method == sip.BYE:
		e.respond(req, tx, 200, "OK") // both sides hung up, or our 200 was lost
	default:
		e.respond(req, tx, 481, "Call/Transaction Does Not Exist")
	}
}

// onStrayResponse gets responses that match no transaction: a 2xx after its transaction's end, or the
// answer to an INVITE of an earlier process.
func (e *Endpoint) onStrayResponse(res *sip.Response) {
	if !validResponse(res) || res.StatusCode < 200 || res.CSeq().MethodName != sip.INVITE {
		return
	}
	key := dialogKey{string(*res.CallID()), tagOf(res.From().Params)}
	e.mu.Lock()
	l, o, orphaned := e.legs[key], e.orphans[key], false
	if _, orphaned = e.orphans[key]; orphaned && !e.closing {
		e.work.Add(1)
	}
	closing := e.closing
	e.mu.Unlock()
	switch {
	case closing:
	case orphaned:
		defer e.work.Done()
		o.bury(e, res)
	case l != nil && res.IsSuccess():
		l.mail.post(func() { l.onLate2xx(res) }, maxInbox)
	}
}
