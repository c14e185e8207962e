package audio

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	mp3 "github.com/hajimehoshi/go-mp3"
)

// isMP3 knows a file by its ID3v2 tag or by the header of an MPEG layer III frame.
func isMP3(data []byte) bool {
	if bytes.HasPrefix(data, []byte("ID3")) {
		return true
	}
	if len(data) < 4 {
		return false
	}
	h := binary.BigEndian.Uint32(data)
	return h>>21 == 0x7FF && // sync word
		h>>19&3 != 1 && // MPEG version, 1 is reserved
		h>>17&3 == 1 && // layer III
		h>>12&15 != 15 && // bit rate
		h>>10&3 != 3 // sample rate
}

// decodeMP3 decodes MPEG 1 and 2, layer III.
func decodeMP3(data []byte) (*Clip, error) {
	if data = skipID3(data); len(data) < 4 {
		return nil, errors.New("audio: MP3 file without audio")
	}
	if h := binary.BigEndian.Uint32(data); h>>21 == 0x7FF && h>>19&3 == 0 {
		return nil, fmt.Errorf("audio: %w: MPEG 2.5 (an MP3 at 8, 11.025 or 12 kHz); use WAV, or an MP3 at 16 kHz or more", ErrUnsupported)
	}
	// Without Seek the decoder does not go through the whole file first.
	dec, err := mp3.NewDecoder(struct{ io.Reader }{bytes.NewReader(data)})
	if err != nil {
		return nil, fmt.Errorf("audio: malformed MP3: %w", err)
	}
	w, err := newWriter(dec.SampleRate(), 0)
	if err != nil {
		return nil, err
	}
	var (
		buf  [4 * 1152]byte // one frame: 16 bits, always two channels
		mono [1152]int16
	)
	for {
		n, err := io.ReadFull(dec, buf[:])
		for i := range n / 4 {
			left, right := int16(binary.LittleEndian.Uint16(buf[4*i:])), int16(binary.LittleEndian.Uint16(buf[4*i+2:]))
			mono[i] = int16((int32(left) + int32(right)) / 2)
		}
		if err := w.write(mono[:n/4]); err != nil {
			return nil, err
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return w.clip()
		default:
			return nil, fmt.Errorf("audio: malformed MP3: %w", err)
		}
	}
}

// skipID3 cuts ID3v2 tags off the front: the decoder would allocate what their length field says.
func skipID3(data []byte) []byte {
	for len(data) >= 10 && string(data[:3]) == "ID3" {
		size := 10
		for i, b := range data[6:10] { // 28 bits, seven a byte (ID3v2.4 section 3.1)
			size += int(b&0x7F) << (21 - 7*i)
		}
		if data[5]&0x10 != 0 {
			size += 10 // a footer
		}
		data = data[min(size, len(data)):]
	}
	return data
}
