package media

import (
	"encoding/binary"
	"errors"
)

// eventKeys are the keys of telephone-events 0 to 15, RFC 4733 section 3.2.
const eventKeys = "0123456789*#ABCD"

var errShortEvent = errors.New("media: telephone-event shorter than 4 bytes")

// telephoneEvent is the payload of a telephone-event packet, RFC 4733 section 2.3.
type telephoneEvent struct {
	event    uint8  // 0-9 digits, 10 *, 11 #, 12-15 A-D; more are not keys
	end      bool   // E bit: the key was released
	volume   uint8  // 0 to 63, power in -dBm0
	duration uint16 // since the key went down, in RTP timestamp units
}

// parseEvent reads the first event of p; later ones are redundant copies.
func parseEvent(p []byte) (telephoneEvent, error) {
	if len(p) < 4 {
		return telephoneEvent{}, errShortEvent
	}
	return telephoneEvent{p[0], p[1]&0x80 != 0, p[1] & 0x3f, binary.BigEndian.Uint16(p[2:])}, nil
}

// put writes e into the first four bytes of p.
func (e telephoneEvent) put(p []byte) {
	p[0], p[1] = e.event, e.volume
	if e.end {
		p[1] |= 0x80
	}
	binary.BigEndian.PutUint16(p[2:], e.duration)
}

const (
	// lateEvent is how far behind the newest event a packet may be and still count as reordered: 5 s.
	// Anything older is a sender that restarted its timestamps.
	lateEvent = 5 * 8000
	// fullSegment is the duration from which an unfinished event may go on in a new segment: a sender
	// starts one before its 16-bit duration overflows (RFC 4733 section 2.5.1.3), 100 ms early at most.
	fullSegment = 0xFFFF - 800
)

// keyReader turns the telephone-event packets of one SSRC into keys. A key is known by its timestamp
// alone, so any one packet of it is enough, whichever of the others are lost.
type keyReader struct {
	ssrc uint32 // whose keys they are
	seen bool
	ts   uint32         // timestamp of the newest event
	last telephoneEvent // its longest packet
}

// packet takes the event e that was stamped ts and reports the key that went down, if one did.
func (r *keyReader) packet(ts uint32, e telephoneEvent) (key byte, down bool) {
	if r.seen {
		since := int32(ts - r.ts)
		switch {
		case since == 0: // an update, or a repeated end
			r.last.end = r.last.end || e.end
			r.last.duration = max(r.last.duration, e.duration)
			return 0, false
		case since < 0 && since > -lateEvent: // reordered
			return 0, false
		case e.event == r.last.event && !r.last.end && r.last.duration >= fullSegment && since > 0 && since <= 0xFFFF:
			r.ts, r.last = ts, e // the same key, held for more than 8 s
			return 0, false
		}
	}
	r.seen, r.ts, r.last = true, ts, e
	if int(e.event) >= len(eventKeys) {
		return 0, false
	}
	return eventKeys[e.event], true
}

// eventOf is the telephone-event of a key, and whether it has one.
func eventOf(key byte) (uint8, bool) {
	if key >= 'a' && key <= 'd' {
		key -= 'a' - 'A'
	}
	for i := range len(eventKeys) {
		if eventKeys[i] == key {
			return uint8(i), true
		}
	}
	return 0, false
}
