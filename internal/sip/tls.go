package sip

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/emiago/sipgo/sip"
)

// SIP over TLS (RFC 3261 section 26.2). sipgo's transport would check the certificate of a server that we call
// against the address it connects to, not the name it was looked up by; so the connections are ours, and it gets
// them as if they had been accepted. That way they pass through the gate, too.

// connectTimeout bounds a TCP connection of ours.
const connectTimeout = 5 * time.Second

// errNoTLS: there is no listener that a Via or Contact could name.
var errNoTLS = errors.New("calls over TLS need an address to listen on (--sips)")

// errDropped: the connection that secure saw to has gone since.
var errDropped = errors.New("the TLS connection was closed")

// secureConns are the TLS connections that we opened.
type secureConns struct {
	e     *Endpoint
	addr  net.Addr // stands for the listener's
	roots *x509.CertPool

	conns chan net.Conn // to sipgo
	taken chan struct{} // it has the last one in its pool
	quit  chan struct{}
	once  sync.Once

	handing sync.Mutex

	mu     sync.Mutex
	open   map[netip.AddrPort]*tls.Conn
	dials  map[netip.AddrPort]*dialOf
	handed bool // the acceptor's own
}

// dialOf is a connection that is being made.
type dialOf struct {
	done chan struct{}
	err  error
}

func newSecureConns(e *Endpoint, addr net.Addr, roots *x509.CertPool) *secureConns {
	return &secureConns{
		e: e, addr: addr, roots: roots, conns: make(chan net.Conn), taken: make(chan struct{}), quit: make(chan struct{}),
		open: make(map[netip.AddrPort]*tls.Conn), dials: make(map[netip.AddrPort]*dialOf),
	}
}

// Accept gives sipgo the next connection. When it asks for another one, it knows the last.
func (s *secureConns) Accept() (net.Conn, error) {
	if s.handed {
		select {
		case s.taken <- struct{}{}:
		case <-s.quit:
			return nil, net.ErrClosed
		}
	}
	select {
	case c := <-s.conns:
		s.handed = true
		return c, nil
	case <-s.quit:
		return nil, net.ErrClosed
	}
}

// Addr is net.Listener's.
func (s *secureConns) Addr() net.Addr { return s.addr }

// Close ends Accept.
func (s *secureConns) Close() error {
	s.once.Do(func() { close(s.quit) })
	return nil
}

// hand gives a connection to sipgo and waits until requests find it.
func (s *secureConns) hand(c net.Conn) error {
	s.handing.Lock()
	defer s.handing.Unlock()
	select {
	case s.conns <- c:
	case <-s.quit:
		return ErrClosed
	}
	select {
	case <-s.taken:
		return nil
	case <-s.quit:
		return ErrClosed
	}
}

// reaches reports whether there is a connection to addr whose other end may get a request for host: in a dialog
// whichever brought it, else one that we opened and that showed a certificate for that name, or one over which a
// phone has registered. Whoever else connects from there has shown nothing.
func (s *secureConns) reaches(addr netip.AddrPort, host string, inDialog bool) bool {
	c := s.e.secureConn(addr)
	if c == nil || inDialog {
		return c != nil
	}
	s.mu.Lock()
	own := s.open[addr]
	s.mu.Unlock()
	if own != nil && c.Conn == net.Conn(own) {
		return certifies(own, host)
	}
	return c.src == addr && c.registered.Load() // sipgo knows connections by our own address, too
}

func certifies(c *tls.Conn, host string) bool {
	certs := c.ConnectionState().PeerCertificates
	return len(certs) > 0 && certs[0].VerifyHostname(host) == nil
}

// dial connects to addr, whose certificate must be host's. Two that want the same share one.
func (s *secureConns) dial(ctx context.Context, addr netip.AddrPort, host string) error {
	s.mu.Lock()
	d := s.dials[addr]
	if d == nil {
		d = &dialOf{done: make(chan struct{})}
		s.dials[addr] = d
		s.mu.Unlock()
		d.err = s.connect(ctx, addr, host)
		s.mu.Lock()
		delete(s.dials, addr)
		s.mu.Unlock()
		close(d.done)
		return d.err
	}
	s.mu.Unlock()
	select {
	case <-d.done:
		if d.err == nil && !s.reaches(addr, host, false) {
			return fmt.Errorf("the certificate of %s is not for %s", addr, host)
		}
		return d.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s *secureConns) connect(ctx context.Context, addr netip.AddrPort, host string) error {
	dialer := net.Dialer{Timeout: connectTimeout}
	raw, err := dialer.DialContext(ctx, "tcp", addr.String())
	if err != nil {
		return fmt.Errorf("connect to %s: %w", addr, err)
	}
	c := tls.Client(raw, &tls.Config{ServerName: host, RootCAs: s.roots, MinVersion: tls.VersionTLS12})
	if err := c.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return fmt.Errorf("TLS with %s (%s): %w", host, addr, err)
	}
	s.mu.Lock()
	s.open[addr] = c
	s.mu.Unlock()
	conn := &streamConn{Conn: c, e: s.e, src: addr, spoke: true, closed: func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.open[addr] == c {
			delete(s.open, addr)
		}
	}}
	if err := s.hand(conn); err != nil {
		_ = conn.Close()
		return err
	}
	return nil
}

// connected reports whether there is a TLS connection to or from addr.
func (e *Endpoint) connected(addr netip.AddrPort) bool { return e.secureConn(addr) != nil }

// secureConn is the TLS connection that sipgo would take to addr, nil when there is none.
func (e *Endpoint) secureConn(addr netip.AddrPort) *streamConn {
	c := e.tp.Pool("tls").Get(addr.String())
	if c == nil {
		return nil
	}
	_, _ = c.TryClose() // Get has counted us
	return streamOf(c)
}

// streamOf is ours below a connection of sipgo's, nil below a socket for datagrams.
func streamOf(c sip.Connection) *streamConn {
	if t, ok := c.(*sip.TCPConnection); ok {
		s, _ := t.Conn.(*streamConn)
		return s
	}
	return nil
}

// secure sees to it that a request over TLS has its connection. One of a dialog whose connection is gone goes to
// where its next URI says, which may be another address.
func (e *Endpoint) secure(ctx context.Context, req *sip.Request) error {
	if req.Transport() != "TLS" {
		return nil
	}
	if e.tls == nil {
		return errNoTLS
	}
	addr, err := netip.ParseAddrPort(req.Destination())
	if err != nil {
		return fmt.Errorf("destination %q: %w", req.Destination(), err)
	}
	next := req.Recipient
	if r := req.Route(); r != nil {
		next = r.Address
	}
	inDialog := req.To() != nil && tagOf(req.To().Params) != ""
	if e.tls.reaches(addr, next.Host, inDialog) {
		return nil
	}
	if !inDialog {
		return e.tls.dial(ctx, addr, next.Host)
	}
	found, err := e.resolveURI(ctx, &next, viaTLS)
	if err != nil {
		return err
	}
	for _, c := range found {
		if c.transport != viaTLS {
			return fmt.Errorf("%w: a dialog over TLS does not go on over %s", ErrTarget, c.transport)
		}
		if e.tls.reaches(c.addr, next.Host, true) {
			err = nil
		} else {
			err = e.tls.dial(ctx, c.addr, next.Host)
		}
		if err == nil {
			req.SetDestination(c.addr.String())
			return nil
		}
	}
	return err
}

// bindTLS opens one address for SIP over TLS.
func (e *Endpoint) bindTLS(ctx context.Context, addr string) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("sip: listen on %s for TLS (is another SIP program running?): %w", addr, err)
	}
	local := netip.MustParseAddrPort(l.Addr().String())
	e.tlsBinds = append(e.tlsBinds, bind{addr: local})
	e.closers = append(e.closers, l.Close)
	e.tlsListeners = append(e.tlsListeners, l)
	return nil
}

// serveTLS starts the readers of SIP over TLS.
func (e *Endpoint) serveTLS() {
	if len(e.tlsListeners) == 0 {
		return
	}
	config := &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return e.cfg.Certificate() },
	}
	e.tls = newSecureConns(e, e.tlsListeners[0].Addr(), e.cfg.RootCAs)
	e.closers = append(e.closers, e.tls.Close)
	e.readers.Go(func() { _ = e.tp.ServeTLS(e.tls) })
	for _, l := range e.tlsListeners {
		e.readers.Go(func() { _ = e.tp.ServeTLS(&listener{Listener: l, e: e, tls: config}) })
	}
}

// AddrTLS is the first address that is listened on for TLS; not valid without one.
func (e *Endpoint) AddrTLS() netip.AddrPort {
	if len(e.tlsBinds) == 0 {
		return netip.AddrPort{}
	}
	return e.tlsBinds[0].addr
}

// noDials keeps sipgo from opening TLS connections by itself.
func noDials(net.Addr) net.Dialer {
	return net.Dialer{ControlContext: func(context.Context, string, string, syscall.RawConn) error { return errDropped }}
}
