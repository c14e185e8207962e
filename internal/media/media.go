// Package media moves audio between offhook and the other party of each leg: RTP and RTCP (RFC 3550,
// RFC 3551), telephone-event (RFC 4733), SDP offer and answer (RFC 3264, RFC 8866). It paces what it
// sends on an absolute clock and never waits for anybody.
//
// An Engine owns a few workers. A Stream, the audio of one leg, belongs to one worker for life: the
// worker sends its frame every 20 ms and reads its sockets 2 ms before. Everything else reaches the
// stream by messages, so media state needs no lock. What to play and what a key means is for
// package session to say; when and where descriptions travel is for package sip.
package media

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"github.com/offhook/offhook/internal/audio"
	"github.com/offhook/offhook/internal/clock"
)

// Config is what an Engine needs; the zero value works.
type Config struct {
	// IP is where RTP is received; zero or unspecified: on every address, and each peer is told the one
	// that faces it. A peer of the other family is served on every address too.
	IP netip.Addr
	// PortMin and PortMax bound the RTP and RTCP ports; default 16384 to 32767.
	PortMin, PortMax int
	// ExternalIP replaces our address toward peers of its family outside LocalNets; zero: it does not.
	ExternalIP netip.Addr
	// LocalNets are the networks that reach us without address translation; default the private ranges.
	// Loopback and link-local addresses always count as local.
	LocalNets []netip.Prefix
	// Workers is how many goroutines move packets; default GOMAXPROCS.
	Workers int
	// RTPTimeout is how long a peer may be silent, RTP and RTCP both; default 60 s, negative: for ever.
	RTPTimeout time.Duration
	// Portable takes the sockets of package net on Linux as well.
	Portable bool
	// Clock paces; default clock.System.
	Clock clock.Clock
	// Log gets what goes wrong; default slog.Default().
	Log *slog.Logger
}

// Default RTP ports.
const (
	defaultPortMin = 16384
	defaultPortMax = 32767
)

// roomyWorker is how many streams a worker takes before the next one gets any: 80 a slot, which it
// moves in 0.7 ms, a third of its time. One that is heard by another costs as much as one that plays.
const roomyWorker = 800

var errClosed = errors.New("media: engine closed")

// withDefaults fills in what c leaves open and checks the rest.
func (c Config) withDefaults() (Config, error) {
	if c.PortMin == 0 {
		c.PortMin = defaultPortMin
	}
	if c.PortMax == 0 {
		c.PortMax = defaultPortMax
	}
	if c.PortMin < 1 || c.PortMax > 65535 || c.PortMin+c.PortMin%2+1 > c.PortMax {
		return c, fmt.Errorf("media: RTP ports %d-%d: give a range within 1-65535 that holds an even port and the next", c.PortMin, c.PortMax)
	}
	if c.Workers <= 0 {
		c.Workers = runtime.GOMAXPROCS(0)
	}
	if c.RTPTimeout == 0 {
		c.RTPTimeout = 60 * time.Second
	}
	if c.LocalNets == nil {
		for _, s := range []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"} { // RFC 1918, RFC 4193
			c.LocalNets = append(c.LocalNets, netip.MustParsePrefix(s))
		}
	}
	if c.Clock == nil {
		c.Clock = clock.System
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	c.IP, c.ExternalIP = c.IP.Unmap(), c.ExternalIP.Unmap()
	return c, nil
}

// Engine opens streams and moves their packets.
type Engine struct {
	config  Config
	open    opener
	ports   *ports
	tones   *tones
	workers []*worker
	roomy   int64 // see roomyWorker
	running sync.WaitGroup

	moves  sync.Mutex   // held while a stream changes its worker, or leaves it
	mu     sync.RWMutex // held for reading while a stream is added
	closed bool
}

// New starts an engine; Close stops it.
func New(config Config) (*Engine, error) {
	config, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	e := &Engine{
		config: config,
		open:   systemOpener(config.Clock),
		ports:  newPorts(config.PortMin, config.PortMax),
		tones:  makeTones(),
		roomy:  roomyWorker,
	}
	if config.Portable {
		e.open = portableOpener(config.Clock)
	}
	checkFileLimit(config.Log, len(e.ports.free))
	now := config.Clock.Now()
	for i := range config.Workers {
		var waiter waiter = newClockWaiter(config.Clock)
		if !config.Portable {
			if waiter, err = newWaiter(config.Clock); err != nil {
				return nil, errors.Join(err, e.Close())
			}
		}
		// Workers tick one after the other, not all at once.
		epoch := now.Add(slotDuration * time.Duration(i) / time.Duration(config.Workers))
		w := newWorker(config.Clock, waiter, epoch)
		e.workers = append(e.workers, w)
		e.running.Go(w.run)
	}
	return e, nil
}

// Close ends all streams and stops the workers. It is idempotent and returns when all are gone.
func (e *Engine) Close() error {
	e.mu.Lock()
	closed := e.closed
	e.closed = true
	e.mu.Unlock()
	if !closed {
		for _, w := range e.workers {
			w.post(func() { w.exit = true })
		}
	}
	e.running.Wait()
	return nil
}

// Open reserves a pair of ports and begins to receive. peer is the signalling peer's address: it
// chooses the family, and which of our addresses goes into SDP. ErrNoPorts when all ports are in use.
func (e *Engine) Open(peer netip.Addr, sink Sink) (*Stream, error) {
	bind, advertise, err := e.addresses(peer.Unmap())
	if err != nil {
		return nil, err
	}
	pair, rtp, rtcp, err := e.ports.open(e.open, bind)
	if err != nil {
		return nil, err
	}
	s := &Stream{
		engine: e, pair: pair,
		mail: make(chan command, mailboxSize), done: make(chan struct{}),
		negotiation: newNegotiation(advertise, pair.rtp),
	}
	s.worker.Store(e.place())
	s.flow = &flow{
		stream: s, sink: sink, rtp: rtp, rtcp: rtcp,
		log:  e.config.Log.With("rtp_port", pair.rtp),
		play: playout{tones: e.tones},
		ssrc: rand.Uint32(), seq: uint16(rand.Uint32()), tsBase: rand.Uint32(),
		reporter: reporter{cname: fmt.Sprintf("%016x", rand.Uint64())}, // RFC 7022: random per session
	}
	s.flow.source.strangers[0] = pair.last
	if t := e.config.RTPTimeout; t > 0 {
		s.flow.quietLimit = max(int(t/audio.FrameDuration), 1)
	}
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.closed || !s.worker.Load().post(func() { s.worker.Load().add(s.flow) }) {
		s.flow.close()
		e.ports.give(pair)
		return nil, errClosed
	}
	return s, nil
}

// place chooses a new stream's worker by momentary counts, which are good enough: the first that has
// room, since each one that ticks costs about 2 % of a core by itself, and the emptiest when none has.
func (e *Engine) place() *worker {
	best := e.workers[0]
	for _, w := range e.workers {
		n := w.streams()
		if n < e.roomy {
			return w
		}
		if n < best.streams() {
			best = w
		}
	}
	return best
}

// addresses are what to bind and what to put into SDP for peer.
func (e *Engine) addresses(peer netip.Addr) (bind, advertise netip.Addr, err error) {
	ip := e.config.IP
	if !peer.IsValid() {
		if peer = ip; !ip.IsValid() || ip.IsUnspecified() {
			peer = netip.AddrFrom4([4]byte{127, 0, 0, 1})
		}
	}
	bind, advertise = ip, ip
	if !ip.IsValid() || ip.IsUnspecified() || ip.Is4() != peer.Is4() {
		bind = netip.IPv6Unspecified()
		if peer.Is4() {
			bind = netip.IPv4Unspecified()
		}
		if advertise, err = facing(peer); err != nil {
			return bind, advertise, err
		}
	}
	if x := e.config.ExternalIP; x.IsValid() && x.Is4() == peer.Is4() && !e.local(peer) {
		advertise = x
	}
	return bind, advertise.WithZone(""), nil
}

func (e *Engine) local(peer netip.Addr) bool {
	if peer.IsLoopback() || peer.IsLinkLocalUnicast() {
		return true
	}
	for _, n := range e.config.LocalNets {
		if n.Contains(peer.WithZone("")) {
			return true
		}
	}
	return false
}

// facing is the address of ours that packets to peer leave from. Connecting a UDP socket sends nothing.
func facing(peer netip.Addr) (netip.Addr, error) {
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(peer, 9)))
	if err != nil {
		return netip.Addr{}, fmt.Errorf("media: no route to %v: %w", peer, err)
	}
	defer c.Close()
	local, ok := c.LocalAddr().(*net.UDPAddr)
	if !ok {
		return netip.Addr{}, fmt.Errorf("media: no local address toward %v", peer)
	}
	return local.AddrPort().Addr().Unmap(), nil
}
