package media

import (
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/rtp"

	"github.com/offhook/offhook/internal/audio"
	"github.com/offhook/offhook/internal/clock"
)

// taken is what the samples of a stream's peer were: those of the peer himself and those of anybody else.
type taken struct{ own, others atomic.Int64 }

// Write counts frames: the peer's are filled with 0x55, an attacker's with 0x2a, what is made up of neither.
func (k *taken) Write(track int, _ int64, ulaw []byte) {
	switch {
	case track != audio.Inbound || len(ulaw) == 0:
	case ulaw[0] == 0x55:
		k.own.Add(1)
	case ulaw[0] == 0x2a:
		k.others.Add(1)
	}
}

func (k *taken) Tick(int64, []byte, int64) {}

// comes waits until n frames of the peer's were heard, which is some frames after they came.
func (k *taken) comes(t *testing.T, s *Stream, n int64) {
	t.Helper()
	for limit := clock.System.Now().Add(patience); k.own.Load() < n; {
		if clock.System.Now().After(limit) {
			t.Fatalf("%d packets of %d heard", k.own.Load(), n)
		}
		tell(t, s, func(*flow) {})
	}
}

// tap listens to s as whoever needs samples does.
func tap(t *testing.T, s *Stream) *taken {
	t.Helper()
	k := &taken{}
	s.Tap(k)
	tell(t, s, func(*flow) {})
	return k
}

// attacker knows everything of a call, its ports, SSRC, sequence and time stamps, but has another address.
type attacker struct {
	t    *testing.T
	conn *net.UDPConn
}

func newAttacker(t *testing.T, ip string) *attacker {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(ip)})
	if err != nil {
		t.Skip("no second loopback address:", err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &attacker{t, conn}
}

// send sends n packets in p's name, one after the one p sent last: audio, and the key 9.
func (a *attacker) send(p *phone, n int) {
	a.t.Helper()
	for i := range n {
		h := header{seq: p.seq + uint16(i) + 1, timestamp: p.ts + 160*uint32(i+1), ssrc: p.ssrc}
		payload := numbered(0x2a)
		if i%3 == 2 {
			h.payloadType, payload = 96, []byte{9, 0x80, 3, 0x20}
		}
		b := make([]byte, headerSize+len(payload))
		h.put(b)
		copy(b[headerSize:], payload)
		a.write(b, p.to)
	}
}

func (a *attacker) write(b []byte, to netip.AddrPort) {
	a.t.Helper()
	if _, err := a.conn.WriteToUDPAddrPort(b, to); err != nil {
		a.t.Fatal(err)
	}
}

// answers are the packets that came back.
func (a *attacker) answers() (n int) {
	a.t.Helper()
	if err := a.conn.SetReadDeadline(clock.System.Now().Add(100 * time.Millisecond)); err != nil { // five frames
		a.t.Fatal(err)
	}
	for buf := make([]byte, 2000); ; n++ {
		if _, err := a.conn.Read(buf); err != nil {
			return n
		}
	}
}

// TestInjectedPacketsAreNotHeard: packets that are right in all but their source, from the first moment on, at the
// rate of the call and at ten times that.
func TestInjectedPacketsAreNotHeard(t *testing.T) {
	for name, perFrame := range map[string]int{"at the call's rate": 1, "at ten times the rate": 10} {
		t.Run(name, func(t *testing.T) {
			onBoth(t, Config{}, func(t *testing.T, e *Engine) {
				p, ears := newPhone(t), newEars()
				stream := p.call(e, ears)
				heard := tap(t, stream)
				attackers := []*attacker{newAttacker(t, "127.0.0.1"), newAttacker(t, "127.0.0.2")}
				// Fewer than the latch takes, before the phone has said anything; then its first packet locks.
				for _, a := range attackers {
					a.send(p, latchPackets-1)
				}
				tell(t, stream, func(*flow) {})
				p.talk(1)
				for range 25 {
					for _, a := range attackers {
						a.send(p, perFrame)
						rtcp := netip.AddrPortFrom(p.to.Addr(), p.to.Port()+1)
						a.write([]byte{0x81, 203, 0, 1, byte(p.ssrc >> 24), byte(p.ssrc >> 16), byte(p.ssrc >> 8), byte(p.ssrc)}, rtcp) // BYE
					}
					p.talk(1)
					p.readUntil("audio", func(packet rtp.Packet) bool { return packet.PayloadType == 0 })
				}
				p.press(96, '1')
				ears.hears(t, "1")
				for heard.own.Load() < 20 { // a busy system may have lost some
					p.talk(1)
					p.read()
				}
				if n := heard.others.Load(); n != 0 {
					t.Errorf("%d injected packets were heard", n)
				}
				if got := drained(ears.digits); len(got) != 0 {
					t.Errorf("keys %q were made up", got)
				}
				for i, a := range attackers {
					if n := a.answers(); n != 0 {
						t.Errorf("attacker %d got %d packets", i, n)
					}
				}
				if s := e.Stats(); s.Foreign == 0 {
					t.Error("nothing was counted")
				}
			})
		})
	}
}

func drained(keys chan byte) (got []byte) {
	for {
		select {
		case k := <-keys:
			got = append(got, k)
		default:
			return got
		}
	}
}

// TestOddPacketsOfThePeer: what RFC 3550 allows is heard, what it does not is counted, and the call goes on.
func TestOddPacketsOfThePeer(t *testing.T) {
	onBoth(t, Config{}, func(t *testing.T, e *Engine) {
		p := newPhone(t)
		stream := p.call(e, newEars())
		heard := tap(t, stream)
		own := slices.Repeat([]byte{0x55}, 160)
		head := func(first byte) []byte {
			p.seq++
			p.ts += 160
			b := make([]byte, headerSize)
			header{seq: p.seq, timestamp: p.ts, ssrc: p.ssrc}.put(b)
			b[0] = first
			return b
		}
		join := func(parts ...[]byte) []byte { return slices.Concat(parts...) }
		good := [][]byte{
			join(head(0x80), own),
			join(head(0x82), make([]byte, 8), own),                                // two CSRCs
			join(head(0x90), []byte{0xbe, 0xde, 0, 1, 1, 2, 3, 4}, own),           // an extension
			join(head(0xa0), own, []byte{0, 0, 0, 4}),                             // padding
			join(head(0xb1), make([]byte, 4), []byte{0, 0, 0, 0}, own, []byte{1}), // all of them
		}
		bad := [][]byte{
			nil, {0x80}, head(0x80)[:11], // short
			join(head(0x8f), own[:59]),                            // CSRCs beyond the end
			join(head(0x90), []byte{0xbe, 0xde}),                  // half an extension
			join(head(0x90), []byte{0xbe, 0xde, 0xff, 0xff}, own), // one longer than the packet
			join(head(0xa0), own, []byte{0}),                      // padding of nothing
			join(head(0xa0), own[:10], []byte{200}),               // more padding than packet
			join(head(0x40), own), join(head(0xc0), own),          // versions 1 and 3
			{0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, // STUN
			[]byte("INVITE sip:x@y SIP/2.0\r\n\r\n"),
		}
		for i := range max(len(good), len(bad)) {
			for _, list := range [][][]byte{good, bad} {
				if i < len(list) {
					if _, err := p.rtp.WriteToUDPAddrPort(list[i], p.to); err != nil {
						t.Fatal(err)
					}
				}
			}
			p.read() // a frame later
		}
		for heard.own.Load() < int64(len(good)) || e.Stats().Malformed < uint64(len(bad)) {
			p.read()
		}
		if n := heard.own.Load(); n != int64(len(good)) {
			t.Errorf("%d packets heard, want %d", n, len(good))
		}
		if n := e.Stats().Malformed; n != uint64(len(bad)) {
			t.Errorf("%d malformed packets counted, want %d", n, len(bad))
		}
	})
}

// flood is a socket that always has more.
type flood struct {
	wire
	reads int
}

func (s *flood) recv(b *batch, limit int) int {
	s.reads++
	for i := range limit {
		b.packets[i] = packet{data: []byte{0x80, 0, 0, 1}}
	}
	return limit
}

// TestAFloodCostsItsTickNoMoreThanItsShare: whatever waits, one tick reads so much of a stream and goes on.
func TestAFloodCostsItsTickNoMoreThanItsShare(t *testing.T) {
	w, c, wires := handDriven(1)
	s := &flood{wire: *wires[0]}
	for _, flows := range w.flows {
		for _, f := range flows {
			f.rtp = s
		}
	}
	for range slots {
		c.now = c.now.Add(slotDuration)
		w.work()
	}
	if s.reads != maxBatches || len(s.sent) != 1 {
		t.Errorf("%d reads and %d packets sent in a frame, want %d and 1", s.reads, len(s.sent), maxBatches)
	}
}
