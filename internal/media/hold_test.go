package media

import (
	"testing"

	"github.com/pion/rtp"

	"github.com/offhook/offhook/internal/audio"
)

// count is a clip whose frames say which they are, from v on.
func count(v, frames int) *audio.Clip {
	var ulaw []byte
	for i := range frames {
		ulaw = append(ulaw, numbered(v+i)...)
	}
	return audio.NewClip(ulaw)
}

func TestAPartyThatIsPutAsideHearsMusicAndItsPromptWaits(t *testing.T) {
	onBoth(t, Config{}, func(t *testing.T, e *Engine) {
		p := newPhone(t)
		ears := newEars()
		s := p.call(e, ears)
		p.talk(1)
		done := s.Play(count(1, 40))
		p.readUntil("the prompt", says(3))
		s.PutAside(count(101, 3))
		heard := p.readUntil("music", says(101))
		for i := range 7 { // again and again
			next := p.read()
			if !says(byte(101+(i+1)%3))(next) || next.SequenceNumber != heard.SequenceNumber+1 || next.Timestamp != heard.Timestamp+audio.FrameSamples {
				t.Fatalf("frame %d of the music: %x after %+v: %+v", i, next.Payload[0], heard.Header, next.Header)
			}
			heard = next
		}
		select {
		case <-done:
			t.Error("the prompt went on")
		default:
		}
		p.press(96, '1') // nobody hears it
		for range 5 {    // frames in which it is read
			p.read()
		}
		s.TakeBack()
		back := p.readUntil("the prompt again", func(r rtp.Packet) bool { return r.Payload[0] < 101 })
		from := int(back.Payload[0])
		if from < 4 || from > 8 { // the frames that left while PutAside was on its way were heard before the music
			t.Errorf("it goes on with frame %d", from)
		}
		for v := from + 1; v <= 40; v++ {
			if next := p.read(); !says(byte(v))(next) {
				t.Fatalf("%x, want %x: a frame of the prompt is missing", next.Payload[0], v)
			}
		}
		<-done
		p.press(96, '2')
		ears.hears(t, "2")
	})
}

func TestThePartnerOfAPartyThatIsPutAsideHearsSilence(t *testing.T) {
	e := newTestEngine(t, Config{Workers: 2})
	a, b, sa, sb := pair(t, e, nil, nil)
	sa.Hear(sb)
	sb.Hear(sa)
	a.ts += 160
	a.send(0, numbered(11))
	b.readUntil("what a says", says(11))
	sa.PutAside(nil)
	tell(t, sa, func(*flow) {})
	for v := 12; v < 15; v++ {
		a.ts += 160
		a.send(0, numbered(v))
		b.ts += 160
		b.send(0, numbered(v+10))
	}
	a.press(96, '7')
	b.readUntil("silence for what a says", says(audio.ULawSilence))
	for range 20 {
		if p := b.read(); !says(audio.ULawSilence)(p) {
			t.Fatalf("b hears %x, type %d", p.Payload[0], p.PayloadType)
		}
		if p := a.read(); !says(audio.ULawSilence)(p) {
			t.Fatalf("a hears %x", p.Payload[0])
		}
	}
	sa.TakeBack()
	tell(t, sa, func(*flow) {})
	a.ts += 160
	a.send(0, numbered(16))
	b.readUntil("what a says again", says(16))
	b.ts += 160
	b.send(0, numbered(26))
	a.readUntil("what b says again", says(26))
}

func TestAMutedPartyIsSilentButItsKeysCount(t *testing.T) {
	e := newTestEngine(t, Config{Workers: 2})
	a, b, sa, sb := pair(t, e, nil, []string{"m=audio PORT RTP/AVP 8 101", "a=rtpmap:101 telephone-event/8000"})
	sa.Hear(sb)
	sb.Hear(sa)
	tap := newTape()
	defer sa.Tap(tap)()
	sa.Mute(true)
	tell(t, sa, func(*flow) {})
	alaw := make([]byte, audio.FrameSamples)
	audio.ULawToALaw(alaw, numbered(11))
	for range 5 {
		a.ts += 160
		a.send(0, numbered(11))
	}
	a.press(96, '3')
	b.readUntil("the key", func(p rtp.Packet) bool { return p.PayloadType == 101 })
	b.ts += 160
	b.send(8, alaw)
	want := make([]byte, audio.FrameSamples)
	audio.ALawToULaw(want, alaw)
	a.readUntil("what b says", says(want[0]))
	sa.Mute(false)
	tell(t, sa, func(*flow) {})
	a.ts += 160
	a.send(0, numbered(12))
	audio.ULawToALaw(want, numbered(12))
	b.readUntil("what a says again", func(p rtp.Packet) bool { return len(p.Payload) > 0 && p.Payload[0] == want[0] })
	tap.until(t, "what a says again", audio.Inbound, numbered(12)[0])
	if _, ok := tap.find(audio.Inbound, numbered(11)[0]); ok {
		t.Error("the tap of a muted party hears it")
	}
}
