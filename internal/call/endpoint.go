package call

import (
	"strings"
	"sync"

	"github.com/nyaruka/phonenumbers"
)

// Lengths of an E.164 number in digits: ITU-T E.164 allows 15; under 7 is a short code, which only
// its own network can reach.
const (
	minDigits = 7
	maxDigits = 15
)

// IsE164 reports whether s is "+", a digit from 1 to 9 and 6 to 14 more digits.
func IsE164(s string) bool {
	if len(s) < 1+minDigits || len(s) > 1+maxDigits || s[0] != '+' || s[1] == '0' {
		return false
	}
	return strings.Trim(s[1:], "0123456789") == ""
}

// ParseNumber reads a phone number as people write it: E.164 with any punctuation, or a number of the
// North American plan with or without its 1, such as (415) 867-5309. A leading space counts as the
// + that form decoding made of it. like tells whether s has the look of a phone number even when it is
// none (ok is false).
func ParseNumber(s string) (number string, like, ok bool) {
	plus := false
	digits := make([]byte, 0, len(s))
	for i, c := range []byte(s) {
		switch {
		case '0' <= c && c <= '9':
			digits = append(digits, c)
		case c == '+' && len(digits) == 0 && !plus, c == ' ' && i == 0:
			plus = true
		case strings.IndexByte(" -().", c) >= 0:
		default:
			return "", false, false
		}
	}
	if len(digits) == 0 {
		return "", false, false
	}
	number = "+" + string(digits)
	if (!plus || s[0] == ' ') && len(digits) == 10 {
		number = "+1" + string(digits)
	} else if !plus && (len(digits) != 11 || digits[0] != '1') {
		return "", true, false
	}
	return number, true, IsE164(number)
}

// FormatEndpoint renders a party for people: a number of the North American plan as (415) 867-5309,
// anything else as it is (calls-api section 5, to_formatted).
func FormatEndpoint(s string) string {
	if len(s) != 12 || s[:2] != "+1" || !IsE164(s) {
		return s
	}
	return "(" + s[2:5] + ") " + s[5:8] + "-" + s[8:]
}

// Country is the ISO 3166 code of an E.164 number's country, "" when it has none or s is no number.
// Numbers of the North American plan outside of any assigned range count as US.
func Country(s string) string {
	if !IsE164(s) {
		return ""
	}
	countries.mu.RLock()
	c, known := countries.of[s]
	countries.mu.RUnlock()
	if known {
		return c
	}
	c = findCountry(s)
	countries.mu.Lock()
	defer countries.mu.Unlock()
	if len(countries.of) >= maxCountries {
		clear(countries.of)
	}
	countries.of[s] = c
	return c
}

// countries keeps what Country found: each call asks for its two numbers, of which one is mostly ours, and the
// patterns of the numbering plans were a twentieth of the CPU time of a short call.
var countries = struct {
	mu sync.RWMutex
	of map[string]string
}{of: make(map[string]string)}

// maxCountries bounds countries; a number takes about 100 bytes.
const maxCountries = 10_000

func findCountry(s string) string {
	n, err := phonenumbers.Parse(s, "")
	if err != nil {
		return ""
	}
	country := phonenumbers.GetRegionCodeForNumber(n)
	if country == "" || country == "ZZ" {
		country = phonenumbers.GetRegionCodeForCountryCode(int(n.GetCountryCode()))
	}
	if country == "001" || country == "ZZ" { // satellite and other numbers of no country
		return ""
	}
	return country
}

// IsSIP reports whether s is a sip: or sips: URI.
func IsSIP(s string) bool { return hasScheme(s, "sip:") || hasScheme(s, "sips:") }

// clientScheme is that of an identity that phones register under.
const clientScheme = "client:"

// ClientIdentity is the identity in client:identity; ok is false when s is something else.
func ClientIdentity(s string) (identity string, ok bool) {
	if !hasScheme(s, clientScheme) {
		return "", false
	}
	return s[len(clientScheme):], true
}

// IsPhone reports whether s is somebody who is called by SIP, not by number.
func IsPhone(s string) bool { return IsSIP(s) || hasScheme(s, clientScheme) }

func hasScheme(s, scheme string) bool {
	return len(s) >= len(scheme) && strings.EqualFold(s[:len(scheme)], scheme)
}
