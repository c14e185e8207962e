package media

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/offhook/offhook/internal/clock"
)

// waitingDatagrams bounds what a portable socket keeps for its worker; more are dropped, as a kernel would.
const waitingDatagrams = 32

// maxFailures in a row end a socket's reader: it would only spin.
const maxFailures = 1000

// portableSocket is a net.UDPConn with a reader goroutine, for systems other than Linux.
type portableSocket struct {
	conn    *net.UDPConn
	clock   clock.Clock
	waiting chan packet
	peer    atomic.Pointer[netip.AddrPort] // nil: anyone
	refused atomic.Bool
	foreign atomic.Uint64
	done    sync.WaitGroup
}

// portableOpener opens portable sockets that stamp arrivals with c.
func portableOpener(c clock.Clock) opener {
	return func(local netip.AddrPort) (socket, error) {
		network := "udp6"
		if local.Addr().Is4() {
			network = "udp4"
		}
		conn, err := net.ListenUDP(network, net.UDPAddrFromAddrPort(local))
		if err != nil {
			return nil, fmt.Errorf("media: bind %v: %w", local, err)
		}
		s := &portableSocket{conn: conn, clock: c, waiting: make(chan packet, waitingDatagrams)}
		s.done.Go(s.read)
		return s, nil
	}
}

func (s *portableSocket) read() {
	buf := make([]byte, maxDatagram+1)
	for failures := 0; failures < maxFailures; failures++ {
		n, from, err := s.conn.ReadFromUDPAddrPort(buf)
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil: // Windows reports an earlier datagram's ICMP error here
			s.refused.Store(true)
			continue
		}
		if failures = 0; n > maxDatagram {
			continue
		}
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		if p := s.peer.Load(); p != nil && *p != from {
			s.foreign.Add(1)
			continue
		}
		select {
		case s.waiting <- packet{data: append([]byte(nil), buf[:n]...), from: from, at: s.clock.Now().UnixNano()}:
		default:
		}
	}
}

func (s *portableSocket) recv(b *batch, limit int) int {
	b.refused, b.foreign = s.refused.Swap(false), s.foreign.Swap(0)
	for i := range limit {
		select {
		case b.packets[i] = <-s.waiting:
		default:
			return i
		}
	}
	return limit
}

func (s *portableSocket) send(p []byte, to netip.AddrPort) error {
	if c := s.peer.Load(); c != nil {
		to = *c
	}
	_, err := s.conn.WriteToUDPAddrPort(p, to)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return errRefused
	}
	return err
}

func (s *portableSocket) connect(peer netip.AddrPort) error { s.peer.Store(&peer); return nil }

func (s *portableSocket) disconnect() error { s.peer.Store(nil); return nil }

func (s *portableSocket) close() error {
	err := s.conn.Close()
	s.done.Wait()
	return err
}
