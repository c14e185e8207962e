package sip

import (
	"strings"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/call"
)

func TestSessionTimerOfTheCaller(t *testing.T) {
	clk := newFakeClock()
	b := start(t, func(c *Config) { c.Clock = clk })
	s := newPeer(t, b).script()
	s.ask("INVITE", 1, "", "Session-Expires: 600", "Supported: timer", "sdp")
	in := b.incoming(t)
	if err := in.leg.Answer(); err != nil {
		t.Fatal(err)
	}
	res := s.response("INVITE", 200)
	if se := headerValue(res, "Session-Expires", ""); se != "600;refresher=uac" || headerValue(res, "Require", "") != "timer" {
		t.Errorf("200:\n%s", res)
	}
	s.toTag = tagOf(res.To().Params)
	s.ask("ACK", 1, "")
	s.ask("UPDATE", 2, "", "Session-Expires: 600;refresher=uac", "Supported: timer")
	s.response("UPDATE", 200)
	clk.exactly(t, 568*time.Second) // nobody refreshed again
	s.answer(s.request("BYE"), 200, "")
	if e := ended(t, in.leg); e.Cause.Reason != "session timer expired" || e.Cause.SIPCode != 200 {
		t.Errorf("%+v", e)
	}
}

func TestWeRefreshTheSession(t *testing.T) {
	for _, update := range []bool{true, false} {
		clk := newFakeClock()
		a := start(t, func(c *Config) { c.Clock = clk })
		p := newPeer(t, a)
		out := dial(t, a, call.OutboundLeg{Target: p.uri()})
		inv := p.request("INVITE")
		if headerValue(inv, "Session-Expires", "") != "1800" || !strings.Contains(headerValue(inv, "Supported", ""), "timer") {
			t.Errorf("INVITE:\n%s", inv)
		}
		allow, method := "Allow: INVITE, ACK, BYE", "INVITE"
		if update {
			allow, method = allow+", UPDATE", "UPDATE"
		}
		p.answer(inv, 200, "x", "Session-Expires: 200;refresher=uac", "Require: timer", allow, "sdp")
		p.request("ACK")
		next[call.LegAnswered](t, out)
		clk.exactly(t, 100*time.Second)
		req := p.request(method)
		if se := headerValue(req, "Session-Expires", ""); se != "200;refresher=uac" {
			t.Errorf("Session-Expires %q", se)
		}
		p.answer(req, 422, "", "Min-SE: 300")
		if !update {
			p.request("ACK")
		}
		req = p.request(method)
		if se := headerValue(req, "Session-Expires", ""); se != "300;refresher=uac" || headerValue(req, "Min-SE", "") != "300" {
			t.Errorf("after 422:\n%s", req)
		}
		p.answer(req, 491, "")
		if !update {
			p.request("ACK")
		}
		clk.due(t, 4*time.Second)
		req = p.request(method)
		p.answer(req, 200, "", "Session-Expires: 300;refresher=uac", "sdp")
		if !update {
			p.request("ACK")
		}
		clk.exactly(t, 150*time.Second)
		req = p.request(method)
		p.answer(req, 481, "")
		if !update {
			p.request("ACK")
		}
		p.answer(p.request("BYE"), 481, "")
		if e := ended(t, out); e.Cause.SIPCode != 200 || !e.Cause.Local {
			t.Errorf("%+v", e)
		}
	}
}

func TestPeerNamesNoRefresherAndRefusesRefreshes(t *testing.T) {
	clk := newFakeClock()
	a := start(t, func(c *Config) { c.Clock = clk })
	p := newPeer(t, a)
	out := dial(t, a, call.OutboundLeg{Target: p.uri()})
	p.answer(p.request("INVITE"), 200, "x", "Session-Expires: 200", "Allow: UPDATE", "sdp")
	p.request("ACK")
	next[call.LegAnswered](t, out)
	clk.exactly(t, 100*time.Second)
	p.answer(p.request("UPDATE"), 422, "", "Min-SE: 300")
	p.answer(p.request("UPDATE"), 422, "", "Min-SE: 300")
	p.silent(100 * time.Millisecond)
	out.Hangup()
	p.answer(p.request("BYE"), 200, "")
	ended(t, out)
}

func TestIntervalTooSmallForThePeer(t *testing.T) {
	a := start(t, nil)
	p := newPeer(t, a)
	out := dial(t, a, call.OutboundLeg{Target: p.uri()})
	p.answer(p.request("INVITE"), 422, "x", "Min-SE: 3600")
	p.request("ACK")
	inv := p.request("INVITE")
	if headerValue(inv, "Session-Expires", "") != "3600" || headerValue(inv, "Min-SE", "") != "3600" {
		t.Errorf("INVITE:\n%s", inv)
	}
	p.answer(inv, 486, "x")
	p.request("ACK")
	ended(t, out)
}

func TestGlare(t *testing.T) {
	clk := newFakeClock()
	a := start(t, func(c *Config) { c.Clock = clk })
	p := newPeer(t, a)
	out := dial(t, a, call.OutboundLeg{Target: p.uri()})
	inv := p.request("INVITE")
	p.answer(inv, 200, "x", "Session-Expires: 200;refresher=uac", "sdp")
	p.request("ACK")
	next[call.LegAnswered](t, out)
	clk.exactly(t, 100*time.Second)
	ours := p.request("INVITE")
	s := p.script()
	s.callID, s.tag, s.toTag = inv.CallID().Value(), "x", tagOf(inv.From().Params)
	s.ask("INVITE", 1, "", "sdp")
	s.response("INVITE", 491)
	s.ask("ACK", 1, s.branch)
	p.answer(ours, 200, "", "sdp")
	p.request("ACK")
	s.ask("INVITE", 2, "", "sdp")
	s.response("INVITE", 200)
	s.ask("ACK", 2, "")
	s.ask("BYE", 3, "")
	s.response("BYE", 200)
	ended(t, out)
}
