package media

import "github.com/offhook/offhook/internal/audio"

const (
	jitterRing   = 8192 // samples kept: 1.024 s, a power of two
	jitterSlack  = 800  // more than this above the target (100 ms) is played no longer
	jitterFrame  = audio.FrameSamples
	jitterTarget = 3 * jitterFrame
)

// JitterBuffer puts the samples of one RTP stream back into order and time, for whoever needs samples:
// a recorder, a mixer, a detector. It is pure: Put takes packets as they come, Read is called once a
// frame and plays a fixed 60 ms behind the first packet, or delay. A leg that nobody listens to has none.
// Not for concurrent use.
type JitterBuffer struct {
	delay   int // samples, 0 for jitterTarget; not changed after the first Put
	ring    [jitterRing]byte
	have    [jitterRing]bool
	started bool
	next    uint32 // timestamp Read plays next
	end     uint32 // one past the newest sample
	stats   JitterStats
}

// JitterStats counts samples at 8 kHz since the buffer was made.
type JitterStats struct {
	Played  uint64 // arrived in time and read
	Lost    uint64 // replaced by silence though later ones had come
	Late    uint64 // came after their turn
	Dropped uint64 // skipped because the sender's clock ran ahead or its timestamps jumped
}

// Stats is the count so far.
func (b *JitterBuffer) Stats() JitterStats { return b.stats }

// Put stores the µ-law samples of a packet stamped ts.
func (b *JitterBuffer) Put(ts uint32, ulaw []byte) {
	if len(ulaw) == 0 || len(ulaw) > jitterRing/2 {
		return
	}
	end := ts + uint32(len(ulaw))
	ahead := int32(end - b.next)
	switch {
	case !b.started, ahead > jitterRing, ahead < -jitterRing:
		b.anchor(ts)
	case ahead <= 0:
		b.stats.Late += uint64(len(ulaw))
		if int32(b.end-b.next) <= 0 { // nothing waits: the path became slower, so play later
			b.anchor(ts)
			break
		}
		return
	}
	for i, s := range ulaw {
		t := ts + uint32(i)
		if int32(t-b.next) < 0 {
			b.stats.Late++
			continue
		}
		b.ring[t%jitterRing], b.have[t%jitterRing] = s, true
	}
	if int32(end-b.end) > 0 {
		b.end = end
	}
	for int32(b.end-b.next) > b.target()+jitterSlack {
		b.stats.Dropped += uint64(b.skip(jitterFrame))
	}
}

// anchor starts anew: the packet stamped ts is played a target's delay from now.
func (b *JitterBuffer) anchor(ts uint32) {
	if b.started {
		b.stats.Dropped += uint64(b.skip(jitterRing))
	}
	b.started, b.next, b.end = true, ts-uint32(b.target()), ts
}

func (b *JitterBuffer) target() int32 {
	if b.delay == 0 {
		return jitterTarget
	}
	return int32(b.delay)
}

// skip moves the play position and returns how many stored samples that threw away.
func (b *JitterBuffer) skip(n int) (held int) {
	for range n {
		if i := b.next % jitterRing; b.have[i] {
			b.have[i] = false
			held++
		}
		b.next++
	}
	return held
}

// Read fills frame with the next samples, silence where none are, and reports whether any were there.
func (b *JitterBuffer) Read(frame []byte) (heard bool) {
	for i := range frame {
		frame[i] = audio.ULawSilence
		if !b.started {
			continue
		}
		at := b.next % jitterRing
		switch {
		case b.have[at]:
			frame[i], b.have[at], heard = b.ring[at], false, true
			b.stats.Played++
		case int32(b.end-b.next) > 0 && b.stats.Played > 0:
			b.stats.Lost++
		}
		b.next++
	}
	return heard
}
