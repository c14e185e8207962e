package media

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"testing"
)

// stubSocket is bound and no more.
type stubSocket struct{ socket }

func (stubSocket) close() error { return nil }

func TestPortsAreReusedOldestFirst(t *testing.T) {
	p := newPorts(10001, 10007) // 10002, 10004, 10006
	open := func(netip.AddrPort) (socket, error) { return stubSocket{}, nil }
	take := func() portPair {
		t.Helper()
		pair, _, _, err := p.open(open, netip.IPv4Unspecified())
		if err != nil {
			t.Fatal(err)
		}
		return pair
	}
	a, b, c := take(), take(), take()
	if a.rtp != 10002 || b.rtp != 10004 || c.rtp != 10006 {
		t.Fatalf("took %v %v %v", a, b, c)
	}
	if _, _, _, err := p.open(open, netip.IPv4Unspecified()); !errors.Is(err, ErrNoPorts) {
		t.Errorf("fourth: %v", err)
	}
	b.last = netip.MustParseAddrPort("192.0.2.1:9")
	p.give(b)
	p.give(a)
	if got := take(); got != b {
		t.Errorf("took %v, want %v", got, b)
	}
	if got := take(); got.rtp != a.rtp {
		t.Errorf("took %v, want %v", got, a)
	}
}

func TestPortsOfOthersArePassedOver(t *testing.T) {
	p := newPorts(10000, 10007)
	taken := map[uint16]bool{10000: true, 10003: true}
	open := func(a netip.AddrPort) (socket, error) {
		if taken[a.Port()] {
			return nil, fmt.Errorf("bind: %w", syscall.EADDRINUSE)
		}
		return stubSocket{}, nil
	}
	pair, _, _, err := p.open(open, netip.IPv4Unspecified())
	if err != nil || pair.rtp != 10004 {
		t.Errorf("took %v, %v", pair, err)
	}
	broken := func(netip.AddrPort) (socket, error) { return nil, syscall.EMFILE }
	if _, _, _, err := p.open(broken, netip.IPv4Unspecified()); !errors.Is(err, syscall.EMFILE) {
		t.Errorf("error %v", err)
	}
	clear(taken)
	for range 3 { // none was lost on the way
		if _, _, _, err := p.open(open, netip.IPv4Unspecified()); err != nil {
			t.Fatal(err)
		}
	}
}
