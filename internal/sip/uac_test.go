package sip

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/offhook/offhook/internal/call"
)

func TestHangupWaitsForAProvisionalBeforeCancel(t *testing.T) {
	a := start(t, nil)
	p := newPeer(t, a)
	out := dial(t, a, call.OutboundLeg{Target: p.uri()})
	inv := p.request("INVITE")
	out.Hangup()
	p.silent(200 * time.Millisecond)
	p.answer(inv, 180, "x")
	cancel := p.request("CANCEL")
	if cancel.Via().Value() != inv.Via().Value() || cancel.CSeq().SeqNo != inv.CSeq().SeqNo || cancel.To().Value() != inv.To().Value() {
		t.Errorf("CANCEL does not match the INVITE:\n%s\n%s", inv, cancel)
	}
	p.answer(cancel, 200, "x")
	p.answer(inv, 487, "x")
	p.request("ACK")
	if e := ended(t, out); e.Cause.SIPCode != 487 || !e.Cause.Local {
		t.Errorf("%+v", e)
	}
}

func TestCancelCrossesTheAnswer(t *testing.T) {
	a := start(t, nil)
	p := newPeer(t, a)
	out := dial(t, a, call.OutboundLeg{Target: p.uri()})
	inv := p.request("INVITE")
	p.answer(inv, 180, "x")
	next[call.LegRinging](t, out)
	out.Hangup()
	p.answer(p.request("CANCEL"), 200, "x")
	p.answer(inv, 200, "x", "sdp")
	p.request("ACK")
	p.answer(p.request("BYE"), 200, "x")
	if e := ended(t, out); e.Cause.SIPCode != 487 || !e.Cause.Local {
		t.Errorf("%+v", e)
	}
}

func TestForkedAndRepeated2xx(t *testing.T) {
	a := start(t, nil)
	p := newPeer(t, a)
	out := dial(t, a, call.OutboundLeg{Target: p.uri()})
	inv := p.request("INVITE")
	p.answer(inv, 200, "first", "sdp")
	if ack := p.request("ACK"); tagOf(ack.To().Params) != "first" {
		t.Errorf("ACK to %s", ack.To())
	}
	next[call.LegAnswered](t, out)
	p.answer(inv, 200, "second", "sdp")
	if ack := p.request("ACK"); tagOf(ack.To().Params) != "second" {
		t.Errorf("ACK to %s", ack.To())
	}
	bye := p.request("BYE")
	if tagOf(bye.To().Params) != "second" {
		t.Errorf("BYE to %s", bye.To())
	}
	p.answer(bye, 200, "")
	p.answer(inv, 200, "first", "sdp")
	if ack := p.request("ACK"); tagOf(ack.To().Params) != "first" {
		t.Errorf("ACK to %s", ack.To())
	}
	out.Hangup()
	bye = p.request("BYE")
	if tagOf(bye.To().Params) != "first" {
		t.Errorf("BYE to %s", bye.To())
	}
	p.answer(bye, 200, "")
	ended(t, out)
}

func TestFloodOfForks(t *testing.T) {
	a := start(t, nil)
	p := newPeer(t, a)
	out := dial(t, a, call.OutboundLeg{Target: p.uri()})
	inv := p.request("INVITE")
	p.answer(inv, 200, "x", "sdp")
	p.request("ACK")
	next[call.LegAnswered](t, out)
	for i := range 2 * maxForks {
		p.answer(inv, 200, fmt.Sprint("fork", i), "sdp")
	}
	ended := map[string]bool{}
	for {
		m := p.read(300 * time.Millisecond)
		if m == nil {
			break
		}
		if r := m.(*sip.Request); r.Method == sip.BYE {
			ended[tagOf(r.To().Params)] = true
			p.answer(r, 200, "")
		}
	}
	if len(ended) == 0 || len(ended) > maxForks {
		t.Errorf("%d forks were hung up, want %d at most", len(ended), maxForks)
	}
	if ended["x"] {
		t.Error("the call itself was hung up")
	}
}

func TestAnswerAfterTheCancelledCallWasGivenUp(t *testing.T) {
	clk := newFakeClock()
	a := start(t, func(c *Config) { c.Clock = clk })
	p := newPeer(t, a)
	out := dial(t, a, call.OutboundLeg{Target: p.uri()})
	inv := p.request("INVITE")
	p.answer(inv, 180, "x")
	next[call.LegRinging](t, out)
	out.Hangup()
	p.answer(p.request("CANCEL"), 200, "x")
	clk.exactly(t, timer64T1)
	ended(t, out)
	p.answer(inv, 180, "x") // he still rings
	p.silent(50 * time.Millisecond)
	p.answer(inv, 200, "x", "sdp")
	p.request("ACK")
	p.answer(p.request("BYE"), 200, "")
}

func TestEarlyMediaAndReliableProvisional(t *testing.T) {
	a := start(t, nil)
	p := newPeer(t, a)
	out := dial(t, a, call.OutboundLeg{Target: p.uri()})
	inv := p.request("INVITE")
	p.answer(inv, 183, "x", "Require: 100rel", "RSeq: 41", "sdp")
	prack := p.request("PRACK")
	if got, want := headerValue(prack, "RAck", ""), "41 "+inv.CSeq().Value(); got != want {
		t.Errorf("RAck %q, want %q", got, want)
	}
	p.answer(prack, 200, "")
	if r := next[call.LegRinging](t, out); r.Code != 183 || !r.EarlyMedia {
		t.Errorf("%+v", r)
	}
	p.answer(inv, 183, "x", "Require: 100rel", "RSeq: 41", "sdp") // again: no second PRACK
	if n := out.Dialog().CSeq; n != inv.CSeq().SeqNo {            // a CANCEL after a restart needs it
		t.Errorf("stored CSeq %d, want the INVITE's %d", n, inv.CSeq().SeqNo)
	}
	p.answer(inv, 200, "x") // no SDP: that of the 183 stands
	for range 2 {
		if n := p.request("ACK").CSeq().SeqNo; n != inv.CSeq().SeqNo { // not the PRACK's
			t.Errorf("CSeq %d of the ACK, want the INVITE's %d", n, inv.CSeq().SeqNo)
		}
		p.answer(inv, 200, "x") // the ACK was lost
	}
	p.request("ACK")
	next[call.LegAnswered](t, out)
	if started, _, _, accepted := a.media.stream(t, 0).state(); !started || accepted != 1 {
		t.Errorf("started %v, accepted %d", started, accepted)
	}
}

func TestFinalCodesKeepTheirCause(t *testing.T) {
	for _, code := range []int{404, 480, 486, 500, 503, 600, 603} {
		a := start(t, nil)
		p := newPeer(t, a)
		out := dial(t, a, call.OutboundLeg{Target: p.uri()})
		p.answer(p.request("INVITE"), code, "x", `Reason: SIP;cause=600, Q.850;cause=17;text="User busy"`)
		p.request("ACK")
		if e := ended(t, out); e.Cause != (call.Cause{SIPCode: code, Reason: "Whatever", Q850: 17}) {
			t.Errorf("%d: %+v", code, e)
		}
	}
}

func TestChallengeIsAnsweredOnce(t *testing.T) {
	a := start(t, nil)
	p := newPeer(t, a)
	out := dial(t, a, call.OutboundLeg{Target: p.uri(), Username: "u", Password: "secret"})
	inv := p.request("INVITE")
	if inv.GetHeader("Proxy-Authorization") != nil {
		t.Error("credentials before a challenge")
	}
	chal := `Proxy-Authenticate: Digest realm="r", nonce="n1", qop="auth, auth-int", algorithm=MD5, opaque="o"`
	p.answer(inv, 407, "x", chal)
	p.request("ACK")
	inv2 := p.request("INVITE")
	v := headerValue(inv2, "Proxy-Authorization", "")
	for _, want := range []string{`username="u"`, `nonce="n1"`, `nc=00000001`, `qop=auth,`, `opaque="o"`, `uri="` + inv2.Recipient.String() + `"`} {
		if !strings.Contains(v, want) {
			t.Errorf("Proxy-Authorization %q lacks %s", v, want)
		}
	}
	if strings.Contains(inv2.String(), "secret") || inv2.CSeq().SeqNo != inv.CSeq().SeqNo+1 || tagOf(inv2.From().Params) != tagOf(inv.From().Params) || inv2.CallID().Value() != inv.CallID().Value() {
		t.Errorf("second INVITE:\n%s", inv2)
	}
	p.answer(inv2, 407, "x", strings.Replace(chal, "n1", "n2", 1)+", stale=true")
	p.request("ACK")
	inv3 := p.request("INVITE")
	if !strings.Contains(inv3.String(), `nonce="n2"`) {
		t.Errorf("stale nonce not replaced:\n%s", inv3)
	}
	p.answer(inv3, 407, "x", strings.Replace(chal, "n1", "n3", 1))
	p.request("ACK")
	if e := ended(t, out); e.Cause.SIPCode != 407 {
		t.Errorf("%+v", e)
	}
}

func TestRedirectIsFollowedWithoutCredentials(t *testing.T) {
	a := start(t, nil)
	p, q := newPeer(t, a), newPeer(t, a)
	out := dial(t, a, call.OutboundLeg{Target: p.uri(), Username: "u", Password: "secret"})
	p.answer(p.request("INVITE"), 302, "x", "Contact: <"+q.uri()+">")
	p.request("ACK")
	inv := q.request("INVITE")
	if inv.Recipient.String() != q.uri() {
		t.Errorf("redirected to %s", inv.Recipient.String())
	}
	q.answer(inv, 401, "x", `WWW-Authenticate: Digest realm="r", nonce="n"`)
	q.request("ACK")
	if e := ended(t, out); e.Cause.SIPCode != 401 {
		t.Errorf("%+v", e)
	}
	q.silent(50 * time.Millisecond)
}

func TestRedirectsEnd(t *testing.T) {
	a := start(t, nil)
	p := newPeer(t, a)
	out := dial(t, a, call.OutboundLeg{Target: p.uri()})
	for i := range maxRedirects + 1 {
		inv := p.request("INVITE")
		p.answer(inv, 302, "x", "Contact: <sip:peer"+strings.Repeat("x", i+1)+"@"+p.addr()+">")
		p.request("ACK")
	}
	if e := ended(t, out); e.Cause.SIPCode != 302 {
		t.Errorf("%+v", e)
	}
}

func TestRouteSetOfTheCaller(t *testing.T) {
	a := start(t, nil)
	p := newPeer(t, a)
	out := dial(t, a, call.OutboundLeg{Target: "sip:bob@example.invalid", Dest: p.addr(), Transport: "udp"})
	inv := p.request("INVITE")
	p.answer(inv, 200, "x", "sdp", "Record-Route: <sip:far.invalid;lr>, <sip:"+p.addr()+";lr>")
	ack := p.request("ACK")
	routes := ack.GetHeaders("route")
	if len(routes) != 2 || routes[0].Value() != "<sip:"+p.addr()+";lr>" || ack.Recipient.String() != p.uri() {
		t.Errorf("ACK:\n%s", ack)
	}
	next[call.LegAnswered](t, out)
	if d := out.Dialog(); d.RemoteTag != "x" || len(d.RouteSet) != 2 || d.Dest != p.addr() {
		t.Errorf("dialog %+v", d)
	}
}

func TestBigInviteGoesByTCP(t *testing.T) {
	a, b := start(t, nil), start(t, nil)
	big := map[string]string{"X-Big": strings.Repeat("x", 1200)}
	for transport, want := range map[string]string{"udp+tcp": "TCP", "udp": "UDP"} {
		out := dial(t, a, call.OutboundLeg{Target: b.uri("bob"), Transport: transport, Headers: big})
		in := b.incoming(t)
		if got := out.Dialog().Transport; got != want {
			t.Errorf("%s: went by %s, want %s", transport, got, want)
		}
		in.leg.Reject(486, "Busy Here")
		ended(t, out)
	}
}

func TestPeerHangsUpWithACause(t *testing.T) {
	a := start(t, nil)
	p := newPeer(t, a)
	out := dial(t, a, call.OutboundLeg{Target: p.uri()})
	inv := p.request("INVITE")
	p.answer(inv, 200, "x", "sdp")
	p.request("ACK")
	next[call.LegAnswered](t, out)
	p.send("BYE sip:offhook@" + a.Addr().String() + " SIP/2.0\nVia: SIP/2.0/UDP " + p.addr() + ";branch=z9hG4bKq\nMax-Forwards: 70\nFrom: " +
		inv.To().Value() + ";tag=x\nTo: " + inv.From().Value() + "\nCall-ID: " + inv.CallID().Value() + "\nCSeq: 1 BYE\nReason: Q.850;cause=16")
	p.response("BYE", 200)
	if e := ended(t, out); e.Cause.SIPCode != 200 || e.Cause.Q850 != 16 || e.Cause.Local {
		t.Errorf("%+v", e)
	}
}

func TestSilentPeerTimesOut(t *testing.T) {
	if testing.Short() {
		t.Skip("Timer B takes 32 s")
	}
	t.Parallel()
	a := start(t, nil)
	p := newPeer(t, a)
	unanswered := dial(t, a, call.OutboundLeg{Target: p.uri()})
	hungUp := dial(t, a, call.OutboundLeg{Target: newPeer(t, a).uri()})
	hungUp.Hangup()
	q := newPeer(t, a)
	noBye := dial(t, a, call.OutboundLeg{Target: q.uri()})
	q.answer(q.request("INVITE"), 200, "x", "sdp")
	next[call.LegAnswered](t, noBye)
	noBye.Hangup()
	if e := nextWithin[call.LegEnded](t, unanswered, 40*time.Second); e.Cause.SIPCode != 408 {
		t.Errorf("no answer: %+v", e)
	}
	if e := nextWithin[call.LegEnded](t, hungUp, 10*time.Second); e.Cause.SIPCode != 487 {
		t.Errorf("hung up: %+v", e)
	}
	if e := nextWithin[call.LegEnded](t, noBye, 10*time.Second); e.Cause.SIPCode != 200 {
		t.Errorf("BYE unanswered: %+v", e)
	}
}

func TestUnreachableTCPPeer(t *testing.T) {
	a := start(t, nil)
	p := newPeer(t, a) // nobody listens on its port by TCP
	out := dial(t, a, call.OutboundLeg{Target: p.uri(), Transport: "tcp"})
	if e := ended(t, out); e.Cause.SIPCode != 503 || !strings.HasPrefix(e.Cause.Reason, "transport error") {
		t.Errorf("%+v", e)
	}
}

func TestBadTargets(t *testing.T) {
	a := start(t, nil)
	for _, target := range []string{"", "bob", "tel:+15551234567", "sip:", "sip:bob@127.0.0.1;transport=ws", "sip:a b@127.0.0.1", "sip:bob@127.0.0.1\r\nX: y"} {
		if l, err := a.NewLeg(call.OutboundLeg{Target: target}); err == nil {
			l.Hangup()
			t.Errorf("%q was accepted", target)
		}
	}
}
