//go:build linux

package main

import (
	"encoding/binary"
	"time"
)

const sampleRate = 8000 // Hz

// prompt is a WAV file of G.711 µ-law (format 7) whose samples all have one of two values, mark and its
// negative: it crosses a server that keeps to G.711 as it is, so a packet of it is known without a codec.
func prompt(d time.Duration, mark byte) []byte {
	n := int(d.Seconds() * sampleRate)
	b := make([]byte, 0, 46+n)
	le := binary.LittleEndian
	b = append(b, "RIFF"...)
	b = le.AppendUint32(b, uint32(38+n))
	b = append(b, "WAVEfmt "...)
	b = le.AppendUint32(b, 18)
	b = le.AppendUint16(b, 7) // WAVE_FORMAT_MULAW
	b = le.AppendUint16(b, 1)
	b = le.AppendUint32(b, sampleRate)
	b = le.AppendUint32(b, sampleRate)
	b = le.AppendUint16(b, 1)
	b = le.AppendUint16(b, 8)
	b = le.AppendUint16(b, 0)
	b = append(b, "data"...)
	b = le.AppendUint32(b, uint32(n))
	for i := range n {
		if i/10%2 == 0 { // 400 Hz
			b = append(b, mark)
		} else {
			b = append(b, mark^0x80)
		}
	}
	return b
}

// isPrompt says whether at least a quarter of a packet is the prompt of mark: its first and last packets
// may be partly something else.
func isPrompt(payload []byte, mark byte) bool {
	n := 0
	for _, b := range payload {
		if b|0x80 == mark|0x80 {
			n++
		}
	}
	return n > 0 && n >= len(payload)/4
}
