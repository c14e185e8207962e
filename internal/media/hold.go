package media

import "github.com/offhook/offhook/internal/audio"

// hold is a party that was put aside by us: it hears music, or nothing, and nobody hears it. What was playing
// waits where it stands. Its phone knows nothing of that: RTP goes on both ways.
type hold struct {
	music *audio.Clip // again and again; nil for silence
	pos   int         // its next frame
}

// Mute makes what s's party says silence, for whoever hears it and for the taps. Its keys are still told.
func (s *Stream) Mute(on bool) {
	s.post(command{do: func(f *flow) { f.muted = on }})
}

// PutAside keeps s's party on hold with music, nil for silence, until TakeBack: it hears nothing else, and what it
// says and presses goes nowhere. What is playing or queued waits. Taps get silence of both, not the music.
func (s *Stream) PutAside(music *audio.Clip) {
	if music != nil && music.Frames() == 0 {
		music = nil
	}
	s.post(command{do: func(f *flow) { f.aside = &hold{music: music} }})
}

// TakeBack ends PutAside: what was playing goes on with its next sample.
func (s *Stream) TakeBack() {
	s.post(command{do: func(f *flow) { f.aside = nil }})
}

// sound is what f's party hears now of our own.
func (f *flow) sound() frame {
	h := f.aside
	if h == nil || f.play.inKey { // a key that has begun ends first: its receiver would take it for held down
		return f.play.next(f.setup.event.codec == event)
	}
	if h.music == nil {
		return frame{}
	}
	fr := frame{ulaw: h.music.Frame(h.pos)}
	h.pos = (h.pos + 1) % h.music.Frames()
	return fr
}

// maxSilence is the largest payload there is silence for, 180 ms: more than any phone sends.
const maxSilence = 9 * audio.FrameSamples

var silentULaw, silentALaw = func() (u, a [maxSilence]byte) {
	for i := range u {
		u[i], a[i] = audio.ULawSilence, alawSilence
	}
	return u, a
}()

const alawSilence = 0xD5

// spoken is what f's party said as others get it: silence when it is muted or put aside.
func (f *flow) spoken(c codec, payload []byte) []byte {
	switch {
	case !f.muted && f.aside == nil:
		return payload
	case c == pcma:
		return silentALaw[:min(len(payload), maxSilence)]
	}
	return silentULaw[:min(len(payload), maxSilence)]
}
