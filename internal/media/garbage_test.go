package media

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"

	"github.com/pion/rtp"
)

// TestGarbageHarmsNobody sends noise and broken copies of real packets to both ports of a live stream, from
// strangers and from the peer himself; the call goes on, and no key is made up or lost.
func TestGarbageHarmsNobody(t *testing.T) {
	onBoth(t, Config{}, func(t *testing.T, e *Engine) {
		p, ears := newPhone(t), newEars()
		stream := p.call(e, ears)
		p.talk(1)
		p.readUntil("audio", func(packet rtp.Packet) bool { return packet.PayloadType == 0 })

		stranger, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = stranger.Close() })
		rtcp := netip.AddrPortFrom(p.to.Addr(), p.to.Port()+1)
		seeds := [][]byte{
			{0x80, 0, 0, 1, 0, 0, 0, 160, 0, 0, 0x5e, 0xed, 0xff, 0xff, 0xff, 0xff},                         // audio
			{0xbf, 0xe0, 0, 2, 0, 0, 1, 0x40, 0, 0, 0x5e, 0xed, 0, 0, 0, 1, 0xbe, 0xde, 0, 1, 0, 0, 0, 255}, // all flags, padding
			{0x81, 0xc9, 0, 7, 0, 0, 0x5e, 0xed, 1, 2, 3, 4, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0},
			{0x81, 0xca, 0, 3, 0, 0, 0x5e, 0xed, 1, 5, 'a', 'b', 'c', 'd', 'e', 0}, // SDES
			{0x8f, 0xcd, 0xff, 0xff, 0, 0, 0x5e, 0xed, 0, 0, 0, 1, 0x20, 1, 2, 3},  // feedback, too long
			{0x80, 0xcf, 0, 2, 0, 0, 0x5e, 0xed, 4, 0, 0, 9},                       // XR
		}
		rng := rand.New(rand.NewPCG(3, 4))
		for i := range 2000 {
			m := append([]byte(nil), seeds[rng.IntN(len(seeds))]...)
			for range rng.IntN(5) {
				m[rng.IntN(len(m))] = byte(rng.Uint32())
			}
			if m = m[:rng.IntN(len(m)+1)]; len(m) > 1 && m[1]&0x7f == 96 {
				m[1] = 0 // what looks like a key from the peer is one
			}
			from := []*net.UDPConn{stranger, stranger, p.rtp, p.rtcp}[i%4]
			to := []netip.AddrPort{p.to, rtcp}[i/4%2]
			if _, err := from.WriteToUDPAddrPort(m, to); err != nil {
				t.Fatal(err)
			}
			if i%100 == 0 {
				tell(t, stream, func(*flow) {}) // the kernel's buffer is small
			}
		}
		for range 20 { // all of it is read or lost, so that there is room
			tell(t, stream, func(*flow) {})
		}
		for _, key := range []byte("1*#") {
			p.ts += 1_000_000 // far from what garbage of his own SSRC may have said
			p.talk(2)         // and two in a row, so that they are believed
			p.press(96, key)
		}
		ears.hears(t, "1*#")
		p.read()
		if s := e.Stats(); s.Panics != 0 || s.Streams != 1 {
			t.Errorf("%d panics, %d streams", s.Panics, s.Streams)
		}
	})
}
