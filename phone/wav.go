package phone

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
)

// wavHeader is the RIFF header of n samples of 8 kHz 16-bit mono PCM.
func wavHeader(n int) []byte {
	le := binary.LittleEndian
	b := append(make([]byte, 0, 44), "RIFF"...)
	b = le.AppendUint32(b, uint32(36+2*n))
	b = append(b, "WAVEfmt "...)
	b = le.AppendUint32(b, 16)
	b = le.AppendUint16(b, 1) // PCM
	b = le.AppendUint16(b, 1) // channel
	b = le.AppendUint32(b, sampleRate)
	b = le.AppendUint32(b, 2*sampleRate)
	b = le.AppendUint16(b, 2)  // bytes a sample
	b = le.AppendUint16(b, 16) // bits a sample
	b = append(b, "data"...)
	return le.AppendUint32(b, uint32(2*n))
}

// wavWriter writes a recording that can be read at any time: its header is brought up to date every
// second of audio and at the end.
type wavWriter struct {
	f       *os.File
	n, hdr  int // samples in the file, and as its header says
	maximum int
}

func createWAV(path string, maximum int) (*wavWriter, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("phone: cannot record: %w", err)
	}
	if _, err := f.Write(wavHeader(0)); err != nil {
		return nil, errors.Join(fmt.Errorf("phone: cannot record: %w", err), f.Close())
	}
	return &wavWriter{f: f, maximum: maximum}, nil
}

// write appends samples; what is beyond the maximum length is dropped.
func (w *wavWriter) write(pcm []int16) error {
	pcm = pcm[:min(len(pcm), w.maximum-w.n)]
	b := make([]byte, 0, 2*len(pcm))
	for _, s := range pcm {
		b = binary.LittleEndian.AppendUint16(b, uint16(s))
	}
	if _, err := w.f.Write(b); err != nil {
		return fmt.Errorf("phone: recording: %w", err)
	}
	w.n += len(pcm)
	if w.n-w.hdr >= sampleRate {
		return w.header()
	}
	return nil
}

func (w *wavWriter) header() error {
	w.hdr = w.n
	if _, err := w.f.WriteAt(wavHeader(w.n), 0); err != nil {
		return fmt.Errorf("phone: recording: %w", err)
	}
	return nil
}

func (w *wavWriter) close() error { return errors.Join(w.header(), w.f.Close()) }

// ReadWAV reads a file of 8 kHz 16-bit mono PCM, the form of the recordings.
func ReadWAV(path string) ([]int16, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("phone: %w", err)
	}
	pcm, err := parseWAV(b)
	if err != nil {
		return nil, fmt.Errorf("phone: %s: %w", path, err)
	}
	return pcm, nil
}

func parseWAV(b []byte) ([]int16, error) {
	if len(b) < 12 || string(b[:4]) != "RIFF" || string(b[8:12]) != "WAVE" {
		return nil, errors.New("not a WAV file")
	}
	le := binary.LittleEndian
	ours := false
	for b = b[12:]; len(b) >= 8; {
		id, size := string(b[:4]), int64(le.Uint32(b[4:]))
		b = b[8:]
		chunk := b[:min(size, int64(len(b)))]
		switch id {
		case "fmt ":
			if len(chunk) < 16 || le.Uint16(chunk) != 1 || le.Uint16(chunk[2:]) != 1 ||
				le.Uint32(chunk[4:]) != sampleRate || le.Uint16(chunk[14:]) != 16 {
				return nil, errors.New("not 8 kHz 16-bit mono PCM; convert it, as with: sox in.wav -r 8000 -c 1 -b 16 out.wav")
			}
			ours = true
		case "data":
			if !ours {
				return nil, errors.New("no format before the samples")
			}
			pcm := make([]int16, len(chunk)/2)
			for i := range pcm {
				pcm[i] = int16(le.Uint16(chunk[2*i:]))
			}
			return pcm, nil
		}
		b = b[min(size+size&1, int64(len(b))):]
	}
	return nil, errors.New("no samples")
}
