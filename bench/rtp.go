//go:build linux

package main

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

const (
	frame       = 160 // bytes of 20 ms of PCMU
	rtpHeader   = 12
	eventType   = 101 // telephone-event, as our SDP says
	slots       = 20  // of 1 ms in the 20 ms of a packet
	cleanGap    = 40  // ms: a stream is clean when its p99 gap is no longer
	keySends    = 8   // packets of a key of 100 ms: five updates and the end three times (RFC 4733 section 2.5.1.4)
	silentULaw  = 0x7f
	loopNothing = time.Second // a gap from here on is no gap but a stream that paused
)

// peer is the far end of every RTP stream of a run: one socket that knows streams by the server's port,
// measures what comes and sends PCMU back every 20 ms, spread over the slots of a frame.
type peer struct {
	sock, rtcp *socket
	realtime   atomic.Bool
	stop       chan struct{}
	wg         sync.WaitGroup
	sends      atomic.Pointer[[]*stream]
	sent       atomic.Uint64

	mu   sync.Mutex // of what is received
	port [1 << 16]*stream
	all  []*stream
}

// stream is one call's audio, as received and as sent.
type stream struct {
	port int

	// received; under the peer's lock
	have          bool
	ssrc          uint32
	seq           uint16
	last          time.Time
	n, lost, late int
	audible       int
	longest       time.Duration
	gaps          histogram
	heard         func(at time.Time, payload []byte)
	way           histogram // of stamped packets
	stamps        int

	// sent; the sender's own, but for what is atomic
	slot    atomic.Int32
	muted   atomic.Bool
	stamped atomic.Bool  // its audio says when it was sent
	press   atomic.Int32 // packets of a key that are to be sent
	pressed atomic.Int64 // Unix nanoseconds when its first one left
	speech  atomic.Pointer[speech]
	out     [rtpHeader + frame]byte
	txSeq   uint16
	txTime  uint32
	txEvent uint32
}

func newPeer() (*peer, error) {
	p := &peer{stop: make(chan struct{})}
	var err error
	for range 50 { // RTP on an even port, RTCP above it (RFC 3550 section 11)
		if p.sock, err = listen(0); err != nil {
			return nil, err
		}
		if p.sock.local.Port()%2 == 0 {
			if p.rtcp, err = listen(int(p.sock.local.Port()) + 1); err == nil {
				break
			}
		}
		p.sock.close()
	}
	if p.rtcp == nil {
		return nil, err
	}
	p.sends.Store(new([]*stream))
	p.wg.Go(p.read)
	p.wg.Go(p.write)
	return p, nil
}

func (p *peer) close() {
	close(p.stop)
	p.wg.Wait()
	p.sock.close()
	p.rtcp.close() // never read: it keeps the port from refusing
}

// add starts the stream of the server's port. heard, when not nil, gets every audio packet.
func (p *peer) add(port int, heard func(at time.Time, payload []byte)) *stream {
	s := &stream{port: port, heard: heard, txSeq: uint16(rand.Uint32()), txTime: rand.Uint32()}
	p.mu.Lock()
	defer p.mu.Unlock()
	s.slot.Store(int32(len(p.all) % slots))
	p.port[port] = s
	p.all = append(p.all, s)
	sends := append([]*stream(nil), p.all...)
	p.sends.Store(&sends)
	return s
}

// clear forgets all streams.
func (p *peer) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.port[:])
	p.all = nil
	p.sends.Store(new([]*stream))
}

func (p *peer) read() {
	for {
		select {
		case <-p.stop:
			return
		default:
		}
		if err := p.sock.receive(p.packet); err != nil {
			return
		}
		time.Sleep(2 * time.Millisecond) // the kernel keeps the time stamps; fewer wake-ups for us
	}
}

func (p *peer) packet(port int, at time.Time, b []byte) {
	if len(b) < rtpHeader || b[0]>>6 != 2 || (b[1]&0x7f >= 72 && b[1]&0x7f <= 76) {
		return // no RTP (RFC 5761 section 4 for RTCP)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.port[port]; s != nil {
		s.receive(at, b)
	}
}

func (s *stream) receive(at time.Time, b []byte) {
	seq, ssrc, payload := binary.BigEndian.Uint16(b[2:]), binary.BigEndian.Uint32(b[8:]), b[rtpHeader:]
	s.n++
	if s.have && ssrc == s.ssrc {
		switch d := int16(seq - s.seq); {
		case d <= 0:
			s.late++
			s.lost = max(s.lost-1, 0)
		default:
			s.lost += int(d) - 1
			s.seq = seq
		}
		if gap := at.Sub(s.last); gap < loopNothing {
			s.gaps.add(gap)
			s.longest = max(s.longest, gap)
		}
	} else {
		s.have, s.ssrc, s.seq = true, ssrc, seq
	}
	s.last = at
	if audible(payload) {
		s.audible++
	}
	if d, ok := onItsWay(at, payload); ok {
		s.way.add(d)
		s.stamps++
	}
	if s.heard != nil {
		s.heard(at, payload)
	}
}

// audible says whether a PCMU payload is anything but digital silence.
func audible(payload []byte) bool {
	for _, b := range payload {
		if b|0x80 != silentULaw|0x80 {
			return true
		}
	}
	return false
}

// write sends every stream's packet in its slot of each frame.
func (p *peer) write() {
	runtime.LockOSThread() // never unlocked: the thread's class ends with it
	p.realtime.Store(precise())
	var d departures
	start := monotonic()
	for tick := int64(1); ; tick++ {
		select {
		case <-p.stop:
			return
		default:
		}
		sleepUntil(start + tick*int64(time.Millisecond))
		slot := int32(tick % slots)
		for _, s := range *p.sends.Load() {
			if s.slot.Load() == slot && !s.muted.Load() {
				d.add(p.sock, s.port, s.packet())
				p.sent.Add(1)
			}
		}
		d.flush(p.sock)
	}
}

// packet is the stream's next packet: audio, or a part of the key 1.
func (s *stream) packet() []byte {
	b := s.out[:]
	b[0], b[1] = 0x80, 0
	binary.BigEndian.PutUint16(b[2:], s.txSeq)
	binary.BigEndian.PutUint32(b[8:], 0x10000000|uint32(s.port))
	s.txSeq++
	s.txTime += frame
	if left := s.press.Load(); left > 0 {
		if left == keySends {
			s.txEvent = s.txTime
			b[1] = 0x80
			s.pressed.Store(time.Now().UnixNano())
		}
		s.press.Store(left - 1)
		sent := min(keySends-left+1, keySends-3)
		b[1] |= eventType
		binary.BigEndian.PutUint32(b[4:], s.txEvent)
		b[12], b[13] = 1, 10 // the digit 1, -10 dBm0
		if left <= 3 {
			b[13] |= 0x80
		}
		binary.BigEndian.PutUint16(b[14:], uint16(sent*frame))
		return b[:rtpHeader+4]
	}
	binary.BigEndian.PutUint32(b[4:], s.txTime)
	if v := s.speech.Load(); v != nil {
		v.fill(b[rtpHeader:])
		return b
	}
	for i := range frame {
		b[rtpHeader+i] = 0x80 | byte(i*37)&0x3f
	}
	if s.stamped.Load() {
		putStamp(b[rtpHeader:], time.Now())
	}
	return b
}

// speech is sound that is sent again and again, from at on.
type speech struct {
	ulaw []byte
	at   int
}

// speaks has the stream send ulaw again and again, from a place in it on; nil is silence.
func (s *stream) speaks(ulaw []byte, at int) { s.speech.Store(&speech{ulaw, at}) }

// fill is the next packet of it.
func (s *speech) fill(payload []byte) {
	for i := range payload {
		payload[i] = silentULaw
		if len(s.ulaw) > 0 {
			payload[i] = s.ulaw[(s.at+i)%len(s.ulaw)]
		}
	}
	s.at += len(payload)
}

// pressKey presses the key 1 for 100 ms, at a random moment of the frame.
func (s *stream) pressKey() {
	s.slot.Store(rand.Int32N(slots))
	s.pressed.Store(0)
	s.press.Store(keySends)
}

// received is what came from all streams since the last reset.
type received struct {
	streams, packets, lost, late int
	dirty                        int // streams with a loss or a p99 gap over cleanGap
	audible                      float64
	gaps                         histogram
	longest                      time.Duration
}

// reset forgets what was counted, not the streams.
func (p *peer) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.all {
		s.have, s.n, s.lost, s.late, s.audible, s.longest, s.gaps = false, 0, 0, 0, 0, 0, histogram{}
		s.way, s.stamps = histogram{}, 0
	}
}

// ways is how long stamped packets took, and how many others came.
func (p *peer) ways() (way histogram, others int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.all {
		way.merge(&s.way)
		others += s.n - s.stamps
	}
	return way, others
}

// waitHeard waits until n streams bring what was sent into others, at most for d; it returns how many do.
func (p *peer) waitHeard(ctx context.Context, n int, d time.Duration) int {
	for deadline := time.Now().Add(d); ; pause(ctx, 50*time.Millisecond) {
		p.mu.Lock()
		up := 0
		for _, s := range p.all {
			if s.stamps > 0 {
				up++
			}
		}
		p.mu.Unlock()
		if up >= n || time.Now().After(deadline) || ctx.Err() != nil {
			return up
		}
	}
}

func (p *peer) counted() (r received) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.all {
		if s.n == 0 {
			r.dirty++
			continue
		}
		r.streams++
		r.packets += s.n
		r.lost += s.lost
		r.late += s.late
		r.audible += float64(s.audible)
		r.gaps.merge(&s.gaps)
		r.longest = max(r.longest, s.longest)
		if s.lost > 0 || s.gaps.quantile(0.99) > cleanGap {
			r.dirty++
		}
	}
	if r.packets > 0 {
		r.audible /= float64(r.packets)
	}
	return r
}
