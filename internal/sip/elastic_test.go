package sip

import (
	"net/netip"
	"testing"

	"github.com/offhook/offhook/internal/call"
)

// office is the trunk of a PBX that shows passwords at shop.example, in place of the domain.
func office() call.Trunk {
	return call.Trunk{
		SID: "TK1", AccountSID: "AC1", Kind: call.Elastic, DomainName: "shop.example",
		ByCredentials: true, Credentials: shop().Callers,
	}
}

func startOffice(t *testing.T, edit func(*call.Trunk)) *station {
	trunk := office()
	edit(&trunk)
	list := []call.Trunk{trunk}
	s, _ := startShop(t, func(cfg *Config) {
		cfg.Domains = func() []call.Domain { return nil }
		cfg.Trunks = func() []call.Trunk { return list }
	})
	return s
}

func TestAPBXCallsByTheNameOfItsTrunk(t *testing.T) {
	s := startOffice(t, func(*call.Trunk) {})
	u := newPeer(t, s).user("ann")
	u.to("INVITE", "+15550150", "Contact: <sip:10.0.0.7:5060>", "sdp")
	u.challenged("INVITE")
	u.to("INVITE", "+15550150", "Contact: <sip:10.0.0.7:5060>", "P-Asserted-Identity: <sip:+15550199@shop.example>", "Diversion: <sip:+15550188@x>", "sdp")
	in := s.incoming(t)
	if i := in.info; i.Domain != nil || i.Trunk == nil || i.Trunk.SID != "TK1" || i.AuthUser != "ann" ||
		i.To != "+15550150" || i.From != "+15550199" || i.ForwardedFrom != "+15550188" {
		t.Errorf("%+v", i)
	}
	if err := in.leg.Answer(); err != nil {
		t.Fatal(err)
	}
	u.response("INVITE", 200)
	if in.leg.Dialog().Dest != u.addr() {
		t.Errorf("the BYE goes to %s, behind the NAT", in.leg.Dialog().Dest)
	}
	u.to("REGISTER", "ann", "Contact: <sip:10.0.0.7:5060>")
	u.response("REGISTER", 403) // a PBX registers nowhere
}

func TestWhoMayCallATrunk(t *testing.T) {
	loopback, elsewhere := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	for name, test := range map[string]struct {
		edit func(*call.Trunk)
		code int // of the refusal, 0 when the call comes in at once
	}{
		"no list mapped":             {func(x *call.Trunk) { x.ByCredentials = false }, 403},
		"an address of the list":     {func(x *call.Trunk) { x.ByCredentials, x.ByAddress, x.Sources = false, true, loopback }, 0},
		"another address":            {func(x *call.Trunk) { x.ByCredentials, x.ByAddress, x.Sources = false, true, elsewhere }, 403},
		"both, the address is wrong": {func(x *call.Trunk) { x.ByAddress, x.Sources = true, elsewhere }, 403},
		"both, the address is right": {func(x *call.Trunk) { x.ByAddress, x.Sources = true, loopback }, 407},
		"credentials":                {func(*call.Trunk) {}, 407},
		"secure, in plain":           {func(x *call.Trunk) { x.Secure, x.ByCredentials, x.ByAddress, x.Sources = true, false, true, loopback }, 488},
	} {
		t.Run(name, func(t *testing.T) {
			s := startOffice(t, test.edit)
			u := newPeer(t, s).user("ann")
			u.to("INVITE", "+15550150", "Contact: <"+u.uri()+">", "sdp")
			if test.code != 0 {
				u.response("INVITE", test.code)
				return
			}
			s.incoming(t).leg.Reject(486, "Busy Here")
			u.response("INVITE", 486)
		})
	}
}

// Its addresses alone let nobody in: a call names the trunk.
func TestAnAddressOfAnElasticTrunkIsNoCarriers(t *testing.T) {
	s := startOffice(t, func(x *call.Trunk) {
		x.ByCredentials, x.ByAddress, x.Sources = false, true, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	})
	p := newPeer(t, s)
	p.script().ask("INVITE", 1, "", "sdp")
	if m := p.read(patience / 50); m != nil {
		t.Errorf("answered:\n%s", m)
	}
}
