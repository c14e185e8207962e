package media

import (
	"encoding/binary"
	"errors"
)

// headerSize is an RTP header without CSRCs and extension, in bytes.
const headerSize = 12

var errNotRTP = errors.New("media: not an RTP packet")

// header is what offhook needs of an RTP header, RFC 3550 section 5.1:
//
//	|V=2|P|X|  CC   |M|     PT      |       sequence number         |
//	|                           timestamp                           |
//	|                             SSRC                              |
type header struct {
	marker      bool
	payloadType uint8
	seq         uint16
	timestamp   uint32 // in units of 1/8000 s
	ssrc        uint32
}

// parseRTP splits p into header and payload, which aliases p; CSRCs, extension and padding are skipped.
func parseRTP(p []byte) (h header, payload []byte, err error) {
	if len(p) < headerSize || p[0]>>6 != 2 {
		return h, nil, errNotRTP
	}
	h = header{
		marker:      p[1]&0x80 != 0,
		payloadType: p[1] & 0x7f,
		seq:         binary.BigEndian.Uint16(p[2:]),
		timestamp:   binary.BigEndian.Uint32(p[4:]),
		ssrc:        binary.BigEndian.Uint32(p[8:]),
	}
	padded, extended := p[0]&0x20 != 0, p[0]&0x10 != 0
	csrcs := 4 * int(p[0]&0x0f)
	if p = p[headerSize:]; len(p) < csrcs {
		return h, nil, errNotRTP
	}
	p = p[csrcs:]
	if extended { // section 5.3.1: a 16-bit profile word, then the length in 32-bit words
		if len(p) < 4 {
			return h, nil, errNotRTP
		}
		n := 4 + 4*int(binary.BigEndian.Uint16(p[2:]))
		if len(p) < n {
			return h, nil, errNotRTP
		}
		p = p[n:]
	}
	if padded { // the last octet counts the padding, itself included
		if len(p) == 0 || p[len(p)-1] == 0 || int(p[len(p)-1]) > len(p) {
			return h, nil, errNotRTP
		}
		p = p[:len(p)-int(p[len(p)-1])]
	}
	return h, p, nil
}

// put writes h into the first headerSize bytes of p.
func (h header) put(p []byte) {
	p[0], p[1] = 2<<6, h.payloadType
	if h.marker {
		p[1] |= 0x80
	}
	binary.BigEndian.PutUint16(p[2:], h.seq)
	binary.BigEndian.PutUint32(p[4:], h.timestamp)
	binary.BigEndian.PutUint32(p[8:], h.ssrc)
}

// isRTCP tells RTCP from RTP on one port (rtcp-mux) by the second octet, RFC 5761 section 4.
func isRTCP(p []byte) bool { return len(p) >= 8 && p[0]>>6 == 2 && p[1] >= 192 && p[1] <= 223 }
