package sip

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"

	"github.com/emiago/sipgo/sip"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/clock"
)

// cseqGap is added to a stored CSeq: session refreshes raise it without a trip to the store.
const cseqGap = 1000

// EndStored ends a call of an earlier process from its stored dialog: BYE when it was answered, CANCEL when
// our INVITE was under way, 503 when it was the peer's and has no final response yet. It waits for the peer's
// answer, at most Timer F (32 s) or until ctx is done.
func (e *Endpoint) EndStored(ctx context.Context, s *call.Dialog, answered bool) error {
	if s == nil || s.UAS && !answered && len(s.Vias) == 0 {
		return nil
	}
	d, h, err := restore(s)
	if err != nil {
		return fmt.Errorf("sip: stored dialog %s: %w", s.CallID, err)
	}
	key := dialogKey{d.callID, d.localTag}
	e.mu.Lock()
	if e.closing {
		e.mu.Unlock()
		return ErrClosed
	}
	e.rememberLocked(d.callID) // its answers may enter
	if !answered && !s.UAS {
		e.orphans[key] = &orphan{d: d, hop: h}
	}
	e.work.Add(1)
	e.mu.Unlock()
	defer e.work.Done()
	e.cfg.Clock.AfterFunc(timer64T1, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.orphans, key)
		e.forgetLocked(d.callID)
	})
	if !answered && s.UAS {
		return e.refuseStored(ctx, s, &d, h)
	}
	if answered {
		bye := e.request(&d, sip.BYE, d.cseq+cseqGap, newBranch(), h)
		res, err := e.finalOf(ctx, bye)
		if err == nil && res.StatusCode == 481 && len(s.Vias) > 0 { // our 200 was stored, and did not leave
			return e.refuseStored(ctx, s, &d, h)
		}
		if err != nil || res.StatusCode != 401 && res.StatusCode != 407 || s.UAS {
			return err
		}
		trunk, c := e.sources.called(h.addr.Addr()), answerable(res, bye) // a digest only to the trunk that was called
		if trunk == nil || trunk.Username == "" || c == nil {
			return nil
		}
		bye = e.request(&d, sip.BYE, d.cseq+cseqGap+1, newBranch(), h)
		if err := c.answer(bye, trunk.Username, trunk.Password); err != nil {
			return fmt.Errorf("sip: BYE of stored dialog %s: %w", s.CallID, err)
		}
		_, err = e.finalOf(ctx, bye)
		return err
	}
	d.remoteTag = "" // the INVITE had none
	for branch, again := s.Branch, 0; ; again++ {
		res, err := e.finalOf(ctx, e.request(&d, sip.CANCEL, d.cseq, branch, h))
		if err != nil || res.StatusCode != 481 || again == resends {
			return err
		}
		branch = nextBranch(branch)
		d.cseq++
	}
}

// refuseStored answers a peer's INVITE that an earlier process left without a final response. Its transaction is
// gone, so the response goes by the stored Vias, over UDP often enough to get through when some are lost; the ACKs
// are nobody's.
func (e *Endpoint) refuseStored(ctx context.Context, s *call.Dialog, d *dialog, h hop) error {
	var b strings.Builder
	b.WriteString("INVITE sip:gone SIP/2.0\r\n")
	for _, via := range s.Vias {
		b.WriteString("Via: " + via + "\r\n")
	}
	fmt.Fprintf(&b, "From: <%s>;tag=%s\r\nTo: <%s>;tag=%s\r\nCall-ID: %s\r\nCSeq: %d INVITE\r\nContent-Length: 0\r\n\r\n",
		s.RemoteURI, s.RemoteTag, s.LocalURI, s.LocalTag, s.CallID, s.PeerCSeq)
	m, err := sip.ParseMessage([]byte(b.String()))
	invite, ok := m.(*sip.Request)
	if err != nil || !ok {
		return fmt.Errorf("sip: stored INVITE %s: %w", s.CallID, err)
	}
	invite.SetTransport(s.Transport)
	invite.SetSource(s.Source)
	res := e.response(invite, 503, "Service Unavailable", retryAfter())
	res.SetDestination("") // by the Via: received, and rport or its own port
	to, err := netip.ParseAddrPort(res.Destination())
	if err != nil { // a name
		to = h.addr
	}
	res.SetDestination(to.String())
	way := e.request(d, sip.OPTIONS, 0, newBranch(), hop{to, s.Transport}) // finds the connection, and is not sent
	for pause := t1; ; pause *= 2 {
		if err := e.writeVia(way, res); err != nil || s.Transport != "UDP" || pause > 2*t1 {
			return err
		}
		if err := clock.Sleep(ctx, e.cfg.Clock, pause); err != nil {
			return err
		}
	}
}

// writeVia sends a response on the connection that a request would take.
func (e *Endpoint) writeVia(way *sip.Request, res *sip.Response) error {
	ctx, cancel := e.dialContext()
	defer cancel()
	c, err := e.tp.ClientRequestConnection(ctx, way)
	if err != nil {
		return err
	}
	defer func() { _, _ = c.TryClose() }()
	return c.WriteMsg(res)
}

// resends is how many INVITEs may have followed the stored one to the same address: answers to challenges.
const resends = 2

// finalOf sends a request and waits for its final response, at most Timer F (32 s) or until ctx is done.
func (e *Endpoint) finalOf(ctx context.Context, req *sip.Request) (res *sip.Response, err error) {
	req.SetBody(nil)
	type outcome struct {
		res *sip.Response
		err error
	}
	done := make(chan outcome, 1)
	e.work.Go(func() {
		e.transact(req, nil, func(res *sip.Response, err error) bool {
			switch {
			case err != nil:
				done <- outcome{nil, err}
			case res.StatusCode >= 200:
				done <- outcome{res, nil}
			default:
				return false
			}
			return true
		})
	})
	select {
	case o := <-done:
		return o.res, o.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// orphan is an INVITE of an earlier process that was cancelled; its final response is acknowledged.
type orphan struct {
	d     dialog
	hop   hop
	forks atomic.Int32 // answers of it that were hung up
}

// bury acknowledges the final response to an orphan's INVITE, and hangs up when it is an answer.
func (o *orphan) bury(e *Endpoint, res *sip.Response) {
	d := o.d
	d.remoteTag = tagOf(res.To().Params)
	if res.StatusCode >= 300 { // RFC 3261 section 17.1.1.3
		branch, _ := res.Via().Params.Get("branch")
		ack := e.request(&d, sip.ACK, res.CSeq().SeqNo, branch, o.hop)
		ack.SetBody(nil)
		e.write(ack)
		return
	}
	if o.forks.Add(1) > maxForks {
		return // each costs a transaction of up to 32 s
	}
	e.refuseFork(o.hop.transport, d, res)
}

// restore is the inverse of snapshot.
func restore(s *call.Dialog) (d dialog, h hop, err error) {
	d = dialog{callID: s.CallID, localTag: s.LocalTag, remoteTag: s.RemoteTag, cseq: s.CSeq}
	err = errors.Join(sip.ParseUri(s.LocalURI, &d.local), sip.ParseUri(s.RemoteURI, &d.remote), sip.ParseUri(s.Target, &d.target))
	for _, r := range s.RouteSet {
		var u sip.Uri
		err = errors.Join(err, sip.ParseUri(r, &u))
		d.routes = append(d.routes, u)
	}
	addr, aerr := netip.ParseAddrPort(s.Dest)
	if s.Transport != "UDP" && s.Transport != "TCP" && s.Transport != "TLS" {
		aerr = errors.Join(aerr, fmt.Errorf("transport %q", s.Transport))
	}
	return d, hop{addr, s.Transport}, errors.Join(err, aerr)
}
