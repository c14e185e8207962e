package sip

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/emiago/sipgo/sip"

	"github.com/offhook/offhook/internal/call"
)

// cseqGap is added to a stored CSeq: session refreshes raise it without a trip to the store.
const cseqGap = 1000

// EndStored ends a call of an earlier process from its stored dialog: BYE when it was answered, CANCEL when
// our INVITE was under way, nothing for an unanswered call from outside, whose transaction died with the
// process. It waits for the peer's answer, at most Timer F (32 s) or until ctx is done.
func (e *Endpoint) EndStored(ctx context.Context, s *call.Dialog, answered bool) error {
	if s == nil || s.UAS && !answered {
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
	e.callIDs[d.callID]++ // its answers may enter
	if !answered {
		e.orphans[key] = orphan{d, h, s.Branch}
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
	var req *sip.Request
	if answered {
		req = e.request(&d, sip.BYE, d.cseq+cseqGap, newBranch(), h)
	} else {
		d.remoteTag = "" // the INVITE had none
		req = e.request(&d, sip.CANCEL, d.cseq, s.Branch, h)
	}
	req.SetBody(nil)
	done := make(chan error, 1)
	e.work.Go(func() {
		e.transact(req, nil, func(res *sip.Response, err error) bool {
			if err == nil && res.StatusCode < 200 {
				return false
			}
			done <- err
			return true
		})
	})
	select {
	case err = <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// orphan is an INVITE of an earlier process that was cancelled; its final response is acknowledged.
type orphan struct {
	d      dialog
	hop    hop
	branch string
}

// bury acknowledges the final response to an orphan's INVITE, and hangs up when it is an answer.
func (o orphan) bury(e *Endpoint, res *sip.Response) {
	o.d.remoteTag = tagOf(res.To().Params)
	if res.StatusCode >= 300 { // RFC 3261 section 17.1.1.3
		ack := e.request(&o.d, sip.ACK, o.d.cseq, o.branch, o.hop)
		ack.SetBody(nil)
		e.write(ack)
		return
	}
	e.refuseFork(o.hop.transport, o.d, res)
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
	if s.Transport != "UDP" && s.Transport != "TCP" {
		aerr = errors.Join(aerr, fmt.Errorf("transport %q", s.Transport))
	}
	return d, hop{addr, s.Transport}, errors.Join(err, aerr)
}
