package sip

import (
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/call"
)

// lossyConn drops, repeats and delays what is sent, by a seed.
type lossyConn struct {
	net.PacketConn
	mu  sync.Mutex
	rng *rand.Rand
}

func (c *lossyConn) WriteTo(b []byte, to net.Addr) (int, error) {
	c.mu.Lock()
	fate, wait := c.rng.IntN(100), time.Duration(c.rng.IntN(30))*time.Millisecond
	c.mu.Unlock()
	switch {
	case fate < 15:
		return len(b), nil
	case fate < 25:
		_, _ = c.PacketConn.WriteTo(b, to)
	case fate < 50:
		late := append([]byte(nil), b...)
		time.AfterFunc(wait, func() { _, _ = c.PacketConn.WriteTo(late, to) })
		return len(b), nil
	}
	return c.PacketConn.WriteTo(b, to)
}

// TestCallsSurviveABadNetwork loses 15 % of all datagrams, repeats 10 % and lets 25 % overtake each other.
// Every call is answered and ended on both sides exactly once, and nothing is left.
func TestCallsSurviveABadNetwork(t *testing.T) {
	if testing.Short() {
		t.Skip("retransmissions take their time")
	}
	t.Parallel()
	const calls, seed = 100, 20261120
	bad := func(n uint64) func(*Config) {
		return func(c *Config) {
			c.Log = discard()
			c.wrapUDP = func(pc net.PacketConn) net.PacketConn {
				return &lossyConn{PacketConn: pc, rng: rand.New(rand.NewPCG(seed, n))}
			}
		}
	}
	a, b := start(t, bad(1)), start(t, bad(2))
	var wg sync.WaitGroup
	for i := range calls {
		out := dial(t, a, call.OutboundLeg{Target: b.uri("bob"), Transport: "udp"})
		wg.Go(func() {
			answered := 0
			for ev := range out.Events() {
				switch ev := ev.(type) {
				case call.LegAnswered:
					answered++
					if i%2 == 0 {
						out.Hangup()
					}
				case call.LegEnded:
					if ev.Cause.SIPCode != 200 || answered != 1 {
						t.Errorf("caller %d: answered %d times, %+v", i, answered, ev)
					}
				}
			}
		})
	}
	for range calls {
		in := b.incoming(t)
		wg.Go(func() {
			in.leg.Ring()
			if err := in.leg.Answer(); err != nil {
				t.Error(err)
			}
			ends := 0
			hang := time.AfterFunc(4*time.Second, in.leg.Hangup) // the odd ones; the others hang up earlier
			defer hang.Stop()
			for ev := range in.leg.Events() {
				if e, ok := ev.(call.LegEnded); ok {
					ends++
					if e.Cause.SIPCode != 200 {
						t.Errorf("callee: %+v", e)
					}
				}
			}
			if ends != 1 {
				t.Errorf("ended %d times", ends)
			}
		})
	}
	wg.Wait()
	if n := a.Legs() + b.Legs(); n != 0 || len(b.calls) != 0 {
		t.Errorf("%d legs left, %d calls too many", n, len(b.calls))
	}
}
