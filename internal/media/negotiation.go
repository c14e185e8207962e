package media

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"

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
	sent    string // its media, all that ever changes

	offered []format    // of the last offer
	agreed  []format    // the audio codec, then telephone-event when both have it
	lines   []mediaLine // the session's m-lines; never reordered once there (RFC 3264 section 8)
	index   int         // ours among them
	mux     bool
	packets int
	hold    bool // the peer takes no audio
	sends   bool // it may send some

	protection protection
	lastCrypto []cryptoLine // of the last offer
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

	seal   *sealer // nil: in plain
	unseal *unsealer
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
	crypto := n.protection.offer()
	n.offered, n.lastCrypto = formats, crypto
	if n.lines == nil {
		proto := "RTP/AVP"
		if len(crypto) > 0 {
			proto = "RTP/SAVP"
		}
		n.lines = []mediaLine{{media: "audio", proto: proto}}
	}
	return n.describe(formats, sendRecv, crypto)
}

// accept takes the answer to the last offer. A repeated or changed answer is taken as well: early media
// may be answered by one phone and the call by another.
func (n *negotiation) accept(answer []byte) (setup, error) {
	if n.offered == nil {
		return setup{}, errNoOffer
	}
	d, err := parseDescription(answer, n.addr.Is4(), len(n.lastCrypto) > 0)
	if err != nil {
		return setup{}, err
	}
	if d.audio != n.index {
		return setup{}, fmt.Errorf("%w: the offered audio stream was refused", ErrNotAcceptable)
	}
	if isSecureProfile(d.media[d.audio].proto) != isSecureProfile(n.lines[n.index].proto) {
		return setup{}, fmt.Errorf("%w: %s answers %s", ErrNotAcceptable, d.media[d.audio].proto, n.lines[n.index].proto)
	}
	line, err := n.chosen(d.crypto)
	if err != nil {
		return setup{}, err
	}
	d.mux = d.mux && n.mux
	return n.agree(d, n.offered, line), nil
}

// chosen is the line of an answer, RFC 4568 section 5.1.3: one of those we offered, with the answerer's key.
func (n *negotiation) chosen(answered []cryptoLine) (*cryptoLine, error) {
	if len(n.lastCrypto) == 0 {
		return nil, nil // to nothing that we offered
	}
	for _, ours := range n.lastCrypto {
		if len(answered) == 1 && answered[0].tag == ours.tag && answered[0].suite == ours.suite {
			return &answered[0], nil
		}
	}
	return nil, fmt.Errorf("%w: no crypto attribute that we offered", ErrNotAcceptable)
}

// answer answers an offer of the peer, the first or a later one.
func (n *negotiation) answer(offer []byte) ([]byte, setup, error) {
	d, err := parseDescription(offer, n.addr.Is4(), n.protection.required)
	if err != nil {
		return nil, setup{}, err
	}
	var line *cryptoLine
	if len(d.crypto) > 0 {
		line = &d.crypto[0] // his order of preference
	}
	n.lines, n.index = nil, d.audio
	for _, m := range d.media {
		n.lines = append(n.lines, m.mediaLine)
	}
	n.mux, n.packets = d.mux, d.packets
	s := n.agree(d, nil, line)
	dir := d.dir.reverse()
	if !d.canReceive() {
		dir &^= sends
	}
	var crypto []cryptoLine
	if line != nil {
		crypto = []cryptoLine{{line.tag, s.seal.keying}}
	}
	return n.describe(n.agreed, dir, crypto), s, nil
}

// agree settles on what d and the formats we listed before have in common. crypto is the peer's line, nil for a
// stream in plain.
func (n *negotiation) agree(d *description, ours []format, crypto *cryptoLine) setup {
	s := setup{
		rtp: d.addr, rtcp: d.rtcp, mux: d.mux, packets: d.packets,
		send: d.canReceive(),
		held: d.dir != sendRecv || !d.canReceive(),
	}
	n.protection.agree(crypto, &s)
	s.audio, _ = d.first(pcmu, pcma) // parseDescription saw to it
	n.agreed = append([]format(nil), s.audio)
	if e, ok := d.first(event); ok {
		s.event = e
		n.agreed = append(n.agreed, e)
	}
	n.mux, n.packets = d.mux, d.packets
	n.hold, n.sends = !d.canReceive(), d.dir&sends != 0
	s.kinds[noiseType] = noise
	for _, f := range n.agreed {
		s.kinds[f.pt] = f.codec
	}
	for _, f := range ours { // whom we told 101 may send 101, whatever number he named for his side
		s.kinds[f.pt] = f.codec
	}
	return s
}

// describe writes our description, refusing every m-line but ours.
func (n *negotiation) describe(formats []format, dir direction, crypto []cryptoLine) []byte {
	var media strings.Builder
	for i, line := range n.lines {
		if i == n.index {
			n.describeAudio(&media, line, formats, dir, crypto)
			continue
		}
		line.port = 0
		line.write(&media)
	}
	if n.sent != "" && n.sent != media.String() {
		n.version++
	}
	n.sent = media.String()
	var w strings.Builder
	writeSDP(&w, n.id, n.version, n.addr)
	w.WriteString(n.sent)
	return []byte(w.String())
}

func (n *negotiation) describeAudio(w *strings.Builder, line mediaLine, formats []format, dir direction, crypto []cryptoLine) {
	line.port, line.formats = n.port, nil
	for _, f := range formats {
		line.formats = append(line.formats, fmt.Sprint(f.pt))
	}
	line.write(w)
	for _, f := range formats {
		fmt.Fprintf(w, "a=rtpmap:%d %s/8000\r\n", f.pt, codecNames[f.codec])
		if f.codec == event {
			fmt.Fprintf(w, "a=fmtp:%d 0-15\r\n", f.pt)
		}
	}
	fmt.Fprintf(w, "a=ptime:%d\r\na=%s\r\n", audio.FrameDuration.Milliseconds()/int64(n.packets), dir)
	if n.mux {
		w.WriteString("a=rtcp-mux\r\n")
	}
	for _, c := range crypto {
		fmt.Fprintf(w, "a=crypto:%s\r\n", c.wire())
	}
}
