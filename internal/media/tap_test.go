package media

import (
	"bytes"
	"sync"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/audio"
	"github.com/offhook/offhook/internal/clock"
)

// tape is a Tap that keeps everything.
type tape struct {
	mu     sync.Mutex
	tracks [2]map[int64]byte // samples by place
	end    int64
}

func newTape() *tape { return &tape{tracks: [2]map[int64]byte{{}, {}}} }

func (r *tape) Write(track int, at int64, ulaw []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, s := range ulaw {
		r.tracks[track][at+int64(i)] = s
	}
	r.end = max(r.end, at)
}

func (r *tape) Tick(at int64, sent []byte, in int64) {
	r.Write(audio.Outbound, at, sent)
	r.Write(audio.Inbound, in, nil)
	r.Write(audio.Outbound, at+audio.FrameSamples, nil)
}

// find is where a track first holds v.
func (r *tape) find(track int, v byte) (at int64, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for place, s := range r.tracks[track] {
		if s == v && (!ok || place < at) {
			at, ok = place, true
		}
	}
	return at, ok
}

func (r *tape) until(t *testing.T, what string, track int, v byte) int64 {
	t.Helper()
	for limit := clock.System.Now().Add(patience); clock.System.Now().Before(limit); {
		if at, ok := r.find(track, v); ok {
			return at
		}
		_ = clock.Sleep(t.Context(), clock.System, 5*time.Millisecond)
	}
	t.Fatal("the tape has not", what)
	return 0
}

func TestATapGetsBothSidesOnOneClock(t *testing.T) {
	e := newTestEngine(t, Config{})
	p := newPhone(t)
	s := p.call(e, newEars())
	r := newTape()
	untap := s.Tap(r)
	p.read()
	tell(t, s, func(f *flow) { // both at the same moment
		f.play.add(item{clip: clipOf(0x21), done: make(chan struct{})})
		for range 4 {
			p.ts += 160
			p.send(0, numbered(0x31))
		}
		f.receive(f.worker)
	})
	out := r.until(t, "what we sent", audio.Outbound, 0x21)
	in := r.until(t, "what the phone said", audio.Inbound, 0x31)
	if apart := in - out; apart < -160 || apart > 160 {
		t.Errorf("what came together is %d samples apart", apart)
	}
	untap()
	tell(t, s, func(f *flow) {
		if f.tapped != nil {
			t.Error("somebody still listens")
		}
	})
}

func TestATapHidesALostPacket(t *testing.T) {
	e := newTestEngine(t, Config{})
	p := newPhone(t)
	s := p.call(e, newEars())
	r := newTape()
	s.Tap(r)
	tell(t, s, func(f *flow) { // at once, however busy the machine is
		p.talk(2)
		p.seq++ // lost
		p.ts += 160
		p.talk(2)
		f.receive(f.worker)
	})
	at := r.until(t, "what the phone said", audio.Inbound, 0x55)
	soft := []byte{0x55}
	audio.Soften(soft)
	r.until(t, "something in the gap", audio.Inbound, soft[0])
	for end := int64(0); end < at+(5*160+tapGrace); {
		tell(t, s, func(*flow) {})
		r.mu.Lock()
		end = r.end
		r.mu.Unlock()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var got []byte
	for i := range int64(5) {
		got = append(got, r.tracks[audio.Inbound][at+i*160])
	}
	if want := []byte{0x55, 0x55, soft[0], 0x55, 0x55}; !bytes.Equal(got, want) {
		t.Errorf("the frames are %x, want %x", got, want)
	}
}

func TestATapHearsTheOtherPartyOfAConversation(t *testing.T) {
	e := newTestEngine(t, Config{Workers: 2})
	a, b, sa, sb := pair(t, e, nil, []string{"m=audio PORT RTP/AVP 8"})
	sa.Hear(sb)
	sb.Hear(sa)
	r := newTape()
	sa.Tap(r)
	tell(t, sa, func(*flow) {})
	for range 4 {
		a.ts += 160
		a.send(0, numbered(0x31))
		b.ts += 160
		alaw := make([]byte, audio.FrameSamples)
		audio.ULawToALaw(alaw, numbered(0x21))
		b.send(8, alaw)
	}
	r.until(t, "what the caller said", audio.Inbound, 0x31)
	r.until(t, "what the called one said", audio.Outbound, 0x21)
}
