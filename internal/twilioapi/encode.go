package twilioapi

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/twilio"
)

// enc builds an answer. The same calls write JSON, whose names are given (account_sid), or XML, whose
// names are the same in Pascal case (AccountSid); null and "" are empty elements there. Lists can be CSV too.
// It is written by hand because a call is 25 fields and a page up to 1000 of them: reflection would
// take most of the time of a request.
type enc struct {
	b      []byte
	xml    bool
	csv    *sheet // a list as CSV, of which b has the lines; nil: another format
	origin string // of the APIs under /v1, whose times are ISO 8601 and whose links are whole URLs
}

// suffix is what ends the URIs inside an answer.
func (e *enc) suffix() string {
	if e.xml || e.origin != "" {
		return ""
	}
	return ".json"
}

// head and tail stand around the document.
func (e *enc) head() {
	if e.xml {
		e.b = append(e.b, `<?xml version="1.0" encoding="UTF-8"?>`+"\n<TwilioResponse>"...)
	}
}

func (e *enc) tail() {
	if e.xml {
		e.b = append(e.b, "</TwilioResponse>"...)
	}
}

// object writes an object that is an item of a list or the document itself: in XML an element.
func (e *enc) object(name string, fields func()) {
	if e.csv != nil {
		e.line(fields)
		return
	}
	if e.xml {
		e.open(name)
		fields()
		e.close(name)
		return
	}
	e.comma()
	e.b = append(e.b, '{')
	fields()
	e.b = append(e.b, '}')
}

// child writes an object that is a field.
func (e *enc) child(name string, fields func()) {
	if e.csv != nil {
		e.columns(name, fields)
		return
	}
	e.name(name)
	if !e.xml {
		e.b = append(e.b, '{')
	}
	fields()
	if !e.xml {
		e.b = append(e.b, '}')
	}
	e.endName(name)
}

// str writes text.
func (e *enc) str(name, value string) {
	if e.xml && value == "" {
		e.empty(name)
		return
	}
	e.name(name)
	e.quote(value)
	e.endName(name)
}

// opt writes text, or null when there is none.
func (e *enc) opt(name, value string) {
	if value == "" {
		e.null(name)
		return
	}
	e.str(name, value)
}

// null writes a field without value.
func (e *enc) null(name string) {
	if e.xml {
		e.empty(name)
		return
	}
	e.name(name)
	if e.json() {
		e.b = append(e.b, "null"...)
	}
	e.endName(name)
}

// digits writes a number as text.
func (e *enc) digits(name string, n int64) {
	e.name(name)
	if e.json() {
		e.b = append(e.b, '"')
	}
	e.b = strconv.AppendInt(e.b, n, 10)
	if e.json() {
		e.b = append(e.b, '"')
	}
	e.endName(name)
}

// number writes a number as such.
func (e *enc) number(name string, n int64) {
	e.name(name)
	e.b = strconv.AppendInt(e.b, n, 10)
	e.endName(name)
}

// bool writes true or false.
func (e *enc) bool(name string, v bool) {
	e.name(name)
	e.b = strconv.AppendBool(e.b, v)
	e.endName(name)
}

// time writes RFC 2822, or ISO 8601, or null for the zero time.
func (e *enc) time(name string, t time.Time) {
	if t.IsZero() {
		e.null(name)
		return
	}
	e.name(name)
	if e.json() {
		e.b = append(e.b, '"')
	}
	if e.origin != "" {
		e.b = t.UTC().AppendFormat(e.b, "2006-01-02T15:04:05Z")
	} else {
		e.b = twilio.AppendTime(e.b, t)
	}
	if e.json() {
		e.b = append(e.b, '"')
	}
	e.endName(name)
}

// link writes a URI inside the API: the parts joined, with the suffix of the format.
func (e *enc) link(name string, parts ...string) {
	e.name(name)
	if e.json() {
		e.b = append(e.b, '"')
	}
	e.text(e.origin)
	for _, p := range parts {
		e.b = append(e.b, p...) // SIDs and names of our own: nothing to escape
	}
	e.b = append(e.b, e.suffix()...)
	if e.json() {
		e.b = append(e.b, '"')
	}
	e.endName(name)
}

// self writes where the resource itself is.
func (e *enc) self(parts ...string) {
	if e.origin != "" {
		e.link("url", parts...)
		return
	}
	e.link("uri", parts...)
}

// strs writes a list of texts.
func (e *enc) strs(name string, values []string) {
	e.name(name)
	if e.json() {
		e.b = append(e.b, '[')
	}
	for i, v := range values {
		if e.xml {
			e.str("value", v)
			continue
		}
		if e.csv != nil {
			if i > 0 {
				e.b = append(e.b, ' ')
			}
			e.quote(v)
			continue
		}
		e.comma()
		e.quote(v)
	}
	if e.json() {
		e.b = append(e.b, ']')
	}
	e.endName(name)
}

// json reports whether the answer is JSON.
func (e *enc) json() bool { return !e.xml && e.csv == nil }

func (e *enc) name(name string) {
	if e.csv != nil {
		e.column(name)
		return
	}
	if e.xml {
		e.open(name)
		return
	}
	e.comma()
	e.b = append(e.b, '"')
	e.b = append(e.b, name...)
	e.b = append(e.b, '"', ':')
}

func (e *enc) endName(name string) {
	if e.csv != nil {
		e.endColumn()
		return
	}
	if e.xml {
		e.close(name)
	}
}

// comma divides what follows from what is there.
func (e *enc) comma() {
	if n := len(e.b); n > 0 && e.b[n-1] != '{' && e.b[n-1] != '[' {
		e.b = append(e.b, ',')
	}
}

func (e *enc) open(name string) {
	e.b = append(e.b, '<')
	e.pascal(name)
	e.b = append(e.b, '>')
}

func (e *enc) close(name string) {
	e.b = append(e.b, '<', '/')
	e.pascal(name)
	e.b = append(e.b, '>')
}

func (e *enc) empty(name string) {
	e.b = append(e.b, '<')
	e.pascal(name)
	e.b = append(e.b, '/', '>')
}

func (e *enc) pascal(name string) { e.b = appendPascal(e.b, name) }

// appendPascal writes account_sid as AccountSid, and sms and mms as SMS and MMS as Twilio does.
func appendPascal(b []byte, name string) []byte {
	if name == "sms" || name == "mms" {
		return append(b, name[0]-'a'+'A', 'M', 'S')
	}
	up := true
	for i := range len(name) {
		c := name[i]
		switch {
		case c == '_':
			up = true
			continue
		case up && 'a' <= c && c <= 'z':
			c -= 'a' - 'A'
		}
		up = false
		b = append(b, c)
	}
	return b
}

// quote writes text as a JSON string, as XML character data or as it is. What neither may hold becomes U+FFFD.
func (e *enc) quote(s string) {
	if e.xml {
		e.escapeXML(s)
		return
	}
	if e.csv != nil {
		e.text(s)
		return
	}
	e.b = append(e.b, '"')
	e.text(s)
	e.b = append(e.b, '"')
}

// text writes what is between the quotes of a JSON string, or XML character data.
func (e *enc) text(s string) {
	if e.xml {
		e.escapeXML(s)
		return
	}
	if e.csv != nil {
		e.b = append(e.b, strings.ToValidUTF8(s, "\uFFFD")...)
		return
	}
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			// U+2028 and U+2029 are line ends to JavaScript.
			if (r != utf8.RuneError || size > 1) && r != '\u2028' && r != '\u2029' {
				i += size
				continue
			}
			e.b = append(e.b, s[start:i]...)
			if r == utf8.RuneError {
				e.b = append(e.b, "\uFFFD"...)
			} else {
				e.b = append(e.b, `\u202`...)
				e.b = append(e.b, byte('8'+r-'\u2028'))
			}
			i += size
			start = i
			continue
		}
		e.b = append(e.b, s[start:i]...)
		switch c {
		case '"', '\\':
			e.b = append(e.b, '\\', c)
		case '\n':
			e.b = append(e.b, '\\', 'n')
		case '\r':
			e.b = append(e.b, '\\', 'r')
		case '\t':
			e.b = append(e.b, '\\', 't')
		default:
			const hex = "0123456789abcdef"
			e.b = append(e.b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		i++
		start = i
	}
	e.b = append(e.b, s[start:]...)
}

func (e *enc) escapeXML(s string) {
	for _, r := range s { // invalid UTF-8 comes as U+FFFD
		switch {
		case r == '&':
			e.b = append(e.b, "&amp;"...)
		case r == '<':
			e.b = append(e.b, "&lt;"...)
		case r == '>':
			e.b = append(e.b, "&gt;"...)
		case r == '"':
			e.b = append(e.b, "&quot;"...)
		case r == '\r':
			e.b = append(e.b, "&#13;"...)
		case r < ' ' && r != '\n' && r != '\t', r == 0xFFFE, r == 0xFFFF: // not in XML 1.0 section 2.2
			e.b = append(e.b, "\uFFFD"...)
		default:
			e.b = utf8.AppendRune(e.b, r)
		}
	}
}

// error writes the error envelope (calls-api section 3), instead of whatever was written before.
func (e *enc) error(err *twilio.Error) {
	e.b, e.csv = e.b[:0], nil
	e.head()
	e.object("rest_exception", func() {
		e.number("code", int64(err.Code))
		e.str("message", err.Message)
		e.str("more_info", twilio.MoreInfo(err.Code))
		e.number("status", int64(err.Status))
	})
	e.tail()
}

// call writes a call (calls-api section 5).
func (e *enc) call(c *call.Call) {
	e.object("call", func() {
		path := [...]string{base + "/Accounts/", c.AccountSID, "/Calls/", c.SID}
		e.str("sid", c.SID)
		e.time("date_created", c.DateCreated)
		e.time("date_updated", c.DateUpdated)
		e.opt("parent_call_sid", c.ParentSID)
		e.str("account_sid", c.AccountSID)
		e.str("to", c.To)
		e.str("to_formatted", call.FormatEndpoint(c.To))
		e.str("from", c.From)
		e.str("from_formatted", call.FormatEndpoint(c.From))
		e.opt("phone_number_sid", c.NumberSID)
		e.str("status", string(c.Status))
		e.time("start_time", c.StartTime())
		e.time("end_time", c.EndedAt)
		if seconds, ended := c.Duration(); ended {
			e.digits("duration", int64(seconds))
		} else {
			e.null("duration")
		}
		if c.Price != "" {
			e.str("price", minus(c.Price))
		} else {
			e.null("price")
		}
		e.opt("price_unit", c.PriceUnit)
		e.str("direction", string(c.Direction))
		e.opt("answered_by", c.AnsweredBy)
		e.opt("annotation", c.Annotation)
		e.str("api_version", apiVersion)
		e.opt("forwarded_from", c.ForwardedFrom)
		e.opt("group_sid", c.GroupSID)
		e.opt("caller_name", c.CallerName)
		e.digits("queue_time", c.QueueTime.Milliseconds())
		e.opt("trunk_sid", c.TrunkSID)
		e.link("uri", path[:]...)
		e.child("subresource_uris", func() {
			for i := range callSubresources {
				s := &callSubresources[i]
				e.link(s.name, path[0], path[1], path[2], path[3], s.path)
			}
		})
	})
}

// callSubresources are the keys of a call's subresource_uris.
var callSubresources = [...]struct{ name, path string }{
	{"notifications", "/Notifications"},
	{"recordings", "/Recordings"},
	{"payments", "/Payments"},
	{"events", "/Events"},
	{"siprec", "/Siprec"},
	{"streams", "/Streams"},
	{"transcriptions", "/Transcriptions"},
	{"user_defined_message_subscriptions", "/UserDefinedMessageSubscriptions"},
	{"user_defined_messages", "/UserDefinedMessages"},
}

// minus is a cost as the account's balance sees it; nothing has no sign.
func minus(price string) string {
	if strings.Trim(price, "0.") == "" {
		return price
	}
	return "-" + price
}
