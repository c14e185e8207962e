package audio

import (
	"encoding/binary"
	"fmt"
	"math"
)

// maxChannels is the most channels mixed down to one; surround files have 8.
const maxChannels = 16

// A sampleFormat is how uncompressed files store one sample.
type sampleFormat struct {
	bytes  int // per sample
	sample func(b []byte) int32
}

var (
	ulawFormat = sampleFormat{bytes: 1, sample: func(b []byte) int32 { return int32(ulawToLinear[b[0]]) }}
	alawFormat = sampleFormat{bytes: 1, sample: func(b []byte) int32 { return int32(alawToLinear[b[0]]) }}
)

// pcmFormat is linear PCM of 1 to 4 bytes; samples keep their upper 16 bits. Eight bits are
// offset binary in WAV and two's complement in AIFF and .au.
func pcmFormat(bytes int, order binary.ByteOrder, unsigned8 bool) (sampleFormat, bool) {
	big := order == binary.BigEndian
	f := sampleFormat{bytes: bytes}
	switch {
	case bytes == 1 && unsigned8:
		f.sample = func(b []byte) int32 { return (int32(b[0]) - 128) << 8 }
	case bytes == 1:
		f.sample = func(b []byte) int32 { return int32(int8(b[0])) << 8 }
	case bytes >= 2 && bytes <= 4 && big:
		f.sample = func(b []byte) int32 { return int32(int16(uint16(b[0])<<8 | uint16(b[1]))) }
	case bytes >= 2 && bytes <= 4:
		f.sample = func(b []byte) int32 { return int32(int16(uint16(b[bytes-1])<<8 | uint16(b[bytes-2]))) }
	default:
		return f, false
	}
	return f, true
}

// floatFormat is IEEE float of 4 or 8 bytes, full scale 1.
func floatFormat(bytes int, order binary.ByteOrder) (sampleFormat, bool) {
	f := sampleFormat{bytes: bytes}
	switch bytes {
	case 4:
		f.sample = func(b []byte) int32 { return fullScale(float64(math.Float32frombits(order.Uint32(b)))) }
	case 8:
		f.sample = func(b []byte) int32 { return fullScale(math.Float64frombits(order.Uint64(b))) }
	default:
		return f, false
	}
	return f, true
}

func fullScale(v float64) int32 {
	if v != v { // NaN
		return 0
	}
	return int32(clip16(float32(max(-1, min(1, v)) * math.MaxInt16)))
}

// decodeLinear turns interleaved uncompressed samples into a clip; a torn last sample is dropped.
func decodeLinear(data []byte, f sampleFormat, channels, rate int) (*Clip, error) {
	if channels < 1 || channels > maxChannels {
		return nil, fmt.Errorf("audio: %d channels; 1 to %d can be mixed", channels, maxChannels)
	}
	if rate < minRate || rate > maxRate {
		return nil, fmt.Errorf("audio: %w: %d Hz", errRate, rate)
	}
	step := f.bytes * channels
	total := len(data) / step
	w, err := newWriter(rate, int64(total))
	if err != nil {
		return nil, err
	}
	var buf [4096]int16
	for total > 0 {
		n := min(total, len(buf))
		for i := range buf[:n] {
			sum := int32(0)
			for c := range channels {
				sum += f.sample(data[i*step+c*f.bytes:])
			}
			buf[i] = int16(sum / int32(channels))
		}
		if err := w.write(buf[:n]); err != nil {
			return nil, err
		}
		data, total = data[n*step:], total-n
	}
	return w.clip()
}
