package offhooktest_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/clock"
	"github.com/offhook/offhook/offhooktest"
)

// TestInjectedAudioAndKeysReachNobody attacks a call at the rate of its own audio and at ten times that, from
// another port and from another address: the application gets the keys that its caller pressed and no other, and
// the attacker gets nothing.
func TestInjectedAudioAndKeysReachNobody(t *testing.T) {
	for _, rate := range []int{50, 500} {
		t.Run(fmt.Sprint(rate, " packets a second"), func(t *testing.T) {
			t.Parallel()
			port := freePair(t)
			srv := offhooktest.Start(t, offhooktest.RTPPorts(port, port+1))
			app := srv.App(t)
			app.On("/voice", `<Response><Gather numDigits="4" action="/got"><Say loop="0">Ready</Say></Gather></Response>`)
			app.On("/got", `<Response><Say>Thank you</Say></Response>`)
			ph := srv.Phone(t, callee)
			c := srv.Call(t, "To", callee, "From", caller, "Url", app.URL("/voice"))
			line := ph.Answers()
			line.Hears("Ready") // both sides have sent audio: the source is locked

			// The other address first: RTCP of a port flooded by the caller's own waits behind that flood.
			for _, from := range []string{"127.0.0.2", "127.0.0.1"} {
				conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(from)})
				if err != nil {
					t.Logf("not from %s: %v", from, err) // a system with one loopback address
					continue
				}
				defer conn.Close()
				attack(t, conn, uint16(port), rate, 1500*time.Millisecond)
				if err := conn.SetReadDeadline(clock.System.Now().Add(100 * time.Millisecond)); err != nil {
					t.Fatal(err)
				}
				buf := make([]byte, 2000)
				if n, _, err := conn.ReadFromUDPAddrPort(buf); err == nil {
					t.Errorf("the attacker at %s was answered: % x", from, buf[:n])
				}
			}
			line.Press("1234")
			app.Got("/got", "Digits", "1234")
			line.Hears("Thank you")
			line.HungUp()
			c.Is("completed")
			if timeline := c.Timeline(); strings.Contains(timeline, "key 9") {
				t.Errorf("a key was injected:\n%s", timeline)
			}
			if n := "\noffhook_media_packets_foreign_total "; !strings.Contains(metrics(t, srv), n) || strings.Contains(metrics(t, srv), n+"0\n") {
				t.Error("nothing was counted")
			}
		})
	}
}

// attack sends rate packets a second to the RTP port and to the RTCP port behind it: audio, the key 9, RTCP that
// says goodbye, STUN, and what is none of these.
func attack(t *testing.T, conn *net.UDPConn, port uint16, rate int, d time.Duration) {
	t.Helper()
	loopback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	rtp, rtcp := netip.AddrPortFrom(loopback, port), netip.AddrPortFrom(loopback, port+1)
	ssrc, seq, ts := rand.Uint32(), uint16(rand.Uint32()), rand.Uint32()
	pace := time.Second / time.Duration(rate)
	timer := clock.System.NewTimer(pace)
	defer timer.Stop()
	begin := clock.System.Now()
	for n := 0; ; n++ {
		elapsed := clock.System.Now().Sub(begin)
		if elapsed >= d {
			return
		}
		if ahead := time.Duration(n)*pace - elapsed; ahead > 0 {
			timer.Reset(ahead)
			<-timer.C()
		}
		seq++
		ts += 160
		head := func(pt byte) []byte {
			b := []byte{0x80, pt}
			b = binary.BigEndian.AppendUint16(b, seq)
			b = binary.BigEndian.AppendUint32(b, ts)
			return binary.BigEndian.AppendUint32(b, ssrc)
		}
		to, b := rtp, []byte(nil)
		switch n % 8 {
		default:
			b = append(head(0), strings.Repeat("\x2a\xaa", 80)...) // a tone of 4 kHz
		case 3, 4:
			b = append(head(101), 9, 0x8a, 3, 0x20) // the key 9, pressed and let go of
		case 5:
			to, b = rtcp, append([]byte{0x81, 203, 0, 1}, head(0)[8:]...) // BYE
		case 6:
			b = []byte{0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12} // STUN
			if n%16 == 6 {
				to = rtcp
			}
		case 7:
			b = head(0)[:rand.IntN(12)]
			b = append(b, 0xff)
			if n%16 == 7 {
				to = rtcp
			}
		}
		if _, err := conn.WriteToUDPAddrPort(b, to); err != nil {
			t.Fatal(err)
		}
	}
}

// freePair is an even port that is free, as is the next, outside of where systems choose ports themselves.
func freePair(t *testing.T) int {
	t.Helper()
	for range 100 {
		port := 28000 + 2*rand.IntN(2000)
		a, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
		if err != nil {
			continue
		}
		b, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port + 1})
		_ = a.Close()
		if err == nil {
			_ = b.Close()
			return port
		}
	}
	t.Fatal("no free pair of ports")
	return 0
}

func metrics(t *testing.T, srv *offhooktest.Server) string {
	t.Helper()
	resp, err := (&http.Client{Timeout: offhooktest.Patience}).Get(srv.URL + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
