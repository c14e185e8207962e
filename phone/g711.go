package phone

import "math/bits"

// Codec is an audio codec by its RTP name (RFC 3551 section 6).
type Codec string

const (
	PCMU Codec = "PCMU" // G.711 µ-law, static payload type 0
	PCMA Codec = "PCMA" // G.711 A-law, static payload type 8
)

const (
	sampleRate   = 8000 // Hz, of everything here
	frameSamples = 160  // one packet: 20 ms
)

// payloadType is the codec's static payload type, RFC 3551 table 4.
func (c Codec) payloadType() uint8 {
	if c == PCMA {
		return 8
	}
	return 0
}

// encode appends pcm to b, one byte a sample.
func (c Codec) encode(b []byte, pcm []int16) []byte {
	for _, s := range pcm {
		if c == PCMA {
			b = append(b, encodeALaw(s))
		} else {
			b = append(b, encodeULaw(s))
		}
	}
	return b
}

func (c Codec) decode(b []byte) []int16 {
	pcm := make([]int16, len(b))
	for i, v := range b {
		if c == PCMA {
			pcm[i] = decodeALaw(v)
		} else {
			pcm[i] = decodeULaw(v)
		}
	}
	return pcm
}

// encodeULaw follows G.711 table 2a: the biased magnitude is a floating point number of a 3-bit
// exponent and a 4-bit mantissa, sent inverted.
func encodeULaw(s int16) byte {
	const bias, clip = 132, 32635
	m, sign := int(s), byte(0)
	if m < 0 {
		m, sign = -m, 0x80
	}
	m = min(m, clip) + bias
	exp := bits.Len(uint(m)) - 8 // bias puts the top bit at 7 or above
	return ^(sign | byte(exp)<<4 | byte(m>>(exp+3))&0x0F)
}

func decodeULaw(b byte) int16 {
	b = ^b
	exp := b >> 4 & 7
	m := (int(b&0x0F)<<3+132)<<exp - 132
	if b&0x80 != 0 {
		m = -m
	}
	return int16(m)
}

// encodeALaw follows G.711 table 1a: as µ-law without bias, the lowest two segments linear, every
// other bit inverted (0x55).
func encodeALaw(s int16) byte {
	m, sign := int(s), byte(0x80)
	if m < 0 {
		m, sign = ^m, 0
	}
	exp := max(bits.Len(uint(m))-8, 0)
	shift := max(exp, 1) + 3
	return (sign | byte(exp)<<4 | byte(m>>shift)&0x0F) ^ 0x55
}

func decodeALaw(b byte) int16 {
	b ^= 0x55
	exp := b >> 4 & 7
	m := int(b&0x0F)<<4 + 8
	if exp > 0 {
		m = (m + 256) << (exp - 1)
	}
	if b&0x80 == 0 {
		m = -m
	}
	return int16(m)
}
