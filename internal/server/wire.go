package server

import (
	"context"
	"errors"
	"net/netip"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/media"
	"github.com/offhook/offhook/internal/session"
	"github.com/offhook/offhook/internal/sip"
	"github.com/offhook/offhook/internal/store"
	"github.com/offhook/offhook/internal/twilioapi"
)

// dialer gives session the SIP endpoint's legs.
type dialer struct{ s *Server }

func (d dialer) NewLeg(spec call.OutboundLeg) (session.Leg, error) {
	l, err := d.s.sip.NewLeg(spec)
	if err != nil {
		return nil, err // not a nil *sip.Leg in an interface
	}
	return leg{l}, nil
}

// leg is a leg as session sees it.
type leg struct{ *sip.Leg }

func (l leg) Hear(other session.Leg) {
	o, _ := other.(leg)
	l.Leg.Hear(o.Leg)
}

func (d dialer) EndStored(ctx context.Context, stored *call.Dialog, answered bool) error {
	return d.s.sip.EndStored(ctx, stored, answered)
}

// Self is an address that reaches the listener from this machine, also when it listens on every address.
func (d dialer) Self() string {
	a := d.s.sip.Addr()
	switch {
	case a.Addr() == netip.IPv4Unspecified():
		a = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), a.Port())
	case a.Addr() == netip.IPv6Unspecified():
		a = netip.AddrPortFrom(netip.IPv6Loopback(), a.Port())
	}
	return a.String()
}

// legMedia gives sip the media engine's streams.
type legMedia struct{ engine *media.Engine }

func (m legMedia) Open(peer netip.Addr, sink sip.MediaSink) (sip.MediaStream, error) {
	st, err := m.engine.Open(peer, sink)
	if err != nil {
		return nil, err
	}
	return legStream{st}, nil
}

// legStream leaves the statistics of a closed stream to the engine's metrics.
type legStream struct{ *media.Stream }

func (s legStream) Close() { s.Stream.Close() }

func (s legStream) Hear(other sip.MediaStream) {
	o, _ := other.(legStream)
	s.Stream.Hear(o.Stream)
}

func (s legStream) Answer(offer []byte) ([]byte, error) {
	answer, err := s.Stream.Answer(offer)
	if errors.Is(err, media.ErrBadSDP) {
		err = badRequest{err}
	}
	return answer, err
}

// badRequest is an SDP that cannot be read: 400, where one that cannot be met is 488.
type badRequest struct{ error }

func (badRequest) SIPCode() int    { return 400 }
func (e badRequest) Unwrap() error { return e.error }

// routing gives twilioapi the store's records.
func routing(s *store.Store) twilioapi.Routing {
	return twilioapi.Routing{
		Domains: s.DomainRecords(), Lists: s.Lists(), Credentials: s.Credentials(), Addresses: s.Addresses(),
		Mappings: s.Mappings(), Trunks: s.TrunkRecords(), Targets: s.Targets(), Policies: s.Policies(),
		SourceMappings: s.SourceMappings(), Applications: s.Applications(),
	}
}
