package server

import (
	"net/http"
	"net/netip"
	"testing"
)

// A simulated phone and the server reach each other only within one family of addresses.
func TestSimulatedPhonesListenWhereSIPReachesThem(t *testing.T) {
	for sip, want := range map[string]string{
		"127.0.0.1": "127.0.0.1", "192.0.2.1": "127.0.0.1", "0.0.0.0": "127.0.0.1",
		"::1": "::1", "2001:db8::1": "::1", "::": "127.0.0.1", "::ffff:127.0.0.1": "127.0.0.1",
	} {
		if got := loopbackFor(netip.MustParseAddr(sip)).String(); got != want {
			t.Errorf("SIP at %s: %s, want %s", sip, got, want)
		}
	}
}

// What the SDKs and the command line are told must be an address one can connect to.
func TestURLOfAServerOnEveryAddress(t *testing.T) {
	for _, listen := range []string{":0", "0.0.0.0:0"} {
		s, err := Start(t.Context(), Config{HTTP: listen, SIP: []string{"127.0.0.1:0"}, Data: t.TempDir(), Voice: "test", Mode: Dev})
		if err != nil {
			t.Fatalf("%s: %v", listen, err)
		}
		addr, err := netip.ParseAddrPort(s.URL()[len("http://"):])
		if err != nil || !addr.Addr().IsLoopback() {
			t.Errorf("%s: URL %s is not one of loopback", listen, s.URL())
		}
		if status, _ := get(t, s.URL()+"/healthz"); status != http.StatusOK {
			t.Errorf("%s: %s/healthz answers %d", listen, s.URL(), status)
		}
		s.Close(t.Context())
	}
}
