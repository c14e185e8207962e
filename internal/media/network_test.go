package media

import (
	"net/netip"
	"testing"
	"time"

	"github.com/pion/rtcp"

	"github.com/offhook/offhook/internal/clock"
)

func TestAPeerBehindNATIsFollowed(t *testing.T) {
	onBoth(t, Config{}, func(t *testing.T, e *Engine) {
		signalled, nat, sink := newPhone(t), newPhone(t), newEars()
		s := signalled.call(e, sink)
		signalled.read()
		nat.to = signalled.to
		nat.talk(4)
		tell(t, s, func(f *flow) { f.receive(f.worker) })
		tell(t, s, func(f *flow) {
			if f.source.peer.IsValid() {
				t.Error("locked after four packets")
			}
		})
		nat.talk(1)
		nat.read() // the prompt moved there
		nat.press(0x60, '3')
		sink.hears(t, "3")
		signalled.press(96, '4') // too late
		nat.press(96, '5')
		sink.hears(t, "5")
	})
}

func TestLockedSourceIgnoresOthers(t *testing.T) {
	onBoth(t, Config{}, func(t *testing.T, e *Engine) {
		p, other, sink := newPhone(t), newPhone(t), newEars()
		s := p.call(e, sink)
		p.talk(1)
		p.press(96, '1')
		sink.hears(t, "1")
		other.to = p.to
		for range 10 {
			other.press(96, '6')
		}
		p.press(96, '2')
		sink.hears(t, "2")
		// New SDP opens the lock.
		other.answered(s, other.sdp(2))
		tell(t, s, func(*flow) {})
		other.press(96, '7')
		sink.hears(t, "7")
		other.read()
	})
}

func TestTheFormerPeerOfAPortIsIgnored(t *testing.T) {
	e := newTestEngine(t, Config{PortMin: 15000, PortMax: 15001})
	former := newPhone(t)
	s := former.call(e, newEars())
	former.talk(1)
	former.read()
	tell(t, s, func(f *flow) { f.receive(f.worker) })
	s.Close()
	p, sink := newPhone(t), newEars()
	s = p.call(e, sink)
	former.talk(40)
	former.press(96, '1')
	p.press(96, '2')
	sink.hears(t, "2")
	if got := s.Close(); got.Foreign == 0 {
		t.Errorf("stats %+v", got)
	}
}

func TestTimeout(t *testing.T) {
	onBoth(t, Config{RTPTimeout: 300 * time.Millisecond}, func(t *testing.T, e *Engine) {
		p, sink := newPhone(t), newEars()
		p.call(e, sink)
		wait(t, "the time-out", sink.timeout)
		for range 20 {
			p.read()
		}
		if len(sink.timeout) > 0 {
			t.Error("told twice")
		}
	})
}

func TestNoTimeoutWhileHeardOrHeld(t *testing.T) {
	e := newTestEngine(t, Config{RTPTimeout: time.Second})
	talking, held, reporting := newPhone(t), newPhone(t), newPhone(t)
	sink := newEars()
	talking.call(e, sink)
	held.call(e, sink, "a=sendonly")
	reporting.call(e, sink)
	report := newReport(t, reporting)
	for range 75 { // 1.5 s
		talking.read()
		talking.talk(1)
		report()
	}
	if len(sink.timeout) > 0 {
		t.Error("timed out")
	}
}

func newReport(t *testing.T, p *phone) func() {
	b, err := rtcp.Marshal([]rtcp.Packet{&rtcp.ReceiverReport{SSRC: p.ssrc}, rtcp.NewCNAMESourceDescription(p.ssrc, "p")})
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		if _, err := p.rtcp.WriteToUDPAddrPort(b, netip.AddrPortFrom(p.to.Addr(), p.to.Port()+1)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReportsAreExchanged(t *testing.T) {
	onBoth(t, Config{}, func(t *testing.T, e *Engine) {
		p := newPhone(t)
		s := p.call(e, newEars())
		p.talk(5)
		p.seq++ // one lost
		p.talk(1)
		packet := p.read()
		tell(t, s, func(f *flow) { f.receive(f.worker); f.reportIn = 1 })
		packets := p.readReport()
		sr, ok := packets[0].(*rtcp.SenderReport)
		if !ok || sr.SSRC != packet.SSRC || sr.PacketCount == 0 || sr.OctetCount != sr.PacketCount*160 || sr.RTPTime-packet.Timestamp > 160_000 {
			t.Fatalf("report %+v", packets[0])
		}
		if b := sr.Reports[0]; b.SSRC != p.ssrc || b.TotalLost != 1 {
			t.Errorf("block %+v", b)
		}
		b, err := rtcp.Marshal([]rtcp.Packet{
			&rtcp.ReceiverReport{SSRC: p.ssrc, Reports: []rtcp.ReceptionReport{{SSRC: sr.SSRC, TotalLost: 7, Jitter: 80, LastSenderReport: uint32(sr.NTPTime >> 16)}}},
			rtcp.NewCNAMESourceDescription(p.ssrc, "p"), &rtcp.Goodbye{Sources: []uint32{p.ssrc}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.rtcp.WriteToUDPAddrPort(b, netip.AddrPortFrom(p.to.Addr(), p.to.Port()+1)); err != nil {
			t.Fatal(err)
		}
		for heard := false; !heard; { // RTCP is read twice a second
			p.read()
			tell(t, s, func(f *flow) { heard = f.reporter.lost != 0 })
		}
		if got := s.Close(); got.RemoteLost != 7 || got.RemoteJitter != 10*time.Millisecond || got.PacketsLost != 1 || got.RoundTrip <= 0 {
			t.Errorf("stats %+v", got)
		}
	})
}

func TestRTCPMux(t *testing.T) {
	e := newTestEngine(t, Config{})
	p := newPhone(t)
	s := p.call(e, newEars(), "a=rtcp-mux")
	p.talk(1)
	tell(t, s, func(f *flow) { f.receive(f.worker); f.reportIn = 1 })
	buf := make([]byte, 2000)
	for {
		n, err := p.rtp.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		if isRTCP(buf[:n]) {
			break
		}
	}
	b, err := rtcp.Marshal([]rtcp.Packet{&rtcp.ReceiverReport{SSRC: p.ssrc, Reports: []rtcp.ReceptionReport{{SSRC: s.flow.ssrc, TotalLost: 3}}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.rtp.WriteToUDPAddrPort(b, p.to); err != nil {
		t.Fatal(err)
	}
	tell(t, s, func(f *flow) { f.receive(f.worker) })
	if got := s.Close(); got.RemoteLost != 3 {
		t.Errorf("stats %+v", got)
	}
}

func TestIPv6Stream(t *testing.T) {
	onBoth(t, Config{}, func(t *testing.T, e *Engine) {
		p, sink := newPhoneAt(t, "::1"), newEars()
		s := p.call(e, sink)
		p.read()
		p.press(96, '6')
		sink.hears(t, "6")
		p.read()
		if got := s.Close(); got.Foreign != 0 {
			t.Errorf("stats %+v", got)
		}
	})
}

func TestAClosedPortIsCounted(t *testing.T) {
	e := newTestEngine(t, Config{})
	p := newPhone(t)
	s := p.call(e, newEars())
	p.talk(1)
	p.read()
	p.rtp.Close()
	limit := clock.System.Now().Add(patience)
	for refused := uint64(0); refused < 2; {
		tell(t, s, func(f *flow) { refused = f.refused })
		if clock.System.Now().After(limit) {
			t.Fatal("not noticed")
		}
	}
	if got := s.Close(); got.Failed != 0 {
		t.Errorf("stats %+v", got)
	}
}

func TestAddresses(t *testing.T) {
	addr := netip.MustParseAddr
	for _, tt := range []struct {
		name            string
		config          Config
		peer            string
		bind, advertise string
	}{
		{"fixed", Config{IP: addr("127.0.0.2")}, "127.0.0.1", "127.0.0.2", "127.0.0.2"},
		{"any", Config{IP: addr("0.0.0.0")}, "127.0.0.1", "0.0.0.0", "127.0.0.1"},
		{"unset", Config{}, "127.0.0.1", "0.0.0.0", "127.0.0.1"},
		{"other family", Config{IP: addr("127.0.0.1")}, "::1", "::", "::1"},
		{"mapped", Config{IP: addr("127.0.0.2")}, "::ffff:127.0.0.1", "127.0.0.2", "127.0.0.2"},
		{"external toward outside", Config{IP: addr("10.0.0.1"), ExternalIP: addr("198.51.100.1")}, "203.0.113.1", "10.0.0.1", "198.51.100.1"},
		{"external not toward private", Config{IP: addr("10.0.0.1"), ExternalIP: addr("198.51.100.1")}, "192.168.7.7", "10.0.0.1", "10.0.0.1"},
		{"external not toward loopback", Config{IP: addr("10.0.0.1"), ExternalIP: addr("198.51.100.1")}, "127.0.0.1", "10.0.0.1", "10.0.0.1"},
		{"local nets as told", Config{IP: addr("10.0.0.1"), ExternalIP: addr("198.51.100.1"), LocalNets: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}}, "203.0.113.1", "10.0.0.1", "10.0.0.1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			config, err := tt.config.withDefaults()
			if err != nil {
				t.Fatal(err)
			}
			bind, advertise, err := (&Engine{config: config}).addresses(addr(tt.peer).Unmap())
			if err != nil || bind.String() != tt.bind || advertise.String() != tt.advertise {
				t.Errorf("bind %v, advertise %v, %v", bind, advertise, err)
			}
		})
	}
}

func TestBadPortRange(t *testing.T) {
	for _, c := range []Config{{PortMin: 5, PortMax: 6}, {PortMin: 20000, PortMax: 19000}, {PortMax: 70000}, {PortMin: -4}} {
		if _, err := New(c); err == nil {
			t.Errorf("%d-%d accepted", c.PortMin, c.PortMax)
		}
	}
}
