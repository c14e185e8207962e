package media

import (
	"strings"
	"time"

	"github.com/offhook/offhook/internal/audio"
)

const (
	// maxQueued bounds a stream's queue of clips; a session queues a few ahead.
	maxQueued = 1024
	// maxDigits bounds one PlayDigits.
	maxDigits = 512

	toneFrames = 6 // a key lasts 120 ms; receivers need 40 (ITU-T Q.24), slow ones 100
	gapFrames  = 4 // and 80 ms pass before the next
	endPackets = 3 // RFC 4733 section 2.5.1.4: the end of an event is sent three times

	eventVolume = 10 // -10 dBm0

	shortPause = int(500 * time.Millisecond / audio.FrameDuration) // w, in frames
	longPause  = int(time.Second / audio.FrameDuration)            // W
)

// playout is what a stream has to say, one frame at a time: clips and keys in the order they were
// queued, silence after them. It knows nothing of packets or sockets.
type playout struct {
	queue []item
	tones *tones
	// The key being sent, as events or as a tone: whichever it began with it keeps.
	inKey    bool
	asEvents bool
	keyFrame int // frames of the key or pause that went by
	// The end of a key that was flushed, and how many of its packets are still to be sent.
	cut     telephoneEvent
	cutLeft int
}

// item is a clip, or the rest of a string of keys and pauses.
type item struct {
	clip *audio.Clip
	pos  int  // the clip's next frame
	loop bool // from the start again at its end
	keys string
	done chan struct{} // closed with the last frame
}

func (it *item) ended() bool {
	return it.keys == "" && (it.clip == nil || it.pos == it.clip.Frames())
}

// frame is 20 ms of sound: µ-law samples, nil for silence, or a packet of a telephone-event.
type frame struct {
	ulaw    []byte
	isEvent bool
	first   bool // of its event
	event   telephoneEvent
}

// tones are the keys as sound, in the order of eventKeys, gap included.
type tones [len(eventKeys)]*audio.Clip

func makeTones() *tones {
	t := new(tones)
	for i := range eventKeys {
		tone := audio.EncodeULaw(audio.DTMF(eventKeys[i], toneFrames*audio.FrameDuration))
		t[i] = audio.NewClip(append(tone, audio.Silence(gapFrames*audio.FrameDuration).ULaw()...))
	}
	return t
}

// add queues it; false when the queue is full.
func (p *playout) add(it item) bool {
	if len(p.queue) >= maxQueued {
		return false
	}
	p.queue = append(p.queue, it)
	return true
}

// flush drops everything, the present sound included. A key that is being sent as an event is let go of: the other
// side would believe it held.
func (p *playout) flush() {
	const packets = toneFrames + endPackets - 1
	if p.inKey && p.asEvents && p.keyFrame < packets {
		if event, ok := eventOf(p.queue[0].keys[0]); ok {
			p.cut = telephoneEvent{
				event: event, end: true, volume: eventVolume,
				duration: uint16(min(p.keyFrame, toneFrames) * audio.FrameSamples),
			}
			p.cutLeft = min(endPackets, packets-p.keyFrame)
		}
	}
	for _, it := range p.queue {
		close(it.done)
	}
	clear(p.queue)
	p.queue, p.inKey = p.queue[:0], false
}

// next is the frame to send now; keys go out as events when the other side takes them.
func (p *playout) next(events bool) frame {
	if p.cutLeft > 0 && events {
		p.cutLeft--
		return frame{isEvent: true, event: p.cut}
	}
	p.cutLeft = 0
	for len(p.queue) > 0 {
		it := &p.queue[0]
		if it.ended() { // an empty clip
			p.pop()
			continue
		}
		var f frame
		if it.clip != nil {
			f.ulaw = it.clip.Frame(it.pos)
			if it.pos++; it.loop && it.pos == it.clip.Frames() {
				it.pos = 0
			}
		} else {
			f = p.key(it, events)
		}
		if it.ended() {
			p.pop()
		}
		return f
	}
	return frame{}
}

func (p *playout) pop() {
	close(p.queue[0].done)
	n := copy(p.queue, p.queue[1:])
	p.queue[n] = item{}
	p.queue = p.queue[:n]
}

// key is the next frame of the first key or pause of it.
func (p *playout) key(it *item, events bool) (f frame) {
	if !p.inKey {
		p.inKey, p.asEvents, p.keyFrame = true, events, 0
	}
	frames := toneFrames + gapFrames
	switch k := it.keys[0]; k {
	case 'w':
		frames = shortPause
	case 'W':
		frames = longPause
	default:
		event, _ := eventOf(k)
		switch n := p.keyFrame; {
		case !p.asEvents:
			f.ulaw = p.tones[event].Frame(n)
		case n < toneFrames+endPackets-1:
			f.isEvent, f.first = true, n == 0
			f.event = telephoneEvent{
				event:    event,
				end:      n >= toneFrames-1,
				volume:   eventVolume,
				duration: uint16(min(n+1, toneFrames) * audio.FrameSamples),
			}
		}
	}
	if p.keyFrame++; p.keyFrame == frames {
		it.keys, p.inKey = it.keys[1:], false
	}
	return f
}

// playableKeys is digits without what cannot be sent.
func playableKeys(digits string) string {
	digits = strings.Map(func(r rune) rune {
		if r == 'w' || r == 'W' {
			return r
		}
		if r < 0x80 {
			if e, ok := eventOf(byte(r)); ok {
				return rune(eventKeys[e])
			}
		}
		return -1
	}, digits)
	return digits[:min(len(digits), maxDigits)]
}
