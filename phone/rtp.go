package phone

import (
	"encoding/binary"
	"errors"
)

// packet is an RTP packet, RFC 3550 section 5.1, without padding, CSRC list and extension.
type packet struct {
	marker  bool
	pt      uint8
	seq     uint16
	ts      uint32 // samples
	ssrc    uint32
	payload []byte
}

var errRTP = errors.New("phone: not an RTP packet")

// appendTo appends the packet as it goes on the wire.
func (p packet) appendTo(b []byte) []byte {
	b = append(b, 2<<6, p.pt&0x7F)
	if p.marker {
		b[len(b)-1] |= 0x80
	}
	b = binary.BigEndian.AppendUint16(b, p.seq)
	b = binary.BigEndian.AppendUint32(b, p.ts)
	b = binary.BigEndian.AppendUint32(b, p.ssrc)
	return append(b, p.payload...)
}

// parsePacket reads a packet; its payload aliases b. RTCP that strays onto the port (payload types
// 64 to 95 with the marker, RFC 5761 section 4) is an error.
func parsePacket(b []byte) (packet, error) {
	if len(b) < 12 || b[0]>>6 != 2 || b[1] >= 192 && b[1] <= 223 {
		return packet{}, errRTP
	}
	p := packet{
		marker: b[1]&0x80 != 0,
		pt:     b[1] & 0x7F,
		seq:    binary.BigEndian.Uint16(b[2:]),
		ts:     binary.BigEndian.Uint32(b[4:]),
		ssrc:   binary.BigEndian.Uint32(b[8:]),
	}
	end := len(b)
	if b[0]&0x20 != 0 { // padding: its last byte counts itself
		end -= int(b[end-1])
	}
	start := 12 + 4*int(b[0]&0x0F)
	if b[0]&0x10 != 0 { // extension, section 5.3.1: length in words at its byte 2
		if len(b) < start+4 {
			return packet{}, errRTP
		}
		start += 4 + 4*int(binary.BigEndian.Uint16(b[start+2:]))
	}
	if start > end {
		return packet{}, errRTP
	}
	p.payload = b[start:end]
	return p, nil
}

// event is a telephone-event payload, RFC 4733 section 2.3.
type event struct {
	code     uint8  // index into keys
	end      bool   // the key was released
	volume   uint8  // 0 to 63, -dBm0
	duration uint16 // so far, in RTP timestamp units
}

// keys are the DTMF events 0 to 15 in the order of RFC 4733 section 3.2.
const keys = "0123456789*#ABCD"

func (e event) payload() []byte {
	b := []byte{e.code, e.volume & 0x3F, 0, 0}
	if e.end {
		b[1] |= 0x80
	}
	binary.BigEndian.PutUint16(b[2:], e.duration)
	return b
}

func parseEvent(b []byte) (event, error) {
	if len(b) < 4 {
		return event{}, errRTP
	}
	return event{b[0], b[1]&0x80 != 0, b[1] & 0x3F, binary.BigEndian.Uint16(b[2:])}, nil
}

// digits counts the keys of a telephone-event stream: each event once, by its timestamp, from its
// first packet on, so that lost start or end packets do not matter and repeats do not count.
type digits struct {
	got  []byte
	any  bool
	ssrc uint32
	last uint32 // timestamp of the newest event
}

func (d *digits) packet(p packet) (added bool) {
	e, err := parseEvent(p.payload)
	if err != nil || int(e.code) >= len(keys) {
		return false
	}
	if d.any && d.ssrc == p.ssrc && int32(p.ts-d.last) <= 0 {
		return false
	}
	d.any, d.ssrc, d.last = true, p.ssrc, p.ts
	if len(d.got) < maxDigits {
		d.got = append(d.got, keys[e.code])
	}
	return true
}

// maxDigits bounds what one call remembers.
const maxDigits = 4096
