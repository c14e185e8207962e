package twilio

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"io"
	"net/url"
	"slices"
	"strings"
)

// SignatureHeader carries Signature on every request that has call parameters.
const SignatureHeader = "X-Twilio-Signature"

// Signature is the value of the X-Twilio-Signature header (Twilio docs, "Security"): the HMAC-SHA1,
// keyed with the account's token, of the URL as the application sees it followed by the form
// parameters. params is nil for GET, for a WebSocket handshake and for a body that is not a form
// (see BodyURL). rawURL is as configured.
func Signature(token, rawURL string, params url.Values) string {
	mac := hmac.New(sha1.New, []byte(token))
	// Writes to a hash never fail.
	_, _ = io.WriteString(mac, signedURL(rawURL))
	names := make([]string, 0, len(params))
	for name := range params {
		names = append(names, name)
	}
	slices.Sort(names) // byte order: upper case first
	for _, name := range names {
		values := params[name]
		if len(values) > 1 { // never sent by us; the Node SDK's validator sorts and drops doubles
			values = slices.Clone(values)
			slices.Sort(values)
			values = slices.Compact(values)
		}
		for _, value := range values {
			_, _ = io.WriteString(mac, name)
			_, _ = io.WriteString(mac, value)
		}
	}
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// signedURL is rawURL byte for byte but for what a server does not see or proxies change: no
// fragment, no userinfo, no port on https, and "/" for an empty path.
func signedURL(rawURL string) string {
	rawURL, _, _ = strings.Cut(rawURL, "#")
	scheme, rest, ok := strings.Cut(rawURL, "://")
	if !ok {
		return rawURL
	}
	authority, path := rest, ""
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		authority, path = rest[:i], rest[i:]
	}
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		authority = authority[i+1:]
	}
	// The last colon is a port's unless it is inside an IPv6 address in brackets.
	if i := strings.LastIndexByte(authority, ':'); i > strings.LastIndexByte(authority, ']') && strings.EqualFold(scheme, "https") {
		authority = authority[:i]
	}
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	return scheme + "://" + authority + path
}

// BodyURL is rawURL with the query parameter bodySHA256, by which a body that is not a form is
// signed: request this URL, and sign it without parameters.
func BodyURL(rawURL string, body []byte) string {
	sum := sha256.Sum256(body)
	u, fragment, found := strings.Cut(rawURL, "#")
	sep := "?"
	if strings.Contains(u, "?") {
		sep = "&"
	}
	u += sep + "bodySHA256=" + hex.EncodeToString(sum[:])
	if found {
		u += "#" + fragment
	}
	return u
}
