package sip

import (
	"errors"
	"net/netip"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/offhook/offhook/internal/call"
)

// in is the INVITE an inbound leg came with.
type in struct {
	req        *sip.Request
	tx         *sip.ServerTx
	sdp        []byte // our answer, ready; nil for a late offer
	late       bool   // the INVITE had no SDP: we offer, the answer comes in the ACK or PRACK
	offered    bool   // our offer went out in a reliable provisional response
	settled    bool   // offer and answer were exchanged reliably before the 2xx
	reliable   bool   // provisional responses must be reliable (RFC 3262)
	rseq       uint32
	waiting    *unacked // a reliable provisional response without its PRACK
	pending    bool     // answer was asked for and waits for the PRACK
	ringing    bool
	early      bool // the caller is to hear us before he is answered
	progressed bool // and was told so
	answered   bool
}

// unacked is a response of ours that is sent again until the peer acknowledges it.
type unacked struct {
	interval time.Duration
	started  time.Time
	late     bool // the ACK carries the answer
}

// onInvite makes a leg of an INVITE outside of a dialog, or refuses it before there is one.
func (e *Endpoint) onInvite(req *sip.Request, tx *sip.ServerTx) {
	src, err := parseAddrPort(req.Source())
	if err != nil {
		tx.Terminate()
		return
	}
	trunk, hairpin, ok := e.authorized(req)
	var domain *call.Domain
	var user string
	if !hairpin {
		domain = e.domains.named(req.Recipient.Host)
	}
	if domain != nil {
		var f *fault
		if user, f = e.admitCaller(domain, req, src.Addr()); f != nil {
			e.dismiss(req, tx, f.code, f.reason, f.headers...)
			return
		}
		trunk = e.domains.trunk(domain)
	} else if !ok {
		tx.Terminate()
		return
	} else if trunk != nil {
		trunk = e.carrier(req, trunk, src.Addr())
	}
	key := inviteKey{string(*req.CallID()), tagOf(req.From().Params)}
	branch, _ := req.Via().Params.Get("branch")
	rec := inviteRecord{branch: branch, cseq: req.CSeq().SeqNo}
	if known, ok := e.claim(key, rec); !ok {
		switch {
		case known.cseq != rec.cseq: // a second call under the first one's names; as RFC 3261 section 14.2 does inside a dialog
			e.respond(req, tx, 500, "Server Internal Error", retryAfter())
		case known.branch != rec.branch: // RFC 3261 section 8.2.2.2
			e.respond(req, tx, 482, "Loop Detected")
		default:
			tx.Terminate() // a retransmission that outlived its transaction
		}
		return
	}
	var l *Leg
	defer func() {
		if l == nil {
			e.unclaim(key)
		}
	}()
	// Whether the caller must use TLS and SRTP is his domain's or his trunk's rule.
	secure := domain != nil && domain.Secure || domain == nil && trunk != nil && trunk.Secure
	if l = e.open(req, tx, &key, rec, src, hairpin, domain != nil, secure); l == nil {
		return
	}
	defer func() {
		if p := recover(); p != nil {
			l.logger().Error("sip: panic in OnInvite, the call is refused", "panic", p, "stack", string(debug.Stack()))
			l.Reject(500, "Server Internal Error")
		}
	}()
	info := e.describe(req, trunk, hairpin, src)
	info.AuthUser = user
	if domain != nil && trunk == nil {
		info.Domain = domain
		info.To, info.From = recordOf(&req.Recipient), recordOf(&req.From().Address)
	}
	info.Taken = e.entry.taken(e.entry.name(key.callID, key.fromTag, branch))
	e.cfg.OnInvite(l, info)
}

// carrier is the trunk that a call from src came in by; t is one that src is a source of. Where accounts share a
// carrier, its address says no more than that it is one of them. Then it is the trunk that fits the number that is
// called, and for a number of nobody's that of the account that had the address first: nobody gets calls of
// another's carrier by naming its address more exactly.
func (e *Endpoint) carrier(req *sip.Request, t *call.Trunk, src netip.Addr) *call.Trunk {
	all := e.sources.all(src)
	if len(all) < 2 || e.cfg.Fits == nil {
		return t
	}
	best, most := all[0], 0
	for _, t := range all {
		if fit := e.cfg.Fits(t, called(req, t)); fit > most {
			best, most = t, fit
		}
	}
	return best
}

// called is the number or address that a call by trunk t is for; t may be nil.
func called(req *sip.Request, t *call.Trunk) string {
	if t != nil && t.Register != nil {
		if _, _, ours := t.Login(); userOf(&req.Recipient) == ours { // our contact: To says who was called
			return party(&req.To().Address)
		}
	}
	return party(&req.Recipient)
}

// open makes and starts the leg of an INVITE, or refuses the INVITE and returns nil. phone: it may stand behind a
// NAT. secure: it must use TLS and SRTP.
func (e *Endpoint) open(req *sip.Request, tx *sip.ServerTx, key *inviteKey, rec inviteRecord, src netip.AddrPort, hairpin, phone, secure bool) *Leg {
	if e.cfg.OnInvite == nil {
		e.respond(req, tx, 480, "Temporarily Unavailable")
		return nil
	}
	if h := tooSmall(req); h != nil {
		e.respond(req, tx, 422, "Session Interval Too Small", h)
		return nil
	}
	if secure && req.Transport() != "TLS" {
		f := insecure()
		e.respond(req, tx, f.code, f.reason, f.headers...)
		return nil
	}
	if _, ok := replacesOf(req); !ok {
		e.respond(req, tx, 400, "Bad Replaces")
		return nil
	}
	l := e.newLeg()
	l.log = e.log.With("leg", "inbound", "sip_call_id", key.callID)
	l.uas, l.hairpin, l.symmetric, l.state = true, hairpin, phone, incoming
	l.in = in{req: req, tx: tx, reliable: hasOption(listHeader(req, "Require", ""), "100rel")}
	l.hear(req)
	var err error
	if l.media, err = e.cfg.Media.Open(src.Addr(), sink{l}); err != nil {
		l.log.Warn("sip: incoming call refused: no media", "err", err)
		e.respond(req, tx, 503, "Service Unavailable", retryAfter())
		return nil
	}
	if secure {
		l.media.Secure()
	}
	if sdp, ok := sdpOf(req); ok {
		if l.in.sdp, err = l.media.Answer(sdp); err != nil {
			l.media.Close()
			code := sdpCode(err)
			e.respond(req, tx, code, reasonPhrase(code), warning(err))
			return nil
		}
	} else {
		l.in.late = true
	}
	l.hop = hop{src, req.Transport()} // until the Contact is resolved
	l.publish()
	if err := e.add(l, key, rec); err != nil {
		l.media.Close()
		e.respond(req, tx, 503, "Service Unavailable", retryAfter())
		return nil
	}
	e.work.Add(1) // Close waits for the leg that was added
	l.aim(req)
	l.publish()
	go l.run()
	return l
}

// insecure is the refusal of a call to a secure trunk.
func insecure() *fault {
	return &fault{488, "Not Acceptable Here", []sip.Header{sip.NewHeader("Warning", `399 offhook "only over TLS and with SRTP"`)}}
}

// hear takes the dialog from the INVITE that opens it (RFC 3261 section 12.1.1).
func (l *Leg) hear(req *sip.Request) {
	from, to := req.From(), req.To()
	target := &from.Address // RFC 2543 asked for no Contact
	if c := req.Contact(); c != nil {
		target = &c.Address
	}
	l.d = dialog{
		callID: string(*req.CallID()), localTag: tagOf(to.Params), remoteTag: tagOf(from.Params),
		local: *to.Address.Clone(), remote: *from.Address.Clone(), target: *target.Clone(),
		routes: recordRoutes(req), cseq: newCSeq(), remoteCSeq: req.CSeq().SeqNo, remoteSeen: true,
	}
	l.d.target.Headers = nil
}

// describe says who calls whom.
func (e *Endpoint) describe(req *sip.Request, trunk *call.Trunk, hairpin bool, src netip.AddrPort) call.InboundLeg {
	from := req.From()
	info := call.InboundLeg{
		To: called(req, trunk), ToURI: req.Recipient.String(),
		From: party(&from.Address), FromURI: from.Address.String(),
		CallerName: unquote(from.DisplayName), Trunk: trunk, Hairpin: hairpin,
		Source: src.String(), CallID: string(*req.CallID()), Headers: make(map[string]string),
	}
	for _, h := range req.Headers() {
		if _, internal := h.(freshTag); !internal && validXHeader(h.Name()) && len(info.Headers) < 64 {
			info.Headers[h.Name()] = h.Value()
		}
	}
	info.Replaces, _ = replacesOf(req)
	if left := req.MaxForwards(); left != nil {
		info.Hops = max(0, maxForwards-int(left.Val()))
	}
	if trunk == nil && !hairpin {
		return info // what follows is believed of a carrier only
	}
	for _, v := range listHeader(req, "P-Asserted-Identity", "") {
		name, uri, ok := address(v)
		if !ok {
			continue
		}
		if info.CallerName == "" {
			info.CallerName = name
		}
		if p := party(&uri); strings.HasPrefix(p, "+") && !strings.HasPrefix(info.From, "+") && !private(req) {
			info.From = p
		}
	}
	if v := listHeader(req, "Diversion", ""); len(v) > 0 {
		if _, uri, ok := address(v[0]); ok {
			info.ForwardedFrom = party(&uri)
		}
	} else if v := listHeader(req, "History-Info", ""); len(v) > 1 {
		// The last entry is the present target, the one before it who was called (RFC 7044 section 5).
		if _, uri, ok := address(v[len(v)-2]); ok {
			info.ForwardedFrom = party(&uri)
		}
	}
	return info
}

// recordOf is an address without what belongs to one call: parameters, headers, a password and a port.
func recordOf(u *sip.Uri) string {
	r := sip.Uri{Scheme: u.Scheme, User: u.User, Host: strings.ToLower(u.Host)}
	if u.Scheme != "sip" && u.Scheme != "sips" {
		return u.String()
	}
	return r.String()
}

// private reports whether the caller asked not to be named (RFC 3323, RFC 3325).
func private(req *sip.Request) bool {
	for _, h := range req.GetHeaders("Privacy") {
		for _, p := range strings.Split(h.Value(), ";") {
			if p = strings.TrimSpace(p); strings.EqualFold(p, "id") || strings.EqualFold(p, "user") {
				return true
			}
		}
	}
	return false
}

func retryAfter() sip.Header {
	return sip.NewHeader("Retry-After", strconv.Itoa(1+int(jitter(0, 9*time.Second)/time.Second)))
}

func warning(err error) sip.Header {
	return sip.NewHeader("Warning", `399 offhook "`+quote(err.Error())+`"`)
}

// sdpCode is the response to an offer that media refused.
func sdpCode(err error) int {
	var c interface{ SIPCode() int }
	if errors.As(err, &c) && c.SIPCode() >= 400 && c.SIPCode() < 700 {
		return c.SIPCode()
	}
	return 488
}

func reasonPhrase(code int) string {
	switch code {
	case 400:
		return "Bad Request"
	case 415:
		return "Unsupported Media Type"
	default:
		return "Not Acceptable Here"
	}
}

// reply builds a response to the INVITE that opened the dialog.
func (l *Leg) reply(code int, reason string) *sip.Response {
	res := l.e.response(l.in.req, code, reason)
	if code < 300 {
		res.AppendHeader(l.contact())
		res.AppendHeader(sip.NewHeader("Allow", allowed))
		res.AppendHeader(sip.NewHeader("Supported", strings.Join(supported, ", ")))
	}
	return res
}

func (l *Leg) ring() {
	if l.state != incoming || l.in.ringing {
		return
	}
	l.in.ringing = true
	l.provisional(l.reply(180, "Ringing"))
}

// progress lets the caller hear what we play: 183 with our answer to his offer. One who made none hears us when
// he is answered.
func (l *Leg) progress() error {
	switch {
	case l.state == accepted || l.state == confirmed:
		return nil
	case l.state != incoming:
		return ErrOver
	case l.in.early || l.in.late:
		return nil
	}
	l.in.early = true
	if l.in.waiting == nil {
		l.sendProgress()
	} // else with its PRACK, RFC 3262 section 3
	return nil
}

func (l *Leg) sendProgress() {
	res := l.reply(183, "Session Progress")
	setSDP(res, l.in.sdp)
	l.provisional(res)
	l.in.progressed = true
	l.startMedia()
}

// provisional sends a provisional response, again and again until its PRACK comes when it must be reliable.
func (l *Leg) provisional(res *sip.Response) {
	if !l.in.reliable {
		_ = l.in.tx.Respond(res)
		return
	}
	if l.in.late { // the first reliable response carries the offer (RFC 3262 section 5)
		l.in.offered = true
		setSDP(res, l.media.Offer())
	}
	if l.in.rseq++; l.in.rseq == 1 {
		l.in.rseq = newCSeq()
	}
	res.AppendHeader(sip.NewHeader("Require", "100rel"))
	res.AppendHeader(sip.NewHeader("RSeq", strconv.Itoa(int(l.in.rseq))))
	_ = l.in.tx.Respond(res)
	u := &unacked{interval: t1, started: l.e.cfg.Clock.Now()}
	l.in.waiting = u
	l.resend("prack", u, res, through(l.in.tx), func() {
		if l.state == incoming {
			l.refuse(504, "Server Time-out", call.Cause{SIPCode: 504, Reason: "no PRACK", Local: true})
		}
	})
}

// resend repeats a response until its timer is cancelled, and gives up after 64*T1.
func (l *Leg) resend(name string, u *unacked, res *sip.Response, write func(sip.Message) error, giveUp func()) {
	l.after(name, u.interval, func() {
		if l.e.cfg.Clock.Now().Sub(u.started)+u.interval > timer64T1 {
			giveUp()
			return
		}
		_ = write(res)
		u.interval *= 2
		if name != "prack" { // RFC 3262 section 3 has no ceiling, RFC 3261 section 13.3.1.4 has
			u.interval = min(u.interval, t2)
		}
		l.resend(name, u, res, write, giveUp)
	})
}

// through sends responses by their transaction.
func through(tx *sip.ServerTx) func(sip.Message) error {
	return func(m sip.Message) error { return tx.Respond(m.(*sip.Response)) }
}

// answer sends the 2xx.
func (l *Leg) answer() error {
	switch l.state {
	case incoming:
	case accepted, confirmed:
		return nil
	default:
		return ErrOver
	}
	if l.in.waiting != nil && (l.in.offered || l.in.progressed) {
		l.in.pending = true // RFC 3262 section 3: no 2xx before the PRACK of a session description
		return nil
	}
	res := l.reply(200, "OK")
	late := false
	switch {
	case l.in.settled:
		res.SetBody(nil)
	case l.in.late:
		late = true
		setSDP(res, l.media.Offer())
	default:
		setSDP(res, l.in.sdp)
	}
	l.ses.accept(l, l.in.req, res)
	// Past the transaction, which sipgo's Timer L would keep for 32 s whatever becomes of the call. What it is there
	// for, copies of the INVITE, the registry of INVITEs does as well.
	write := l.in.tx.Connection().WriteMsg
	l.in.tx.Terminate()
	if err := write(res); err != nil {
		l.finish(failureCause(err), false)
		return err
	}
	l.cancelTimer("prack")
	l.in.answered = true
	l.move(accepted)
	l.await(l.in.req.CSeq().SeqNo, res, write, late)
	if !late {
		l.startMedia()
	}
	l.publish()
	return nil
}

// await sends a 2xx again until its ACK comes; without one the dialog ends after 64*T1 (RFC 3261 section
// 13.3.1.4).
func (l *Leg) await(cseq uint32, res *sip.Response, write func(sip.Message) error, late bool) {
	u := &unacked{interval: t1, started: l.e.cfg.Clock.Now(), late: late}
	l.acks[cseq] = u
	l.resend(ackTimer(cseq), u, res, write, func() {
		delete(l.acks, cseq)
		cause := call.Cause{SIPCode: 408, Reason: "no ACK", Local: true}
		if l.hangup {
			cause = l.cause
		}
		if l.state == accepted || l.state == confirmed {
			l.cause = cause
			l.bye()
		}
	})
}

func ackTimer(cseq uint32) string { return "ack" + strconv.FormatUint(uint64(cseq), 10) }

// onACK ends the retransmission of a 2xx; with a late offer it brings the answer.
func (l *Leg) onACK(req *sip.Request) {
	cseq := req.CSeq().SeqNo
	u := l.acks[cseq]
	if u == nil || tagOf(req.From().Params) != l.d.remoteTag {
		return
	}
	delete(l.acks, cseq)
	l.cancelTimer(ackTimer(cseq))
	if l.state == accepted && cseq == l.in.req.CSeq().SeqNo {
		l.move(confirmed)
		if l.hangup {
			if l.cause.SIPCode == 0 {
				l.cause.SIPCode = 200
			}
			l.bye()
			return
		}
		l.referWaiting()
	}
	if !u.late || l.state != confirmed {
		return
	}
	sdp, ok := sdpOf(req)
	err := errors.New("the ACK has no SDP answer")
	if ok {
		err = l.media.Accept(sdp)
	}
	if err != nil {
		l.end(call.Cause{SIPCode: 488, Reason: "answer not acceptable: " + err.Error(), Local: true})
		return
	}
	l.startMedia()
	l.tellHold()
}

// refuse sends a final response other than 2xx and ends the leg; sipgo repeats it until the ACK.
func (l *Leg) refuse(code int, reason string, cause call.Cause) {
	if code < 300 || code > 699 {
		code, reason = 603, "Decline"
	}
	if cause.SIPCode == 0 {
		cause.SIPCode = code
	}
	var headers []sip.Header
	if code == 503 {
		headers = append(headers, retryAfter())
	}
	l.decline(code, reason, headers...)
	l.finish(cause, false)
}

// decline sends the final response. The INVITE is done with before the caller can know: he may try again at
// once, under the same Call-ID and tag.
func (l *Leg) decline(code int, reason string, headers ...sip.Header) {
	if l.invKey != nil {
		l.e.unclaim(*l.invKey)
		l.invKey = nil
	}
	l.e.respond(l.in.req, l.in.tx, code, reason, headers...)
}

// onCancel takes a CANCEL of the INVITE: it wins unless the 2xx is out.
func (l *Leg) onCancel(req *sip.Request, tx *sip.ServerTx) {
	res := l.e.response(req, 200, "OK")
	res.To().Params.Add("tag", l.d.localTag) // RFC 3261 section 9.2: the INVITE's
	_ = tx.Respond(res)
	tx.Terminate()
	if l.state == incoming {
		l.decline(487, "Request Terminated")
		l.finish(call.Cause{SIPCode: 487, Reason: "caller hung up", Q850: q850Of(req)}, true)
	}
}
