package sip

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/offhook/offhook/internal/call"
)

// domains finds our SIP domains by name, those that PBXs of elastic trunks call among them.
type domains struct {
	list   func() []call.Domain
	trunks func() []call.Trunk
	index  atomic.Pointer[domainIndex]
}

// domainIndex is made from one snapshot of each, which is told by its address.
type domainIndex struct {
	of      []call.Domain
	trunks  []call.Trunk
	byName  map[string]*call.Domain
	elastic map[string]*call.Trunk // by SID
}

// present is the index of what there is now.
func (d *domains) present() *domainIndex {
	list, trunks := d.list(), d.trunks()
	x := d.index.Load()
	if x != nil && sameSlice(x.of, list) && sameSlice(x.trunks, trunks) {
		return x
	}
	x = &domainIndex{of: list, trunks: trunks, byName: make(map[string]*call.Domain, len(list)), elastic: make(map[string]*call.Trunk)}
	for i := range trunks {
		if entrance, ok := trunks[i].Entrance(); ok {
			x.byName[entrance.Name], x.elastic[entrance.SID] = &entrance, &trunks[i]
		}
	}
	for i := range list {
		x.byName[list[i].Name] = &list[i]
	}
	d.index.Store(x)
	return x
}

// named is the domain of that host name, nil when it is none of ours.
func (d *domains) named(host string) *call.Domain {
	x := d.present()
	if len(x.byName) == 0 || host == "" {
		return nil
	}
	return x.byName[strings.ToLower(strings.TrimSuffix(host, "."))]
}

// trunk is the elastic trunk whose entrance d is, nil for a domain of phones.
func (d *domains) trunk(of *call.Domain) *call.Trunk { return d.present().elastic[of.SID] }

const (
	// strangerRate is how many requests a second somebody unknown may send to our domains, and strangerBurst how
	// many at once: an office of phones that starts. All strangers together have allStrangers, so that a flood
	// of forged sources costs little; who has shown a password is no stranger.
	strangerRate  = 20
	strangerBurst = 100
	allStrangers  = 2000
)

// domainOf is the domain that a message outside of our calls is for: of a REGISTER that of its To, for its
// Request-URI may name the proxy; of others that of the Request-URI.
func (e *Endpoint) domainOf(m *raw) *call.Domain {
	switch {
	case !m.request:
		return nil
	case m.method == string(sip.REGISTER):
		if e.cfg.Locations == nil {
			return nil
		}
		var uri sip.Uri
		if _, err := sip.ParseAddressValue(m.to, &uri, nil); err != nil {
			return nil
		}
		return e.domains.named(uri.Host)
	case m.method == string(sip.INVITE), m.method == string(sip.ACK), m.method == string(sip.OPTIONS):
		return e.domains.named(m.host)
	}
	return nil
}

// knock decides about a message for domain d, from whomever, before there is any state of it. Only what could
// be let in goes on; the rest gets f, or nothing at all.
func (e *Endpoint) knock(d *call.Domain, src netip.Addr, m *raw, trusted bool) (f *fault, pass bool) {
	if !trusted {
		switch {
		case e.guard.shut(src):
			e.drops.shut.Add(1)
			return nil, false
		case !e.guard.friend(src) && !(e.strangers.allow(src) && e.crowd.allow(netip.Addr{})):
			e.drops.rate.Add(1)
			return nil, false
		case m.fault != nil:
			e.drops.malformed.Add(1)
			return nil, false
		case m.method == string(sip.ACK): // of our refusal
			return nil, false
		case m.method == string(sip.OPTIONS):
			return &fault{200, "OK", capabilities()}, false
		}
	}
	if m.fault != nil || m.method != string(sip.INVITE) && m.method != string(sip.REGISTER) {
		return nil, true
	}
	_, f = e.entitled(d, m.method, src, m.proofs, nil)
	return f, f == nil
}

// entitled says what a request to domain d lacks, nil for nothing: 403, or a challenge. With uri, the request's,
// passwords are checked, else only whether there is one to check.
func (e *Endpoint) entitled(d *call.Domain, method string, src netip.Addr, headers []string, uri *sip.Uri) (user string, f *fault) {
	forbidden := &fault{code: 403, reason: "Forbidden"}
	passwords := d.Registrants
	if method == string(sip.INVITE) {
		switch {
		case !d.ByAddress && !d.ByCredentials:
			return "", forbidden
		case d.ByAddress && !slices.ContainsFunc(d.Sources, func(p netip.Prefix) bool { return p.Contains(src) }):
			return "", forbidden
		case !d.ByCredentials:
			return "", nil
		}
		passwords = d.Callers
	} else if !d.SIPRegistration {
		return "", forbidden
	}
	if uri != nil && !e.trusted(src) && e.guard.shut(src) { // a live call of its own brought it past knock
		return "", forbidden
	}
	user, f, failed := e.challenger.check(headers, d.Name, method, src, passwords, uri)
	switch {
	case failed:
		e.failures.Add(1)
		if !e.trusted(src) {
			if shut := e.guard.failed(src); shut > 0 {
				e.log.Warn("sip: a source is shut out: too many wrong passwords", "source", src.String(), "for", shut.String(), "domain", d.Name)
			}
		}
	case f != nil:
		e.challenges.Add(1)
	case uri != nil:
		e.guard.passed(src)
	}
	return user, f
}

// proofs are the headers of a request that may answer a challenge.
func proofs(req *sip.Request) (values []string) {
	for _, name := range [...]string{"Authorization", "Proxy-Authorization"} {
		for _, h := range req.GetHeaders(name) {
			values = append(values, h.Value())
		}
	}
	return values
}

// admitCaller lets the INVITE of a phone to domain d in, or says why not. user is who it showed to be, "" when
// only its address counts.
func (e *Endpoint) admitCaller(d *call.Domain, req *sip.Request, src netip.Addr) (user string, f *fault) {
	if d.Secure && !isTLS(req.Transport()) {
		if e.domains.trunk(d) != nil {
			return "", insecure()
		}
		return "", &fault{code: 403, reason: "TLS Required"}
	}
	user, f = e.entitled(d, string(sip.INVITE), src, proofs(req), &req.Recipient)
	if f != nil || user == "" {
		return "", f
	}
	// A name that belongs to somebody else of the domain is not presented.
	from := &req.From().Address
	if name := userOf(from); strings.EqualFold(strings.TrimSuffix(from.Host, "."), d.Name) && name != user {
		_, calls := d.Callers[name]
		_, registers := d.Registrants[name]
		if calls || registers {
			return "", &fault{code: 403, reason: "From Is Somebody Else"}
		}
	}
	return user, nil
}

func isTLS(transport string) bool { return strings.EqualFold(transport, "TLS") }

// userOf is the user part of a URI without its escapes.
func userOf(u *sip.Uri) string {
	if user, err := url.PathUnescape(u.User); err == nil {
		return user
	}
	return u.User
}

const (
	// keepAliveEvery is how often a NAT is reminded of a phone behind it: they forget UDP after 30 s and more.
	keepAliveEvery = 25 * time.Second
	keepAlivePage  = 100
	keepAlivePause = 100 * time.Millisecond // between pages
)

// keepAlive sends OPTIONS to the phones behind NATs until the endpoint is closed. What they answer is of no
// interest; the gate knows it by its Call-ID.
func (e *Endpoint) keepAlive() {
	t := e.cfg.Clock.NewTimer(keepAliveEvery)
	defer t.Stop()
	var last call.Binding
	for {
		select {
		case <-t.C():
		case <-e.ctx.Done():
			return
		}
		page, err := e.cfg.Locations.KeptAlive(e.ctx, e.cfg.Clock.Now(), last, keepAlivePage)
		if err != nil && e.ctx.Err() == nil {
			e.log.Warn("sip: phones behind NATs are not reminded", "err", err)
		}
		for i := range page {
			e.ping(&page[i])
		}
		last = call.Binding{}
		if len(page) < keepAlivePage {
			t.Reset(keepAliveEvery)
			continue
		}
		last = page[len(page)-1]
		t.Reset(keepAlivePause)
	}
}

// ping sends one OPTIONS to a contact, without a transaction.
func (e *Endpoint) ping(b *call.Binding) {
	var target sip.Uri
	dest, err := netip.ParseAddrPort(b.Dest)
	if err != nil || sip.ParseUri(b.URI, &target) != nil || !isSIP(&target) {
		return
	}
	h := hop{dest, strings.ToUpper(b.Transport)}
	us := e.contact(h).Address
	us.UriParams = nil
	d := dialog{callID: e.pings + token(8), localTag: newTag(), local: us, remote: target, target: target}
	d.remote.UriParams, d.remote.Headers = nil, nil
	req := e.request(&d, sip.OPTIONS, newCSeq(), newBranch(), h)
	req.SetBody(nil)
	e.write(req)
}
