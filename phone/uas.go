package phone

import (
	"fmt"
	"time"

	"github.com/emiago/sipgo/sip"
)

// reasons are the phrases of the responses a phone gives, RFC 3261 section 21.
var reasons = map[int]string{
	180: "Ringing", 183: "Session Progress", 200: "OK", 302: "Moved Temporarily", 400: "Bad Request", 403: "Forbidden",
	404: "Not Found", 408: "Request Timeout", 410: "Gone", 415: "Unsupported Media Type", 420: "Bad Extension",
	480: "Temporarily Unavailable", 484: "Address Incomplete", 486: "Busy Here", 488: "Not Acceptable Here",
	500: "Server Internal Error", 502: "Bad Gateway", 503: "Service Unavailable", 504: "Server Time-out",
	600: "Busy Everywhere", 603: "Decline", 604: "Does Not Exist Anywhere",
}

func reason(code int) string {
	if r, ok := reasons[code]; ok {
		return r
	}
	return "Rejected"
}

// onInvite takes a new call in.
func (p *Phone) onInvite(req *sip.Request, tx *sip.ServerTx) {
	refuse := func(code int, headers ...sip.Header) {
		res := sip.NewResponseFromRequest(req, code, reason(code), nil)
		for _, h := range headers {
			res.AppendHeader(h)
		}
		if tx.Respond(res) != nil {
			tx.Terminate()
		}
	}
	if h := req.GetHeader("Require"); h != nil { // nothing is supported that may be required
		refuse(420, sip.NewHeader("Unsupported", h.Value()))
		return
	}
	if req.Contact() == nil {
		refuse(400)
		return
	}
	c := newCall(p, req.CallID().Value(), sip.GenerateTagN(12), false)
	// Every response, those sipgo makes by itself too, must carry our one tag.
	req.To().Params.Add("tag", c.localTag)
	c.serverTx, c.inviteReq, c.headers = tx, req, req.Headers()
	c.from, c.to = req.From().Address.User, req.Recipient.User
	c.dialog.fromInvite(req)
	if err := c.open(req.Source()); err != nil {
		p.log.Warn("call refused", "error", err)
		refuse(503, sip.NewHeader("Retry-After", "5"))
		return
	}
	end := func(e End) { p.spawn(func() { c.end(e) }) }
	cancelled := End{Code: 487, Reason: "cancelled", Remote: true}
	if !tx.OnCancel(func(*sip.Request) { end(cancelled) }) {
		c.end(cancelled)
		return
	}
	if err := tx.Respond(sip.NewResponseFromRequest(req, 100, "Trying", nil)); err != nil {
		c.end(End{Reason: err.Error()})
		return
	}
	if len(req.Body()) > 0 { // a call that cannot work is refused before anybody hears it ring
		if _, code, err := c.answerSDP(req.Body()); err != nil {
			c.log.Warn("offer refused", "error", err)
			_ = c.Reject(code)
			return
		}
	}
	c.log.Info("incoming call", "from", c.from, "to", c.to)
	p.deliver(c)
	p.spawn(func() { c.watch(tx) })
}

// deliver hands the call to OnCall or to Incoming.
func (p *Phone) deliver(c *Call) {
	if p.cfg.OnCall != nil {
		p.spawn(func() {
			p.cfg.OnCall(c)
			c.Hangup()
		})
		return
	}
	select {
	case p.incoming <- c:
	default:
		_ = c.Busy()
	}
}

// fromInvite makes the callee's dialog, RFC 3261 section 12.1.1.
func (d *dialog) fromInvite(req *sip.Request) {
	d.remoteTag, _ = req.From().Params.Get("tag")
	d.localURI, d.remoteURI = *req.To().Address.Clone(), *req.From().Address.Clone()
	d.remoteSeq = req.CSeq().SeqNo
	d.target = *req.Contact().Address.Clone()
	d.routes = routeSet(req, false)
	d.transport = sip.NetworkToUpper(req.Transport())
	d.source = req.Source()
}

// watch ends the call when its INVITE transaction dies before it is answered, and takes ACKs that
// come under the INVITE's own branch.
func (c *Call) watch(tx *sip.ServerTx) {
	for {
		select {
		case ack := <-tx.Acks():
			c.onACK(ack)
		case <-tx.Done():
			c.mu.Lock()
			st := c.state
			c.mu.Unlock()
			if st < answered {
				c.end(End{Reason: fmt.Sprintf("INVITE transaction ended: %v", tx.Err())})
			}
			return
		case <-c.hungUp:
			return
		}
	}
}

// Ring sends 180.
func (c *Call) Ring() error { return c.provision(180, false) }

// Progress sends 183 with SDP and starts the audio: what is played now is early media. After a late
// offer (no SDP in the INVITE) there is none to send.
func (c *Call) Progress() error { return c.provision(183, true) }

func (c *Call) provision(code int, media bool) error {
	c.mu.Lock()
	if err := c.unanswered(); err != nil {
		c.mu.Unlock()
		return err
	}
	res := c.response(code)
	media = media && c.local != nil
	if media {
		setSDP(res, c.local.marshal(c.sdpID, c.sdpVersion))
	}
	c.mu.Unlock()
	if err := c.serverTx.Respond(res); err != nil {
		return fmt.Errorf("phone: %d not sent: %w", code, err)
	}
	c.setState(ringing)
	if media {
		c.media.start()
	}
	return nil
}

// unanswered tells whether the call may still be answered here. The caller holds c.mu.
func (c *Call) unanswered() error {
	switch {
	case c.outgoing:
		return errOutgoing
	case c.state == over:
		return &EndError{"answering", c.ending}
	case c.state == answered:
		return errAnswered
	}
	return nil
}

// response builds a response to the INVITE. The caller holds c.mu.
func (c *Call) response(code int) *sip.Response {
	res := sip.NewResponseFromRequest(c.inviteReq, code, reason(code), nil)
	if code > 100 && code < 300 {
		res.AppendHeader(c.phone.contact(c.dialog.source, c.dialog.transport))
		res.AppendHeader(sip.NewHeader("Allow", allow))
	}
	return res
}

// Answer sends 200 and starts the audio. An INVITE without SDP gets an offer, and audio begins with
// the answer in the ACK.
func (c *Call) Answer() error {
	c.mu.Lock()
	if err := c.unanswered(); err != nil {
		c.mu.Unlock()
		return err
	}
	late := c.local == nil
	if late {
		c.offerSDP()
	}
	res := c.response(200)
	setSDP(res, c.local.marshal(c.sdpID, c.sdpVersion))
	seq := c.inviteReq.CSeq().SeqNo
	c.acks[seq] = ackWait{c.acked, late}
	c.state, c.code = answered, 200
	c.mu.Unlock()
	if err := c.serverTx.Respond(res); err != nil {
		c.mu.Lock()
		if c.state == answered { // a CANCEL was faster: its end is on the way
			c.state, c.code = ringing, 0
		}
		c.mu.Unlock()
		c.end(End{Code: 487, Reason: err.Error(), Remote: true})
		return fmt.Errorf("phone: not answered: %w", err)
	}
	c.changed.notify()
	c.phone.spawn(func() { c.repeatOK(c.serverTx, res, c.acked) })
	if !late {
		c.startMedia()
	}
	return nil
}

// Reject refuses the call with a final response, 300 to 699.
func (c *Call) Reject(code int) error {
	if code < 300 || code > 699 {
		return fmt.Errorf("phone: %d is not a refusal, want 300 to 699", code)
	}
	c.mu.Lock()
	if err := c.unanswered(); err != nil {
		c.mu.Unlock()
		return err
	}
	res := c.response(code)
	c.mu.Unlock()
	if code == 503 {
		res.AppendHeader(sip.NewHeader("Retry-After", "5"))
	}
	err := c.serverTx.Respond(res)
	c.end(End{Code: code, Reason: reason(code)})
	if err != nil {
		return fmt.Errorf("phone: %d not sent: %w", code, err)
	}
	return nil
}

// Busy refuses the call with 486.
func (c *Call) Busy() error { return c.Reject(486) }

// ackWait is a 2xx of ours that waits for its ACK.
type ackWait struct {
	acked   chan struct{}
	offered bool // the 2xx carried an offer: the ACK has the answer
}

func (c *Call) expectACK(seq uint32, acked chan struct{}, offered bool) {
	c.mu.Lock()
	c.acks[seq] = ackWait{acked, offered}
	c.mu.Unlock()
}

// onACK takes the ACK of a 2xx in, once.
func (c *Call) onACK(req *sip.Request) {
	c.media.touch()
	c.mu.Lock()
	seq := req.CSeq().SeqNo
	w, ok := c.acks[seq]
	delete(c.acks, seq)
	c.mu.Unlock()
	if !ok {
		return
	}
	if w.offered {
		if err := c.acceptSDP(req.Body()); err != nil {
			c.log.Warn("no usable answer in the ACK", "error", err)
			close(w.acked)
			c.bye(err.Error())
			return
		}
		c.startMedia()
	}
	close(w.acked)
	c.changed.notify()
}

const (
	t1         = 500 * time.Millisecond // RFC 3261 section 17.1.1.1
	t2         = 4 * time.Second
	ackTimeout = 64 * t1
)

// repeatOK sends a 2xx again until its ACK is here, on any transport; without one for 64*T1 the call
// is hung up (RFC 3261 section 13.3.1.4).
func (c *Call) repeatOK(tx *sip.ServerTx, res *sip.Response, acked <-chan struct{}) {
	timeout := time.NewTimer(ackTimeout)
	defer timeout.Stop()
	again := time.NewTimer(t1)
	defer again.Stop()
	for wait := t1; ; {
		select {
		case <-acked:
			return
		case <-c.hungUp:
			return
		case <-timeout.C:
			c.bye("no ACK")
			return
		case <-again.C:
			if err := tx.Respond(res); err != nil {
				c.log.Debug("2xx not repeated", "error", err)
			}
			wait = min(2*wait, t2)
			again.Reset(wait)
		}
	}
}
