package twiml

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/offhook/offhook/internal/twilio"
)

// Resolve is the absolute URL that ref means in a document that came from base (RFC 3986 section 5.2).
// Nothing that is legal in a URL is rewritten: an escaped %2B stays escaped, a literal + stays literal;
// what cannot be sent at all, such as a space or an umlaut, is percent-encoded. An empty ref is the current
// document, with the connection overrides in its fragment. Anything that is not http or https with a host
// is a *twilio.Error 11100, and so is a relative ref when base is "" (an inline document).
func Resolve(base, ref string) (string, error) {
	s, err := resolve(base, ref)
	if err != nil {
		return "", &twilio.Error{Code: 11100, Message: fmt.Sprintf("Invalid URL format: %q: %v", ref, err)}
	}
	return s, nil
}

func resolve(base, ref string) (string, error) {
	ref = escape(strings.TrimSpace(ref))
	if ref == "" {
		ref = escape(strings.TrimSpace(base))
	}
	u, err := url.Parse(ref)
	if err != nil {
		return "", unwrapURLError(err)
	}
	if !u.IsAbs() {
		if base == "" {
			return "", errors.New("it is relative, and the document has no URL")
		}
		b, err := url.Parse(escape(strings.TrimSpace(base)))
		if err != nil {
			return "", unwrapURLError(err)
		}
		u = b.ResolveReference(u)
		ref = u.String()
	}
	if err := checkAbsolute(u); err != nil {
		return "", err
	}
	return ref, nil
}

// checkURL says what is wrong with a URL that may still be relative.
func checkURL(s string) error {
	u, err := url.Parse(escape(s))
	if err != nil {
		return unwrapURLError(err)
	}
	if u.IsAbs() {
		return checkAbsolute(u)
	}
	return nil
}

func checkAbsolute(u *url.URL) error {
	if s := strings.ToLower(u.Scheme); s != "http" && s != "https" {
		return fmt.Errorf("the scheme is %q, not http or https", u.Scheme)
	}
	if u.Hostname() == "" {
		return errors.New("it has no host")
	}
	return nil
}

func isAbsolute(s string) bool {
	u, err := url.Parse(escape(s))
	return err == nil && u.IsAbs() && checkAbsolute(u) == nil
}

// unwrapURLError drops the URL from the message: the caller names it.
func unwrapURLError(err error) error {
	var ue *url.Error
	if errors.As(err, &ue) {
		return ue.Err
	}
	return err
}

// escape percent-encodes the bytes that no URL may contain (RFC 3986 section 2) and touches nothing else,
// so that net/url finds every escape well-formed and keeps it as it is.
func escape(s string) string {
	const upper = "0123456789ABCDEF"
	var b strings.Builder
	last := 0
	for i := range len(s) {
		c := s[i]
		if c > ' ' && c < 0x7f && !strings.ContainsRune("\"<>\\^`{|}", rune(c)) {
			continue
		}
		b.WriteString(s[last:i])
		b.Write([]byte{'%', upper[c>>4], upper[c&15]})
		last = i + 1
	}
	if last == 0 {
		return s
	}
	b.WriteString(s[last:])
	return b.String()
}
