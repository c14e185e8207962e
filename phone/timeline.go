package phone

import "time"

// timeline puts the audio of RTP packets where their timestamps say, with silence between. Positions
// are samples since the first packet; the oldest are forgotten beyond limit.
type timeline struct {
	limit int // samples kept
	pcm   []int16
	base  int // position of pcm[0]

	t0   time.Time // arrival of the first packet, zero before
	last time.Time // arrival of the newest
	ssrc uint32
	ts   uint32 // the timestamp ts belongs at position pos
	pos  int
}

// maxSkew is how far timestamps and arrival may disagree, in samples, before arrival wins: the
// sender was quiet without counting its timestamp on, or jumped.
const maxSkew = 2 * sampleRate

func (t *timeline) end() int { return t.base + len(t.pcm) }

// put places one packet that arrived now.
func (t *timeline) put(now time.Time, ssrc, ts uint32, pcm []int16) {
	if t.t0.IsZero() {
		t.t0, t.ssrc, t.ts = now, ssrc, ts
	}
	t.last = now
	arrival := samples(now.Sub(t.t0))
	at := t.pos + int(int32(ts-t.ts))
	if ssrc != t.ssrc || at-arrival > maxSkew || arrival-at > maxSkew {
		at = max(t.end(), arrival)
		t.ssrc = ssrc
	}
	t.ts, t.pos = ts, at
	if at < t.base { // late by more than is kept
		return
	}
	if at-t.end() > t.limit { // nothing before it will be kept
		t.base, t.pcm = at, t.pcm[:0]
	}
	for t.end() < at+len(pcm) {
		t.pcm = append(t.pcm, 0)
	}
	copy(t.pcm[at-t.base:], pcm)
	if len(t.pcm) > 2*t.limit { // move seldom
		drop := len(t.pcm) - t.limit
		t.pcm = t.pcm[:copy(t.pcm, t.pcm[drop:])]
		t.base += drop
	}
}

// since copies what was heard from position at on, or from where the memory begins.
func (t *timeline) since(at int) (from int, pcm []int16) {
	from = min(max(at, t.base), t.end())
	return from, append([]int16(nil), t.pcm[from-t.base:]...)
}
