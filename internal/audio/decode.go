package audio

import (
	"bytes"
	"errors"
	"fmt"
	"mime"
	"strings"
	"time"
)

const (
	// MaxFile is the largest file Decode takes, in bytes.
	MaxFile = 64 << 20
	// MaxDuration is the longest audio Decode makes: 28.8 MB as a clip. Twilio may drop a call after 40 min of <Play>.
	MaxDuration = time.Hour
)

// ErrUnsupported means that the data is no audio this package can decode.
var ErrUnsupported = errors.New("unsupported audio")

// errTooLong ends a decoder whose output has reached MaxDuration.
var errTooLong = fmt.Errorf("audio: longer than %v: cut the file or play it in parts", MaxDuration)

// Decode turns a file into a clip, mixing channels to one and resampling to 8 kHz. The bytes decide what it is: WAV
// (PCM of 8 to 32 bits, 32 and 64 bit float, µ-law, A-law), AIFF and AIFF-C, .au, MP3 (MPEG 1 and 2, layer III). Raw
// µ-law and A-law have nothing to be known by and go by contentType, a MIME type with or without parameters.
// Errors are about the file; ErrUnsupported says that the format is not for us.
func Decode(contentType string, data []byte) (clip *Clip, err error) {
	if len(data) > MaxFile {
		return nil, fmt.Errorf("audio: file of %d bytes; %d is the most", len(data), MaxFile)
	}
	defer func() {
		if p := recover(); p != nil { // the MP3 decoder indexes by what it reads
			clip, err = nil, fmt.Errorf("audio: malformed file: %v", p)
		}
	}()
	media, _, _ := mime.ParseMediaType(contentType)
	if media == "" {
		media = strings.ToLower(strings.TrimSpace(contentType))
	}
	switch {
	case bytes.HasPrefix(data, []byte("RIFF")), bytes.HasPrefix(data, []byte("RIFX")), bytes.HasPrefix(data, []byte("RF64")):
		return decodeWAV(data)
	case bytes.HasPrefix(data, []byte("FORM")):
		return decodeAIFF(data)
	case bytes.HasPrefix(data, []byte(".snd")):
		return decodeAU(data)
	case isMP3(data):
		return decodeMP3(data)
	case bytes.HasPrefix(data, []byte("OggS")):
		return nil, fmt.Errorf("audio: %w: Ogg; convert it to WAV or MP3", ErrUnsupported)
	case bytes.HasPrefix(data, []byte("fLaC")):
		return nil, fmt.Errorf("audio: %w: FLAC; convert it to WAV or MP3", ErrUnsupported)
	}
	switch media {
	case "audio/basic", "audio/ulaw", "audio/x-ulaw", "audio/mulaw", "audio/x-mulaw", "audio/pcmu":
		return decodeRaw(data, ulawFormat)
	case "audio/alaw", "audio/x-alaw", "audio/x-alaw-basic", "audio/pcma":
		return decodeRaw(data, alawFormat)
	case "audio/gsm", "audio/x-gsm":
		return nil, fmt.Errorf("audio: %w: GSM 06.10; convert it to WAV or MP3", ErrUnsupported)
	case "audio/mpeg", "audio/mp3", "audio/x-mpeg", "audio/x-mp3", "audio/mpeg3", "audio/x-mpeg-3":
		return decodeMP3(data) // frames may begin after bytes we do not know
	}
	return nil, fmt.Errorf("audio: %w: neither WAV, AIFF, MP3 nor .au, and content type %q is not raw µ-law", ErrUnsupported, contentType)
}

func decodeRaw(data []byte, law sampleFormat) (*Clip, error) {
	return decodeLinear(data, law, 1, SampleRate)
}

// An Encoder makes µ-law at 8 kHz of a stream of samples of any rate.
type Encoder struct {
	resample *resampler // nil when the source has our rate
	pcm      []int16    // scratch
}

// NewEncoder makes an encoder of samples of rate Hz; rates from 4,000 to 384,000 can be converted.
func NewEncoder(rate int) (*Encoder, error) {
	if rate == SampleRate {
		return &Encoder{}, nil
	}
	r, err := newResampler(rate, SampleRate)
	return &Encoder{resample: r}, err
}

// Append appends what pcm gives to dst. The last 2 ms are held back until it is known what follows.
func (e *Encoder) Append(dst []byte, pcm []int16) []byte {
	if e.resample != nil {
		e.pcm = e.resample.write(e.pcm[:0], pcm)
		pcm = e.pcm
	}
	return AppendULaw(dst, pcm)
}

// Flush appends what was held back: nothing follows.
func (e *Encoder) Flush(dst []byte) []byte {
	if e.resample == nil {
		return dst
	}
	return AppendULaw(dst, e.resample.flush(e.pcm[:0]))
}

// A writer collects samples of any rate as µ-law at 8 kHz, in pieces, so that an hour of 48 kHz stereo
// never lies in memory as such.
type writer struct {
	encoder *Encoder
	ulaw    []byte
}

func newWriter(rate int, sizeHint int64) (*writer, error) {
	e, err := NewEncoder(rate)
	if err != nil {
		return nil, err
	}
	hint := min(max(0, sizeHint)*SampleRate/int64(rate), int64(samples(MaxDuration))) + FrameSamples
	return &writer{encoder: e, ulaw: make([]byte, 0, hint)}, nil
}

func (w *writer) write(pcm []int16) error {
	if w.ulaw = w.encoder.Append(w.ulaw, pcm); len(w.ulaw) > samples(MaxDuration) {
		return errTooLong
	}
	return nil
}

func (w *writer) clip() (*Clip, error) {
	w.ulaw = w.encoder.Flush(w.ulaw)
	if len(w.ulaw) == 0 {
		return nil, errors.New("audio: the file holds no samples")
	}
	return NewClip(w.ulaw), nil
}
