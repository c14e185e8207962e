package media

import (
	"slices"

	"github.com/offhook/offhook/internal/audio"
)

const (
	// relayGap is how long a party that hears another is sent nothing while nothing comes, in frames; then
	// silence, so that its phone does not take us for gone.
	relayGap = 10
	// maxRelayed bounds the payload of a relayed packet in bytes: 100 ms.
	maxRelayed = 5 * audio.FrameSamples
	// maxStep is how far a time stamp may be ahead of the one before without a pause between them: 1 s. A source
	// that does more, or goes back, has begun anew.
	maxStep = 8000
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

	first    uint16 // numbers before this one went to packets of another source
	newest   uint16 // of those that came
	newestTS uint32

	eventSSRC, eventTS uint32 // the key that comes
	eventOut           uint32 // its time stamp as it is sent on: one for all its packets
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

// share gives a packet of f's party, which arrived at that time and stands at place, to those who hear it.
func (f *flow) share(w *worker, at, place int64, h header, kind codec, payload []byte) {
	if len(f.audience) == 0 {
		return
	}
	if kind != event {
		f.polling.heard(at, h.timestamp, len(payload))
	}
	for _, l := range f.audience {
		if l.pass(w, h, kind, payload) && kind != event {
			f.tapShared(w, l, place, h.seq, kind, payload)
		}
	}
}

// pass sends on a packet of the party that f hears, unless something plays; false when it was not sent.
func (f *flow) pass(w *worker, h header, kind codec, payload []byte) bool {
	to := f.source.destination()
	if !f.started || !f.described || !f.setup.send || !to.IsValid() || len(payload) > maxRelayed || len(f.play.queue) > 0 || f.aside != nil {
		return false
	}
	out, buffer := header{marker: h.marker, ssrc: f.ssrc, payloadType: f.setup.audio.pt}, w.out[headerSize:headerSize+len(payload)]
	switch {
	case kind == event && f.setup.event.codec != event:
		return false // keyTone makes a sound of it
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
	var ok bool
	if out.seq, out.timestamp, ok = f.renumber(h, kind == event); !ok {
		return false
	}
	if kind != event && !f.talking {
		out.marker = true
	}
	f.relay.idle, f.talking = 0, true
	if int16(out.seq-f.seq) > 0 {
		f.seq = out.seq
	}
	if int32(out.timestamp-f.lastTS) > 0 {
		f.lastTS = out.timestamp
	}
	f.sendPacket(w, out, len(payload), to)
	return true
}

// renumber is the place of a packet in what f sends. It is false for one whose number went to another packet: to
// send a number twice would show in the receiver's statistics, and undo what SRTP keeps secret.
func (f *flow) renumber(h header, isEvent bool) (seq uint16, ts uint32, ok bool) {
	r := &f.relay
	ahead := int16(h.seq - r.newest)
	switch {
	case r.mapped && isEvent && h.ssrc != r.ssrc: // a gateway makes keys as a source of their own
		r.seq++ // the place is taken from what follows
		r.first = r.newest + 1
		return f.seq + 1, f.eventTime(h, f.next()), true
	case !r.mapped || r.ssrc != h.ssrc || ahead > maxDropout || ahead < -maxMisorder: // goes on where f's own sound stands
		f.talking = f.talking && r.mapped && r.ssrc == h.ssrc
		r.mapped, r.ssrc, r.first = true, h.ssrc, h.seq
		r.seq, r.ts = f.seq+1-h.seq, f.next()-h.timestamp
		r.newest, r.newestTS = h.seq, h.timestamp
	case int16(h.seq-r.first) < 0:
		return 0, 0, false
	case ahead > 0:
		if step := int32(h.timestamp - r.newestTS); !isEvent && (step <= 0 || step > maxStep) {
			r.ts = f.next() - h.timestamp
		}
		r.newest = h.seq
		if h.seq-r.first > maxMisorder { // what is older is not taken anyway, and numbers come round
			r.first = h.seq - maxMisorder
		}
		if !isEvent { // a key has the time stamp of its beginning
			r.newestTS = h.timestamp
		}
	}
	ts = h.timestamp + r.ts
	if isEvent {
		if step := int32(h.timestamp - r.newestTS); step > maxStep || step < -maxStep {
			ts = f.next() // the clock of its source began anew
		}
		ts = f.eventTime(h, ts)
	}
	return h.seq + r.seq, ts, true
}

// next is the time stamp of what f sends now, behind all that was sent.
func (f *flow) next() uint32 {
	return f.behindLast(f.tsBase + uint32(f.frame+1)*audio.FrameSamples)
}

// eventTime is ts for the first packet of a key, and what that had for those that follow.
func (f *flow) eventTime(h header, ts uint32) uint32 {
	if r := &f.relay; r.eventOut == 0 || r.eventSSRC != h.ssrc || r.eventTS != h.timestamp {
		r.eventSSRC, r.eventTS, r.eventOut = h.ssrc, h.timestamp, ts
	}
	return f.relay.eventOut
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
		busier := v.streams() > w.streams()
		switch {
		case busier && other.move(w):
		case s.move(v):
			w = v
		case !busier && other.move(w):
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
