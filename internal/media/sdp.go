package media

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

var (
	// ErrBadSDP: the description cannot be read; a SIP 400.
	ErrBadSDP = errors.New("media: bad session description")
	// ErrNotAcceptable: it can be read, but there is no audio in it that we can exchange; a SIP 488.
	ErrNotAcceptable = errors.New("media: session description not acceptable")
)

// codec is what a payload type means here.
type codec uint8

const (
	unknown codec = iota
	pcmu
	pcma
	event // telephone-event, RFC 4733
	noise // comfort noise, RFC 3389; taken, but neither offered nor agreed on
)

// noiseType is the payload type of comfort noise, RFC 3551 section 6: senders that stop in silence use it unasked.
const noiseType = 13

// codecNames are the encoding names of RFC 3551 and RFC 4733, all at 8000 Hz.
var codecNames = [...]string{pcmu: "PCMU", pcma: "PCMA", event: "telephone-event"}

// direction of audio as its describer sees it, RFC 3264 section 5.1.
type direction uint8

const (
	sends direction = 1 << iota
	receives
	inactive direction = 0
	sendRecv           = sends | receives
)

var directionNames = [...]string{inactive: "inactive", sends: "sendonly", receives: "recvonly", sendRecv: "sendrecv"}

func (d direction) String() string { return directionNames[d] }

// reverse is d as the other side sees it.
func (d direction) reverse() direction { return d&sends<<1 | d&receives>>1 }

// format is one payload type and its codec.
type format struct {
	pt    uint8
	codec codec
}

// description is the part of a peer's SDP that matters: its first audio stream that we can exchange.
type description struct {
	media   []*mediaText   // all m-lines, to refuse the others
	audio   int            // the index of ours
	formats []format       // known ones in the peer's order of preference
	addr    netip.AddrPort // of RTP; the unspecified address when held the old way
	rtcp    netip.AddrPort
	dir     direction
	mux     bool         // rtcp-mux, RFC 5761
	crypto  []cryptoLine // of the stream, those we can do; none: it is in plain
	// packets a frame must be cut into, 1 unless maxptime forbids 20 ms.
	packets int
}

// canReceive reports whether the peer wants packets.
func (d *description) canReceive() bool { return d.dir&receives != 0 && !d.addr.Addr().IsUnspecified() }

// first is the preferred format among the given codecs.
func (d *description) first(codecs ...codec) (format, bool) {
	for _, f := range d.formats {
		for _, c := range codecs {
			if f.codec == c {
				return f, true
			}
		}
	}
	return format{}, false
}

// parseDescription reads an offer or answer for an endpoint of the given family. Of several audio streams it
// takes the first that is protected, else the first; secure leaves out those in plain.
// Its errors are ErrBadSDP and ErrNotAcceptable.
func parseDescription(b []byte, v4, secure bool) (*description, error) {
	s, err := parseSDP(b)
	if err != nil {
		return nil, err
	}
	d := &description{media: s.media, audio: -1}
	why := "no audio stream"
	for i, m := range s.media {
		if m.media != "audio" || m.port == 0 {
			continue
		}
		crypto := cryptoOf(m)
		switch {
		case isSecureProfile(m.proto) && len(crypto) == 0:
			why = "audio over " + m.proto + " without a key of a suite we have"
			continue
		case !isSecureProfile(m.proto) && m.proto != "RTP/AVP" && m.proto != "RTP/AVPF":
			why = "audio over " + m.proto
			continue
		case secure && len(crypto) == 0:
			why = "audio in plain, where only SRTP is taken"
			continue
		case d.audio >= 0 && len(crypto) == 0:
			continue // the first one in plain
		}
		formats := formatsOf(m)
		if !has(formats, pcmu) && !has(formats, pcma) {
			if d.audio < 0 {
				why = "neither PCMU nor PCMA"
			}
			continue
		}
		d.audio, d.formats, d.crypto = i, formats, crypto
		if len(crypto) > 0 {
			break
		}
	}
	if d.audio < 0 {
		return nil, fmt.Errorf("%w: %s", ErrNotAcceptable, why)
	}
	return d, d.read(s, v4)
}

// read fills in what the chosen stream says beyond its formats.
func (d *description) read(s *sessionText, v4 bool) error {
	m := s.media[d.audio]
	c := m.connection
	if c == nil {
		c = s.connection
	}
	if c == nil {
		return fmt.Errorf("%w: no c= line for the audio stream", ErrBadSDP)
	}
	addr, err := c.addr()
	if err != nil {
		return err
	}
	d.addr = netip.AddrPortFrom(addr, m.port)
	_, d.mux = m.attribute("rtcp-mux")
	if !addr.IsUnspecified() {
		d.rtcp = rtcpAddress(m, d.addr, d.mux)
	}
	if addr.Is4() != v4 && !addr.IsUnspecified() {
		return fmt.Errorf("%w: media address %v is not of the family signalling uses", ErrNotAcceptable, addr)
	}
	d.dir = directionOf(m.attributes, directionOf(s.attributes, sendRecv))
	d.packets = 1
	if v, ok := m.attribute("maxptime"); ok {
		if ms, err := strconv.ParseFloat(strings.TrimSpace(v), 64); err == nil && ms > 0 && ms < 20 {
			d.packets = 2
			if ms < 10 {
				d.packets = 4
			}
		}
	}
	return nil
}

// addr is the one host that c names, RFC 8866 section 5.7.
func (c *connectionText) addr() (netip.Addr, error) {
	if c.network != "IN" || (c.family != "IP4" && c.family != "IP6") {
		return netip.Addr{}, fmt.Errorf("%w: address type %q %q", ErrNotAcceptable, c.network, c.family)
	}
	addr, err := netip.ParseAddr(c.address)
	if err != nil {
		if looksNumeric(c.address) {
			return netip.Addr{}, fmt.Errorf("%w: address %q", ErrBadSDP, c.address)
		}
		return netip.Addr{}, fmt.Errorf("%w: host name %q for media: give an address", ErrNotAcceptable, c.address)
	}
	if addr.Is4() != (c.family == "IP4") {
		return netip.Addr{}, fmt.Errorf("%w: %v is no %s address", ErrBadSDP, addr, c.family)
	}
	if addr = addr.Unmap().WithZone(""); addr.IsMulticast() || addr == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return netip.Addr{}, fmt.Errorf("%w: %v is not one host's address", ErrNotAcceptable, addr)
	}
	return addr, nil
}

func has(formats []format, c codec) bool {
	return slices.ContainsFunc(formats, func(f format) bool { return f.codec == c })
}

// cryptoOf is the a=crypto lines of m that we can do, in its order.
func cryptoOf(m *mediaText) (lines []cryptoLine) {
	for _, a := range m.attributes {
		if a.key == "crypto" {
			if c, err := parseCrypto(a.value); err == nil {
				lines = append(lines, c)
			}
		}
	}
	return lines
}

func looksNumeric(s string) bool {
	return strings.Contains(s, ":") || strings.Trim(s, "0123456789.") == ""
}

// rtcpAddress is where the peer takes RTCP: the RTP port with rtcp-mux, what a=rtcp says (RFC 3605),
// else the next port.
func rtcpAddress(m *mediaText, rtp netip.AddrPort, mux bool) netip.AddrPort {
	if mux {
		return rtp
	}
	next := netip.AddrPort{}
	if rtp.Port() < 65535 {
		next = netip.AddrPortFrom(rtp.Addr(), rtp.Port()+1)
	}
	v, _ := m.attribute("rtcp")
	f := strings.Fields(v)
	if len(f) != 1 && len(f) != 4 {
		return next
	}
	port, err := strconv.ParseUint(f[0], 10, 16)
	if err != nil || port == 0 {
		return next
	}
	addr := rtp.Addr()
	if len(f) == 4 {
		a, err := (&connectionText{f[1], f[2], f[3]}).addr()
		if err != nil || a.Is4() != addr.Is4() {
			return next
		}
		addr = a
	}
	return netip.AddrPortFrom(addr, uint16(port))
}

// formatsOf lists the payload types of m that we know, in its order.
func formatsOf(m *mediaText) []format {
	var maps [128]codec
	maps[0], maps[8] = pcmu, pcma // static, RFC 3551 section 6
	for _, a := range m.attributes {
		if a.key != "rtpmap" {
			continue
		}
		number, encoding, ok := strings.Cut(a.value, " ")
		pt, err := strconv.ParseUint(number, 10, 8)
		if !ok || err != nil || pt > 127 {
			continue
		}
		maps[pt] = codecOf(strings.TrimSpace(encoding))
	}
	var formats []format
	var seen [128]bool
	for _, f := range m.formats {
		pt, err := strconv.ParseUint(f, 10, 8)
		if err != nil || pt > 127 || maps[pt] == unknown || seen[pt] {
			continue
		}
		seen[pt] = true
		formats = append(formats, format{uint8(pt), maps[pt]})
	}
	return formats
}

// codecOf reads an rtpmap's encoding, "PCMU/8000" or "PCMU/8000/1"; names know no case.
func codecOf(encoding string) codec {
	name, rate, _ := strings.Cut(encoding, "/")
	if rate != "8000" && rate != "8000/1" {
		return unknown
	}
	for c, n := range codecNames {
		if n != "" && strings.EqualFold(n, name) {
			return codec(c)
		}
	}
	return unknown
}

func directionOf(attributes []attributeText, def direction) direction {
	for _, a := range attributes {
		for d, name := range directionNames {
			if a.key == name {
				return direction(d)
			}
		}
	}
	return def
}
