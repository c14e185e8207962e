package media

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/offhook/offhook/internal/audio"
)

// hearing follows what a stream's party says, frame by frame, for those who have to know as it comes. Recordings do
// not use it: nobody waits for them, so that they find a place for what is too late here.
type hearing struct {
	buffer  jitterBuffer
	conceal audio.Concealer
	noise   float64             // amplitude of comfort noise
	tones   *audio.DTMFDetector // keys as tones, when telephone-event was not agreed on; else nil
	tonesTo uint32              // time stamp of the first sample that tones did not get
	ears    []*ear
	frame   int64 // of the clock, the last one
	pcm     [audio.FrameSamples]int16
}

// maxBehind is how many frames that a worker did not come to are made good at once: what the buffer holds of them.
const maxBehind = jitterRing / jitterFrame

// ear is somebody who listens.
type ear struct{ hear func(pcm []int16) }

// Listen lets hear have what s's party says, in frames of 20 ms, one after the other and silence included, until stop
// is called or the stream ends. They come 20 to 80 ms after the network brought them, as its jitter needs it; what
// was lost is made up. hear is called from a worker: it must not block, call the stream, or keep pcm.
func (s *Stream) Listen(hear func(pcm []int16)) (stop func()) {
	e := &ear{hear}
	s.post(command{do: func(f *flow) {
		f.attend()
		f.hearing.ears = append(f.hearing.ears, e)
	}})
	return func() {
		s.post(command{do: func(f *flow) {
			if f.hearing != nil {
				f.hearing.ears = slices.DeleteFunc(f.hearing.ears, func(other *ear) bool { return other == e })
				f.ignore()
			}
		}})
	}
}

// hearKeys looks for keys in the sound itself, or no longer does.
func (f *flow) hearKeys(on bool) {
	switch {
	case !on && f.hearing != nil:
		f.hearing.tones = nil
		f.ignore()
	case on:
		if f.attend(); f.hearing.tones == nil {
			f.hearing.tones = new(audio.DTMFDetector)
		}
	}
}

func (f *flow) attend() {
	if f.hearing == nil {
		f.hearing = new(hearing)
	}
}

// ignore lets go of the sound when nobody listens.
func (f *flow) ignore() {
	if f.hearing.tones == nil && len(f.hearing.ears) == 0 {
		f.hearing = nil
	}
}

// put takes a packet of audio that came at that time of f's clock.
func (h *hearing) put(w *worker, at int64, ts uint32, c codec, payload []byte) {
	if c == pcma {
		if len(payload) > len(w.ulaw) {
			return
		}
		audio.ALawToULaw(w.ulaw[:len(payload)], payload)
		payload = w.ulaw[:len(payload)]
	}
	h.buffer.put(at, ts, payload)
}

// silent takes a packet of comfort noise, RFC 3389: its first byte is the level in -dBov, the spectrum that may
// follow is not made.
func (h *hearing) silent(at int64, ts uint32, payload []byte) {
	if len(payload) > 0 {
		const uniform = math.MaxInt16 * 1.7320508 // a uniform distribution's amplitude is its power's root times √3
		h.noise = min(uniform*math.Pow(10, -float64(payload[0]&0x7f)/20), math.MaxInt16)
		h.buffer.silent(at, ts)
	}
}

// available is when a packet that came at that time could be used first: one that is polled has waited for that.
func (f *flow) available(w *worker, at int64) int64 {
	if f.polling.on {
		return f.arrived(w, 0)
	}
	return at
}

// follow gives those who listen what f's party says until frame n of the clock.
func (f *flow) follow(w *worker, n int64) {
	h := f.hearing
	if h.frame == 0 {
		h.frame = n - 1
	}
	for h.frame = max(h.frame, n-maxBehind); h.frame < n; {
		h.frame++
		f.followOne(w)
	}
}

func (f *flow) followOne(w *worker) {
	h := f.hearing
	var ulaw [audio.FrameSamples]byte
	sound, ts := h.buffer.read(h.frame*audio.FrameSamples, &ulaw)
	switch sound {
	case missing:
	case quiet:
		for i := range h.pcm {
			h.pcm[i] = int16(h.noise * (2*rand.Float64() - 1))
		}
	case heard:
		audio.AppendDecodedULaw(h.pcm[:0], ulaw[:])
	}
	if sound != missing {
		f.hearTones(w, ts)
	}
	switch {
	case len(h.ears) == 0:
		return
	case sound == missing:
		h.conceal.Lost(h.pcm[:])
	default:
		h.conceal.Came(h.pcm[:])
	}
	for _, e := range h.ears {
		e.hear(h.pcm[:])
	}
}

// hearTones looks for keys in the frame stamped ts. What the detector did not get before it was lost; that the sound
// stopped for a while, and then went on where it was, is no loss.
func (f *flow) hearTones(w *worker, ts uint32) {
	h := f.hearing
	if h.tones == nil {
		return
	}
	if lost := int32(ts - h.tonesTo); lost > 0 {
		f.pressedAll(w, h.tones.Skip(units(uint32(lost))))
	}
	h.tonesTo = ts + audio.FrameSamples
	f.pressedAll(w, h.tones.Write(h.pcm[:]))
}

func (f *flow) pressedAll(w *worker, keys []byte) {
	for _, key := range keys {
		f.pressed(w, key)
	}
}
