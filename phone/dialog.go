package phone

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/emiago/sipgo/sip"
)

// dialog is RFC 3261 section 12: what in-dialog requests are made of. It is guarded by Call.mu.
type dialog struct {
	callID              string
	localTag, remoteTag string
	localURI, remoteURI sip.Uri
	localSeq, remoteSeq uint32
	target              sip.Uri   // the far end's Contact
	routes              []sip.Uri // in the order of our Route headers
	transport           string    // UDP or TCP
	source              string    // where the far end's messages come from
}

// routeSet reads the Record-Route headers of a message; a caller sees them in reverse (section 12.1.2).
func routeSet(m sip.Message, reverse bool) []sip.Uri {
	var routes []sip.Uri
	for _, h := range m.GetHeaders("Record-Route") {
		if r, ok := h.(*sip.RecordRouteHeader); ok {
			routes = append(routes, *r.Address.Clone())
		}
	}
	if reverse {
		slices.Reverse(routes)
	}
	return routes
}

// request builds a request inside the dialog; seq 0 takes the next number.
func (d *dialog) request(method sip.RequestMethod, seq uint32, contact *sip.ContactHeader) *sip.Request {
	if seq == 0 {
		d.localSeq++
		seq = d.localSeq
	}
	req := sip.NewRequest(method, *d.target.Clone())
	for _, r := range d.routes {
		req.AppendHeader(&sip.RouteHeader{Address: *r.Clone()})
	}
	from := &sip.FromHeader{Address: *d.localURI.Clone(), Params: sip.HeaderParams{{K: "tag", V: d.localTag}}}
	to := &sip.ToHeader{Address: *d.remoteURI.Clone()}
	if d.remoteTag != "" {
		to.Params.Add("tag", d.remoteTag)
	}
	id, hops := sip.CallIDHeader(d.callID), sip.MaxForwardsHeader(70)
	req.AppendHeader(from)
	req.AppendHeader(to)
	req.AppendHeader(&id)
	req.AppendHeader(&sip.CSeqHeader{SeqNo: seq, MethodName: method})
	req.AppendHeader(&hops)
	if contact != nil {
		req.AppendHeader(contact)
	}
	return req
}

// contact is our Contact header toward peer.
func (p *Phone) contact(peer, transport string) *sip.ContactHeader {
	uri := sip.Uri{Scheme: "sip", User: p.cfg.Number, Host: uriHost(p.sip.localIP(peer)), Port: int(p.sip.addr.Port())}
	if transport != "UDP" {
		uri.UriParams = sip.HeaderParams{{K: "transport", V: "tcp"}}
	}
	return &sip.ContactHeader{Address: uri}
}

func setSDP(m sip.Message, body []byte) {
	if body != nil {
		m.AppendHeader(sip.NewHeader("Content-Type", "application/sdp"))
	}
	m.SetBody(body)
}

// inDialog builds and addresses a request; seq 0 takes the next number. The caller holds c.mu.
func (c *Call) inDialog(method sip.RequestMethod, seq uint32) *sip.Request {
	req := c.dialog.request(method, seq, c.phone.contact(c.dialog.target.Host, c.dialog.transport))
	c.phone.sip.prepare(req, c.dialog.transport, sip.GenerateBranch())
	c.phone.sip.reuse(req, c.dialog.source)
	return req
}

// bye ends an answered call. It is over at once for us and the BYE goes on in the background; only a
// callee who has no ACK yet must wait for it first (RFC 3261 section 15).
func (c *Call) bye(why string) {
	c.mu.Lock()
	if c.state != answered || c.leaving {
		c.mu.Unlock()
		return
	}
	c.leaving = true
	c.mu.Unlock()
	acked := c.outgoing
	select {
	case <-c.acked:
		acked = true
	default:
	}
	if acked {
		c.phone.spawn(c.sendBye)
		c.end(End{Reason: why})
		return
	}
	c.phone.spawn(func() {
		select {
		case <-c.acked:
		case <-c.hungUp:
			return
		case <-time.After(ackTimeout):
		case <-c.phone.ctx.Done():
		}
		c.end(End{Reason: why})
		c.sendBye()
	})
}

func (c *Call) sendBye() {
	c.mu.Lock()
	req := c.inDialog(sip.BYE, 0)
	c.mu.Unlock()
	tx, err := c.phone.sip.send(c.phone.ctx, req, nil)
	if err == nil {
		_, err = final(c.phone.ctx, tx)
	}
	if err != nil {
		c.log.Debug("BYE was not answered", "error", err)
	}
}

// onRequest answers a request inside the dialog.
func (c *Call) onRequest(req *sip.Request, tx *sip.ServerTx, reply func(int, string, ...sip.Header)) {
	c.media.touch()
	c.mu.Lock()
	seq := req.CSeq().SeqNo
	late := seq < c.dialog.remoteSeq
	c.dialog.remoteSeq = max(c.dialog.remoteSeq, seq)
	c.dialog.source = req.Source()
	st, pending := c.state, c.pending
	if c.confirmed {
		st = max(st, answered)
	}
	c.mu.Unlock()
	switch {
	case late && req.Method != sip.CANCEL:
		reply(500, "CSeq Out Of Order") // RFC 3261 section 12.2.2
	case req.Method == sip.BYE:
		reply(200, "OK")
		c.end(End{Code: c.Code(), Reason: "BYE", Remote: true})
	case req.Method == sip.CANCEL: // its INVITE has its final response
		reply(481, "Call/Transaction Does Not Exist")
	case req.Method == sip.INVITE && (pending || st < answered):
		reply(491, "Request Pending")
	case req.Method == sip.INVITE || req.Method == sip.UPDATE && len(req.Body()) > 0:
		c.onOffer(req, tx, reply)
	case req.Method == sip.REFER && st == answered:
		c.onRefer(req, reply)
	case req.Method == sip.NOTIFY:
		c.onNotify(req, reply)
	default:
		reply(200, "OK")
	}
}

// onOffer answers a re-INVITE, with or without an offer, or an UPDATE with one.
func (c *Call) onOffer(req *sip.Request, tx *sip.ServerTx, reply func(int, string, ...sip.Header)) {
	body, code, err := c.answerSDP(req.Body())
	if err != nil {
		reply(code, "Not Acceptable Here", sip.NewHeader("Warning", fmt.Sprintf("399 phone %q", err)))
		return
	}
	c.mu.Lock()
	if contact := req.Contact(); contact != nil {
		c.dialog.target = *contact.Address.Clone() // target refresh
	}
	peer, transport := c.dialog.target.Host, c.dialog.transport
	c.mu.Unlock()
	res := sip.NewResponseFromRequest(req, 200, "OK", nil)
	res.AppendHeader(c.phone.contact(peer, transport))
	setSDP(res, body)
	acked := make(chan struct{})
	if req.Method == sip.INVITE {
		c.expectACK(req.CSeq().SeqNo, acked, len(req.Body()) == 0)
	}
	if err := tx.Respond(res); err != nil {
		tx.Terminate()
		return
	}
	if req.Method == sip.INVITE {
		c.phone.spawn(func() { c.repeatOK(tx, res, acked) })
	}
}

// answerSDP takes an offer and makes the answer, or without an offer makes one. On error code is the
// response to refuse with.
func (c *Call) answerSDP(body []byte) (out []byte, code int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(body) == 0 {
		return c.offerSDP(), 0, nil
	}
	remote, err := parseSDP(body)
	if err != nil {
		return nil, 400, err
	}
	cfg := c.phone.cfg
	local, err := answerTo(remote, c.codecs(), cfg.EventPayloadType, c.dir)
	if err != nil {
		return nil, 488, err
	}
	c.describe(local)
	g, err := agree(local, remote, local)
	if err != nil {
		return nil, 488, err
	}
	c.local = local
	c.media.agree(g)
	c.sdpVersion++
	return local.marshal(c.sdpID, c.sdpVersion), 0, nil
}

// offerSDP makes an offer of everything the phone can do in the direction it wants.
func (c *Call) offerSDP() []byte {
	c.local = &description{formats: offerOf(c.codecs(), c.events()), dir: c.dir}
	c.describe(c.local)
	c.sdpVersion++
	return c.local.marshal(c.sdpID, c.sdpVersion)
}

// describe fills in where we receive.
func (c *Call) describe(d *description) {
	d.addr = c.phone.sip.localIP(c.dialog.target.Host)
	d.port = c.media.port()
}

func (c *Call) codecs() []Codec {
	if len(c.offer.Codecs) > 0 {
		return c.offer.Codecs
	}
	return c.phone.cfg.Codecs
}

func (c *Call) events() int {
	if c.offer.EventPayloadType != 0 {
		return c.offer.EventPayloadType
	}
	return c.phone.cfg.EventPayloadType
}

// acceptSDP takes the answer to our offer.
func (c *Call) acceptSDP(body []byte) error {
	remote, err := parseSDP(body)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.local == nil {
		return fmt.Errorf("phone: an answer without an offer")
	}
	g, err := agree(c.local, remote, remote)
	if err != nil {
		return err
	}
	c.media.agree(g)
	return nil
}

// Hold puts the far end on hold: a re-INVITE with a=sendonly. The phone goes on sending, silence or
// what is played, as music on hold would come.
func (c *Call) Hold(ctx context.Context) error { return c.reinvite(ctx, sendonly) }

// HoldInactive puts the far end on hold with a=inactive: nothing flows either way.
func (c *Call) HoldInactive(ctx context.Context) error { return c.reinvite(ctx, inactive) }

// Unhold ends a hold.
func (c *Call) Unhold(ctx context.Context) error { return c.reinvite(ctx, sendrecv) }

// ReinviteError is a refused re-INVITE; the call goes on as before.
type ReinviteError struct {
	Code   int
	Reason string
}

func (e *ReinviteError) Error() string {
	return fmt.Sprintf("phone: the far end refused the re-INVITE: %d %s", e.Code, e.Reason)
}

// reinvite offers a new direction and waits for the answer.
func (c *Call) reinvite(ctx context.Context, dir direction) error {
	c.mu.Lock()
	switch {
	case c.state == over:
		c.mu.Unlock()
		return errOver
	case c.state != answered:
		c.mu.Unlock()
		return errNotYet
	case c.pending:
		c.mu.Unlock()
		return fmt.Errorf("phone: another re-INVITE is under way")
	}
	c.pending = true
	before, dirBefore := c.local, c.dir
	c.dir = dir
	req := c.inDialog(sip.INVITE, 0)
	setSDP(req, c.offerSDP())
	c.mu.Unlock()

	err := c.finishReinvite(ctx, req)
	c.mu.Lock()
	c.pending = false
	if err != nil {
		c.local, c.dir = before, dirBefore
	}
	c.mu.Unlock()
	return err
}

func (c *Call) finishReinvite(ctx context.Context, req *sip.Request) error {
	ack := func(*sip.Response) {
		c.mu.Lock()
		a := c.inDialog(sip.ACK, req.CSeq().SeqNo)
		a.SetBody(nil)
		c.mu.Unlock()
		if err := c.phone.sip.tpl.WriteMsg(a); err != nil {
			c.log.Debug("ACK not sent", "error", err)
		}
	}
	tx, err := c.phone.sip.send(ctx, req, ack)
	if err != nil {
		return err
	}
	res, err := final(ctx, tx)
	switch {
	case err != nil:
		return err
	case !res.IsSuccess():
		return &ReinviteError{res.StatusCode, res.Reason}
	}
	if contact := res.Contact(); contact != nil {
		c.mu.Lock()
		c.dialog.target = *contact.Address.Clone()
		c.mu.Unlock()
	}
	ack(res)
	return c.acceptSDP(res.Body())
}
