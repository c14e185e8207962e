//go:build linux

package main

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	timerT1 = 500 * time.Millisecond // RFC 3261 section 17.1.1.2: the first retransmission
	giveUp  = 10 * time.Second       // of an INVITE without a final response, and of a BYE
	forever = time.Duration(-1)      // hold until hangup
)

type callState int

const (
	inviting callState = iota
	canceling
	up
	leaving
	ended
)

// placed is one call of the caller's. Its fields are the caller's, under its lock.
type placed struct {
	dialog
	state     callState
	hold      time.Duration
	heard     bool // a provisional response came
	began     time.Time
	changed   time.Time // of state
	next      time.Time // of the retransmission
	interval  time.Duration
	out       []byte // the request that is retransmitted
	rtpPort   int    // of the server's SDP
	onAnswer  func(*placed)
	failed    string // "" is a call that was answered and ended by us
	latency   time.Duration
	connected bool
}

// tally is what became of the calls of one run.
type tally struct {
	placed, answered, clean int // clean: answered, and ended by us in good order
	refused                 int // by a final response
	retryAfter              int // refused with 503 and Retry-After
	resent                  int // our retransmissions
	failures                map[string]int
	latency                 millis // INVITE to 200
	began                   time.Time
	elapsed                 time.Duration
	last                    time.Time // when the last 200 came
}

func (t *tally) failed() int { return t.placed - t.clean }

// why lists the failures, the most frequent first.
func (t *tally) why() string {
	keys := slices.Collect(maps.Keys(t.failures))
	slices.SortFunc(keys, func(a, b string) int { return t.failures[b] - t.failures[a] })
	parts := make([]string, len(keys))
	for i, k := range keys {
		parts[i] = fmt.Sprintf("%d × %s", t.failures[k], k)
	}
	return strings.Join(parts, ", ")
}

// caller places calls over one UDP socket.
type caller struct {
	sock   *socket
	server netip.AddrPort
	rtp    netip.AddrPort // written into our SDP
	nonce  string
	stop   chan struct{}
	wg     sync.WaitGroup

	mu    sync.Mutex
	last  int
	calls map[int]*placed
	tally *tally
	going bool // hangup was asked: calls answered from now on end at once
}

func newCaller(server, rtp netip.AddrPort) (*caller, error) {
	s, err := listen(0)
	if err != nil {
		return nil, err
	}
	c := &caller{
		sock: s, server: server, rtp: rtp, nonce: fmt.Sprintf("%08x@bench", rand.Uint32()),
		stop: make(chan struct{}), calls: make(map[int]*placed), tally: &tally{began: time.Now(), failures: make(map[string]int)},
	}
	c.wg.Go(func() {
		for {
			select {
			case <-c.stop:
				return
			default:
			}
			if err := c.sock.receive(c.receive); err != nil {
				return
			}
		}
	})
	c.wg.Go(c.sweep)
	return c, nil
}

func (c *caller) close() {
	close(c.stop)
	c.wg.Wait()
	c.sock.close()
}

// dial sends an INVITE. The call is hung up hold after its answer; onAnswer, when not nil, is called
// with the lock held.
func (c *caller) dial(callee string, hold time.Duration, onAnswer func(*placed)) {
	c.mu.Lock()
	c.last++
	p := &placed{
		dialog: dialog{number: c.last, nonce: c.nonce, local: c.sock.local, server: c.server, callee: callee},
		hold:   hold, onAnswer: onAnswer, interval: timerT1,
	}
	p.to = "<" + p.uri() + ">"
	p.out = p.invite(c.rtp)
	c.calls[p.number] = p
	c.tally.placed++
	p.began = time.Now()
	p.changed, p.next = p.began, p.began.Add(timerT1)
	c.mu.Unlock()
	c.sock.send(int(c.server.Port()), p.out)
}

// hangup ends all calls that are up, spread over d so that their ends do not collide.
func (c *caller) hangup(ctx context.Context, d time.Duration) {
	c.mu.Lock()
	c.going = true
	var all []*placed
	for _, p := range c.calls {
		if p.state == up {
			all = append(all, p)
		}
	}
	c.mu.Unlock()
	for _, p := range all {
		c.mu.Lock()
		c.leave(p, time.Now())
		c.mu.Unlock()
		pause(ctx, d/time.Duration(len(all)))
	}
}

// leave sends the BYE of a call that is up. The lock is held.
func (c *caller) leave(p *placed, now time.Time) {
	if p.state != up {
		return
	}
	p.state, p.changed, p.next, p.interval = leaving, now, now.Add(timerT1), timerT1
	p.out = p.bye()
	c.sock.send(int(c.server.Port()), p.out)
}

// end books a call. The lock is held.
func (c *caller) end(p *placed, failure string) {
	p.state = ended
	delete(c.calls, p.number)
	if failure == "" {
		failure = p.failed
	}
	if failure == "" {
		c.tally.clean++
	} else {
		c.tally.failures[failure]++
	}
}

func (c *caller) receive(_ int, at time.Time, b []byte) {
	m, ok := parse(b, c.nonce)
	if !ok {
		return
	}
	port := int(c.server.Port())
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.calls[m.call]
	if m.status == 0 {
		if m.method != "ACK" {
			c.sock.send(port, okTo(m))
		}
		if m.method == "BYE" && p != nil && (p.state == up || p.state == leaving) {
			c.end(p, "hung up by the server")
		}
		return
	}
	if p == nil {
		return
	}
	switch {
	case m.method == "INVITE" && m.status < 200:
		p.heard = true
	case m.method == "INVITE" && m.status < 300:
		if !p.connected {
			p.connected = true
			p.to, p.target, p.rtpPort, p.latency = string(m.to), string(m.contact), m.rtpPort, at.Sub(p.began)
			c.tally.answered++
			c.tally.latency.add(p.latency)
			p.changed, c.tally.last = at, at
		}
		c.sock.send(port, p.ack()) // again for every copy of the 200
		if p.state != inviting && p.state != canceling {
			return
		}
		late := p.state == canceling
		p.state = up
		if p.onAnswer != nil {
			p.onAnswer(p)
		}
		if p.hold == 0 || late || c.going {
			c.leave(p, time.Now())
		}
	case m.method == "INVITE":
		p.to = string(m.to)
		c.sock.send(port, p.ackRefusal())
		if p.state == inviting {
			c.tally.refused++
			if m.status == 503 && m.retryAfter {
				c.tally.retryAfter++
			}
		}
		c.end(p, fmt.Sprintf("refused with %d", m.status))
	case m.method == "BYE" && m.status >= 200 && p.state == leaving:
		if m.status < 300 {
			c.end(p, "")
		} else {
			c.end(p, fmt.Sprintf("BYE answered with %d", m.status))
		}
	}
}

// sweep retransmits, ends calls whose time has come, and gives up on those that nobody answers.
func (c *caller) sweep() {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-c.stop:
			return
		case <-tick.C:
		}
		c.mu.Lock()
		now := time.Now()
		for _, p := range c.calls {
			switch {
			case p.state == up:
				if p.hold != forever && now.Sub(p.changed) >= p.hold {
					c.leave(p, now)
				}
			case now.Sub(p.changed) > giveUp:
				switch p.state {
				case inviting:
					p.failed, p.state, p.changed, p.next, p.interval, p.out = "no final response", canceling, now, now.Add(timerT1), timerT1, p.cancel()
					c.sock.send(int(c.server.Port()), p.out)
				case canceling:
					c.end(p, "no answer to CANCEL")
				case leaving:
					c.end(p, "no answer to BYE")
				case up, ended: // not here
				}
			case now.After(p.next) && !(p.state == inviting && p.heard):
				p.interval *= 2
				p.next = now.Add(p.interval)
				c.tally.resent++
				c.sock.send(int(c.server.Port()), p.out)
			}
		}
		c.mu.Unlock()
	}
}

// begin starts a new tally; calls still up count where they end.
func (c *caller) begin() {
	c.mu.Lock()
	c.going = false
	c.tally = &tally{began: time.Now(), failures: make(map[string]int)}
	c.mu.Unlock()
}

func (c *caller) active() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.calls)
}

// run places n calls at an even rate a second and waits until all are over.
func (c *caller) run(ctx context.Context, callee string, rate float64, n int) *tally {
	c.begin()
	c.place(ctx, rate, n, func() { c.dial(callee, 0, nil) })
	return c.finish(ctx)
}

// finish waits until all calls are over.
func (c *caller) finish(ctx context.Context) *tally {
	for c.active() > 0 && ctx.Err() == nil { // each ends within two times giveUp
		pause(ctx, 5*time.Millisecond)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tally.elapsed = time.Since(c.tally.began)
	return c.tally
}

// place calls dial n times at an even rate.
func (c *caller) place(ctx context.Context, rate float64, n int, dial func()) {
	start := time.Now()
	for done := 0; done < n && ctx.Err() == nil; {
		due := min(n, int(time.Since(start).Seconds()*rate)+1)
		for ; done < due; done++ {
			dial()
		}
		pause(ctx, time.Millisecond)
	}
}

// pause waits for d or for the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
