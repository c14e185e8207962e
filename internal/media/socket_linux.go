package media

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/offhook/offhook/internal/clock"
)

// rawSocket is a non-blocking UDP file descriptor that the Go runtime knows nothing of: no reader
// goroutine, no netpoller, two system calls a frame. They never block, so they are raw: the scheduler
// is not told.
type rawSocket struct {
	fd        int
	v4        bool
	connected bool
	to        netip.AddrPort // what name holds
	name      sockaddr
	nameLen   uint32
}

// sockaddr has room for either family.
type sockaddr = unix.RawSockaddrInet6

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
}

// control holds one SCM_TIMESTAMPNS message.
type control struct {
	hdr  unix.Cmsghdr
	time unix.Timespec
}

// sysBatch is a batch as recvmmsg wants it. Its pointers are set once; it must not be copied after.
type sysBatch struct {
	ready bool
	msgs  [batchSize]mmsghdr
	iovs  [batchSize]unix.Iovec
	names [batchSize]sockaddr
	times [batchSize]control
	data  [batchSize][maxDatagram]byte
}

func (b *sysBatch) init() {
	for i := range b.msgs {
		b.iovs[i].Base = &b.data[i][0]
		b.iovs[i].SetLen(maxDatagram)
		h := &b.msgs[i].hdr
		h.Iov = &b.iovs[i]
		h.SetIovlen(1)
		h.Name = (*byte)(unsafe.Pointer(&b.names[i]))
		h.Control = (*byte)(unsafe.Pointer(&b.times[i]))
	}
	b.ready = true
}

func systemOpener(clock.Clock) opener { return openRaw }

func openRaw(local netip.AddrPort) (socket, error) {
	family := unix.AF_INET6
	var sa unix.Sockaddr = &unix.SockaddrInet6{Port: int(local.Port()), Addr: local.Addr().As16(), ZoneId: zoneID(local.Addr().Zone())}
	v4 := local.Addr().Is4()
	if v4 {
		family, sa = unix.AF_INET, &unix.SockaddrInet4{Port: int(local.Port()), Addr: local.Addr().As4()}
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("media: open a UDP socket (is the limit of open files high enough?): %w", err)
	}
	if v4 {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TOS, dscpEF) // a mark, not a need
	} else {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_TCLASS, dscpEF)
	}
	// Polling sees a packet up to a frame late; the kernel's own stamp keeps the jitter true.
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
	if err == nil {
		err = unix.Bind(fd, sa)
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("media: bind %v: %w", local, err)
	}
	return &rawSocket{fd: fd, v4: v4}, nil
}

func (s *rawSocket) recv(b *batch, limit int) int {
	sys := &b.sys
	if !sys.ready {
		sys.init()
	}
	for i := range limit {
		h := &sys.msgs[i].hdr
		h.Namelen = unix.SizeofSockaddrInet6
		h.SetControllen(int(unsafe.Sizeof(control{})))
		h.Flags = 0
	}
	var n uintptr
	b.refused = false
	for { // an ICMP error that waits is reported once, before the data
		var errno syscall.Errno
		n, _, errno = unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&sys.msgs[0])), uintptr(limit), unix.MSG_DONTWAIT, 0, 0)
		if errno == 0 {
			break
		}
		if errno != unix.ECONNREFUSED {
			return 0
		}
		b.refused = true
	}
	for i := range int(n) {
		m, p := &sys.msgs[i], &b.packets[i]
		p.data = sys.data[i][:m.n]
		if m.hdr.Flags&unix.MSG_TRUNC != 0 {
			p.data = nil
		}
		p.from = addrPortOf(&sys.names[i])
		p.at = 0
		if t := &sys.times[i]; m.hdr.Controllen > 0 && t.hdr.Level == unix.SOL_SOCKET && t.hdr.Type == unix.SCM_TIMESTAMPNS {
			p.at = t.time.Nano()
		}
	}
	return int(n)
}

func (s *rawSocket) send(p []byte, to netip.AddrPort) error {
	name, nameLen := uintptr(0), uintptr(0)
	if !s.connected {
		if to != s.to {
			s.setName(to)
		}
		nameLen = uintptr(s.nameLen)
		name = uintptr(unsafe.Pointer(&s.name)) // s is on the heap, where nothing moves, and outlives the call
	}
	for refused := false; ; refused = true {
		_, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(s.fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, name, nameLen)
		switch {
		case errno == 0 && refused:
			return errRefused
		case errno == 0:
			return nil
		case errno == unix.ECONNREFUSED && !refused: // reported instead of sending: send again
		case errno == unix.ECONNREFUSED:
			return errRefused
		default:
			return errno
		}
	}
}

func (s *rawSocket) connect(peer netip.AddrPort) error {
	s.setName(peer)
	if err := s.connectName(); err != nil {
		return fmt.Errorf("media: connect to %v: %w", peer, err)
	}
	s.connected = true
	return nil
}

func (s *rawSocket) disconnect() error {
	s.connected = false
	s.to = netip.AddrPort{}
	s.name, s.nameLen = sockaddr{Family: unix.AF_UNSPEC}, unix.SizeofSockaddrInet4
	return s.connectName()
}

func (s *rawSocket) connectName() error {
	_, _, errno := unix.RawSyscall(unix.SYS_CONNECT, uintptr(s.fd), uintptr(unsafe.Pointer(&s.name)), uintptr(s.nameLen))
	if errno != 0 {
		return errno
	}
	return nil
}

func (s *rawSocket) close() error { return unix.Close(s.fd) }

// setName writes to as a sockaddr of the socket's family.
func (s *rawSocket) setName(to netip.AddrPort) {
	s.to = to
	port := (*[2]byte)(unsafe.Pointer(&s.name.Port)) // the same place in both families
	binary.BigEndian.PutUint16(port[:], to.Port())
	if s.v4 {
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(&s.name))
		v4.Family, v4.Addr = unix.AF_INET, to.Addr().As4()
		s.nameLen = unix.SizeofSockaddrInet4
		return
	}
	s.name.Family, s.name.Addr = unix.AF_INET6, to.Addr().As16()
	s.name.Scope_id = zoneID(to.Addr().Zone())
	s.nameLen = unix.SizeofSockaddrInet6
}

func addrPortOf(a *sockaddr) netip.AddrPort {
	port := binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&a.Port))[:])
	if a.Family == unix.AF_INET {
		return netip.AddrPortFrom(netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(a)).Addr), port)
	}
	addr := netip.AddrFrom16(a.Addr).Unmap()
	if a.Scope_id != 0 {
		addr = addr.WithZone(strconv.Itoa(int(a.Scope_id)))
	}
	return netip.AddrPortFrom(addr, port)
}

// zoneID is the number of an IPv6 zone that is given by number or by interface name; 0 for none.
func zoneID(zone string) uint32 {
	if zone == "" {
		return 0
	}
	if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
		return uint32(n)
	}
	if i, err := net.InterfaceByName(zone); err == nil {
		return uint32(i.Index)
	}
	return 0
}
