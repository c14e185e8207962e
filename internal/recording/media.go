package recording

import (
	"context"
	"errors"
	"fmt"
	"io"

	"filippo.io/age"

	"github.com/offhook/offhook/internal/audio"
)

// Media is a kept recording as a 16-bit PCM WAV file. It is for one goroutine.
type Media struct {
	ulaw     io.ReaderAt // the file as it is kept, decrypted
	channels int         // in it
	out      int         // in what is read
	header   []byte
	samples  int64
	pos      int64
	raw      []byte
	pcm      []int16
}

// Open opens the recording that was put as key. channels is how many are wanted: those it has, or 1 of a
// recording of two, which are mixed. Its errors are ErrGone, ErrSealed and those of the store.
func (b *Blobs) Open(ctx context.Context, key string, encrypted bool, channels int) (*Media, error) {
	blob, err := b.reader(ctx, key)
	if err != nil {
		return nil, err
	}
	m := &Media{ulaw: blob, out: channels}
	size := blob.size
	if encrypted {
		if len(b.identities) == 0 {
			return nil, ErrSealed
		}
		var none *age.NoIdentityMatchError
		m.ulaw, size, err = age.DecryptReaderAt(blob, blob.size, b.identities...)
		if errors.As(err, &none) {
			return nil, ErrSealed
		}
		if err != nil {
			return nil, fmt.Errorf("recording: open %s: %w", key, err)
		}
	}
	header := make([]byte, headerSize)
	if _, err := m.ulaw.ReadAt(header, 0); err != nil {
		return nil, fmt.Errorf("recording: open %s: %w", key, err)
	}
	if m.channels, err = spoolChannels(header); err != nil {
		return nil, fmt.Errorf("recording: open %s: %w", key, err)
	}
	if m.out < 1 || m.out > m.channels {
		return nil, fmt.Errorf("recording: %d channels of a recording of %d", m.out, m.channels)
	}
	m.samples = (size - headerSize) / int64(m.channels)
	m.header = pcmHeader(m.out, m.samples)
	return m, nil
}

// Size is that of the PCM file in bytes.
func (m *Media) Size() int64 { return pcmHeaderSize + m.samples*int64(2*m.out) }

// Samples is how many each channel has.
func (m *Media) Samples() int64 { return m.samples }

// Seek is io.Seeker's.
func (m *Media) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += m.pos
	case io.SeekEnd:
		offset += m.Size()
	}
	if offset < 0 {
		return 0, errors.New("recording: seek before the beginning")
	}
	m.pos = offset
	return offset, nil
}

// Read is io.Reader's.
func (m *Media) Read(p []byte) (int, error) {
	if m.pos >= m.Size() {
		return 0, io.EOF
	}
	if m.pos < pcmHeaderSize {
		n := copy(p, m.header[m.pos:])
		m.pos += int64(n)
		return n, nil
	}
	// Whole samples of all channels around the bytes that are asked for.
	const most = 8192 // samples at once
	frame := int64(2 * m.out)
	at := m.pos - pcmHeaderSize
	first, skip := at/frame, int(at%frame)
	count := min((int64(skip+len(p))+frame-1)/frame, most, m.samples-first)
	need := int(count) * m.channels
	if cap(m.raw) < need {
		m.raw = make([]byte, need)
	}
	raw := m.raw[:need]
	if n, err := m.ulaw.ReadAt(raw, headerSize+first*int64(m.channels)); n < need {
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return 0, err
	}
	m.pcm = audio.AppendDecodedULaw(m.pcm[:0], raw)
	if m.out < m.channels {
		m.pcm = sum(m.pcm)
	}
	n := 0
	for i := skip; i < 2*len(m.pcm) && n < len(p); i++ {
		p[n] = byte(uint16(m.pcm[i/2]) >> (8 * (i % 2)))
		n++
	}
	m.pos += int64(n)
	return n, nil
}
