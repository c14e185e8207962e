package media

import "net/netip"

const (
	// latchPackets of one SSRC from one address other than the signalled one move the stream there:
	// 100 ms of a peer behind NAT.
	latchPackets = 5
	// maxCandidates bounds the addresses watched at once while the source is open.
	maxCandidates = 4
)

// source decides whose packets are a stream's: the signalled address at its first packet, else the
// first address to send latchPackets of one SSRC. From then on it is locked, until new SDP names
// another address.
type source struct {
	signalled netip.AddrPort // by SDP; zero: not yet
	peer      netip.AddrPort // locked to; zero: open
	// strangers are ignored while open, unless signalled: whom the port, or the stream, talked to before.
	strangers [2]netip.AddrPort

	candidates [maxCandidates]candidate
	oldest     int // the next candidate to give up
}

type candidate struct {
	from    netip.AddrPort
	ssrc    uint32
	packets int
}

// signal takes the address that new SDP names. True means that the lock was opened by it.
func (s *source) signal(addr netip.AddrPort) (opened bool) {
	if !addr.IsValid() || addr.Addr().IsUnspecified() || addr == s.signalled {
		return false // on hold, or unchanged: who was heard remains
	}
	s.signalled = addr
	if !s.peer.IsValid() || s.peer == addr {
		return false
	}
	s.strangers[1], s.peer = s.peer, netip.AddrPort{}
	s.candidates = [maxCandidates]candidate{}
	return true
}

// admit says whether a packet is the stream's, and whether it locked the source just now.
// ours: it has a payload type that was agreed on.
func (s *source) admit(from netip.AddrPort, ssrc uint32, ours bool) (ok, locked bool) {
	switch {
	case s.peer.IsValid():
		return from == s.peer, false
	case from == s.signalled:
	case !ours, from == s.strangers[0], from == s.strangers[1], !s.latches(from, ssrc):
		return false, false
	}
	s.peer = from
	s.candidates = [maxCandidates]candidate{}
	return true, true
}

// latches counts a packet of a candidate; true when it has sent enough.
func (s *source) latches(from netip.AddrPort, ssrc uint32) bool {
	for i := range s.candidates {
		if c := &s.candidates[i]; c.from == from && c.ssrc == ssrc {
			c.packets++
			return c.packets >= latchPackets
		}
	}
	s.candidates[s.oldest] = candidate{from, ssrc, 1}
	s.oldest = (s.oldest + 1) % maxCandidates
	return false
}

// destination is where to send: to whom we hear, else as signalled; zero when neither is known.
func (s *source) destination() netip.AddrPort {
	if s.peer.IsValid() {
		return s.peer
	}
	return s.signalled
}

// host is the address that RTCP must come from.
func (s *source) host() netip.Addr { return s.destination().Addr() }
