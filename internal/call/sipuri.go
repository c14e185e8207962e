package call

import (
	"net/netip"
	"net/url"
	"strings"

	"github.com/offhook/offhook/internal/twilio"
)

// Limits of a SIP address in characters (calls-api section 4, To).
const (
	maxSIPURI     = 254  // without its headers
	maxSIPHeaders = 1023 // after the "?"
)

// sipHeaders are the headers beside X-… that a SIP address may add to the INVITE (twiml section 3, Sip noun).
var sipHeaders = []string{"User-to-User", "Remote-Party-ID", "P-Preferred-Identity", "P-Called-Party-ID"}

// SplitSIP takes the headers off a SIP URI: "sip:a@h?X-Id=7" is "sip:a@h" and X-Id: 7. A name given
// twice keeps its last value. Its error is a *twilio.Error.
func SplitSIP(uri string) (target string, headers map[string]string, err error) {
	target, query, found := strings.Cut(uri, "?")
	if !found || query == "" {
		return target, nil, nil
	}
	if len(query) > maxSIPHeaders {
		return "", nil, twilio.Err(21227)
	}
	headers = map[string]string{}
	for pair := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(pair, "=")
		if !isHeaderName(name) {
			return "", nil, twilio.Err(21228, name)
		}
		raw := only(value, func(c byte) bool { return c > ' ' && c < 0x7f && c != '<' && c != '>' && c != '"' })
		value, err := url.PathUnescape(value) // a + stays a +, RFC 3261 section 19.1.1
		if !raw || err != nil || !only(value, func(c byte) bool { return c >= ' ' && c != 0x7f }) {
			return "", nil, twilio.Err(21229, name)
		}
		headers[name] = value
	}
	return target, headers, nil
}

func isHeaderName(s string) bool {
	for _, known := range sipHeaders {
		if strings.EqualFold(s, known) {
			return true
		}
	}
	return len(s) > 2 && strings.EqualFold(s[:2], "x-") && only(s, func(c byte) bool { return isAlnum(c) || c == '-' || c == '_' || c == '.' })
}

// checkSIP checks a sip: or sips: URI (RFC 3261 section 19.1) and returns it with its scheme in lower case.
func checkSIP(s string) (string, error) {
	bad := func() (string, error) { return s, twilio.Errf(21211, "Invalid SIP address: %s", s) }
	scheme := "sip:"
	if hasScheme(s, "sips:") {
		scheme = "sips:"
	}
	uri := scheme + s[len(scheme):]
	target, _, err := SplitSIP(uri)
	if err != nil {
		return s, err
	}
	if len(target) > maxSIPURI {
		return bad()
	}
	hostport, params, hasParams := strings.Cut(target[len(scheme):], ";")
	if user, rest, ok := cutLast(target[len(scheme):], "@"); ok { // a user part may hold a semicolon
		if user == "" || !only(user, isUser) {
			return bad()
		}
		hostport, params, hasParams = strings.Cut(rest, ";")
	}
	if !IsHostPort(hostport) {
		return bad()
	}
	if !hasParams {
		return uri, nil
	}
	for param := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(param, "=")
		if name == "" || !only(name, isParam) || !only(value, isParam) {
			return bad()
		}
		if strings.EqualFold(name, "transport") {
			switch strings.ToLower(value) {
			case "udp", "tcp", "tls":
			default:
				return bad()
			}
		}
	}
	return uri, nil
}

// SIPAddress is the user part of a sip: URI, without escapes, and its host name in lower case, without port.
func SIPAddress(uri string) (user, host string) {
	_, rest, _ := strings.Cut(uri, ":")
	rest, _, _ = strings.Cut(rest, "?")
	if name, after, ok := cutLast(rest, "@"); ok {
		user, rest = name, after
	}
	rest, _, _ = strings.Cut(rest, ";")
	if i := strings.LastIndexByte(rest, ':'); i > strings.LastIndexByte(rest, ']') {
		rest = rest[:i]
	}
	user, _, _ = strings.Cut(user, ":") // a password
	if name, err := url.PathUnescape(user); err == nil {
		user = name
	}
	return user, strings.ToLower(strings.TrimSuffix(rest, "."))
}

// cutLast cuts s around the last sep.
func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// IsHostPort reports whether s is a host name or address (of IPv6 in brackets) with an optional port.
func IsHostPort(s string) bool {
	host := s
	if i := strings.LastIndexByte(s, ':'); i > strings.LastIndexByte(s, ']') {
		host = s[:i]
		if !isPort(s[i+1:]) {
			return false
		}
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		a, err := netip.ParseAddr(inner)
		return ok && err == nil && a.Is6() && a.Zone() == ""
	}
	return isHostName(host)
}

// isHostName takes dotted labels of letters, digits, hyphens and underscores; an IPv4 address is one too.
func isHostName(s string) bool {
	s = strings.TrimSuffix(s, ".")
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		if !only(label, func(c byte) bool { return isAlnum(c) || c == '-' || c == '_' }) {
			return false
		}
	}
	return true
}

func isAlnum(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// isUser: user-unreserved, escapes and the colon before a password.
func isUser(c byte) bool { return isAlnum(c) || strings.IndexByte("-_.!~*'()%&=+$,;?/:", c) >= 0 }

// isParam: paramchar with escapes.
func isParam(c byte) bool { return isAlnum(c) || strings.IndexByte("-_.!~*'()%[]/:&+$", c) >= 0 }

// isUserName is what Twilio takes as a caller towards SIP (twiml section 3, callerId).
func isUserName(c byte) bool { return isAlnum(c) || strings.IndexByte("+-_.", c) >= 0 }
