package sip

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/call"
)

// What a stranger sends is read before it is known to be his, so no message may cost much.
func TestNoMessageCostsMuch(t *testing.T) {
	head := fmt.Sprintf(optionsHead, "1", "1")
	line := func(uri string) string {
		return "OPTIONS " + uri + " SIP/2.0\r\nVia: SIP/2.0/UDP h\r\nCall-ID: 1\r\n\r\n"
	}
	for name, text := range map[string]string{
		"a header folded ten thousand times": head + "X: y\r\n" + strings.Repeat(" \r\n", 10_000) + "\r\n",
		"ten thousand headers":               head + strings.Repeat("a:\r\n", 8000) + "\r\n",
		"ten thousand that are none":         head + strings.Repeat("a\r\n", 10_000) + "\r\n",
		"a start line of spaces":             strings.Repeat(" ", 32_000) + "\r\n\r\n",
		"a URI of parameters":                line("sip:h" + strings.Repeat(";a", 15_000)),
		"a Via of parameters":                "OPTIONS sip:h SIP/2.0\r\nVia: SIP/2.0/UDP h" + strings.Repeat(";a", 15_000) + "\r\n\r\n",
	} {
		data := []byte(text)
		e := &Endpoint{seed: maphash.MakeSeed()}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		m := read(data, false)
		e.refusal(data, netip.MustParseAddrPort("192.0.2.1:5060"), &m, badRequest("x"))
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
			t.Errorf("%s: %d bytes of garbage", name, n)
		}
		if m.fault == nil && name != "a header folded ten thousand times" && name != "a Via of parameters" {
			t.Errorf("%s passed", name)
		}
	}
}

// A stranger who learned a live call's Call-ID begins nothing with it, and what he says inside it has an end.
func TestAStrangerInALiveCall(t *testing.T) {
	c := newFakeClock()
	b := start(t, func(cfg *Config) {
		cfg.Dev, cfg.Clock = false, c
		cfg.Trunks = func() []call.Trunk {
			return []call.Trunk{{SID: "TK1", Sources: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}}
		}
	})
	s := newPeer(t, b).script()
	leg := s.call(b)
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 2)})
	if err != nil {
		t.Skip("no second loopback address:", err)
	}
	defer conn.Close()
	other := &peer{t: t, conn: conn, to: net.UDPAddrFromAddrPort(b.Addr())}
	for _, method := range []string{"INVITE", "OPTIONS", "BYE", "CANCEL", "REGISTER"} {
		x := other.script()
		x.callID = s.callID
		x.ask(method, 9, "", "sdp")
	}
	x := other.script()
	x.callID, x.toTag = s.callID, "guessed"
	for i := range 2 * callBurst {
		x.ask("OPTIONS", i, "")
	}
	s.ask("OPTIONS", s.cseq, "") // the socket's queue is in order
	s.response("OPTIONS", 200)
	st := b.Stats()
	if st.Strangers < callBurst || st.Legs["confirmed"] != 1 {
		t.Errorf("%+v", st)
	}
	for m := other.read(50 * time.Millisecond); m != nil; m = other.read(50 * time.Millisecond) {
		if res := asResponse(t, m); res.StatusCode != 481 {
			t.Errorf("a stranger was told\n%s", res)
		}
	}
	s.ask("BYE", s.cseq+1, "")
	s.response("BYE", 200)
	ended(t, leg)
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.peers) != 0 {
		t.Errorf("peers are remembered: %v", b.peers)
	}
}

// A trunk's new calls are counted and admitted, also when they borrow the Call-ID of a live one.
func TestACallIDIsNoTicket(t *testing.T) {
	var full atomic.Bool
	b := start(t, func(cfg *Config) {
		cfg.MaxRate, cfg.Clock = 10, newFakeClock()
		cfg.Admit = func() bool { return !full.Load() }
	})
	p := newPeer(t, b)
	s := p.script()
	leg := s.call(b)
	full.Store(true)
	x := p.script()
	x.callID = s.callID
	x.ask("INVITE", 1, "", "sdp")
	x.response("INVITE", 503)
	full.Store(false)
	for range 18 { // with the call and the refusal, all there is
		o := p.script()
		o.callID = s.callID
		o.ask("OPTIONS", 1, "")
		o.response("OPTIONS", 200)
	}
	x = p.script()
	x.callID = s.callID
	x.ask("INVITE", 1, "", "sdp")
	x.response("INVITE", 503)
	s.ask("BYE", s.cseq, "")
	s.response("BYE", 200)
	ended(t, leg)
}

// The ACK of a refusal is no request more.
func TestACKsOfRefusalsAreFree(t *testing.T) {
	c := newFakeClock()
	b := start(t, func(cfg *Config) { cfg.MaxRate, cfg.Clock = 10, c })
	p := newPeer(t, b)
	spend := func(n int) {
		for range n {
			p.script().ask("OPTIONS", 1, "")
			p.response("OPTIONS", 200)
		}
	}
	spend(20)
	s := p.script()
	s.user = "vintage" // has "tag" in it
	s.ask("INVITE", 1, "", "sdp")
	s.toTag = tagOf(s.response("INVITE", 503).To().Params)
	if s.toTag == "" {
		t.Fatal("no To tag")
	}
	c.mu.Lock()
	c.now = c.now.Add(200 * time.Millisecond) // two more
	c.mu.Unlock()
	for range 50 {
		s.ask("ACK", 1, s.branch)
	}
	spend(2)
	p.script().ask("OPTIONS", 1, "")
	p.silent(50 * time.Millisecond)
	if st := b.Stats(); st.OverRate != 2 {
		t.Errorf("%+v", st)
	}
}

// Each 2xx to a re-INVITE is sent again until its ACK: so many may wait for one, and no more.
func TestReinvitesWithoutACK(t *testing.T) {
	b := start(t, nil)
	s := newPeer(t, b).script()
	leg := s.call(b)
	for range maxUnacked {
		s.ask("INVITE", s.cseq, "", "sdp")
		s.response("INVITE", 200)
		s.cseq++
	}
	s.ask("INVITE", s.cseq, "", "sdp")
	for {
		res := asResponse(t, s.read(patience))
		if res.StatusCode == 500 {
			break
		}
		if res.StatusCode >= 200 && int(res.CSeq().SeqNo) == s.cseq {
			t.Fatalf("one too many:\n%s", res)
		}
	}
	leg.drop()
	ended(t, leg)
}

// However a stream is cut, the same messages come out of it.
func TestStreamCutAnywhere(t *testing.T) {
	head := func(id string) string { return fmt.Sprintf(optionsHead, id, id) }
	texts := []string{
		head("1") + "l: 0\r\n\r\n",
		head("2") + "Content-Length: 8\r\n\r\n\r\n\r\nabcd", // a body that looks like an end
		head("3") + "X: folded\r\n y\r\nl: 3\r\n\r\nabc",
	}
	all := "\r\n\r\n" + texts[0] + "\r\n" + texts[1] + texts[2] + "\r\n\r\n"
	b := start(t, nil)
	cut := func(pieces ...string) {
		t.Helper()
		ours, theirs := net.Pipe()
		c := &streamConn{Conn: ours, e: b.Endpoint, src: netip.MustParseAddrPort("127.0.0.1:9")}
		c.e.conns.open(c.src.Addr(), false)
		go func() {
			go func() { _, _ = io.Copy(io.Discard, theirs) }() // answers to pings
			for _, p := range pieces {
				if _, err := io.WriteString(theirs, p); err != nil {
					return
				}
			}
			_ = theirs.Close()
		}()
		got, err := io.ReadAll(c)
		if want := strings.Join(texts, ""); err != nil && !errors.Is(err, io.EOF) || string(got) != want {
			t.Fatalf("cut %d: %v\n%q\nwant\n%q", len(pieces[0]), err, got, want)
		}
		_ = c.Close()
	}
	for i := range len(all) {
		cut(all[:i], all[i:])
	}
	cut(slices.Collect(func(yield func(string) bool) {
		for i := range all {
			if !yield(all[i : i+1]) {
				return
			}
		}
	})...)
}

// Whom nothing can judge yet does not come in.
func TestSourcesThatCannotBeJudged(t *testing.T) {
	prefix := func(s string) []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix(s)} }
	s := newSources(func() []call.Trunk {
		return []call.Trunk{
			{SID: "TK1", Sources: prefix("192.0.2.0/24"), Host: "198.51.100.1"},
			{SID: "TK2", Kind: call.Elastic, ByAddress: true, Sources: prefix("203.0.113.0/24"), Host: "203.0.113.9"},
			{SID: "TK3", Kind: call.Elastic, ByAddress: true, ByCredentials: true, Sources: prefix("192.0.2.7/32")},
			{SID: "TK4", Sources: []netip.Prefix{netip.PrefixFrom(netip.MustParseAddr("::ffff:192.0.2.1"), 32)}},
			{SID: "TK5", Sources: []netip.Prefix{netip.PrefixFrom(netip.MustParseAddr("::ffff:192.0.3.1"), 120)}},
		}
	})
	for a, want := range map[string]string{
		"192.0.2.7": "TK1", "198.51.100.1": "TK1", "203.0.113.1": "", "203.0.113.9": "", "8.8.8.8": "", "192.0.3.255": "TK5", "::1": "", "::": "",
	} {
		got := ""
		if t := s.match(netip.MustParseAddr(a)); t != nil {
			got = t.SID
		}
		if got != want {
			t.Errorf("%s is of trunk %q, want %q", a, got, want)
		}
	}
	if s.called(netip.MustParseAddr("203.0.113.9")) != nil {
		t.Error("an elastic trunk was called")
	}
}

// A callee who answers as many forks gets no more than a few hung up, also after a restart.
func TestForksOfAnOrphan(t *testing.T) {
	b := start(t, nil)
	p := newPeer(t, b)
	s := p.script()
	d := &call.Dialog{
		CallID: s.callID, LocalTag: "ours", LocalURI: "sip:a@" + b.Addr().String(), RemoteURI: p.uri(), Target: p.uri(),
		CSeq: 7, Dest: p.addr(), Transport: "UDP", Branch: newBranch(),
	}
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { done <- b.EndStored(ctx, d, false) }()
	req := p.request("CANCEL")
	p.answer(req, 200, "x")
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for i := range 2 * maxForks {
		s.send(fmt.Sprintf("SIP/2.0 200 OK\nVia: SIP/2.0/UDP %s;branch=%s\nFrom: <%s>;tag=ours\nTo: <%s>;tag=fork%d\nCall-ID: %s\nCSeq: 7 INVITE\nContact: <%s>\n\n",
			b.Addr(), d.Branch, d.LocalURI, p.uri(), i, s.callID, p.uri()))
	}
	byes := make(map[string]bool)
	buf := make([]byte, 65535)
	for wait := patience; ; {
		_ = p.conn.SetReadDeadline(time.Now().Add(wait))
		n, err := p.conn.Read(buf)
		if err != nil {
			break
		}
		if bytes.HasPrefix(buf[:n], []byte("BYE ")) {
			_, tag, _ := bytes.Cut(buf[:n], []byte("tag=fork"))
			tag, _, _ = bytes.Cut(tag, []byte("\r"))
			byes[string(tag)] = true
		}
		if len(byes) >= maxForks {
			wait = 50 * time.Millisecond // for one too many
		}
	}
	if len(byes) != maxForks {
		t.Errorf("%d forks were hung up, want %d", len(byes), maxForks)
	}
}
