package sip

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"time"
)

// admit decides whether a datagram may enter: its source is listed, or it belongs to a call of ours.
type admit func(src netip.Addr, packet []byte) bool

// packetConn drops datagrams of strangers before sipgo sees them: its pool grows with every source
// address, and a transaction exists as soon as a request was parsed.
type packetConn struct {
	net.PacketConn
	admit admit
	ready chan struct{} // closed by the first ReadFrom: sipgo has registered the listener
	begun bool          // reader's own
}

func (c *packetConn) ReadFrom(b []byte) (int, net.Addr, error) {
	if !c.begun {
		c.begun = true
		close(c.ready)
	}
	for {
		n, addr, err := c.PacketConn.ReadFrom(b)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return n, addr, err
			}
			continue // e.g. ECONNREFUSED of an earlier send; sipgo's reader would stop for good
		}
		u, ok := addr.(*net.UDPAddr)
		if !ok || n == 0 {
			continue
		}
		src := u.AddrPort().Addr().Unmap()
		if !c.admit(src, b[:n]) {
			continue
		}
		return n, addr, nil
	}
}

// listener closes connections of strangers at once.
type listener struct {
	net.Listener
	admit admit
	pause func(time.Duration) // waits before Accept is tried again after a failure
}

func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return nil, err
			}
			l.pause(50 * time.Millisecond) // out of file descriptors; sipgo would stop listening
			continue
		}
		if src, ok := addrOf(c.RemoteAddr()); ok && l.admit(src, nil) {
			return c, nil
		}
		_ = c.Close()
	}
}

func addrOf(a net.Addr) (netip.Addr, bool) {
	ap, err := netip.ParseAddrPort(a.String())
	return ap.Addr().Unmap().WithZone(""), err == nil
}

// callIDOf finds the Call-ID of a raw SIP message without parsing it, "" when there is none. A header
// folded over two lines is not found (RFC 3261 section 7.3.1 allows it, nobody sends it).
func callIDOf(packet []byte) string {
	for len(packet) > 0 {
		line := packet
		if i := bytes.IndexByte(packet, '\n'); i >= 0 {
			line, packet = packet[:i], packet[i+1:]
		} else {
			packet = nil
		}
		line = bytes.TrimSuffix(line, []byte{'\r'})
		if len(line) == 0 {
			return "" // end of the headers
		}
		name, value, ok := bytes.Cut(line, []byte{':'})
		if !ok {
			continue
		}
		name = bytes.TrimSpace(name)
		if bytes.EqualFold(name, []byte("call-id")) || bytes.EqualFold(name, []byte("i")) {
			return string(bytes.TrimSpace(value))
		}
	}
	return ""
}
