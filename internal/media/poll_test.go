package media

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// schedule is a socket to which packets come at times of their own.
type schedule struct {
	wire
	coming []packet // in the order of their arrival
	reads  int
	waited []time.Duration // from a packet's arrival until it was read
}

func (s *schedule) connect(netip.AddrPort) error { return nil }

func (s *schedule) recv(b *batch, limit int) (n int) {
	s.reads++
	for ; n < limit && len(s.coming) > 0 && s.coming[0].at <= s.clock.now.UnixNano(); n++ {
		b.packets[n], s.coming = s.coming[0], s.coming[1:]
		s.waited = append(s.waited, time.Duration(s.clock.now.UnixNano()-b.packets[n].at))
	}
	return n
}

// comes lets frame n of a party arrive after d.
func (s *schedule) comes(n int, d time.Duration) {
	p := make([]byte, headerSize+160)
	header{seq: uint16(n), timestamp: uint32(n) * 160, ssrc: 7}.put(p)
	s.coming = append(s.coming, packet{data: p, from: netip.MustParseAddrPort("192.0.2.1:9"), at: int64(d)})
}

// polled is a conversation whose one party speaks by schedule.
func polled() (w *worker, c *handClock, talks *schedule, hears *wire) {
	w, c, wires := handDriven(2)
	var flows []*flow
	for _, slot := range w.flows {
		flows = append(flows, slot...)
	}
	talks = &schedule{wire: wire{clock: c}}
	for _, f := range flows {
		f.setup.kinds[0] = pcmu
	}
	flows[0].rtp, hears = talks, wires[1]
	flows[1].rtp = hears
	flows[1].hear(flows[0])
	return w, c, talks, hears
}

func run(w *worker, c *handClock, d time.Duration) {
	for end := c.now.Add(d); c.now.Before(end); {
		c.now = w.time(w.nextBusy()).Add(50 * time.Microsecond)
		w.work()
	}
}

const frames = 500 // ten seconds

func TestAPartyIsReadWhenItsPacketIsDue(t *testing.T) {
	for phase := range 20 {
		w, c, talks, hears := polled()
		for n := range frames {
			talks.comes(n, time.Duration(n*20+phase)*time.Millisecond+time.Duration(rand.IntN(500))*time.Microsecond)
		}
		run(w, c, frames*20*time.Millisecond)
		slices.Sort(talks.waited)
		if got := len(talks.waited); got < frames-2 || len(hears.sent) < got {
			t.Fatalf("phase %d ms: %d of %d packets were read, %d sent on", phase, got, frames, len(hears.sent))
		}
		if p50, most := talks.waited[frames/2], talks.waited[frames*99/100]; p50 > 4*time.Millisecond || most > 6*time.Millisecond {
			t.Errorf("phase %d ms: a packet waits for %v, 1 in 100 for %v", phase, p50, most)
		}
		if talks.reads > frames*11/10 {
			t.Errorf("phase %d ms: %d reads for %d packets", phase, talks.reads, frames)
		}
	}
}

func TestPacketsThatAreLateHoldUpNoOthers(t *testing.T) {
	for name, later := range map[string]func(n int) time.Duration{
		"a jump of the path": func(n int) time.Duration { return time.Duration(n/100%2) * 30 * time.Millisecond },
		"a stall":            func(n int) time.Duration { return time.Duration(max(0, 9-n%100)) * 20 * time.Millisecond },
		"a fast clock":       func(n int) time.Duration { return time.Duration(frames-n) * 20 * time.Microsecond },
		"a slow clock":       func(n int) time.Duration { return time.Duration(n) * 20 * time.Microsecond },
		"a pause":            func(n int) time.Duration { return time.Duration(n/50) * 317 * time.Millisecond },
	} {
		t.Run(name, func(t *testing.T) {
			w, c, talks, _ := polled()
			at := time.Duration(0)
			for n := range frames {
				at = max(at, time.Duration(n)*20*time.Millisecond+later(n))
				talks.comes(n, at)
			}
			run(w, c, at+40*time.Millisecond)
			if len(talks.waited) != frames {
				t.Errorf("%d of %d packets were read", len(talks.waited), frames)
			}
			slices.Sort(talks.waited)
			if most, few := talks.waited[frames-1], talks.waited[frames*98/100]; most > 24*time.Millisecond || few > 9*time.Millisecond {
				t.Errorf("a packet waited for %v, 1 in 50 for %v", most, few)
			}
			if talks.reads > 2*frames {
				t.Errorf("%d reads for %d packets", talks.reads, frames)
			}
		})
	}
}

func TestNobodyIsPolledForNobody(t *testing.T) {
	w, c, talks, _ := polled()
	heard := func() (n int) {
		for _, list := range w.polls {
			n += len(list)
		}
		return n
	}
	for _, slot := range w.flows {
		for _, f := range slot {
			for _, after := range []time.Duration{0, 3 * time.Millisecond, 70 * time.Millisecond} {
				run(w, c, after)
				if f.relay.from != nil && heard() != 1 {
					t.Fatalf("%d polls planned for one party", heard())
				}
			}
			f.hear(nil)
		}
	}
	if heard() != 0 {
		t.Errorf("%d polls planned for nobody", heard())
	}
	talks.reads = 0
	run(w, c, 200*time.Millisecond)
	if talks.reads > 11 {
		t.Errorf("%d reads in ten frames", talks.reads)
	}
}
