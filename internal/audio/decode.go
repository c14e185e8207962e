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

// A writer collects samples of any rate as µ-law at 8 kHz, in pieces, so that an hour of 48 kHz stereo
// never lies in memory as such.
type writer struct {
	resample *resampler // nil when the source has our rate
	pcm      []int16    // scratch
	ulaw     []byte
}

func newWriter(rate int, sizeHint int64) (*writer, error) {
	w := &writer{}
	if rate != SampleRate {
		r, err := newResampler(rate, SampleRate)
		if err != nil {
			return nil, err
		}
		w.resample = r
	}
	hint := min(max(0, sizeHint)*SampleRate/int64(rate), int64(samples(MaxDuration))) + FrameSamples
	w.ulaw = make([]byte, 0, hint)
	return w, nil
}

func (w *writer) write(pcm []int16) error {
	if w.resample != nil {
		w.pcm = w.resample.write(w.pcm[:0], pcm)
		pcm = w.pcm
	}
	if len(w.ulaw)+len(pcm) > samples(MaxDuration) {
		return errTooLong
	}
	w.ulaw = AppendULaw(w.ulaw, pcm)
	return nil
}

func (w *writer) clip() (*Clip, error) {
	if w.resample != nil {
		w.ulaw = AppendULaw(w.ulaw, w.resample.flush(w.pcm[:0]))
	}
	if len(w.ulaw) == 0 {
		return nil, errors.New("audio: the file holds no samples")
	}
	return NewClip(w.ulaw), nil
}
