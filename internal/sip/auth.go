package sip

import (
	"bytes"
	"io"
	"net/netip"
	"strings"

	"github.com/emiago/sipgo/sip"
	"github.com/icholy/digest"
)

// credentials answers the digest challenge of the hop that was called (RFC 3261 section 22, RFC 8760).
type credentials struct {
	challenge *digest.Challenge
	header    string // Authorization or Proxy-Authorization
	count     int    // requests answered with this nonce
	to        netip.AddrPort
}

// keep forgets the credentials when later requests go to another hop. It may be called on nil.
func (c *credentials) keep(same bool) {
	if c != nil && !same {
		c.challenge = nil
	}
}

// undo takes back the last answer, whose request was not sent. It may be called on nil.
func (c *credentials) undo() {
	if c != nil && c.count > 0 {
		c.count--
	}
}

// challenge takes a 401 or 407 and reports whether answering it makes sense: we have a password, it is the
// hop's own, and the nonce was not answered already unless the peer calls it stale.
func (l *Leg) challenge(res *sip.Response, req *sip.Request, ours bool) bool {
	if !ours || l.out.spec.Username == "" {
		return false
	}
	if c := answerable(res, req); c != nil {
		c.to = l.hop.addr
		l.auth = c
		return true
	}
	return false
}

// answerable is the first challenge of a 401 or 407 to req that can be answered, nil when there is none.
func answerable(res *sip.Response, req *sip.Request) *credentials {
	name, header := "WWW-Authenticate", "Authorization"
	if res.StatusCode == 407 {
		name, header = "Proxy-Authenticate", "Proxy-Authorization"
	}
	answered := req.GetHeader(header) != nil
	for _, h := range res.GetHeaders(name) {
		c, err := digest.ParseChallenge(h.Value())
		if err != nil {
			continue
		}
		for i := range c.QOP {
			c.QOP[i] = strings.TrimSpace(c.QOP[i])
		}
		if digest.CanDigest(c) && (!answered || c.Stale) {
			return &credentials{challenge: c, header: header}
		}
	}
	return nil
}

// authorize adds our answer to the challenge seen before, if the request goes to the same hop.
func (l *Leg) authorize(req *sip.Request) {
	a := l.auth
	if a == nil || a.challenge == nil || a.to != l.hop.addr || req.Method == sip.ACK || req.Method == sip.CANCEL {
		return
	}
	if err := a.answer(req, l.out.spec.Username, l.out.spec.Password); err != nil {
		l.log.Warn("sip: cannot answer the digest challenge", "err", err)
	}
}

// answer puts the answer to the challenge into a request.
func (c *credentials) answer(req *sip.Request, username, password string) error {
	c.count++
	cred, err := digest.Digest(c.challenge, digest.Options{
		Method: string(req.Method), URI: req.Recipient.String(), Count: c.count,
		Username: username, Password: password,
		GetBody: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(req.Body())), nil },
	})
	if err != nil {
		return err
	}
	req.AppendHeader(sip.NewHeader(c.header, cred.String()))
	return nil
}
