package sip

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/offhook/offhook/internal/clock"
)

// packetConn hands sipgo the datagrams that may enter. sipgo's pool and its reader keep every source address
// for ever, so after maxSources new ones the reader is replaced (see Endpoint.readUDP).
type packetConn struct {
	net.PacketConn
	e     *Endpoint
	ready chan struct{} // closed by the first ReadFrom: sipgo has registered the listener

	// Reader's own.
	begun   bool
	last    netip.AddrPort
	changes int           // of the source
	full    chan struct{} // closed when there were too many; nil from then on
	next    <-chan struct{}
}

// maxSources is how many changes of the source a reader of sipgo's sees, about 150 bytes each.
const maxSources = 50_000

func (c *packetConn) ReadFrom(b []byte) (int, net.Addr, error) {
	if !c.begun {
		c.begun = true
		close(c.ready)
	}
	for {
		if c.changes >= c.e.cfg.maxSources && c.full != nil {
			close(c.full)
			c.full = nil
			<-c.next                                             // another reader has the socket
			_ = clock.Sleep(c.e.ctx, c.e.cfg.Clock, time.Second) // what this one read last is answered
			return 0, nil, net.ErrClosed
		}
		n, addr, err := c.PacketConn.ReadFrom(b)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return n, addr, err
			}
			continue // e.g. ECONNREFUSED of an earlier send; sipgo's reader would stop for good
		}
		u, ok := addr.(*net.UDPAddr)
		if !ok || len(bytes.Trim(b[:n], "\r\n\x00")) == 0 {
			continue // a keep-alive
		}
		src := u.AddrPort()
		src = netip.AddrPortFrom(src.Addr().Unmap().WithZone(""), src.Port())
		m := read(b[:n], false)
		pass, reply, to := c.e.gate(src, b[:n], &m)
		if reply != nil {
			_, _ = c.WriteTo(reply, net.UDPAddrFromAddrPort(netip.AddrPortFrom(u.AddrPort().Addr(), to.Port()))) // lost, like any datagram
		}
		if !pass {
			continue
		}
		if src != c.last {
			c.last = src
			c.changes++
		}
		return n, addr, nil
	}
}

// listener closes connections of strangers, and those that are too many, at once.
type listener struct {
	net.Listener
	e   *Endpoint
	tls *tls.Config // nil: plain TCP
}

func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return nil, err
			}
			_ = clock.Sleep(l.e.ctx, l.e.cfg.Clock, 50*time.Millisecond) // out of file descriptors; sipgo would stop listening
			continue
		}
		src, err := parseAddrPort(c.RemoteAddr().String())
		switch {
		case err != nil || !l.e.admitConn(src.Addr()):
		case !l.e.conns.open(src.Addr(), l.e.isStranger(src.Addr())):
			l.e.drops.connections.Add(1)
		default:
			if l.tls != nil {
				c = tls.Server(c, l.tls) // shakes hands when it is first read, within firstWait
			}
			return &streamConn{Conn: c, e: l.e, src: src}, nil
		}
		_ = c.Close()
	}
}

// Times and sizes of a TCP connection that a peer opened.
const (
	firstWait   = 30 * time.Second // until it says something
	messageWait = 10 * time.Second // from a message's first byte to its last
	lastWait    = time.Second      // for our last answers
	idleWait    = time.Hour        // between messages; a call may be silent that long
	maxMessage  = 32 << 10         // bytes of a message; sipgo's buffer for datagrams has as many
)

// streamConn cuts a TCP stream into messages, so that each goes through the gate like a datagram. sipgo reads
// from it what passed. It closes a connection that has lost its frame, and one that takes too long.
type streamConn struct {
	net.Conn
	e    *Endpoint
	src  netip.AddrPort
	over sync.Once
	// closed is called once in place of what counts the connections of peers.
	closed func()
	// registered: whoever is at the other end has shown the password of a phone.
	registered atomic.Bool

	// Reader's own.
	buf   []byte // what came and was not looked at yet
	out   []byte // what sipgo has still to read of the present message
	spoke bool
}

func (c *streamConn) Close() error {
	c.over.Do(func() {
		if c.closed != nil {
			c.closed()
			return
		}
		c.e.conns.close(c.src.Addr())
	})
	return c.Conn.Close()
}

func (c *streamConn) Read(p []byte) (int, error) {
	for len(c.out) == 0 {
		data, m, err := c.next()
		if err != nil {
			return 0, err
		}
		pass, reply, _ := c.e.gate(c.src, data, &m)
		c.spoke = c.spoke || pass || reply != nil
		if reply != nil {
			_ = c.SetWriteDeadline(clock.System.Now().Add(messageWait)) // the kernel's clock
			if _, err := c.Write(reply); err != nil {
				return 0, err
			}
		}
		if !m.framed { // nothing tells where the next message begins
			c.linger()
			return 0, io.EOF
		}
		if pass {
			c.out = data
		}
	}
	n := copy(p, c.out)
	c.out = c.out[n:]
	return n, nil
}

// next is the next message of the stream. One that can have no end is returned as far as it came, not framed.
func (c *streamConn) next() (data []byte, m raw, err error) {
	began := false
	looked := 0 // so many bytes hold no end of the headers
	size := 0   // of the message; 0 while that end is missing
	for {
		c.keepAlives()
		if size == 0 {
			if end := bytes.Index(c.buf[looked:], []byte("\r\n\r\n")); end >= 0 {
				end += looked + 4
				m = read(c.buf[:end], true)
				if size = end + m.length; m.framed && size > maxMessage {
					m.fault, m.framed = &fault{code: 413, reason: "Request Entity Too Large"}, false
				}
				if !m.framed {
					return c.buf, m, nil
				}
			}
			looked = max(len(c.buf)-3, 0)
		}
		switch {
		case size == 0 && len(c.buf) >= maxMessage:
			m = read(c.buf, true)
			m.fault, m.framed = &fault{code: 513, reason: "Message Too Large"}, false
			return c.buf, m, nil
		case size > 0 && len(c.buf) >= size:
			data = bytes.Clone(c.buf[:size])
			c.buf = c.buf[size:]
			return data, m, nil
		}
		wait := idleWait
		switch {
		case len(c.buf) > 0 && began:
			wait = 0 // the deadline stands
		case len(c.buf) > 0:
			began, wait = true, messageWait
		case !c.spoke:
			wait = firstWait
		}
		if wait > 0 {
			_ = c.SetReadDeadline(clock.System.Now().Add(wait)) // the kernel's clock
		}
		if err := c.fill(); err != nil {
			if len(c.buf) > 0 && errors.Is(err, io.EOF) { // it ended within a message
				m = read(c.buf, true)
				m.blame("Unfinished Message")
				m.framed = false
				return c.buf, m, nil
			}
			return nil, m, err
		}
	}
}

// fill reads on.
func (c *streamConn) fill() error {
	if cap(c.buf)-len(c.buf) < 2048 {
		c.buf = append(make([]byte, 0, 2*len(c.buf)+4096), c.buf...)
	}
	n, err := c.Conn.Read(c.buf[len(c.buf):cap(c.buf)])
	c.buf = c.buf[:len(c.buf)+n]
	if n > 0 {
		return nil
	}
	return err
}

// linger reads on without looking, so that the answers to earlier messages get out before the connection is
// closed, and the kernel does not throw them away for what is left to read.
func (c *streamConn) linger() {
	_ = c.SetReadDeadline(clock.System.Now().Add(lastWait)) // the kernel's clock
	for err := error(nil); err == nil; {
		_, err = c.Conn.Read(c.buf[:cap(c.buf)])
	}
}

// keepAlives drops the line ends before a message, and answers a ping (RFC 5626 section 3.5.1).
func (c *streamConn) keepAlives() {
	for len(c.buf) >= 2 && c.buf[0] == '\r' && c.buf[1] == '\n' {
		if len(c.buf) >= 4 && c.buf[2] == '\r' && c.buf[3] == '\n' {
			_ = c.SetWriteDeadline(clock.System.Now().Add(messageWait)) // the kernel's clock
			_, _ = c.Write([]byte("\r\n"))                              // a connection that is gone shows when it is read
			c.buf = c.buf[2:]
		}
		c.buf = c.buf[2:]
	}
}

func addrOf(a net.Addr) (netip.Addr, bool) {
	ap, err := netip.ParseAddrPort(a.String())
	return ap.Addr().Unmap().WithZone(""), err == nil
}
