package media

import (
	"slices"

	"github.com/offhook/offhook/internal/audio"
)

const (
	// tapGrace is how long a tap waits for what comes by network before it takes the rest for silence, 160 ms.
	// What is later still gets to it.
	tapGrace = 8 * audio.FrameSamples
	// maxConcealed is how many lost frames in a row are made up from the last one that came.
	maxConcealed = 3
	// slotSamples is how far the clocks of two streams are apart whose frames are sent a slot after each other.
	slotSamples = audio.FrameSamples / slots
	// maxSlip is how many samples the correction of a clock may leave out between two packets.
	maxSlip = 2
)

// tapped is what a stream needs whose samples somebody gets.
type tapped struct {
	tap     audio.Tap   // the first: most often the only one
	more    []audio.Tap // the others
	in, out concealer
}

// concealer fills what was lost on the way: silence there would be heard more than the sound before it, ever softer.
type concealer struct {
	begun bool
	seq   uint16 // of the newest packet
	end   int64  // where its samples end
	frame [audio.FrameSamples]byte
	n     int // samples in frame
}

// Tap gives t what s's party says and hears, from the next frame on, until untap is called; it is called by one
// goroutine at a time. A stream that has ended gives nothing.
func (s *Stream) Tap(t audio.Tap) (untap func()) {
	s.post(command{do: func(f *flow) {
		if f.tapped == nil {
			f.tapped = &tapped{tap: t}
		} else {
			f.tapped.more = append(f.tapped.more, t)
		}
	}})
	return func() {
		s.post(command{do: func(f *flow) { f.untap(t) }})
	}
}

func (f *flow) untap(t audio.Tap) {
	if f.tapped == nil {
		return
	}
	others := slices.DeleteFunc(append([]audio.Tap{f.tapped.tap}, f.tapped.more...), func(other audio.Tap) bool { return other == t })
	if len(others) == 0 {
		f.tapped = nil
		return
	}
	f.tapped.tap, f.tapped.more = others[0], others[1:]
}

// taped reports whether somebody gets what f's party says.
func (f *flow) taped() bool {
	return f.tapped != nil || slices.ContainsFunc(f.audience, func(l *flow) bool { return l.tapped != nil })
}

// arrived is where f's clock was when a packet came: frame n begins at n times its samples. at is Unix nanoseconds,
// 0 for now.
func (f *flow) arrived(w *worker, at int64) int64 {
	now := w.now()
	ago := int64(0)
	if at != 0 {
		ago = max(0, now.UnixNano()-at)
	}
	const perMilli = audio.SampleRate / 1000 // nanoseconds times 8000 would overflow in a fortnight
	return (int64(now.Sub(w.time(int64(f.slot)))) - ago) * perMilli / 1e6
}

// tapShared gives l's taps a packet that l's party was sent, which stands at place on f's clock.
func (f *flow) tapShared(w *worker, l *flow, place int64, seq uint16, c codec, payload []byte) {
	if l.tapped != nil {
		l.tapped.take(w, audio.Outbound, place+int64(f.slot-l.slot)*slotSamples, seq, c, payload)
	}
}

// take gives the taps a packet of audio, and what was lost before it.
func (t *tapped) take(w *worker, track int, at int64, seq uint16, c codec, payload []byte) {
	if len(payload) == 0 || len(payload) > len(w.ulaw) {
		return
	}
	if c == pcma {
		audio.ALawToULaw(w.ulaw[:len(payload)], payload)
		payload = w.ulaw[:len(payload)]
	}
	side := &t.in
	if track == audio.Outbound {
		side = &t.out
	}
	if side.begun {
		switch gap := at - side.end; {
		case gap <= 0:
		case gap <= maxSlip:
			side.stretch(t, track, gap)
		case int16(seq-side.seq) > 1:
			side.conceal(t, track, min(gap, maxConcealed*audio.FrameSamples))
		}
	}
	t.write(track, at, payload)
	if end := at + int64(len(payload)); !side.begun || end > side.end || int16(seq-side.seq) > 0 {
		side.begun, side.seq, side.end = true, seq, end
		side.n = copy(side.frame[:], payload[max(0, len(payload)-len(side.frame)):])
	}
}

// skip says that a packet has no audio: it is not lost.
func (c *concealer) skip(seq uint16) {
	if c.begun && int16(seq-c.seq) > 0 {
		c.seq = seq
	}
}

// stretch writes the newest sample n times more.
func (c *concealer) stretch(t *tapped, track int, n int64) {
	var again [maxSlip]byte
	for i := range again {
		again[i] = c.frame[c.n-1]
	}
	t.write(track, c.end, again[:n])
}

// conceal writes n samples behind the newest.
func (c *concealer) conceal(t *tapped, track int, n int64) {
	for n > 0 {
		audio.Soften(c.frame[:c.n])
		part := c.frame[:min(n, int64(c.n))]
		t.write(track, c.end, part)
		c.end, n = c.end+int64(len(part)), n-int64(len(part))
	}
}

func (t *tapped) write(track int, at int64, ulaw []byte) {
	t.tap.Write(track, at, ulaw)
	for _, tap := range t.more {
		tap.Write(track, at, ulaw)
	}
}

// tick tells the taps that frame number n is over: own is what we sent of our own in it, nil for nothing.
func (t *tapped) tick(n int64, own []byte) {
	at := n * audio.FrameSamples
	in := at + audio.FrameSamples - tapGrace
	t.tap.Tick(at, own, in)
	for _, tap := range t.more {
		tap.Tick(at, own, in)
	}
}

// drain tells the taps that nothing more comes, when frame n was the last.
func (t *tapped) drain(n int64) {
	t.write(audio.Inbound, (n+1)*audio.FrameSamples, nil)
}
