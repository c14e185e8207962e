package phone

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/emiago/sipgo/sip"
)

// referral is what a call knows of transfers (RFC 3515). It is guarded by Call.mu.
type referral struct {
	pending bool // a REFER of ours is not over
	code    int  // the last one that the far end told
}

// ReferError is a refused REFER; the call goes on as before.
type ReferError struct {
	Code   int
	Reason string
}

func (e *ReferError) Error() string {
	return fmt.Sprintf("phone: the far end refused the transfer: %d %s", e.Code, e.Reason)
}

// Transfer asks the far end to call uri instead of this phone, and returns when that was accepted. How it goes on
// WaitTransferred tells; who hangs up is for both to decide.
func (c *Call) Transfer(ctx context.Context, uri string) error { return c.refer(ctx, uri) }

// TransferTo asks the far end to connect with the far end of another call, in whose place it is to call
// (RFC 3891).
func (c *Call) TransferTo(ctx context.Context, other *Call) error {
	other.mu.Lock()
	d := other.dialog
	other.mu.Unlock()
	if d.remoteTag == "" {
		return errNotYet
	}
	target := d.remoteURI.Clone()
	target.UriParams, target.Headers = nil, nil
	return c.refer(ctx, target.String()+"?Replaces="+url.QueryEscape(d.callID+";to-tag="+d.remoteTag+";from-tag="+d.localTag))
}

func (c *Call) refer(ctx context.Context, uri string) error {
	c.mu.Lock()
	switch {
	case c.state == over:
		c.mu.Unlock()
		return errOver
	case c.state != answered:
		c.mu.Unlock()
		return errNotYet
	}
	c.referral = referral{pending: true}
	req := c.inDialog(sip.REFER, 0)
	req.AppendHeader(sip.NewHeader("Refer-To", "<"+uri+">"))
	req.AppendHeader(sip.NewHeader("Referred-By", "<"+c.dialog.localURI.String()+">"))
	req.SetBody(nil)
	c.mu.Unlock()
	tx, err := c.phone.sip.send(ctx, req, nil)
	if err != nil {
		return err
	}
	res, err := final(ctx, tx)
	switch {
	case err != nil:
		return err
	case !res.IsSuccess():
		c.mu.Lock()
		c.referral.pending = false
		c.mu.Unlock()
		return &ReferError{res.StatusCode, res.Reason}
	}
	return nil
}

// WaitTransferred blocks until the far end has told the result of a transfer, a SIP code such as 200, or 0 when it
// ends its reports without one.
func (c *Call) WaitTransferred(ctx context.Context) (code int, err error) {
	err = c.wait(ctx, "waiting for the result of a transfer", func() (bool, error) {
		code = c.referral.code
		return !c.referral.pending, nil
	})
	return code, err
}

// onNotify takes what the far end tells of a transfer.
func (c *Call) onNotify(req *sip.Request, reply func(int, string, ...sip.Header)) {
	c.mu.Lock()
	if event := req.GetHeader("Event"); event == nil || !strings.HasPrefix(event.Value(), "refer") || !c.referral.pending {
		c.mu.Unlock()
		reply(481, "Subscription Does Not Exist")
		return
	}
	if fields := strings.Fields(string(req.Body())); len(fields) > 1 && fields[0] == "SIP/2.0" {
		c.referral.code, _ = strconv.Atoi(fields[1])
	}
	if state := req.GetHeader("Subscription-State"); state != nil && strings.HasPrefix(state.Value(), "terminated") {
		c.referral.pending = false
	}
	c.mu.Unlock()
	reply(200, "OK")
	c.changed.notify()
}

// onRefer accepts to be transferred, and tells what Config.OnRefer says came of it.
func (c *Call) onRefer(req *sip.Request, reply func(int, string, ...sip.Header)) {
	to := req.GetHeader("Refer-To")
	if to == nil {
		reply(400, "Bad Refer-To")
		return
	}
	_, uri, found := strings.Cut(to.Value(), "<")
	if !found {
		uri = to.Value()
	}
	uri, _, _ = strings.Cut(uri, ">")
	reply(202, "Accepted")
	c.phone.spawn(func() {
		c.notify(100, "Trying", "active;expires=60")
		code := 200
		if f := c.phone.cfg.OnRefer; f != nil {
			code = f(c, uri)
		}
		reason := "OK"
		if code >= 300 {
			reason = "Failed"
		}
		c.notify(code, reason, "terminated;reason=noresource")
	})
}

// notify tells the far end how its transfer goes, and waits for the answer.
func (c *Call) notify(code int, reason, state string) {
	c.mu.Lock()
	if c.state > answered || c.state < answered && !c.confirmed {
		c.mu.Unlock()
		return
	}
	req := c.inDialog(sip.NOTIFY, 0)
	req.AppendHeader(sip.NewHeader("Event", "refer"))
	req.AppendHeader(sip.NewHeader("Subscription-State", state))
	req.AppendHeader(sip.NewHeader("Content-Type", "message/sipfrag"))
	req.SetBody(fmt.Appendf(nil, "SIP/2.0 %d %s\r\n", code, reason))
	c.mu.Unlock()
	tx, err := c.phone.sip.send(c.phone.ctx, req, nil)
	if err == nil {
		_, err = final(c.phone.ctx, tx)
	}
	if err != nil {
		c.log.Debug("NOTIFY was not answered", "error", err)
	}
}
