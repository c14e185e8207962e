package sip

import (
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/offhook/offhook/internal/call"
)

const (
	// maxReferrals bounds the REFERs of a dialog that are not done with.
	maxReferrals = 4
	// maxNotices bounds the NOTIFYs that wait for the one before them.
	maxNotices = 16
	// replyWait is how long the owner may take to say whether it does what the party asks for: half of the party's
	// Timer F.
	replyWait = 16 * time.Second
	// maxRefer bounds a Refer-To or Replaces in bytes.
	maxRefer = 2048
)

// referrals are the transfers that a dialog is asked for and asks for (RFC 3515).
type referrals struct {
	asked     map[int]*referral // by CSeq
	notices   []func()          // NOTIFYs that wait for the answer of the one before, so that none overtakes another
	notifying bool

	own    uint32 // CSeq of our own REFER
	awaits bool   // its end has not come
	waits  string // the URI of one that waits for the ACK of our 200
}

// referral is a REFER of the party.
type referral struct {
	req      *sip.Request
	tx       *sip.ServerTx
	accepted bool
	silent   bool // it wants no news (RFC 4488)
}

func (l *Leg) referrals() *referrals {
	if l.refers == nil {
		l.refers = &referrals{asked: make(map[int]*referral)}
	}
	return l.refers
}

// onRefer hands a REFER to the owner, who answers it.
func (l *Leg) onRefer(req *sip.Request, tx *sip.ServerTx) {
	r := l.referrals()
	switch {
	case l.state != accepted && l.state != confirmed || l.hangup || len(r.asked) >= maxReferrals || !l.hasRoom():
		l.e.respond(req, tx, 500, "Server Internal Error", retryAfter())
		return
	case len(refersTo(req)) != 1: // RFC 3515 section 2.4.2
		l.e.respond(req, tx, 400, "Bad Refer-To")
		return
	}
	ev, ok := parseReferTo(refersTo(req)[0])
	if !ok {
		l.e.respond(req, tx, 400, "Bad Refer-To")
		return
	}
	if !strings.HasPrefix(ev.To, "sip:") && !strings.HasPrefix(ev.To, "sips:") && !strings.HasPrefix(ev.To, "tel:") {
		l.e.respond(req, tx, 416, "Unsupported URI Scheme")
		return
	}
	ev.ID = int(req.CSeq().SeqNo)
	ev.ReferredBy = uriIn(headerValue(req, "Referred-By", "b"))
	r.asked[ev.ID] = &referral{req: req, tx: tx, silent: strings.EqualFold(firstParam(headerValue(req, "Refer-Sub", "")), "false")}
	l.after(referTimer(ev.ID), replyWait, func() { l.referReply(ev.ID, 500) })
	l.emit(ev)
}

func referTimer(id int) string { return "refer" + strconv.Itoa(id) }

// refersTo are the Refer-To headers of a request, of which there must be one.
func refersTo(req *sip.Request) (values []string) {
	for _, name := range [...]string{"Refer-To", "r"} {
		for _, h := range req.GetHeaders(name) {
			values = append(values, h.Value())
		}
	}
	return values
}

// ReferReply answers a LegReferred: 202, after which ReferNotify tells how it goes on, or a refusal.
func (l *Leg) ReferReply(id, code int) { l.mail.post(func() { l.referReply(id, code) }, 0) }

func (l *Leg) referReply(id, code int) {
	ref := l.referrals().asked[id]
	if ref == nil || ref.accepted {
		return
	}
	l.cancelTimer(referTimer(id))
	if code >= 300 {
		delete(l.refers.asked, id)
		l.e.respond(ref.req, ref.tx, code, refusalPhrase(code))
		return
	}
	ref.accepted = true
	headers := []sip.Header{l.contact()}
	if ref.silent {
		headers = append(headers, sip.NewHeader("Refer-Sub", "false"))
	}
	l.e.respond(ref.req, ref.tx, 202, "Accepted", headers...)
	l.notify(id, 100, "Trying") // RFC 3515 section 2.4.4: at once
}

func refusalPhrase(code int) string {
	switch code {
	case 481:
		return "Call/Transaction Does Not Exist"
	case 486:
		return "Busy Here"
	case 480:
		return "Temporarily Unavailable"
	case 491:
		return "Request Pending"
	case 500:
		return "Server Internal Error"
	default:
		return "Decline"
	}
}

// ReferNotify tells the party who asked for a transfer how it goes. With a final code that is all.
func (l *Leg) ReferNotify(id, code int, reason string) {
	l.mail.post(func() { l.notify(id, code, reason) }, 0)
}

func (l *Leg) notify(id, code int, reason string) {
	r := l.referrals()
	ref := r.asked[id]
	if ref == nil || !ref.accepted {
		return
	}
	if code >= 200 {
		delete(r.asked, id)
	}
	if ref.silent || len(r.notices) >= maxNotices {
		return
	}
	subscription := "active;expires=60"
	if code >= 200 {
		subscription = "terminated;reason=noresource"
	}
	r.notices = append(r.notices, func() {
		l.ask(func() *sip.Request {
			req := l.request(sip.NOTIFY)
			req.AppendHeader(l.contact())
			req.AppendHeader(sip.NewHeader("Event", "refer;id="+strconv.Itoa(id)))
			req.AppendHeader(sip.NewHeader("Subscription-State", subscription))
			ct := sip.ContentTypeHeader("message/sipfrag;version=2.0")
			req.AppendHeader(&ct)
			req.SetBody([]byte("SIP/2.0 " + strconv.Itoa(code) + " " + quote(reason) + "\r\n"))
			return req
		}, func(*sip.Response, error) { l.nextNotice() })
	})
	if !r.notifying {
		r.notifying = true
		l.nextNotice()
	}
}

// nextNotice sends the NOTIFY whose turn it is.
func (l *Leg) nextNotice() {
	r := l.refers
	if len(r.notices) == 0 || l.state != accepted && l.state != confirmed {
		r.notices, r.notifying = nil, false
		return
	}
	send := r.notices[0]
	r.notices = r.notices[1:]
	send()
}

// refuseReferrals answers what is still open when the leg ends.
func (l *Leg) refuseReferrals() {
	if l.refers == nil {
		return
	}
	for _, ref := range l.refers.asked {
		if !ref.accepted {
			l.e.respond(ref.req, ref.tx, 481, "Call/Transaction Does Not Exist")
		}
	}
	clear(l.refers.asked)
}

// Refer asks the party to call uri, a URI with its headers, instead of us. LegReferAnswered follows, and as long
// as the party tells how that goes LegReferNotified. One at a time.
func (l *Leg) Refer(uri string) { l.mail.post(func() { l.refer(uri) }, 0) }

func (l *Leg) refer(uri string) {
	r := l.referrals()
	if l.in.req != nil && l.state == accepted && !l.hangup && r.waits == "" {
		r.waits = uri // a phone knows of its dialog once it has read our 200, which its ACK tells
		return
	}
	if l.state != accepted && l.state != confirmed || l.hangup || r.awaits || hasControl(uri) || strings.ContainsAny(uri, " <>\"") {
		l.tellReferral(call.LegReferAnswered{Code: 481})
		return
	}
	r.awaits, r.own = true, 0
	l.ask(func() *sip.Request {
		req := l.request(sip.REFER)
		r.own = req.CSeq().SeqNo
		req.AppendHeader(l.contact())
		req.AppendHeader(sip.NewHeader("Refer-To", "<"+uri+">"))
		req.AppendHeader(sip.NewHeader("Referred-By", "<"+l.d.local.String()+">"))
		req.AppendHeader(sip.NewHeader("Allow", allowed))
		req.AppendHeader(sip.NewHeader("Supported", strings.Join(supported, ", ")))
		req.SetBody(nil)
		return req
	}, func(res *sip.Response, err error) {
		if err != nil {
			r.awaits = false
			l.tellReferral(call.LegReferAnswered{Code: failureCause(err).SIPCode})
			return
		}
		a := call.LegReferAnswered{Code: res.StatusCode}
		if res.IsSuccess() {
			a.Silent = strings.EqualFold(firstParam(headerValue(res, "Refer-Sub", "")), "false")
		}
		if !res.IsSuccess() || a.Silent {
			r.awaits = false
		}
		l.tellReferral(a)
	})
}

// referWaiting sends the REFER that waited for the ACK.
func (l *Leg) referWaiting() {
	if r := l.refers; r != nil && r.waits != "" {
		uri := r.waits
		r.waits = ""
		l.refer(uri)
	}
}

// tellReferral tells the owner what came of its REFER.
func (l *Leg) tellReferral(ev call.LegEvent) {
	if l.hasRoom() {
		l.emit(ev)
	}
}

// onNotify takes news of our own REFER, and no other.
func (l *Leg) onNotify(req *sip.Request, tx *sip.ServerTx) {
	event, params, _ := strings.Cut(headerValue(req, "Event", "o"), ";")
	if !strings.EqualFold(strings.TrimSpace(event), "refer") {
		l.e.respond(req, tx, 489, "Bad Event", sip.NewHeader("Allow-Events", "refer"))
		return
	}
	r, id := l.referrals(), param(params, "id")
	if !r.awaits || id != "" && id != strconv.FormatUint(uint64(r.own), 10) {
		l.e.respond(req, tx, 481, "Subscription Does Not Exist")
		return
	}
	l.e.respond(req, tx, 200, "OK")
	ev := call.LegReferNotified{Code: parseSipfrag(req.Body())}
	ev.Final = ev.Code >= 200 || strings.EqualFold(firstParam(headerValue(req, "Subscription-State", "")), "terminated")
	r.awaits = !ev.Final
	l.tellReferral(ev)
}

// parseSipfrag is the code of the status line that a NOTIFY's body begins with (RFC 3420), 0 when there is none.
func parseSipfrag(body []byte) int {
	line, _, _ := strings.Cut(string(body[:min(len(body), maxRefer)]), "\n")
	rest, ok := strings.CutPrefix(strings.ToUpper(strings.TrimSpace(line)), "SIP/2.0 ")
	if !ok {
		return 0
	}
	digits, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	code, err := strconv.Atoi(digits)
	if err != nil || len(digits) != 3 || code < 100 || code > 699 {
		return 0
	}
	return code
}

// parseReferTo reads a Refer-To: a URI, in angle brackets when it has headers. A method other than INVITE is
// nothing that we do.
func parseReferTo(v string) (ev call.LegReferred, ok bool) {
	uri := uriIn(v)
	if uri == "" || len(uri) > maxRefer || hasControl(uri) || strings.ContainsAny(uri, " <>\"") {
		return ev, false
	}
	scheme, rest, found := strings.Cut(uri, ":")
	if !found || rest == "" {
		return ev, false
	}
	ev.To = strings.ToLower(scheme) + ":" + rest
	target, headers, _ := strings.Cut(rest, "?")
	if m := param(afterFirst(target, ";"), "method"); m != "" && !strings.EqualFold(m, "INVITE") {
		return ev, false
	}
	if headers == "" {
		return ev, true
	}
	for pair := range strings.SplitSeq(headers, "&") {
		name, value, _ := strings.Cut(pair, "=")
		if !strings.EqualFold(name, "Replaces") {
			continue
		}
		value, err := url.PathUnescape(value)
		if err != nil || ev.Replaces != nil {
			return ev, false
		}
		if ev.Replaces, ok = parseReplaces(value); !ok {
			return ev, false
		}
	}
	return ev, true
}

// parseReplaces reads a Replaces header (RFC 3891 section 6.1).
func parseReplaces(v string) (*call.Replaces, bool) {
	if len(v) > maxRefer || hasControl(v) {
		return nil, false
	}
	id, params, _ := strings.Cut(v, ";")
	r := &call.Replaces{CallID: strings.TrimSpace(id)}
	for p := range strings.SplitSeq(params, ";") {
		k, value, _ := strings.Cut(p, "=")
		value = strings.TrimSpace(value)
		switch strings.ToLower(strings.TrimSpace(k)) {
		case "to-tag":
			if r.ToTag != "" {
				return nil, false
			}
			r.ToTag = value
		case "from-tag":
			if r.FromTag != "" {
				return nil, false
			}
			r.FromTag = value
		case "early-only":
			r.EarlyOnly = true
		}
	}
	return r, r.CallID != "" && r.ToTag != "" && r.FromTag != "" && !strings.ContainsAny(r.CallID, " \t")
}

// replacesOf is the Replaces header of an INVITE, nil when it has none; ok is false when it has more than one or
// one that cannot be read (RFC 3891 section 3).
func replacesOf(req *sip.Request) (r *call.Replaces, ok bool) {
	switch all := req.GetHeaders("Replaces"); len(all) {
	case 0:
		return nil, true
	case 1:
		return parseReplaces(all[0].Value())
	default:
		return nil, false
	}
}

// uriIn is the URI of a header value, with or without a name and angle brackets.
func uriIn(v string) string {
	if i := strings.LastIndexByte(v, '<'); i >= 0 {
		uri, _, closed := strings.Cut(v[i+1:], ">")
		if !closed {
			return ""
		}
		return strings.TrimSpace(uri)
	}
	return firstParam(v)
}

// firstParam is what stands before the first semicolon.
func firstParam(v string) string {
	v, _, _ = strings.Cut(v, ";")
	return strings.TrimSpace(v)
}

func afterFirst(s, sep string) string {
	_, after, _ := strings.Cut(s, sep)
	return after
}

// param is the value of a parameter in a list of them, "" when it is not there.
func param(params, name string) string {
	for p := range strings.SplitSeq(params, ";") {
		if k, v, _ := strings.Cut(p, "="); strings.EqualFold(strings.TrimSpace(k), name) {
			return strings.TrimSpace(v)
		}
	}
	return ""
}
