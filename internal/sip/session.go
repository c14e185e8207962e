package sip

import (
	"crypto/rand"
	"strconv"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/offhook/offhook/internal/call"
)

// session is a dialog's session timer, RFC 4028.
type session struct {
	interval  time.Duration // 0: no timer runs
	min       time.Duration // the least the path accepts, from a 422
	weRefresh bool          // we are the refresher
	update    bool          // the peer takes UPDATE
}

// ask puts our wish into an INVITE or a refresh.
func (s *session) ask(want time.Duration, req *sip.Request) {
	want = max(want, s.min)
	se := sessionExpires{interval: want}
	if s.interval > 0 {
		se.interval = max(s.interval, s.min)
		se.refresher = "uac" // we refresh, so we stay the refresher
	}
	req.AppendHeader(se.header())
	if s.min > minSE {
		req.AppendHeader(sip.NewHeader("Min-SE", strconv.Itoa(int(s.min/time.Second))))
	}
}

// granted reads what the 2xx to a request of ours says; without Session-Expires no timer runs.
func (s *session) granted(l *Leg, res *sip.Response, first bool) {
	if allow := listHeader(res, "Allow", ""); first || len(allow) > 0 {
		s.update = hasOption(allow, "UPDATE")
	}
	se, ok := parseSessionExpires(headerValue(res, "Session-Expires", "x"))
	s.interval = 0
	if ok {
		// Nobody named is an error of the peer's; two who refresh do no harm, a call that nobody does ends.
		s.interval, s.weRefresh = se.interval, se.refresher != "uas"
	}
	s.arm(l)
}

// tooSmall is the refusal of an interval under our minimum, nil when it is fine.
func tooSmall(req *sip.Request) sip.Header {
	se, ok := parseSessionExpires(headerValue(req, "Session-Expires", "x"))
	if ok && se.interval < minSE && hasOption(listHeader(req, "Supported", "k"), "timer") {
		return sip.NewHeader("Min-SE", strconv.Itoa(int(minSE/time.Second)))
	}
	return nil
}

// accept agrees to the peer's request and writes it into our 2xx (RFC 4028 section 9).
func (s *session) accept(l *Leg, req *sip.Request, res *sip.Response) {
	s.update = hasOption(listHeader(req, "Allow", ""), "UPDATE")
	se, ok := parseSessionExpires(headerValue(req, "Session-Expires", "x"))
	if !ok {
		s.interval = 0
		s.arm(l)
		return
	}
	se.interval = max(se.interval, minSE)
	peerKnows := hasOption(listHeader(req, "Supported", "k"), "timer")
	switch {
	case !peerKnows:
		se.refresher = "uas" // a proxy asked
	case se.refresher == "":
		se.refresher = "uac"
	}
	s.interval, s.weRefresh = se.interval, se.refresher == "uas"
	res.AppendHeader(se.header())
	if se.refresher == "uac" {
		res.AppendHeader(sip.NewHeader("Require", "timer"))
	}
	s.arm(l)
}

// arm starts the timers: the refresher acts at half the interval, and a session that nobody refreshed is
// hung up shortly before it expires (RFC 4028 section 10).
func (s *session) arm(l *Leg) {
	l.cancelTimer("refresh")
	l.cancelTimer("expire")
	if s.interval == 0 || l.state == over || l.state == ending {
		return
	}
	if s.weRefresh {
		l.after("refresh", s.interval/2, l.refresh)
	}
	l.after("expire", s.interval-min(32*time.Second, s.interval/3), func() {
		l.end(call.Cause{SIPCode: 200, Reason: "session timer expired", Local: true})
	})
}

// refresh sends UPDATE when the peer takes it, else a re-INVITE with our present description.
func (l *Leg) refresh() {
	if l.state != confirmed && l.state != accepted {
		return
	}
	if l.inviting || len(l.acks) > 0 && l.state == accepted {
		l.after("refresh", jitter(2*time.Second, 4*time.Second), l.refresh)
		return
	}
	l.inviting = true
	method, sdp := sip.UPDATE, []byte(nil)
	if !l.ses.update {
		method, sdp = sip.INVITE, l.media.Offer()
	}
	done := false
	l.ask(func() *sip.Request {
		req := l.request(method)
		req.AppendHeader(l.contact())
		req.AppendHeader(sip.NewHeader("Allow", allowed))
		req.AppendHeader(sip.NewHeader("Supported", strings.Join(supported, ", ")))
		l.ses.ask(l.e.cfg.SessionExpires, req)
		if sdp != nil {
			setSDP(req, sdp)
		} else {
			req.SetBody(nil)
		}
		return req
	}, func(res *sip.Response, err error) {
		if done { // the 2xx again
			if res != nil && res.IsSuccess() {
				l.ackAgain(res)
			}
			return
		}
		done = true
		l.refreshed(method, res, err)
	})
}

func (l *Leg) refreshed(method sip.RequestMethod, res *sip.Response, err error) {
	l.inviting = false
	if l.state != confirmed && l.state != accepted {
		return
	}
	if err != nil {
		l.end(call.Cause{SIPCode: 200, Reason: "session refresh: " + failureCause(err).Reason, Local: true})
		return
	}
	switch code := res.StatusCode; {
	case code < 300:
		if c := res.Contact(); c != nil && isSIP(&c.Address) {
			l.d.target = *c.Address.Clone()
			l.d.target.Headers = nil
			l.aim(res)
		}
		if method == sip.INVITE {
			l.sendACK(l.ack(res.CSeq().SeqNo))
			if sdp, ok := sdpOf(res); ok {
				if err := l.media.Accept(sdp); err != nil {
					l.logger().Warn("sip: answer to our refresh refused", "err", err)
				}
			}
		}
		l.publish()
		l.ses.granted(l, res, false)
	case code == 422 && minSEOf(res) > l.ses.min: // the same again would be refused for ever
		l.ses.min = minSEOf(res)
		l.refresh()
	case code == 491: // RFC 3261 section 14.1: the owner of the Call-ID waits longer
		if l.uas {
			l.after("refresh", jitter(0, 2*time.Second), l.refresh)
		} else {
			l.after("refresh", jitter(2100*time.Millisecond, 4*time.Second), l.refresh)
		}
	case code == 481 || code == 408:
		l.end(call.Cause{SIPCode: 200, Reason: "session refresh refused: " + res.Reason, Local: true})
	}
}

// jitter is a random duration between from and to.
func jitter(from, to time.Duration) time.Duration {
	var b [2]byte
	_, _ = rand.Read(b[:])
	return from + time.Duration(float64(to-from)*float64(int(b[0])<<8|int(b[1]))/65536)
}
