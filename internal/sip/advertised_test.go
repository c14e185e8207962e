package sip

import (
	"net/netip"
	"testing"
)

func TestAdvertisedAddress(t *testing.T) {
	external := netip.MustParseAddr("203.0.113.5")
	bound, loop := start(t, func(c *Config) { c.ExternalIP = external }), netip.MustParseAddr("127.0.0.1")
	wild := start(t, func(c *Config) { c.Listen = []string{"0.0.0.0:0"}; c.ExternalIP = external })
	for _, c := range []struct {
		s          *station
		peer, want string
	}{
		{bound, "127.0.0.1", loop.String()},
		{bound, "192.168.7.7", loop.String()},
		{bound, "198.51.100.1", external.String()},
		{wild, "127.0.0.1", loop.String()},
		{wild, "198.51.100.1", external.String()},
	} {
		got := c.s.advertised(netip.MustParseAddr(c.peer))
		if got.Addr().String() != c.want || got.Port() != c.s.Addr().Port() {
			t.Errorf("to %s: %s, want %s", c.peer, got, c.want)
		}
	}
}
