package media

import (
	"slices"

	"github.com/offhook/offhook/internal/audio"
)

// tapDelay is how far behind the network a tap is, 160 ms: nobody waits for it, and what comes that late still finds
// its place. A recording takes up to 250 ms.
const tapDelay = 8 * jitterFrame

// maxConcealed is how many lost frames in a row are made up from the last one that came.
const maxConcealed = 3

// tapped is what a stream needs whose samples somebody gets.
type tapped struct {
	taps    []audio.Tap
	in, out track
}

// track puts one side's packets into order and time.
type track struct {
	buffer    JitterBuffer
	frame     [audio.FrameSamples]byte
	concealed int
}

// Tap gives t what s's party says and hears, from the next frame on, until untap is called; it is called with
// both tracks of a frame one after the other, by one goroutine at a time. A stream that has ended gives nothing.
func (s *Stream) Tap(t audio.Tap) (untap func()) {
	s.post(command{do: func(f *flow) {
		if f.tapped == nil {
			f.tapped = &tapped{in: track{buffer: JitterBuffer{delay: tapDelay}}, out: track{buffer: JitterBuffer{delay: tapDelay}}}
		}
		f.tapped.taps = append(f.tapped.taps, t)
	}})
	return func() {
		s.post(command{do: func(f *flow) { f.untap(t) }})
	}
}

func (f *flow) untap(t audio.Tap) {
	if f.tapped == nil {
		return
	}
	f.tapped.taps = slices.DeleteFunc(f.tapped.taps, func(other audio.Tap) bool { return other == t })
	if len(f.tapped.taps) == 0 {
		f.tapped = nil
	}
}

// put takes a packet of audio.
func (t *track) put(w *worker, ts uint32, c codec, payload []byte) {
	if c == pcma {
		if len(payload) > len(w.ulaw) {
			return
		}
		audio.ALawToULaw(w.ulaw[:len(payload)], payload)
		payload = w.ulaw[:len(payload)]
	}
	t.buffer.Put(ts, payload)
}

// next is the frame whose turn it is, nil when it is silence. One that was lost on the way sounds like the one
// before it, ever softer: a hole would be heard more.
func (t *track) next() []byte {
	before := t.buffer.stats.Lost
	var frame [audio.FrameSamples]byte
	switch heard := t.buffer.Read(frame[:]); {
	case heard:
		t.frame, t.concealed = frame, 0
	case t.buffer.stats.Lost-before == audio.FrameSamples && t.concealed < maxConcealed:
		t.concealed++
		audio.Soften(t.frame[:])
	default:
		t.concealed = maxConcealed
		return nil
	}
	return t.frame[:]
}

// tick gives the taps frame number n: own is what we sent of our own in it, nil for nothing. What came by network
// plays tapDelay behind, and is put back where it belongs.
func (t *tapped) tick(n int64, own []byte) {
	at := n * audio.FrameSamples
	in, out := t.in.next(), t.out.next()
	for _, tap := range t.taps {
		tap.Write(audio.Inbound, at-tapDelay, in)
		if out != nil {
			tap.Write(audio.Outbound, at-tapDelay, out)
		}
		tap.Write(audio.Outbound, at, own)
	}
}

// drain gives the taps what came by network and waits for its turn, when frame n was the last.
func (t *tapped) drain(n int64) {
	for range tapDelay / audio.FrameSamples {
		n++
		at := n*audio.FrameSamples - tapDelay
		in, out := t.in.next(), t.out.next()
		for _, tap := range t.taps {
			tap.Write(audio.Inbound, at, in)
			tap.Write(audio.Outbound, at, out)
		}
	}
}
