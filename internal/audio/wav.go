package audio

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// WAVE format tags, RFC 2361.
const (
	wavPCM        = 0x0001
	wavFloat      = 0x0003
	wavALaw       = 0x0006
	wavULaw       = 0x0007
	wavExtensible = 0xFFFE // the tag is the start of a GUID further on
)

// decodeWAV reads RIFF, big-endian RIFX and RF64 files. Lengths that run past the end (streams written to a pipe
// say 0 or 0x7FFFFFFF) mean "to the end".
func decodeWAV(data []byte) (*Clip, error) {
	if len(data) < 12 || string(data[8:12]) != "WAVE" {
		return nil, errors.New("audio: RIFF file without WAVE header")
	}
	var order binary.ByteOrder = binary.LittleEndian
	if string(data[:4]) == "RIFX" {
		order = binary.BigEndian
	}
	var format []byte
	for rest := data[12:]; len(rest) >= 8; {
		id, size := string(rest[:4]), int64(order.Uint32(rest[4:]))
		body := rest[8:]
		if id == "data" && (size == 0 || size > int64(len(body))) {
			size = int64(len(body))
		}
		if size > int64(len(body)) {
			return nil, fmt.Errorf("audio: WAV chunk %q of %d bytes runs past the end", id, size)
		}
		switch id {
		case "fmt ":
			format = body[:size]
		case "data":
			if format == nil {
				return nil, errors.New("audio: WAV data before its fmt chunk")
			}
			return decodeWAVData(format, body[:size], order)
		}
		rest = body[min(size+size&1, int64(len(body))):] // chunks begin at even offsets
	}
	return nil, errors.New("audio: WAV file without data chunk")
}

func decodeWAVData(format, samples []byte, order binary.ByteOrder) (*Clip, error) {
	if len(format) < 16 {
		return nil, errors.New("audio: WAV fmt chunk is too short")
	}
	tag, channels := order.Uint16(format), int(order.Uint16(format[2:]))
	rate, bits := int(order.Uint32(format[4:])), int(order.Uint16(format[14:]))
	if tag == wavExtensible && len(format) >= 26 {
		tag = order.Uint16(format[24:])
	}
	var f sampleFormat
	ok := false
	switch tag {
	case wavPCM:
		f, ok = pcmFormat((bits+7)/8, order, true)
	case wavFloat:
		f, ok = floatFormat(bits/8, order)
	case wavULaw:
		f, ok = ulawFormat, bits == 8
	case wavALaw:
		f, ok = alawFormat, bits == 8
	}
	if !ok {
		return nil, fmt.Errorf("audio: %w: WAV format 0x%04x of %d bits; use PCM, float, µ-law or A-law", ErrUnsupported, tag, bits)
	}
	return decodeLinear(samples, f, channels, rate)
}

// EncodeWAV is pcm as a mono 16-bit WAV file at rate Hz.
func EncodeWAV(pcm []int16, rate int) []byte {
	b := wavHeader(wavPCM, rate, 16, 2*len(pcm))
	for _, s := range pcm {
		b = binary.LittleEndian.AppendUint16(b, uint16(s))
	}
	return b
}

// WAV is the clip as a µ-law WAV file, bit for bit.
func (c *Clip) WAV() []byte { return append(wavHeader(wavULaw, SampleRate, 8, len(c.ulaw)), c.ulaw...) }

// PCM is the clip's samples as 16-bit PCM.
func (c *Clip) PCM() []int16 { return DecodeULaw(c.ulaw) }

func wavHeader(tag uint16, rate, bits, size int) []byte {
	le := binary.LittleEndian
	b := make([]byte, 0, 46+size+size&1)
	b = append(b, "RIFF"...)
	fmtSize := 16
	if tag != wavPCM {
		fmtSize = 18 // with the (empty) extension other formats must have
	}
	b = le.AppendUint32(b, uint32(4+8+fmtSize+8+size+size&1))
	b = append(b, "WAVEfmt "...)
	b = le.AppendUint32(b, uint32(fmtSize))
	b = le.AppendUint16(b, tag)
	b = le.AppendUint16(b, 1)
	b = le.AppendUint32(b, uint32(rate))
	b = le.AppendUint32(b, uint32(rate*bits/8))
	b = le.AppendUint16(b, uint16(bits/8))
	b = le.AppendUint16(b, uint16(bits))
	if fmtSize == 18 {
		b = le.AppendUint16(b, 0)
	}
	b = append(b, "data"...)
	return le.AppendUint32(b, uint32(size))
}
