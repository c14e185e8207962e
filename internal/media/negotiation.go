package media

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strconv"

	"github.com/pion/sdp/v3"

	"github.com/offhook/offhook/internal/audio"
)

// offeredEvent is the payload type we name for telephone-event when the choice is ours.
const offeredEvent = 101

var errNoOffer = errors.New("media: an answer came, but nothing was offered")

// negotiation is one stream's side of offer and answer, RFC 3264. It is pure: what was agreed comes
// out as a setup, and a refused description changes nothing.
type negotiation struct {
	addr netip.Addr // ours, as the peer sees it
	port uint16     // RTP

	id      uint64 // o= session id, for life
	version uint64 // o= version, counted up whenever the description differs from the last one sent
	sent    string // that description, its version aside

	offered []format        // of the last offer
	agreed  []format        // the audio codec, then telephone-event when both have it
	lines   []sdp.MediaName // the session's m-lines; never reordered once there (RFC 3264 section 8)
	index   int             // ours among them
	mux     bool
	packets int
}

// setup is what offer and answer agreed on, as the sending and receiving side needs it.
type setup struct {
	rtp, rtcp netip.AddrPort // the peer's; rtcp is zero when unknown
	audio     format         // what to send
	event     format         // codec unknown: keys go as tones
	kinds     [128]codec     // what may come
	send      bool           // the peer takes packets from us
	held      bool           // the peer is not bound to send: its silence means nothing
	mux       bool
	packets   int // per frame
}

func newNegotiation(addr netip.Addr, port uint16) *negotiation {
	// 31 bits: there are parsers that keep the id in an int.
	return &negotiation{addr: addr, port: port, id: uint64(rand.Uint32() >> 1), version: 1, packets: 1}
}

// offer is our description as an offer: the agreed formats first, with the numbers they have.
func (n *negotiation) offer() []byte {
	formats := append([]format(nil), n.agreed...)
	used := [128]bool{}
	for _, f := range formats {
		used[f.pt] = true
	}
	for _, f := range []format{{0, pcmu}, {8, pcma}, {offeredEvent, event}} {
		known := false
		for _, g := range formats {
			known = known || g.codec == f.codec
		}
		for used[f.pt] { // a dynamic number the peer gave to something else
			f.pt = 96 + (f.pt+1)%32
		}
		if !known {
			used[f.pt] = true
			formats = append(formats, f)
		}
	}
	n.offered = formats
	if n.lines == nil {
		n.lines = []sdp.MediaName{{Media: "audio", Protos: []string{"RTP", "AVP"}}}
	}
	return n.describe(formats, sendRecv)
}

// accept takes the answer to the last offer. A repeated or changed answer is taken as well: early media
// may be answered by one phone and the call by another.
func (n *negotiation) accept(answer []byte) (setup, error) {
	if n.offered == nil {
		return setup{}, errNoOffer
	}
	d, err := parseDescription(answer, n.addr.Is4())
	if err != nil {
		return setup{}, err
	}
	if d.audio != n.index {
		return setup{}, fmt.Errorf("%w: the offered audio stream was refused", ErrNotAcceptable)
	}
	d.mux = d.mux && n.mux
	return n.agree(d, n.offered), nil
}

// answer answers an offer of the peer, the first or a later one.
func (n *negotiation) answer(offer []byte) ([]byte, setup, error) {
	d, err := parseDescription(offer, n.addr.Is4())
	if err != nil {
		return nil, setup{}, err
	}
	n.lines, n.index = nil, d.audio
	for _, m := range d.media {
		n.lines = append(n.lines, m.MediaName)
	}
	n.mux, n.packets = d.mux, d.packets
	s := n.agree(d, nil)
	dir := d.dir.reverse()
	if !d.canReceive() {
		dir &^= sends
	}
	return n.describe(n.agreed, dir), s, nil
}

// agree settles on what d and the formats we listed before have in common.
func (n *negotiation) agree(d *description, ours []format) setup {
	s := setup{
		rtp: d.addr, rtcp: d.rtcp, mux: d.mux, packets: d.packets,
		send: d.canReceive(),
		held: d.dir != sendRecv || !d.canReceive(),
	}
	s.audio, _ = d.first(pcmu, pcma) // parseDescription saw to it
	n.agreed = append([]format(nil), s.audio)
	if e, ok := d.first(event); ok {
		s.event = e
		n.agreed = append(n.agreed, e)
	}
	n.mux, n.packets = d.mux, d.packets
	for _, f := range n.agreed {
		s.kinds[f.pt] = f.codec
	}
	for _, f := range ours { // whom we told 101 may send 101, whatever number he named for his side
		s.kinds[f.pt] = f.codec
	}
	return s
}

// describe writes our description, refusing every m-line but ours.
func (n *negotiation) describe(formats []format, dir direction) []byte {
	family := "IP4"
	if !n.addr.Is4() {
		family = "IP6"
	}
	s := sdp.SessionDescription{
		Origin:      sdp.Origin{Username: "-", SessionID: n.id, NetworkType: "IN", AddressType: family, UnicastAddress: n.addr.String()},
		SessionName: "-",
		ConnectionInformation: &sdp.ConnectionInformation{
			NetworkType: "IN", AddressType: family, Address: &sdp.Address{Address: n.addr.String()},
		},
		TimeDescriptions: []sdp.TimeDescription{{}},
	}
	for i, line := range n.lines {
		m := &sdp.MediaDescription{MediaName: line}
		m.MediaName.Port = sdp.RangedPort{}
		if i == n.index {
			n.describeAudio(m, formats, dir)
		}
		s.MediaDescriptions = append(s.MediaDescriptions, m)
	}
	body := marshal(&s)
	if n.sent != "" && n.sent != body {
		n.version++
	}
	n.sent = body
	s.Origin.SessionVersion = n.version
	return []byte(marshal(&s))
}

func (n *negotiation) describeAudio(m *sdp.MediaDescription, formats []format, dir direction) {
	m.MediaName.Port.Value = int(n.port)
	m.MediaName.Formats = nil
	for _, f := range formats {
		pt := strconv.Itoa(int(f.pt))
		m.MediaName.Formats = append(m.MediaName.Formats, pt)
		m.WithValueAttribute("rtpmap", pt+" "+codecNames[f.codec]+"/8000")
		if f.codec == event {
			m.WithValueAttribute("fmtp", pt+" 0-15")
		}
	}
	m.WithValueAttribute("ptime", strconv.FormatInt(audio.FrameDuration.Milliseconds()/int64(n.packets), 10))
	m.WithPropertyAttribute(dir.String())
	if n.mux {
		m.WithPropertyAttribute("rtcp-mux")
	}
}

// marshal cannot fail: pion's error is of the form of its interface only.
func marshal(s *sdp.SessionDescription) string {
	b, err := s.Marshal()
	if err != nil {
		panic(fmt.Sprintf("media: marshal a session description: %v", err))
	}
	return string(b)
}
