package phone

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// direction is who may send on a stream, as bits (RFC 8866 section 6.7).
type direction uint8

const (
	inactive direction = iota
	sendonly
	recvonly
	sendrecv
)

var directionNames = [...]string{"inactive", "sendonly", "recvonly", "sendrecv"}

func (d direction) String() string { return directionNames[d] }

// reverse is the same direction as the other side names it.
func (d direction) reverse() direction { return d>>1 | d<<1&2 }

// format is one payload type of a stream.
type format struct {
	pt   uint8
	name string // in capitals: PCMU, PCMA, TELEPHONE-EVENT, …; "" when unknown
}

const telephoneEvent = "TELEPHONE-EVENT"

// description is the part of an SDP body (RFC 8866) that a phone needs: the first audio stream, and
// the other streams so that an answer can refuse them in their places.
type description struct {
	addr    netip.Addr
	port    int
	formats []format
	dir     direction
	others  []string // "video 5004 RTP/AVP 96": what stands behind m=, "" where the audio stream is
}

var errNoAudio = errors.New("phone: the SDP has no audio stream over RTP")

// maxSDP bounds the bodies that are read.
const maxSDP = 16 << 10

// parseSDP reads an offer or an answer.
func parseSDP(body []byte) (*description, error) {
	if len(body) > maxSDP {
		return nil, fmt.Errorf("phone: SDP of %d bytes", len(body))
	}
	d := &description{dir: sendrecv}
	names := map[uint8]string{0: "PCMU", 8: "PCMA"}
	inAudio, inOther, found := false, false, false
	for n, line := range strings.Split(string(body), "\n") {
		line = strings.TrimRight(line, "\r")
		key, value, ok := strings.Cut(line, "=")
		if !ok || len(key) != 1 {
			if strings.TrimSpace(line) == "" {
				continue
			}
			return nil, fmt.Errorf("phone: SDP line %d is not key=value", n+1)
		}
		if key == "m" {
			inAudio, inOther = false, true
			if f := strings.Fields(value); !found && len(f) >= 4 && f[0] == "audio" && strings.HasPrefix(f[2], "RTP/AVP") && f[1] != "0" {
				if err := d.media(f); err != nil {
					return nil, fmt.Errorf("phone: SDP line %d: %w", n+1, err)
				}
				inAudio, inOther, found = true, false, true
				value = ""
			}
			d.others = append(d.others, value)
			continue
		}
		if inOther { // an attribute of a stream we do not take
			continue
		}
		switch {
		case key == "c":
			addr, err := connection(value)
			if err != nil {
				return nil, fmt.Errorf("phone: SDP line %d: %w", n+1, err)
			}
			d.addr = addr
		case key == "a" && slices.Contains(directionNames[:], value):
			d.dir = direction(slices.Index(directionNames[:], value))
		case key == "a" && inAudio && strings.HasPrefix(value, "rtpmap:"):
			if pt, name, ok := rtpmap(value[len("rtpmap:"):]); ok {
				names[pt] = name
			}
		}
	}
	if !found {
		return nil, errNoAudio
	}
	if !d.addr.IsValid() {
		return nil, errors.New("phone: the SDP has no c= line with an IP address")
	}
	for i := range d.formats {
		d.formats[i].name = names[d.formats[i].pt]
	}
	return d, nil
}

// media reads the fields of m=audio PORT PROTO FORMAT….
func (d *description) media(f []string) error {
	port, _, _ := strings.Cut(f[1], "/")
	p, err := strconv.ParseUint(port, 10, 16)
	if err != nil || p == 0 {
		return fmt.Errorf("bad port %q", f[1])
	}
	d.port = int(p)
	for _, v := range f[3:] {
		pt, err := strconv.ParseUint(v, 10, 8)
		if err != nil || pt > 127 {
			return fmt.Errorf("bad payload type %q", v)
		}
		d.formats = append(d.formats, format{pt: uint8(pt)})
	}
	return nil
}

// connection reads IN IP4 ADDRESS; a name instead of an address is refused.
func connection(v string) (netip.Addr, error) {
	f := strings.Fields(v)
	if len(f) != 3 || f[0] != "IN" {
		return netip.Addr{}, fmt.Errorf("bad connection %q", v)
	}
	host, _, _ := strings.Cut(f[2], "/")
	return netip.ParseAddr(host)
}

// rtpmap reads "101 telephone-event/8000"; other clock rates and channels are not for us.
func rtpmap(v string) (pt uint8, name string, ok bool) {
	num, rest, _ := strings.Cut(v, " ")
	n, err := strconv.ParseUint(num, 10, 7)
	f := strings.Split(strings.TrimSpace(rest), "/")
	if err != nil || len(f) < 2 {
		return 0, "", false
	}
	name = strings.ToUpper(f[0])
	if f[1] != "8000" || len(f) > 2 && f[2] != "1" {
		name = "" // known by number, but not ours
	}
	return uint8(n), name, true
}

// marshal writes the body; id and version are the o= line's (RFC 3264 section 8: a changed body
// counts the version up).
func (d *description) marshal(id, version uint64) []byte {
	family := "IP4"
	if d.addr.Is6() {
		family = "IP6"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "v=0\r\no=- %d %d IN %s %s\r\ns=phone\r\nc=IN %s %s\r\nt=0 0\r\n", id, version, family, d.addr, family, d.addr)
	others := d.others
	if len(others) == 0 {
		others = []string{""}
	}
	for _, o := range others {
		if f := strings.Fields(o); len(f) >= 4 { // refused: port 0, RFC 3264 section 6
			fmt.Fprintf(&b, "m=%s 0 %s %s\r\n", f[0], f[2], strings.Join(f[3:], " "))
			continue
		}
		fmt.Fprintf(&b, "m=audio %d RTP/AVP", d.port)
		for _, f := range d.formats {
			fmt.Fprintf(&b, " %d", f.pt)
		}
		b.WriteString("\r\n")
		for _, f := range d.formats {
			if f.name == telephoneEvent {
				fmt.Fprintf(&b, "a=rtpmap:%d telephone-event/8000\r\na=fmtp:%d 0-15\r\n", f.pt, f.pt)
			} else {
				fmt.Fprintf(&b, "a=rtpmap:%d %s/8000\r\n", f.pt, f.name)
			}
		}
		fmt.Fprintf(&b, "a=ptime:20\r\na=%s\r\n", d.dir)
	}
	return []byte(b.String())
}

// number finds the payload type of a format by name.
func (d *description) number(name string) (uint8, bool) {
	for _, f := range d.formats {
		if f.name == name {
			return f.pt, true
		}
	}
	return 0, false
}

// offerOf lists codecs in order of preference and telephone-event (events < 0: without).
func offerOf(codecs []Codec, events int) []format {
	var fs []format
	for _, c := range codecs {
		fs = append(fs, format{c.payloadType(), string(c)})
	}
	if events >= 0 {
		fs = append(fs, format{uint8(events), telephoneEvent})
	}
	return fs
}

var errNoCodec = errors.New("phone: no codec in common")

// answerTo chooses from an offer: the first of codecs that it has, under the offer's own payload
// types, and never more directions than it allows (RFC 3264 section 6.1).
func answerTo(offer *description, codecs []Codec, events int, dir direction) (*description, error) {
	a := &description{dir: dir & offer.dir.reverse()}
	for _, o := range offer.others {
		if o != "" && len(strings.Fields(o)) < 4 {
			o = "application 0 RTP/AVP 0" // unreadable, but its place must be kept
		}
		a.others = append(a.others, o)
	}
	for _, c := range codecs {
		if pt, ok := offer.number(string(c)); ok {
			a.formats = append(a.formats, format{pt, string(c)})
			break
		}
	}
	if len(a.formats) == 0 {
		return nil, errNoCodec
	}
	if pt, ok := offer.number(telephoneEvent); ok && events >= 0 {
		a.formats = append(a.formats, format{pt, telephoneEvent})
	}
	return a, nil
}

// agreement is what an offer and its answer come to, seen from one side.
type agreement struct {
	remote     netip.AddrPort
	codec      Codec
	sendPT     uint8 // for codec, as the far end numbers it
	recvPT     uint8 // for codec, as we number it
	sendEvents int   // telephone-event payload type toward the far end, -1 without
	recvEvents int   // and from it
	send, recv bool
}

// agree combines both sides; answer is whichever of them answered.
func agree(local, remote, answer *description) (agreement, error) {
	g := agreement{remote: netip.AddrPortFrom(remote.addr, uint16(remote.port)), sendEvents: -1, recvEvents: -1}
	for _, f := range answer.formats {
		c := Codec(f.name)
		if c != PCMU && c != PCMA {
			continue
		}
		out, ok1 := remote.number(f.name)
		in, ok2 := local.number(f.name)
		if ok1 && ok2 {
			g.codec, g.sendPT, g.recvPT = c, out, in
			break
		}
	}
	if g.codec == "" {
		return g, errNoCodec
	}
	out, ok1 := remote.number(telephoneEvent)
	in, ok2 := local.number(telephoneEvent)
	if ok1 && ok2 {
		g.sendEvents, g.recvEvents = int(out), int(in)
	}
	// 0.0.0.0 is hold as RFC 2543 spelled it.
	g.send = local.dir&sendonly != 0 && remote.dir&recvonly != 0 && !remote.addr.IsUnspecified()
	g.recv = local.dir&recvonly != 0 && remote.dir&sendonly != 0
	return g, nil
}
