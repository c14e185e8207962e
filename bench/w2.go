//go:build linux

package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// w2 plays a 30 s prompt in a loop while the caller sends RTP, beside the bare sender of the same shape.
func (b *bench) w2(ctx context.Context) error {
	b.head("W2", "a 30 s prompt played in a loop, RTP both ways; the floor is a bare Go sender with a socket, a reader and a ticker a call")
	most := 0
	runs := pick(b, []int{300, 500}, []int{300, 500, 1000, 2000})
	if b.calls != nil {
		runs = b.calls
	}
	for _, n := range runs {
		floor, err := b.w2Floor(ctx, n)
		if err != nil {
			return err
		}
		clean, err := b.w2Calls(ctx, n, floor)
		if err != nil {
			return err
		}
		if !clean {
			break
		}
		most = n
	}
	judged := least(1000, 2000)
	note := fmt.Sprintf("every stream with a p99 gap of at most %d ms and no loss", cleanGap)
	if last := runs[len(runs)-1]; last < 1000 && most == last {
		judged, note = budget{}, note+"; 1,000 and 2,000 with --full"
	}
	b.add("W2", "most clean calls", float64(most), "", judged, nil, note)
	return ctx.Err()
}

// media is what one W2 run measured.
type media struct {
	received
	use usage
	n   int
}

// per100 is the CPU of 100 calls in percent of a core.
func (m media) per100() float64 { return 100 * m.use.EngineCPU / m.use.Seconds / float64(m.n) * 100 }

func (m media) note() string {
	return fmt.Sprintf("%d streams, %d packets, %d lost, %d late; %d streams not clean; longest gap %.1f ms, audible %.1f %%",
		m.streams, m.packets, m.lost, m.late, m.dirty, float64(m.longest)/float64(time.Millisecond), 100*m.audible)
}

// window measures the streams that are up.
func (b *bench) window(ctx context.Context, pid, n int) media {
	return b.windowOf(ctx, pid, n, pick(b, 6*time.Second, 20*time.Second))
}

func (b *bench) windowOf(ctx context.Context, pid, n int, d time.Duration) media {
	pause(ctx, 2*time.Second) // the ramp's last calls settle
	b.peer.reset()
	m := start(pid)
	pause(ctx, d)
	u := m.used()
	return media{received: b.peer.counted(), use: u, n: n}
}

func (b *bench) w2Floor(ctx context.Context, n int) (media, error) {
	f, err := startFloor(ctx, "rtp", strconv.Itoa(n), strconv.Itoa(int(b.peer.sock.local.Port())))
	if err != nil {
		return media{}, err
	}
	defer func() { f.stop(); b.peer.clear() }()
	for _, port := range strings.Fields(f.line) {
		p, err := strconv.Atoi(port)
		if err != nil {
			return media{}, err
		}
		b.peer.add(p, nil)
	}
	m := b.window(ctx, f.pid(), n)
	at := fmt.Sprintf(" of the bare sender at %d", n)
	b.add("W2", "CPU per 100 calls"+at, m.per100(), "%", budget{}, &m.use, m.note())
	b.add("W2", "packet gap p99"+at, m.gaps.quantile(0.99), "ms", budget{}, nil, "")
	b.add("W2", "packet gap p99.9"+at, m.gaps.quantile(0.999), "ms", budget{}, nil, "")
	return m, ctx.Err()
}

func (b *bench) w2Calls(ctx context.Context, n int, floor media) (clean bool, err error) {
	s, err := b.serve(ctx) // fresh, for its memory
	if err != nil {
		return false, err
	}
	defer s.close()
	if err := s.number(ctx, loopNumber, b.app.url+"/loop"); err != nil {
		return false, err
	}
	defer b.peer.clear()
	pause(ctx, time.Second)
	before := resident(s.pid())
	s.caller.begin()
	s.caller.place(ctx, 100, n, func() {
		s.caller.dial(loopNumber, forever, func(p *placed) { b.peer.add(p.rtpPort, nil) })
	})
	m := b.window(ctx, s.pid(), n)
	gained := resident(s.pid()) - before
	s.caller.hangup(ctx, time.Duration(n)*time.Second/200)
	t := s.caller.finish(ctx)

	var cpu, p99, p999, memory budget
	if n >= 500 {
		cpu, memory = most(10, 5), most(64, 0)
	}
	if n == 500 {
		p99, p999 = most(floor.gaps.quantile(0.99)+2, 0), most(floor.gaps.quantile(0.999)+4, 0)
	}
	note := m.note()
	if t.failed() > 0 {
		note += "; " + t.why()
	}
	at := fmt.Sprintf(" at %d", n)
	b.add("W2", "engine CPU per 100 calls"+at, m.per100(), "%", cpu, &m.use, note)
	b.add("W2", "packet gap p99"+at, m.gaps.quantile(0.99), "ms", p99, nil, "")
	b.add("W2", "packet gap p99.9"+at, m.gaps.quantile(0.999), "ms", p999, nil, "")
	b.add("W2", "packets lost"+at, float64(m.lost), "", budget{}, nil, "")
	b.add("W2", "memory per call"+at, 1024*gained/float64(n), "KiB", memory, nil, fmt.Sprintf("%.0f MiB to %.0f MiB", before, before+gained))
	return t.failed() == 0 && m.streams == n && m.dirty == 0 && m.audible > 0.99, ctx.Err()
}
