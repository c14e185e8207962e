//go:build linux

package main

import (
	"errors"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	batch       = 64
	maxDatagram = 4096
	bufferBytes = 64 << 20 // asked of the kernel, so that what is lost was not lost here
)

// socket is an IPv4 UDP socket on 127.0.0.1 that sends and receives datagrams in batches. Each arrival
// carries the kernel's time stamp, so that the generator's own lateness is not counted as the server's.
type socket struct {
	fd    int
	local netip.AddrPort
	in    arrivals
}

// mmsghdr is struct mmsghdr of recvmmsg(2) on 64-bit Linux.
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
	_   uint32
}

type arrivals struct {
	hdr  [batch]mmsghdr
	vec  [batch]unix.Iovec
	from [batch]unix.RawSockaddrInet4
	ctl  [batch][64]byte
	data [batch][maxDatagram]byte
}

func listen(port int) (*socket, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	for _, opt := range [...][2]int{{unix.SO_RCVBUFFORCE, unix.SO_RCVBUF}, {unix.SO_SNDBUFFORCE, unix.SO_SNDBUF}} {
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, opt[0], bufferBytes) != nil { // needs CAP_NET_ADMIN
			_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, opt[1], bufferBytes)
		}
	}
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
	}
	var name unix.Sockaddr
	if err == nil {
		name, err = unix.Getsockname(fd)
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return &socket{fd: fd, local: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(name.(*unix.SockaddrInet4).Port))}, nil
}

func (s *socket) close() { _ = unix.Close(s.fd) }

// receive waits up to a tenth of a second and hands every datagram that came to f; b is valid within f only.
// One goroutine calls it.
func (s *socket) receive(f func(port int, at time.Time, b []byte)) error {
	ready := []unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLIN}}
	if n, err := unix.Poll(ready, 100); n <= 0 {
		if errors.Is(err, unix.EINTR) {
			err = nil
		}
		return err
	}
	for {
		a := &s.in
		for i := range a.hdr {
			a.vec[i] = unix.Iovec{Base: &a.data[i][0], Len: maxDatagram}
			a.hdr[i] = mmsghdr{hdr: unix.Msghdr{
				Name: (*byte)(unsafe.Pointer(&a.from[i])), Namelen: unix.SizeofSockaddrInet4,
				Iov: &a.vec[i], Iovlen: 1, Control: &a.ctl[i][0], Controllen: uint64(len(a.ctl[i])),
			}}
		}
		n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&a.hdr[0])), batch, 0, 0, 0)
		switch {
		case errno == unix.EAGAIN || errno == unix.EINTR || errno == unix.ECONNREFUSED:
			return nil
		case errno != 0:
			return errno
		}
		for i := range int(n) {
			port := int(a.from[i].Port>>8 | a.from[i].Port<<8)
			f(port, stamp(a.ctl[i][:a.hdr[i].hdr.Controllen]), a.data[i][:a.hdr[i].n])
		}
		if n < batch {
			return nil
		}
	}
}

// stamp is the SCM_TIMESTAMPNS of a control message, else now.
func stamp(ctl []byte) time.Time {
	if len(ctl) >= unix.CmsgLen(int(unsafe.Sizeof(unix.Timespec{}))) {
		if h := (*unix.Cmsghdr)(unsafe.Pointer(&ctl[0])); h.Level == unix.SOL_SOCKET && h.Type == unix.SO_TIMESTAMPNS {
			t := *(*unix.Timespec)(unsafe.Pointer(&ctl[unix.CmsgLen(0)]))
			return time.Unix(t.Sec, t.Nsec)
		}
	}
	return time.Now()
}

func (s *socket) send(port int, b []byte) {
	_ = unix.Sendto(s.fd, b, 0, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}) // lost, as UDP may be
}

// departures collects datagrams for one sendmmsg(2).
type departures struct {
	n   int
	hdr [batch]mmsghdr
	vec [batch]unix.Iovec
	to  [batch]unix.RawSockaddrInet4
}

// add queues b, which stays the caller's until flush, and flushes when the batch is full.
func (d *departures) add(s *socket, port int, b []byte) {
	i := d.n
	d.to[i] = unix.RawSockaddrInet4{Family: unix.AF_INET, Port: uint16(port>>8 | port<<8), Addr: [4]byte{127, 0, 0, 1}}
	d.vec[i] = unix.Iovec{Base: &b[0], Len: uint64(len(b))}
	d.hdr[i] = mmsghdr{hdr: unix.Msghdr{
		Name: (*byte)(unsafe.Pointer(&d.to[i])), Namelen: unix.SizeofSockaddrInet4, Iov: &d.vec[i], Iovlen: 1,
	}}
	if d.n++; d.n == batch {
		d.flush(s)
	}
}

func (d *departures) flush(s *socket) {
	for off := 0; off < d.n; {
		n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&d.hdr[off])), uintptr(d.n-off), 0, 0, 0)
		if errno != 0 {
			n = 1 // this one is lost
		}
		off += int(n)
	}
	d.n = 0
}

// precise asks for the real-time class for the calling thread, as the peers' figures were taken: the
// caller's own RTP must not starve behind the server under test. It reports whether it was granted.
func precise() bool {
	return unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 2}, 0) == nil
}

// sleepUntil waits for t of CLOCK_MONOTONIC, in nanoseconds.
func sleepUntil(t int64) {
	ts := unix.NsecToTimespec(t)
	for errors.Is(unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &ts, nil), unix.EINTR) {
	}
}

func monotonic() int64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return ts.Nano()
}
