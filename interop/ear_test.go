package interop

import (
	"bytes"
	"encoding/binary"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/audio"
	"github.com/offhook/offhook/internal/speech"
	"github.com/offhook/offhook/offhooktest"
)

// An ear is a UDP socket whose address a SIPp scenario gives out as its own, so that the test hears what
// SIPp is told. Packets are taken as they come: on loopback they keep their order.
type ear struct {
	t    *testing.T
	Port int

	mu      sync.Mutex
	heard   speech.Ear
	packets int
	payload byte // type of the last audio
	keys    []byte
	keyAt   uint32 // RTP timestamp of the last key: its packets share it
	wake    chan struct{}
}

// RTP of the ear, RFC 3550 section 5.1 and RFC 4733 section 2.3.
const (
	rtpHeader     = 12 // bytes
	typePCMU      = 0
	typePCMA      = 8
	typeTelephone = 101 // as the scenarios say
)

func newEar(t *testing.T) *ear {
	t.Helper()
	var lc net.ListenConfig
	conn, err := lc.ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	check(t, err)
	e := &ear{t: t, Port: conn.LocalAddr().(*net.UDPAddr).Port, wake: make(chan struct{})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 2048)
		for {
			n, _, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			e.take(b[:n])
		}
	}()
	t.Cleanup(func() {
		conn.Close()
		<-done
	})
	return e
}

func (e *ear) take(p []byte) {
	if len(p) < rtpHeader || p[0] != 0x80 && !isRTCP(p) {
		e.t.Errorf("not a plain RTP packet: % x", p[:min(len(p), rtpHeader)])
		return
	}
	if isRTCP(p) { // for the neighbour of another ear's port
		return
	}
	body, stamp := p[rtpHeader:], binary.BigEndian.Uint32(p[4:])
	e.mu.Lock()
	defer e.mu.Unlock()
	e.packets++
	switch kind := p[1] & 0x7f; kind {
	case typePCMU:
		e.payload = kind
		e.heard.Write(audio.DecodeULaw(body))
	case typePCMA:
		e.payload = kind
		e.heard.Write(audio.DecodeALaw(body))
	case typeTelephone:
		if len(body) >= 4 && (len(e.keys) == 0 || stamp != e.keyAt) {
			e.keys, e.keyAt = append(e.keys, "0123456789*#ABCD"[body[0]&15]), stamp
		}
	default:
		e.t.Errorf("RTP of payload type %d, which nobody offered", kind)
	}
	close(e.wake)
	e.wake = make(chan struct{})
}

// isRTCP tells RTCP from RTP, RFC 5761 section 4.
func isRTCP(p []byte) bool { return len(p) > 1 && p[1] >= 192 && p[1] <= 223 }

// until waits for a packet after which ok holds; ok is called locked.
func (e *ear) until(what string, ok func() bool) {
	e.t.Helper()
	late := after(offhooktest.Patience)
	for {
		e.mu.Lock()
		yes, packets, wake := ok(), e.packets, e.wake
		e.mu.Unlock()
		if yes {
			return
		}
		select {
		case <-wake:
		case <-late:
			e.t.Fatalf("not %s in %d RTP packets", what, packets)
		}
	}
}

// hears waits until the test voice has spoken text.
func (e *ear) hears(text string) {
	e.t.Helper()
	e.until("heard "+text, func() bool { return e.heard.Heard(text) })
}

// gotKeys waits until exactly these telephone-events came.
func (e *ear) gotKeys(keys string) {
	e.t.Helper()
	e.until("pressed "+keys, func() bool { return bytes.Equal(e.keys, []byte(keys)) })
}

// quiet waits until no packet came for d.
func (e *ear) quiet(d time.Duration) {
	e.t.Helper()
	late := after(offhooktest.Patience)
	for {
		e.mu.Lock()
		wake := e.wake
		e.mu.Unlock()
		select {
		case <-after(d):
			return
		case <-wake:
		case <-late:
			e.t.Fatal("RTP does not stop")
		}
	}
}

// forget drops what was heard so far.
func (e *ear) forget() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.heard, e.keys = speech.Ear{}, nil
}

// codec is the payload type of the last audio.
func (e *ear) codec() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return int(e.payload)
}
