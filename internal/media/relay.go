package media

import (
	"slices"

	"github.com/offhook/offhook/internal/audio"
)

const (
	// pollsPerFrame is how often a frame a stream is read that somebody hears: each read adds half the time
	// between two of them to the way of a packet.
	pollsPerFrame = 4
	pollSlots     = slots / pollsPerFrame
	// relayGap is how long a party that hears another is sent nothing while nothing comes, in frames; then
	// silence, so that its phone does not take us for gone.
	relayGap = 10
	// maxRelayed bounds the payload of a relayed packet in bytes: 100 ms.
	maxRelayed = 5 * audio.FrameSamples
)

// relay is how a flow sends on what another one receives: without a buffer, each packet as it comes, under its
// own SSRC, sequence numbers, time stamps and payload types. A lost packet leaves a gap in both numbers, so that
// the receiver knows of it.
type relay struct {
	from   *flow // nobody when nil
	mapped bool  // what follows is of the source ssrc, and nothing of our own was sent since
	ssrc   uint32
	seq    uint16 // to add to the sequence numbers that come
	ts     uint32 // to add to the time stamps
	idle   int    // frames since the last packet
}

// hear lets f's party hear what g's says, nobody when g is nil. Both are of the same worker.
func (f *flow) hear(g *flow) {
	if old := f.relay.from; old != nil {
		old.audience = slices.DeleteFunc(old.audience, func(l *flow) bool { return l == f })
		f.worker.repoll(old)
	}
	f.relay = relay{from: g}
	if g != nil {
		g.audience = append(g.audience, f)
		f.worker.repoll(g)
	}
}

// apart ends what f hears, and that anybody hears f.
func (f *flow) apart() {
	f.hear(nil)
	for len(f.audience) > 0 {
		f.audience[0].hear(nil)
	}
}

// together reports whether f hears somebody or is heard.
func (f *flow) together() bool { return f.relay.from != nil || len(f.audience) > 0 }

// share gives a packet of f's party to those who hear it.
func (f *flow) share(w *worker, h header, kind codec, payload []byte) {
	for _, l := range f.audience {
		l.pass(w, h, kind, payload)
	}
}

// pass sends on a packet of the party that f hears, unless something plays.
func (f *flow) pass(w *worker, h header, kind codec, payload []byte) {
	to := f.source.destination()
	if !f.started || !f.described || !f.setup.send || !to.IsValid() || len(payload) > maxRelayed || len(f.play.queue) > 0 {
		return
	}
	out, buffer := header{marker: h.marker, ssrc: f.ssrc, payloadType: f.setup.audio.pt}, w.out[headerSize:headerSize+len(payload)]
	switch {
	case kind == event && f.setup.event.codec != event:
		return // keyTone makes a sound of it
	case kind == event:
		out.payloadType = f.setup.event.pt
		copy(buffer, payload)
	case kind == f.setup.audio.codec:
		copy(buffer, payload)
	case kind == pcma:
		audio.ALawToULaw(buffer, payload)
	default:
		audio.ULawToALaw(buffer, payload)
	}
	r := &f.relay
	if !r.mapped || r.ssrc != h.ssrc { // goes on where f's own sound stands
		r.mapped, r.ssrc, out.marker = true, h.ssrc, true
		r.seq = f.seq + 1 - h.seq
		r.ts = f.behindLast(f.tsBase+uint32(f.frame+1)*audio.FrameSamples) - h.timestamp
	}
	r.idle, f.talking = 0, true
	out.seq, out.timestamp = h.seq+r.seq, h.timestamp+r.ts
	if int16(out.seq-f.seq) > 0 {
		f.seq = out.seq
	}
	if int32(out.timestamp-f.lastTS) > 0 {
		f.lastTS = out.timestamp
	}
	f.sendPacket(w, out, len(payload), to)
}

// keyTone plays a key of the party that f hears, to a phone that does not take telephone-events.
func (f *flow) keyTone(key byte) {
	if f.setup.event.codec != event {
		f.play.add(item{keys: string(key), done: make(chan struct{})})
	}
}

// behindLast is ts, or if that was used already the first time stamp behind what was sent.
func (f *flow) behindLast(ts uint32) uint32 {
	if f.tx.packets > 0 && int32(ts-f.lastTS) < audio.FrameSamples {
		return f.lastTS + audio.FrameSamples
	}
	return ts
}

// own is the time stamp of a frame of f's own, and whether it is sent: silence is not for a while, when the
// party hears another one.
func (f *flow) own(ts uint32, fr frame) (uint32, bool) {
	if f.relay.from != nil && fr.ulaw == nil && !fr.isEvent {
		if f.relay.idle++; f.relay.idle <= relayGap {
			return ts, false
		}
	}
	f.relay.mapped = false // what is relayed next begins anew behind this frame
	next := f.behindLast(ts)
	f.tsBase += next - ts
	f.lastTS = next
	return next, true
}

// repoll brings w's list of the streams that are read between their frames up to date: those somebody hears.
func (w *worker) repoll(f *flow) {
	list := &w.heard[f.slot%pollSlots]
	i := slices.Index(*list, f)
	switch {
	case len(f.audience) > 0 && i < 0:
		*list = append(*list, f)
	case len(f.audience) == 0 && i >= 0:
		*list = slices.Delete(*list, i, i+1)
	}
}

// poll reads those streams that somebody hears and that are not read in this tick anyway.
func (w *worker) poll(k int64) {
	list := &w.heard[(k+readAhead)%pollSlots]
	for i := len(*list) - 1; i >= 0; i = min(i, len(*list)) - 1 { // one may break down
		if f := (*list)[i]; f.slot != int((k+readAhead)%slots) {
			w.pollOne(f)
		}
	}
}

func (w *worker) pollOne(f *flow) {
	defer w.rescue(f)
	f.drain(w, f.rtp, f.packet)
}

// Hear lets s's party hear what other's says, nil ends that. What is queued to play is heard instead, as long as
// it lasts. A conversation is a.Hear(b) and b.Hear(a). It ends by itself when either stream does. It waits for
// the streams' workers, a few milliseconds.
func (s *Stream) Hear(other *Stream) {
	s.engine.moves.Lock()
	defer s.engine.moves.Unlock()
	w := s.worker.Load()
	if other == nil {
		w.post(func() {
			if !s.over.Load() {
				s.flow.hear(nil)
			}
		})
		return
	}
	if v := other.worker.Load(); v != w {
		switch {
		case s.move(v):
			w = v
		case other.move(w):
		default: // both are in conversations, on different workers: they leave them
			w.post(func() { s.flow.apart() })
			if !s.move(v) {
				return // it is over
			}
			w = v
		}
	}
	w.post(func() {
		if !s.over.Load() && !other.over.Load() {
			s.flow.hear(other.flow)
		}
	})
}

// move takes s to another worker; false when it is over, or together with another one. Under moves.
func (s *Stream) move(to *worker) bool {
	from, left := s.worker.Load(), make(chan bool, 1)
	if !from.post(func() {
		ok := !s.over.Load() && !s.flow.together()
		if ok {
			from.take(s.flow)
		}
		left <- ok
	}) {
		return false
	}
	select {
	case ok := <-left:
		if !ok {
			return false
		}
	case <-from.stopped:
		return false
	}
	s.worker.Store(to)
	if !to.post(func() { to.add(s.flow) }) { // the engine was closed on the way
		s.finish(s.flow)
		return false
	}
	return true
}
