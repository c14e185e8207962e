package sip

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/call"
)

// TestGarbageHarmsNobody throws RFC 4475's messages, when they are here, and broken copies of ordinary ones
// at an endpoint, over UDP and TCP, while a call is up. sipgo's goroutines recover from nothing: one panic
// of its parser or transactions would end this test.
func TestGarbageHarmsNobody(t *testing.T) {
	b := start(t, func(c *Config) {
		good := c.OnInvite
		c.OnInvite = func(l *Leg, in call.InboundLeg) {
			if in.Headers["X-Good"] == "" {
				l.Reject(486, "Busy Here")
				return
			}
			good(l, in)
		}
		c.Log = discard()
		c.Resolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
			return nil, errors.New("no DNS in this test")
		}}
	})
	s := newPeer(t, b).script()
	s.call(b, "X-Good: yes")

	messages := garbage(t)
	udp, err := net.DialUDP("udp", nil, s.to)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = udp.Close() }()
	for i, m := range messages {
		_, _ = udp.Write(m) // nothing more to say to one that the socket refuses
		if i%50 == 0 {
			s.alive(i)
		}
	}
	for i := 0; i < len(messages); i += 5 { // a broken one costs the connection and those behind it
		conn, err := net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(b.Addr()))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = conn.Write(messages[i])
		_, _ = conn.Write(bytes.Join(messages[i:min(i+5, len(messages))], nil))
		_ = conn.Close()
		if i%50 == 0 {
			s.alive(i)
		}
	}
	s.ask("BYE", s.cseq, "")
	s.response("BYE", 200)
	for deadline := time.Now().Add(patience); b.Legs() > 0; {
		if time.Now().After(deadline) {
			t.Fatalf("%d legs are left", b.Legs())
		}
		s.silent(10 * time.Millisecond)
	}
}

// alive has the call answer for itself.
func (s *script) alive(after int) {
	s.t.Helper()
	s.ask("OPTIONS", s.cseq, "")
	s.cseq++
	s.response("OPTIONS", 200)
}

// garbage is the corpus and some thousand messages with bytes changed, cut, repeated and put elsewhere.
func garbage(t *testing.T) (all [][]byte) {
	crlf := func(text string) []byte { return []byte(strings.ReplaceAll(text, "\n", "\r\n")) }
	seeds := [][]byte{
		crlf(wellFormed + "\n"),
		crlf(wellFormed + "Record-Route: <sip:p;lr>, <sip:q>\nSession-Expires: 100;refresher=uac\nRequire: 100rel\nContent-Type: application/sdp\nContent-Length: 136\n\n" + string(testSDP(1))),
		crlf("SIP/2.0 200 OK\nVia: SIP/2.0/UDP [::1]:5060;branch=z9hG4bKx;received=1.2.3.4;rport=9, SIP/2.0/TCP h\nFrom: <sip:a@h>;tag=1\nTo: \"x\" <sip:b@h>;tag=2\nCall-ID: c\nCSeq: 1 INVITE\nContact: <sip:a@[::1]:5060;transport=tcp?X-A=b>;q=1, <sip:c>\n\n"),
		crlf("BYE sip:a@127.0.0.1 SIP/2.0\nv: SIP/2.0/UDP h:5060\nf: sip:a@h;tag=1\nt: sip:b@h;tag=2\ni: c\nCSeq: 2147483647 BYE\nl: 0\n\n"),
		crlf("CANCEL sip:bob@h SIP/2.0\nVia: SIP/2.0/UDP h;branch=z9hG4bKx\nFrom: <sip:a@h>;tag=1\nTo: <sip:bob@h>\nCall-ID: c\nCSeq: 1 CANCEL\nRoute: <sip:x>,<sip:[::1>\n\n"),
		crlf("ACK sip:bob@h SIP/2.0\nVia: SIP/2.0/UDP h;branch=z9hG4bKx\nFrom: <sip:a@h>;tag=1\nTo: <sip:bob@h>;tag=\nCall-ID: c\nCSeq: 1 ACK\n\n"),
		{}, {0}, []byte("\r\n\r\n"), bytes.Repeat([]byte{0}, 1000), bytes.Repeat([]byte("\r\n"), 20_000), bytes.Repeat([]byte("a: b\r\n"), 9_000),
	}
	if dir := tortureDir(); dir != "" {
		files, err := filepath.Glob(filepath.Join(dir, "*", "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			seeds = append(seeds, data)
		}
	}
	all = append(all, seeds...)
	rng := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		m := bytes.Clone(seeds[rng.IntN(len(seeds))])
		for range 1 + rng.IntN(4) {
			if len(m) == 0 {
				break
			}
			at := rng.IntN(len(m))
			switch rng.IntN(5) {
			case 0:
				m[at] = byte(rng.Uint32())
			case 1:
				m[at] = ":;,<>\"=@[]?* \t\r\n/\\%"[rng.IntN(19)]
			case 2:
				m = m[:at]
			case 3:
				m = append(m[:at:at], m[min(at+rng.IntN(20), len(m)):]...)
			case 4:
				m = append(m[:at:at], append(bytes.Clone(m[at:min(at+rng.IntN(30), len(m))]), m[at:]...)...)
			}
		}
		all = append(all, m)
	}
	return all
}
