package sip

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/clock"
)

func TestLimiter(t *testing.T) {
	c := newFakeClock()
	l := newLimiter(c, 10)
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	for i := range 20 {
		if !l.allow(a) {
			t.Fatalf("message %d was refused", i)
		}
	}
	if l.allow(a) {
		t.Error("21 at once")
	}
	if !l.allow(b) {
		t.Error("another source pays for it")
	}
	c.now = c.now.Add(time.Second)
	for i := range 11 {
		if ok := l.allow(a); ok != (i < 10) {
			t.Errorf("a second later message %d: %v", i, ok)
		}
	}
	six := netip.MustParseAddr("2001:db8::1")
	for range 20 {
		l.allow(six)
		six = six.Next()
	}
	if l.allow(six) {
		t.Error("a host has a bucket for each address of its /64")
	}
	for i := range 3 * maxBuckets {
		l.allow(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}))
	}
	if n := len(l.buckets); n > maxBuckets {
		t.Errorf("%d sources are remembered", n)
	}
}

// A flood of one source costs its own new calls, told by 503, and nothing that lives.
func TestTooMuchFromOneSource(t *testing.T) {
	c := newFakeClock() // stands still: what is spent is spent
	b := start(t, func(cfg *Config) { cfg.MaxRate, cfg.Clock = 10, c })
	p := newPeer(t, b)
	s := p.script()
	leg := s.call(b)
	for range 19 {
		p.script().ask("OPTIONS", 1, "")
		s.response("OPTIONS", 200)
	}
	p.script().ask("OPTIONS", 1, "")
	p.silent(50 * time.Millisecond)
	other := p.script()
	other.ask("INVITE", 1, "", "sdp")
	if res := other.response("INVITE", 503); res.GetHeader("Retry-After") == nil {
		t.Errorf("no Retry-After:\n%s", res)
	}
	s.ask("OPTIONS", 2, "")
	s.response("OPTIONS", 200)
	if st := b.Stats(); st.OverRate != 2 || st.Legs["confirmed"] != 1 {
		t.Errorf("%+v", st)
	}
	s.ask("BYE", 3, "")
	s.response("BYE", 200)
	ended(t, leg)
}

func TestTooManyTransactions(t *testing.T) {
	b := start(t, func(cfg *Config) { cfg.MaxTransactions = 2 })
	p := newPeer(t, b)
	var legs []*Leg
	for range 2 {
		p.script().ask("INVITE", 1, "", "sdp")
		legs = append(legs, b.incoming(t).leg)
	}
	s := p.script()
	s.ask("OPTIONS", 2, "")
	s.ask("INVITE", 1, "", "sdp")
	s.response("INVITE", 503)
	for _, l := range legs {
		l.Reject(486, "Busy Here")
		ended(t, l)
	}
	if st := b.Stats(); st.OverLimit != 2 || st.Transactions != 2 {
		t.Errorf("%+v", st)
	}
}

// An answered call leaves no transaction behind, and a copy of its INVITE no second call.
func TestNothingIsKeptOfAnAnsweredINVITE(t *testing.T) {
	b := start(t, nil)
	p := newPeer(t, b)
	s := p.script()
	s.ask("INVITE", 1, "", "sdp")
	branch := s.branch
	in := b.incoming(t)
	if err := in.leg.Answer(); err != nil {
		t.Fatal(err)
	}
	s.toTag = tagOf(s.response("INVITE", 200).To().Params)
	tag := s.toTag
	s.toTag = ""
	s.ask("INVITE", 1, branch, "sdp") // our 200 was late
	s.toTag = tag
	s.response("INVITE", 200) // comes again by our timer, without an ACK
	s.ask("ACK", 1, "")
	if st := b.Stats(); st.Transactions != 0 || st.Legs["confirmed"]+st.Legs["accepted"] != 1 {
		t.Errorf("%+v", st)
	}
	s.ask("BYE", 2, "")
	s.response("BYE", 200)
	ended(t, in.leg)
}

// tcp opens a connection and sends text.
func tcp(t *testing.T, b *station, text string) (net.Conn, *bufio.Reader) {
	t.Helper()
	c, err := net.Dial("tcp", b.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	return c, bufio.NewReader(c)
}

const optionsHead = "OPTIONS sip:x@h SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK%s\r\nMax-Forwards: 70\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:x@h>\r\nCall-ID: %s\r\nCSeq: 1 OPTIONS\r\n"

func status(t *testing.T, r *bufio.Reader) (code int) {
	t.Helper()
	line, err := r.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	code, err = strconv.Atoi(strings.Fields(line)[1])
	if err != nil {
		t.Fatalf("%q", line)
	}
	for line != "\r\n" { // no answer here has a body
		if line, err = r.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	return code
}

func TestStream(t *testing.T) {
	b := start(t, nil)
	head := func(id string) string { return fmt.Sprintf(optionsHead, id, id) }
	_, r := tcp(t, b, "\r\n\r\n")
	if line, err := r.ReadString('\n'); line != "\r\n" {
		t.Errorf("ping: %q %v", line, err)
	}
	// A message that cannot be read costs its own answer and nothing else.
	c, r := tcp(t, b, strings.Replace(head("1"), "CSeq: 1", "CSeq: x", 1)+"Content-Length: 0\r\n\r\n")
	if code := status(t, r); code != 400 {
		t.Errorf("%d, want 400", code)
	}
	for _, piece := range []string{head("2")[:50], head("2")[50:], "Content-Le", "ngth: 3\r\n", "\r", "\nab", "c" + head("3") + "l: 0\r\n\r\n"} {
		if _, err := io.WriteString(c, piece); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if code := status(t, r); code != 200 {
			t.Errorf("%d, want 200", code)
		}
	}
	for name, c := range map[string]struct {
		text string
		code int
	}{
		"2 GB":                {head("4") + "Content-Length: 2147483647\r\n\r\n", 413},
		"more than 4 GB":      {head("4") + "Content-Length: 99999999999\r\n\r\n", 400},
		"no length":           {head("4") + "\r\n", 400},
		"two lengths":         {head("4") + "l: 0\r\nContent-Length: 1\r\n\r\nx", 400},
		"an endless header":   {head("4") + "X: " + strings.Repeat("x", maxMessage), 513},
		"headers without end": {head("4") + strings.Repeat("X: y\r\n", maxMessage/6), 513},
	} {
		_, r := tcp(t, b, c.text)
		if code := status(t, r); code != c.code {
			t.Errorf("%s: %d, want %d", name, code, c.code)
		}
		if _, err := r.ReadByte(); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: the connection stays open", name)
		}
	}
}

// A connection is closed that takes too long over a message, or says nothing.
func TestSlowStream(t *testing.T) {
	for text, wait := range map[string]time.Duration{"OPTIONS sip:": messageWait, "": firstWait} {
		ours, theirs := net.Pipe()
		ctx, cancel := context.WithCancel(context.Background())
		d := &deadlines{Conn: ours, set: make(chan time.Time, 10)}
		c := &streamConn{Conn: d, e: &Endpoint{ctx: ctx, conns: newConnections(1, 1)}}
		done := make(chan error, 1)
		go func() {
			_, err := c.Read(make([]byte, 1000))
			done <- err
		}()
		now := clock.System.Now()
		first := <-d.set
		if text != "" {
			for i := range text {
				_, _ = io.WriteString(theirs, text[i:i+1])
			}
			first = <-d.set
		}
		if in := first.Sub(now); in < wait-time.Second || in > wait+5*time.Second {
			t.Errorf("after %q it waits %v, want %v", text, in, wait)
		}
		_ = ours.SetReadDeadline(now) // that time comes
		if err := <-done; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%v", err)
		}
		if n := len(d.set); n > 0 {
			t.Errorf("each byte gave it more time: %d", n)
		}
		_ = theirs.Close()
		cancel()
	}
}

type deadlines struct {
	net.Conn
	set chan time.Time
}

func (d *deadlines) SetReadDeadline(at time.Time) error {
	d.set <- at
	return d.Conn.SetReadDeadline(at)
}

func TestTooManyConnections(t *testing.T) {
	b := start(t, func(cfg *Config) { cfg.MaxConnsSource = 2 })
	head := func(id string) string { return fmt.Sprintf(optionsHead, id, id) + "l: 0\r\n\r\n" }
	first, r := tcp(t, b, head("1"))
	status(t, r)
	_, r = tcp(t, b, head("2"))
	status(t, r)
	_, r = tcp(t, b, "")
	if _, err := r.ReadByte(); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("a third connection stays")
	}
	if st := b.Stats(); st.Connections != 2 || st.OverConnections != 1 {
		t.Errorf("%+v", st)
	}
	_ = first.Close()
	for deadline := time.Now().Add(patience); b.Stats().Connections > 1; {
		if time.Now().After(deadline) {
			t.Fatal("a closed connection counts")
		}
		_ = clock.Sleep(t.Context(), clock.System, time.Millisecond)
	}
	_, r = tcp(t, b, head("3"))
	status(t, r)
}

// A reader of sipgo's that has seen many sources is replaced; calls do not notice, and the pool forgets.
func TestReaderIsReplaced(t *testing.T) {
	b := start(t, func(cfg *Config) { cfg.maxSources = 10 })
	s := newPeer(t, b).script()
	leg := s.call(b)
	for range 25 { // each makes two changes
		other := newPeer(t, b)
		o := other.script()
		o.ask("OPTIONS", 1, "")
		o.response("OPTIONS", 200)
		s.ask("OPTIONS", s.cseq, "")
		s.cseq++
		s.response("OPTIONS", 200)
	}
	for deadline := time.Now().Add(patience); b.tp.Pool("udp").Size() > 13; { // a reader's sources and the socket
		if time.Now().After(deadline) {
			t.Fatalf("%d entries in the pool", b.tp.Pool("udp").Size())
		}
		_ = clock.Sleep(t.Context(), clock.System, time.Millisecond)
	}
	s.ask("BYE", s.cseq, "")
	s.response("BYE", 200)
	ended(t, leg)
}

func FuzzGate(f *testing.F) {
	f.Add([]byte(strings.ReplaceAll(wellFormed, "\n", "\r\n")+"\r\n"), true)
	f.Add([]byte("OPTIONS soap.beep://h SIP/2.0\r\nv : SIP / 2.0 / UDP [::1]:5060;branch=\r\n z9hG4bKx, SIP/2.0/TCP h\r\nl: 3\r\n\r\nabc"), false)
	f.Add([]byte("BYE sip:a SIP/2.0\r\nVia: SIP/2.0/UDP h;rport;;received=\"\r\n\r\n"), false)
	src := netip.MustParseAddrPort("192.0.2.1:1000")
	f.Fuzz(func(t *testing.T, data []byte, stream bool) {
		e := &Endpoint{cfg: Config{UserAgent: "x"}, seed: maphash.MakeSeed()}
		m := read(data, stream)
		if m.framed && (m.head <= 0 || m.head > len(data)) && m.fault == nil {
			t.Errorf("head %d of %d", m.head, len(data))
		}
		reply, to := e.refusal(data, src, &m, badRequest("x"))
		if to.Addr() != src.Addr() {
			t.Errorf("an answer to %v goes to %v", src, to)
		}
		if reply != nil && (bytes.Count(reply, []byte("\r\n\r\n")) != 1 || !bytes.HasSuffix(reply, []byte("\r\n\r\n")) || len(reply) > len(data)+1000) {
			t.Errorf("something got into our answer: %q", reply)
		}
	})
}
