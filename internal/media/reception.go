package media

import "math"

// Limits of RFC 3550 appendix A.1.
const (
	maxDropout  = 3000 // sequence numbers a gap may span
	maxMisorder = 100  // and a late packet may lag
)

// reception counts what arrives of one SSRC, RFC 3550 sections 6.4.1, A.1, A.3 and A.8. There is no
// probation: the source was validated by its lock.
type reception struct {
	ssrc     uint32
	started  bool
	maxSeq   uint16
	cycles   uint32 // times 65,536 sequence numbers went by, already shifted
	baseSeq  uint32
	badSeq   uint32 // expected next after a jump; above 0xFFFF none
	received uint32
	late     uint64 // reordered or repeated packets

	expectedPrior, receivedPrior uint32

	timed   bool
	transit int64
	jitter  int64 // in 1/16 timestamp units
}

func (r *reception) restart(seq uint16) {
	r.maxSeq, r.baseSeq, r.cycles = seq, uint32(seq), 0
	r.received, r.expectedPrior, r.receivedPrior = 0, 0, 0
	r.badSeq = math.MaxUint32
	r.started = true
}

// packet counts one packet; false means that it is far from the ones before and not yet believed.
func (r *reception) packet(seq uint16) bool {
	if !r.started {
		r.restart(seq)
	}
	switch delta := seq - r.maxSeq; {
	case delta < maxDropout:
		if seq < r.maxSeq {
			r.cycles += 1 << 16
		}
		if delta == 0 && r.received > 0 {
			r.late++
		}
		r.maxSeq = seq
	case delta <= math.MaxUint16-maxMisorder:
		if uint32(seq) != r.badSeq {
			r.badSeq = uint32(seq+1) & 0xFFFF
			return false
		}
		r.restart(seq) // two in a row: the other side restarted
		r.timed = false
	default:
		r.late++
	}
	r.received++
	return true
}

// time takes the arrival (Unix nanoseconds) and timestamp of an audio packet, section A.8.
func (r *reception) time(arrival int64, ts uint32) {
	// 8,000 units a second; the remainder of 125 µs is lost in both terms of the difference.
	transit := arrival/125_000 - int64(ts)
	if r.timed {
		d := int64(int32(transit - r.transit)) // timestamps wrap
		if d < 0 {
			d = -d
		}
		r.jitter += d - (r.jitter+8)>>4
	}
	r.timed, r.transit = true, transit
}

func (r *reception) extended() uint32 { return r.cycles + uint32(r.maxSeq) }

func (r *reception) expected() uint32 {
	if !r.started {
		return 0
	}
	return r.extended() - r.baseSeq + 1
}

// lost is expected minus received, as the 24-bit signed field carries it; negative with duplicates.
func (r *reception) lost() int32 {
	d := int64(r.expected()) - int64(r.received)
	return int32(min(max(d, -0x800000), 0x7FFFFF))
}

// fraction is the loss since the last call, in 1/256.
func (r *reception) fraction() uint8 {
	expected, received := r.expected()-r.expectedPrior, r.received-r.receivedPrior
	r.expectedPrior, r.receivedPrior = r.expected(), r.received
	lost := int64(expected) - int64(received)
	if expected == 0 || lost <= 0 {
		return 0
	}
	return uint8(min(lost<<8/int64(expected), 255))
}

// jitterUnits is the interarrival jitter in timestamp units.
func (r *reception) jitterUnits() uint32 { return uint32(r.jitter >> 4) }
