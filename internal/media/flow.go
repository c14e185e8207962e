package media

import (
	"errors"
	"log/slog"
	"net/netip"
	"sync/atomic"

	"github.com/offhook/offhook/internal/audio"
)

const (
	// mailboxSize bounds the commands that wait for one stream's next tick.
	mailboxSize = 32
	// maxBatches bounds what one tick reads of one socket; the rest waits in the kernel, or is lost there.
	maxBatches = 4
)

// Sink hears of what a stream receives. Its methods are called from a worker: they must not block, nor
// call the stream.
type Sink interface {
	// Digit is a key that the party pressed, 0-9 * # A-D, told when it goes down.
	Digit(key byte)
	// Timeout says that the party is gone: neither RTP nor RTCP came for Config.RTPTimeout, or the
	// stream broke down. It comes at most once.
	Timeout()
}

// command is a message to a flow. drop is what remains to be done when the flow is already over;
// it may be nil.
type command struct {
	do   func(*flow)
	drop func()
}

// flow is the part of a stream that its worker owns: sockets, sending and receiving. Nobody else
// touches it, but for mailed; see Stream.post.
type flow struct {
	stream *Stream
	mailed atomic.Bool // there is mail for it; whoever posts sets it
	worker *worker
	sink   Sink
	log    *slog.Logger
	slot   int // of the frame, where it sends
	index  int // in the worker's slot

	rtp, rtcp socket
	source    source
	setup     setup
	described bool // there was a setup
	started   bool

	play    playout
	frame   int64 // the worker's number of the last one
	talking bool  // that was sent, so no marker bit on the next
	ssrc    uint32
	seq     uint16
	tsBase  uint32
	eventTS uint32 // of the key being sent
	lastTS  uint32 // the newest time stamp sent
	tx      sent   // totals; recently since our last report

	rx       reception
	keys     keyReader
	hearing  *hearing // nil when nobody follows what the party says
	reporter reporter
	said     timeline // of what the party says
	tapped   *tapped  // nil when nobody wants samples

	muted bool  // what the party says is silence
	aside *hold // nil unless the party is kept on hold by us

	relay    relay   // whom the party hears
	audience []*flow // who hears the party
	polling  polling // when it is read, if anybody does

	ticks      int // sent frames, for polls and reports
	reportIn   int // ticks until our next report
	quiet      int // ticks since the peer was heard
	quietLimit int // 0: never times out
	timedOut   bool

	received, foreign, refused, failed, broken, digits uint64
	lost                                               int64 // of SSRCs before the present one, as received
}

// receive reads what came; it runs once a frame, shortly before transmit.
func (f *flow) receive(w *worker) {
	f.readMail()
	if len(f.audience) == 0 { // else it is polled
		f.drain(w, f.rtp, f.packet)
	}
	if f.ticks%framesPerPoll == f.slot && !f.setup.mux {
		f.drain(w, f.rtcp, f.report)
	}
}

// drain takes all that waits in s, within bounds.
func (f *flow) drain(w *worker, s socket, take func(*worker, *packet)) {
	for range maxBatches {
		if f.read(w, s, batchSize, take) < batchSize {
			return
		}
	}
}

// read takes up to limit datagrams that wait in s and returns how many those were.
func (f *flow) read(w *worker, s socket, limit int, take func(*worker, *packet)) int {
	n := s.recv(&w.batch, limit)
	for i := range n {
		take(w, &w.batch.packets[i])
	}
	if w.batch.refused {
		f.refused++
		w.count.refused.Add(1)
	}
	if w.batch.foreign > 0 {
		f.strange(w, w.batch.foreign)
	}
	return n
}

// packet takes a datagram of the RTP port.
func (f *flow) packet(w *worker, p *packet) {
	if isRTCP(p.data) {
		if f.setup.mux {
			f.report(w, p)
		}
		return
	}
	data, ok := f.unprotect(w, p)
	if !ok {
		return
	}
	h, payload, err := parseRTP(data)
	if err != nil {
		f.malformed(w)
		return
	}
	if !f.described {
		return
	}
	kind := f.setup.kinds[h.payloadType]
	ok, changed := f.source.admit(p.from, h.ssrc, kind != unknown)
	if !ok {
		f.strange(w, 1)
		return
	}
	if changed {
		f.locked()
	}
	// He may change his SSRC whenever his own source is another. Keys alone under another one do not count
	// as that: there are gateways that make them beside the audio, as a source of their own.
	if changed || h.ssrc != f.rx.ssrc && (kind != event || !f.rx.started) {
		f.received, f.lost = f.received+uint64(f.rx.received), f.lost+int64(f.rx.lost())
		f.rx = reception{ssrc: h.ssrc}
		if f.hearing != nil {
			f.hearing.buffer = jitterBuffer{}
		}
	}
	f.quiet = 0
	w.count.received.Add(1)
	if h.ssrc == f.rx.ssrc && !f.rx.packet(h.seq) {
		return
	}
	switch kind {
	case event:
		f.key(w, h, payload)
		if f.tapped != nil && h.ssrc == f.rx.ssrc {
			f.tapped.in.skip(h.seq)
		}
		if f.aside == nil {
			f.share(w, p.at, 0, h, kind, payload)
		}
	case pcmu, pcma:
		f.rx.time(p.at, h.timestamp)
		at, said := f.arrived(w, p.at), f.spoken(kind, payload)
		if f.hearing != nil { // keys as tones: those of a muted party count
			if f.aside != nil {
				payload = said
			}
			f.hearing.put(w, f.available(w, at), h.timestamp, kind, payload)
		}
		silent := f.said.adjust != 0 && (!f.taped() || kind == pcmu && audio.ULawPower(payload) < silentPower)
		place := f.said.place(h.ssrc, h.timestamp, at, silent)
		payload = said
		if f.tapped != nil {
			f.tapped.take(w, audio.Inbound, place, h.seq, kind, payload)
		}
		f.share(w, p.at, place, h, kind, payload)
	case noise:
		if f.tapped != nil {
			f.tapped.in.skip(h.seq)
		}
		if f.hearing != nil {
			f.hearing.silent(f.available(w, f.arrived(w, p.at)), h.timestamp, payload)
		}
	case unknown: // a codec that nobody agreed on: a sign of life
	}
}

func (f *flow) key(w *worker, h header, payload []byte) {
	e, err := parseEvent(payload)
	if err != nil {
		f.malformed(w)
		return
	}
	if h.ssrc != f.keys.ssrc {
		f.keys = keyReader{ssrc: h.ssrc}
	}
	if key, down := f.keys.packet(h.timestamp, e); down && f.aside == nil {
		f.pressed(w, key)
		for _, l := range f.audience {
			l.keyTone(key)
		}
	}
}

func (f *flow) malformed(w *worker) {
	f.broken++
	w.count.malformed.Add(1)
}

func (f *flow) strange(w *worker, n uint64) {
	f.foreign += n
	w.count.foreign.Add(n)
}

func (f *flow) pressed(w *worker, key byte) {
	f.digits++
	w.count.digits.Add(1)
	f.sink.Digit(key)
}

// locked connects the socket, so that the kernel drops whatever others send.
func (f *flow) locked() {
	if err := f.rtp.connect(f.source.peer); err != nil {
		f.logger().Warn("RTP source is only filtered by us", "err", err)
	}
	if f.source.peer != f.source.signalled {
		f.logger().Info("RTP comes from another address than signalled", "signalled", f.source.signalled, "source", f.source.peer)
	}
}

// report takes a datagram of RTCP. It must come from the host that RTP comes from, or the one that SDP
// named for it; its ports vary.
func (f *flow) report(w *worker, p *packet) {
	from := p.from.Addr()
	if !f.described || (from != f.source.host() && from != f.setup.rtcp.Addr()) {
		f.strange(w, 1)
		return
	}
	data := p.data
	if o := f.setup.unseal; o != nil {
		var ok bool
		if data, ok = o.openReport(data); !ok {
			f.strange(w, 1)
			return
		}
	}
	if !f.reporter.read(data, w.now(), f.ssrc, f.rx.ssrc) {
		f.malformed(w)
		return
	}
	f.quiet = 0
}

// transmit sends frame number n of the worker's clock; time goes on whether or not it may be sent.
func (f *flow) transmit(w *worker, n int64) {
	f.readMail()
	f.ticks++
	f.talking = f.talking && n == f.frame+1
	f.frame = n
	if f.hearing != nil {
		f.follow(w, n)
	}
	if !f.started || !f.described {
		return
	}
	ts := f.tsBase + uint32(n)*audio.FrameSamples
	fr := f.sound()
	if to := f.source.destination(); f.setup.send && to.IsValid() {
		if own, send := f.own(ts, fr); send {
			f.sendFrame(w, own, fr, to)
		}
	} else {
		f.talking, fr.ulaw = false, nil
	}
	if f.aside != nil {
		fr.ulaw = nil // the music is nobody's
	}
	if f.tapped != nil {
		f.tapped.tick(n, fr.ulaw)
	}
	if f.reportIn--; f.reportIn <= 0 {
		f.reportIn = nextReport()
		f.sendReport(w, ts)
	}
	f.watch(w)
}

// watch notices that the peer is gone.
func (f *flow) watch(w *worker) {
	if f.setup.held {
		f.quiet = 0
		return
	}
	if f.quiet++; f.quietLimit == 0 || f.quiet <= f.quietLimit || f.timedOut {
		return
	}
	if f.drain(w, f.rtcp, f.report); f.quiet > 0 { // a report may have waited
		f.timeout()
	}
}

func (f *flow) timeout() {
	if !f.timedOut {
		f.timedOut = true
		f.sink.Timeout()
	}
}

func (f *flow) sendFrame(w *worker, ts uint32, fr frame, to netip.AddrPort) {
	h := header{payloadType: f.setup.audio.pt, ssrc: f.ssrc, timestamp: ts}
	if fr.isEvent {
		if fr.first {
			f.eventTS = ts
		}
		h.payloadType, h.timestamp, h.marker = f.setup.event.pt, f.eventTS, fr.first
		fr.event.put(w.out[headerSize:])
		f.send(w, h, 4, to)
		f.talking = false
		return
	}
	if fr.ulaw == nil {
		fr.ulaw = silence[:]
	}
	size := audio.FrameSamples / f.setup.packets
	for at := 0; at < audio.FrameSamples; at += size {
		h.marker = !f.talking // the first of a talkspurt, RFC 3551 section 4.1
		f.talking = true
		if part := fr.ulaw[at : at+size]; f.setup.audio.codec == pcma {
			audio.ULawToALaw(w.out[headerSize:headerSize+size], part)
		} else {
			copy(w.out[headerSize:], part)
		}
		f.send(w, h, size, to)
		h.timestamp += uint32(size)
	}
}

// silence is one frame of it in µ-law.
var silence = func() (s [audio.FrameSamples]byte) {
	for i := range s {
		s[i] = audio.ULawSilence
	}
	return s
}()

// send sends the payload of n bytes that is already in the worker's buffer.
func (f *flow) send(w *worker, h header, n int, to netip.AddrPort) {
	f.seq++
	h.seq = f.seq
	f.sendPacket(w, h, n, to)
}

// sendPacket is send with a sequence number that is already there.
func (f *flow) sendPacket(w *worker, h header, n int, to netip.AddrPort) {
	h.put(w.out[:])
	p, ok := f.protect(w, w.out[:headerSize+n], h.seq)
	if !ok {
		return
	}
	err := f.rtp.send(p, to)
	switch {
	case err == nil:
	case errors.Is(err, errRefused):
		f.refused++
		w.count.refused.Add(1)
	default:
		f.failed++
		w.count.failed.Add(1)
		return
	}
	f.tx.packets++
	f.tx.octets += uint32(n)
	f.tx.recently = true
	w.count.sent.Add(1)
}

func (f *flow) sendReport(w *worker, ts uint32) {
	to, s := f.reportsTo(), f.rtcp
	if f.setup.mux {
		s = f.rtp
	}
	if !to.IsValid() || (!f.tx.recently && !f.rx.started) {
		return
	}
	f.tx.ssrc, f.tx.timestamp = f.ssrc, ts
	p, err := f.reporter.write(w.now(), f.tx, &f.rx)
	if err != nil {
		f.logger().Warn("RTCP report not written", "err", err)
		return
	}
	f.tx.recently = false
	if seal := f.setup.seal; seal != nil {
		if p, err = seal.context.EncryptRTCP(nil, p, nil); err != nil {
			f.logger().Warn("RTCP report not protected", "err", err)
			return
		}
	}
	if err := s.send(p, to); err != nil && !errors.Is(err, errRefused) {
		f.failed++
		w.count.failed.Add(1)
	}
}

// reportsTo is where our reports go: as signalled, unless RTP turned out to come from another host.
func (f *flow) reportsTo() netip.AddrPort {
	to := f.source.destination()
	switch {
	case !to.IsValid():
		return netip.AddrPort{}
	case f.setup.mux:
		return to
	case f.setup.rtcp.IsValid() && f.setup.rtcp.Addr() == to.Addr():
		return f.setup.rtcp
	case f.setup.rtcp.IsValid() && to == f.source.signalled: // a=rtcp named another host
		return f.setup.rtcp
	case to.Port() == 65535:
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(to.Addr(), to.Port()+1)
}

// configure takes what offer and answer agreed on.
func (f *flow) configure(s setup) {
	f.setup, f.described = s, true
	f.hearKeys(s.event.codec != event)
	if f.source.signal(s.rtp) {
		if err := f.rtp.disconnect(); err != nil {
			f.logger().Warn("RTP socket still listens to the former peer alone", "err", err)
		}
	}
}

func (f *flow) start() {
	f.started, f.quiet = true, 0
	f.reportIn = nextReport() / 2
}

// readMail does what others asked for since the last tick.
func (f *flow) readMail() {
	if !f.mailed.Load() {
		return
	}
	f.mailed.Store(false) // before reading: what comes meanwhile sets it again
	for {
		select {
		case c := <-f.stream.mail:
			c.do(f)
		default:
			return
		}
	}
}

// close frees the sockets and lets everybody go who waits for a clip.
func (f *flow) close() {
	if f.tapped != nil {
		f.drain(f.worker, f.rtp, f.packet) // what came just before
		f.tapped.drain(f.frame)
	}
	f.play.flush()
	for _, s := range []socket{f.rtp, f.rtcp} {
		if err := s.close(); err != nil {
			f.logger().Warn("RTP socket not closed", "err", err)
		}
	}
}
