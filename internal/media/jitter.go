package media

import "github.com/offhook/offhook/internal/audio"

// Figures of a jitter buffer, in samples.
const (
	jitterRing  = 4096 // kept: 512 ms, a power of two
	jitterFrame = audio.FrameSamples
	jitterLeast = 160 // it plays 20 ms behind the packets that come soonest at least
	jitterMost  = 640 // and 80 ms at most
	jitterFirst = 320 // 40 ms until it knows the path
	// jitterMargin is how long before its turn a packet has to come: 3 ms, since sockets are read 2 ms before.
	jitterMargin = 24
	// jitterWindow is how many packets say how the path is, and the as many before: 2 s each.
	jitterWindow = 100
	// jitterExcess is how much more than that is taken back even while somebody speaks, 100 ms.
	jitterExcess = 800
	// jitterJump is what no path is late: the sender's clock has jumped, 1 s.
	jitterJump = 8000
	// jitterQuiet is the µ-law magnitude below which a frame may be left out, -38 dBFS.
	jitterQuiet = 0x20
)

// A jitterBuffer puts the samples of one RTP source back into order and time, for whoever needs samples as they
// come. It plays as late as the latest packets of the last seconds need it, 20 to 80 ms behind the soonest ones: a
// late packet makes it repeat a frame at once, and what it waits too long it takes back where it is quiet. It is pure
// and not for concurrent use. The zero value is ready.
type jitterBuffer struct {
	ring    [jitterRing]byte
	have    [jitterRing / 64]uint64
	begun   bool
	next    uint32 // time stamp that is read next
	end     uint32 // one past the newest sample
	now, by spread // of the window that goes on, and of the one before
	stats   jitterStats

	// By its own word the sender is silent from here to there; while hushed, it still is.
	hushFrom, hushTo uint32
	hushed           bool
}

// spread is between which transit times packets came: their arrival less their time stamp, modulo 2^32.
type spread struct {
	low, high int32
	packets   int
}

func (s *spread) add(transit int32) {
	s.low, s.high, s.packets = min(s.low, transit), max(s.high, transit), s.packets+1
}

// jitterStats counts samples.
type jitterStats struct {
	played  uint64 // arrived in time and read
	lost    uint64 // were not there though later ones were
	late    uint64 // came after their turn
	dropped uint64 // left out to be less late
	added   uint64 // put in to be later
}

// sound is what a frame of a jitterBuffer is.
type sound int

const (
	missing sound = iota // lost, late, or nothing was sent
	heard                // all of it came
	quiet                // the sender said that it is silent
)

// put stores the µ-law samples of a packet stamped ts that came at that time of our clock, in samples.
func (b *jitterBuffer) put(at int64, ts uint32, ulaw []byte) {
	if len(ulaw) == 0 || len(ulaw) > jitterRing/2 {
		return
	}
	b.came(at, ts)
	end := ts + uint32(len(ulaw))
	if int32(end-b.next) > jitterRing { // before its time by more than there is room for
		b.begin(int32(uint32(at)-ts), ts)
	}
	if int32(end-b.end) > 0 {
		b.end = end
		if b.hushed {
			b.hushed, b.hushTo = false, ts
		}
	}
	for i, s := range ulaw {
		t := ts + uint32(i)
		if int32(t-b.next) < 0 {
			b.stats.late++
			continue
		}
		b.ring[t%jitterRing] = s
		b.have[t%jitterRing/64] |= 1 << (t % 64)
	}
}

// silent says that the sender is silent from ts on, as a packet told that came at that time.
func (b *jitterBuffer) silent(at int64, ts uint32) {
	b.came(at, ts)
	if int32(ts-b.end) >= 0 && !b.hushed {
		b.hushed, b.hushFrom = true, ts
	}
}

// came counts how late a packet is.
func (b *jitterBuffer) came(at int64, ts uint32) {
	transit := int32(uint32(at) - ts)
	behind := transit - b.now.low
	switch {
	case !b.begun, behind > jitterJump, behind < -jitterJump:
		b.begin(transit, ts)
	case behind > jitterMost && int32(b.end-b.next) <= 0 && int32(ts-b.next) < 0:
		b.begin(transit, ts) // nothing waits, and this comes too late: the path became slower
	}
	b.now.add(transit)
	if b.now.packets == jitterWindow {
		b.by, b.now = b.now, spread{low: transit, high: transit}
	}
}

// begin starts anew with a packet that was so long on its way.
func (b *jitterBuffer) begin(transit int32, ts uint32) {
	if b.begun {
		b.stats.dropped += uint64(b.skip(jitterRing))
	}
	b.begun, b.hushed = true, false
	b.next, b.end, b.hushFrom, b.hushTo = ts-jitterFirst, ts, ts, ts
	b.now = spread{low: transit, high: transit}
	b.by = spread{low: transit, high: transit + jitterFirst - jitterMargin}
}

// target is how much later than its time stamp a sample is to be read, modulo 2^32.
func (b *jitterBuffer) target() int32 {
	low := min(b.now.low, b.by.low)
	return low + max(jitterLeast, min(max(b.now.high, b.by.high)-low+jitterMargin, jitterMost))
}

// read fills frame with what is due at that time of our clock, in samples, and says where on the sender's clock that
// is. What did not come is left as it was.
func (b *jitterBuffer) read(at int64, frame *[jitterFrame]byte) (s sound, ts uint32) {
	if !b.begun {
		return missing, 0
	}
	switch delay := int32(uint32(at)-b.next) - b.target(); {
	case delay < 0: // too early: later packets would miss their turn
		b.stats.added += jitterFrame
		return b.absent(), b.next
	case delay >= jitterFrame+jitterExcess:
		b.stats.dropped += uint64(b.skip(int(delay) / jitterFrame * jitterFrame))
	case delay >= jitterFrame && b.soft():
		b.stats.dropped += uint64(b.skip(jitterFrame))
	}
	came := 0
	for i := range frame {
		if t := b.next + uint32(i); b.has(t) {
			frame[i] = b.ring[t%jitterRing]
			came++
		}
	}
	b.stats.played += uint64(came)
	s, ts = heard, b.next
	if came < jitterFrame {
		if s = b.absent(); s == missing && int32(b.end-b.next) > 0 && b.stats.played > 0 {
			b.stats.lost += uint64(jitterFrame - came)
		}
	}
	b.skip(jitterFrame)
	return s, ts
}

// absent is what a frame is that did not come.
func (b *jitterBuffer) absent() sound {
	if int32(b.next-b.hushFrom) >= 0 && (b.hushed || int32(b.next-b.hushTo) < 0) {
		return quiet
	}
	return missing
}

func (b *jitterBuffer) has(t uint32) bool { return b.have[t%jitterRing/64]&(1<<(t%64)) != 0 }

// soft reports whether the next frame is silence, or not there.
func (b *jitterBuffer) soft() bool {
	for i := range uint32(jitterFrame) {
		if t := b.next + i; b.has(t) && ^b.ring[t%jitterRing]&0x7f >= jitterQuiet {
			return false
		}
	}
	return true
}

// skip moves on and returns how many samples that throws away.
func (b *jitterBuffer) skip(n int) (held int) {
	for range n {
		if t := b.next; b.has(t) {
			b.have[t%jitterRing/64] &^= 1 << (t % 64)
			held++
		}
		b.next++
	}
	return held
}
