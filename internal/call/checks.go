package call

import (
	"errors"
	"net/netip"
	"strings"
	"unicode/utf8"

	"github.com/offhook/offhook/internal/twilio"
)

// Limits of what domains and trunks are made of (related-resources).
const (
	maxListName   = 64  // FriendlyName of domains, lists, trunks
	maxEntryName  = 255 // FriendlyName of addresses
	maxCredential = 32  // user name
	minPassword   = 12
	maxPort       = 65535 // of Priority and Weight, which are 16 bits as in SRV records
)

// Validate checks a domain, brings its name into lower case and fills in defaults. Its error is a *twilio.Error.
func (d *Domain) Validate() error {
	return as(21231, firstError(
		func() error { return checkDomainName(&d.Name) },
		func() error { return checkName(d.FriendlyName, maxListName) },
		func() error {
			return d.Voice.check("VoiceUrl", "VoiceMethod", "VoiceFallbackUrl", "VoiceFallbackMethod", "VoiceStatusCallbackUrl", "VoiceStatusCallbackMethod")
		},
		func() error { return checkSID("EmergencyCallerSid", d.EmergencyCallerSID, twilio.NumberPrefix) },
		func() error { return checkSID("ByocTrunkSid", d.TrunkSID, twilio.TrunkPrefix) },
	))
}

// Validate checks a list.
func (l *List) Validate() error {
	code := 21240
	if l.Kind() == twilio.AccessListPrefix {
		code = 21235
	}
	if l.FriendlyName == "" {
		return twilio.Errf(code, "FriendlyName is required")
	}
	return as(code, checkName(l.FriendlyName, maxListName))
}

// Validate checks a credential: what its user name may hold goes into a header as a quoted string, and a
// password has at least 12 characters with a digit, a small and a capital letter.
func (c *Credential) Validate() error {
	bad := func(text string) error { return twilio.Errf(21243, "%s", text) }
	has := func(from, to rune) bool {
		return strings.ContainsFunc(c.Password, func(r rune) bool { return from <= r && r <= to })
	}
	switch {
	case c.Username == "":
		return bad("Username is required")
	case len(c.Username) > maxCredential || !only(c.Username, func(b byte) bool { return b > ' ' && b < 0x7f && b != '"' && b != '\\' && b != ':' }):
		return bad("Username takes at most 32 printable ASCII characters, without quotes, backslashes and colons")
	case c.Password == "":
		return bad("Password is required")
	case utf8.RuneCountInString(c.Password) < minPassword || !has('0', '9') || !has('a', 'z') || !has('A', 'Z'):
		return bad("Password must have at least 12 characters, with a digit, a lower case and an upper case letter among them")
	case len(c.Password) > maxSIPAuth || !only(c.Password, func(b byte) bool { return b >= ' ' && b != 0x7f }):
		return bad("Password takes at most 255 bytes, without control characters")
	}
	return nil
}

// Validate checks an address and completes its Bits. IPv6 is taken too, which Twilio has not.
func (a *Address) Validate() error {
	code := 21235
	if a.ListSID == "" {
		code = 20001
	}
	ip, err := netip.ParseAddr(a.IP)
	switch {
	case a.ListSID != "" && a.FriendlyName == "":
		return twilio.Errf(code, "FriendlyName is required")
	case a.IP == "":
		return twilio.Errf(code, "IpAddress is required")
	case err != nil || ip.Zone() != "" || ip.Is4In6():
		return twilio.Errf(code, "IpAddress is not an IP address: %s", clip(a.IP))
	}
	def(&a.Bits, ip.BitLen())
	if a.Bits < 1 || a.Bits > ip.BitLen() {
		return twilio.Errf(code, "CidrPrefixLength must be a whole number from 1 to %d: %d", ip.BitLen(), a.Bits)
	}
	return as(code, checkName(a.FriendlyName, maxEntryName))
}

// Values of the choices of an elastic trunk, the default first.
var (
	TransferModes     = []string{"disable-all", "enable-all", "sip-only"}
	TransferCallerIDs = []string{"from-transferee", "from-transferor"}
	RecordModes       = []string{"do-not-record", "record-from-ringing", "record-from-answer", "record-from-ringing-dual", "record-from-answer-dual"}
	RecordTrims       = []string{"do-not-trim", "trim-silence"}
)

// Validate checks what Twilio's APIs can set of a trunk and fills in defaults.
func (t *Trunk) Validate() error {
	return firstError(
		func() error { return checkName(t.FriendlyName, maxListName) },
		func() error {
			if t.DomainName == "" {
				return nil
			}
			return checkDomainName(&t.DomainName)
		},
		func() error { return checkURL(20001, "DisasterRecoveryUrl", t.RecoveryURL) },
		func() error { return as(20001, checkMethod("DisasterRecoveryMethod", &t.RecoveryMethod)) },
		func() error { return checkChoice("TransferMode", &t.TransferMode, TransferModes) },
		func() error { return checkChoice("TransferCallerId", &t.TransferCallerID, TransferCallerIDs) },
		func() error { return checkChoice("Mode", &t.RecordMode, RecordModes) },
		func() error { return checkChoice("Trim", &t.RecordTrim, RecordTrims) },
		func() error {
			return as(20001, t.Voice.check("VoiceUrl", "VoiceMethod", "VoiceFallbackUrl", "VoiceFallbackMethod", "StatusCallbackUrl", "StatusCallbackMethod"))
		},
		func() error { return checkSID("ConnectionPolicySid", t.PolicySID, twilio.PolicyPrefix) },
		func() error { return checkSID("FromDomainSid", t.FromDomainSID, twilio.DomainPrefix) },
	)
}

// Validate checks a target.
func (t *Target) Validate() error {
	minWeight := 1
	switch {
	case !isTargetURI(t.URI):
		return twilio.Errf(20001, "Not a sip: URI of a host, such as sip:pbx.example.com:5070;transport=tcp: %s", clip(t.URI))
	case t.Priority < 0 || t.Priority > maxPort:
		return twilio.Errf(20001, "Priority must be a whole number from 0 to %d: %d", maxPort, t.Priority)
	case t.Weight < minWeight || t.Weight > maxPort:
		return twilio.Errf(20001, "Weight must be a whole number from 1 to %d: %d", maxPort, t.Weight)
	}
	return checkName(t.FriendlyName, maxListName)
}

// Validate checks a connection policy.
func (p *Policy) Validate() error { return checkName(p.FriendlyName, maxEntryName) }

// Validate checks a source IP mapping.
func (m *SourceMapping) Validate() error {
	return firstError(
		func() error { return checkSID("IpRecordSid", m.IPRecordSID, twilio.IPRecordPrefix) },
		func() error { return checkSID("SipDomainSid", m.DomainSID, twilio.DomainPrefix) },
	)
}

// isTargetURI takes sip:[user@]host[:port][;transport=udp|tcp|tls][;…].
func isTargetURI(s string) bool {
	if !hasScheme(s, "sip:") || len(s) > maxSIPURI {
		return false
	}
	hostport := s[len("sip:"):]
	if user, rest, ok := cutLast(hostport, "@"); ok {
		if user == "" || !only(user, isUser) {
			return false
		}
		hostport = rest
	}
	hostport, params, hasParams := strings.Cut(hostport, ";")
	if !IsHostPort(hostport) {
		return false
	}
	if !hasParams {
		return true
	}
	for param := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(param, "=")
		if name == "" || !only(name, isParam) || !only(value, isParam) {
			return false
		}
		if v := strings.ToLower(value); strings.EqualFold(name, "transport") && v != "udp" && v != "tcp" && v != "tls" {
			return false
		}
	}
	return true
}

// IsSIPUser reports whether s can be the user part of a SIP address.
func IsSIPUser(s string) bool { return s != "" && len(s) <= maxSIPURI && only(s, isUser) }

// check checks the URLs and methods under the names they have, and fills in defaults.
func (v *Voice) check(url, method, fallback, fallbackMethod, status, statusMethod string) error {
	return firstError(
		func() error { return checkURL(20001, url, v.URL) },
		func() error { return checkMethod(method, &v.Method) },
		func() error { return checkURL(20001, fallback, v.FallbackURL) },
		func() error { return checkMethod(fallbackMethod, &v.FallbackMethod) },
		func() error { return checkURL(20001, status, v.StatusURL) },
		func() error { return checkMethod(statusMethod, &v.StatusMethod) },
	)
}

// checkDomainName takes any host name: Twilio's own endings too, which applications bring along.
func checkDomainName(name *string) error {
	*name = strings.ToLower(*name)
	if *name == "" {
		return twilio.Errf(20001, "DomainName is required")
	}
	if !isHostName(*name) || strings.HasSuffix(*name, ".") {
		return twilio.Errf(20001, "DomainName is not a host name: %s", clip(*name))
	}
	return nil
}

func checkName(name string, limit int) error {
	if utf8.RuneCountInString(name) > limit {
		return twilio.Errf(20001, "FriendlyName must not be longer than %d characters", limit)
	}
	return nil
}

// checkSID takes "" and SIDs with the prefix.
func checkSID(name, sid, prefix string) error {
	if sid != "" && !twilio.IsSID(sid, prefix) {
		return twilio.Errf(20001, "%s is not a SID %s…: %s", name, prefix, clip(sid))
	}
	return nil
}

// checkChoice takes one of the choices; the first is the default.
func checkChoice(name string, value *string, choices []string) error {
	def(value, choices[0])
	for _, c := range choices {
		if *value == c {
			return nil
		}
	}
	return twilio.Errf(20001, "%s must be one of %s: %s", name, strings.Join(choices, ", "), clip(*value))
}

// as is err under another code.
func as(code int, err error) error {
	var e *twilio.Error
	if !errors.As(err, &e) {
		return err
	}
	return twilio.Errf(code, "%s", e.Message)
}

// clip shortens what a message quotes.
func clip(s string) string {
	if len(s) <= 100 {
		return s
	}
	return strings.ToValidUTF8(s[:100], "") + "…"
}
