package sip

import (
	"bytes"
	"io"
	"mime"
	"mime/multipart"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"
)

// headerValue is the first header of that name or compact form, "" when there is none.
func headerValue(m sip.Message, name, compact string) string {
	if v := m.GetHeaders(name); len(v) > 0 {
		return strings.TrimSpace(v[0].Value())
	}
	if compact != "" {
		if v := m.GetHeaders(compact); len(v) > 0 {
			return strings.TrimSpace(v[0].Value())
		}
	}
	return ""
}

// listHeader is every element of a comma-separated header, over all its lines.
func listHeader(m sip.Message, name, compact string) []string {
	var all []string
	hs := m.GetHeaders(name)
	if compact != "" {
		hs = append(hs, m.GetHeaders(compact)...)
	}
	for _, h := range hs {
		all = append(all, splitList(h.Value())...)
	}
	return all
}

// splitList cuts s at commas outside of quotes and angle brackets.
func splitList(s string) []string {
	var (
		parts         []string
		start         int
		quoted, angle bool
	)
	add := func(p string) {
		if p = strings.TrimSpace(p); p != "" {
			parts = append(parts, p)
		}
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && quoted:
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '<':
			angle = true
		case c == '>':
			angle = false
		case c == ',' && !angle:
			add(s[start:i])
			start = i + 1
		}
	}
	add(s[start:])
	return parts
}

// hasOption reports whether an option tag is in a list header.
func hasOption(list []string, tag string) bool {
	for _, t := range list {
		if strings.EqualFold(t, tag) {
			return true
		}
	}
	return false
}

// sdpOf is a message's session description: its body, or the SDP part of a multipart one (RFC 5621).
// ok is false for a body of another kind.
func sdpOf(m interface {
	sip.Message
	ContentType() *sip.ContentTypeHeader
}) (sdp []byte, ok bool) {
	body, ct := m.Body(), m.ContentType()
	if len(body) == 0 || ct == nil {
		return nil, false
	}
	kind, params, err := mime.ParseMediaType(string(*ct))
	switch {
	case err != nil:
		return nil, false
	case kind == "application/sdp":
		return body, true
	case !strings.HasPrefix(kind, "multipart/") || params["boundary"] == "":
		return nil, false
	}
	r := multipart.NewReader(bytes.NewReader(body), params["boundary"])
	for {
		p, err := r.NextPart()
		if err != nil {
			return nil, false
		}
		if k, _, err := mime.ParseMediaType(p.Header.Get("Content-Type")); err == nil && k == "application/sdp" {
			b, err := io.ReadAll(io.LimitReader(p, maxBody))
			return b, err == nil && len(b) > 0
		}
	}
}

// setSDP puts a session description into a message.
func setSDP(m sip.Message, sdp []byte) {
	ct := sip.ContentTypeHeader("application/sdp")
	m.AppendHeader(&ct)
	m.SetBody(sdp)
}

// q850Of is the cause of a Reason header with protocol Q.850 (RFC 3326), 0 when there is none.
func q850Of(m sip.Message) int {
	for _, v := range listHeader(m, "Reason", "") {
		parts := strings.Split(v, ";")
		if !strings.EqualFold(strings.TrimSpace(parts[0]), "Q.850") {
			continue
		}
		for _, p := range parts[1:] {
			k, val, _ := strings.Cut(p, "=")
			if strings.EqualFold(strings.TrimSpace(k), "cause") {
				if n, err := strconv.ParseUint(strings.Trim(strings.TrimSpace(val), `"`), 10, 7); err == nil {
					return int(n)
				}
			}
		}
	}
	return 0
}

// sessionExpires is a Session-Expires header, RFC 4028 section 4.
type sessionExpires struct {
	interval  time.Duration
	refresher string // uac, uas or ""
}

// parseSessionExpires reads one; ok is false when it is absent or malformed, which means no timer.
func parseSessionExpires(v string) (se sessionExpires, ok bool) {
	num, params, _ := strings.Cut(v, ";")
	n, err := strconv.ParseUint(strings.TrimSpace(num), 10, 31)
	if err != nil || n == 0 {
		return se, false
	}
	se.interval = time.Duration(n) * time.Second
	for _, p := range strings.Split(params, ";") {
		k, v, _ := strings.Cut(p, "=")
		if strings.EqualFold(strings.TrimSpace(k), "refresher") {
			switch v = strings.ToLower(strings.TrimSpace(v)); v {
			case "uac", "uas":
				se.refresher = v
			}
		}
	}
	return se, true
}

func (se sessionExpires) header() sip.Header {
	v := strconv.Itoa(int(se.interval / time.Second))
	if se.refresher != "" {
		v += ";refresher=" + se.refresher
	}
	return sip.NewHeader("Session-Expires", v)
}

// minSEOf is a Min-SE header's value, 0 when there is none.
func minSEOf(m sip.Message) time.Duration {
	v, _, _ := strings.Cut(headerValue(m, "Min-SE", ""), ";")
	n, err := strconv.ParseUint(strings.TrimSpace(v), 10, 31)
	if err != nil {
		return 0
	}
	return time.Duration(n) * time.Second
}

// rack is a PRACK's RAck header, RFC 3262 section 7.2.
type rack struct {
	rseq, cseq uint32
	method     string
}

func parseRAck(v string) (r rack, ok bool) {
	f := strings.Fields(v)
	if len(f) != 3 {
		return r, false
	}
	a, err1 := strconv.ParseUint(f[0], 10, 32)
	b, err2 := strconv.ParseUint(f[1], 10, 32)
	return rack{uint32(a), uint32(b), f[2]}, err1 == nil && err2 == nil
}

// dtmfInfo is the key of an INFO body: application/dtmf-relay ("Signal=5") or application/dtmf ("5").
func dtmfInfo(contentType string, body []byte) (key byte, ok bool) {
	kind, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return 0, false
	}
	text := strings.TrimSpace(string(body))
	switch kind {
	case "application/dtmf-relay":
		signal := ""
		for line := range strings.Lines(text) {
			k, v, _ := strings.Cut(line, "=")
			if strings.EqualFold(strings.TrimSpace(k), "signal") {
				signal = strings.TrimSpace(v)
			}
		}
		text = signal
	case "application/dtmf":
	default:
		return 0, false
	}
	switch text { // event numbers of RFC 4733 section 3.2 are seen as well
	case "10":
		text = "*"
	case "11":
		text = "#"
	}
	if len(text) != 1 {
		return 0, false
	}
	key = strings.ToUpper(text)[0]
	return key, strings.IndexByte("0123456789*#ABCD", key) >= 0
}

// address is a name-addr header value: display name and URI (RFC 3261 section 20.10).
func address(v string) (name string, uri sip.Uri, ok bool) {
	name, err := sip.ParseAddressValue(v, &uri, nil)
	return unquote(name), uri, err == nil
}

// unquote undoes the escapes of a display name, which the parser leaves in, and drops control characters,
// which may be escaped there.
func unquote(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		if s[i] >= ' ' && s[i] != 0x7f {
			b.WriteByte(s[i])
		}
	}
	return strings.ToValidUTF8(strings.TrimSpace(b.String()), "\uFFFD")
}

// quote makes a display name safe inside the quotes sipgo puts around it.
func quote(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r < ' ' || r == 0x7f:
			continue
		case r == '"' || r == '\\':
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// party names who a URI stands for: +digits when its user part is a number, else user@host.
//
// The rule: escapes are undone, what follows a ';' is dropped (user parameters such as npdi) and so are the
// visual separators "-", ".", "(", ")" and blanks. A '+' with 7 to 15 digits is E.164. Bare digits are made
// E.164 by a '+' when there are 8 to 15 of them and the first is not 0: a national or an international
// prefix (0, 00, 011) or an extension cannot be told apart without the trunk's dialling plan.
func party(u *sip.Uri) string {
	user := u.User
	raw := u.Raw()
	if u.Scheme == "tel" {
		user = raw
	}
	if d, err := url.PathUnescape(user); err == nil {
		user = d
	}
	number, _, _ := strings.Cut(user, ";")
	number = strings.Map(func(r rune) rune {
		if strings.ContainsRune("-.() ", r) {
			return -1
		}
		return r
	}, number)
	digits := strings.TrimPrefix(number, "+")
	if isDigits(digits) && len(digits) <= 15 {
		if len(digits) != len(number) && len(digits) >= 7 {
			return number
		}
		if len(digits) == len(number) && len(digits) >= 8 && digits[0] != '0' {
			return "+" + digits
		}
	}
	if u.Host == "" {
		return user
	}
	if user == "" {
		return u.Host
	}
	return user + "@" + u.Host
}

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}
