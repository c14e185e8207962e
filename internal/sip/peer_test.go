package sip

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/offhook/offhook/internal/clock"
)

// peer is a SIP phone that says exactly what a test tells it to, over one UDP socket.
type peer struct {
	t    *testing.T
	conn *net.UDPConn
	to   *net.UDPAddr // the station
	seen map[string]bool
}

func newPeer(t *testing.T, s *station) *peer {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &peer{t: t, conn: conn, to: net.UDPAddrFromAddrPort(s.Addr()), seen: make(map[string]bool)}
}

func (p *peer) addr() string { return p.conn.LocalAddr().String() }
func (p *peer) uri() string  { return "sip:peer@" + p.addr() }

// read is the next message, nil when none came within d.
func (p *peer) read(d time.Duration) sip.Message {
	p.t.Helper()
	buf := make([]byte, 65535)
	_ = p.conn.SetReadDeadline(time.Now().Add(d))
	n, _, err := p.conn.ReadFromUDP(buf)
	if err != nil {
		return nil
	}
	m, err := sip.ParseMessage(buf[:n])
	if err != nil {
		p.t.Fatalf("the station sent rubbish: %v\n%s", err, buf[:n])
	}
	return m
}

// request waits for a request of that method; retransmissions of other messages are passed over.
func (p *peer) request(method string) *sip.Request {
	p.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		m := p.read(time.Until(deadline))
		if r, ok := m.(*sip.Request); ok {
			if string(r.Method) == method {
				return r
			}
			p.t.Fatalf("got %s, want %s", r.Method, method)
		}
	}
	p.t.Fatalf("no %s came", method)
	return nil
}

// response waits for a final or 18x response to a request of that method with that code.
func (p *peer) response(method string, code int) *sip.Response {
	p.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		m := p.read(time.Until(deadline))
		if r, ok := m.(*sip.Response); ok {
			if r.StatusCode == 100 || string(r.CSeq().MethodName) != method {
				continue
			}
			if r.StatusCode != code {
				p.t.Fatalf("got %d to %s, want %d", r.StatusCode, method, code)
			}
			return r
		}
		if m != nil {
			p.t.Fatalf("got %s, want %d to %s", m.(*sip.Request).Method, code, method)
		}
	}
	p.t.Fatalf("no %d to %s came", code, method)
	return nil
}

func asResponse(t *testing.T, m sip.Message) *sip.Response {
	t.Helper()
	res, ok := m.(*sip.Response)
	if !ok {
		t.Fatalf("unexpected message:\n%s", m)
	}
	return res
}

// silent fails when anything but what was seen before comes within d.
func (p *peer) silent(d time.Duration) {
	p.t.Helper()
	if m := p.read(d); m != nil {
		p.t.Fatalf("unexpected message:\n%s", m)
	}
}

func (p *peer) send(text string) {
	p.t.Helper()
	head, body, _ := strings.Cut(text, "\n\n")
	head = strings.ReplaceAll(strings.TrimSpace(head), "\n", "\r\n")
	if _, err := p.conn.WriteToUDP(fmt.Appendf(nil, "%s\r\nContent-Length: %d\r\n\r\n%s", head, len(body), body), p.to); err != nil {
		p.t.Fatal(err)
	}
}

// answer responds to req; extra lines end up in the headers, "tag=x" as first extra is the To tag.
func (p *peer) answer(req *sip.Request, code int, tag string, extra ...string) {
	p.t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "SIP/2.0 %d Whatever\n", code)
	for _, v := range req.GetHeaders("via") {
		fmt.Fprintf(&b, "Via: %s\n", v.Value())
	}
	to := req.To().Value()
	if !strings.Contains(to, "tag=") && tag != "" {
		to += ";tag=" + tag
	}
	fmt.Fprintf(&b, "From: %s\nTo: %s\nCall-ID: %s\nCSeq: %s\n", req.From().Value(), to, req.CallID().Value(), req.CSeq().Value())
	if !slices.ContainsFunc(extra, isContact) {
		fmt.Fprintf(&b, "Contact: <%s>\n", p.uri())
	}
	body := ""
	for _, e := range extra {
		if e == "sdp" {
			b.WriteString("Content-Type: application/sdp\n")
			body = string(testSDP(7))
			continue
		}
		b.WriteString(e + "\n")
	}
	p.send(b.String() + "\n" + body)
}

func isContact(line string) bool { return strings.HasPrefix(line, "Contact:") }

// script is one dialog the peer leads as the caller.
type script struct {
	*peer
	callID, tag, toTag string
	cseq               int
	user               string
	branch             string // of the last request
}

func (p *peer) script() *script {
	return &script{peer: p, callID: newCallID(), tag: newTag(), cseq: 1, user: "15551234567"}
}

// ask sends a request of the dialog. An empty branch makes a new one.
func (s *script) ask(method string, cseq int, branch string, extra ...string) {
	s.t.Helper()
	s.branch = cmp.Or(branch, newBranch())
	var b strings.Builder
	fmt.Fprintf(&b, "%s sip:%s@%s SIP/2.0\nVia: SIP/2.0/UDP %s;branch=%s;rport\nMax-Forwards: 70\n", method, s.user, s.to, s.addr(), s.branch)
	to := fmt.Sprintf("<sip:%s@%s>", s.user, s.to)
	if s.toTag != "" {
		to += ";tag=" + s.toTag
	}
	fmt.Fprintf(&b, "From: \"Peer\" <%s>;tag=%s\nTo: %s\nCall-ID: %s\nCSeq: %d %s\n", s.uri(), s.tag, to, s.callID, cseq, method)
	if !slices.ContainsFunc(extra, isContact) {
		fmt.Fprintf(&b, "Contact: <%s>\n", s.uri())
	}
	body := ""
	for _, e := range extra {
		switch {
		case e == "sdp":
			b.WriteString("Content-Type: application/sdp\n")
			body = string(testSDP(9))
		case strings.HasPrefix(e, "body:"):
			body = e[5:]
		default:
			b.WriteString(e + "\n")
		}
	}
	s.send(b.String() + "\n" + body)
}

// call sets up a call to the station that is answered at once; the ACK is sent.
func (s *script) call(st *station, extra ...string) *Leg {
	s.t.Helper()
	s.ask("INVITE", 1, "", append(extra, "sdp")...)
	in := st.incoming(s.t)
	if err := in.leg.Answer(); err != nil {
		s.t.Fatal(err)
	}
	s.toTag = tagOf(s.response("INVITE", 200).To().Params)
	s.ask("ACK", 1, "")
	s.cseq = 2
	return in.leg
}

// fakeClock moves when a test says so.
type fakeClock struct {
	mu     sync.Mutex
	now    time.Time
	timers []*fakeTimer
	added  chan struct{}
}

type fakeTimer struct {
	c    *fakeClock
	at   time.Time
	f    func()
	ch   chan time.Time
	live bool
}

func newFakeClock() *fakeClock {
	return &fakeClock{now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), added: make(chan struct{}, 1000)}
}

func (c *fakeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) add(d time.Duration, f func(), ch chan time.Time) clock.Timer {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := &fakeTimer{c: c, at: c.now.Add(d), f: f, ch: ch, live: true}
	c.timers = append(c.timers, t)
	c.added <- struct{}{}
	return t
}

func (c *fakeClock) AfterFunc(d time.Duration, f func()) clock.Timer { return c.add(d, f, nil) }
func (c *fakeClock) NewTimer(d time.Duration) clock.Timer {
	return c.add(d, nil, make(chan time.Time, 1))
}

func (t *fakeTimer) C() <-chan time.Time { return t.ch }
func (t *fakeTimer) Stop() bool {
	t.c.mu.Lock()
	defer t.c.mu.Unlock()
	was := t.live
	t.live = false
	return was
}
func (t *fakeTimer) Reset(d time.Duration) bool {
	t.c.mu.Lock()
	defer t.c.mu.Unlock()
	was := t.live
	t.live, t.at = true, t.c.now.Add(d)
	return was
}

// due waits until a timer is set that fires within d of now, and moves the clock to it.
func (c *fakeClock) due(t *testing.T, d time.Duration) {
	t.Helper()
	c.fire(t, fmt.Sprint("within ", d), func(in time.Duration) bool { return in <= d })
}

// exactly waits until a timer is set that fires in d, and moves the clock to it.
func (c *fakeClock) exactly(t *testing.T, d time.Duration) {
	t.Helper()
	c.fire(t, fmt.Sprint("in ", d), func(in time.Duration) bool { return in == d })
}

func (c *fakeClock) fire(t *testing.T, what string, match func(time.Duration) bool) {
	t.Helper()
	for deadline := time.After(patience); ; {
		c.mu.Lock()
		var first *fakeTimer
		for _, ft := range c.timers {
			if ft.live && ft.ch == nil && match(ft.at.Sub(c.now)) && (first == nil || ft.at.Before(first.at)) {
				first = ft
			}
		}
		if first != nil {
			first.live = false
			c.now = first.at
			c.mu.Unlock()
			first.f()
			return
		}
		c.mu.Unlock()
		select {
		case <-c.added:
		case <-deadline:
			t.Fatal("no timer " + what)
		}
	}
}
