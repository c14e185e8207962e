package call

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/offhook/offhook/internal/twilio"
)

// Limits of parameters (calls-api section 4).
const (
	maxURL        = 4000
	maxSendDigits = 32
	maxCallReason = 50
	maxSIPAuth    = 255

	maxFriendlyName = 64 // of a number
	maxIdentity     = 256
)

// callbackEvents are the values of StatusCallbackEvent.
var callbackEvents = []string{"initiated", "ringing", "answered", "completed"}

// magicTo are Twilio's test numbers that always refuse as To (Twilio docs, "Test Credentials").
var magicTo = map[string]int{
	"+15005550001": 21217, "+15005550002": 21214, "+15005550003": 21215, "+15005550004": 21216,
}

// magicFrom refuses as From.
const magicFrom = "+15005550001"

// CreateParams asks for an outbound call. Zero values in Options mean that a parameter was not given.
type CreateParams struct {
	To, From string
	Byoc     string // BY… of the trunk a call to a number leaves through, "" for the one that serves it
	// ApplicationSID is the AP… that says what happens to the call: of Options then counts neither what says where the
	// document is nor the status callback (calls-api section 4).
	ApplicationSID string
	// CallToken is what an inbound call's requests said of it: the call may show that one's caller.
	CallToken string
	Options   Options
	// Record asks for a recording of the whole call, and Recording says how: Validate puts it into Options.
	Record    *bool
	Recording RecordingParams
	// Annotation and Metadata are noted beside the call.
	Annotation  string
	Metadata    map[string]any
	Idempotency Idempotency
	// MachineDetection asks for it when its Mode is set, and AsyncAMD has the call go on meanwhile: Validate puts
	// them into Options.
	MachineDetection MachineDetection
	AsyncAMD         *bool
	// Warnings are set by Validate: mistakes that do not refuse the call but become its notifications.
	Warnings []*twilio.Error
}

// UpdateParams changes a live call. Zero values mean that a parameter was not given.
type UpdateParams struct {
	Status         Status // Canceled or Completed; wins over the rest
	URL            string
	Method         string
	Twiml          string
	FallbackURL    string
	FallbackMethod string
	StatusURL      string
	StatusMethod   string
	TimeLimit      int // seconds from the answer
	// CallbackAlone lets the status callback change without a new document, as TwilioCall does.
	CallbackAlone bool
}

// Given reports whether p changes anything.
func (p *UpdateParams) Given() bool {
	q := *p
	q.CallbackAlone = false
	return q != UpdateParams{}
}

// Missing reports the first required parameter that p lacks.
func (p *CreateParams) Missing() error {
	switch {
	case p.To == "":
		return twilio.Err(21201)
	case p.From == "":
		return twilio.Err(21213)
	case p.Options.URL == "" && p.Options.Twiml == "" && p.ApplicationSID == "":
		return twilio.Errf(21205, "Url parameter is required.")
	}
	return nil
}

// Validate checks p in the order of calls-api section 4 (what is required, then the syntax of each
// parameter), brings To, From and CallerId into the form they are kept in, fills in defaults and sets
// Warnings. A second Validate changes nothing. Its error is a *twilio.Error.
func (p *CreateParams) Validate() error {
	if err := p.Missing(); err != nil {
		return err
	}
	o := &p.Options
	if p.ApplicationSID != "" {
		if !twilio.IsSID(p.ApplicationSID, twilio.ApplicationPrefix) {
			return ErrNoApplication(p.ApplicationSID)
		}
		o.Twiml, o.StatusEvents = "", nil
		o.Follow(new(Voice))
	}
	// Warnings are only added when something is taken out of p, so doing it again adds none.
	if o.URL != "" && o.Twiml != "" {
		p.Warnings = append(p.Warnings, twilio.Err(32019))
		o.Twiml = ""
	}
	if slices.ContainsFunc(o.StatusEvents, func(e string) bool { return !slices.Contains(callbackEvents, e) }) {
		p.Warnings = append(p.Warnings, twilio.Err(21626, strings.Join(o.StatusEvents, ", ")))
		o.StatusEvents = []string{} // Twilio sends none at all then (calls-api section 3, 21626)
	}
	if o.StatusEvents == nil {
		o.StatusEvents = []string{"completed"}
	}
	def(&o.Timeout, int(DefaultTimeout.Seconds()))
	def(&o.TimeLimit, int(DefaultTimeLimit.Seconds()))

	return firstError(
		func() error { return checkTo(&p.To) },
		func() error { return p.takeParameters() },
		func() error { return checkCaller("From", &p.From, p.To) },
		func() error {
			if p.From == p.To {
				return twilio.Errf(21211, "'To' and 'From' must not be the same: %s", p.To)
			}
			return nil
		},
		func() error {
			if p.Byoc == "" {
				return nil
			}
			if !IsE164(p.To) {
				return twilio.Errf(20001, "Byoc can only be given when To is a number: %s", clip(p.To))
			}
			return checkSID("Byoc", p.Byoc, twilio.ByocPrefix)
		},
		func() error {
			if _, ok := ClientIdentity(p.To); !ok && o.NotificationURL != "" {
				return twilio.Errf(20001, "ClientNotificationUrl can only be given when To is a client: %s", clip(p.To))
			}
			return checkURL(20001, "ClientNotificationUrl", o.NotificationURL)
		},
		func() error { return checkURL(21205, "Url", o.URL) },
		func() error { return checkTwiml(o.Twiml) },
		func() error { return checkMethod("Method", &o.Method) },
		func() error { return checkURL(21205, "FallbackUrl", o.FallbackURL) },
		func() error { return checkMethod("FallbackMethod", &o.FallbackMethod) },
		func() error { return checkURL(21609, "StatusCallback", o.StatusURL) },
		func() error { return checkMethod("StatusCallbackMethod", &o.StatusMethod) },
		func() error { return checkDigits(o.SendDigits) },
		func() error {
			if utf8.RuneCountInString(o.CallReason) > maxCallReason || !utf8.ValidString(o.CallReason) ||
				!only(o.CallReason, func(c byte) bool { return c >= ' ' && c != 0x7f }) {
				return twilio.Errf(32115, "CallReason must not be longer than %d characters: %s", maxCallReason, clip(o.CallReason))
			}
			return nil
		},
		func() error {
			if limit := int(MaxTimeout.Seconds()); o.Timeout < 1 || o.Timeout > limit {
				return twilio.Errf(21208, "Timeout must be a whole number of seconds from 1 to %d: %d", limit, o.Timeout)
			}
			return nil
		},
		func() error {
			if o.CallerID == "" {
				return nil
			}
			return checkCaller("CallerId", &o.CallerID, p.To)
		},
		func() error { return CheckSIPAuth(o.SIPUsername, o.SIPPassword) },
		p.takeDetection,
		func() error { return checkTimeLimit(o.TimeLimit) },
		p.takeRecording,
		func() error { return checkNote(p.Annotation, p.Metadata) },
		p.Idempotency.validate,
	)
}

// takeRecording checks how the call is to be recorded, if it is. Its default of Trim is another than that of a
// recording that an API starts.
func (p *CreateParams) takeRecording() error {
	if p.Record == nil || !*p.Record {
		return nil
	}
	r := p.Recording
	def(&r.Trim, "trim-silence")
	if err := r.Validate(); err != nil {
		return err
	}
	p.Warnings = append(p.Warnings, r.Warnings...)
	r.Warnings = nil
	p.Recording, p.Options.Recording = r, &r
	return nil
}

// Validate checks a number that a customer described, brings PhoneNumber into E.164 and fills in
// defaults. Its error is a *twilio.Error.
func (n *Number) Validate() error {
	return firstError(
		func() error {
			number, _, ok := ParseNumber(n.PhoneNumber)
			if !ok {
				return twilio.Err(21421, n.PhoneNumber)
			}
			n.PhoneNumber = number
			def(&n.FriendlyName, FormatEndpoint(number))
			return nil
		},
		func() error {
			if utf8.RuneCountInString(n.FriendlyName) > maxFriendlyName {
				return twilio.Errf(20001, "FriendlyName must not be longer than %d characters", maxFriendlyName)
			}
			return nil
		},
		func() error { return checkSID("TrunkSid", n.TrunkSID, twilio.TrunkPrefix) },
		func() error { return checkSID("VoiceApplicationSid", n.ApplicationSID, twilio.ApplicationPrefix) },
		func() error { return checkURL(11100, "VoiceUrl", n.VoiceURL) },
		func() error { return checkMethod("VoiceMethod", &n.VoiceMethod) },
		func() error { return checkURL(11100, "VoiceFallbackUrl", n.VoiceFallback) },
		func() error { return checkMethod("VoiceFallbackMethod", &n.FallbackMethod) },
		func() error { return checkURL(21609, "StatusCallback", n.StatusURL) },
		func() error { return checkMethod("StatusCallbackMethod", &n.StatusMethod) },
	)
}

// Redirects reports whether p gives the call a new document.
func (p *UpdateParams) Redirects() bool { return p.Status == "" && (p.URL != "" || p.Twiml != "") }

// Validate checks p and brings the methods that were given into upper case. Its error is a *twilio.Error.
func (p *UpdateParams) Validate() error {
	return firstError(
		func() error {
			if p.Status != "" && p.Status != Canceled && p.Status != Completed {
				return twilio.Errf(20001, "Status must be canceled or completed: %s", p.Status)
			}
			return nil
		},
		func() error { return checkURL(21205, "Url", p.URL) },
		func() error { return checkTwiml(p.Twiml) },
		func() error { return checkGivenMethod("Method", &p.Method) },
		func() error { return checkURL(21205, "FallbackUrl", p.FallbackURL) },
		func() error { return checkGivenMethod("FallbackMethod", &p.FallbackMethod) },
		func() error { return checkURL(21609, "StatusCallback", p.StatusURL) },
		func() error { return checkGivenMethod("StatusCallbackMethod", &p.StatusMethod) },
		func() error {
			if p.TimeLimit == 0 {
				return nil
			}
			return checkTimeLimit(p.TimeLimit)
		},
		func() error {
			switch {
			case p.Status != "": // it wins over all below
			case p.URL != "" && p.Twiml != "":
				return twilio.Errf(20001, "Url and Twiml cannot be given together")
			case p.StatusURL != "" && p.URL == "" && !p.CallbackAlone:
				return twilio.Errf(20001, "StatusCallback can only be changed together with Url")
			}
			return nil
		},
	)
}

// Apply writes what p gives into the options of a call. A redirect replaces the document, and its
// method is p's or POST, its fallback p's or none.
func (p *UpdateParams) Apply(o *Options) {
	if p.Redirects() {
		o.URL, o.Twiml, o.Method = p.URL, p.Twiml, "POST"
		o.FallbackURL, o.FallbackMethod = "", "POST" // the old document's: the new one brings its own
	}
	given(&o.Method, p.Method)
	given(&o.FallbackURL, p.FallbackURL)
	given(&o.FallbackMethod, p.FallbackMethod)
	given(&o.StatusURL, p.StatusURL)
	given(&o.StatusMethod, p.StatusMethod)
	given(&o.TimeLimit, p.TimeLimit)
}

// StateError is what refuses p when the call is not in a state for it (calls-api section 7: one
// message for redirect and hang-up, on which public hang-up code relies).
func (p *UpdateParams) StateError() error {
	return twilio.Errf(21220, "Call is not in-progress. Cannot redirect.")
}

// firstError runs checks up to the first that fails.
func firstError(checks ...func() error) error {
	for _, check := range checks {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// def gives a field that is zero its default; given overwrites it with a value that is not zero.
func def[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func given[T comparable](field *T, value T) {
	var zero T
	if value != zero {
		*field = value
	}
}

func checkTo(to *string) error {
	switch {
	case hasScheme(*to, clientScheme):
		return checkClient(21211, to)
	case IsSIP(*to):
		uri, err := checkSIP(*to)
		*to = uri
		return err
	}
	number, like, ok := ParseNumber(*to)
	switch {
	case !like:
		return twilio.Err(21217, *to)
	case !ok:
		return twilio.Err(21211, *to)
	}
	if code, ok := magicTo[number]; ok {
		return twilio.Err(code, number)
	}
	*to = number
	return nil
}

// checkCaller checks who a call to to is said to come from: a number when to is one, else also a SIP
// URI or a user name.
func checkCaller(name string, caller *string, to string) error {
	bad := func() error { return twilio.Errf(21212, "Invalid '%s' phone number: %s", name, *caller) }
	if hasScheme(*caller, clientScheme) {
		if !IsPhone(to) || checkClient(21212, caller) != nil || strings.Contains(*caller, "?") {
			return bad()
		}
		return nil
	}
	if number, _, ok := ParseNumber(*caller); ok {
		if name == "From" && number == magicFrom {
			return bad()
		}
		*caller = number
		return nil
	}
	if !IsPhone(to) {
		return bad()
	}
	if IsSIP(*caller) {
		uri, err := checkSIP(*caller)
		if err != nil {
			return bad()
		}
		*caller = uri
		return nil
	}
	if len(*caller) > maxSIPURI || !only(*caller, isUserName) {
		return bad()
	}
	return nil
}

// checkClient checks client:identity, in a To with ?name=value for the called, and puts its scheme in lower case.
func checkClient(code int, s *string) error {
	identity, query, _ := strings.Cut((*s)[len(clientScheme):], "?")
	if identity == "" || utf8.RuneCountInString(identity) > maxIdentity || !utf8.ValidString(identity) ||
		!only(identity, func(c byte) bool { return c >= ' ' && c != 0x7f }) || strings.TrimSpace(identity) != identity || len(query) > maxSIPHeaders {
		return twilio.Errf(code, "Invalid client identity: %s", strings.ToValidUTF8((*s)[:min(len(*s), 300)], ""))
	}
	*s = clientScheme + (*s)[len(clientScheme):]
	return nil
}

// takeParameters moves what stands behind the ? of a client: To into the options.
func (p *CreateParams) takeParameters() error {
	identity, ok := ClientIdentity(p.To)
	identity, query, asked := strings.Cut(identity, "?")
	if !ok || !asked {
		return nil
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return twilio.Err(21211, p.To)
	}
	p.To, p.Options.Parameters = clientScheme+identity, make(map[string]string, len(values))
	for name, value := range values {
		if err := AddParameter(p.Options.Parameters, name, value[0]); err != nil {
			return err
		}
	}
	return nil
}

// AddParameter adds a parameter for a client: identity as the header that its INVITE carries it in: X- and the
// name. Its error is a *twilio.Error.
func AddParameter(headers map[string]string, name, value string) error {
	if !hasScheme(name, "x-") {
		name = "X-" + name
	}
	if !isHeaderName(name) {
		return twilio.Err(21228, name)
	}
	if !utf8.ValidString(value) || !only(value, func(c byte) bool { return c >= ' ' && c != 0x7f }) {
		return twilio.Err(21229, name)
	}
	size := len(name) + len(value)
	for n, v := range headers {
		size += len(n) + len(v)
	}
	if size > maxSIPHeaders {
		return twilio.Err(21227)
	}
	headers[name] = value
	return nil
}

// checkURL takes "" (not given) and absolute http and https URLs. The text is kept as it is: requests
// go to it byte for byte.
func checkURL(code int, name, s string) error {
	if s == "" || IsWebURL(s) && (code != 21609 || !strings.Contains(host(s), "_")) {
		return nil
	}
	if len(s) > 200 {
		s = strings.ToValidUTF8(s[:200], "") + "…"
	}
	return twilio.Errf(code, "%s is not a valid URL: %s", name, s)
}

// IsWebURL reports whether s is an absolute http or https URL with a host, at most 4000 characters
// and without blanks or control characters.
func IsWebURL(s string) bool {
	if utf8.RuneCountInString(s) > maxURL || !utf8.ValidString(s) || !only(s, func(c byte) bool { return c > ' ' && c != 0x7f }) {
		return false
	}
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" {
		return false
	}
	if p := u.Port(); p != "" {
		return isPort(p)
	}
	return true
}

// isPort reports whether s is a decimal number from 1 to 65535.
func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0
}

func host(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// checkMethod takes GET and POST of any case; POST is the default.
func checkMethod(name string, method *string) error {
	def(method, "POST")
	return checkGivenMethod(name, method)
}

func checkGivenMethod(name string, method *string) error {
	m := strings.ToUpper(*method)
	if m != "" && m != "GET" && m != "POST" {
		return twilio.Errf(21209, "%s must be GET or POST: %s", name, *method)
	}
	*method = m
	return nil
}

func checkTwiml(s string) error {
	if utf8.RuneCountInString(s) > MaxTwiml {
		return twilio.Err(32018)
	}
	return nil
}

func checkDigits(s string) error {
	if len(s) > maxSendDigits || !only(s, func(c byte) bool { return strings.IndexByte("0123456789ABCD#*wW", c) >= 0 }) {
		return twilio.Errf(21206, "SendDigits takes at most %d of 0-9, A-D, #, *, w and W: %s", maxSendDigits, s)
	}
	return nil
}

func checkTimeLimit(seconds int) error {
	if limit := int(DefaultTimeLimit.Seconds()); seconds < 1 || seconds > limit {
		return twilio.Errf(20001, "TimeLimit must be a whole number of seconds from 1 to %d: %d", limit, seconds)
	}
	return nil
}

// CheckSIPAuth checks credentials for SIP; its error is a *twilio.Error. The user name goes into a header as a quoted string (RFC 3261
// section 25.1), so it is printable ASCII without quotes; the password only enters a hash.
func CheckSIPAuth(username, password string) error {
	switch {
	case len(username) > maxSIPAuth:
		return twilio.Err(21221)
	case !only(username, func(c byte) bool { return c >= ' ' && c < 0x7f && c != '"' && c != '\\' }):
		return twilio.Err(21222)
	case len(password) > maxSIPAuth:
		return twilio.Err(21223)
	case !only(password, func(c byte) bool { return c >= ' ' && c != 0x7f }):
		return twilio.Err(21224)
	case (username == "") != (password == ""):
		return twilio.Err(21225)
	}
	return nil
}

// only reports whether every byte of s is legal.
func only(s string, legal func(byte) bool) bool {
	for i := range len(s) {
		if !legal(s[i]) {
			return false
		}
	}
	return true
}
