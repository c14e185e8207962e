package sip

import (
	"crypto/hmac"
	"crypto/md5" //nolint:gosec // RFC 3261 section 22.4; most phones know nothing else
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"
	"github.com/icholy/digest"

	"github.com/offhook/offhook/internal/clock"
)

// challenger asks for digest credentials (RFC 3261 section 22, RFC 8760) and keeps nothing of it: a nonce says
// when, for whom and where it was given, under a key of this process. Only who receives at an address can answer
// a challenge that was sent there, so nobody fails in another's name.
type challenger struct {
	clock clock.Clock
	key   [32]byte
	decoy string // the password of names that have none, so that both cost the same
	// algorithms are what is asked for, the better first (RFC 8760 section 2.3). Nothing else is taken.
	algorithms []string
}

const (
	// nonceLife is how long a nonce is good. A phone that comes later is told another one, and asks nobody.
	nonceLife  = 5 * time.Minute
	nonceBytes = 8 + 16 // when, and the sum
)

func newChallenger(c clock.Clock, algorithms []string) *challenger {
	ch := &challenger{clock: c, decoy: token(16), algorithms: algorithms}
	_, _ = rand.Read(ch.key[:]) // never fails
	return ch
}

// nonce is one for a source, of a realm, given at that time.
func (c *challenger) nonce(realm string, src netip.Addr, at time.Time) string {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, nonceBytes), uint64(at.UnixMilli()))
	return base64.RawURLEncoding.EncodeToString(c.sum(b, realm, src))
}

// sum completes a nonce of which the time is there.
func (c *challenger) sum(b []byte, realm string, src netip.Addr) []byte {
	a := src.Unmap().As16()
	mac := hmac.New(sha256.New, c.key[:])
	_, _ = mac.Write(b[:8])
	_, _ = mac.Write(a[:])
	_, _ = mac.Write([]byte(realm))
	return append(b[:8:8], mac.Sum(nil)[:nonceBytes-8]...)
}

// gave reports whether a nonce is of ours for that source and realm, and still good.
func (c *challenger) gave(nonce, realm string, src netip.Addr) bool {
	b, err := base64.RawURLEncoding.DecodeString(nonce)
	if err != nil || len(b) != nonceBytes || !hmac.Equal(b, c.sum(b, realm, src)) {
		return false
	}
	age := c.clock.Now().UnixMilli() - int64(binary.BigEndian.Uint64(b))
	return age >= 0 && age < nonceLife.Milliseconds()
}

// Digest algorithms (RFC 8760).
const (
	digestMD5    = "MD5"
	digestSHA256 = "SHA-256"
)

// ask is the refusal that asks for credentials: 401, or 407 for a call.
func (c *challenger) ask(realm string, method string, src netip.Addr, stale bool) *fault {
	f, name := &fault{code: 401, reason: "Unauthorized"}, "WWW-Authenticate"
	if method == string(sip.INVITE) {
		f, name = &fault{code: 407, reason: "Proxy Authentication Required"}, "Proxy-Authenticate"
	}
	nonce, more := c.nonce(realm, src, c.clock.Now()), ""
	if stale {
		more = ", stale=true"
	}
	for _, algorithm := range c.algorithms {
		f.headers = append(f.headers, sip.NewHeader(name,
			fmt.Sprintf(`Digest realm="%s", nonce="%s", algorithm=%s, qop="auth"%s`, realm, nonce, algorithm, more)))
	}
	return f
}

// A proof is the answer to a challenge.
type proof digest.Credentials

// maxProof bounds the header that is looked at, in bytes.
const maxProof = 2048

// parseProof reads an Authorization or Proxy-Authorization header; ok is false when it is none that could ever
// be right.
func parseProof(value string) (p *proof, ok bool) {
	if len(value) > maxProof || hasControl(value) {
		return nil, false
	}
	c, err := digest.ParseCredentials(strings.TrimSpace(value))
	if err != nil || c.Userhash || c.Username == "" || c.URI == "" || c.Response == "" {
		return nil, false
	}
	p = (*proof)(c)
	switch {
	case p.hash() == nil, p.QOP != "" && p.QOP != "auth":
		return nil, false
	case p.QOP != "" && (p.Nc < 1 || p.Cnonce == ""):
		return nil, false
	case p.QOP == "" && p.algorithm() != digestMD5: // as RFC 2069 had it, which RFC 3261 section 22.4 keeps for old phones
		return nil, false
	}
	return p, true
}

func (p *proof) algorithm() string {
	if p.Algorithm == "" {
		return digestMD5
	}
	return strings.ToUpper(p.Algorithm)
}

func (p *proof) hash() func() hash.Hash {
	switch p.algorithm() {
	case digestMD5:
		return md5.New
	case digestSHA256:
		return sha256.New
	}
	return nil
}

// right reports whether whoever made p has the password (RFC 7616 section 3.4.1).
func (p *proof) right(method, password string) bool {
	h := func(parts ...string) string {
		sum := p.hash()()
		_, _ = sum.Write([]byte(strings.Join(parts, ":")))
		return hex.EncodeToString(sum.Sum(nil))
	}
	secret, request := h(p.Username, p.Realm, password), h(method, p.URI)
	want := h(secret, p.Nonce, request)
	if p.QOP != "" {
		want = h(secret, p.Nonce, fmt.Sprintf("%08x", p.Nc), p.Cnonce, p.QOP, request)
	}
	return subtle.ConstantTimeCompare([]byte(want), []byte(strings.ToLower(p.Response))) == 1
}

// isFor reports whether p was made for a request to uri. Of the host it says nothing: phones write there what
// they like, but an answer that was overheard calls nobody else.
func (p *proof) isFor(uri *sip.Uri) bool {
	var own sip.Uri
	return sip.ParseUri(p.URI, &own) == nil && (own.User == "" || own.User == uri.User)
}

// find is the answer to a challenge of that realm among the headers of a request, nil when there is none.
func find(headers []string, realm string) *proof {
	for _, h := range headers {
		if p, ok := parseProof(h); ok && strings.EqualFold(p.Realm, realm) {
			return p
		}
	}
	return nil
}

// check says who shows one of passwords; until somebody does, what to ask. uri is the request's; without it, in the
// gate, the answer to a challenge is only looked for. failed: an answer to a challenge of ours was wrong.
func (c *challenger) check(headers []string, realm, method string, src netip.Addr, passwords map[string]string, uri *sip.Uri) (user string, f *fault, failed bool) {
	p := find(headers, realm)
	switch {
	case p == nil || !slices.Contains(c.algorithms, p.algorithm()):
		return "", c.ask(realm, method, src, false), false
	case !c.gave(p.Nonce, realm, src):
		return "", c.ask(realm, method, src, true), false
	case uri == nil:
		return "", nil, false
	}
	password, known := passwords[p.Username]
	if !known {
		password = c.decoy
	}
	if !p.right(method, password) || !known || !p.isFor(uri) {
		return "", c.ask(realm, method, src, false), true
	}
	return p.Username, nil, false
}
