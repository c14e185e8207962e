// Package sip is the signalling: call legs of our own over sipgo's parser, transport and transactions.
//
// An Endpoint listens on UDP and TCP, drops what comes from strangers before any state exists, and turns
// the rest into legs. A Leg is one party's INVITE dialog, in either role; one goroutine owns its state and
// takes everything that happens to it (messages, timers, commands) from its mailbox, in order. What the
// leg's owner sees is call.LegEvent. Audio is somebody else's: a leg opens a MediaStream, carries its SDP
// (RFC 3264) and forwards Play to it. Which status a call takes, and when to give up ringing, is the
// session's business.
package sip

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/offhook/offhook/internal/audio"
	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/clock"
)

// Media opens a stream for a leg. Open may be called concurrently; it must not block on the network.
type Media interface {
	// Open reserves ports toward peer, which also chooses the address family. Receiving begins at once.
	Open(peer netip.Addr, sink MediaSink) (MediaStream, error)
}

// MediaSink is what a stream tells its leg. Neither method blocks.
type MediaSink interface {
	Digit(key byte) // a key went down: 0-9 * # A-D
	Timeout()       // neither RTP nor RTCP came for too long while not held
}

// MediaStream is one leg's audio. Its methods are safe for concurrent use and harmless after Close.
// An error of Answer or Accept that has a method SIPCode() int chooses the response; others mean 488.
type MediaStream interface {
	Offer() []byte                               // our SDP offer; a new one each time, its version counted up
	Answer(offer []byte) (sdp []byte, err error) // the peer's first or later offer
	Accept(answer []byte) error                  // the answer to our last Offer
	Start()                                      // begin sending
	Play(c *audio.Clip) <-chan struct{}          // queue; closed when played or flushed
	PlayDigits(digits string) <-chan struct{}
	Loop(c *audio.Clip)             // queue it again and again, until Flush
	Flush()                         // drop what plays and is queued
	Mute(on bool)                   // what the party says is silence for everybody
	PutAside(music *audio.Clip)     // the party hears that again and again, nil for silence, and is not heard
	TakeBack()                      // ends PutAside: what was playing goes on
	Hear(other MediaStream)         // this party hears the other from now on, nil ends it; what plays is heard instead
	Secure()                        // only SRTP from now on; before the first description
	Hold() (on, sends bool)         // of the last offer or answer of the peer: it takes no audio, it may send some
	Received() uint64               // packets of audio that came so far
	Tap(t audio.Tap) (untap func()) // t gets what the party says and hears
	Close()
}

// Config of an Endpoint. Media, Clock and at least one Listen address are required.
type Config struct {
	Listen     []string       // host:port; UDP and TCP on each. Port 0 takes a free one
	ListenTLS  []string       // host:port of SIP over TLS; without one there are no calls over TLS, out nor in
	ExternalIP netip.Addr     // our address as peers outside LocalNets see it; zero when there is no NAT
	LocalNets  []netip.Prefix // default: private, loopback, link-local and unique-local ranges
	Dev        bool           // calls from loopback are accepted without a trunk

	Certificate func() (*tls.Certificate, error) // ours, asked for at each handshake; needed by ListenTLS
	RootCAs     *x509.CertPool                   // who vouches for servers that we call; default the system's

	Media  Media
	Trunks func() []call.Trunk // a snapshot; called per datagram of an unknown source, so it must be cheap
	// Fits says how well a trunk fits a call to a number, 0 being not at all: asked where the trunks of several
	// accounts have the caller's address as a source. It may read the store.
	Fits      func(t *call.Trunk, number string) int
	Domains   func() []call.Domain        // our SIP domains: a snapshot, called as Trunks is
	Locations call.Locations              // what phones registered; nil: none may
	Digests   []string                    // what passwords of phones are shown by: MD5, SHA-256 or both, the better first. Default MD5: phones of old give up when they are asked for anything else
	Admit     func() bool                 // whether there is room for one more call; called per new INVITE from outside. Default: always
	OnInvite  func(*Leg, call.InboundLeg) // an accepted incoming call; the callee owns the leg. nil refuses all
	UserAgent string                      // default "offhook"
	Resolver  *net.Resolver               // default net.DefaultResolver

	MaxLegs         int           // concurrent legs, more are refused with 503; default 10,000
	MaxRate         int           // messages a second of one source that begin something, twice that at once; default 5,000
	MaxTransactions int           // requests of peers not done with: beyond it nothing new begins; default 20,000
	MaxConns        int           // TCP connections opened by peers; default 2,000
	MaxConnsSource  int           // of them by one source; default 200
	SessionExpires  time.Duration // RFC 4028 interval asked for, whole seconds; default 30 min

	Clock clock.Clock
	Log   *slog.Logger // default slog.Default()

	wrapUDP    func(net.PacketConn) net.PacketConn // tests lose packets here
	maxSources int                                 // tests see readers replaced; default maxSources
}

// Limits and timers, RFC 3261 section 17 and RFC 4028. sipgo's own are process globals with the same values.
const (
	t1           = 500 * time.Millisecond
	t2           = 4 * time.Second
	timer64T1    = 64 * t1
	minSE        = 90 * time.Second // RFC 4028 section 4
	maxBody      = 16 << 10         // bytes of a request body we read
	maxInbox     = 64               // messages of the network waiting for a leg
	maxEvents    = 32               // events waiting for the leg's owner
	maxRedirects = 5                // 3xx followed in one call
	udpMTU       = 1300             // bytes; RFC 3261 section 18.1.1
)

// sipgo refuses datagrams over sip.UDPMTUSize-200 bytes; we choose the transport ourselves. It also
// logs whole packets of strangers through a process-wide logger. Both are set before main, because a
// write while another endpoint of the process runs would be a race.
var _ = func() struct{} {
	sip.UDPMTUSize = 65535 + 200
	sip.SetDefaultLogger(slog.New(slog.DiscardHandler))
	return struct{}{}
}()

// Errors of the API; NewLeg wraps them in an *call.LegError.
var (
	ErrOver   = errors.New("leg is over")
	ErrClosed = errors.New("endpoint is closed")
	ErrBusy   = errors.New("too many concurrent legs")
	ErrTarget = errors.New("target cannot be called")
)

func failure(code int, err error) *call.LegError {
	err = fmt.Errorf("sip: %w", err)
	return &call.LegError{Cause: call.Cause{SIPCode: code, Reason: err.Error(), Local: true}, Err: err}
}

func (c *Config) setDefaults() {
	if c.LocalNets == nil {
		for _, s := range []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8",
			"169.254.0.0/16", "::1/128", "fe80::/10", "fc00::/7"} {
			c.LocalNets = append(c.LocalNets, netip.MustParsePrefix(s))
		}
	}
	if c.UserAgent == "" {
		c.UserAgent = "offhook"
	}
	if c.Resolver == nil {
		c.Resolver = net.DefaultResolver
	}
	if c.MaxLegs == 0 {
		c.MaxLegs = 10_000
	}
	for limit, usual := range map[*int]int{&c.MaxRate: 5000, &c.MaxTransactions: 20_000, &c.MaxConns: 2000, &c.MaxConnsSource: 200, &c.maxSources: maxSources} {
		if *limit == 0 {
			*limit = usual
		}
	}
	if c.SessionExpires == 0 {
		c.SessionExpires = 30 * time.Minute
	}
	if c.Admit == nil {
		c.Admit = func() bool { return true }
	}
	if c.Trunks == nil {
		c.Trunks = func() []call.Trunk { return nil }
	}
	if c.Digests == nil {
		c.Digests = []string{digestMD5}
	}
	if c.Domains == nil {
		c.Domains = func() []call.Domain { return nil }
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
}
