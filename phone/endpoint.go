package phone

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emiago/sipgo/sip"
)

// endpoint is one SIP address on UDP and TCP: sipgo's transports and transactions, without its
// dialog layer and without its server, which ends transactions when a handler returns.
type endpoint struct {
	addr netip.AddrPort
	tpl  *sip.TransportLayer
	txl  *sip.TransactionLayer
	udp  *listener
	tcp  net.Listener
	wg   sync.WaitGroup
}

func listenSIP(ctx context.Context, addr string, log *slog.Logger, message func(bool, []byte), onRequest sip.TransactionRequestHandler) (*endpoint, error) {
	udp, tcp, err := bindBoth(ctx, addr)
	if err != nil {
		return nil, err
	}
	e := &endpoint{
		addr: udp.LocalAddr().(*net.UDPAddr).AddrPort(),
		udp:  &listener{PacketConn: udp, message: message, ready: make(chan struct{}), closing: make(chan struct{}), release: make(chan struct{})},
		tcp:  tcp,
		tpl:  sip.NewTransportLayer(net.DefaultResolver, sip.NewParser(), nil, sip.WithTransportLayerLogger(log)),
	}
	e.addr = netip.AddrPortFrom(e.addr.Addr().Unmap(), e.addr.Port())
	e.txl = sip.NewTransactionLayer(e.tpl, sip.WithTransactionLayerLogger(log),
		sip.WithTransactionLayerUnhandledResponseHandler(func(*sip.Response) {})) // late repeats of what is over
	e.txl.OnRequest(onRequest)
	e.wg.Go(func() { _ = e.tpl.ServeUDP(e.udp) }) // they end when Close closes the listeners
	e.wg.Go(func() { _ = e.tpl.ServeTCP(tcp) })
	<-e.udp.ready
	return e, nil
}

// bindBoth binds UDP and TCP to the same port; with port 0 it looks for one that is free in both.
func bindBoth(ctx context.Context, addr string) (net.PacketConn, net.Listener, error) {
	var lc net.ListenConfig
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, nil, fmt.Errorf("phone: bad listen address %q, want host:port: %w", addr, err)
	}
	for try := 0; ; try++ {
		udp, err := lc.ListenPacket(ctx, "udp", addr)
		if err != nil {
			return nil, nil, fmt.Errorf("phone: cannot listen: %w", err)
		}
		_, bound, _ := net.SplitHostPort(udp.LocalAddr().String())
		tcp, err := lc.Listen(ctx, "tcp", net.JoinHostPort(host, bound))
		if err == nil {
			return udp, tcp, nil
		}
		udp.Close()
		if port != "0" || try == 20 {
			return nil, nil, fmt.Errorf("phone: cannot listen: %w", err)
		}
	}
}

// settle is how long sipgo has for what it read last. It handles each message in a goroutine that
// nobody can wait for, and one that finds its socket gone opens another and keeps it for ever.
const settle = 50 * time.Millisecond

// close ends every transaction and connection: first nothing is read any more, then what was read is
// handled, and only then the transactions and sockets go.
func (e *endpoint) close() error {
	close(e.udp.closing)
	err := errors.Join(e.udp.SetReadDeadline(time.Now()), e.tcp.Close())
	if last := e.udp.last.Load(); last != nil {
		time.Sleep(settle - time.Since(*last))
	}
	e.txl.Close()
	close(e.udp.release)
	e.wg.Wait()
	return errors.Join(err, e.udp.Close(), e.tpl.Close())
}

// localIP is the address that peer (host or host:port) should send to: the bound one, or the one
// the routing table would use when bound to all.
func (e *endpoint) localIP(peer string) netip.Addr {
	if ip := e.addr.Addr(); !ip.IsUnspecified() {
		return ip
	}
	if host, _, err := net.SplitHostPort(peer); err == nil {
		peer = host
	}
	dialer := net.Dialer{Timeout: 2 * time.Second} // for the name; connecting UDP sends nothing
	c, err := dialer.DialContext(context.Background(), "udp", net.JoinHostPort(strings.Trim(peer, "[]"), "9"))
	if err != nil {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
}

// uriHost writes an address as a SIP URI and a Via header want it.
func uriHost(ip netip.Addr) string {
	if ip.Is6() {
		return "[" + ip.String() + "]"
	}
	return ip.String()
}

// prepare adds what every request needs to find its way out and its answer back: the Via header
// and, for UDP, the listening socket as its source.
func (e *endpoint) prepare(req *sip.Request, transport, branch string) {
	via := &sip.ViaHeader{
		ProtocolName: "SIP", ProtocolVersion: "2.0", Transport: transport,
		Host: uriHost(e.localIP(req.Destination())), Port: int(e.addr.Port()),
	}
	via.Params.Add("branch", branch)
	via.Params.Add("rport", "")
	req.PrependHeader(via)
	req.SetTransport(transport)
	if transport == "UDP" {
		req.Laddr = sip.Addr{IP: e.addr.Addr().AsSlice(), Port: int(e.addr.Port())}
	}
	if req.ContentLength() == nil {
		req.SetBody(nil)
	}
}

// reuse directs a request to the TCP connection its peer last used, if that is still open: a far
// end behind NAT, or one that listens nowhere, can be reached in no other way.
func (e *endpoint) reuse(req *sip.Request, source string) {
	if pool := e.tpl.Pool(req.Transport()); pool != nil && req.Transport() != "UDP" && source != "" {
		if c := pool.Get(source); c != nil {
			_, _ = c.TryClose() // drops the reference Get took
			req.SetDestination(source)
		}
	}
}

// send starts a client transaction; repeat is called with repetitions of its 2xx.
func (e *endpoint) send(ctx context.Context, req *sip.Request, repeat func(*sip.Response)) (*sip.ClientTx, error) {
	tx, err := e.txl.NewClientTransaction(ctx, req)
	if err != nil {
		return nil, fmt.Errorf("phone: cannot reach %s: %w", req.Destination(), err)
	}
	if repeat != nil {
		tx.OnRetransmission(repeat)
	}
	if err := tx.Init(); err != nil {
		tx.Terminate()
		return nil, fmt.Errorf("phone: cannot send to %s: %w", req.Destination(), err)
	}
	return tx, nil
}

// final waits for the final response of a transaction.
func final(ctx context.Context, tx *sip.ClientTx) (*sip.Response, error) {
	for {
		select {
		case res := <-tx.Responses():
			if !res.IsProvisional() {
				return res, nil
			}
		case <-tx.Done():
			return nil, fmt.Errorf("phone: no answer to %s: %w", tx.Origin().Method, tx.Err())
		case <-ctx.Done():
			tx.Terminate()
			return nil, ctx.Err()
		}
	}
}

// listener is the UDP socket as sipgo reads it.
type listener struct {
	net.PacketConn
	message func(sent bool, b []byte) // nil: nobody looks
	once    sync.Once
	ready   chan struct{}             // closed by the first read: only then does sipgo know the socket
	closing chan struct{}             // closed: nothing more is read, but the reader stays
	release chan struct{}             // closed: the reader may end
	last    atomic.Pointer[time.Time] // of the newest datagram
}

// ReadFrom goes on after errors other than the socket's end: sipgo would stop listening.
func (l *listener) ReadFrom(b []byte) (int, net.Addr, error) {
	l.once.Do(func() { close(l.ready) })
	for {
		n, from, err := l.PacketConn.ReadFrom(b)
		if err == nil {
			now := time.Now()
			l.last.Store(&now)
			if l.message != nil {
				l.message(false, b[:n])
			}
		}
		select {
		case <-l.closing:
			<-l.release
			return 0, nil, net.ErrClosed
		default:
		}
		if err == nil || errors.Is(err, net.ErrClosed) {
			return n, from, err
		}
	}
}

func (l *listener) WriteTo(b []byte, to net.Addr) (int, error) {
	if l.message != nil {
		l.message(true, b)
	}
	return l.PacketConn.WriteTo(b, to)
}
