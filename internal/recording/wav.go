package recording

import (
	"encoding/binary"
	"errors"
)

const (
	formatPCM  = 1 // RFC 2361
	formatULaw = 7

	headerSize    = 58 // of a µ-law file: RIFF, fmt of 18 bytes, fact, data
	pcmHeaderSize = 44
)

// spoolHeader begins a µ-law WAV file of so many samples of each channel. The fact chunk is what formats other than
// PCM must have (Multimedia Programming Interface and Data Specifications 1.0, Microsoft 1991, "WAVE").
func spoolHeader(channels int, samples int64) []byte {
	size := samples * int64(channels)
	le := binary.LittleEndian
	b := make([]byte, 0, headerSize)
	b = append(b, "RIFF"...)
	b = le.AppendUint32(b, uint32(headerSize-8+size))
	b = append(b, "WAVEfmt "...)
	b = le.AppendUint32(b, 18)
	b = appendFormat(b, formatULaw, channels, 8)
	b = le.AppendUint16(b, 0) // no extension
	b = append(b, "fact"...)
	b = le.AppendUint32(b, 4)
	b = le.AppendUint32(b, uint32(samples))
	b = append(b, "data"...)
	return le.AppendUint32(b, uint32(size))
}

// pcmHeader begins a 16-bit PCM WAV file.
func pcmHeader(channels int, samples int64) []byte {
	size := 2 * samples * int64(channels)
	le := binary.LittleEndian
	b := make([]byte, 0, pcmHeaderSize)
	b = append(b, "RIFF"...)
	b = le.AppendUint32(b, uint32(pcmHeaderSize-8+size))
	b = append(b, "WAVEfmt "...)
	b = le.AppendUint32(b, 16)
	b = appendFormat(b, formatPCM, channels, 16)
	b = append(b, "data"...)
	return le.AppendUint32(b, uint32(size))
}

func appendFormat(b []byte, tag uint16, channels, bits int) []byte {
	le := binary.LittleEndian
	b = le.AppendUint16(b, tag)
	b = le.AppendUint16(b, uint16(channels))
	b = le.AppendUint32(b, Rate)
	b = le.AppendUint32(b, uint32(Rate*channels*bits/8))
	b = le.AppendUint16(b, uint16(channels*bits/8))
	return le.AppendUint16(b, uint16(bits))
}

var errHeader = errors.New("recording: not a spool of ours")

// spoolChannels reads the header of a spool. Its sizes may be older than the file.
func spoolChannels(header []byte) (int, error) {
	if len(header) < headerSize || string(header[:4]) != "RIFF" || string(header[8:16]) != "WAVEfmt " ||
		binary.LittleEndian.Uint16(header[20:]) != formatULaw || string(header[50:54]) != "data" {
		return 0, errHeader
	}
	if n := int(binary.LittleEndian.Uint16(header[22:])); n == 1 || n == 2 {
		return n, nil
	}
	return 0, errHeader
}
