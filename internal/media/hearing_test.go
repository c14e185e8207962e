package media

import (
	"math"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/audio"
)

// listened is a stream on a hand-set clock whose party's packets come by schedule, and what an ear has heard of it.
func listened(t *testing.T) (w *worker, c *handClock, talks *schedule, f *flow, frames *[][]int16) {
	t.Helper()
	w, c, _ = handDriven(0)
	talks, frames = &schedule{wire: wire{clock: c}}, new([][]int16)
	s := &Stream{mail: make(chan command, mailboxSize), done: make(chan struct{})}
	f = &flow{stream: s, sink: new(pad), rtp: talks, rtcp: &wire{clock: c}, started: true, described: true, reportIn: 1 << 30}
	s.flow = f
	f.setup = setup{packets: 1, mux: true}
	f.setup.kinds = [128]codec{0: pcmu, noiseType: noise}
	f.source.signalled = netip.MustParseAddrPort("192.0.2.1:9")
	w.add(f)
	stop := s.Listen(func(pcm []int16) { *frames = append(*frames, slices.Clone(pcm)) })
	t.Cleanup(func() {
		stop()
		n := len(*frames)
		run(w, c, time.Second)
		if len(*frames) > n+1 || f.hearing != nil {
			t.Error("it is still heard")
		}
	})
	return w, c, talks, f, frames
}

// sends lets packet number n of payload type pt come when it is sent.
func (s *schedule) sends(n int, pt uint8, payload []byte) {
	p := make([]byte, headerSize, headerSize+len(payload))
	header{payloadType: pt, seq: uint16(n), timestamp: uint32(n) * audio.FrameSamples, ssrc: 7}.put(p)
	s.coming = append(s.coming, packet{
		data: append(p, payload...), from: netip.MustParseAddrPort("192.0.2.1:9"), at: int64(time.Duration(n) * audio.FrameDuration),
	})
}

func level(pcm []int16) float64 { return math.Sqrt(audio.Power(pcm)) }

func TestAnEarHearsEveryFrameOnceAndLossesAreHidden(t *testing.T) {
	w, c, talks, _, frames := listened(t)
	tone := audio.Tone(2*time.Second, 400)
	for n := range 100 {
		if n%20 != 13 {
			talks.sends(n, 0, audio.EncodeULaw(tone[n*audio.FrameSamples:(n+1)*audio.FrameSamples]))
		}
	}
	run(w, c, 2*time.Second)
	if n := len(*frames); n < 99 || n > 101 {
		t.Fatalf("%d frames in two seconds", n)
	}
	for i, frame := range *frames {
		if i < 4 && level(frame) == 0 { // it has not come yet
			continue
		}
		if l := level(frame); i < 98 && (l < 0.7*level(tone) || l > 1.1*level(tone)) {
			t.Errorf("frame %d has level %.0f, the tone %.0f", i, l, level(tone))
		}
	}
}

func TestComfortNoiseIsHeardAsQuietNoise(t *testing.T) {
	w, c, talks, f, frames := listened(t)
	tone := audio.EncodeULaw(audio.Tone(20*time.Millisecond, 400))
	for n := range 300 {
		switch {
		case n < 50 || n >= 250:
			talks.sends(n, 0, tone)
		case n == 50 || n == 150:
			talks.sends(n, noiseType, []byte{50, 0x10, 0x20}) // -50 dBov, and a spectrum
		}
	}
	run(w, c, 6*time.Second)
	want := 32768 * math.Pow(10, -50./20)
	for i, frame := range (*frames)[60:240] {
		if l := level(frame); l < want/1.3 || l > want*1.3 {
			t.Fatalf("frame %d of the silence has level %.0f, want %.0f", i, l, want)
		}
	}
	if f.hearing.buffer.stats.lost != 0 {
		t.Errorf("silence counts as loss: %+v", f.hearing.buffer.stats)
	}
	if l := level((*frames)[280]); l < 1000 {
		t.Errorf("what comes after has level %.0f", l)
	}
}

// Wherever in our frame the packets come, none of them misses its turn.
func TestAnEarHearsPacketsOfAnyPhase(t *testing.T) {
	for phase := range 40 {
		for i := range 4 {
			bridged, jitter := i%2 == 1, i/2*28+1
			w, c, talks, f, _ := listened(t)
			if bridged {
				other := &flow{stream: &Stream{}, sink: new(pad), rtp: &wire{clock: c}, rtcp: &wire{clock: c}}
				w.add(other)
				other.hear(f)
			}
			for n := range 500 {
				talks.sends(n, 0, numbered(0xfe)) // quiet: it may play as soon as it dares
				talks.coming[n].at += int64(phase)*500_000 + int64(n*7%10*jitter)*100_000
			}
			run(w, c, 10*time.Second)
			if n := f.hearing.buffer.stats.played / audio.FrameSamples; n < 490 {
				t.Errorf("phase %.1f ms, jitter %d ms, bridged %v: %d of 500 frames are heard: %+v", float64(phase)/2, jitter, bridged, n, f.hearing.buffer.stats)
			}
		}
	}
}

// What a worker that was held up did not come to is heard afterwards: nothing was lost.
func TestAnEarMissesNothingWhenTheWorkerIsLate(t *testing.T) {
	w, c, talks, _, frames := listened(t)
	for n := range 100 {
		talks.sends(n, 0, numbered(n))
	}
	run(w, c, time.Second)
	c.now = c.now.Add(150 * time.Millisecond)
	run(w, c, 850*time.Millisecond)
	heard := map[int16]bool{}
	for _, frame := range *frames {
		heard[frame[audio.FrameSamples/2]] = true
	}
	for n := 3; n < 95; n++ {
		if code := []byte{byte(n)}; !heard[audio.DecodeULaw(code)[0]] {
			t.Errorf("frame %d was not heard", n)
		}
	}
}
