package twilio

import (
	"net/url"
	"testing"
	"time"
)

func TestLinks(t *testing.T) {
	const path = "/2010-04-01/Accounts/AC1/Recordings/RE1"
	now := time.Unix(1_800_000_000, 0)
	good := LinkQuery("token", path, now.Add(time.Minute))
	for name, c := range map[string]struct {
		token, path string
		query       url.Values
		at          time.Time
		ours, valid bool
	}{
		"as signed":       {"token", path, good, now, true, true},
		"expired":         {"token", path, good, now.Add(time.Minute), true, false},
		"another path":    {"token", path + "1", good, now, false, false},
		"another token":   {"other", path, good, now, false, false},
		"no token":        {"", path, LinkQuery("", path, now.Add(time.Minute)), now, false, false},
		"a later expiry":  {"token", path, url.Values{"Expires": {"1900000000"}, "Signature": good["Signature"]}, now, false, false},
		"no signature":    {"token", path, url.Values{"Expires": good["Expires"]}, now, false, false},
		"nothing":         {"token", path, url.Values{}, now, false, false},
		"not a number":    {"token", path, url.Values{"Expires": {"soon"}, "Signature": good["Signature"]}, now, false, false},
		"with more to it": {"token", path, url.Values{"Expires": good["Expires"], "Signature": good["Signature"], "RequestedChannels": {"1"}}, now, true, true},
	} {
		if ours, valid := CheckLink(c.token, c.path, c.query, c.at); ours != c.ours || valid != c.valid {
			t.Errorf("%s: %v, %v", name, ours, valid)
		}
	}
}
