package phone

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/emiago/sipgo/sip"
)

// Outgoing describes a call to make; only To is needed.
type Outgoing struct {
	To   string // SIP URI, as sip:+15550199@127.0.0.1:5060;transport=tcp
	From string // calling number, default Config.Number
	Name string // display name of the caller

	Codecs           []Codec  // instead of Config.Codecs
	EventPayloadType int      // instead of Config.EventPayloadType
	LateOffer        bool     // send no SDP with the INVITE; the ACK carries the answer
	Headers          []string // further header lines, as "X-Reason: test"
}

// Dial calls uri and returns when the INVITE is on its way; see WaitRinging and WaitAnswered. The
// context bounds finding and reaching the far end, not the call.
func (p *Phone) Dial(ctx context.Context, uri string) (*Call, error) {
	return p.Call(ctx, Outgoing{To: uri})
}

// Call makes a call as described, otherwise like Dial.
func (p *Phone) Call(ctx context.Context, o Outgoing) (*Call, error) {
	var target sip.Uri
	if err := sip.ParseUri(o.To, &target); err != nil || target.Host == "" {
		return nil, fmt.Errorf("phone: %q is not a SIP URI, want sip:number@host:port", o.To)
	}
	if pt := o.EventPayloadType; pt > 127 || pt > 0 && pt < 96 {
		return nil, fmt.Errorf("phone: telephone-event payload type %d is not a dynamic one, 96 to 127", pt)
	}
	c := newCall(p, sip.GenerateTagN(24), sip.GenerateTagN(12), true)
	c.offer = o
	c.from, c.to = cmp.Or(o.From, p.cfg.Number), target.User
	d := &c.dialog
	d.transport = strings.ToUpper(target.UriParams.GetOr("transport", p.cfg.Transport))
	if d.transport != "UDP" && d.transport != "TCP" {
		return nil, fmt.Errorf("phone: transport %q of %s is neither udp nor tcp", d.transport, o.To)
	}
	d.target = target
	d.localURI = sip.Uri{Scheme: "sip", User: c.from, Host: uriHost(p.sip.localIP(target.Host))}
	d.remoteURI = *target.Clone()
	d.remoteURI.UriParams = nil
	if err := c.open(target.Host); err != nil {
		return nil, err
	}
	c.mu.Lock()
	req, err := c.newInvite()
	c.mu.Unlock()
	if err != nil {
		c.end(End{Reason: err.Error()})
		return nil, err
	}
	if err := c.sendInvite(ctx, req); err != nil {
		c.end(End{Reason: err.Error()})
		return nil, err
	}
	c.log.Info("calling", "to", o.To)
	return c, nil
}

// newInvite builds the INVITE, with an offer unless it is to come late. The caller holds c.mu.
func (c *Call) newInvite() (*sip.Request, error) {
	req := c.inDialog(sip.INVITE, 0)
	req.From().DisplayName = c.offer.Name
	req.AppendHeader(sip.NewHeader("Allow", allow))
	req.AppendHeader(sip.NewHeader("User-Agent", "offhook phone"))
	for _, line := range c.offer.Headers {
		name, value, ok := strings.Cut(line, ":")
		if !ok || strings.ContainsAny(line, "\r\n") {
			return nil, fmt.Errorf("phone: %q is not a header line, want Name: value", line)
		}
		req.AppendHeader(sip.NewHeader(strings.TrimSpace(name), strings.TrimSpace(value)))
	}
	if c.offer.LateOffer {
		req.SetBody(nil)
	} else {
		setSDP(req, c.offerSDP())
	}
	return req, nil
}

// sendInvite starts the INVITE transaction and the goroutine that sees it through.
func (c *Call) sendInvite(ctx context.Context, req *sip.Request) error {
	c.mu.Lock()
	c.invite, c.provisional = req, false
	c.mu.Unlock()
	tx, err := c.phone.sip.send(ctx, req, func(res *sip.Response) { c.ack(req, res, nil) })
	if err != nil {
		return err
	}
	c.phone.spawn(func() { c.runInvite(tx) })
	return nil
}

// runInvite takes the responses in until the final one.
func (c *Call) runInvite(tx *sip.ClientTx) {
	for {
		select {
		case res := <-tx.Responses():
			if c.onResponse(tx.Origin(), res) {
				return
			}
		case <-tx.Done():
			code := 408
			if errors.Is(tx.Err(), sip.ErrTransactionTransport) {
				code = 503
			}
			c.end(End{Code: code, Reason: fmt.Sprintf("no answer to the INVITE: %v", tx.Err())}) // RFC 3261 section 8.1.3.1
			return
		case <-c.phone.ctx.Done():
			tx.Terminate()
			c.end(End{Reason: "phone closed"})
			return
		}
	}
}

// onResponse takes in one response; true after the final one.
func (c *Call) onResponse(req *sip.Request, res *sip.Response) (done bool) {
	c.media.touch()
	c.mu.Lock()
	c.headers = res.Headers()
	c.dialog.source = res.Source()
	if !res.IsProvisional() {
		c.code = res.StatusCode
	}
	cancelNow := res.IsProvisional() && c.cancelled && !c.provisional
	c.provisional = true
	tried := req.GetHeader("Authorization") != nil || req.GetHeader("Proxy-Authorization") != nil
	cancelled := c.cancelled
	c.mu.Unlock()
	switch {
	case res.IsProvisional():
		if cancelNow { // not spawn: it must go out when the phone is closing, and runInvite holds the group
			c.phone.wg.Go(c.cancel)
		}
		if res.StatusCode > 100 {
			if len(res.Body()) > 0 && !c.offer.LateOffer { // early media; the 2xx may still differ
				if err := c.acceptSDP(res.Body()); err != nil {
					c.log.Debug("early media", "error", err)
				}
			}
			c.setState(ringing)
		}
		return false
	case res.IsSuccess():
		c.onAnswer(req, res)
		return true
	case (res.StatusCode == 401 || res.StatusCode == 407) && c.phone.cfg.Username != "" && !tried && !cancelled:
		if err := c.authenticate(req, res); err != nil {
			c.log.Warn("cannot answer the challenge", "error", err)
			break
		}
		return true
	}
	c.end(End{Code: res.StatusCode, Reason: res.Reason, Remote: true})
	return true
}

// onAnswer makes the dialog of a 2xx, sends the ACK and starts the audio.
func (c *Call) onAnswer(req *sip.Request, res *sip.Response) {
	c.mu.Lock()
	d := &c.dialog
	d.remoteTag, _ = res.To().Params.Get("tag")
	d.routes = routeSet(res, true)
	if contact := res.Contact(); contact != nil {
		d.target = *contact.Address.Clone()
	}
	c.mu.Unlock()

	var answer []byte
	var err error
	if c.offer.LateOffer {
		if len(res.Body()) == 0 {
			err = errors.New("phone: the 2xx to an INVITE without SDP has no offer")
		} else {
			answer, _, err = c.answerSDP(res.Body())
		}
	} else if len(res.Body()) > 0 {
		err = c.acceptSDP(res.Body())
	} else if _, early := c.media.agreement(); !early { // else the answer came in a reliable 1xx
		err = errNoAudio
	}
	c.mu.Lock()
	c.confirmed = true // from now on the far end may ask for something
	c.mu.Unlock()
	c.ack(req, res, answer)
	c.mu.Lock()
	cancelled := c.cancelled
	c.mu.Unlock()
	c.setState(answered)
	switch {
	case err != nil:
		c.bye(err.Error())
	case cancelled: // the answer overtook the CANCEL
		c.bye("cancelled")
	default:
		c.startMedia()
	}
}

// ack sends the ACK for a 2xx; with answer nil it repeats what the first one carried.
func (c *Call) ack(req *sip.Request, res *sip.Response, answer []byte) {
	c.mu.Lock()
	if tag, _ := res.To().Params.Get("tag"); tag != c.dialog.remoteTag {
		c.mu.Unlock()
		return // another branch of a fork, which this phone does not take part in
	}
	if answer != nil {
		c.lateAnswer = answer
	}
	a := c.inDialog(sip.ACK, req.CSeq().SeqNo)
	setSDP(a, c.lateAnswer)
	c.mu.Unlock()
	if err := c.phone.sip.tpl.WriteMsg(a); err != nil {
		c.log.Debug("ACK not sent", "error", err)
	}
}

// cancel sends the CANCEL of an INVITE that has a provisional response. When no final response
// follows within 64*T1 the call ends without one (RFC 3261 section 9.1).
func (c *Call) cancel() {
	c.mu.Lock()
	inv := c.invite
	c.mu.Unlock()
	req := sip.NewRequest(sip.CANCEL, *inv.Recipient.Clone())
	req.AppendHeader(inv.Via().Clone())
	sip.CopyHeaders("Route", inv, req)
	for _, name := range []string{"From", "To", "Call-ID"} {
		sip.CopyHeaders(name, inv, req)
	}
	hops := sip.MaxForwardsHeader(70)
	req.AppendHeader(&sip.CSeqHeader{SeqNo: inv.CSeq().SeqNo, MethodName: sip.CANCEL})
	req.AppendHeader(&hops)
	req.SetBody(nil)
	req.SetTransport(inv.Transport())
	req.SetDestination(inv.Destination())
	req.Laddr = inv.Laddr
	ctx, stop := context.WithTimeout(c.phone.ctx, ackTimeout)
	defer stop()
	tx, err := c.phone.sip.send(ctx, req, nil)
	if err == nil {
		_, err = final(ctx, tx)
	}
	if err != nil {
		c.log.Debug("CANCEL was not answered", "error", err)
	}
	select {
	case <-c.hungUp:
	case <-ctx.Done():
		c.end(End{Reason: "cancelled, without a final response"})
	}
}

// authenticate repeats the INVITE with credentials, in a new transaction.
func (c *Call) authenticate(req *sip.Request, res *sip.Response) error {
	ask, give := "WWW-Authenticate", "Authorization"
	if res.StatusCode == 407 {
		ask, give = "Proxy-Authenticate", "Proxy-Authorization"
	}
	h := res.GetHeader(ask)
	if h == nil {
		return fmt.Errorf("phone: %d without %s", res.StatusCode, ask)
	}
	ch, err := parseChallenge(h.Value())
	if err != nil {
		return err
	}
	cfg := c.phone.cfg
	value, err := ch.answer("INVITE", req.Recipient.String(), cfg.Username, cfg.Password, "")
	if err != nil {
		return err
	}
	c.mu.Lock()
	again, err := c.newInvite()
	c.mu.Unlock()
	if err != nil {
		return err
	}
	again.AppendHeader(sip.NewHeader(give, value))
	return c.sendInvite(c.phone.ctx, again)
}
