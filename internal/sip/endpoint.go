package sip

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/clock"
)

// Endpoint is our side of SIP: listening sockets, transactions and the registry of legs.
type Endpoint struct {
	cfg     Config
	log     *slog.Logger
	sources *sources

	tp *sip.TransportLayer
	tx *sip.TransactionLayer

	limiter      *limiter
	conns        *connections
	transactions atomic.Int64       // server transactions
	states       [over]atomic.Int64 // legs in each state
	traffic      traffic
	drops        drops
	told         atomic.Int64 // when the log last spoke of a stranger, Unix ns
	seed         maphash.Seed // of the tags in responses without a transaction
	entry        entry        // which new calls come in

	domains       domains
	challenger    *challenger
	guard         *guard
	strangers     *limiter // of requests to our domains
	crowd         *limiter // all strangers together
	pings         string   // how the Call-IDs of our keep-alives begin
	challenges    atomic.Uint64
	failures      atomic.Uint64 // answers to them that were wrong
	registrations atomic.Uint64

	binds        []bind
	tlsBinds     []bind
	tlsListeners []net.Listener
	tls          *secureConns // nil: no calls over TLS
	health       *targetHealth
	keeper       *keeper
	leave        context.CancelFunc // ends the keeper; nil before it runs
	kept         chan struct{}      // closed then
	closers      []func() error

	ctx     context.Context // of everything the endpoint runs
	stop    context.CancelFunc
	work    sync.WaitGroup // legs and transactions
	readers sync.WaitGroup // of the sockets, which close after the last of work

	mu       sync.Mutex
	closing  bool
	legs     map[dialogKey]*Leg         // by Call-ID and our own tag
	ended    map[dialogKey]bool         // legs over for less than 64*T1: their late BYEs are answered
	incoming map[inviteKey]inviteRecord // initial INVITEs received: CANCEL, merged requests, late retransmissions
	callIDs  map[string]*callEntry      // live and just ended dialogs; a packet of one may enter
	peers    map[netip.Addr]int         // addresses that legs speak to; they may connect
	orphans  map[dialogKey]*orphan      // cancelled INVITEs of an earlier process
	hairpins map[inviteKey]bool         // INVITEs of live calls to our own numbers: nobody else hears their tag
	live     int                        // legs that count against MaxLegs
	idle     chan struct{}              // closed when closing and no leg is left
}

// readBuffer is the socket buffer asked for: some thousand datagrams, a burst of calls at a busy moment.
const readBuffer = 4 << 20

// bind is one listening address.
type bind struct {
	addr netip.AddrPort // as bound
	key  sip.Addr       // names the socket in sipgo's pool
}

type dialogKey struct{ callID, localTag string }
type inviteKey struct{ callID, fromTag string }

// inviteRecord is made before its leg and outlives it, or the refusal, by 64*T1.
type inviteRecord struct {
	leg     *Leg // nil when there is none yet, and when it is over
	opening bool // it is not decided yet whether there will be a leg
	branch  string
	cseq    uint32
}

// Listen opens every address of cfg.Listen, UDP and TCP, and serves until Close. ctx bounds the start only.
func Listen(ctx context.Context, cfg Config) (*Endpoint, error) {
	cfg.setDefaults()
	if cfg.Media == nil || cfg.Clock == nil || len(cfg.Listen) == 0 || len(cfg.ListenTLS) > 0 && cfg.Certificate == nil {
		return nil, errors.New("sip: Config needs Media, Clock and a Listen address, and ListenTLS a Certificate")
	}
	e := &Endpoint{
		cfg: cfg, log: cfg.Log, sources: newSources(cfg.Trunks),
		limiter: newLimiter(cfg.Clock, cfg.MaxRate), conns: newConnections(cfg.MaxConns, cfg.MaxConnsSource), seed: maphash.MakeSeed(),
		entry:    entry{admit: cfg.Admit, seed: maphash.MakeSeed()},
		legs:     make(map[dialogKey]*Leg),
		ended:    make(map[dialogKey]bool),
		incoming: make(map[inviteKey]inviteRecord),
		callIDs:  make(map[string]*callEntry),
		peers:    make(map[netip.Addr]int),
		hairpins: make(map[inviteKey]bool),
		orphans:  make(map[dialogKey]*orphan),
		idle:     make(chan struct{}),
		health:   newTargetHealth(cfg.Clock),

		domains: domains{list: cfg.Domains, trunks: cfg.Trunks}, challenger: newChallenger(cfg.Clock, cfg.Digests), guard: newGuard(cfg.Clock),
		strangers: newLimiter(cfg.Clock, strangerRate), crowd: newLimiter(cfg.Clock, allStrangers), pings: "keep-" + token(8) + "-",
	}
	e.strangers.burst = strangerBurst
	e.keeper = newKeeper(e)
	e.ctx, e.stop = context.WithCancel(context.Background())
	quiet := slog.New(slog.DiscardHandler)
	e.tp = sip.NewTransportLayer(cfg.Resolver, newParser(), nil,
		sip.WithTransportLayerLogger(quiet),
		sip.WithTransportLayerTransports(sip.TransportsConfig{TCP: &sip.TransportTCP{
			ReadTimeout:  idleWait,        // of connections we opened; streamConn has its own
			WriteTimeout: 5 * time.Second, // a peer that does not read holds nobody up
			DialerCreate: func(laddr net.Addr) net.Dialer {
				return net.Dialer{Timeout: 5 * time.Second, LocalAddr: laddr, ControlContext: onlyOurDials}
			},
		}, TLS: &sip.TransportTLS{TransportTCP: &sip.TransportTCP{
			ReadTimeout:  idleWait,
			WriteTimeout: 5 * time.Second,
			DialerCreate: noDials,
		}}}))
	e.tp.OnMessage(e.mark) // before the transaction layer's own
	e.tx = sip.NewTransactionLayer(e.tp,
		sip.WithTransactionLayerLogger(quiet),
		sip.WithTransactionLayerUnhandledResponseHandler(e.onStrayResponse),
		sip.WithTransactionLayerTerminateOnConnClose())
	e.tx.OnRequest(e.onRequest)

	var serve []func(context.Context) error
	for _, a := range cfg.Listen {
		s, err := e.bind(ctx, a)
		if err != nil {
			_ = e.Close(context.Background())
			return nil, err
		}
		serve = append(serve, s)
	}
	for _, a := range cfg.ListenTLS {
		if err := e.bindTLS(ctx, a); err != nil {
			_ = e.Close(context.Background())
			return nil, err
		}
	}
	e.serveTLS()
	for _, s := range serve { // only now: readers look at all binds
		if err := s(ctx); err != nil {
			_ = e.Close(context.Background())
			return nil, err
		}
	}
	first, cancel := context.WithTimeout(ctx, startWait)
	again := e.sources.refresh(first, cfg.Resolver)
	cancel()
	e.work.Go(func() { e.refreshSources(again) })
	trunks, leave := context.WithCancel(e.ctx)
	e.leave, e.kept = leave, make(chan struct{})
	e.work.Go(func() {
		defer close(e.kept)
		e.keeper.run(trunks)
	})
	if cfg.Locations != nil {
		e.work.Go(e.keepAlive)
	}
	return e, nil
}

// bind opens one address. With port 0 UDP chooses, and another port is tried when TCP has it already.
func (e *Endpoint) bind(ctx context.Context, addr string) (serve func(context.Context) error, err error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("sip: listen address %q: %w", addr, err)
	}
	var (
		lc net.ListenConfig
		pc net.PacketConn
		tl net.Listener
	)
	for try := 0; ; try++ {
		if pc, err = lc.ListenPacket(ctx, "udp", addr); err != nil {
			return nil, fmt.Errorf("sip: listen on %s (is another SIP program running?): %w", addr, err)
		}
		_, p, _ := net.SplitHostPort(pc.LocalAddr().String())
		if tl, err = lc.Listen(ctx, "tcp", net.JoinHostPort(host, p)); err == nil {
			break
		}
		_ = pc.Close()
		if port != "0" || try == 20 {
			return nil, fmt.Errorf("sip: listen on %s (is another SIP program running?): %w", addr, err)
		}
	}
	if u, ok := pc.(*net.UDPConn); ok {
		_ = u.SetReadBuffer(readBuffer) // a smaller one drops bursts, nothing worse
	}
	local := netip.MustParseAddrPort(pc.LocalAddr().String())
	e.binds = append(e.binds, bind{addr: local, key: sip.Addr{IP: local.Addr().AsSlice(), Port: int(local.Port())}})
	e.closers = append(e.closers, pc.Close, tl.Close)

	return func(ctx context.Context) error { return e.serve(ctx, pc, tl) }, nil
}

// serve starts the readers of one address and returns when requests can be sent from it.
func (e *Endpoint) serve(ctx context.Context, pc net.PacketConn, tl net.Listener) error {
	if e.cfg.wrapUDP != nil {
		pc = e.cfg.wrapUDP(pc)
	}
	udp := e.readUDP(pc)
	e.readers.Go(func() { _ = e.tp.ServeTCP(&listener{Listener: tl, e: e}) })
	select {
	case <-udp.ready: // sipgo knows the socket
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// readUDP starts a reader of sipgo's, and its successor when it has seen too many sources.
func (e *Endpoint) readUDP(pc net.PacketConn) *packetConn {
	succeeded, full, closed := make(chan struct{}), make(chan struct{}), make(chan struct{})
	c := &packetConn{PacketConn: pc, e: e, ready: make(chan struct{}), full: full, next: succeeded}
	e.readers.Go(func() {
		defer close(closed)
		_ = e.tp.ServeUDP(c)
	})
	e.readers.Go(func() {
		select {
		case <-full:
			<-e.readUDP(pc).ready
			close(succeeded)
		case <-closed:
		}
	})
	return c
}

// Addr is the first listening address.
func (e *Endpoint) Addr() netip.AddrPort { return e.binds[0].addr }

// Legs is the number of legs that are not over.
func (e *Endpoint) Legs() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.live
}

// Close refuses new calls, hangs up every leg and waits for them until ctx is done; then it drops what is
// left, closes the sockets and waits for its goroutines. It is idempotent.
func (e *Endpoint) Close(ctx context.Context) error {
	e.mu.Lock()
	first := !e.closing
	e.closing = true
	if first && e.live == 0 {
		close(e.idle)
	}
	legs := make([]*Leg, 0, len(e.legs))
	for _, l := range e.legs {
		legs = append(legs, l)
	}
	e.mu.Unlock()
	for _, l := range legs {
		l.Hangup()
	}
	var err error
	select {
	case <-e.idle:
	case <-ctx.Done():
		err = fmt.Errorf("sip: close: %d legs dropped: %w", e.Legs(), context.Cause(ctx))
		for _, l := range legs {
			l.drop()
		}
		<-e.idle
	}
	if e.leave != nil { // carriers send no more calls
		e.leave()
		<-e.kept
	}
	e.stop() // from here on nothing is read any more
	e.tx.Close()
	e.work.Wait()
	// A message that is being treated after the sockets are gone would make sipgo open one of its own, and
	// nothing tells when its goroutines are through with the last one read. They take microseconds.
	_ = clock.Sleep(context.Background(), clock.System, 20*time.Millisecond)
	for _, c := range e.closers {
		_ = c()
	}
	_ = e.tp.Close()
	e.readers.Wait()
	return err
}

// refreshSources resolves trunk hosts again every minute, sooner when one failed, and at once when a new name
// turned up.
func (e *Endpoint) refreshSources(again time.Duration) {
	t := e.cfg.Clock.NewTimer(again)
	defer t.Stop()
	for {
		select {
		case <-t.C():
		case <-e.sources.wake:
		case <-e.ctx.Done():
			return
		}
		t.Reset(e.sources.refresh(e.ctx, e.cfg.Resolver))
	}
}

// refused tells the operator of a stranger, now and then: a carrier that calls from an address its trunk
// does not list is heard of nowhere else. Strangers get no answer, and in dev mode no line either.
func (e *Endpoint) refused(src netip.Addr) {
	n := e.drops.strangers.Add(1)
	if e.cfg.Dev {
		return
	}
	now := e.cfg.Clock.Now().UnixNano()
	if last := e.told.Load(); now-last > int64(10*time.Second) && e.told.CompareAndSwap(last, now) {
		e.log.Warn("sip: dropped a message from an address that no trunk lists; if it is your carrier, add its address to the sources of the trunk",
			"source", src.String(), "dropped_so_far", n)
	}
}

// admitConn lets a TCP connection in. What it may carry is decided for each message.
func (e *Endpoint) admitConn(src netip.Addr) bool {
	if e.trusted(src) || e.isOwn(src) || e.peerOfLeg(src) {
		return true
	}
	if len(e.domains.present().byName) > 0 && !e.guard.shut(src) { // it may be a phone; connections counts them
		return true
	}
	e.refused(src)
	return false
}

// isStranger reports whether nothing speaks for a source that admitConn let in.
func (e *Endpoint) isStranger(src netip.Addr) bool {
	return !e.trusted(src) && !e.isOwn(src) && !e.guard.friend(src)
}

// belongs reports whether a message is part of a call of ours, as far as the call may still take any. A request
// that only borrows a call's Call-ID begins something new.
func (e *Endpoint) belongs(m *raw) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := e.callIDs[m.callID]
	if c == nil || m.callID == "" {
		return false
	}
	if key := (inviteKey{m.callID, m.fromTag}); m.request && m.toTag == "" && !e.hairpins[key] {
		if rec, ok := e.incoming[key]; !ok || rec.branch != m.branch { // neither a copy nor its CANCEL
			return false
		}
	}
	return c.allow(e.cfg.Clock.Now())
}

func (e *Endpoint) isOwn(a netip.Addr) bool {
	for _, b := range slices.Concat(e.binds, e.tlsBinds) {
		if b.addr.Addr().Unmap() == a {
			return true
		}
	}
	return false
}

func (e *Endpoint) peerOfLeg(a netip.Addr) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.peers[a] > 0
}

// moved notes that a leg speaks to another address: from one to the other, either of them invalid for none.
func (e *Endpoint) moved(from, to netip.Addr) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.movedLocked(from, to)
}

func (e *Endpoint) movedLocked(from, to netip.Addr) {
	if to.IsValid() {
		e.peers[to]++
	}
	if !from.IsValid() {
		return
	}
	if e.peers[from]--; e.peers[from] <= 0 {
		delete(e.peers, from)
	}
}

// add registers a leg; ErrBusy when there are too many.
func (e *Endpoint) add(l *Leg, in *inviteKey, rec inviteRecord) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closing {
		return ErrClosed
	}
	if e.live >= e.cfg.MaxLegs {
		return ErrBusy
	}
	e.live++
	e.states[l.state].Add(1)
	e.legs[l.key()] = l
	e.rememberLocked(l.d.callID)
	l.peer = l.hop.addr.Addr()
	e.movedLocked(netip.Addr{}, l.peer)
	if in != nil {
		l.invKey = in
		rec.leg, rec.opening = l, false
		e.incoming[*in] = rec
	}
	if l.hairpin && !l.uas {
		e.hairpins[inviteKey{l.d.callID, l.d.localTag}] = true
	}
	return nil
}

// remove forgets a leg that is over. Its names stay for 64*T1, for what the network still delivers.
func (e *Endpoint) remove(l *Leg) {
	key, in, callID := l.key(), l.invKey, l.d.callID
	var over inviteRecord
	e.mu.Lock()
	delete(e.legs, key)
	if l.hairpin && !l.uas {
		delete(e.hairpins, inviteKey{callID, key.localTag})
	}
	e.ended[key] = true
	if in != nil {
		over = e.closeRecordLocked(*in)
	}
	e.movedLocked(l.peer, netip.Addr{})
	l.peer = netip.Addr{}
	e.live--
	if e.closing && e.live == 0 {
		close(e.idle)
	}
	e.mu.Unlock()
	e.cfg.Clock.AfterFunc(timer64T1, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.ended, key)
		if in != nil {
			e.dropRecordLocked(*in, over)
		}
		e.forgetLocked(callID)
	})
}

// claim notes an initial INVITE, of several copies the first only: of a later one, and of another INVITE
// while the first still has a leg, it returns what is known and false.
func (e *Endpoint) claim(key inviteKey, rec inviteRecord) (known inviteRecord, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if known, found := e.incoming[key]; found && (known.leg != nil || known.opening || known.cseq == rec.cseq) {
		return known, false
	}
	rec.opening = true
	e.incoming[key] = rec
	return rec, true
}

// unclaim ends the claim on an INVITE that was refused. It is remembered for 64*T1, for its CANCEL and for
// copies that come by another path.
func (e *Endpoint) unclaim(key inviteKey) {
	e.mu.Lock()
	over := e.closeRecordLocked(key)
	e.mu.Unlock()
	e.cfg.Clock.AfterFunc(timer64T1, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.dropRecordLocked(key, over)
	})
}

func (e *Endpoint) closeRecordLocked(key inviteKey) inviteRecord {
	rec := e.incoming[key]
	rec.leg, rec.opening = nil, false
	e.incoming[key] = rec
	return rec
}

// dropRecordLocked forgets an INVITE unless the caller has sent another one since.
func (e *Endpoint) dropRecordLocked(key inviteKey, over inviteRecord) {
	if e.incoming[key] == over {
		delete(e.incoming, key)
	}
}

// record is what is known of the INVITE a CANCEL names.
func (e *Endpoint) record(key inviteKey) (inviteRecord, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	rec, ok := e.incoming[key]
	return rec, ok
}

func (e *Endpoint) rememberLocked(callID string) {
	c := e.callIDs[callID]
	if c == nil {
		c = &callEntry{}
		e.callIDs[callID] = c
	}
	c.legs++
}

func (e *Endpoint) forgetLocked(callID string) {
	if c := e.callIDs[callID]; c != nil {
		if c.legs--; c.legs <= 0 {
			delete(e.callIDs, callID)
		}
	}
}

// lookup finds the leg of an in-dialog request; justEnded when it is over for a short while.
func (e *Endpoint) lookup(key dialogKey) (l *Leg, justEnded bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.legs[key], e.ended[key]
}

// bindFor is the socket toward peer: the first of its address family.
func (e *Endpoint) bindFor(peer netip.Addr) bind { return bindOf(e.binds, peer) }

func bindOf(binds []bind, peer netip.Addr) bind {
	for _, b := range binds {
		if a := b.addr.Addr(); a.Unmap().Is4() == peer.Is4() || a == netip.IPv6Unspecified() {
			return b
		}
	}
	return binds[0]
}

// advertised is the address a peer is told to reach us at (Via, Contact): the external one for peers
// outside the local networks, else the bound one, else the one the route toward the peer starts from.
func (e *Endpoint) advertised(peer netip.Addr) netip.AddrPort { return e.facing(e.bindFor(peer), peer) }

// self is advertised for a hop: SIP over TLS has a port of its own.
func (e *Endpoint) self(h hop) netip.AddrPort {
	if h.transport == "TLS" && len(e.tlsBinds) > 0 {
		return e.facing(bindOf(e.tlsBinds, h.addr.Addr()), h.addr.Addr())
	}
	return e.advertised(h.addr.Addr())
}

func (e *Endpoint) facing(b bind, peer netip.Addr) netip.AddrPort {
	if e.cfg.ExternalIP.IsValid() && !e.isLocal(peer) {
		return netip.AddrPortFrom(e.cfg.ExternalIP, b.addr.Port())
	}
	if !b.addr.Addr().IsUnspecified() {
		return netip.AddrPortFrom(b.addr.Addr().Unmap(), b.addr.Port())
	}
	var dialer net.Dialer
	c, err := dialer.DialContext(e.ctx, "udp", netip.AddrPortFrom(peer, 9).String()) // sends nothing
	if err != nil {
		return netip.AddrPortFrom(peer, b.addr.Port())
	}
	defer func() { _ = c.Close() }()
	a, _ := addrOf(c.LocalAddr())
	return netip.AddrPortFrom(a, b.addr.Port())
}

func (e *Endpoint) isLocal(a netip.Addr) bool {
	for _, p := range e.cfg.LocalNets {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// trunkOf names the trunk a request came from.
func (e *Endpoint) trunkOf(src netip.Addr) *call.Trunk { return e.sources.match(src) }
