package sip

import (
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/offhook/offhook/internal/call"
)

// answered takes a call to its answer at p, and on to its end.
func answered(t *testing.T, p *peer, out *Leg) *sip.Request {
	t.Helper()
	inv := p.request("INVITE")
	p.answer(inv, 200, "good", "sdp")
	p.request("ACK")
	next[call.LegAnswered](t, out)
	return inv
}

func TestTheNextTarget(t *testing.T) {
	clk := newFakeClock()
	s := start(t, func(c *Config) { c.Clock = clk })
	dead, full, good := newPeer(t, s), newPeer(t, s), newPeer(t, s)
	spec := call.OutboundLeg{Target: dead.uri(), Targets: []string{full.uri(), "sip:x@127.0.0.1;transport=pigeon", good.uri()}, Trusted: true, From: "+15550001111"}
	out := dial(t, s, spec)
	unheard := dead.request("INVITE")
	clk.exactly(t, targetWait)
	inv := full.request("INVITE")
	if inv.CallID().Value() != unheard.CallID().Value() || inv.CSeq().SeqNo != unheard.CSeq().SeqNo+1 || inv.Recipient.HostPort() != full.addr() || inv.To().Address.HostPort() != full.addr() {
		t.Errorf("the second INVITE:\n%s", inv)
	}
	if pai := headerValue(inv, "P-Asserted-Identity", ""); !strings.HasPrefix(pai, "<sip:+15550001111@127.0.0.1:") {
		t.Errorf("P-Asserted-Identity %q", pai)
	}
	next[call.LegMoved](t, out)
	full.answer(inv, 500, "full")
	full.request("ACK")
	answered(t, good, out)

	// The dead one has only slept: its phone does not ring on, and nobody is left with a call that is none.
	dead.answer(unheard, 180, "late")
	cancel := asCancel(t, dead)
	if cancel.Via().Value() != unheard.Via().Value() {
		t.Errorf("CANCEL of another INVITE:\n%s", cancel)
	}
	dead.answer(cancel, 200, "late")
	dead.answer(unheard, 200, "late", "sdp")
	dead.request("ACK")
	dead.answer(dead.request("BYE"), 200, "")
	if out.isOver() {
		t.Error("the call is over")
	}

	// For a while it goes last.
	spec.Targets = []string{good.uri()}
	again := dial(t, s, spec)
	answered(t, good, again)
	clk.mu.Lock()
	clk.now = clk.now.Add(penalty + time.Second)
	clk.mu.Unlock()
	third := dial(t, s, spec)
	answered(t, dead, third)
}

// asCancel is the CANCEL; copies of the INVITE may come before it.
func asCancel(t *testing.T, p *peer) *sip.Request {
	t.Helper()
	for {
		m := p.read(patience)
		req, ok := m.(*sip.Request)
		if !ok {
			t.Fatalf("no CANCEL, but\n%v", m)
		}
		if req.Method == sip.CANCEL {
			return req
		}
	}
}

func TestTheLastTargetDecides(t *testing.T) {
	s := start(t, nil)
	full, busy := newPeer(t, s), newPeer(t, s)
	out := dial(t, s, call.OutboundLeg{Target: full.uri(), Targets: []string{busy.uri()}})
	full.answer(full.request("INVITE"), 503, "x")
	full.request("ACK")
	busy.answer(busy.request("INVITE"), 486, "x")
	busy.request("ACK")
	if e := ended(t, out); e.Cause.SIPCode != 486 {
		t.Errorf("%+v", e.Cause)
	}
	// What a phone says is final, whatever else is left.
	out = dial(t, s, call.OutboundLeg{Target: busy.uri(), Targets: []string{full.uri()}})
	busy.answer(busy.request("INVITE"), 486, "x")
	busy.request("ACK")
	if e := ended(t, out); e.Cause.SIPCode != 486 {
		t.Errorf("%+v", e.Cause)
	}
	full.silent(100 * time.Millisecond)
}

func TestAHangUpBetweenTargets(t *testing.T) {
	clk := newFakeClock()
	s := start(t, func(c *Config) { c.Clock = clk })
	dead, other := newPeer(t, s), newPeer(t, s)
	out := dial(t, s, call.OutboundLeg{Target: dead.uri(), Targets: []string{other.uri()}})
	dead.request("INVITE")
	out.Hangup()
	other.silent(100 * time.Millisecond)
	if n := s.Legs(); n != 1 {
		t.Errorf("%d legs", n)
	}
	clk.fire(t, "that tries the next", func(d time.Duration) bool { return d == targetWait })
	other.silent(100 * time.Millisecond)
}

func TestCallersThatAreNotNamed(t *testing.T) {
	s := start(t, nil)
	p := newPeer(t, s)
	dial(t, s, call.OutboundLeg{Target: p.uri(), From: "anonymous", Trusted: true})
	inv := p.request("INVITE")
	if inv.GetHeader("P-Asserted-Identity") != nil || headerValue(inv, "Privacy", "") != "id" {
		t.Errorf("%s", inv)
	}
	p.answer(inv, 486, "x")
	p.request("ACK")
	dial(t, s, call.OutboundLeg{Target: p.uri(), From: "+15550001111"})
	inv = p.request("INVITE")
	if inv.GetHeader("P-Asserted-Identity") != nil || inv.GetHeader("Privacy") != nil {
		t.Errorf("%s", inv)
	}
	p.answer(inv, 486, "x")
}

// TestSRVRecords: in order of priority, with the ports they name, and a server without an answer is passed over.
func TestSRVRecords(t *testing.T) {
	clk := newFakeClock()
	names := newDNS(t)
	s := start(t, func(c *Config) { c.Clock, c.Resolver = clk, names.resolver() })
	first, second := newPeer(t, s), newPeer(t, s)
	port := func(p *peer) uint16 { a, _ := parseAddrPort(p.addr()); return a.Port() }
	names.srv("_sip._udp.carrier.example", 20, 1, port(second), "b.carrier.example")
	names.srv("_sip._udp.carrier.example", 10, 1, port(first), "a.carrier.example")
	names.a("a.carrier.example", "127.0.0.1")
	names.a("b.carrier.example", "127.0.0.1")
	out := dial(t, s, call.OutboundLeg{Target: "sip:+15551234567@carrier.example"})
	if inv := first.request("INVITE"); inv.Recipient.Host != "carrier.example" {
		t.Errorf("%s", inv.Recipient.String())
	}
	clk.exactly(t, targetWait)
	answered(t, second, out)
}

// trunksOf lets a test change the trunks of its endpoint.
type trunksOf struct{ list atomic.Pointer[[]call.Trunk] }

func (v *trunksOf) get() []call.Trunk {
	if p := v.list.Load(); p != nil {
		return *p
	}
	return nil
}

func (v *trunksOf) set(s *station, trunks ...call.Trunk) {
	v.list.Store(&trunks)
	s.TrunksChanged()
}

func TestPings(t *testing.T) {
	var trunks trunksOf
	s := start(t, func(c *Config) { c.Trunks = trunks.get })
	p, other := newPeer(t, s), newPeer(t, s)
	target := call.NewTarget("sip:" + p.addr())
	trunks.set(s, call.Trunk{SID: "TK1", Ping: 20 * time.Millisecond, Targets: []call.Target{target}})
	up := func() bool { list := s.keeper.list(); return len(list) == 1 && list[0].up }
	ping := func(code int) {
		t.Helper()
		p.answer(p.request("OPTIONS"), code, "x")
	}
	until := func(want bool) {
		t.Helper()
		for range 100 {
			if up() == want {
				return
			}
			ping(map[bool]int{true: 404, false: 503}[want])
		}
		t.Fatalf("never %v", want)
	}
	until(true)
	ping(503)
	ping(200)
	ping(503)
	ping(200)
	if !up() {
		t.Error("down by one failure")
	}
	until(false)
	u := []string{"sip:+1@" + p.addr(), "sip:+1@" + other.addr()}
	if got := s.health.order(u); got[0] != u[1] {
		t.Errorf("order %q with the first one down", got)
	}
	until(true)
	if got := s.health.order(u); got[0] != u[0] {
		t.Errorf("order %q with all up", got)
	}
	until(false)
	trunks.set(s) // removed: nobody knows any more
	for range 1000 {
		if len(s.keeper.list()) == 0 && s.health.order(u)[0] == u[0] {
			return
		}
		if m := p.read(10 * time.Millisecond); m != nil {
			continue
		}
	}
	t.Error("a ping outlives its trunk")
}

func TestRegistration(t *testing.T) {
	var trunks trunksOf
	s := start(t, func(c *Config) { c.Trunks = trunks.get; c.Dev = false })
	p := newPeer(t, s)
	trunk := call.Trunk{
		SID: "TK1", Host: p.addr(), Username: "me", Password: "secret",
		Register: &call.Register{Contact: "line1", Expires: time.Minute},
	}
	trunks.set(s, trunk)
	first := p.request("REGISTER")
	if first.Recipient.String() != "sip:"+p.addr() || first.To().Address.String() != "sip:me@127.0.0.1" || first.From().Address.String() != "sip:me@127.0.0.1" ||
		first.Contact().Address.User != "line1" || headerValue(first, "Expires", "") != "60" {
		t.Errorf("%s", first)
	}
	p.answer(first, 401, "r", `WWW-Authenticate: Digest realm="carrier", nonce="abc", algorithm=MD5, qop="auth"`)
	second := p.request("REGISTER")
	if auth := headerValue(second, "Authorization", ""); !strings.Contains(auth, `username="me"`) || !strings.Contains(auth, `nonce="abc"`) ||
		second.CSeq().SeqNo != first.CSeq().SeqNo+1 || second.CallID().Value() != first.CallID().Value() {
		t.Errorf("%s", second)
	}
	p.answer(second, 423, "r", "Min-Expires: 90")
	third := p.request("REGISTER")
	if headerValue(third, "Expires", "") != "90" {
		t.Errorf("%s", third)
	}
	p.answer(third, 200, "r", "Expires: 3600", "Contact: <sip:other@192.0.2.1>;expires=3000, "+third.Contact().Value()+";expires=1")
	again := p.request("REGISTER") // within the second that was granted
	p.answer(again, 200, "r", "Expires: 3600")

	// Calls come from there, to our contact; To says which number was called.
	c := p.script()
	c.user = "line1"
	c.ask("INVITE", 1, "", "sdp")
	in := s.incoming(t)
	if in.info.Trunk == nil || in.info.Trunk.SID != "TK1" {
		t.Errorf("%+v", in.info)
	}
	in.leg.Reject(486, "Busy Here")
	c.response("INVITE", 486)

	for !s.keeper.list()[0].up {
		_ = p.read(time.Millisecond)
	}
	trunks.set(s)
	last := p.request("REGISTER")
	if headerValue(last, "Expires", "") != "0" || last.CallID().Value() != first.CallID().Value() {
		t.Errorf("%s", last)
	}
	p.answer(last, 200, "r")
}

func TestBackOff(t *testing.T) {
	within := func(d, most time.Duration) bool { return d >= most*4/5 && d <= most }
	for failures, most := range []time.Duration{5 * time.Second, 10 * time.Second, 20 * time.Second} {
		if d := backOff(failures, sip.ErrTransactionTimeout); !within(d, most) {
			t.Errorf("after %d failures: %v", failures, d)
		}
	}
	if d := backOff(1000, sip.ErrTransactionTimeout); !within(d, maxRetryRegister) {
		t.Errorf("after many: %v", d)
	}
	if d := backOff(0, &refusal{403, "Forbidden"}); !within(d, refusedRegister) {
		t.Errorf("refused: %v", d)
	}
}

func TestSourcesOfATrunk(t *testing.T) {
	names := newDNS(t)
	names.srv("_sip._udp.carrier.example", 10, 1, 5070, "edge.carrier.example")
	names.a("edge.carrier.example", "192.0.2.7")
	names.a("reg.example", "192.0.2.8")
	src := newSources(func() []call.Trunk { return nil })
	list := []call.Trunk{{SID: "TK1", Host: "carrier.example", Register: &call.Register{Registrar: "reg.example"}, Targets: []call.Target{call.NewTarget("sip:192.0.2.9")}}}
	src.trunks = func() []call.Trunk { return list }
	src.refresh(t.Context(), names.resolver())
	for _, a := range []string{"192.0.2.7", "192.0.2.8", "192.0.2.9"} {
		if src.match(mustAddr(t, a)) == nil {
			t.Errorf("%s is a stranger", a)
		}
	}
	if src.match(mustAddr(t, "192.0.2.10")) != nil {
		t.Error("a stranger is the carrier's")
	}
}

func mustAddr(t *testing.T, s string) netip.Addr {
	t.Helper()
	a, err := netip.ParseAddr(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// A call that is passed on in a circle comes back with less Max-Forwards each time.
func TestHowOftenACallWasPassedOn(t *testing.T) {
	s := start(t, nil)
	p := newPeer(t, s)
	dial(t, s, call.OutboundLeg{Target: p.uri(), Hops: 4})
	inv := p.request("INVITE")
	if left := inv.MaxForwards(); left == nil || left.Val() != 66 {
		t.Errorf("%s", inv)
	}
	p.answer(inv, 486, "x")
	p.request("ACK")
	for left, hops := range map[sip.MaxForwardsHeader]int{66: 4, 70: 0, 255: 0} {
		*inv.MaxForwards() = left
		if in := s.describe(inv, nil, false, netip.MustParseAddrPort(p.addr())); in.Hops != hops {
			t.Errorf("Max-Forwards %d: %d hops", left, in.Hops)
		}
	}
}
