package webhook

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/offhook/offhook/internal/telemetry"
	"github.com/offhook/offhook/internal/twilio"
	"github.com/offhook/offhook/internal/twiml"
)

// Client makes the requests of one call: it keeps the call's cookies, the credentials its servers asked
// for and the documents that may be used again. It is safe for concurrent use and needs no closing.
type Client struct {
	h     *Hooks
	token string   // of the account, signs what carries parameters
	jar   *cookies // nil: none are kept
	creds credentials
	docs  *documents // nil: nothing is stored

	callSID string // "": the requests are not told of
}

// Client makes the client of one call. authToken is the token of the account that owns the call.
func (h *Hooks) Client(authToken string) *Client {
	return &Client{h: h, token: authToken, jar: &cookies{}, docs: &documents{}}
}

// callback makes the client of one status callback: those are no part of a call's browsing.
func (h *Hooks) callback(authToken string) *Client { return &Client{h: h, token: authToken} }

// Request asks an application something.
type Request struct {
	Method string     // GET or POST; anything else is POST
	URL    string     // absolute, byte for byte as configured, with its connection overrides and credentials
	Params url.Values // a POST's form, or added to a GET's query; one value for each name
	Token  string     // idempotency token, the same for every retry of the same thing; "" makes a new one

	event *event // to be sent instead of Params
}

// Response is an application's answer.
type Response struct {
	Status      int // e.g. 200
	ContentType string
	Header      http.Header
	Body        []byte // at most twiml.MaxBody, or MaxMedia when it is audio
	// URL is where the answer came from, after redirects and without the parameters that we added to
	// a GET; it keeps the request's credentials and overrides. Relative URLs resolve against it.
	URL      string
	Duration time.Duration // from the start of Fetch, retries included
}

// Fetch makes a request and returns its answer when that is a success (2xx). The error is a *twilio.Error
// with the runtime code; beside it the answer, as far as there was one, tells the customer more. The
// request takes at most 15 s, less when its overrides say so; when ctx ends, the error's cause is ctx's.
func (c *Client) Fetch(ctx context.Context, r Request) (*Response, error) {
	resp, f := c.do(ctx, r, kindDocument, nil)
	if f != nil {
		return resp, f.err
	}
	if resp.Status >= 400 {
		return resp, twilio.Err(11200, fmt.Sprintf("%s answered %d %s", Redact(r.URL), resp.Status, http.StatusText(resp.Status)))
	}
	return resp, nil
}

// kind is what an answer's body is wanted for.
type kind int

const (
	kindDocument kind = iota // TwiML, text or audio
	kindMedia                // audio only: no parameters, no signature
	kindCallback             // nothing: it is read as far as a notification shows it
	kindEvent                // as of a callback; its redirects are not followed (Standard Webhooks)
)

// attempt makes a request with the retries that its overrides ask for. The answer may have any status. ask, if
// not nil, makes it conditional.
func (c *Client) attempt(ctx context.Context, span *telemetry.Span, r Request, k kind, ask *validity) (*Response, *failure) {
	clk := c.h.cfg.Clock
	start := clk.Now()
	raw, o, bad := splitURL(r.URL)
	if bad != nil {
		return nil, &failure{err: bad}
	}
	target, err := twiml.Resolve("", raw)
	if err != nil {
		return nil, &failure{err: twilio.Err(11100, Redact(r.URL)).With(err)}
	}
	if r.Token == "" && k != kindMedia && k != kindEvent {
		r.Token = rand.Text()
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer clk.AfterFunc(o.total, func() { cancel(errTotalTimeout) }).Stop()
	ctx = context.WithValue(ctx, connectKey{}, o.connect)

	x := exchange{c: c, o: &o, kind: k, request: r, ask: ask, span: span}
	for try := 0; ; try++ {
		resp, f := x.follow(ctx, target)
		again := f != nil && o.retryFailure(f) || f == nil && o.retryStatus(resp.Status)
		if again && try < o.retries && context.Cause(ctx) == nil {
			continue
		}
		if resp != nil {
			resp.Duration = clk.Now().Sub(start)
			if _, fragment, ok := strings.Cut(r.URL, "#"); ok {
				resp.URL += "#" + fragment
			}
		}
		return resp, f
	}
}

// exchange is one request and its answer, redirects included.
type exchange struct {
	c       *Client
	o       *overrides
	kind    kind
	request Request
	ask     *validity // of what the media cache has, or nil
	span    *telemetry.Span

	asked string     // the URL of the present request as it is told, and its parameters
	sent  url.Values // apart
}

// follow makes one attempt: it goes where redirects lead, as a browser does (RFC 9110 section 15.4).
func (x *exchange) follow(ctx context.Context, target string) (*Response, *failure) {
	method, params := "POST", x.request.Params
	if strings.EqualFold(x.request.Method, "GET") || x.kind == kindMedia {
		method = "GET"
	}
	asked, sent := target, params // without the parameters of a GET, which are apart
	if method == "GET" {
		target, params = appendQuery(target, params), nil
	}
	for hops := 0; ; hops++ {
		x.asked, x.sent = asked, sent
		a, f := x.hop(ctx, method, target, params)
		if a == nil {
			return nil, f
		}
		resp := &Response{Status: a.status, ContentType: a.header.Get("Content-Type"), Header: a.header, Body: a.body, URL: asked}
		if f != nil {
			return resp, f
		}
		location := a.header.Get("Location")
		if x.kind == kindEvent {
			return resp, nil
		}
		if !redirects(a.status) || location == "" {
			if a.status >= 300 && a.status < 400 && (a.status != http.StatusNotModified || x.ask == nil) {
				return resp, &failure{err: twilio.Err(11206, fmt.Sprintf("status %d leads nowhere", a.status))}
			}
			return resp, nil
		}
		if hops == maxRedirects {
			return resp, &failure{err: twilio.Err(11215, fmt.Sprintf("more than %d, the last to %s", maxRedirects, Redact(location)))}
		}
		next, _, _ := strings.Cut(location, "#")
		next, err := twiml.Resolve(target, next)
		if err != nil {
			return resp, &failure{err: twilio.Err(11206, "a redirect to an invalid URL").With(err)}
		}
		target, asked = next, next
		if a.status == http.StatusSeeOther || method == "POST" && (a.status == http.StatusMovedPermanently || a.status == http.StatusFound) {
			method, params = "GET", nil
		}
		sent = params
	}
}

func redirects(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// appendQuery adds params behind what the URL's query has, which stays as it is.
func appendQuery(target string, params url.Values) string {
	if len(params) == 0 {
		return target
	}
	switch i := strings.IndexByte(target, '?'); {
	case i < 0:
		target += "?"
	case i < len(target)-1 && !strings.HasSuffix(target, "&"):
		target += "&"
	}
	return target + params.Encode()
}

// Redact is a URL for logs and people: without its credentials and overrides.
func Redact(rawURL string) string {
	rawURL, _, _ = strings.Cut(rawURL, "#")
	scheme, rest, ok := strings.Cut(rawURL, "://")
	if !ok {
		return rawURL
	}
	authority, path := rest, ""
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		authority, path = rest[:i], rest[i:]
	}
	return scheme + "://" + authority[strings.LastIndexByte(authority, '@')+1:] + path
}
