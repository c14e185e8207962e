//go:build linux

package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"time"
)

const (
	bridgeNumber  = "+15005550104"
	bridgeSettles = 20 * time.Second // until every conversation was heard both ways
)

// w4 connects callers with callees by <Dial> and sends RTP both ways, beside the barest relay of the same shape.
func (b *bench) w4(ctx context.Context) error {
	b.head("W4", "conversations by <Dial>: a caller, our bridge, a callee, RTP both ways; the floor is a bare Go relay with two sockets and two readers a conversation")
	for _, n := range pick(b, []int{300}, []int{300, 600}) {
		if err := b.w4Floor(ctx, n); err != nil {
			return err
		}
		if err := b.w4Calls(ctx, n); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// stampMark begins the payload of a packet that says when it was sent.
const stampMark = 0xc9d5e3f1

// putStamp writes the time into an audio payload. It is taken before the packet is handed to the kernel, so that the
// generator's own lateness counts against the bridge, not for it.
func putStamp(payload []byte, now time.Time) {
	binary.BigEndian.PutUint32(payload, stampMark)
	binary.BigEndian.PutUint64(payload[4:], uint64(now.UnixNano()))
}

// onItsWay is how long a stamped packet took.
func onItsWay(at time.Time, payload []byte) (time.Duration, bool) {
	if len(payload) < 12 || binary.BigEndian.Uint32(payload) != stampMark {
		return 0, false
	}
	return at.Sub(time.Unix(0, int64(binary.BigEndian.Uint64(payload[4:])))), true
}

// bridge measures the conversations that are up, two streams each.
type bridge struct {
	media
	way     histogram
	foreign int // packets of our own audio that no party sent
}

func (b *bench) bridged(ctx context.Context, pid, n int) bridge {
	m := bridge{media: b.window(ctx, pid, n)}
	m.way, m.foreign = b.peer.ways()
	return m
}

func (m bridge) report(b *bench, at string, cpu, p50, p99 budget, note string) {
	b.add("W4", "CPU per 100 conversations"+at, m.per100(), "%", cpu, &m.use, m.note()+note)
	b.add("W4", "through the bridge, p50"+at, m.way.quantile(0.5), "ms", p50, nil, fmt.Sprintf("%d packets that nobody sent", m.foreign))
	b.add("W4", "through the bridge, p99"+at, m.way.quantile(0.99), "ms", p99, nil, fmt.Sprintf("p99.9 %.1f ms", m.way.quantile(0.999)))
	b.add("W4", "packet gap p99"+at, m.gaps.quantile(0.99), "ms", budget{}, nil, fmt.Sprintf("p99.9 %.1f ms", m.gaps.quantile(0.999)))
	b.add("W4", "packets lost"+at, float64(m.lost), "", budget{}, nil, "")
}

func (b *bench) w4Floor(ctx context.Context, n int) error {
	f, err := startFloor(ctx, "relay", strconv.Itoa(n), strconv.Itoa(int(b.peer.sock.local.Port())))
	if err != nil {
		return err
	}
	defer func() { f.stop(); b.peer.clear() }()
	for _, port := range strings.Fields(f.line) {
		p, err := strconv.Atoi(port)
		if err != nil {
			return err
		}
		b.peer.add(p, nil).stamped.Store(true)
	}
	b.bridged(ctx, f.pid(), n).report(b, fmt.Sprintf(" of the bare relay at %d", n), budget{}, budget{}, budget{}, "")
	return ctx.Err()
}

func (b *bench) w4Calls(ctx context.Context, n int) error {
	s, err := b.serve(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	add := func(port int) { b.peer.add(port, nil).stamped.Store(true) }
	called, err := newCallee(b.peer.sock.local, add)
	if err != nil {
		return err
	}
	defer called.close()
	b.app.document("/bridge", "<Response><Dial><Sip>"+called.uri()+"</Sip></Dial></Response>")
	if err := s.number(ctx, bridgeNumber, b.app.url+"/bridge"); err != nil {
		return err
	}
	defer b.peer.clear()
	s.caller.begin()
	s.caller.place(ctx, 50, n, func() {
		s.caller.dial(bridgeNumber, forever, func(p *placed) { add(p.rtpPort) })
	})
	up := b.peer.waitHeard(ctx, 2*n, bridgeSettles)
	m := b.bridged(ctx, s.pid(), n)
	s.caller.hangup(ctx, time.Duration(n)*time.Second/100)
	t := s.caller.finish(ctx)

	note := ""
	if up < 2*n {
		note = fmt.Sprintf("; %d of %d parties hear the other one", up, 2*n)
	}
	if t.failed() > 0 {
		note += "; " + t.why()
	}
	cpu := budget{}
	if n == 300 {
		cpu = most(12, 6)
	}
	m.report(b, fmt.Sprintf(" at %d", n), cpu, most(8, 0), most(25, 0), note)
	return ctx.Err()
}
