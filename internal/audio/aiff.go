package audio

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// decodeAIFF reads AIFF and AIFF-C files (Apple, Audio Interchange File Format 1.3 and AIFF-C draft 1991).
func decodeAIFF(data []byte) (*Clip, error) {
	if len(data) < 12 || (string(data[8:12]) != "AIFF" && string(data[8:12]) != "AIFC") {
		return nil, fmt.Errorf("audio: %w: FORM file that is not AIFF", ErrUnsupported)
	}
	be := binary.BigEndian
	var common, sound []byte
	for rest := data[12:]; len(rest) >= 8 && (common == nil || sound == nil); {
		id, size := string(rest[:4]), int64(be.Uint32(rest[4:]))
		body := rest[8:]
		if id == "SSND" {
			size = min(size, int64(len(body)))
		}
		if size > int64(len(body)) {
			return nil, fmt.Errorf("audio: AIFF chunk %q of %d bytes runs past the end", id, size)
		}
		switch id {
		case "COMM":
			common = body[:size]
		case "SSND":
			sound = body[:size]
		}
		rest = body[min(size+size&1, int64(len(body))):]
	}
	if len(common) < 18 || len(sound) < 8 {
		return nil, errors.New("audio: AIFF file without COMM or SSND chunk")
	}
	offset := int64(be.Uint32(sound)) // to the first sample
	if offset > int64(len(sound)-8) {
		return nil, errors.New("audio: AIFF samples begin past the end")
	}
	kind := "NONE"
	if string(data[8:12]) == "AIFC" && len(common) >= 22 {
		kind = string(common[18:22])
	}
	f, ok := aiffFormat(kind, int(be.Uint16(common[6:])))
	if !ok {
		return nil, fmt.Errorf("audio: %w: AIFF-C compression %q", ErrUnsupported, kind)
	}
	return decodeLinear(sound[8+offset:], f, int(be.Uint16(common)), extendedRate(common[8:18]))
}

func aiffFormat(kind string, bits int) (sampleFormat, bool) {
	size := (bits + 7) / 8
	switch kind {
	case "NONE", "twos":
		return pcmFormat(size, binary.BigEndian, false)
	case "sowt":
		return pcmFormat(size, binary.LittleEndian, false)
	case "raw ":
		return pcmFormat(1, binary.BigEndian, true)
	case "fl32", "FL32":
		return floatFormat(4, binary.BigEndian)
	case "fl64", "FL64":
		return floatFormat(8, binary.BigEndian)
	case "ulaw", "ULAW":
		return ulawFormat, true
	case "alaw", "ALAW":
		return alawFormat, true
	}
	return sampleFormat{}, false
}

// extendedRate reads an 80-bit IEEE 754 extended number, rounded; 0 when it is no sample rate.
func extendedRate(b []byte) int {
	exponent := int(binary.BigEndian.Uint16(b)) - 16383
	if exponent < 0 || exponent > 30 { // the sign bit makes the exponent huge
		return 0
	}
	return int(math.Round(math.Ldexp(float64(binary.BigEndian.Uint64(b[2:])), exponent-63)))
}

// decodeAU reads .au files, which Sun's and NeXT's audio/basic often is.
func decodeAU(data []byte) (*Clip, error) {
	be := binary.BigEndian
	if len(data) < 24 {
		return nil, errors.New("audio: .au header is too short")
	}
	start, encoding := int64(be.Uint32(data[4:])), be.Uint32(data[12:])
	if start < 24 || start > int64(len(data)) {
		return nil, errors.New("audio: .au samples begin outside the file")
	}
	var f sampleFormat
	ok := true
	switch encoding {
	case 1:
		f = ulawFormat
	case 27:
		f = alawFormat
	case 2, 3, 4, 5:
		f, ok = pcmFormat(int(encoding)-1, be, false)
	case 6:
		f, ok = floatFormat(4, be)
	default:
		ok = false
	}
	if !ok {
		return nil, fmt.Errorf("audio: %w: .au encoding %d", ErrUnsupported, encoding)
	}
	return decodeLinear(data[start:], f, int(min(be.Uint32(data[20:]), maxChannels+1)), int(min(be.Uint32(data[16:]), maxRate+1)))
}
