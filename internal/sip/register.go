package sip

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/offhook/offhook/internal/call"
)

const (
	minExpires     = time.Minute // of a registration; shorter ones are refused with 423
	defaultExpires = time.Hour
	maxExpires     = 24 * time.Hour // longer ones are cut
	maxContactURI  = 512            // bytes
	maxUserAgent   = 128            // of it are kept
	maxContactRows = 10             // in one REGISTER

	registerTimeout = 5 * time.Second // of the store
)

// onRegister is the registrar (RFC 3261 section 10.3).
func (e *Endpoint) onRegister(req *sip.Request, tx *sip.ServerTx) {
	refuse := func(f *fault) { e.dismiss(req, tx, f.code, f.reason, f.headers...) }
	to := &req.To().Address
	d := e.domains.named(to.Host)
	if d == nil {
		refuse(&fault{code: 404, reason: "Not Found"})
		return
	}
	src, err := parseAddrPort(req.Source())
	if err != nil {
		tx.Terminate()
		return
	}
	if d.Secure && !isTLS(req.Transport()) {
		refuse(&fault{code: 403, reason: "TLS Required"})
		return
	}
	user, f := e.entitled(d, string(sip.REGISTER), src.Addr(), proofs(req), &req.Recipient)
	switch {
	case f != nil:
		refuse(f)
		return
	case userOf(to) != user:
		refuse(&fault{code: 403, reason: "Address of Record Is Somebody Else's"})
		return
	case req.GetHeader("Path") != nil: // RFC 3327: a call would have to go back that way
		refuse(&fault{420, "Bad Extension", []sip.Header{sip.NewHeader("Unsupported", "path")}})
		return
	}
	if c := streamOf(tx.Connection()); c != nil {
		c.registered.Store(true)
	}
	now := e.cfg.Clock.Now()
	r, f := e.registration(req, src, now)
	if f != nil {
		refuse(f)
		return
	}
	ctx, cancel := context.WithTimeout(e.ctx, registerTimeout)
	defer cancel()
	for i := range r.contacts {
		r.contacts[i].DomainSID, r.contacts[i].User = d.SID, user
	}
	if r.all {
		err = e.cfg.Locations.Unbind(ctx, d.SID, user, string(*req.CallID()), req.CSeq().SeqNo)
	} else {
		err = e.cfg.Locations.Bind(ctx, now, r.contacts)
	}
	var bound []call.Binding
	if err == nil {
		bound, err = e.cfg.Locations.Lookup(ctx, now, d.SID, user)
	}
	switch {
	case err == nil:
	case errors.Is(err, call.ErrFull):
		refuse(&fault{code: 403, reason: "Too Many Contacts"})
		return
	case errors.Is(err, call.ErrConflict):
		refuse(&fault{code: 400, reason: "CSeq Out of Order"})
		return
	case errors.Is(err, call.ErrNotFound):
		refuse(&fault{code: 404, reason: "Not Found"})
		return
	default:
		e.log.Warn("sip: registration not stored", "domain", d.Name, "user", user, "err", err)
		refuse(&fault{503, "Service Unavailable", []sip.Header{retryAfter()}})
		return
	}
	e.log.Debug("sip: registered", "domain", d.Name, "user", user, "source", src.String(), "contacts", len(bound))
	e.registrations.Add(1)
	headers := []sip.Header{sip.NewHeader("Date", now.UTC().Format("Mon, 02 Jan 2006 15:04:05")+" GMT")}
	for i := range bound {
		headers = append(headers, sip.NewHeader("Contact", contactValue(&bound[i], now)))
	}
	e.respond(req, tx, 200, "OK", headers...) // kept for copies: a second time the CSeq would be out of order
}

// contactValue is a binding as a response lists it.
func contactValue(b *call.Binding, now time.Time) string {
	left := int(b.Expires.Sub(now)+time.Second-1) / int(time.Second)
	v := fmt.Sprintf("<%s>;expires=%d", b.URI, left)
	if b.Q != 1000 {
		v += ";q=" + strconv.FormatFloat(float64(b.Q)/1000, 'f', -1, 64)
	}
	return v
}

// registration is what a REGISTER asks for: nothing (a query), changes of contacts, or that all go.
type registration struct {
	contacts []call.Binding // without address
	all      bool
}

func badContact() *fault { return &fault{code: 400, reason: "Bad Contact"} }

// registration reads the contacts of a REGISTER from src.
func (e *Endpoint) registration(req *sip.Request, src netip.AddrPort, now time.Time) (r registration, f *fault) {
	general := defaultExpires
	if v := headerValue(req, "Expires", ""); v != "" {
		general = expiresOf(v)
	}
	seen := map[string]bool{}
	for _, value := range listHeader(req, "Contact", "m") {
		if value == "*" {
			r.all = true
			continue
		}
		c, expires, ok := parseContact(value)
		if !ok {
			return r, badContact()
		}
		if expires < 0 {
			expires = general
		}
		if expires > 0 && expires < minExpires {
			return r, &fault{423, "Interval Too Brief", []sip.Header{sip.NewHeader("Min-Expires", strconv.Itoa(int(minExpires/time.Second)))}}
		}
		if seen[c.Key] || len(r.contacts) == maxContactRows {
			return r, badContact()
		}
		seen[c.Key] = true
		if expires > 0 {
			c.Expires = now.Add(min(expires, maxExpires))
		}
		c.CallID, c.CSeq, c.UserAgent = string(*req.CallID()), req.CSeq().SeqNo, agent(req)
		var uri sip.Uri
		_ = sip.ParseUri(c.URI, &uri) // parseContact did it
		e.reach(&c, &uri, src, req)
		r.contacts = append(r.contacts, c)
	}
	if r.all && (len(r.contacts) > 0 || general != 0) { // RFC 3261 section 10.3, step 6
		return r, badContact()
	}
	return r, nil
}

func agent(req *sip.Request) string {
	s := headerValue(req, "User-Agent", "")
	return strings.ToValidUTF8(s[:min(len(s), maxUserAgent)], "")
}

// expiresOf reads seconds; what is none counts as an hour (RFC 3261 section 20.19).
func expiresOf(v string) time.Duration {
	n, err := strconv.ParseUint(strings.TrimSpace(v), 10, 32)
	if err != nil {
		return defaultExpires
	}
	return time.Duration(n) * time.Second
}

// parseContact reads an element of Contact; expires is -1 when it does not say.
func parseContact(value string) (c call.Binding, expires time.Duration, ok bool) {
	var (
		uri    sip.Uri
		params sip.HeaderParams
	)
	if hasControl(value) || strings.ContainsRune(value, '\t') {
		return c, 0, false
	}
	if _, err := sip.ParseAddressValue(value, &uri, &params); err != nil || !isSIP(&uri) || uri.Port < 0 || uri.Port > 65535 {
		return c, 0, false
	}
	uri.Headers, uri.Password = nil, ""
	c.URI = uri.String()
	var again sip.Uri
	if len(c.URI) > maxContactURI || strings.ContainsAny(c.URI, " <>\"\\,") || sip.ParseUri(c.URI, &again) != nil || again.String() != c.URI || !isSIP(&again) || contactKey(&again) != contactKey(&uri) {
		return c, 0, false
	}
	c.Key, c.Q, expires = contactKey(&uri), 1000, -1
	for _, p := range params {
		switch v := strings.TrimSpace(p.V); strings.ToLower(strings.TrimSpace(p.K)) {
		case "expires":
			expires = expiresOf(v)
		case "q":
			if q, err := strconv.ParseFloat(v, 64); err == nil && q >= 0 && q <= 1 {
				c.Q = int(q*1000 + 0.5)
			}
		}
	}
	return c, expires, true
}

// contactKey is what two URIs of the same contact share (RFC 3261 section 19.1.4): of the parameters the
// transport only, for phones change their others at will.
func contactKey(u *sip.Uri) string {
	key := userOf(u) + "@" + strings.ToLower(u.Host)
	if u.Port != 0 {
		key += ":" + strconv.Itoa(u.Port)
	}
	if t, has := u.UriParams.Get("transport"); has {
		key += ";" + strings.ToLower(t)
	}
	return key
}

// reach finds where requests to a contact go. A connection is used again, and a phone whose Contact names another
// address than it speaks from is behind a NAT: both are reached where the REGISTER came from. A phone that wants
// its answers elsewhere (no rport, RFC 3581) receives at its Contact.
func (e *Endpoint) reach(c *call.Binding, uri *sip.Uri, src netip.AddrPort, req *sip.Request) {
	transport := strings.ToUpper(req.Transport())
	c.Dest, c.Transport = src.String(), strings.ToLower(transport)
	named, literal := uriHop(uri, transport)
	direct := literal && named.addr.Addr() == src.Addr()
	if direct && named.transport != transport && (named.transport == "UDP" || named.transport == "TCP") {
		c.Dest, c.Transport = named.addr.String(), strings.ToLower(named.transport)
		return
	}
	if transport != "UDP" {
		return
	}
	if direct && !req.Via().Params.Has("rport") {
		c.Dest = named.addr.String()
		return
	}
	c.KeepAlive = !direct || named.addr != src
}
