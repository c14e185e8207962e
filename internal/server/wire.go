package server

import (
	"net/netip"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/media"
	"github.com/offhook/offhook/internal/session"
	"github.com/offhook/offhook/internal/sip"
)

// dialer gives session the SIP endpoint's legs.
type dialer struct{ s *Server }

func (d dialer) NewLeg(spec call.OutboundLeg) (session.Leg, error) {
	l, err := d.s.sip.NewLeg(spec)
	if err != nil {
		return nil, err // not a nil *sip.Leg in an interface
	}
	return l, nil
}

func (d dialer) Self() string { return d.s.sip.Addr() }

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
