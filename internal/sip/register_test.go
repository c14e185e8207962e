package sip

import (
	"context"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"
	"github.com/icholy/digest"

	"github.com/offhook/offhook/internal/call"
)

// shop is a domain whose phones register, and which takes calls of ann and bob.
func shop() call.Domain {
	secrets := map[string]string{"ann": "Secret-of-ann", "bob": "Secret-of-bob"}
	return call.Domain{
		Record: call.Record{SID: "SD1", AccountSID: "AC1"}, Name: "shop.example", SIPRegistration: true,
		ByCredentials: true, Callers: secrets, Registrants: secrets,
	}
}

// book is call.Locations in memory, without its limits but the order of CSeq.
type book struct {
	mu  sync.Mutex
	all []call.Binding
}

// list is a copy of what is bound.
func (b *book) list() []call.Binding {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.all)
}

func (b *book) without(match func(call.Binding) bool) {
	var rest []call.Binding
	for _, c := range b.all {
		if !match(c) {
			rest = append(rest, c)
		}
	}
	b.all = rest
}

func (b *book) Bind(_ context.Context, _ time.Time, contacts []call.Binding) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range contacts {
		for _, old := range b.all {
			if old.Key == c.Key && old.CallID == c.CallID && old.CSeq >= c.CSeq {
				return call.ErrConflict
			}
		}
	}
	for _, c := range contacts {
		b.without(func(old call.Binding) bool { return old.User == c.User && old.Key == c.Key })
		if !c.Expires.IsZero() {
			b.all = append(b.all, c)
		}
	}
	return nil
}

func (b *book) Unbind(_ context.Context, _, user, _ string, _ uint32) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.without(func(old call.Binding) bool { return old.User == user })
	return nil
}

func (b *book) Lookup(_ context.Context, now time.Time, _, user string) (list []call.Binding, _ error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.all {
		if c.User == user && c.Expires.After(now) {
			list = append(list, c)
		}
	}
	return list, nil
}

func (b *book) KeptAlive(_ context.Context, _ time.Time, last call.Binding, _ int) (list []call.Binding, _ error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.all {
		if c.KeepAlive && last.Key == "" {
			list = append(list, c)
		}
	}
	return list, nil
}

// startShop is an endpoint with a registrar where, unlike in dev mode, nobody is trusted.
func startShop(t testing.TB, edit func(*Config)) (*station, *book) {
	t.Helper()
	b, domains := &book{}, []call.Domain{shop()}
	return start(t, func(cfg *Config) {
		cfg.Dev, cfg.Locations = false, b
		cfg.Domains = func() []call.Domain { return domains }
		if edit != nil {
			edit(cfg)
		}
	}), b
}

// A user of the shop with a phone.
type user struct {
	*script
	name, password string
	header         string // Authorization or Proxy-Authorization
	chal           *digest.Challenge
	algorithm      string
}

func (p *peer) user(name string) *user {
	return &user{script: p.script(), name: name, password: "Secret-of-" + name}
}

// to sends a request for an address of the shop, with what answers the challenge seen last.
func (u *user) to(method, target string, extra ...string) {
	u.t.Helper()
	uri, record := "sip:"+target+"@shop.example", "sip:"+target+"@shop.example"
	if method == "REGISTER" {
		uri = "sip:shop.example"
	}
	if u.chal != nil {
		cred, err := digest.Digest(u.chal, digest.Options{Method: method, URI: uri, Count: 1, Username: u.name, Password: u.password})
		if err != nil {
			u.t.Fatal(err)
		}
		extra = append(extra, u.header+": "+cred.String())
	}
	u.branch = newBranch()
	text := method + " " + uri + " SIP/2.0\nVia: SIP/2.0/UDP " + u.addr() + ";branch=" + u.branch + ";rport\nMax-Forwards: 70\n" +
		"From: <sip:" + u.name + "@shop.example>;tag=" + u.tag + "\nTo: <" + record + ">\nCall-ID: " + u.callID + "\nCSeq: " + strconv.Itoa(u.cseq) + " " + method + "\n"
	body := ""
	for _, e := range extra {
		if e == "sdp" {
			text += "Content-Type: application/sdp\n"
			body = string(testSDP(9))
			continue
		}
		text += e + "\n"
	}
	u.cseq++
	u.send(text + "\n" + body)
}

// challenged takes a 401 or 407.
func (u *user) challenged(method string) *digest.Challenge {
	u.t.Helper()
	code, name := 401, "WWW-Authenticate"
	u.header = "Authorization"
	if method == "INVITE" {
		code, name, u.header = 407, "Proxy-Authenticate", "Proxy-Authorization"
	}
	res := u.response(method, code)
	for _, h := range res.GetHeaders(name) {
		c, err := digest.ParseChallenge(h.Value())
		if err != nil {
			u.t.Fatal(err)
		}
		if u.algorithm == "" || c.Algorithm == u.algorithm {
			u.chal = c
			return c
		}
	}
	u.t.Fatalf("no challenge with %s:\n%s", u.algorithm, res)
	return nil
}

// register does the whole of it and returns the final response.
func (u *user) register(code int, extra ...string) *sip.Response {
	u.t.Helper()
	if u.chal == nil {
		u.to("REGISTER", u.name, extra...)
		u.challenged("REGISTER")
	}
	u.to("REGISTER", u.name, extra...)
	return u.response("REGISTER", code)
}

func contactsOf(res *sip.Response) (list []string) {
	for _, h := range res.GetHeaders("Contact") {
		list = append(list, h.Value())
	}
	return list
}

func TestRegistrar(t *testing.T) {
	for _, algorithm := range []string{"MD5", "SHA-256"} {
		t.Run(algorithm, func(t *testing.T) {
			s, b := startShop(t, func(cfg *Config) { cfg.Digests = []string{"SHA-256", "MD5"} })
			u := newPeer(t, s).user("ann")
			u.algorithm = algorithm
			res := u.register(200, "Contact: <sip:ann@"+u.addr()+">;q=0.5, <sip:ann@"+u.addr()+";transport=tcp>;expires=90", "Expires: 600")
			if got := contactsOf(res); len(got) != 2 || !strings.Contains(got[0], ";expires=600;q=0.5") || !strings.Contains(got[1], "tcp>;expires=90") {
				t.Errorf("%q", got)
			}
			if got := contactsOf(u.register(200)); len(got) != 2 { // a query
				t.Errorf("%q", got)
			}
			if got := contactsOf(u.register(200, "Contact: <sip:ann@"+u.addr()+">;expires=0")); len(got) != 1 {
				t.Errorf("%q", got)
			}
			if res := u.register(423, "Contact: <sip:ann@"+u.addr()+">;expires=30"); res.GetHeader("Min-Expires").Value() != "60" {
				t.Errorf("%s", res)
			}
			u.register(400, "Contact: *") // without Expires: 0
			u.register(420, "Contact: <sip:ann@"+u.addr()+">", "Path: <sip:p.example;lr>")
			if got := contactsOf(u.register(200, "Contact: *", "Expires: 0")); len(got) != 0 || len(b.list()) != 0 {
				t.Errorf("%q", got)
			}
			if st := s.Stats(); st.Registrations != 4 || st.Challenges == 0 || st.AuthFailures != 0 {
				t.Errorf("%+v", st)
			}
		})
	}
}

// Whether a user exists is told by nothing.
func TestUnknownUsersAreAskedAndRefusedLikeOthers(t *testing.T) {
	s, b := startShop(t, nil)
	var answers []string
	for _, name := range []string{"ann", "nobody"} {
		u := newPeer(t, s).user(name)
		u.password = "wrong"
		u.to("REGISTER", name, "Contact: <sip:x@"+u.addr()+">")
		u.challenged("REGISTER")
		u.to("REGISTER", name, "Contact: <sip:x@"+u.addr()+">")
		res := u.response("REGISTER", 401)
		answers = append(answers, strconv.Itoa(len(res.Headers()))+res.Reason)
	}
	if answers[0] != answers[1] || len(b.list()) != 0 {
		t.Errorf("%q", answers)
	}
	other := newPeer(t, s).user("bob") // a right password for somebody else's address
	other.register(200)
	other.to("REGISTER", "ann", "Contact: <sip:x@"+other.addr()+">")
	other.response("REGISTER", 403)
}

func TestANonceIsGoodForOneSourceAndAWhile(t *testing.T) {
	clock := newFakeClock()
	c := newChallenger(clock, []string{digestMD5})
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	n := c.nonce("shop.example", a, clock.Now())
	if !c.gave(n, "shop.example", a) || c.gave(n, "shop.example", b) || c.gave(n, "other.example", a) || c.gave(n[1:], "shop.example", a) {
		t.Error("whose it is")
	}
	if newChallenger(clock, nil).gave(n, "shop.example", a) {
		t.Error("another process")
	}
	clock.now = clock.now.Add(nonceLife)
	if c.gave(n, "shop.example", a) {
		t.Error("too old")
	}
}

func TestGuard(t *testing.T) {
	clock := newFakeClock()
	g, src := newGuard(clock), netip.MustParseAddr("192.0.2.1")
	fail := func(n int) (shut time.Duration) {
		for range n {
			shut = g.failed(src)
		}
		return shut
	}
	if fail(9) != 0 || g.shut(src) {
		t.Error("nine failures shut a source out")
	}
	clock.now = clock.now.Add(guardWindow + time.Second)
	if fail(9) != 0 {
		t.Error("failures of long ago count")
	}
	clock.now = clock.now.Add(guardWindow + time.Second)
	fail(1)
	clock.now = clock.now.Add(guardWindow - time.Second)
	if fail(7) != 0 {
		t.Error("eight failures shut a source out")
	}
	clock.now = clock.now.Add(2 * time.Second) // the first no longer counts
	if fail(2) != 0 {
		t.Error("nine failures of the last minute shut a source out")
	}
	for _, want := range []time.Duration{10 * time.Minute, 20 * time.Minute, 40 * time.Minute} {
		shut := time.Duration(0)
		for range guardFailures {
			if shut = g.failed(src); shut > 0 {
				break
			}
		}
		if shut != want || !g.shut(src) || g.count() != 1 {
			t.Errorf("shut out for %v, want %v", shut, want)
		}
		clock.now = clock.now.Add(want)
		if g.shut(src) {
			t.Error("for ever")
		}
	}
	for i := range 2 * maxOffenders {
		g.failed(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}))
	}
	if len(g.of) > maxOffenders {
		t.Errorf("%d sources are remembered", len(g.of))
	}
}

// A source that guesses is shut out; one that only asks, or answers challenges of others, never is.
func TestWhoGuessesIsShutOut(t *testing.T) {
	s, _ := startShop(t, nil)
	u := newPeer(t, s).user("ann")
	for range 20 { // no answer to a challenge of ours
		u.to("REGISTER", "ann", `Authorization: Digest username="ann", realm="shop.example", nonce="forged", uri="sip:shop.example", response="00000000000000000000000000000000"`)
		u.challenged("REGISTER")
		u.chal = nil
	}
	if st := s.Stats(); st.Shut != 0 || st.AuthFailures != 0 {
		t.Fatalf("%+v", st)
	}
	u.to("REGISTER", "ann")
	u.challenged("REGISTER")
	u.password = "wrong"
	for range guardFailures {
		u.to("REGISTER", "ann")
		u.response("REGISTER", 401)
	}
	u.password = "Secret-of-ann"
	u.to("REGISTER", "ann")
	u.silent(100 * time.Millisecond)
	if st := s.Stats(); st.Shut != 1 || st.AuthFailures != guardFailures || st.ShutOut != 1 {
		t.Errorf("%+v", st)
	}
}

// TestALiveCallIsNoWayRoundTheGuard: what borrows the names of its own INVITE is known to the gate, and guesses no
// more passwords than another.
func TestALiveCallIsNoWayRoundTheGuard(t *testing.T) {
	s, _ := startShop(t, nil)
	for range guardFailures {
		s.guard.failed(netip.MustParseAddr("127.0.0.1"))
	}
	src := netip.MustParseAddr("127.0.0.1")
	d, uri := shop(), sip.Uri{Scheme: "sip", Host: "shop.example"}
	c := s.challenger.ask(d.Name, "REGISTER", src, false).headers[0]
	chal, err := digest.ParseChallenge(c.Value())
	if err != nil {
		t.Fatal(err)
	}
	cred, err := digest.Digest(chal, digest.Options{Method: "REGISTER", URI: uri.String(), Count: 1, Username: "ann", Password: "Secret-of-ann"})
	if err != nil {
		t.Fatal(err)
	}
	if user, f := s.entitled(&d, "REGISTER", src, []string{cred.String()}, &uri); user != "" || f == nil || f.code != 403 {
		t.Errorf("%q %+v", user, f)
	}
	other := netip.MustParseAddr("192.0.2.1")
	if _, f := s.entitled(&d, "REGISTER", other, nil, &uri); f == nil || f.code != 401 {
		t.Errorf("%+v", f)
	}
}

func TestCallOfARegisteredPhone(t *testing.T) {
	s, _ := startShop(t, nil)
	u := newPeer(t, s).user("ann")
	u.to("INVITE", "bob", "Contact: <sip:ann@10.0.0.7:5060>", "sdp")
	u.challenged("INVITE")
	u.to("INVITE", "bob", "Contact: <sip:ann@10.0.0.7:5060>", "X-Order: 7", "sdp")
	in := s.incoming(t)
	if in.info.Domain == nil || in.info.Domain.SID != "SD1" || in.info.AuthUser != "ann" || in.info.From != "sip:ann@shop.example" ||
		in.info.To != "sip:bob@shop.example" || in.info.Headers["X-Order"] != "7" || in.info.Trunk != nil {
		t.Errorf("%+v", in.info)
	}
	if err := in.leg.Answer(); err != nil {
		t.Fatal(err)
	}
	u.response("INVITE", 200)
	if in.leg.Dialog().Dest != u.addr() {
		t.Errorf("the BYE goes to %s, behind the NAT", in.leg.Dialog().Dest)
	}
}

func TestWhoMayCallADomain(t *testing.T) {
	loopback, elsewhere := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	for name, test := range map[string]struct {
		edit func(*call.Domain)
		code int // of the refusal, 0 when the call comes in at once
	}{
		"no list mapped":             {func(d *call.Domain) { d.ByCredentials = false }, 403},
		"an address of the list":     {func(d *call.Domain) { d.ByCredentials, d.ByAddress, d.Sources = false, true, loopback }, 0},
		"another address":            {func(d *call.Domain) { d.ByCredentials, d.ByAddress, d.Sources = false, true, elsewhere }, 403},
		"both, the address is wrong": {func(d *call.Domain) { d.ByAddress, d.Sources = true, elsewhere }, 403},
		"both, the address is right": {func(d *call.Domain) { d.ByAddress, d.Sources = true, loopback }, 407},
		"credentials":                {func(*call.Domain) {}, 407},
		"an empty list is nobody":    {func(d *call.Domain) { d.ByCredentials, d.ByAddress = false, true }, 403},
	} {
		t.Run(name, func(t *testing.T) {
			d := shop()
			test.edit(&d)
			list := []call.Domain{d}
			s, _ := startShop(t, func(cfg *Config) { cfg.Domains = func() []call.Domain { return list } })
			u := newPeer(t, s).user("ann")
			u.to("INVITE", "bob", "Contact: <"+u.uri()+">", "sdp")
			if test.code != 0 {
				u.response("INVITE", test.code)
				return
			}
			s.incoming(t).leg.Reject(486, "Busy Here")
			u.response("INVITE", 486)
		})
	}
}

// Somebody with a password of his own does not call in another's name.
func TestFromOfSomebodyElse(t *testing.T) {
	s, _ := startShop(t, nil)
	u := newPeer(t, s).user("ann")
	u.to("INVITE", "bob", "Contact: <"+u.uri()+">", "sdp")
	u.challenged("INVITE")
	u.password, u.name = "Secret-of-bob", "bob"
	chal, header := *u.chal, u.header
	cred, err := digest.Digest(&chal, digest.Options{Method: "INVITE", URI: "sip:bob@shop.example", Count: 1, Username: "bob", Password: "Secret-of-bob"})
	if err != nil {
		t.Fatal(err)
	}
	u.chal, u.name = nil, "ann"
	u.to("INVITE", "bob", "Contact: <"+u.uri()+">", header+": "+cred.String(), "sdp")
	u.response("INVITE", 403)
	// An answer that was overheard calls nobody else either.
	u.name = "bob"
	u.to("INVITE", "ann", "Contact: <"+u.uri()+">", header+": "+cred.String(), "sdp")
	u.response("INVITE", 407)
}

// Strangers get nothing, but at the names of our domains.
func TestStrangersAndOurDomains(t *testing.T) {
	s, _ := startShop(t, nil)
	p := newPeer(t, s)
	for _, method := range []string{"INVITE", "REGISTER", "OPTIONS", "MESSAGE"} {
		p.script().ask(method, 1, "", "sdp") // at our address
	}
	p.silent(50 * time.Millisecond)
	u := p.user("ann")
	u.to("OPTIONS", "ann")
	u.response("OPTIONS", 200)
	u.to("MESSAGE", "ann")
	u.silent(50 * time.Millisecond)
	for range strangerBurst + 10 {
		u.to("OPTIONS", "ann")
	}
	answers := 0
	for p.read(200*time.Millisecond) != nil {
		answers++
	}
	if answers > strangerBurst+5 || answers < strangerBurst-5 || s.Stats().OverRate == 0 {
		t.Errorf("%d answers, %+v", answers, s.Stats())
	}
	if st := s.Stats(); st.Transactions != 0 || st.Strangers != 5 {
		t.Errorf("%+v", st)
	}
}

func TestAPhoneBehindANAT(t *testing.T) {
	c := newFakeClock()
	s, b := startShop(t, func(cfg *Config) { cfg.Clock = c })
	u := newPeer(t, s).user("ann")
	u.register(200, "Contact: <sip:ann@10.0.0.7:5060>")
	bound := b.list()[0]
	if got := bound; got.Dest != u.addr() || !got.KeepAlive || got.Transport != "udp" {
		t.Fatalf("%+v", got)
	}
	c.mu.Lock()
	for _, timer := range c.timers {
		if timer.ch != nil && timer.live && timer.at.Sub(c.now) <= keepAliveEvery {
			timer.live = false
			timer.ch <- timer.at
		}
	}
	c.mu.Unlock()
	ping := u.request("OPTIONS")
	if ping.Recipient.Host != "10.0.0.7" {
		t.Errorf("%s", ping)
	}
	u.answer(ping, 200, "x") // is dropped, and no stranger's
	l, err := s.NewLeg(call.OutboundLeg{Target: bound.URI, To: "sip:ann@shop.example", Dest: bound.Dest, Transport: "udp", From: "sip:bob@shop.example", Symmetric: true})
	if err != nil {
		t.Fatal(err)
	}
	l.Invite()
	inv := u.request("INVITE")
	if inv.To().Address.String() != "sip:ann@shop.example" || inv.Recipient.Host != "10.0.0.7" {
		t.Errorf("%s", inv)
	}
	u.answer(inv, 200, "tag", "Contact: <sip:ann@10.0.0.7:5060>", "sdp")
	u.request("ACK")
	next[call.LegAnswered](t, l)
	l.Hangup()
	u.answer(u.request("BYE"), 200, "tag")
	ended(t, l)
	if st := s.Stats(); st.Strangers != 0 {
		t.Errorf("%+v", st)
	}
}

// What strangers write into the headers that a registrar reads harms nobody.
func FuzzRegistration(f *testing.F) {
	for _, seed := range []string{
		"<sip:ann@192.0.2.7:5060;transport=tcp>;expires=60;q=0.7", "*", "sip:ann@h;expires=x", `"A" <sips:a%20b@[2001:db8::1]>`,
		`Digest username="a", realm="shop.example", nonce="AAAA", uri="sip:shop.example", response="0", qop=auth, nc=00000001, cnonce="c", algorithm=SHA-256`,
		`Digest username=""`, "<sip:a@b?x=y>;;=", `<sip:a@b>;q=-1;expires=4294967296`, "sip:*?", "sip:@0@0",
	} {
		f.Add(seed)
	}
	c := newChallenger(newFakeClock(), []string{digestMD5, digestSHA256})
	src, uri := netip.MustParseAddr("192.0.2.1"), sip.Uri{Scheme: "sip", Host: "shop.example"}
	f.Fuzz(func(t *testing.T, value string) {
		if b, expires, ok := parseContact(value); ok {
			again, _, ok := parseContact("<" + b.URI + ">")
			if !ok || again.URI != b.URI || again.Key != b.Key || expires < -1 || b.Q < 0 || b.Q > 1000 {
				t.Errorf("%q: %+v %v, again %+v %v", value, b, expires, again, ok)
			}
		}
		if user, fault, _ := c.check([]string{value}, "shop.example", "REGISTER", src, map[string]string{"ann": "x"}, &uri); user != "" || fault == nil {
			t.Errorf("%q lets %q in", value, user)
		}
	})
}
