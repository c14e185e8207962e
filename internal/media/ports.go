package media

import (
	"errors"
	"net/netip"
	"sync"
	"syscall"
)

// ErrNoPorts means that every pair of RTP ports is in use; the call must be refused with 503.
var ErrNoPorts = errors.New("media: no free RTP port: end calls or widen the port range")

// portPair is an even port for RTP and the odd one after it for RTCP.
type portPair struct {
	rtp uint16
	// last is whom its latest stream talked to. He may not know yet that the call is over.
	last netip.AddrPort
}

// ports lends pairs, the one longest unused first, so that late packets of an ended call find nobody.
// Safe for concurrent use.
type ports struct {
	mu    sync.Mutex
	free  []portPair // a ring
	first int
	n     int
}

func newPorts(low, high int) *ports {
	p := &ports{}
	for port := low + low%2; port+1 <= high; port += 2 {
		p.free = append(p.free, portPair{rtp: uint16(port)})
	}
	p.n = len(p.free)
	return p
}

// take lends the oldest pair; false when none is left.
func (p *ports) take() (portPair, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.n == 0 {
		return portPair{}, false
	}
	pair := p.free[p.first]
	p.first = (p.first + 1) % len(p.free)
	p.n--
	return pair, true
}

// give takes a pair back.
func (p *ports) give(pair portPair) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free[(p.first+p.n)%len(p.free)] = pair
	p.n++
}

// open lends a pair and binds it to addr, passing over ports that another program holds.
func (p *ports) open(open opener, addr netip.Addr) (pair portPair, rtp, rtcp socket, err error) {
	for range len(p.free) {
		pair, ok := p.take()
		if !ok {
			break
		}
		if rtp, rtcp, err = openPair(open, addr, pair.rtp); err == nil {
			return pair, rtp, rtcp, nil
		}
		p.give(pair)
		if !portTaken(err) {
			return pair, nil, nil, err
		}
	}
	return pair, nil, nil, ErrNoPorts
}

// portTaken reports whether err of a bind means that somebody else has the port.
func portTaken(err error) bool {
	const wsaEACCES, wsaEADDRINUSE = syscall.Errno(10013), syscall.Errno(10048) // Windows: excluded range, in use
	return errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, wsaEACCES) || errors.Is(err, wsaEADDRINUSE)
}
