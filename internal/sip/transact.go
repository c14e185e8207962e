package sip

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/emiago/sipgo/sip"
)

// dialTimeout bounds the TCP connection of a request.
const dialTimeout = 10 * time.Second

// ourDial marks the context of connections we want.
type ourDial struct{}

// onlyOurDials refuses the others: when the connection of a request is gone before its transaction is made,
// sipgo connects to whatever host the request's Via names.
func onlyOurDials(ctx context.Context, _, address string, _ syscall.RawConn) error {
	if ctx.Value(ourDial{}) == nil {
		return fmt.Errorf("sip: %s was not asked for", address)
	}
	return nil
}

// dialContext bounds and allows the connection a request of ours may need.
func (e *Endpoint) dialContext() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithValue(e.ctx, ourDial{}, true), dialTimeout)
}

// write sends a request that has no transaction, an ACK. It may have to connect. Errors mean that it is lost,
// and the peer sends again what it acknowledges.
func (e *Endpoint) write(req *sip.Request) {
	ctx, cancel := e.dialContext()
	defer cancel()
	if e.secure(ctx, req) != nil {
		return
	}
	if c, err := e.tp.ClientRequestConnection(ctx, req); err == nil {
		count(&e.traffic.requestsOut, req.Method)
		_ = c.WriteMsg(req)
		_, _ = c.TryClose()
	}
}

// transact runs a client transaction in the caller's goroutine and hands every response, or the error that
// ended it, to on, until on returns true or a final response came. started, when not nil, gets the
// transaction before the request leaves.
func (e *Endpoint) transact(req *sip.Request, started func(*inviteTx), on func(*sip.Response, error) (stop bool)) {
	count(&e.traffic.requestsOut, req.Method)
	ctx, cancel := e.dialContext()
	defer cancel()
	if err := e.secure(ctx, req); err != nil {
		on(nil, err)
		return
	}
	tx, err := e.tx.NewClientTransaction(ctx, req)
	if err != nil {
		on(nil, err)
		return
	}
	if started != nil {
		inv := &inviteTx{tx: tx}
		inv.again.Store(&on)
		tx.OnRetransmission(func(res *sip.Response) { // 2xx after the first, of the same or of another fork
			if on := inv.again.Load(); on != nil {
				(*on)(res, nil)
			}
		})
		started(inv)
	}
	if err := tx.Init(); err != nil {
		tx.Terminate()
		on(nil, err)
		return
	}
	for {
		select {
		case res := <-tx.Responses():
			stop := on(res, nil)
			if stop || res.StatusCode >= 200 {
				if !req.IsInvite() || res.StatusCode < 200 {
					tx.Terminate() // sipgo would keep it for Timer D, or for ever; it has nothing left to do
				}
				return
			}
		case <-tx.Done():
			err := tx.Err()
			if err == nil {
				err = sip.ErrTransactionTerminated
			}
			on(nil, err)
			return
		case <-e.ctx.Done():
			tx.Terminate()
			on(nil, errors.New("endpoint closed"))
			return
		}
	}
}

// inviteTx is the transaction of an INVITE. sipgo's timers hold on to it for 32 s even when it was
// terminated, so what it calls must let go of the leg.
type inviteTx struct {
	tx    *sip.ClientTx
	again atomic.Pointer[func(*sip.Response, error) bool]
}

func (i *inviteTx) end() {
	i.again.Store(nil)
	i.tx.Terminate()
}

// send runs a client transaction beside the leg, which gets the outcome as messages in order.
func (l *Leg) send(req *sip.Request, on func(*sip.Response, error)) {
	var started func(*inviteTx)
	if req.IsInvite() {
		started = func(tx *inviteTx) { l.tx.Store(tx) }
	}
	before := l.acked
	l.e.work.Go(func() {
		if before != nil {
			<-before // no BYE ahead of the ACK
		}
		l.e.transact(req, started, func(res *sip.Response, err error) bool {
			if l.mail.post(func() { on(res, err) }, 0) {
				return false
			}
			if res != nil && req.IsInvite() && res.IsProvisional() {
				return false // the callee still rings: his answer must find the transaction, until linger ends it
			}
			if res != nil && req.IsInvite() && res.IsSuccess() && validResponse(res) && res.CSeq().MethodName == sip.INVITE {
				l.late(req, res)
			}
			return true
		})
	})
}

// linger is how long the INVITE's transaction outlives its leg, for the answers of other forks. sipgo would
// keep it, and the leg with it, for 32 s, or for ever when no final response came.
const linger = 5 * time.Second

// late ends a dialog whose 2xx came when the leg was over already: an answer after we stopped waiting for
// the end of a cancelled call, or another fork's.
func (l *Leg) late(req *sip.Request, res *sip.Response) {
	<-l.gone // the dialog no longer changes
	if tagOf(res.To().Params) != l.d.remoteTag || !l.out.answered {
		l.e.refuseFork(req.Transport(), l.d, res)
	}
}

// request builds an in-dialog request with a new CSeq.
func (l *Leg) request(method sip.RequestMethod) *sip.Request {
	l.d.cseq++
	req := l.e.request(&l.d, method, l.d.cseq, newBranch(), l.hop)
	l.authorize(req)
	l.publish()
	return req
}

// ask sends an in-dialog request once the next hop is known; a challenge is answered once. build is called
// in the leg and may be called twice.
func (l *Leg) ask(build func() *sip.Request, on func(*sip.Response, error)) {
	l.whenHop(func() {
		req := build()
		l.send(req, func(res *sip.Response, err error) {
			if err == nil && res.StatusCode < 200 {
				return
			}
			if err == nil && (res.StatusCode == 401 || res.StatusCode == 407) &&
				l.challenge(res, req, l.hop.addr == l.out.origin && !l.uas) {
				l.send(build(), func(res *sip.Response, err error) {
					if err != nil || res.StatusCode >= 200 {
						on(res, err)
					}
				})
				return
			}
			on(res, err)
		})
	})
}

// aim works out the next hop from the dialog's first route or target; via is the message that set them. A
// name is resolved beside the leg; what is sent meanwhile waits its turn.
func (l *Leg) aim(via sip.Message) {
	next := l.d.nextURI()
	transport := strings.ToUpper(via.Transport())
	h, ok := uriHop(&next, transport)
	src, srcErr := parseAddrPort(via.Source())
	if transport == "TLS" && srcErr == nil && l.e.connected(src) {
		// The connection of the dialog; most phones take no other.
		l.hop, l.hopReady = hop{src, transport}, true
		return
	}
	if ok && srcErr == nil && len(l.d.routes) == 0 && l.e.isLocal(h.addr.Addr()) && !l.e.isLocal(src.Addr()) {
		h = hop{src, transport} // a private Contact from outside: the peer is behind NAT, answer where it spoke
	}
	if srcErr == nil && len(l.d.routes) == 0 && l.symmetric && (transport != "UDP" || h.addr != src && speaksSymmetric(via)) {
		h, ok = hop{src, transport}, true
	}
	if ok && (h.transport == "UDP" || h.transport == "TCP" || h.transport == "TLS") {
		l.hop, l.hopReady = h, true
		return
	}
	fallback := hop{src, transport}
	l.hopReady = false
	l.e.work.Go(func() {
		ctx, cancel := context.WithTimeout(l.e.ctx, resolveTimeout)
		defer cancel()
		found, err := l.e.resolveURI(ctx, &next, strings.ToLower(transport))
		l.mail.post(func() {
			l.hop, l.hopReady = fallback, true
			if err == nil {
				l.hop = l.e.pick(found[0], 0)
			}
			waiting := l.hopQueue
			l.hopQueue = nil
			for _, f := range waiting {
				f()
			}
		}, 0)
	})
}

// speaksSymmetric reports whether the sender of a message receives where it sends from (RFC 3581).
func speaksSymmetric(m sip.Message) bool {
	req, ok := m.(*sip.Request)
	return !ok || req.Via() != nil && req.Via().Params.Has("rport")
}

// whenHop runs f when the next hop is known, in order.
func (l *Leg) whenHop(f func()) {
	if l.hopReady {
		f()
		return
	}
	l.hopQueue = append(l.hopQueue, f)
}

// ack prepares the ACK of our INVITE with that CSeq; the last one is kept for retransmissions of the 2xx.
func (l *Leg) ack(cseq uint32) *pendingACK {
	l.lastACK = &pendingACK{cseq: cseq, branch: newBranch()}
	return l.lastACK
}

// ackAgain acknowledges a 2xx that came again.
func (l *Leg) ackAgain(res *sip.Response) {
	if a := l.lastACK; a != nil && !a.held && a.cseq == res.CSeq().SeqNo {
		l.sendACK(a)
	}
}

// pendingACK is the ACK of a 2xx we got.
type pendingACK struct {
	cseq   uint32
	branch string
	req    *sip.Request
	held   bool // until Acknowledge, or until we hang up
}

// Acknowledge sends the ACK that OutboundLeg.HoldACK kept back.
func (l *Leg) Acknowledge() { l.mail.post(l.releaseACK, 0) }

func (l *Leg) releaseACK() {
	if a := l.lastACK; a != nil && a.held {
		a.held = false
		l.sendACK(a)
	}
}

func (l *Leg) sendACK(a *pendingACK) {
	l.whenHop(func() {
		if a.req == nil {
			a.req = l.e.request(&l.d, sip.ACK, a.cseq, a.branch, l.hop)
			for _, name := range []string{"Authorization", "Proxy-Authorization"} { // RFC 3261 section 22.1
				if h := l.out.reqHeader(name); h != nil && l.hop.addr == l.out.origin {
					a.req.AppendHeader(sip.HeaderClone(h))
				}
			}
			a.req.SetBody(nil)
		}
		if l.hop.transport == "UDP" {
			l.e.write(a.req)
			return
		}
		req, before, done := a.req, l.acked, make(chan struct{})
		l.acked = done
		l.e.work.Go(func() { // may have to connect
			defer close(done)
			if before != nil {
				<-before
			}
			l.e.write(req)
		})
	})
}

func (o *out) reqHeader(name string) sip.Header {
	if o.req == nil {
		return nil
	}
	return o.req.GetHeader(name)
}

// bye hangs up a confirmed dialog.
func (l *Leg) bye() {
	l.releaseACK()
	l.hangup = true
	l.closeMedia()
	l.move(ending)
	l.sendBYE()
}

// sendBYE waits for the answer or Timer F; whatever it is, the leg is over then.
func (l *Leg) sendBYE() {
	l.ask(func() *sip.Request {
		req := l.request(sip.BYE)
		if l.cause.Code != 0 || l.cause.SIPCode >= 400 {
			req.AppendHeader(sip.NewHeader("Reason", `SIP;text="`+quote(l.cause.Reason)+`"`))
		}
		req.SetBody(nil)
		return req
	}, func(*sip.Response, error) { l.finish(l.cause, false) })
}

// parseAddrPort reads the source of a message.
func parseAddrPort(s string) (netip.AddrPort, error) {
	ap, err := netip.ParseAddrPort(s)
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port()), err
}
