package audio

import "slices"

// G.711 by table, both laws. The codes are those of the ITU-T Software Tool Library (G.191): µ-law works on
// the upper 14 bits of a sample, A-law on the upper 13.

var (
	ulawToLinear = makeTable(expandULaw)
	alawToLinear = makeTable(expandALaw)
	linearToULaw = makeULawCodes()
	linearToALaw = makeALawCodes()
	ulawToALaw   = makeTable(func(code byte) byte { return compressALaw(expandULaw(code)) })
	alawToULaw   = makeTable(func(code byte) byte { return compressULaw(expandALaw(code)) })
)

func makeTable[T any](f func(byte) T) (t [256]T) {
	for i := range t {
		t[i] = f(byte(i))
	}
	return t
}

// makeULawCodes has a row for each of the 14-bit samples µ-law tells apart: 16 KiB rather than 64.
func makeULawCodes() (t [1 << 14]byte) {
	for i := range t {
		t[i] = compressULaw(int16(uint16(i) << 2))
	}
	return t
}

func makeALawCodes() (t [1 << 12]byte) {
	for i := range t {
		t[i] = compressALaw(int16(uint16(i) << 4))
	}
	return t
}

// expandULaw is G.711 table 2, scaled to 16 bits.
func expandULaw(code byte) int16 {
	code = ^code
	v := (int16(code&0x0F)<<3+132)<<(code>>4&7) - 132
	if code&0x80 != 0 {
		return -v
	}
	return v
}

func compressULaw(s int16) byte {
	sign := byte(0x80)
	if s < 0 {
		s, sign = ^s, 0 // ones' complement, as the ITU tool does: -1 is a zero
	}
	v := min(s>>2+33, 0x1FFF) // 13 bits of magnitude, biased
	segment := byte(0)
	for v>>(segment+6) != 0 {
		segment++
	}
	mantissa := byte(v>>(segment+1)) & 0x0F
	return sign | (7-segment)<<4 | (0x0F - mantissa)
}

// expandALaw is G.711 table 1, scaled to 16 bits.
func expandALaw(code byte) int16 {
	code ^= 0x55
	v := int16(code&0x0F)<<4 + 8
	if segment := code >> 4 & 7; segment > 0 {
		v = (v + 256) << (segment - 1)
	}
	if code&0x80 == 0 {
		return -v
	}
	return v
}

func compressALaw(s int16) byte {
	sign := byte(0x80)
	if s < 0 {
		s, sign = ^s, 0
	}
	v := s >> 4 // 11 bits of magnitude
	segment := byte(0)
	if v > 15 {
		for segment = 1; v > 16+15; segment++ {
			v >>= 1
		}
		v -= 16
	}
	return (sign | segment<<4 | byte(v)) ^ 0x55
}

// AppendULaw appends pcm as µ-law to dst.
func AppendULaw(dst []byte, pcm []int16) []byte {
	for _, s := range pcm {
		dst = append(dst, linearToULaw[uint16(s)>>2])
	}
	return dst
}

// EncodeULaw is pcm as µ-law, one byte a sample.
func EncodeULaw(pcm []int16) []byte { return AppendULaw(make([]byte, 0, len(pcm)), pcm) }

// EncodeALaw is pcm as A-law, one byte a sample.
func EncodeALaw(pcm []int16) []byte {
	b := make([]byte, len(pcm))
	for i, s := range pcm {
		b[i] = linearToALaw[uint16(s)>>4]
	}
	return b
}

// AppendDecodedULaw appends the samples of ulaw to dst.
func AppendDecodedULaw(dst []int16, ulaw []byte) []int16 {
	n := len(dst)
	dst = slices.Grow(dst, len(ulaw))[:n+len(ulaw)]
	expand(dst[n:], ulaw)
	return dst
}

// expand writes the samples of ulaw to dst, which is as long at least.
func expand(dst []int16, ulaw []byte) {
	dst = dst[:len(ulaw)]
	for i, code := range ulaw {
		dst[i] = ulawToLinear[code]
	}
}

// AppendDecodedALaw appends the samples of alaw to dst.
func AppendDecodedALaw(dst []int16, alaw []byte) []int16 {
	n := len(dst)
	dst = slices.Grow(dst, len(alaw))[:n+len(alaw)]
	for i, code := range alaw {
		dst[n+i] = alawToLinear[code]
	}
	return dst
}

// DecodeULaw is the samples of ulaw.
func DecodeULaw(ulaw []byte) []int16 { return AppendDecodedULaw(make([]int16, 0, len(ulaw)), ulaw) }

// DecodeALaw is the samples of alaw.
func DecodeALaw(alaw []byte) []int16 { return AppendDecodedALaw(make([]int16, 0, len(alaw)), alaw) }

// ULawToALaw writes ulaw as A-law to dst, which is at least as long and may be ulaw itself.
func ULawToALaw(dst, ulaw []byte) {
	_ = dst[:len(ulaw)]
	for i, code := range ulaw {
		dst[i] = ulawToALaw[code]
	}
}

// ALawToULaw writes alaw as µ-law to dst, which is at least as long and may be alaw itself.
func ALawToULaw(dst, alaw []byte) {
	_ = dst[:len(alaw)]
	for i, code := range alaw {
		dst[i] = alawToULaw[code]
	}
}

// ALawSilence is the A-law code nearest to a zero sample.
const ALawSilence = 0xD5

// softer is each µ-law code at half its amplitude.
var softer = func() (t [256]byte) {
	for i := range t {
		t[i] = EncodeULaw([]int16{ulawToLinear[i] / 2})[0]
	}
	return t
}()

// Soften takes 6 dB off ulaw, in place.
func Soften(ulaw []byte) {
	for i, code := range ulaw {
		ulaw[i] = softer[code]
	}
}

// ULawPower is Power of µ-law samples.
func ULawPower(ulaw []byte) float64 {
	if len(ulaw) == 0 {
		return 0
	}
	var sum int64
	for _, code := range ulaw {
		s := int64(ulawToLinear[code])
		sum += s * s
	}
	return float64(sum) / float64(len(ulaw))
}

// ULawLouder reports whether the ULawPower of samples is above power. Loud ones are found out by the first few.
func ULawLouder(ulaw []byte, power float64) bool {
	var sum int64
	most := int64(power * float64(len(ulaw)))
	for _, code := range ulaw {
		s := int64(ulawToLinear[code])
		if sum += s * s; sum > most {
			return true
		}
	}
	return false
}
