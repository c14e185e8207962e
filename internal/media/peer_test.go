package media

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"go.uber.org/goleak"

	"github.com/offhook/offhook/internal/clock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of a test.
const patience = 10 * time.Second

// onBoth runs test with the system's sockets and with the portable ones.
func onBoth(t *testing.T, config Config, test func(t *testing.T, e *Engine)) {
	t.Helper()
	for _, portable := range []bool{false, true} {
		t.Run(map[bool]string{false: "system", true: "portable"}[portable], func(t *testing.T) {
			config := config
			config.Portable = portable
			test(t, newTestEngine(t, config))
		})
	}
}

func newTestEngine(t testing.TB, config Config) *Engine {
	t.Helper()
	if !config.IP.IsValid() {
		config.IP = netip.MustParseAddr("127.0.0.1")
	}
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	e, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// ears is a Sink that a test reads.
type ears struct {
	digits  chan byte
	timeout chan struct{}
}

func newEars() *ears { return &ears{make(chan byte, 100), make(chan struct{}, 2)} }

func (e *ears) Digit(key byte) { e.digits <- key }
func (e *ears) Timeout()       { e.timeout <- struct{}{} }

// hears waits for keys.
func (e *ears) hears(t testing.TB, want string) {
	t.Helper()
	for i := range len(want) {
		select {
		case key := <-e.digits:
			if key != want[i] {
				t.Fatalf("key %q, want %q of %q", key, want[i], want)
			}
		case <-clock.System.NewTimer(patience).C():
			t.Fatalf("no key %q of %q", want[i], want)
		}
	}
}

func wait(t testing.TB, what string, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-clock.System.NewTimer(patience).C():
		t.Fatal("waited in vain for", what)
	}
}

// phone is the other party: two sockets on loopback.
type phone struct {
	t         testing.TB
	rtp, rtcp *net.UDPConn
	to        netip.AddrPort // the stream
	ssrc      uint32
	seq       uint16
	ts        uint32
}

func newPhone(t testing.TB) *phone {
	t.Helper()
	return newPhoneAt(t, "127.0.0.1")
}

func newPhoneAt(t testing.TB, ip string) *phone {
	t.Helper()
	p := &phone{t: t, ssrc: 0x5eed}
	for _, c := range []**net.UDPConn{&p.rtp, &p.rtcp} {
		conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(ip)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		*c = conn
	}
	return p
}

func addrOf(c *net.UDPConn) netip.AddrPort { return c.LocalAddr().(*net.UDPAddr).AddrPort() }

// sdp describes the phone: PCMU, PCMA and telephone-event 96, unless lines say otherwise.
func (p *phone) sdp(version int, lines ...string) []byte {
	a := addrOf(p.rtp)
	family := "IP4"
	if a.Addr().Is6() {
		family = "IP6"
	}
	s := fmt.Sprintf("v=0\r\no=phone 1 %d IN %s %s\r\ns=-\r\nc=IN %s %s\r\nt=0 0\r\n", version, family, a.Addr(), family, a.Addr())
	if len(lines) == 0 || !strings.HasPrefix(lines[0], "m=") {
		s += fmt.Sprintf("m=audio %d RTP/AVP 0 8 96\r\na=rtpmap:96 telephone-event/8000\r\n", a.Port())
	}
	s += fmt.Sprintf("%s\r\na=rtcp:%d\r\n", strings.Join(lines, "\r\n"), addrOf(p.rtcp).Port())
	return []byte(strings.ReplaceAll(s, "PORT", fmt.Sprint(a.Port())))
}

// call opens a stream toward p, whose description is as sdp(1, lines...), and starts it.
func (p *phone) call(e *Engine, sink Sink, lines ...string) *Stream {
	p.t.Helper()
	s := p.open(e, sink)
	p.answered(s, p.sdp(1, lines...))
	s.Start()
	return s
}

func (p *phone) open(e *Engine, sink Sink) *Stream {
	p.t.Helper()
	s, err := e.Open(addrOf(p.rtp).Addr(), sink)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { s.Close() })
	return s
}

// answered makes s answer offer and takes its address from the answer.
func (p *phone) answered(s *Stream, offer []byte) (answer string) {
	p.t.Helper()
	b, err := s.Answer(offer)
	if err != nil {
		p.t.Fatal(err)
	}
	d, err := parseDescription(b, addrOf(p.rtp).Addr().Is4(), false)
	if err != nil {
		p.t.Fatal(err)
	}
	p.to = d.addr
	return string(b)
}

// read is the next RTP packet from the stream.
func (p *phone) read() rtp.Packet {
	p.t.Helper()
	packet, ok := p.readWithin(patience)
	if !ok {
		p.t.Fatal("no packet came")
	}
	return packet
}

func (p *phone) readWithin(d time.Duration) (packet rtp.Packet, ok bool) {
	p.t.Helper()
	buf := make([]byte, 2000)
	if err := p.rtp.SetReadDeadline(clock.System.Now().Add(d)); err != nil {
		p.t.Fatal(err)
	}
	for {
		n, _, err := p.rtp.ReadFromUDPAddrPort(buf)
		if err != nil {
			return packet, false
		}
		if isRTCP(buf[:n]) {
			continue
		}
		if err := packet.Unmarshal(buf[:n]); err != nil {
			p.t.Fatal(err)
		}
		return packet, true
	}
}

// readUntil reads packets until one is right.
func (p *phone) readUntil(what string, right func(rtp.Packet) bool) rtp.Packet {
	p.t.Helper()
	limit := clock.System.Now().Add(patience)
	for clock.System.Now().Before(limit) {
		if packet := p.read(); right(packet) {
			return packet
		}
	}
	p.t.Fatal("no packet was", what)
	return rtp.Packet{}
}

// send sends one packet of 20 ms; ts is only advanced by audio.
func (p *phone) send(pt uint8, payload []byte) {
	p.t.Helper()
	p.seq++
	h := header{payloadType: pt, seq: p.seq, timestamp: p.ts, ssrc: p.ssrc}
	b := make([]byte, headerSize+len(payload))
	h.put(b)
	copy(b[headerSize:], payload)
	if _, err := p.rtp.WriteToUDPAddrPort(b, p.to); err != nil {
		p.t.Fatal(err)
	}
}

// talk sends n frames of audio at once.
func (p *phone) talk(n int) {
	p.t.Helper()
	for range n {
		p.ts += 160
		p.send(0, numbered(0x55))
	}
}

// press sends a key as six packets of payload type pt.
func (p *phone) press(pt uint8, key byte) {
	p.t.Helper()
	p.ts += 800
	number, _ := eventOf(key)
	for i := range 6 {
		var b [4]byte
		telephoneEvent{event: number, end: i > 2, duration: uint16(160 * min(i+1, 4))}.put(b[:])
		p.send(pt, b[:])
	}
}

func (p *phone) readReport() []rtcp.Packet {
	p.t.Helper()
	buf := make([]byte, 2000)
	if err := p.rtcp.SetReadDeadline(clock.System.Now().Add(patience)); err != nil {
		p.t.Fatal(err)
	}
	n, err := p.rtcp.Read(buf)
	if err != nil {
		p.t.Fatal("no report came:", err)
	}
	packets, err := rtcp.Unmarshal(buf[:n])
	if err != nil {
		p.t.Fatal(err)
	}
	return packets
}

// tell runs f on the stream's worker and waits for it.
func tell(t testing.TB, s *Stream, f func(*flow)) {
	t.Helper()
	done := make(chan struct{})
	s.post(command{do: func(fl *flow) { defer close(done); f(fl) }, drop: func() { close(done) }})
	wait(t, "the worker", done)
}
