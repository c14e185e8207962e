package sip

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/offhook/offhook/internal/call"
)

// out is an outbound leg's INVITE.
type out struct {
	spec       call.OutboundLeg
	transport  string
	candidates []candidate  // still to be tried, the first is the present one
	targets    []string     // and then these URIs
	req        *sip.Request // as last sent
	branch     string
	origin     netip.AddrPort // the hop the owner asked for: credentials go to no other
	redirects  int
	challenges int
	tooSmall   bool              // a 422 was answered
	seen       map[string]bool   // redirect targets tried
	prack      map[string]uint32 // last reliable provisional acknowledged, by remote tag
	sdp        string            // answer accepted last, and of which fork
	sdpTag     string
	answered   bool
	forks      int                   // answers of other forks that were hung up
	abandoned  map[string]*abandoned // INVITEs that were given up, by branch
}

// resolveTimeout bounds the DNS lookups of one leg.
const resolveTimeout = 10 * time.Second

// NewLeg makes an outbound leg: it resolves the target, opens media and fixes Call-ID, tag and branch, but
// sends nothing. It blocks for DNS when the target is a name. The error is an *call.LegError.
func (e *Endpoint) NewLeg(spec call.OutboundLeg) (*Leg, error) {
	ctx, cancel := context.WithTimeout(e.ctx, resolveTimeout)
	defer cancel()
	target, candidates, rest, err := e.firstTarget(ctx, &spec)
	if err != nil {
		return nil, err
	}
	l := e.newLeg()
	l.hairpin = spec.Hairpin
	l.out = out{
		spec: spec, transport: candidates[0].transport, candidates: candidates, targets: rest, branch: newBranch(),
		origin: candidates[0].addr, seen: make(map[string]bool), prack: make(map[string]uint32),
	}
	peer := candidates[0].addr.Addr()
	l.d = dialog{callID: newCallID(), localTag: newTag(), cseq: newCSeq(), localName: quote(spec.FromName)}
	l.log = e.log.With("call_sid", spec.CallSID, "leg", "outbound", "sip_call_id", l.d.callID)
	// Headers in the URI ask for headers in the request (RFC 3261 section 19.1.5); only X- ones are ours to give.
	for _, kv := range target.Headers {
		if len(kv.K) > 2 && strings.EqualFold(kv.K[:2], "X-") {
			if l.out.spec.Headers == nil {
				l.out.spec.Headers = make(map[string]string)
			}
			l.out.spec.Headers[kv.K] = kv.V
		}
	}
	target.Headers = nil
	l.d.target, l.d.remote = target, target
	if spec.To != "" {
		var to sip.Uri
		if err := sip.ParseUri(spec.To, &to); err != nil || !isSIP(&to) {
			return nil, failure(400, fmt.Errorf("%w: %q is not a sip: URI", ErrTarget, spec.To))
		}
		to.Headers = nil
		l.d.remote = to
	}
	l.d.remote.UriParams = nil
	l.symmetric = spec.Symmetric
	if l.d.local, err = e.fromURI(spec.From, peer); err != nil {
		return nil, failure(400, err)
	}
	if l.media, err = e.cfg.Media.Open(peer, sink{l}); err != nil {
		return nil, failure(503, fmt.Errorf("open media: %w", err))
	}
	if spec.Secure {
		l.media.Secure()
	}
	l.hop = e.pick(candidates[0], 0)
	l.publish()
	if err := e.add(l, nil, inviteRecord{}); err != nil {
		l.media.Close()
		return nil, failure(503, err)
	}
	e.work.Add(1)
	go l.run()
	return l, nil
}

// candidates resolves where an outbound leg goes first.
func (e *Endpoint) candidates(ctx context.Context, target *sip.Uri, spec call.OutboundLeg) ([]candidate, error) {
	transport := strings.ToLower(spec.Transport)
	if named, ok := target.UriParams.Get("transport"); spec.Secure && (transport == "" || transport == viaEither) {
		transport = viaTLS
		if ok && !strings.EqualFold(named, viaTLS) && target.Scheme != "sips" {
			transport = strings.ToLower(named)
		}
	}
	if spec.Secure && transport != viaTLS {
		return nil, fmt.Errorf("%w: a secure call goes over TLS, not over %s", ErrTarget, transport)
	}
	if spec.Dest == "" {
		if transport == "" {
			transport = viaEither
		}
		return e.resolveURI(ctx, target, transport)
	}
	if transport == "" {
		transport = viaEither
		if t, ok := target.UriParams.Get("transport"); ok {
			transport = strings.ToLower(t)
		}
	}
	if target.Scheme == "sips" {
		transport = viaTLS
	}
	if err := e.can(transport); err != nil {
		return nil, err
	}
	host, port, err := splitDest(spec.Dest)
	if err != nil {
		return nil, err
	}
	return resolve(ctx, e.cfg.Resolver, host, port, transport)
}

// fromURI is the From of a call: a whole URI, or a number or name at our own address.
func (e *Endpoint) fromURI(from string, peer netip.Addr) (u sip.Uri, err error) {
	if strings.HasPrefix(from, "sip:") {
		if err := sip.ParseUri(from, &u); err != nil || !isSIP(&u) || hasControl(from) || strings.ContainsAny(from, " <>\"") {
			return u, fmt.Errorf("%w: From %q is not a sip: URI", ErrTarget, from)
		}
		u.Headers = nil
		return u, nil
	}
	if from == "" {
		from = "anonymous"
	}
	us := e.advertised(peer)
	u = sip.Uri{Scheme: "sip", User: escapeUser(from), Host: us.Addr().String()}
	if us.Port() != 5060 {
		u.Port = int(us.Port())
	}
	return u, nil
}

// escapeUser escapes what a SIP URI's user part cannot hold (RFC 3261 section 25.1).
func escapeUser(s string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-_.!~*'()&=+$,;?/", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// pick chooses the transport of a request of size bytes to a candidate (RFC 3261 section 18.1.1).
func (e *Endpoint) pick(c candidate, size int) hop {
	if c.transport == viaTLS {
		return hop{c.addr, "TLS"}
	}
	if c.transport == viaTCP || c.transport == viaEither && size > udpMTU {
		return hop{c.addr, "TCP"}
	}
	return hop{c.addr, "UDP"}
}

// invite sends the INVITE to the present candidate, with the present CSeq and branch.
func (l *Leg) invite() {
	l.move(calling)
	l.attempt()
}

func (l *Leg) attempt() {
	offer := l.media.Offer()
	c := l.out.candidates[0]
	l.hop = l.e.pick(c, 0)
	req := l.buildInvite(offer)
	if h := l.e.pick(c, len(req.String())); h != l.hop {
		l.hop = h
		l.auth.undo()
		req = l.buildInvite(offer)
	}
	l.out.req = req
	l.publish()
	l.log.Debug("sip: invite", "target", l.d.target.String(), "hop", l.hop.addr.String(), "transport", l.hop.transport)
	l.send(req, func(res *sip.Response, err error) {
		if err == nil && res.StatusCode > 100 && res.StatusCode < 200 {
			return // onEarly has it
		}
		l.onInviteResponse(req, res, err)
	})
	l.watchTarget()
}

// onEarly takes a provisional response of the present attempt (see markResponse).
func (l *Leg) onEarly(res *sip.Response) {
	if branch, _ := res.Via().Params.Get("branch"); branch == l.out.branch && l.out.req != nil {
		l.onInviteResponse(l.out.req, res, nil)
	} else {
		l.stale(res)
	}
}

func (l *Leg) buildInvite(offer []byte) *sip.Request {
	req := l.e.request(&l.d, sip.INVITE, l.d.cseq, l.out.branch, l.hop)
	*req.MaxForwards() = sip.MaxForwardsHeader(max(0, maxForwards-l.out.spec.Hops))
	req.AppendHeader(l.contact())
	req.AppendHeader(sip.NewHeader("Allow", allowed))
	req.AppendHeader(sip.NewHeader("Supported", strings.Join(supported, ", ")))
	l.ses.ask(l.e.cfg.SessionExpires, req)
	names := make([]string, 0, len(l.out.spec.Headers))
	for name := range l.out.spec.Headers {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if v := l.out.spec.Headers[name]; validXHeader(name) && !hasControl(v) {
			req.AppendHeader(sip.NewHeader(name, v))
		}
	}
	if l.out.spec.Trusted {
		identify(req, &l.d)
	}
	if by := l.out.spec.DivertedBy; call.IsE164(by) && (l.out.spec.Trusted || l.hairpin) {
		req.AppendHeader(sip.NewHeader("Diversion", "<sip:"+by+"@"+l.d.local.Host+">;reason=unknown"))
	}
	setSDP(req, offer)
	l.authorize(req)
	return req
}

// identify says who calls to a peer that believes us (RFC 3325), or that the caller does not want it said.
func identify(req *sip.Request, d *dialog) {
	if strings.EqualFold(d.local.User, "anonymous") {
		req.AppendHeader(sip.NewHeader("Privacy", "id"))
		return
	}
	req.AppendHeader(sip.NewHeader("P-Asserted-Identity", "<"+d.local.String()+">"))
}

// validXHeader reports whether name is a token that begins with X- (RFC 3261 section 25.1).
func validXHeader(name string) bool {
	if len(name) < 3 || !strings.EqualFold(name[:2], "X-") {
		return false
	}
	for i := range len(name) {
		c := name[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-.!%*_+`'~", c) >= 0) {
			return false
		}
	}
	return true
}

// again sends the INVITE once more, as a new transaction.
func (l *Leg) again() {
	l.d.cseq++
	l.out.branch = nextBranch(l.out.branch)
	l.d.remoteTag = ""
	if l.state == proceeding {
		l.move(calling)
	}
	l.attempt()
}

// onInviteResponse takes every response to an INVITE, or the error that ended its transaction.
func (l *Leg) onInviteResponse(req *sip.Request, res *sip.Response, err error) {
	if l.out.req != req { // of an attempt that was given up
		l.stale(res)
		return
	}
	l.cancelTimer("target")
	if err != nil {
		l.onInviteError(failureCause(err))
		return
	}
	if !validResponse(res) || string(*res.CallID()) != l.d.callID || tagOf(res.From().Params) != l.d.localTag {
		return
	}
	switch {
	case res.StatusCode < 200:
		l.onProvisional(res)
	case res.StatusCode < 300:
		l.on2xx(res)
	default:
		l.onFailure(res)
	}
}

// onInviteError ends the leg, or tries the next address when nobody was heard (RFC 3263 section 4.3).
func (l *Leg) onInviteError(cause call.Cause) {
	if l.hangup {
		cause = l.canceledCause()
	} else if l.state == calling {
		l.suspect()
		if l.next() {
			return
		}
	}
	l.finish(cause, false)
}

// next goes on to the next address of the host, or to the next target.
func (l *Leg) next() bool {
	if len(l.out.candidates) < 2 {
		return l.nextTarget()
	}
	l.out.candidates = l.out.candidates[1:]
	if l.out.redirects == 0 { // the same host
		l.out.origin = l.out.candidates[0].addr
	}
	l.elsewhere()
	return true
}

// elsewhere sends the INVITE to another address, of which the owner is told: somebody else may have to cancel it.
func (l *Leg) elsewhere() {
	l.again()
	if l.hasRoom() {
		l.emit(call.LegMoved{})
	}
}

func (l *Leg) onProvisional(res *sip.Response) {
	if l.state == calling {
		l.e.health.answers(targetKey(&l.d.target))
		l.move(proceeding)
		if l.hangup {
			l.cancel()
			return
		}
	}
	if res.StatusCode == 100 || l.state != proceeding {
		return
	}
	tag := tagOf(res.To().Params)
	if hasOption(listHeader(res, "Require", ""), "100rel") && tag != "" && !l.acknowledge(res, tag) {
		return // a retransmission, or out of order
	}
	early := false
	if sdp, ok := sdpOf(res); ok {
		early = l.acceptSDP(sdp, tag) == nil
	}
	rings := res.StatusCode == 180 || res.StatusCode == 183
	if news := !l.rang || early && !l.early; rings && news { // a network may say first that it rings and then let it be heard
		l.rang, l.early = true, early
		if tag != "" {
			l.d.remoteTag = tag
			l.publish()
		}
		l.emit(call.LegRinging{Code: res.StatusCode, EarlyMedia: early})
	}
}

// acceptSDP takes an answer unless it is the one that this fork gave before.
func (l *Leg) acceptSDP(sdp []byte, tag string) error {
	if l.mediaOff || l.out.sdp == string(sdp) && l.out.sdpTag == tag {
		return nil
	}
	if err := l.media.Accept(sdp); err != nil {
		return err
	}
	l.out.sdp, l.out.sdpTag = string(sdp), tag
	return nil
}

// on2xx confirms the dialog with the first 2xx; others are forks or retransmissions.
func (l *Leg) on2xx(res *sip.Response) {
	if l.out.answered {
		l.onLate2xx(res)
		return
	}
	l.out.answered = true
	if tagOf(res.To().Params) != l.d.remoteTag {
		l.d.remoteSeen = false // what came was of another fork
	}
	l.d.establish(res)
	l.aim(res)
	l.auth.keep(l.hop.addr == l.out.origin)
	ack := l.ack(l.out.req.CSeq().SeqNo)  // a PRACK may have raised the dialog's
	if l.hangup || l.state == canceling { // our CANCEL crossed the answer
		l.cause = l.canceledCause()
		l.cancelTimer("cancel")
		l.move(ending)
		l.sendACK(ack)
		l.sendBYE()
		return
	}
	sdp, ok := sdpOf(res)
	err := error(nil)
	if ok {
		err = l.acceptSDP(sdp, l.d.remoteTag)
	} else if l.out.sdpTag != l.d.remoteTag || l.out.sdp == "" {
		err = fmt.Errorf("the 2xx has no SDP answer")
	}
	l.move(confirmed)
	if ack.held = l.out.spec.HoldACK; !ack.held {
		l.sendACK(ack)
	}
	l.publish()
	if err != nil {
		l.log.Warn("sip: answer refused", "err", err)
		l.cause = call.Cause{SIPCode: 488, Reason: "answer not acceptable: " + err.Error(), Local: true}
		l.bye()
		return
	}
	l.startMedia()
	l.ses.granted(l, res, true)
	l.emit(call.LegAnswered{})
}

// onLate2xx acknowledges a 2xx again, or a fork's for the first time, which is then hung up (RFC 3261
// section 13.2.2.4).
func (l *Leg) onLate2xx(res *sip.Response) {
	if !validResponse(res) || !l.out.answered {
		l.stale(res)
		return
	}
	if tagOf(res.To().Params) != l.d.remoteTag {
		if l.out.forks++; l.out.forks > maxForks {
			return // each costs a transaction of up to 32 s
		}
		transport, d := l.out.req.Transport(), l.d
		l.e.work.Go(func() { l.e.refuseFork(transport, d, res) })
		return
	}
	l.ackAgain(res)
}

// refuseFork ends the dialog of another branch's answer.
func (e *Endpoint) refuseFork(transport string, d dialog, res *sip.Response) {
	d.cseq = res.CSeq().SeqNo
	d.establish(res)
	ctx, cancel := context.WithTimeout(e.ctx, resolveTimeout)
	defer cancel()
	next := d.nextURI()
	c, err := e.resolveURI(ctx, &next, strings.ToLower(transport))
	if err != nil {
		return
	}
	h := e.pick(c[0], 0)
	ack := e.request(&d, sip.ACK, d.cseq, newBranch(), h)
	ack.SetBody(nil)
	e.write(ack)
	bye := e.request(&d, sip.BYE, d.cseq+1, newBranch(), h)
	bye.SetBody(nil)
	e.transact(bye, nil, func(*sip.Response, error) bool { return true })
}

// onFailure takes a final response of 300 and above; sipgo has acknowledged it.
func (l *Leg) onFailure(res *sip.Response) {
	cause := call.Cause{SIPCode: res.StatusCode, Reason: res.Reason, Q850: q850Of(res)}
	if l.hangup {
		l.finish(l.canceledCause(), false)
		return
	}
	switch code := res.StatusCode; {
	case code < 400 && l.redirect(res):
		return
	case code == 401 || code == 407:
		if l.out.challenges < 2 && l.challenge(res, l.out.req, l.hop.addr == l.out.origin) {
			l.out.challenges++
			l.again()
			return
		}
	case code == 422 && !l.out.tooSmall:
		if m := minSEOf(res); m > 0 {
			l.out.tooSmall = true
			l.ses.min = m
			l.again()
			return
		}
	case code >= 500 && code < 600 && !l.rang && l.next(): // call-lifecycle section 1
		return
	}
	l.finish(cause, false)
}

// canceledCause is why a call ended that we gave up: 487 whatever the peer said to the INVITE.
func (l *Leg) canceledCause() call.Cause {
	c := l.cause
	c.SIPCode, c.Local = 487, true
	return c
}

// redirect follows a 3xx (RFC 3261 section 8.1.3.4): its contacts replace the addresses to try.
func (l *Leg) redirect(res *sip.Response) bool {
	if l.out.redirects >= maxRedirects {
		return false
	}
	for _, h := range res.GetHeaders("contact") {
		c, ok := h.(*sip.ContactHeader)
		if !ok || !isSIP(&c.Address) || l.out.seen[c.Address.String()] {
			continue
		}
		uri := *c.Address.Clone()
		uri.Headers = nil
		if t, has := uri.UriParams.Get("transport"); has && !strings.Contains(l.out.transport, strings.ToLower(t)) {
			continue // the same transport rules as for the first hop
		}
		l.out.redirects++
		l.out.seen[c.Address.String()] = true
		l.e.work.Go(func() {
			ctx, cancel := context.WithTimeout(l.e.ctx, resolveTimeout)
			defer cancel()
			found, err := l.e.resolveURI(ctx, &uri, l.out.transport)
			l.mail.post(func() { l.redirected(uri, found, err) }, 0)
		})
		l.d.target = uri
		return true
	}
	return false
}

func (l *Leg) redirected(uri sip.Uri, found []candidate, err error) {
	switch {
	case l.hangup:
		l.finish(l.canceledCause(), false)
	case err != nil:
		l.finish(call.Cause{SIPCode: 503, Reason: "redirected to " + uri.String() + ": " + err.Error()}, false)
	default:
		l.out.candidates = found
		l.elsewhere()
	}
}

// cancel gives up a ringing call. A peer that never answers the INVITE after it is left after 64*T1.
func (l *Leg) cancel() {
	l.move(canceling)
	l.send(l.cancelRequest(), func(*sip.Response, error) {})
	l.after("cancel", timer64T1, func() { l.finish(l.canceledCause(), false) })
}

// cancelRequest is built from the INVITE (RFC 3261 section 9.1): the same branch, To and Route.
func (l *Leg) cancelRequest() *sip.Request {
	inv := l.out.req
	req := sip.NewRequest(sip.CANCEL, inv.Recipient)
	req.AppendHeader(inv.Via().Clone())
	for _, h := range inv.GetHeaders("route") {
		req.AppendHeader(sip.HeaderClone(h))
	}
	fwd := sip.MaxForwardsHeader(70)
	req.AppendHeader(&fwd)
	for _, h := range []sip.Header{inv.From(), inv.To(), inv.CallID()} {
		req.AppendHeader(sip.HeaderClone(h))
	}
	req.AppendHeader(&sip.CSeqHeader{SeqNo: inv.CSeq().SeqNo, MethodName: sip.CANCEL})
	req.AppendHeader(sip.NewHeader("User-Agent", l.e.cfg.UserAgent))
	l.e.address(req, l.hop)
	req.SetBody(nil)
	return req
}
