package webhook

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/icholy/digest"
)

// maxRealms bounds the servers whose credentials one call remembers.
const maxRealms = 16

// credentials are those a call has used successfully or at least been asked for. The first request to a
// server carries none, even when its URL has some (Twilio docs, "Security": Basic and Digest); after a
// 401 they are used for the rest of the call.
type credentials struct {
	mu     sync.Mutex
	realms map[string]*realm // by origin
}

type realm struct {
	user, password string
	challenge      *digest.Challenge // nil: Basic
	count          int               // requests that used the challenge's nonce
}

// origin is what credentials are good for: scheme, host and port.
func origin(u *url.URL) string { return u.Scheme + "://" + strings.ToLower(u.Host) }

// authorize adds the Authorization header when the server has asked for one before. It reports whether it did.
func (c *credentials) authorize(req *http.Request, org string, user *url.Userinfo) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.realms[org]
	if r == nil {
		return false
	}
	if user != nil { // another URL may have other credentials for the same server
		name, password := identity(user)
		if name != r.user || password != r.password {
			return false
		}
	}
	return r.sign(req)
}

// challenged takes the header of the server's 401 into account; it reports whether the request should be repeated,
// which is so when there are credentials and they have not just been refused.
func (c *credentials) challenged(header http.Header, org string, user *url.Userinfo, sent bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.realms[org]
	r := &realm{}
	switch {
	case user != nil:
		r.user, r.password = identity(user)
	case old != nil:
		r.user, r.password = old.user, old.password
	default:
		return false
	}
	if ch, err := digest.FindChallenge(header); err == nil {
		for i, q := range ch.QOP {
			ch.QOP[i] = strings.TrimSpace(q) // "auth, auth-int"
		}
		if sent && !ch.Stale {
			return false
		}
		r.challenge = ch
	} else if sent || !offersBasic(header) {
		return false
	}
	if c.realms == nil {
		c.realms = make(map[string]*realm)
	}
	if old == nil && len(c.realms) >= maxRealms {
		clear(c.realms)
	}
	c.realms[org] = r
	return true
}

// known is who the call is at a server so far, or "": audio fetched as somebody is not for everybody.
func (c *credentials) known(org string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r := c.realms[org]; r != nil {
		return r.user + ":" + r.password
	}
	return ""
}

func offersBasic(h http.Header) bool {
	for _, v := range h.Values("WWW-Authenticate") {
		scheme, _, _ := strings.Cut(strings.TrimSpace(v), " ")
		if strings.EqualFold(scheme, "Basic") {
			return true
		}
	}
	return false
}

func (r *realm) sign(req *http.Request) bool {
	if r.challenge == nil {
		req.SetBasicAuth(r.user, r.password)
		return true
	}
	r.count++
	getBody := req.GetBody
	if getBody == nil {
		getBody = func() (io.ReadCloser, error) { return http.NoBody, nil }
	}
	cred, err := digest.Digest(r.challenge, digest.Options{
		Method: req.Method, URI: req.URL.RequestURI(), GetBody: getBody,
		Count: r.count, Username: r.user, Password: r.password,
	})
	if err != nil { // FindChallenge has made sure that we can
		return false
	}
	req.Header.Set("Authorization", cred.String())
	return true
}

func identity(u *url.Userinfo) (name, password string) {
	password, _ = u.Password()
	return u.Username(), password
}
