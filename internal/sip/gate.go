package sip

import (
	"bytes"
	"cmp"
	"hash/maphash"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/emiago/sipgo/sip"
)

// The gate looks at every message before sipgo does, as bytes: a message that is parsed costs a goroutine and,
// a request, a transaction. Who may speak at all is decided by its source and its Call-ID. What sipgo's parser
// would drop without a word, or would read otherwise than it was meant, is answered 400 from here, and so is
// what is too much: without any state, as RFC 3261 section 8.2.7 has it.

// raw is what the gate reads of a message.
type raw struct {
	request bool
	method  string // of a request
	host    string // of the Request-URI
	callID  string
	branch  string // of the top Via
	fromTag string
	to      string
	toTag   string
	proofs  []string // answers to challenges
	head    int      // bytes up to the body; 0 while the end of the headers is missing
	length  int      // Content-Length, -1 when there is none
	fault   *fault   // why the message cannot be passed on
	framed  bool     // Content-Length can be believed, so the next message of a stream can be found
}

// gate decides about one message: passed on, or dropped, with a reply to send unless it is nil. The reply
// goes to the given address, or on the message's own connection.
func (e *Endpoint) gate(src netip.AddrPort, data []byte, m *raw) (pass bool, reply []byte, to netip.AddrPort) {
	if e.ctx.Err() != nil {
		return false, nil, to
	}
	addr := src.Addr()
	known, trusted := e.belongs(m), e.trusted(addr)
	if !m.request && strings.HasPrefix(m.callID, e.pings) {
		return false, nil, to // a phone behind a NAT is still there
	}
	if d := e.domainOf(m); d != nil && !known {
		f, pass := e.knock(d, addr, m, trusted)
		if f != nil {
			reply, to = e.refusal(data, src, m, f)
		}
		if !pass {
			return false, reply, to
		}
		trusted = true
	}
	if !known && !trusted {
		e.refused(addr)
		return false, nil, to
	}
	answer := func(f *fault) (bool, []byte, netip.AddrPort) {
		if !trusted || !m.request || m.method == string(sip.ACK) {
			return false, nil, to
		}
		reply, to = e.refusal(data, src, m, f)
		return false, reply, to
	}
	if m.method == string(sip.ACK) && m.toTag != "" && m.toTag == e.refusalTag(m) {
		return false, nil, to // of a refusal that went out from here; it costs its source nothing
	}
	opens := m.method == string(sip.INVITE) && m.toTag == ""
	if !known {
		busy := &e.drops.rate
		if ok := e.limiter.allow(addr); ok {
			busy = &e.drops.transactions
			if e.transactions.Load() < int64(e.cfg.MaxTransactions) {
				busy = nil
			}
		}
		if busy != nil {
			busy.Add(1)
			if opens && m.fault == nil {
				// Kinder than silence, and cheaper: the carrier takes its other route at once, where silence would
				// bring six copies of the INVITE. Other requests are repeated in their own time.
				return answer(&fault{503, "Service Unavailable", []sip.Header{retryAfter()}})
			}
			return false, nil, to
		}
	}
	if m.fault != nil {
		e.drops.malformed.Add(1)
		return answer(m.fault)
	}
	if !known && opens && !e.entry.decide(e.entry.name(m.callID, m.fromTag, m.branch), e.cfg.Clock.Now()) {
		return answer(&fault{503, "Service Unavailable", []sip.Header{retryAfter()}})
	}
	return true, nil, to
}

// trusted reports whether an address may begin something: a trunk's, or loopback in dev mode.
func (e *Endpoint) trusted(a netip.Addr) bool {
	return e.cfg.Dev && a.IsLoopback() || e.sources.match(a) != nil
}

const (
	maxHeaders = 512     // lines; sipgo takes milliseconds over some thousands
	maxURI     = 4 << 10 // bytes of a Request-URI
	maxProofs  = 4       // credentials of a message that are looked at
)

// read takes a message apart as far as the gate needs it. stream is TCP, where Content-Length frames.
func read(data []byte, stream bool) (m raw) {
	m.length, m.framed = -1, true
	line, rest, ok := cutLine(data)
	if !ok {
		m.fault = badRequest("Bad Start Line")
		m.request = looksLikeRequest(line)
		return m
	}
	m.startLine(line)
	var via bool
	for lines := 0; ; lines++ {
		line, rest, ok = cutHeader(rest)
		if !ok {
			m.blame("Unfinished Headers")
			m.framed = false
			return m
		}
		if len(line) == 0 {
			break
		}
		if lines == maxHeaders {
			m.fault, m.framed = &fault{code: 513, reason: "Message Too Large"}, false
			return m
		}
		name, value, ok := bytes.Cut(line, []byte{':'})
		name, value = bytes.TrimSpace(name), bytes.TrimSpace(value)
		if !ok || !isToken(name) || bytes.ContainsAny(line, "\r\n") {
			m.blame("Bad Header Line")
			continue
		}
		switch headerOf(name) {
		case "call-id":
			if m.callID == "" {
				m.callID = string(value)
			}
		case "content-length":
			m.contentLength(value)
		case "from":
			m.fromTag = cmp.Or(m.fromTag, tagIn(value))
		case "to":
			m.to, m.toTag = string(value), cmp.Or(m.toTag, tagIn(value))
		case "authorization", "proxy-authorization":
			if len(m.proofs) < maxProofs {
				m.proofs = append(m.proofs, string(value))
			}
		case "via":
			if !via {
				via = true
				v := topVia(value)
				if v == nil || v.Host == "" {
					m.blame("Bad Via")
				} else {
					tidy(&v.Params)
					m.branch, _ = v.Params.Get("branch")
				}
			}
		case "contact":
			if bytes.IndexByte(value, '?') >= 0 && bytes.IndexByte(value, '<') < 0 { // RFC 3261 section 20.10
				m.blame("Bad Contact")
			}
		}
	}
	if !via {
		m.blame("Missing Via")
	}
	m.head = len(data) - len(rest)
	switch {
	case stream && m.length < 0:
		m.blame("Missing Content-Length") // RFC 3261 section 18.3
		m.framed = false
	case !stream && m.length > len(rest):
		m.blame("Content-Length Does Not Match")
	}
	return m
}

// blame notes the first thing that is wrong.
func (m *raw) blame(reason string) {
	if m.fault == nil {
		m.fault = badRequest(reason)
	}
}

func badRequest(reason string) *fault { return &fault{code: 400, reason: reason} }

// startLine reads a Request-Line or Status-Line (RFC 3261 sections 7.1 and 7.2).
func (m *raw) startLine(line []byte) {
	m.request = looksLikeRequest(line)
	if !m.request {
		if f := bytes.SplitN(line, []byte{' '}, 3); len(f) != 3 || len(f[1]) != 3 || !isDigits(string(f[1])) {
			m.blame("Bad Status Line")
		}
		return
	}
	f := bytes.SplitN(line, []byte{' '}, 4)
	m.method = string(f[0])
	var uri sip.Uri
	switch {
	case !isToken(f[0]):
		m.blame("Bad Method")
	case len(f) != 3 || bytes.ContainsAny(line, "\t\r\n"):
		m.blame("Bad Start Line")
	case string(f[2]) != "SIP/2.0" && string(f[2]) != "sip/2.0":
		m.fault = &fault{code: 505, reason: "Version Not Supported"}
	case len(f[1]) > maxURI:
		m.fault = &fault{code: 414, reason: "Request-URI Too Long"}
	case otherScheme(f[1]):
		m.fault = &fault{code: 416, reason: "Unsupported URI Scheme"} // sipgo's parser knows no scheme with a dot
	case len(f[1]) < 3 || bytes.ContainsAny(f[1], `<>"`) || sip.ParseUri(string(f[1]), &uri) != nil || uri.Wildcard:
		m.blame("Bad Request-URI")
	default:
		m.host = uri.Host
	}
}

// otherScheme reports whether a URI has a scheme that is none of SIP's (RFC 3986 section 3.1).
func otherScheme(uri []byte) bool {
	scheme, _, ok := bytes.Cut(uri, []byte{':'})
	for i, c := range scheme {
		if !('a' <= c|0x20 && c|0x20 <= 'z' || i > 0 && ('0' <= c && c <= '9' || c == '+' || c == '-' || c == '.')) {
			return false
		}
	}
	return ok && len(scheme) > 0 && !bytes.EqualFold(scheme, []byte("sip")) && !bytes.EqualFold(scheme, []byte("sips"))
}

func looksLikeRequest(line []byte) bool {
	return len(line) < 4 || !bytes.EqualFold(line[:4], []byte("SIP/"))
}

// contentLength takes a Content-Length; of two that differ neither is right.
func (m *raw) contentLength(value []byte) {
	n, err := strconv.ParseUint(string(value), 10, 31)
	if err != nil || m.length >= 0 && int(n) != m.length {
		m.blame("Bad Content-Length")
		m.framed = false
		n = math.MaxInt32
	}
	m.length = int(n)
}

// cutLine takes the line off that ends with CRLF; ok is false when there is no end.
func cutLine(data []byte) (line, rest []byte, ok bool) {
	i := bytes.Index(data, []byte("\r\n"))
	if i < 0 {
		return data, nil, false
	}
	return data[:i], data[i+2:], true
}

// cutHeader is cutLine of a header, whose line may be folded (RFC 3261 section 7.3.1).
func cutHeader(data []byte) (line, rest []byte, ok bool) {
	line, rest, ok = cutLine(data)
	if len(line) == 0 {
		return line, rest, ok
	}
	line = slices.Clip(line) // the first fold copies it
	for ok && len(rest) > 0 && (rest[0] == ' ' || rest[0] == '\t') {
		var more []byte
		more, rest, ok = cutLine(rest)
		line = append(append(line, ' '), more...)
	}
	return line, rest, ok
}

// tagIn is the tag parameter in the value of a From or To, "" when it has none.
func tagIn(value []byte) string {
	if i := bytes.LastIndexByte(value, '>'); i >= 0 {
		value = value[i+1:]
	}
	_, params, _ := bytes.Cut(value, []byte{';'})
	for len(params) > 0 {
		var p []byte
		p, params, _ = bytes.Cut(params, []byte{';'})
		if k, v, ok := bytes.Cut(p, []byte{'='}); ok && bytes.EqualFold(bytes.TrimSpace(k), []byte("tag")) {
			return string(bytes.TrimSpace(v))
		}
	}
	return ""
}

// headerOf is the canonical name, in small letters, of the headers the gate reads, "" of others.
func headerOf(name []byte) string {
	if len(name) == 1 {
		switch name[0] | 0x20 {
		case 'i':
			return "call-id"
		case 'l':
			return "content-length"
		case 'v':
			return "via"
		case 'm':
			return "contact"
		case 'f':
			return "from"
		case 't':
			return "to"
		}
		return ""
	}
	for _, known := range [...]string{"call-id", "content-length", "via", "contact", "from", "to", "cseq", "authorization", "proxy-authorization"} {
		if len(name) == len(known) && strings.EqualFold(string(name), known) {
			return known
		}
	}
	return ""
}

// isToken reports whether b is a token of RFC 3261 section 25.1.
func isToken(b []byte) bool {
	for _, c := range b {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-.!%*_+`'~", c) >= 0) {
			return false
		}
	}
	return len(b) > 0
}

// topVia parses the first element of a Via value, nil when it cannot be read.
func topVia(value []byte) *sip.ViaHeader {
	h, err := sip.DefaultHeadersParser()["via"](nil, string(value))
	if err != nil && !isComma(err) {
		return nil
	}
	v, _ := h.(*sip.ViaHeader)
	return v
}

// isComma recognises what sipgo's header parsers return when another element follows: no error.
func isComma(err error) bool { return err.Error() == "comma detected" }

// refusal is a response to the request m in data, which gets no transaction, and where it goes: to the source's
// address, at the port of RFC 3261 section 18.2.2. What the request lacks the response lacks too; nil means that
// nothing tells whose it is. A flood of requests costs little more than this.
func (e *Endpoint) refusal(data []byte, src netip.AddrPort, m *raw, f *fault) (msg []byte, to netip.AddrPort) {
	b := make([]byte, 0, len(data)+len(e.cfg.UserAgent)+256)
	line := func(name string, value []byte) {
		b = append(append(append(append(b, name...), ": "...), value...), "\r\n"...)
	}
	b = append(append(append(strconv.AppendInt(append(b, "SIP/2.0 "...), int64(f.code), 10), ' '), f.reason...), "\r\n"...)
	to = src
	via, named := false, false
	_, rest, _ := cutLine(data)
	for {
		var header []byte
		if header, rest, _ = cutHeader(rest); len(header) == 0 {
			break
		}
		name, value, _ := bytes.Cut(header, []byte{':'})
		kind := headerOf(bytes.TrimSpace(name))
		value = bytes.TrimSpace(value)
		if bytes.ContainsAny(value, "\r\n") { // nothing that could end a line
			value = bytes.Map(func(r rune) rune {
				if r == '\r' || r == '\n' {
					return ' '
				}
				return r
			}, value)
		}
		switch kind {
		case "via":
			if !via {
				value, to = received(value, src)
			}
			via = true
		case "to":
			if tagIn(value) == "" {
				value = append(append(slices.Clip(value), ";tag="...), e.refusalTag(m)...)
			}
			named = true
		case "from", "call-id", "cseq":
			named = true
		default:
			continue
		}
		line(wireNames[kind], value)
	}
	if !via || !named {
		return nil, to
	}
	for _, h := range f.headers {
		line(h.Name(), []byte(h.Value()))
	}
	line("Server", []byte(e.cfg.UserAgent))
	return append(b, "Content-Length: 0\r\n\r\n"...), to
}

// refusalTag is the To tag of a refusal: the same for a copy of the request, and told again from the ACK.
func (e *Endpoint) refusalTag(m *raw) string {
	var h maphash.Hash
	h.SetSeed(e.seed)
	_, _ = h.WriteString(m.callID)
	_ = h.WriteByte(0)
	_, _ = h.WriteString(m.branch)
	return strconv.FormatUint(h.Sum64(), 16)
}

var wireNames = map[string]string{"via": "Via", "from": "From", "to": "To", "call-id": "Call-ID", "cseq": "CSeq"}

// received adds to the first element of a Via where its request came from (RFC 3261 section 18.2.1, RFC 3581).
func received(value []byte, src netip.AddrPort) ([]byte, netip.AddrPort) {
	v := topVia(value)
	if v == nil || v.Host == "" {
		return value, src // nobody else to tell
	}
	first := len(splitList(string(value))[0])
	more := bytes.TrimLeft(value[min(first, len(value)):], " ")
	to := netip.AddrPortFrom(src.Addr(), uint16(v.Port))
	if v.Port <= 0 || v.Port > math.MaxUint16 {
		to = netip.AddrPortFrom(src.Addr(), 5060)
	}
	tidy(&v.Params)
	rport, asked := v.Params.Get("rport")
	if asked && rport == "" {
		v.Params.Add("rport", strconv.Itoa(int(src.Port())))
		to = src
	}
	if asked || strings.Trim(v.Host, "[]") != src.Addr().String() {
		v.Params.Add("received", src.Addr().String())
	}
	return append([]byte(v.Value()), more...), to
}

// badHeader stands for a header that its parser refused, so that the request reaches validate, which answers.
// sipgo alone would drop the message, or close its connection.
type badHeader struct{ sip.Header }

// newParser is sipgo's parser with headers that have no way to fail.
func newParser() *sip.Parser {
	all := make(map[string]sip.HeaderParser)
	for name, parse := range sip.DefaultHeadersParser() {
		all[name] = func(n []byte, text string) (sip.Header, error) {
			h, err := parse(n, text)
			if err == nil || isComma(err) {
				return h, err
			}
			return badHeader{sip.NewHeader(string(n), text)}, nil
		}
	}
	return sip.NewParser(sip.WithHeadersParsers(all))
}
