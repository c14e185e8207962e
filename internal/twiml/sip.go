package twiml

import (
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// Limits of a SIP address in characters (twiml section 3, Sip).
const (
	maxSIPURI     = 254
	maxSIPHeaders = 1023 // names, values and what stands between them
)

// sipHeaderNames are the headers beside X-… that a document may add to an INVITE.
var sipHeaderNames = []string{"User-to-User", "Remote-Party-ID", "P-Preferred-Identity", "P-Called-Party-ID"}

// sipURI is e's text as a SIP URI, and its headers added to h. It is "" with a warning when it is none.
func (p *parser) sipURI(e *element, h *sipHeaders) (uri, transport string) {
	text := strings.TrimSpace(e.text())
	t, query, ok := parseSIP(text)
	if !ok {
		p.warn(13243, e.line, "'%s' is not a SIP URI that can be called.", text)
		return "", ""
	}
	h.query(e.line, query)
	return t.URI, t.Transport
}

// parseSIP reads a SIP URI (RFC 3261 section 19.1) whose sip: may be missing; query is what follows the "?".
// The parameters region and edge say which of Twilio's sites is to call, and are dropped.
func parseSIP(s string) (t SipTarget, query string, ok bool) {
	scheme := "sip:"
	if hasScheme(s, "sips:") {
		scheme = "sips:"
	}
	if hasScheme(s, scheme) {
		s = s[len(scheme):]
	}
	s, query, _ = strings.Cut(s, "?")
	t.URI = scheme
	if i := strings.LastIndexByte(s, '@'); i >= 0 { // a user part may hold a semicolon
		if i == 0 || !only(s[:i], isUser) {
			return t, "", false
		}
		t.URI += s[:i+1]
		s = s[i+1:]
	}
	hostPort, params, hasParams := strings.Cut(s, ";")
	if !isHostPort(hostPort) {
		return t, "", false
	}
	t.URI += hostPort
	if hasParams {
		for param := range strings.SplitSeq(params, ";") {
			name, value, _ := strings.Cut(param, "=")
			if name == "" || !only(name, isParam) || !only(value, isParam) {
				return t, "", false
			}
			switch strings.ToLower(name) {
			case "region", "edge":
				continue
			case "transport":
				t.Transport = strings.ToLower(value)
				if !slices.Contains([]string{"udp", "tcp", "tls"}, t.Transport) {
					return t, "", false
				}
			}
			t.URI += ";" + param
		}
	}
	return t, query, len(t.URI) <= maxSIPURI
}

func isHostPort(s string) bool {
	host := s
	if i := strings.LastIndexByte(s, ':'); i > strings.LastIndexByte(s, ']') {
		n, err := strconv.ParseUint(s[i+1:], 10, 16)
		if err != nil || n == 0 {
			return false
		}
		host = s[:i]
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		a, err := netip.ParseAddr(inner)
		return ok && err == nil && a.Is6() && a.Zone() == ""
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(host, "."), ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' ||
			!only(label, func(c byte) bool { return isAlnum(c) || c == '-' || c == '_' }) {
			return false
		}
	}
	return true
}

// sipHeaders collects the headers of one noun.
type sipHeaders struct {
	p     *parser
	named map[string]string // nil while there are none
	size  int
}

// query adds the headers of a URI, as in X-Id=7&X-Name=Ada%20L.
func (h *sipHeaders) query(line int, s string) {
	if s == "" {
		return
	}
	for pair := range strings.SplitSeq(s, "&") {
		name, escaped, _ := strings.Cut(pair, "=")
		value, err := url.PathUnescape(escaped) // a + stays a +, RFC 3261 section 19.1.1
		if err != nil {
			h.p.warn(13252, line, "The value '%s' of the SIP header '%s' is not valid.", escaped, name)
			continue
		}
		h.add(line, name, value)
	}
}

// add takes a header; of two with the same name the later one counts.
func (h *sipHeaders) add(line int, name, value string) {
	switch {
	case !isHeaderName(name):
		h.p.warn(13252, line, "The name '%s' of a SIP header is not valid. One of '{X-…, %s}' is expected.", name, strings.Join(sipHeaderNames, ", "))
		return
	case !printable(value):
		h.p.warn(13252, line, "The value of the SIP header '%s' is not valid: it has control characters.", name)
		return
	}
	size := len(name) + len("=") + len(value)
	if len(h.named) > 0 {
		size += len("&")
	}
	if h.size+size > maxSIPHeaders {
		h.p.warn(13253, line, "The SIP header '%s' is too long: all together must be under %d characters.", name, maxSIPHeaders+1)
		return
	}
	h.size += size
	if h.named == nil {
		h.named = map[string]string{}
	}
	for other := range h.named {
		if strings.EqualFold(other, name) {
			delete(h.named, other)
		}
	}
	h.named[name] = value
}

// headers reads <Headers>.
func (p *parser) headers(e *element, h *sipHeaders) {
	p.attributes(e)
	for _, c := range p.children(e) {
		if c.name != "Header" {
			p.unexpected(12200, c, []string{"Header"})
			continue
		}
		a := p.attributes(c, "name", "value")
		p.noChildren(c)
		name, _ := a.get("name")
		value, _ := a.get("value")
		h.add(c.line, name, value)
	}
}

func isHeaderName(s string) bool {
	for _, known := range sipHeaderNames {
		if strings.EqualFold(s, known) {
			return true
		}
	}
	return len(s) > 2 && hasScheme(s, "x-") && only(s, func(c byte) bool { return isAlnum(c) || strings.IndexByte("-_.", c) >= 0 })
}

// hasScheme reports whether s begins with scheme in any case.
func hasScheme(s, scheme string) bool {
	return len(s) >= len(scheme) && strings.EqualFold(s[:len(scheme)], scheme)
}

func only(s string, ok func(c byte) bool) bool {
	for i := range len(s) {
		if !ok(s[i]) {
			return false
		}
	}
	return true
}

// printable reports whether s is without control characters, which could start a header of their own.
func printable(s string) bool { return !strings.ContainsFunc(s, unicode.IsControl) }

func isAlnum(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// isUser: user-unreserved, escapes and the colon before a password (RFC 3261 section 25.1).
func isUser(c byte) bool { return isAlnum(c) || strings.IndexByte("-_.!~*'()%&=+$,;/:", c) >= 0 }

// isParam: paramchar with escapes.
func isParam(c byte) bool { return isAlnum(c) || strings.IndexByte("-_.!~*'()%[]/:&+$", c) >= 0 }
