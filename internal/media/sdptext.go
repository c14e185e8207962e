package media

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// This file is the syntax of RFC 8866 as far as an endpoint for audio needs it. It reads what
// telephones send: any media type and transport, so that a stream can be refused by name (T.38's
// m=image), and any bandwidth modifier, which must be ignored when unknown (section 5.8).

// maxSDP bounds a description, in bytes; real ones have a few hundred, WebRTC ones a few thousand.
const maxSDP = 32 << 10

// sdpTypes are the letters of the lines that a description may have.
const sdpTypes = "vosiuepcbtrzkam"

// sessionText is a description as it is written.
type sessionText struct {
	connection *connectionText
	attributes []attributeText
	media      []*mediaText
}

// connectionText is a c= line: "IN IP4 192.0.2.1".
type connectionText struct{ network, family, address string }

// attributeText is an a= line: "key" or "key:value".
type attributeText struct{ key, value string }

// mediaText is an m= line, "audio 4000 RTP/AVP 0 8", and what belongs to it.
type mediaText struct {
	mediaLine
	connection *connectionText // nil: the session's
	attributes []attributeText
}

type mediaLine struct {
	media   string
	port    uint16 // 0: refused
	proto   string
	formats []string
}

// attribute is the value of the first attribute of that key.
func (m *mediaText) attribute(key string) (value string, ok bool) {
	for _, a := range m.attributes {
		if a.key == key {
			return a.value, true
		}
	}
	return "", false
}

// parseSDP reads a description; its error is ErrBadSDP.
func parseSDP(b []byte) (*sessionText, error) {
	if len(b) > maxSDP {
		return nil, fmt.Errorf("%w: %d bytes, the limit is %d", ErrBadSDP, len(b), maxSDP)
	}
	s := new(sessionText)
	n := 0
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimRight(line, "\r\n"); line == "" {
			continue
		}
		n++
		if err := s.line(n, line); err != nil {
			return nil, fmt.Errorf("%w: line %d: %w", ErrBadSDP, n, err)
		}
	}
	if n < 3 {
		return nil, fmt.Errorf("%w: %d lines", ErrBadSDP, n)
	}
	return s, nil
}

// line takes the n-th line, counted from 1.
func (s *sessionText) line(n int, line string) error {
	if len(line) < 2 || line[1] != '=' || !strings.Contains(sdpTypes, line[:1]) {
		return fmt.Errorf("%.20q is not type=value", line)
	}
	if strings.ContainsAny(line, "\x00\r") {
		return fmt.Errorf("control character")
	}
	kind, value := line[0], line[2:]
	if n <= 3 && kind != "vos"[n-1] {
		return fmt.Errorf("%q where %c= must be", line[:2], "vos"[n-1])
	}
	switch kind {
	case 'v':
		if n != 1 || strings.TrimSpace(value) != "0" {
			return fmt.Errorf("version %.20q", value)
		}
	case 'o':
		return checkOrigin(n, value)
	case 'c':
		c, err := parseConnection(value)
		if err != nil {
			return err
		}
		at := &s.connection
		if m := s.last(); m != nil {
			at = &m.connection
		}
		if *at == nil { // more are layers of a multicast
			*at = c
		}
	case 'a':
		key, v, _ := strings.Cut(value, ":")
		a := attributeText{strings.TrimSpace(key), v}
		if m := s.last(); m != nil {
			m.attributes = append(m.attributes, a)
		} else {
			s.attributes = append(s.attributes, a)
		}
	case 'm':
		m, err := parseMediaLine(value)
		if err != nil {
			return err
		}
		s.media = append(s.media, &mediaText{mediaLine: m})
	}
	return nil
}

func (s *sessionText) last() *mediaText {
	if len(s.media) == 0 {
		return nil
	}
	return s.media[len(s.media)-1]
}

// checkOrigin reads "user id version IN IP4 address", of which nothing is needed: whether a description
// is a new one is seen by what it says.
func checkOrigin(n int, value string) error {
	f := strings.Fields(value)
	if n != 2 || len(f) != 6 {
		return fmt.Errorf("origin %.40q", value)
	}
	for _, number := range f[1:3] {
		if strings.Trim(number, "0123456789") != "" {
			return fmt.Errorf("origin number %.40q", number)
		}
	}
	return nil
}

func parseConnection(value string) (*connectionText, error) {
	f := strings.Fields(value)
	if len(f) != 3 {
		return nil, fmt.Errorf("connection %.40q", value)
	}
	address, _, _ := strings.Cut(f[2], "/") // a multicast's TTL
	return &connectionText{f[0], f[1], address}, nil
}

func parseMediaLine(value string) (m mediaLine, err error) {
	f := strings.Fields(value)
	if len(f) < 4 {
		return m, fmt.Errorf("media %.40q", value)
	}
	first, _, _ := strings.Cut(f[1], "/") // a count of ports
	port, err := strconv.ParseUint(first, 10, 16)
	if err != nil {
		return m, fmt.Errorf("port %.20q", f[1])
	}
	return mediaLine{media: f[0], port: uint16(port), proto: f[2], formats: f[3:]}, nil
}

// writeSDP writes a description of ours, without its media.
func writeSDP(w *strings.Builder, id, version uint64, addr netip.Addr) {
	family := "IP6"
	if addr.Is4() {
		family = "IP4"
	}
	fmt.Fprintf(w, "v=0\r\no=- %d %d IN %s %s\r\ns=-\r\nc=IN %s %s\r\nt=0 0\r\n", id, version, family, addr, family, addr)
}

func (m mediaLine) write(w *strings.Builder) {
	fmt.Fprintf(w, "m=%s %d %s %s\r\n", m.media, m.port, m.proto, strings.Join(m.formats, " "))
}
