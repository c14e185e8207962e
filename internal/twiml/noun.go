package twiml

import (
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Noun is a party that a Dial calls. The set is closed: DialNumber, DialSip, DialClient and
// DialApplication, all as pointers.
type Noun interface {
	noun()
	// Name is the element's name, such as Number, also when only its text was written.
	Name() string
	// Line is where it starts, 1-based.
	Line() int
	// Options are what every noun has.
	Options() *NounOptions
}

// NounOptions are what every noun has.
type NounOptions struct {
	URL    string // of the document that the party hears after its answer and before it is connected; "" is none
	Method string // of URL, GET or POST (the default)

	StatusCallback       string   // URL; "" is none
	StatusCallbackMethod string   // GET or POST (the default)
	StatusCallbackEvents []string // initiated, ringing, answered, completed; default completed only

	MachineDetection *MachineDetection // nil is off; a Client never has it
}

// MachineDetection tells people and answering machines apart.
type MachineDetection struct {
	Mode                 string        // Enable or DetectMessageEnd
	Timeout              time.Duration // 3 to 60 s; default 30 s
	SpeechThreshold      time.Duration // 1 to 6 s; default 2.4 s
	SpeechEndThreshold   time.Duration // 0.5 to 5 s; default 1.2 s
	SilenceTimeout       time.Duration // 2 to 10 s; default 5 s
	StatusCallback       string        // URL; "" is none
	StatusCallbackMethod string        // GET or POST (the default)
}

// DialNumber calls a phone number.
type DialNumber struct {
	at
	NounOptions
	Number     string // E.164
	SendDigits string // keys pressed after the answer: 0-9 A-D # * with w and W for pauses of 0.5 s and 1 s
	BYOC       string // SID of the BYOC trunk to call by, as written; "" is none
}

// DialClient calls whoever is registered under an identity.
type DialClient struct {
	at
	NounOptions
	Identity        string      // at most 256 characters, without client:
	Parameters      []Parameter // for the called application, in document order
	NotificationURL string      // requested by POST with news of the notification; "" is none
}

// DialApplication calls a TwiML application, which is always the only noun.
type DialApplication struct {
	at
	NounOptions
	SID          string      // AP…, as written
	Parameters   []Parameter // for the application's requests, in document order
	CustomerID   string      // for them, too: who the caller is to the application; "" is none
	CopyParentTo bool        // the application's call has the To of the caller's call, not the application
}

// Parameter is a name and a value, passed on as they are.
type Parameter struct{ Name, Value string }

// DialSip calls a SIP address.
type DialSip struct {
	at
	NounOptions
	Targets []SipTarget       // at least one, by priority; the next is tried when one cannot be reached
	Headers map[string]string // X-… and those in sipHeaderNames, for the INVITE; together under 1024 characters
}

// SipTarget is a SIP address and what it takes to call it.
type SipTarget struct {
	URI       string // sip: or sips:, at most 254 characters, without headers, region and edge
	Transport string // udp, tcp or tls as the URI demands, else "" (UDP)
	Username  string // answers a digest challenge; "" is none
	Password  string
	Priority  int // the lowest is called first; 0 to 65535, default 0
	Weight    int // share among those of the same priority; 0 to 65535, default 0
}

// Limits of a Sip noun. Twilio has codes for too many URIs but documents no number.
const (
	maxIdentity   = 256
	maxURIs       = 10
	maxCredential = 255
)

// nounNames are the children of Dial in the order messages list them.
var nounNames = []string{"Number", "Client", "Sip", "Conference", "Queue", "Application", "Sim", "WhatsApp"}

var (
	calledAttributes = []string{"url", "method", "statusCallback", "statusCallbackMethod", "statusCallbackEvent"}
	amdAttributes    = []string{
		"machineDetection", "machineDetectionTimeout", "machineDetectionSpeechThreshold", "machineDetectionSpeechEndThreshold",
		"machineDetectionSilenceTimeout", "amdStatusCallback", "amdStatusCallbackMethod",
	}
)

func (*DialNumber) noun() {}
func (*DialClient) noun() {}
func (*DialSip) noun()    {}

func (*DialApplication) noun() {}

// Name returns "Number".
func (*DialNumber) Name() string { return "Number" }

// Name returns "Client".
func (*DialClient) Name() string { return "Client" }

// Name returns "Sip".
func (*DialSip) Name() string { return "Sip" }

// Name returns "Application".
func (*DialApplication) Name() string { return "Application" }

// Options returns o itself.
func (o *NounOptions) Options() *NounOptions { return o }

func (p *parser) numberNoun(e *element) Noun {
	a := p.attributes(e, slices.Concat(calledAttributes, amdAttributes, []string{"sendDigits", "byoc"})...)
	return p.number(a, p.content(e))
}

// number is a Number of the given text, nil when that cannot be called.
func (p *parser) number(a attributes, text string) Noun {
	n := &DialNumber{at: at{a.e.line}, NounOptions: a.nounOptions(13221)}
	n.MachineDetection = a.machineDetection(13221)
	n.BYOC, _ = a.get("byoc")
	if s, ok := a.get("sendDigits"); ok {
		if s == "" || strings.Trim(s, "0123456789ABCDwW#*") != "" {
			a.bad(13222, "sendDigits", s)
		} else {
			n.SendDigits = s
		}
	}
	var ok bool
	if n.Number, ok = phoneNumber(text); !ok {
		p.warn(13223, a.e.line, "Dial: '%s' is not a phone number. Write it as E.164, such as +14155550100.", text)
		return nil
	}
	return n
}

// nounOptions reads what every noun has, but for machine detection; methodCode is the noun's for a bad method.
func (a attributes) nounOptions(methodCode int) NounOptions {
	o := NounOptions{
		Method:               a.method("method", methodCode),
		StatusCallbackMethod: a.method("statusCallbackMethod", methodCode),
		StatusCallbackEvents: a.list("statusCallbackEvent", []string{"completed"}, 12200, "initiated", "ringing", "answered", "completed"),
	}
	o.URL, _ = a.get("url")
	o.StatusCallback, _ = a.get("statusCallback")
	return o
}

func (a attributes) machineDetection(methodCode int) *MachineDetection {
	ms := func(name string, def, min, max int) time.Duration {
		return time.Duration(a.integer(name, def, min, max, 12200)) * time.Millisecond
	}
	m := &MachineDetection{
		Mode:                 a.oneOf("machineDetection", "", 12200, "Enable", "DetectMessageEnd"),
		Timeout:              time.Duration(a.integer("machineDetectionTimeout", 30, 3, 60, 12200)) * time.Second,
		SpeechThreshold:      ms("machineDetectionSpeechThreshold", 2400, 1000, 6000),
		SpeechEndThreshold:   ms("machineDetectionSpeechEndThreshold", 1200, 500, 5000),
		SilenceTimeout:       ms("machineDetectionSilenceTimeout", 5000, 2000, 10_000),
		StatusCallbackMethod: a.method("amdStatusCallbackMethod", methodCode),
	}
	m.StatusCallback, _ = a.get("amdStatusCallback")
	if m.Mode == "" {
		return nil
	}
	return m
}

func (p *parser) clientNoun(e *element) Noun {
	a := p.attributes(e, append([]string{"clientNotificationUrl"}, calledAttributes...)...)
	c := &DialClient{at: at{e.line}, NounOptions: a.nounOptions(13210), Identity: strings.TrimSpace(e.text())}
	c.NotificationURL, _ = a.get("clientNotificationUrl")
	for _, n := range e.nodes {
		switch {
		case n.el == nil:
		case n.el.name == "Identity":
			p.attributes(n.el)
			c.Identity = p.content(n.el)
		case n.el.name == "Parameter":
			if param, ok := p.parameter(n.el); ok {
				c.Parameters = append(c.Parameters, param)
			}
		default:
			p.unexpected(12200, n.el, []string{"Identity", "Parameter"})
		}
	}
	if c.Identity == "" || utf8.RuneCountInString(c.Identity) > maxIdentity || !printable(c.Identity) {
		p.warn(13215, e.line, "Dial: a Client needs an identity of 1 to %d characters.", maxIdentity)
		return nil
	}
	return c
}

func (p *parser) applicationNoun(e *element) Noun {
	a := p.attributes(e, append([]string{"customerId", "copyParentTo"}, calledAttributes...)...)
	n := &DialApplication{at: at{e.line}, NounOptions: a.nounOptions(13210)}
	n.CustomerID, _ = a.get("customerId")
	n.CopyParentTo, _ = a.boolean("copyParentTo", false, 12200)
	for _, c := range e.nodes {
		switch {
		case c.el == nil:
		case c.el.name == "ApplicationSid":
			p.attributes(c.el)
			n.SID = p.content(c.el)
		case c.el.name == "Parameter":
			if param, ok := p.parameter(c.el); ok {
				n.Parameters = append(n.Parameters, param)
			}
		default:
			p.unexpected(12200, c.el, []string{"ApplicationSid", "Parameter"})
		}
	}
	if n.SID == "" {
		p.warn(13215, e.line, "Dial: an Application needs an ApplicationSid.")
		return nil
	}
	return n
}

func (p *parser) parameter(e *element) (Parameter, bool) {
	a := p.attributes(e, "name", "value")
	p.noChildren(e)
	name, _ := a.get("name")
	if name == "" {
		p.warn(12200, e.line, "Attribute 'name' must appear on element 'Parameter'.")
		return Parameter{}, false
	}
	value, _ := a.get("value")
	return Parameter{name, value}, true
}

func (p *parser) sipNoun(e *element) Noun {
	a := p.attributes(e, slices.Concat(calledAttributes, amdAttributes, []string{"username", "password"})...)
	s := &DialSip{at: at{e.line}, NounOptions: a.nounOptions(13241)}
	s.MachineDetection = a.machineDetection(13241)
	headers := sipHeaders{p: p}
	var own SipTarget
	own.Username, own.Password = a.credentials()
	add := func(e *element, t SipTarget) {
		if len(s.Targets) == maxURIs {
			p.warn(13250, e.line, "Dial: at most %d SIP URIs can be tried.", maxURIs)
		} else if t.URI, t.Transport = p.sipURI(e, &headers); t.URI != "" {
			s.Targets = append(s.Targets, t)
		}
	}
	if strings.TrimSpace(e.text()) != "" {
		add(e, own)
	}
	for _, n := range e.nodes {
		switch {
		case n.el == nil:
		case n.el.name == "Uri":
			p.content(n.el) // holds text only
			ua := p.attributes(n.el, "username", "password", "priority", "weight")
			t := own
			if u, pw := ua.credentials(); u != "" {
				t.Username, t.Password = u, pw
			}
			t.Priority = ua.integer("priority", 0, 0, 65535, 12200)
			t.Weight = ua.integer("weight", 0, 0, 65535, 12200)
			add(n.el, t)
		case n.el.name == "Headers":
			p.headers(n.el, &headers)
		default:
			p.unexpected(12200, n.el, []string{"Uri", "Headers"})
		}
	}
	s.Headers = headers.named
	if len(s.Targets) == 0 {
		if strings.TrimSpace(e.text()) == "" {
			p.warn(13243, e.line, "Dial: the Sip has no valid URI.")
		}
		return nil
	}
	slices.SortStableFunc(s.Targets, func(a, b SipTarget) int { return a.Priority - b.Priority })
	return s
}

// credentials are username and password; neither when one of them is bad.
func (a attributes) credentials() (username, password string) {
	username, hasName := a.get("username")
	password, hasPassword := a.get("password")
	if !hasName && !hasPassword {
		return "", ""
	}
	bad := username == "" || !hasPassword
	for _, s := range []string{username, password} {
		bad = bad || utf8.RuneCountInString(s) > maxCredential || !printable(s)
	}
	if bad {
		a.p.warn(13249, a.e.line, "Dial: username and password go together, each of at most %d printable characters.", maxCredential)
		return "", ""
	}
	return username, password
}

// phoneNumber reads E.164 with any punctuation, or a number of the North American plan with or without its 1:
// what call.ParseNumber takes from the API, which is no business of a parser to import.
func phoneNumber(s string) (e164 string, ok bool) {
	digits := strings.Map(func(r rune) rune {
		if strings.ContainsRune(" -().", r) {
			return -1
		}
		return r
	}, s)
	digits, plus := strings.CutPrefix(digits, "+")
	if digits == "" || strings.Trim(digits, "0123456789") != "" {
		return "", false
	}
	if !plus && len(digits) == 10 {
		digits = "1" + digits
	} else if !plus && (len(digits) != 11 || digits[0] != '1') {
		return "", false
	}
	if len(digits) < 7 || len(digits) > 15 || digits[0] == '0' {
		return "", false
	}
	return "+" + digits, true
}
