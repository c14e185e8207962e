package sip

import (
	"net/netip"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/call"
)

// Accounts that share a carrier get the calls to their own numbers, whoever names its address more exactly; others
// go to the account that had the address first. A secure trunk of one demands nothing of another's calls.
func TestACarrierThatAccountsShare(t *testing.T) {
	prefix := func(s string) []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix(s)} }
	day := func(n int) time.Time { return time.Date(2026, 1, n, 0, 0, 0, 0, time.UTC) }
	trunks := []call.Trunk{
		{SID: "first's", AccountSID: "first", Created: day(1), Sources: prefix("127.0.0.0/24")},
		{SID: "server's", AccountSID: "server", Created: day(2), Sources: prefix("127.0.0.0/16")},
		{SID: "greedy's", AccountSID: "greedy", Created: day(3), Sources: prefix("127.0.0.1/32")},
		{SID: "first's second", AccountSID: "first", Created: day(4), Sources: prefix("127.0.0.1/32")},
		{SID: "secure", AccountSID: "strict", Created: day(5), Sources: prefix("127.0.0.1/32"), Secure: true},
		{SID: "away", AccountSID: "away", Created: day(0), Sources: prefix("127.0.0.2/32")},
	}
	owners := map[string]string{"+15550101": "first", "+15550102": "greedy", "+15550103": "without trunk", "+15550104": "strict"}
	b := start(t, func(c *Config) {
		c.Dev, c.Trunks = false, func() []call.Trunk { return trunks }
		c.Fits = func(t *call.Trunk, number string) int {
			switch owner := owners[number]; {
			case owner == "":
				return 0
			case owner == t.AccountSID:
				return 2
			case t.AccountSID == "server":
				return 1
			}
			return 0
		}
	})
	for number, want := range map[string]string{
		"+15550101": "first's second", "+15550102": "greedy's", "+15550103": "server's", "+15550109": "first's second",
	} {
		s := newPeer(t, b).script()
		s.user = number
		s.ask("INVITE", 1, "", "sdp")
		in := b.incoming(t)
		if in.info.Trunk == nil || in.info.Trunk.SID != want {
			t.Errorf("a call to %s came in by %+v, want %s", number, in.info.Trunk, want)
		}
		in.leg.Reject(486, "Busy Here")
		s.response("INVITE", 486)
		ended(t, in.leg)
	}
	s := newPeer(t, b).script()
	s.user = "+15550104"
	s.ask("INVITE", 1, "", "sdp")
	s.response("INVITE", 488)
}
