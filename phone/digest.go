package phone

import (
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"strings"
)

// challenge is what a WWW-Authenticate or Proxy-Authenticate header asks for.
type challenge map[string]string

// parseChallenge reads a Digest challenge, RFC 7616 section 3.3; names are in lower case.
func parseChallenge(header string) (challenge, error) {
	scheme, rest, _ := strings.Cut(strings.TrimSpace(header), " ")
	if !strings.EqualFold(scheme, "Digest") {
		return nil, fmt.Errorf("phone: authentication by %q is not known", scheme)
	}
	c := challenge{}
	for rest = strings.TrimLeft(rest, " ,"); rest != ""; rest = strings.TrimLeft(rest, " ,") {
		name, after, ok := strings.Cut(rest, "=")
		if !ok {
			return nil, fmt.Errorf("phone: bad challenge %q", header)
		}
		var value string
		if strings.HasPrefix(after, `"`) {
			if value, rest, ok = strings.Cut(after[1:], `"`); !ok {
				return nil, fmt.Errorf("phone: bad challenge %q", header)
			}
		} else {
			value, rest, _ = strings.Cut(after, ",")
		}
		c[strings.ToLower(strings.TrimSpace(name))] = strings.TrimSpace(value)
	}
	if c["nonce"] == "" {
		return nil, fmt.Errorf("phone: the challenge %q has no nonce", header)
	}
	return c, nil
}

// answer is the value of the Authorization or Proxy-Authorization header. cnonce "" makes one.
func (c challenge) answer(method, uri, username, password, cnonce string) (string, error) {
	var newHash func() hash.Hash
	switch alg := c["algorithm"]; strings.ToUpper(alg) {
	case "", "MD5":
		newHash = md5.New
	case "SHA-256":
		newHash = sha256.New
	default:
		return "", fmt.Errorf("phone: digest algorithm %s is not known", alg)
	}
	h := func(parts ...string) string {
		w := newHash()
		w.Write([]byte(strings.Join(parts, ":")))
		return hex.EncodeToString(w.Sum(nil))
	}
	auth := false
	for _, q := range strings.Split(c["qop"], ",") {
		auth = auth || strings.TrimSpace(q) == "auth"
	}
	ha1, ha2 := h(username, c["realm"], password), h(method, uri)
	out := fmt.Sprintf(`Digest username="%s", realm="%s", nonce="%s", uri="%s"`, username, c["realm"], c["nonce"], uri)
	if auth {
		if cnonce == "" {
			cnonce = rand.Text()
		}
		const nc = "00000001"
		out += fmt.Sprintf(`, qop=auth, nc=%s, cnonce="%s", response="%s"`, nc, cnonce, h(ha1, c["nonce"], nc, cnonce, "auth", ha2))
	} else {
		out += fmt.Sprintf(`, response="%s"`, h(ha1, c["nonce"], ha2))
	}
	if v, ok := c["opaque"]; ok {
		out += fmt.Sprintf(`, opaque="%s"`, v)
	}
	if v, ok := c["algorithm"]; ok {
		out += ", algorithm=" + v
	}
	return out, nil
}
