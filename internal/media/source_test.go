package media

import (
	"net/netip"
	"testing"
)

func TestSourceLock(t *testing.T) {
	var (
		signalled = netip.MustParseAddrPort("10.0.0.1:4000")
		nat       = netip.MustParseAddrPort("198.51.100.7:61000")
		stranger  = netip.MustParseAddrPort("203.0.113.9:5000")
		former    = netip.MustParseAddrPort("192.0.2.4:7000")
		held      = netip.MustParseAddrPort("0.0.0.0:4000")
	)
	type step struct {
		signal netip.AddrPort // new SDP, when valid
		from   netip.AddrPort // a packet, when valid
		ssrc   uint32
		times  int // 0 is 1
		ok     bool
	}
	for _, tt := range []struct {
		name  string
		steps []step
		to    netip.AddrPort
	}{
		{"signalled address at once", []step{{signal: signalled}, {from: signalled, ok: true}, {from: nat, times: 20}}, signalled},
		{"nothing heard: signalled", []step{{signal: signalled}}, signalled},
		{"nothing known", []step{{from: nat}}, netip.AddrPort{}},
		{"latch after five", []step{{signal: signalled}, {from: nat, times: 4}, {from: nat, ok: true}, {from: signalled}}, nat},
		{"five of one SSRC", []step{{signal: signalled}, {from: nat, ssrc: 1, times: 4}, {from: nat, ssrc: 2, times: 4}, {from: nat, ssrc: 1, ok: true}}, nat},
		{"signalled before the fifth", []step{{signal: signalled}, {from: nat, times: 4}, {from: signalled, ok: true}, {from: nat}}, signalled},
		{"a stranger beside", []step{{signal: signalled}, {from: stranger, times: 3}, {from: nat, times: 4}, {from: nat, ok: true}}, nat},
		{"the port's former peer", []step{{signal: signalled}, {from: former, times: 50}, {from: nat, times: 4}, {from: nat, ok: true}}, nat},
		{"the former peer, signalled again", []step{{signal: former}, {from: former, ok: true}}, former},
		{"new SDP opens", []step{{signal: signalled}, {from: signalled, ok: true}, {signal: stranger}, {from: signalled, times: 20}, {from: stranger, ok: true}}, stranger},
		{"same SDP does not", []step{{signal: signalled}, {from: nat, times: 4}, {from: nat, ok: true}, {signal: signalled}, {from: signalled}, {from: nat, ok: true}}, nat},
		{"nor does hold", []step{{signal: signalled}, {from: signalled, ok: true}, {signal: held}, {from: nat, times: 20}, {signal: signalled}, {from: signalled, ok: true}}, signalled},
		{"SDP names whom we hear", []step{{signal: signalled}, {from: nat, times: 4}, {from: nat, ok: true}, {signal: nat}, {from: nat, ok: true}}, nat},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := source{strangers: [2]netip.AddrPort{former}}
			for i, step := range tt.steps {
				if step.signal.IsValid() {
					s.signal(step.signal)
				}
				for n := range max(step.times, 1) {
					if !step.from.IsValid() {
						break
					}
					if ok, _ := s.admit(step.from, step.ssrc, true); ok != step.ok {
						t.Fatalf("step %d, packet %d: admitted %v, want %v", i, n, ok, step.ok)
					}
				}
			}
			if got := s.destination(); got != tt.to {
				t.Errorf("sends to %v, want %v", got, tt.to)
			}
		})
	}
}

func TestUnknownPayloadTypesDoNotLatch(t *testing.T) {
	var s source
	s.signal(netip.MustParseAddrPort("10.0.0.1:4000"))
	for range 20 {
		if ok, _ := s.admit(netip.MustParseAddrPort("10.0.0.2:4000"), 1, false); ok {
			t.Fatal("admitted")
		}
	}
}
