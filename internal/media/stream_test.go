package media

import (
	"bytes"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtp"

	"github.com/offhook/offhook/internal/audio"
	"github.com/offhook/offhook/internal/clock"
)

func clipOf(frames ...int) *audio.Clip {
	var b []byte
	for _, f := range frames {
		b = append(b, numbered(f)...)
	}
	return audio.NewClip(b)
}

func TestPlayReachesThePhone(t *testing.T) {
	onBoth(t, Config{}, func(t *testing.T, e *Engine) {
		p := newPhone(t)
		s := p.call(e, newEars())
		first := p.read()
		if !first.Marker || first.PayloadType != 0 || !bytes.Equal(first.Payload, numbered(audio.ULawSilence)) {
			t.Errorf("first packet is not silence with a marker: %+v", first.Header)
		}
		done := s.Play(clipOf(1, 2, 3))
		packet := p.readUntil("the clip", func(p rtp.Packet) bool { return p.Payload[0] == 1 })
		for i := 2; i <= 4; i++ {
			next := p.read()
			if next.SequenceNumber != packet.SequenceNumber+1 || next.Timestamp != packet.Timestamp+160 || next.Marker || next.SSRC != packet.SSRC {
				t.Fatalf("packet %+v after %+v", next.Header, packet.Header)
			}
			want := numbered(i)
			if i == 4 {
				want = numbered(audio.ULawSilence)
			}
			if !bytes.Equal(next.Payload, want) {
				t.Fatalf("frame %d is %x", i, next.Payload[0])
			}
			packet = next
		}
		wait(t, "the end of the clip", done)
		if got := s.Close(); got.PacketsSent < 5 || got != s.Close() {
			t.Errorf("stats %+v", got)
		}
		wait(t, "a clip played too late", s.Play(clipOf(1)))
	})
}

func TestALaw(t *testing.T) {
	e := newTestEngine(t, Config{})
	p := newPhone(t)
	s := p.call(e, newEars(), "m=audio PORT RTP/AVP 111 0", "a=rtpmap:111 PCMA/8000")
	s.Play(clipOf(0x21))
	want := make([]byte, audio.FrameSamples)
	audio.ULawToALaw(want, numbered(0x21))
	packet := p.readUntil("the clip", func(p rtp.Packet) bool { return bytes.Equal(p.Payload, want) })
	if packet.PayloadType != 111 {
		t.Errorf("payload type %d", packet.PayloadType)
	}
	audio.ULawToALaw(want, numbered(audio.ULawSilence))
	p.readUntil("silence", func(p rtp.Packet) bool { return bytes.Equal(p.Payload, want) })
}

func TestFlushCutsThePrompt(t *testing.T) {
	onBoth(t, Config{}, func(t *testing.T, e *Engine) {
		p := newPhone(t)
		s := p.call(e, newEars())
		a, b := s.Play(audio.Silence(0)), s.Play(clipOf(bytesOf(1, 500)...))
		c := s.Play(clipOf(2))
		wait(t, "the empty clip", a)
		p.readUntil("the prompt", func(p rtp.Packet) bool { return p.Payload[0] == 1 })
		s.Flush()
		wait(t, "the cut prompt", b)
		wait(t, "the queued one", c)
		drain(p) // what was on the way
		if got := p.read().Payload[0]; got != audio.ULawSilence {
			t.Errorf("after the cut: %x", got)
		}
	})
}

func bytesOf(v, n int) (s []int) {
	for range n {
		s = append(s, v)
	}
	return s
}

// cutter flushes the prompt when a key comes, as a session does.
type cutter struct{ digits chan byte }

func (c *cutter) Digit(key byte) { c.digits <- key }
func (*cutter) Timeout()         {}

func TestAKeyCutsThePromptWithin40ms(t *testing.T) {
	e := newTestEngine(t, Config{})
	p := newPhone(t)
	c := &cutter{make(chan byte, 10)}
	s := p.call(e, c)
	var session sync.WaitGroup
	session.Go(func() {
		for range c.digits {
			s.Flush()
		}
	})
	defer func() {
		s.Close() // no key comes after
		close(c.digits)
		session.Wait()
	}()
	best := time.Hour // other work on the machine must not fail the test
	for range 10 {
		s.Play(clipOf(bytesOf(1, 500)...))
		p.readUntil("the prompt", func(p rtp.Packet) bool { return p.Payload[0] == 1 })
		p.press(96, '5')
		pressed := clock.System.Now()
		p.readUntil("silent", func(p rtp.Packet) bool { return p.Payload[0] == audio.ULawSilence })
		best = min(best, clock.System.Now().Sub(pressed))
	}
	if best > 40*time.Millisecond {
		t.Errorf("at best %v", best)
	}
}

func TestKeysAreHeard(t *testing.T) {
	onBoth(t, Config{}, func(t *testing.T, e *Engine) {
		p, sink := newPhone(t), newEars()
		s := p.call(e, sink)
		p.talk(1)
		for _, key := range "15#*AD11" {
			p.press(96, byte(key))
			sink.hears(t, string(key))
		}
		tell(t, s, func(f *flow) { f.receive(f.worker) })
		if got := s.Close(); got.Digits != 8 || got.PacketsReceived != 49 || got.PacketsLost != 0 {
			t.Errorf("stats %+v", got)
		}
		if len(sink.digits) > 0 {
			t.Error("a key came twice")
		}
	})
}

// A gateway sends keys as a source of their own, between packets of audio: each key counts once.
func TestKeysUnderAnotherSSRC(t *testing.T) {
	onBoth(t, Config{}, func(t *testing.T, e *Engine) {
		p, ears := newPhone(t), newEars()
		p.call(e, ears)
		gateway := *p
		gateway.ssrc, gateway.seq = 0xD7, 40_000
		for _, key := range []byte("12") {
			number, _ := eventOf(key)
			gateway.ts += 1600
			for i := range 6 {
				p.talk(1)
				var b [4]byte
				telephoneEvent{event: number, end: i > 2, duration: uint16(160 * min(i+1, 4))}.put(b[:])
				gateway.send(96, b[:])
			}
		}
		p.press(96, '3') // the phone's own
		ears.hears(t, "123")
	})
}

// A phone without telephone-event presses keys as tones; with it, tones are mere sound.
func TestKeysAreHeardAsTones(t *testing.T) {
	for _, tt := range []struct {
		name, line string
		pt         uint8
		encode     func([]int16) []byte
	}{
		{"PCMU", "m=audio PORT RTP/AVP 0", 0, audio.EncodeULaw},
		{"PCMA", "m=audio PORT RTP/AVP 8", 8, audio.EncodeALaw},
		{"with telephone-event", "m=audio PORT RTP/AVP 0 96\r\na=rtpmap:96 telephone-event/8000", 0, audio.EncodeULaw},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, ears := newPhone(t), newEars()
			p.call(newTestEngine(t, Config{}), ears, tt.line)
			sound := make([]int16, 10*audio.FrameSamples)
			for _, key := range []byte("55#") {
				sound = append(append(sound, audio.DTMF(key, 100*time.Millisecond)...), make([]int16, 960)...)
			}
			code := tt.encode(sound)
			for ; len(code) >= audio.FrameSamples; code = code[audio.FrameSamples:] {
				p.read() // a frame went by
				p.ts += audio.FrameSamples
				p.send(tt.pt, code[:audio.FrameSamples])
			}
			if tt.name == "with telephone-event" {
				p.press(96, '1')
				ears.hears(t, "1")
				return
			}
			ears.hears(t, "55#")
		})
	}
}

func TestKeysBeforeStart(t *testing.T) {
	e := newTestEngine(t, Config{})
	p, sink := newPhone(t), newEars()
	s := p.open(e, sink)
	p.answered(s, p.sdp(1))
	p.press(96, '9')
	sink.hears(t, "9")
}

func TestKeysAreSentAsEvents(t *testing.T) {
	onBoth(t, Config{}, func(t *testing.T, e *Engine) {
		p := newPhone(t)
		s := p.call(e, newEars())
		done := s.PlayDigits("1#")
		var r keyReader
		keys, ends := "", 0
		for keys != "1#" || ends < 6 {
			packet := p.read()
			if packet.PayloadType != 96 {
				continue
			}
			ev, err := parseEvent(packet.Payload)
			if err != nil {
				t.Fatal(err)
			}
			key, down := r.packet(packet.Timestamp, ev)
			if down {
				keys += string(key)
			}
			if packet.Marker != down {
				t.Errorf("marker %v on event %+v", packet.Marker, ev)
			}
			if ev.end {
				ends++
			}
		}
		wait(t, "the keys", done)
		if ends != 6 {
			t.Errorf("%d end packets for two keys", ends)
		}
	})
}

func TestKeysAreSentAsTones(t *testing.T) {
	e := newTestEngine(t, Config{})
	p := newPhone(t)
	s := p.call(e, newEars(), "m=audio PORT RTP/AVP 0")
	done := s.PlayDigits("7")
	var d audio.DTMFDetector
	heard := ""
	for heard == "" {
		heard += string(d.Write(audio.DecodeULaw(p.read().Payload)))
	}
	wait(t, "the key", done)
	if heard != "7" {
		t.Errorf("heard %q", heard)
	}
}

func TestHoldStopsSendingButNotTime(t *testing.T) {
	for name, lines := range map[string][]string{"sendonly": {"a=sendonly"}, "inactive": {"a=inactive"}, "address": {"c=IN IP4 0.0.0.0"}} {
		t.Run(name, func(t *testing.T) {
			e := newTestEngine(t, Config{})
			p := newPhone(t)
			s := p.call(e, newEars())
			before := p.read()
			to := p.to
			answer := p.answered(s, p.sdp(2, lines...))
			p.to = to
			if want := map[string]string{"sendonly": "recvonly", "inactive": "inactive", "address": "recvonly"}[name]; !strings.Contains(answer, "a="+want) {
				t.Errorf("answer %s", answer)
			}
			tell(t, s, func(*flow) {}) // the hold is known
			for len(drain(p)) > 0 {
			}
			wait(t, "a prompt while held", s.Play(clipOf(1, 1, 1)))
			if left := drain(p); len(left) > 0 {
				t.Errorf("%d packets while held", len(left))
			}
			p.answered(s, p.sdp(3))
			after := p.read()
			frames := (after.Timestamp - before.Timestamp) / 160
			if !after.Marker || after.SSRC != before.SSRC || frames < 4 || after.Timestamp%160 != before.Timestamp%160 || after.SequenceNumber-before.SequenceNumber > uint16(frames) {
				t.Errorf("packet %+v after hold, %+v before", after.Header, before.Header)
			}
		})
	}
}

// drain reads what came already.
func drain(p *phone) (packets []rtp.Packet) {
	for {
		packet, ok := p.readWithin(time.Millisecond)
		if !ok {
			return packets
		}
		packets = append(packets, packet)
	}
}

func TestOurOfferIsAnswered(t *testing.T) {
	onBoth(t, Config{}, func(t *testing.T, e *Engine) {
		p, sink := newPhone(t), newEars()
		s := p.open(e, sink)
		d, err := parseDescription(s.Offer(), true, false)
		if err != nil {
			t.Fatal(err)
		}
		p.to = d.addr
		if err := s.Accept([]byte("nonsense")); !errors.Is(err, ErrBadSDP) {
			t.Errorf("nonsense: %v", err)
		}
		if err := s.Accept(p.sdp(1, "m=audio PORT RTP/AVP 8 97", "a=rtpmap:97 telephone-event/8000")); err != nil {
			t.Fatal(err)
		}
		s.Start()
		if got := p.read().PayloadType; got != 8 {
			t.Errorf("payload type %d", got)
		}
		p.press(101, '1') // as offered
		p.press(97, '2')  // as he names it
		sink.hears(t, "12")
	})
}

func TestShortPacketsWhenAsked(t *testing.T) {
	e := newTestEngine(t, Config{})
	p := newPhone(t)
	p.call(e, newEars(), "a=maxptime:10")
	a, b := p.read(), p.read()
	if len(a.Payload) != 80 || b.Timestamp != a.Timestamp+80 || b.SequenceNumber != a.SequenceNumber+1 || b.Marker {
		t.Errorf("packets %+v, %+v", a.Header, b.Header)
	}
}

func TestNoPorts(t *testing.T) {
	e := newTestEngine(t, Config{PortMin: 15100, PortMax: 15107})
	var open []*Stream
	for {
		s, err := e.Open(netip.MustParseAddr("127.0.0.1"), newEars())
		if errors.Is(err, ErrNoPorts) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, s)
	}
	if len(open) == 0 || len(open) > 4 {
		t.Fatalf("%d streams on four pairs", len(open))
	}
	open[0].Close()
	s, err := e.Open(netip.MustParseAddr("127.0.0.1"), newEars())
	if err != nil || s.pair.rtp != open[0].pair.rtp {
		t.Errorf("after one was closed: %v", err)
	}
}

// bomb is a sink with a bug.
type bomb struct{ *ears }

func (bomb) Digit(byte) { panic("boom") }

func TestAPanicEndsOneStream(t *testing.T) {
	onBoth(t, Config{Workers: 1}, func(t *testing.T, e *Engine) {
		bad, good := newPhone(t), newPhone(t)
		sink := bomb{newEars()}
		s := bad.call(e, sink)
		var others []*Stream
		for range slots { // one of them shares the slot
			others = append(others, newPhone(t).call(e, newEars()))
		}
		good.call(e, newEars())
		prompt := s.Play(clipOf(bytesOf(1, 5000)...))
		bad.press(96, '1')
		wait(t, "the end of the stream", s.done)
		wait(t, "its prompt", prompt)
		wait(t, "word of it", sink.timeout)
		wait(t, "a later prompt", s.Play(clipOf(1)))
		s.Close()
		for range 3 {
			good.read()
		}
		for _, s := range others {
			s.Close()
		}
		if got := e.Stats(); got.Panics != 1 || got.Streams != 1 {
			t.Errorf("stats %+v", got)
		}
	})
}

func TestCloseEndsStreams(t *testing.T) {
	onBoth(t, Config{}, func(t *testing.T, e *Engine) {
		p := newPhone(t)
		s := p.call(e, newEars())
		prompt := s.Play(clipOf(bytesOf(1, 5000)...))
		if err := errors.Join(e.Close(), e.Close()); err != nil {
			t.Fatal(err)
		}
		wait(t, "the prompt", prompt)
		s.Close()
		s.Flush()
		s.Start()
		if _, err := e.Open(netip.MustParseAddr("127.0.0.1"), newEars()); !errors.Is(err, errClosed) {
			t.Errorf("open after close: %v", err)
		}
	})
}

func TestManyCallers(t *testing.T) {
	onBoth(t, Config{}, func(t *testing.T, e *Engine) {
		p := newPhone(t)
		s := p.call(e, newEars())
		var callers sync.WaitGroup
		for range 8 {
			callers.Go(func() {
				for range 50 {
					s.Play(clipOf(1, 2))
					s.PlayDigits("1")
					s.Flush()
					_, _ = s.Answer(p.sdp(1))
					s.Offer()
				}
				s.Close()
				<-s.Play(clipOf(1))
			})
		}
		callers.Wait()
	})
}
