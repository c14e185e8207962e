package sip

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/call"
)

func TestStrangersAreDropped(t *testing.T) {
	trunks := []call.Trunk{{SID: "TK1", Host: "127.0.0.2", Sources: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/29")}}}
	b := start(t, func(c *Config) {
		c.Dev = false
		c.Trunks = func() []call.Trunk { return trunks }
	})
	from := func(ip string) *peer {
		conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(ip)})
		if err != nil {
			t.Skipf("%s is not on this machine's loopback: %v", ip, err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return &peer{t: t, conn: conn, to: net.UDPAddrFromAddrPort(b.Addr())}
	}
	stranger := from("127.0.0.9").script()
	stranger.ask("INVITE", 1, "", "sdp")
	stranger.ask("OPTIONS", 2, "")
	stranger.silent(300 * time.Millisecond)
	if c, err := net.DialTCP("tcp", &net.TCPAddr{IP: net.ParseIP("127.0.0.9")}, net.TCPAddrFromAddrPort(b.Addr())); err == nil {
		_ = c.SetReadDeadline(time.Now().Add(patience))
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("a stranger's TCP connection stays open")
		}
		_ = c.Close()
	}
	carrier := from("127.0.0.3").script()
	carrier.ask("INVITE", 1, "", `Diversion: "Office" <sip:+15550001111@x>;reason=no-answer`, `P-Asserted-Identity: "Alice" <sip:+15550002222@x>`, "sdp")
	in := b.incoming(t)
	if in.info.Trunk == nil || in.info.Trunk.SID != "TK1" || in.info.ForwardedFrom != "+15550001111" || in.info.From != "+15550002222" || in.info.To != "+15551234567" {
		t.Errorf("%+v", in.info)
	}
	in.leg.Reject(486, "Busy Here")
	carrier.response("INVITE", 486)
	ended(t, in.leg)

	// Our own call to a stranger: what belongs to it may enter, nothing else.
	callee := from("127.0.0.9")
	out := dial(t, b, call.OutboundLeg{Target: callee.uri()})
	callee.answer(callee.request("INVITE"), 486, "x")
	callee.request("ACK")
	if e := ended(t, out); e.Cause.SIPCode != 486 {
		t.Errorf("%+v", e)
	}
	s := callee.script()
	s.ask("INVITE", 1, "", "sdp")
	s.silent(200 * time.Millisecond)
}

func TestHairpin(t *testing.T) {
	for _, transport := range []string{"udp", "tcp"} {
		b := start(t, func(c *Config) { c.Dev = false })
		out := dial(t, b, call.OutboundLeg{Target: b.uri("+15551234567"), From: "+15557654321", Transport: transport, Hairpin: true})
		in := b.incoming(t)
		if !in.info.Hairpin || in.info.Trunk != nil || in.info.CallID != out.Dialog().CallID {
			t.Errorf("%+v", in.info)
		}
		in.leg.Ring()
		next[call.LegRinging](t, out)
		if err := in.leg.Answer(); err != nil {
			t.Fatal(err)
		}
		next[call.LegAnswered](t, out)
		s := newPeer(t, b).script() // its webhooks tell a customer the Call-ID
		s.callID = in.info.CallID
		s.ask("INVITE", 1, "", "sdp")
		s.silent(200 * time.Millisecond)
		if len(b.calls) > 0 {
			t.Error("a stranger who knows the Call-ID is taken for one of our own calls")
		}
		in.leg.Hangup()
		ended(t, out)
		ended(t, in.leg)
	}
}

func TestMostSpecificSource(t *testing.T) {
	prefix := func(s string) []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix(s)} }
	trunks := []call.Trunk{
		{SID: "wide", Host: "192.0.2.1", Sources: prefix("10.0.0.0/8")},
		{SID: "narrow", Host: "192.0.2.2:5070", Sources: prefix("10.1.0.0/16")},
		{SID: "host", Host: "10.1.2.3"},
		{SID: "six", Host: "[2001:db8::1]:5060"},
		{SID: "mapped", Sources: prefix("::ffff:172.16.0.0/108")},
	}
	s := newSources(func() []call.Trunk { return trunks })
	for addr, want := range map[string]string{
		"10.9.9.9": "wide", "10.1.9.9": "narrow", "10.1.2.3": "host", "192.0.2.1": "wide", "192.0.2.2": "narrow",
		"2001:db8::1": "six", "172.16.1.1": "mapped", "172.32.0.1": "", "192.0.2.3": "",
	} {
		got := ""
		if tr := s.match(netip.MustParseAddr(addr)); tr != nil {
			got = tr.SID
		}
		if got != want {
			t.Errorf("%s: %q, want %q", addr, got, want)
		}
	}
	trunks = trunks[:1]
	if s.match(netip.MustParseAddr("10.1.2.3")).SID != "wide" {
		t.Error("the new snapshot was not taken")
	}
}

// A name server that does not answer holds up neither the start nor the other names.
func TestTrunkNamesWithoutAnAnswer(t *testing.T) {
	trunks := []call.Trunk{{SID: "TK1", Host: "dead.invalid"}, {SID: "TK2", Host: "localhost"}, {SID: "TK3", Host: "dead.invalid:5070"}}
	deaf := func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	began := time.Now()
	e := start(t, func(c *Config) {
		c.Trunks = func() []call.Trunk { return trunks }
		c.Resolver = &net.Resolver{PreferGo: true, Dial: deaf}
	})
	if d := time.Since(began); d > startWait+time.Second {
		t.Errorf("the start took %v", d)
	}
	if tr := e.sources.match(netip.MustParseAddr("127.0.0.1")); tr == nil || tr.SID != "TK2" {
		t.Errorf("127.0.0.1 is %v, want localhost's trunk", tr)
	}
}

func TestCallID(t *testing.T) {
	for in, want := range map[string]string{
		"INVITE sip:a SIP/2.0\r\nCall-ID: abc\r\n\r\n":       "abc",
		"INVITE sip:a SIP/2.0\r\nVia: x\r\ni:  a b \r\n\r\n": "a b",
		"INVITE sip:a SIP/2.0\r\nCALL-ID :x\r\n":             "x",
		"INVITE sip:a SIP/2.0\r\nCall-ID:\r\n  x\r\n\r\n":    "x",
		"INVITE sip:a SIP/2.0\r\n\r\nCall-ID: body\r\n":      "",
		"": "", "\r\n\r\n": "", ":": "",
	} {
		if got := read([]byte(in), false).callID; got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
