package sip

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/clock"
)

// certificate is a self-signed one for these names and addresses.
func certificate(t testing.TB, names ...string) (*tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := clock.System.Now()
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: names[0]}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
	}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			tmpl.IPAddresses = append(tmpl.IPAddresses, ip)
		} else {
			tmpl.DNSNames = append(tmpl.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, pool
}

// secureStation listens on TLS as well, with a certificate for names, and trusts those of roots.
func secureStation(t testing.TB, cert *tls.Certificate, roots *x509.CertPool, edit func(*Config)) *station {
	t.Helper()
	return start(t, func(c *Config) {
		c.ListenTLS = []string{"127.0.0.1:0"}
		c.Certificate = func() (*tls.Certificate, error) { return cert, nil }
		c.RootCAs = roots
		if edit != nil {
			edit(c)
		}
	})
}

func TestACallOverTLS(t *testing.T) {
	for _, scheme := range []string{"sip", "sips"} {
		t.Run(scheme, func(t *testing.T) {
			cert, roots := certificate(t, "127.0.0.1")
			a, b := secureStation(t, cert, roots, nil), secureStation(t, cert, roots, nil)
			target := fmt.Sprintf("sip:15551234567@%s;transport=tls", b.AddrTLS())
			if scheme == "sips" {
				target = "sips:15551234567@" + b.AddrTLS().String()
			}
			out := dial(t, a, call.OutboundLeg{Target: target})
			in := b.incoming(t)
			via := in.leg.in.req.Via()
			if in.leg.in.req.Transport() != "TLS" || via.Transport != "TLS" || via.Port != int(a.AddrTLS().Port()) {
				t.Errorf("Via %s", via.Value())
			}
			contact := in.leg.in.req.Contact().Address
			if scheme == "sips" && contact.Scheme != "sips" || scheme == "sip" && !strings.Contains(contact.String(), "transport=tls") ||
				contact.Port != int(a.AddrTLS().Port()) {
				t.Errorf("Contact %s", contact.String())
			}
			in.leg.Ring()
			next[call.LegRinging](t, out)
			if err := in.leg.Answer(); err != nil {
				t.Fatal(err)
			}
			next[call.LegAnswered](t, out)
			if d := out.Dialog(); d.Transport != "TLS" || d.Dest != b.AddrTLS().String() {
				t.Errorf("dialog %+v", d)
			}
			if d := in.leg.Dialog(); d.Transport != "TLS" {
				t.Errorf("dialog %+v", d)
			}
			if n := b.conns.count(); n != 1 {
				t.Errorf("%d connections, want one for the whole call", n)
			}
			in.leg.Hangup() // over the connection that the caller opened
			ended(t, out)
			ended(t, in.leg)
			if n := b.conns.count() + a.conns.count(); n != 1 {
				t.Errorf("%d connections, want one for the whole call", n)
			}
			second := dial(t, a, call.OutboundLeg{Target: target})
			b.incoming(t).leg.Reject(486, "Busy Here")
			ended(t, second)
			if n := b.conns.count(); n != 1 {
				t.Errorf("%d connections, want the first again", n)
			}
		})
	}
}

// TestADialogOutlivesItsConnection: who opened it is gone, so the other side connects to his Contact.
func TestADialogOutlivesItsConnection(t *testing.T) {
	cert, roots := certificate(t, "127.0.0.1")
	a, b := secureStation(t, cert, roots, nil), secureStation(t, cert, roots, nil)
	out := dial(t, a, call.OutboundLeg{Target: fmt.Sprintf("sip:15551234567@%s;transport=tls", b.AddrTLS())})
	in := b.incoming(t)
	if err := in.leg.Answer(); err != nil {
		t.Fatal(err)
	}
	next[call.LegAnswered](t, out)
	for b.states[confirmed].Load() == 0 { // its ACK is through
		_ = clock.Sleep(t.Context(), clock.System, time.Millisecond)
	}
	a.tls.mu.Lock()
	c := a.tls.open[b.AddrTLS()]
	a.tls.mu.Unlock()
	_ = c.Close()
	for deadline := clock.System.Now().Add(patience); b.conns.count() > 0; {
		if clock.System.Now().After(deadline) {
			t.Fatal("the connection stays")
		}
		_ = clock.Sleep(t.Context(), clock.System, time.Millisecond)
	}
	in.leg.Hangup()
	ended(t, out)
	ended(t, in.leg)
	if n := a.conns.count(); n != 1 {
		t.Errorf("%d connections to the caller, want a new one", n)
	}
}

func TestCertificatesAreVerified(t *testing.T) {
	right, roots := certificate(t, "127.0.0.1")
	other, _ := certificate(t, "127.0.0.1")
	named, namedRoots := certificate(t, "carrier.example")
	for name, tt := range map[string]struct {
		cert  *tls.Certificate
		roots *x509.CertPool
		ok    bool
	}{
		"right":             {right, roots, true},
		"unknown authority": {other, roots, false},
		"another's name":    {named, namedRoots, false},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := secureStation(t, right, tt.roots, nil), secureStation(t, tt.cert, nil, nil)
			out := dial(t, a, call.OutboundLeg{Target: fmt.Sprintf("sip:15551234567@%s;transport=tls", b.AddrTLS())})
			if tt.ok {
				b.incoming(t).leg.Reject(486, "Busy Here")
			}
			e := ended(t, out)
			if ok := e.Cause.SIPCode == 486; ok != tt.ok || !tt.ok && !strings.Contains(e.Cause.Reason, "certificate") {
				t.Errorf("%+v", e.Cause)
			}
		})
	}
}

// TestTheNameIsVerifiedNotTheAddress: a host name that SRV records lead to a port of.
func TestTheNameIsVerifiedNotTheAddress(t *testing.T) {
	cert, roots := certificate(t, "carrier.example")
	b := secureStation(t, cert, nil, nil)
	dns := newDNS(t)
	dns.srv("_sips._tcp.carrier.example", 10, 10, b.AddrTLS().Port(), "edge.carrier.example")
	dns.a("edge.carrier.example", "127.0.0.1")
	a := secureStation(t, cert, roots, func(c *Config) { c.Resolver = dns.resolver() })
	out := dial(t, a, call.OutboundLeg{Target: "sips:15551234567@carrier.example"})
	b.incoming(t).leg.Reject(486, "Busy Here")
	if e := ended(t, out); e.Cause.SIPCode != 486 {
		t.Errorf("%+v", e.Cause)
	}
}

func TestNoTLSWithoutAListener(t *testing.T) {
	a := start(t, nil)
	for _, target := range []string{"sip:x@127.0.0.1;transport=tls", "sips:x@127.0.0.1"} {
		if _, err := a.NewLeg(call.OutboundLeg{Target: target}); err == nil || !strings.Contains(err.Error(), "--sips") {
			t.Errorf("%s: %v", target, err)
		}
	}
}

func TestSecureCallsGoOverTLSOnly(t *testing.T) {
	cert, roots := certificate(t, "127.0.0.1")
	a := secureStation(t, cert, roots, nil)
	for _, target := range []string{"sip:x@127.0.0.1;transport=udp", "sip:x@127.0.0.1;transport=tcp"} {
		if _, err := a.NewLeg(call.OutboundLeg{Target: target, Secure: true}); err == nil {
			t.Errorf("%s is called", target)
		}
	}
	out := dial(t, a, call.OutboundLeg{Target: "sip:x@" + a.AddrTLS().String(), Secure: true})
	if s := a.media.stream(t, 0); !s.secure {
		t.Error("SRTP is not demanded")
	}
	a.incoming(t).leg.Reject(486, "Busy Here")
	ended(t, out)
}

// TestASecureTrunkTakesNothingElse: 488 to whoever comes without TLS.
func TestASecureTrunkTakesNothingElse(t *testing.T) {
	cert, roots := certificate(t, "127.0.0.1")
	trunks := []call.Trunk{{SID: "TK1", Host: "127.0.0.1:1", Secure: true}}
	s := secureStation(t, cert, roots, func(c *Config) {
		c.Dev, c.Trunks = false, func() []call.Trunk { return trunks }
	})
	p := newPeer(t, s).script()
	p.ask("INVITE", 1, "", "sdp")
	if res := p.response("INVITE", 488); !strings.Contains(headerValue(res, "Warning", ""), "TLS") {
		t.Errorf("Warning %q", headerValue(res, "Warning", ""))
	}
	out := dial(t, s, call.OutboundLeg{Target: "sip:x@" + s.AddrTLS().String(), Transport: "tls"})
	in := s.incoming(t)
	if st := s.media.stream(t, 1); !st.secure {
		t.Error("SRTP is not demanded")
	}
	in.leg.Reject(486, "Busy Here")
	ended(t, out)
}

// TestStrangersOverTLS: the gate is the same.
func TestStrangersOverTLS(t *testing.T) {
	cert, roots := certificate(t, "127.0.0.1")
	s := secureStation(t, cert, roots, func(c *Config) { c.Dev = false })
	c, err := tls.Dial("tcp", s.AddrTLS().String(), &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if _, err := fmt.Fprintf(c, "OPTIONS sip:x@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TLS x;branch=z9hG4bK1\r\nMax-Forwards: 70\r\nFrom: <sip:y@z>;tag=1\r\n"+
		"To: <sip:x@127.0.0.1>\r\nCall-ID: stranger\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	for deadline := clock.System.Now().Add(patience); s.drops.strangers.Load() == 0; {
		if clock.System.Now().After(deadline) {
			t.Fatal("a stranger is not dropped")
		}
		_ = clock.Sleep(t.Context(), clock.System, time.Millisecond)
	}
	if _, err := tls.Dial("tcp", secureStation(t, cert, roots, nil).AddrTLS().String(),
		&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}); err == nil { //nolint:gosec // what must fail
		t.Error("TLS 1.1 is taken")
	}
}

// TestOneMessageInPieces: records of TLS cut messages as they like.
func TestOneMessageInPieces(t *testing.T) {
	cert, roots := certificate(t, "127.0.0.1")
	s := secureStation(t, cert, roots, nil)
	c, err := tls.Dial("tcp", s.AddrTLS().String(), &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	req := "OPTIONS sip:x@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TLS " + c.LocalAddr().String() + ";branch=z9hG4bKp%d\r\nMax-Forwards: 70\r\n" +
		"From: <sip:y@z>;tag=1\r\nTo: <sip:x@127.0.0.1>\r\nCall-ID: pieces\r\nCSeq: %d OPTIONS\r\nContent-Length: 0\r\n\r\n"
	text := fmt.Sprintf(req, 1, 1) + fmt.Sprintf(req, 2, 2)
	for at := 0; at < len(text); at += 97 {
		if _, err := c.Write([]byte(text[at:min(at+97, len(text))])); err != nil {
			t.Fatal(err)
		}
	}
	_ = c.SetReadDeadline(clock.System.Now().Add(patience))
	r := bufio.NewReader(c)
	for got := 0; got < 2; {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(line, "SIP/2.0 200") {
			got++
		}
	}
}

// dns is a name server with the records that a test gives it.
type dns struct {
	t    testing.TB
	conn net.PacketConn

	mu   sync.Mutex
	recs map[string][][]byte // "name type" to data
}

func newDNS(t testing.TB) *dns {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &dns{t: t, conn: conn, recs: make(map[string][][]byte)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 512)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = conn.WriteTo(d.answer(buf[:n]), from)
		}
	}()
	t.Cleanup(func() { _ = conn.Close(); <-done })
	return d
}

func dnsName(name string) (b []byte) {
	for label := range strings.SplitSeq(strings.TrimSuffix(name, "."), ".") {
		b = append(append(b, byte(len(label))), label...)
	}
	return append(b, 0)
}

// The records are to be given before the first question.
func (d *dns) srv(name string, priority, weight, port uint16, target string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	b := []byte{byte(priority >> 8), byte(priority), byte(weight >> 8), byte(weight), byte(port >> 8), byte(port)}
	d.recs[name+" 33"] = append(d.recs[name+" 33"], append(b, dnsName(target)...))
}

func (d *dns) a(name, addr string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.recs[name+" 1"] = append(d.recs[name+" 1"], netip.MustParseAddr(addr).AsSlice())
}

func (d *dns) answer(q []byte) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(q) < 17 {
		return nil
	}
	var labels []string
	at := 12
	for at < len(q) && q[at] != 0 {
		labels = append(labels, string(q[at+1:at+1+int(q[at])]))
		at += 1 + int(q[at])
	}
	kind := int(q[at+1])<<8 | int(q[at+2])
	question := q[12 : at+5]
	name := strings.ToLower(strings.Join(labels, "."))
	recs := d.recs[name+" "+strconv.Itoa(kind)]
	code := byte(0)
	if d.recs[name+" 1"] == nil && d.recs[name+" 33"] == nil {
		code = 3
	}
	b := append([]byte{q[0], q[1], 0x85, 0x80 | code, 0, 1, 0, byte(len(recs)), 0, 0, 0, 0}, question...)
	for _, r := range recs {
		b = append(b, 0xc0, 12, byte(kind>>8), byte(kind), 0, 1, 0, 0, 0, 1, byte(len(r)>>8), byte(len(r)))
		b = append(b, r...)
	}
	return b
}

func (d *dns) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var dialer net.Dialer
		return dialer.DialContext(ctx, "udp", d.conn.LocalAddr().String())
	}}
}

// TestWhoConnectsIsNotWhoIsCalled: a connection that somebody opened from the address of a target is not taken for
// calls there. He has shown no certificate.
func TestWhoConnectsIsNotWhoIsCalled(t *testing.T) {
	cert, roots := certificate(t, "127.0.0.1")
	s := secureStation(t, cert, roots, nil)
	c, err := tls.Dial("tcp", s.AddrTLS().String(), &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	addr := netip.MustParseAddrPort(c.LocalAddr().String())
	if _, err := fmt.Fprintf(c, "\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 2)); err != nil { // its connection is known
		t.Fatal(err)
	}
	if !s.connected(addr) || s.tls.reaches(addr, "127.0.0.1", false) {
		t.Error("whoever connects gets the calls")
	}
	if e := ended(t, dial(t, s, call.OutboundLeg{Target: "sips:15551234567@" + addr.String()})); e.Cause.SIPCode != 503 {
		t.Errorf("%+v", e.Cause)
	}
	s.secureConn(addr).registered.Store(true)
	if !s.tls.reaches(addr, "127.0.0.1", false) {
		t.Error("a phone that has registered is not reached")
	}
}
