package media

import (
	"errors"
	"net/netip"
)

const (
	batchSize   = 4    // datagrams read at once; a leg has one or two a frame
	maxDatagram = 1500 // bytes; anything longer is no RTP packet of ours and is dropped
	// dscpEF is Expedited Forwarding (RFC 3246), the usual mark of telephone audio, as a TOS octet.
	dscpEF = 46 << 2
)

// errRefused: an earlier datagram met a closed port (ICMP port unreachable). Nothing is wrong here.
var errRefused = errors.New("media: peer's port is closed")

// socket is a UDP port whose owner polls it. A worker owns it after the stream is opened; none of
// its methods blocks or is safe for concurrent use.
type socket interface {
	// recv reads up to limit datagrams that wait, at most batchSize, into b and returns how many that were;
	// fewer than limit means that nothing more waits.
	recv(b *batch, limit int) int
	// send sends p to to, which is ignored once connected.
	send(p []byte, to netip.AddrPort) error
	// connect drops datagrams from anyone but peer from now on; what already waited may still come.
	connect(peer netip.AddrPort) error
	// disconnect takes datagrams from anyone again.
	disconnect() error
	close() error
}

// packet is one received datagram; data is good until the next recv into the same batch.
type packet struct {
	data []byte
	from netip.AddrPort
	at   int64 // arrival, Unix nanoseconds
}

// batch is a worker's receive buffer, shared by all of its sockets.
type batch struct {
	packets [batchSize]packet
	refused bool   // recv met errRefused as well
	foreign uint64 // datagrams of others that a connected socket dropped itself, as far as it sees them
	sys     sysBatch
}

// opener makes a socket bound to local; a taken port is an error that portTaken knows.
type opener func(local netip.AddrPort) (socket, error)

// openPair binds RTP to addr:port and RTCP to the port after it.
func openPair(open opener, addr netip.Addr, port uint16) (rtp, rtcp socket, err error) {
	if rtp, err = open(netip.AddrPortFrom(addr, port)); err != nil {
		return nil, nil, err
	}
	if rtcp, err = open(netip.AddrPortFrom(addr, port+1)); err != nil {
		_ = rtp.close()
		return nil, nil, err
	}
	return rtp, rtcp, nil
}
