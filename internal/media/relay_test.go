package media

import (
	"bytes"
	"testing"
	"time"

	"github.com/pion/rtp"

	"github.com/offhook/offhook/internal/audio"
)

// pair are two phones in calls of their own, on two workers, that have spoken and so are known.
func pair(t *testing.T, e *Engine, aLines, bLines []string) (a, b *phone, sa, sb *Stream) {
	t.Helper()
	a, b = newPhone(t), newPhone(t)
	b.ssrc, b.seq, b.ts = 0xb0b, 7000, 1<<31
	sa, sb = a.call(e, newEars(), aLines...), b.call(e, newEars(), bLines...)
	if !sb.move(e.workers[1]) {
		t.Fatal("a stream does not change its worker")
	}
	a.talk(1)
	b.talk(1)
	a.read()
	b.read()
	return a, b, sa, sb
}

func says(v byte) func(rtp.Packet) bool {
	return func(p rtp.Packet) bool { return len(p.Payload) > 0 && bytes.Equal(p.Payload, numbered(int(v))) }
}

func TestAConversation(t *testing.T) {
	onBoth(t, Config{Workers: 2}, func(t *testing.T, e *Engine) {
		a, b, sa, sb := pair(t, e, nil, nil)
		sa.Hear(sb)
		sb.Hear(sa)
		if sa.worker.Load() != sb.worker.Load() {
			t.Error("a conversation on two workers")
		}
		speak := func(from *phone, v byte) {
			from.ts += 160
			from.send(0, numbered(int(v)))
		}
		speak(a, 11)
		first := b.readUntil("what a says", says(11))
		if first.SSRC == a.ssrc {
			t.Error("relayed under the other one's SSRC")
		}
		a.seq++ // a packet is lost
		a.ts += 160
		speak(a, 12)
		next := b.readUntil("what a says next", says(12))
		if next.SequenceNumber != first.SequenceNumber+2 || next.Timestamp != first.Timestamp+320 || next.SSRC != first.SSRC {
			t.Errorf("a loss shows as %+v after %+v", next.Header, first.Header)
		}
		speak(b, 21)
		a.readUntil("what b says", says(21))

		sa.Hear(nil)
		speak(b, 22)
		silent := a.readUntil("silence", says(audio.ULawSilence))
		speak(a, 13) // that way it goes on
		b.readUntil("what a still says", says(13))
		for range 5 {
			p := a.read()
			if says(22)(p) {
				t.Fatal("b is heard after the end")
			}
			if int16(p.SequenceNumber-silent.SequenceNumber) <= 0 || int32(p.Timestamp-silent.Timestamp) <= 0 {
				t.Fatalf("%+v after %+v", p.Header, silent.Header)
			}
			silent = p
		}
	})
}

func TestAConversationEndsWithEitherStream(t *testing.T) {
	e := newTestEngine(t, Config{Workers: 2})
	a, b, sa, sb := pair(t, e, nil, nil)
	sa.Hear(sb)
	sb.Hear(sa)
	sa.Close()
	a.talk(1)
	b.talk(3) // reaches nobody, and harms nobody
	b.readUntil("silence", says(audio.ULawSilence))
	sb.Hear(sa)
	sb.Hear(nil)
	tell(t, sb, func(f *flow) {
		if f.together() {
			t.Error("a closed stream is still heard")
		}
	})
}

func TestAConversationOfTwoCodecs(t *testing.T) {
	e := newTestEngine(t, Config{Workers: 2})
	a, b, sa, sb := pair(t, e, nil, []string{"m=audio PORT RTP/AVP 111 97", "a=rtpmap:111 PCMA/8000", "a=rtpmap:97 telephone-event/8000"})
	sa.Hear(sb)
	sb.Hear(sa)
	a.ts += 160
	a.send(0, numbered(0x21))
	want := make([]byte, audio.FrameSamples)
	audio.ULawToALaw(want, numbered(0x21))
	if got := b.readUntil("what a says", func(p rtp.Packet) bool { return bytes.Equal(p.Payload, want) }); got.PayloadType != 111 {
		t.Errorf("payload type %d", got.PayloadType)
	}
	a.press(96, '5') // which b's phone calls 97
	got := b.readUntil("a key", func(p rtp.Packet) bool { return p.PayloadType == 97 })
	if ev, err := parseEvent(got.Payload); err != nil || ev.event != 5 {
		t.Errorf("key %+v %v", ev, err)
	}
	ears := sa.flow.sink.(*ears)
	ears.hears(t, "5")
}

func TestAKeyReachesAPhoneWithoutEventsAsATone(t *testing.T) {
	e := newTestEngine(t, Config{Workers: 2})
	a, b, sa, sb := pair(t, e, nil, []string{"m=audio PORT RTP/AVP 0"})
	sb.Hear(sa)
	_ = sb
	a.press(96, '7')
	detector := new(audio.DTMFDetector)
	heard := ""
	b.readUntil("the tone of the key", func(p rtp.Packet) bool {
		for _, key := range detector.Write(audio.AppendDecodedULaw(nil, p.Payload)) {
			heard += string(key)
		}
		return heard != ""
	})
	if heard != "7" {
		t.Errorf("heard %s", heard)
	}
	_ = sa
}

func TestWhatPlaysIsHeardInstead(t *testing.T) {
	e := newTestEngine(t, Config{Workers: 2})
	a, b, sa, sb := pair(t, e, nil, nil)
	sb.Hear(sa)
	sb.Loop(clipOf(3))
	b.readUntil("music", says(3))
	last := b.read()
	for range 20 {
		a.ts += 160
		a.send(0, numbered(11))
		p := b.read()
		if says(11)(p) {
			t.Fatal("both are heard")
		}
		if p.SequenceNumber != last.SequenceNumber+1 || p.Timestamp != last.Timestamp+160 {
			t.Fatalf("%+v after %+v", p.Header, last.Header)
		}
		last = p
	}
	sb.Flush()
	b.readUntil("a again", func(p rtp.Packet) bool {
		a.ts += 160
		a.send(0, numbered(12))
		return says(12)(p)
	})
	_ = sa
}

// A phone that hears nothing for long hangs up: silence bridges what the other one does not send.
func TestSilenceOfTheOtherIsSilence(t *testing.T) {
	e := newTestEngine(t, Config{Workers: 2})
	_, b, sa, sb := pair(t, e, nil, nil)
	sb.Hear(sa)
	tell(t, sb, func(*flow) {})
	if _, ok := b.readWithin(time.Second); !ok {
		t.Error("the phone is sent nothing")
	}
}
