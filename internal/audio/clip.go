// Package audio is samples only: G.711, resampling, tones, WAV and MP3 decoding. It has no clock, no
// socket and no goroutine; who plays the samples, and when, is package media's business.
package audio

import "time"

const (
	// SampleRate is the rate of everything inside offhook, in Hz.
	SampleRate = 8000
	// FrameSamples is one 20 ms frame: 160 samples, and as many G.711 bytes.
	FrameSamples = 160
	// FrameDuration is the packet time (ptime) of every leg.
	FrameDuration = 20 * time.Millisecond
	// ULawSilence is the µ-law code of a zero sample.
	ULawSilence = 0xFF
)

// Clip is finished audio, ready to be sent: mono µ-law at 8,000 bytes a second, a whole number of
// frames (the last one padded with silence). A Clip is immutable and shared between calls.
type Clip struct{ ulaw []byte }

// NewClip makes a clip of µ-law samples, padding the last frame with silence. It takes ownership of ulaw.
func NewClip(ulaw []byte) *Clip {
	if r := len(ulaw) % FrameSamples; r != 0 {
		for range FrameSamples - r {
			ulaw = append(ulaw, ULawSilence)
		}
	}
	return &Clip{ulaw: ulaw}
}

// Silence is a clip of d of silence, rounded up to whole frames.
func Silence(d time.Duration) *Clip {
	n := int((d + FrameDuration - 1) / FrameDuration)
	b := make([]byte, n*FrameSamples)
	for i := range b {
		b[i] = ULawSilence
	}
	return &Clip{ulaw: b}
}

// ULaw is the clip's samples; callers must not change them.
func (c *Clip) ULaw() []byte { return c.ulaw }

// Frames is the clip's length in frames of 20 ms.
func (c *Clip) Frames() int { return len(c.ulaw) / FrameSamples }

// Frame is the i-th frame, FrameSamples µ-law bytes; callers must not change them.
func (c *Clip) Frame(i int) []byte { return c.ulaw[i*FrameSamples : (i+1)*FrameSamples] }

// Duration is the clip's playing time.
func (c *Clip) Duration() time.Duration { return time.Duration(c.Frames()) * FrameDuration }
