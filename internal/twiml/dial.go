package twiml

import (
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Dial calls other parties and connects the first that answers.
type Dial struct {
	at
	Action         string        // URL requested when the Dial is over; "" goes on with the next verb
	Method         string        // GET or POST (the default)
	AnswerOnBridge bool          // as first verb, an inbound call goes on ringing until a party is connected
	CallerID       string        // what the parties see: E.164, client:name, a SIP URI or a SIP user name; "" is the caller's own
	CallReason     string        // at most 50 characters
	HangupOnStar   bool          // a * of the caller drops the party and completes the Dial
	TimeLimit      time.Duration // of the connection, at most 24 h; default 4 h
	Timeout        time.Duration // for an answer, 5 to 600 s; default 30 s
	RingTone       string        // one of ringTones; "" is the party's own early media, else ours
	Sequential     bool          // the nouns one after the other, instead of all at once
	ReferURL       string        // of the document for a party that sends REFER; "" refuses it with 13802
	ReferMethod    string        // GET or POST (the default)
	Events         []string      // call-progress-event, or nothing
	Passports      string        // as written; Twilio does not say what of
	Record         string        // do-not-record (the default) or record-from-answer, -ringing, -answer-dual, -ringing-dual
	Recording      Recording     // how, when Record asks for it

	// Nouns are who to call, at most maxNouns and in document order. What cannot be called at all is left out
	// with a warning, so that there may be none: the Dial has then failed.
	Nouns []Noun
}

// Recording says how a verb records.
type Recording struct {
	Track                string   // inbound, outbound or both (the default)
	Trim                 string   // trim-silence or do-not-trim, the default of a Dial alone
	StatusCallback       string   // URL; "" is none
	StatusCallbackMethod string   // GET or POST (the default)
	StatusCallbackEvents []string // in-progress, completed, absent; default completed only
	ConfigurationID      string
}

const (
	// DoNotRecord is Dial.Record by default.
	DoNotRecord = "do-not-record"

	maxNouns      = 10
	maxCallReason = 50
	maxCallerID   = 256 // a client's identity is the longest there is
	minTimeout    = 5 * time.Second
	maxTimeout    = 600 * time.Second
)

// ringTones are the values of ringTone; package audio has a sound for each.
var ringTones = strings.Fields("at au bg br be ch cl cn cz de dk ee es fi fr gr hu il in it lt jp mx my nl no nz " +
	"ph pl pt ru se sg th uk us us-old tw ve za")

func (*Dial) verb() {}

// Name returns "Dial".
func (*Dial) Name() string { return "Dial" }

func (p *parser) dial(e *element) Verb {
	a := p.attributes(e, "action", "method", "answerOnBridge", "callerId", "callReason", "hangupOnStar", "timeLimit",
		"timeout", "ringTone", "sequential", "referUrl", "referMethod", "events", "passports", "record", "recordingTrack",
		"trim", "recordingStatusCallback", "recordingStatusCallbackMethod", "recordingStatusCallbackEvent",
		"recordingConfigurationId")
	d := &Dial{
		at:          at{e.line},
		Method:      a.method("method", 13210),
		CallerID:    a.callerID(),
		CallReason:  a.callReason(),
		TimeLimit:   a.seconds("timeLimit", 4*time.Hour, 13216),
		Timeout:     a.dialTimeout(),
		RingTone:    a.oneOf("ringTone", "", 13220, ringTones...),
		ReferMethod: a.method("referMethod", 13210),
		Events:      a.list("events", nil, 12200, "call-progress-event"),
		Record:      a.record(),
		Recording: Recording{
			Track:                a.oneOf("recordingTrack", "both", 13622, "inbound", "outbound", "both"),
			Trim:                 a.oneOf("trim", "do-not-trim", 13699, "trim-silence", "do-not-trim"),
			StatusCallbackMethod: a.method("recordingStatusCallbackMethod", 13210),
			StatusCallbackEvents: a.list("recordingStatusCallbackEvent", []string{"completed"}, 13621, "in-progress", "completed", "absent"),
		},
	}
	d.Action, _ = a.get("action")
	d.AnswerOnBridge, _ = a.boolean("answerOnBridge", false, 13219)
	d.HangupOnStar, _ = a.boolean("hangupOnStar", false, 13213)
	d.Sequential, _ = a.boolean("sequential", false, 13218)
	d.ReferURL, _ = a.get("referUrl")
	d.Passports, _ = a.get("passports")
	d.Recording.ConfigurationID, _ = a.get("recordingConfigurationId")
	if s, ok := a.get("recordingStatusCallback"); ok {
		if s == "" || checkURL(s) != nil {
			a.bad(13256, "recordingStatusCallback", s)
		} else {
			d.Recording.StatusCallback = s
		}
	}
	var later string
	if d.Nouns, later = p.nouns(e); later != "" {
		return &Unsupported{at: d.at, Verb: "Dial", Feature: "<" + later + ">"}
	}
	return d
}

// dialTimeout is clamped to what Twilio takes.
func (a attributes) dialTimeout() time.Duration {
	d := a.seconds("timeout", 30*time.Second, 13212)
	if d < minTimeout || d > maxTimeout {
		s, _ := a.get("timeout")
		a.bad(13212, "timeout", s)
	}
	return max(minTimeout, min(maxTimeout, d))
}

// callerID checks the form only: who may be shown is the account's affair.
func (a attributes) callerID() string {
	s, ok := a.get("callerId")
	if !ok {
		return ""
	}
	if utf8.RuneCountInString(s) > maxCallerID {
		a.p.warn(13248, a.e.line, "Dial: the callerId has more than %d characters.", maxCallerID)
		return ""
	}
	if number, ok := phoneNumber(s); ok {
		return number
	}
	switch name, isClient := strings.CutPrefix(s, "client:"); {
	case isClient && name != "" && printable(name):
		return s
	case hasScheme(s, "sip:"), hasScheme(s, "sips:"):
		if t, query, ok := parseSIP(s); ok && query == "" {
			return t.URI
		}
	case s != "" && only(s, isUserName):
		return s
	}
	a.bad(13214, "callerId", s)
	return ""
}

// isUserName is what a caller towards SIP may be called.
func isUserName(c byte) bool { return isAlnum(c) || strings.IndexByte("+-_.", c) >= 0 }

func (a attributes) callReason() string {
	s, _ := a.get("callReason")
	if utf8.RuneCountInString(s) > maxCallReason || !printable(s) {
		a.bad(12200, "callReason", s)
		return ""
	}
	return s
}

// record knows the booleans that older documents have.
func (a attributes) record() string {
	s := a.oneOf("record", DoNotRecord, 13217, "true", "false", DoNotRecord, "record-from-answer", "record-from-ringing",
		"record-from-answer-dual", "record-from-ringing-dual")
	switch s {
	case "true":
		return "record-from-answer"
	case "false":
		return DoNotRecord
	}
	return s
}

// nouns reads the children of Dial; each text between them is a Number. later is the first of them that
// offhook cannot call yet.
func (p *parser) nouns(e *element) (list []Noun, later string) {
	count, alone := 0, 0 // what was asked for, and what of it has to be the only one
	add := func(line int, n Noun) {
		switch {
		case n == nil:
		case len(list) == maxNouns:
			p.warn(13215, line, "Dial: at most %d nouns can be called.", maxNouns)
		default:
			list = append(list, n)
		}
	}
	for i := 0; i < len(e.nodes); i++ {
		c := e.nodes[i].el
		if c == nil {
			text, line := "", e.nodes[i].line
			for ; i < len(e.nodes) && e.nodes[i].el == nil; i++ { // a comment splits the text
				text += e.nodes[i].text
			}
			i--
			if trimmed := strings.TrimSpace(text); trimmed != "" {
				count++
				line += strings.Count(text[:strings.Index(text, trimmed)], "\n")
				add(line, p.number(attributes{p, &element{name: "Number", line: line}}, trimmed))
			}
			continue
		}
		count++
		switch c.name {
		case "Number":
			add(c.line, p.numberNoun(c))
		case "Client":
			add(c.line, p.clientNoun(c))
		case "Sip":
			add(c.line, p.sipNoun(c))
		case "Application":
			alone++
			add(c.line, p.applicationNoun(c))
		case "Conference", "Queue", "WhatsApp", "Sim":
			if c.name != "Sim" {
				alone++
			}
			if later == "" {
				later = c.name
			}
		default:
			count--
			p.unexpected(13215, c, nounNames)
		}
	}
	switch {
	case alone > 0 && count > 1:
		p.fail(13000, e.line, "Dial: a <Conference>, <Queue>, <Application> or <WhatsApp> must be the only noun.")
	case count == 0:
		p.warn(13223, e.line, "Dial: there is nobody to call.")
	}
	return list, later
}

// oneOf is one of the values.
func (a attributes) oneOf(name, def string, code int, values ...string) string {
	s, ok := a.get(name)
	if !ok {
		return def
	}
	if !slices.Contains(values, s) {
		a.bad(code, name, s)
		return def
	}
	return s
}

// list is a list of some of the values with spaces between, without repeats; those unknown are skipped.
func (a attributes) list(name string, def []string, code int, values ...string) []string {
	s, ok := a.get(name)
	if !ok {
		return def
	}
	var known []string
	bad := false
	for _, v := range strings.Fields(s) {
		switch {
		case !slices.Contains(values, v):
			bad = true
		case !slices.Contains(known, v):
			known = append(known, v)
		}
	}
	if bad || known == nil {
		a.bad(code, name, s)
	}
	if known == nil {
		return def
	}
	return known
}
