package phone

import (
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// media is the RTP side of one call: a socket, a goroutine that reads it from the beginning (early
// media), and one that sends a packet every 20 ms once started.
type media struct {
	conn     *net.UDPConn
	log      *slog.Logger
	changed  *signal
	expired  func() // called once, not from a goroutine media waits for, when nothing was received for timeout
	timeout  time.Duration
	done     chan struct{}
	wg       sync.WaitGroup
	closing  sync.Once
	starting sync.Once

	mu       sync.Mutex
	agreed   agreement
	ready    bool // agreed is set
	stopped  bool // the phone was told to send nothing
	echo     bool
	lastSeen time.Time // newest RTP or SIP of the call
	heard    timeline
	digits   digits
	rec      *wavWriter
	recPos   int // position up to which rec has been written
	packets  int // audio packets received

	queue      []*outItem
	seq        uint16
	ts         uint32
	ssrc       uint32
	mark       bool   // the next audio packet begins a talkspurt
	echoing    bool   // echoOffset is set
	echoOffset uint32 // from the far end's timestamps to ours
}

// outItem is audio or a key press that waits its turn.
type outItem struct {
	pcm   []int16
	key   int // RFC 4733 event, -1 for audio
	frame int
	ts    uint32
	done  chan struct{}
}

const (
	frameTime   = 20 * time.Millisecond
	eventFrames = 5  // a key is held 100 ms
	keyFrames   = 10 // and 100 ms follow before the next
	maxQueue    = 256
	maxBurst    = 20 // frames that are sent late, at once; after longer stalls time went by
)

// openMedia opens a socket on ip, on an even port when one is quickly found (RFC 3550 section 11).
func openMedia(ip netip.Addr, limit int, changed *signal, log *slog.Logger) (*media, error) {
	var conn *net.UDPConn
	for try := 0; ; try++ {
		c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(ip, 0)))
		if err != nil {
			return nil, err
		}
		if try == 8 || c.LocalAddr().(*net.UDPAddr).Port%2 == 0 {
			conn = c
			break
		}
		defer c.Close()
	}
	m := &media{
		conn: conn, log: log, changed: changed, done: make(chan struct{}),
		ssrc: rand.Uint32(), ts: rand.Uint32(), seq: uint16(rand.Uint32()), mark: true,
		lastSeen: time.Now(), heard: timeline{limit: limit},
	}
	m.wg.Go(m.receive)
	return m, nil
}

func (m *media) port() int { return m.conn.LocalAddr().(*net.UDPAddr).Port }

// agree sets or changes what offer and answer came to.
func (m *media) agree(g agreement) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.agreed, m.ready = g, true
	m.lastSeen = time.Now()
}

func (m *media) agreement() (agreement, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.agreed, m.ready
}

// start begins sending.
func (m *media) start() {
	m.starting.Do(func() {
		m.touch()
		m.wg.Go(m.send)
	})
}

// touch notes a sign of life of the far end.
func (m *media) touch() {
	m.mu.Lock()
	m.lastSeen = time.Now()
	m.mu.Unlock()
}

// close ends both goroutines and the recording.
func (m *media) close() {
	m.closing.Do(func() {
		m.starting.Do(func() {}) // a start that comes later does nothing
		close(m.done)
		m.conn.Close()
		m.wg.Wait()
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, it := range m.queue {
			close(it.done)
		}
		m.queue = nil
		if m.rec != nil {
			err := errors.Join(m.flushRecording(0), m.rec.close())
			m.rec = nil
			if err != nil {
				m.log.Warn("recording is incomplete", "error", err)
			}
		}
	})
}

func (m *media) receive() {
	buf := make([]byte, 2048)
	for {
		n, _, err := m.conn.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // an ICMP error of an earlier send
			continue
		}
		if p, err := parsePacket(buf[:n]); err == nil {
			m.packet(p)
		}
	}
}

// packet takes in one packet. Before the answer is known it is early media, read by its static payload type.
func (m *media) packet(p packet) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	codec := PCMU
	switch {
	case m.ready && int(p.pt) == m.agreed.recvEvents:
		m.lastSeen = now
		if m.digits.packet(p) {
			m.changed.notify()
		}
		return
	case m.ready && p.pt == m.agreed.recvPT:
		codec = m.agreed.codec
	case p.pt == PCMU.payloadType():
	case p.pt == PCMA.payloadType():
		codec = PCMA
	default:
		return
	}
	m.lastSeen = now
	m.packets++
	m.heard.put(now, p.ssrc, p.ts, codec.decode(p.payload))
	if m.rec != nil {
		const late = sampleRate / 10 // packets this late still find their place
		if err := m.flushRecording(late); err != nil {
			m.log.Warn("recording stopped", "error", errors.Join(err, m.rec.close()))
			m.rec = nil
		}
	}
	if m.echo && m.ready {
		m.sendEcho(p)
	}
	m.changed.notify()
}

// record writes everything heard from here on to w.
func (m *media) record(w *wavWriter) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rec, m.recPos = w, m.heard.end()
}

// flushRecording writes what was heard up to keep samples before the end.
func (m *media) flushRecording(keep int) error {
	from, pcm := m.heard.since(m.recPos)
	if len(pcm) <= keep {
		return nil
	}
	pcm = pcm[:len(pcm)-keep]
	m.recPos = from + len(pcm)
	return m.rec.write(pcm)
}

func (m *media) sendEcho(p packet) {
	if !m.echoing {
		m.echoing, m.echoOffset = true, m.ts-p.ts
	}
	m.write(packet{marker: p.marker, pt: m.agreed.sendPT, ts: p.ts + m.echoOffset, payload: p.payload})
}

// send is the pacing loop: frame n goes out n*20 ms after the start, whatever the ticks do.
func (m *media) send() {
	tick := time.NewTicker(frameTime)
	defer tick.Stop()
	start := time.Now()
	for sent := 0; ; {
		select {
		case <-m.done:
			return
		case now := <-tick.C:
			due := int(now.Sub(start) / frameTime)
			if due-sent > maxBurst { // the machine slept
				m.skip(due - 1 - sent)
				sent = due - 1
			}
			for ; sent < due; sent++ {
				m.frame()
			}
			if m.silentFor(now) {
				m.expired()
				return
			}
		}
	}
}

// skip lets time go by in which nothing is sent.
func (m *media) skip(frames int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ts += uint32(frames * frameSamples)
	m.mark = true
}

func (m *media) silentFor(now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.timeout > 0 && m.agreed.recv && now.Sub(m.lastSeen) > m.timeout
}

// frame sends the next 20 ms: a key, queued audio or silence.
func (m *media) frame() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ts += frameSamples
	pcm := make([]int16, frameSamples)
	if len(m.queue) > 0 {
		it := m.queue[0]
		over := false
		if it.key >= 0 {
			over = m.keyFrame(it)
		} else {
			n := copy(pcm, it.pcm)
			it.pcm = it.pcm[n:]
			over = len(it.pcm) == 0
		}
		quiet := it.key >= 0 && it.frame <= eventFrames+2 // the event's packets stand for this frame
		if over {
			close(it.done)
			m.queue = m.queue[1:]
		}
		if quiet {
			m.mark = true
			return
		}
	}
	if m.echo {
		return
	}
	m.write(packet{marker: m.mark, pt: m.agreed.sendPT, ts: m.ts, payload: m.agreed.codec.encode(nil, pcm)})
	m.mark = false
}

// keyFrame sends one update of a key press: the same timestamp all along, the duration growing, the
// end packet three times (RFC 4733 section 2.5.1.4).
func (m *media) keyFrame(it *outItem) (over bool) {
	if it.frame == 0 {
		it.ts = m.ts
	}
	it.frame++
	if it.frame <= eventFrames+2 {
		held := min(it.frame, eventFrames)
		e := event{code: uint8(it.key), end: it.frame >= eventFrames, volume: 10, duration: uint16(held * frameSamples)}
		m.write(packet{marker: it.frame == 1, pt: uint8(m.agreed.sendEvents), ts: it.ts, payload: e.payload()})
	}
	return it.frame == keyFrames
}

// write sends a packet if the far end wants any; the sequence counts only what was sent.
func (m *media) write(p packet) {
	if !m.agreed.send || m.stopped {
		return
	}
	p.seq, p.ssrc = m.seq, m.ssrc
	m.seq++
	// A failed send is a lost packet, as on any network.
	_, _ = m.conn.WriteToUDPAddrPort(p.appendTo(nil), m.agreed.remote)
}

var errQueueFull = errors.New("phone: too much is queued to play")

// enqueue adds items that play one after the other; the last one's done closes when all have played
// or the call is over.
func (m *media) enqueue(items ...*outItem) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	select {
	case <-m.done:
		return errOver
	default:
	}
	if len(m.queue)+len(items) > maxQueue {
		return errQueueFull
	}
	m.queue = append(m.queue, items...)
	return nil
}

// drop removes items that have not finished.
func (m *media) drop(items ...*outItem) {
	m.mu.Lock()
	defer m.mu.Unlock()
	kept := m.queue[:0]
	for _, q := range m.queue {
		gone := false
		for _, it := range items {
			gone = gone || q == it
		}
		if !gone {
			kept = append(kept, q)
		}
	}
	m.queue = kept
}

func audioItem(pcm []int16) *outItem {
	return &outItem{pcm: pcm, key: -1, done: make(chan struct{})}
}

// keyItems turns a key sequence into items: telephone-events when inBand is false, else tones. w and
// W pause for 0.5 s and 1 s.
func keyItems(seq string, inBand bool) ([]*outItem, error) {
	var items []*outItem
	for i := range len(seq) {
		code := strings.IndexByte(keys, seq[i])
		switch {
		case seq[i] == 'w':
			items = append(items, audioItem(Tone(500*time.Millisecond)))
		case seq[i] == 'W':
			items = append(items, audioItem(Tone(time.Second)))
		case code < 0:
			return nil, &KeyError{Keys: seq, Index: i}
		case inBand:
			items = append(items, audioItem(append(DTMF(seq[i], 100*time.Millisecond), Tone(100*time.Millisecond)...)))
		default:
			items = append(items, &outItem{key: code, done: make(chan struct{})})
		}
	}
	return items, nil
}
