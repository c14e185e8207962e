package webhook

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"

	"github.com/offhook/offhook/internal/twilio"
	"github.com/offhook/offhook/internal/twiml"
)

// answer is what one URL said.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// hop asks one URL, answering its challenge for credentials, or takes what the call has stored of it.
// The answer may be non-nil beside a failure.
func (x *exchange) hop(ctx context.Context, method, target string, params url.Values) (*answer, *failure) {
	u, err := url.Parse(target)
	if err != nil { // Resolve has parsed it
		return nil, &failure{err: twilio.Err(11100, Redact(target)).With(err)}
	}
	user := u.User
	u.User = nil
	org := origin(u)
	now := x.c.h.cfg.Clock.Now()

	var stored *document
	docs := x.c.docs
	if method != http.MethodGet || x.kind != kindDocument {
		docs = nil
	}
	if docs != nil {
		if stored = docs.get(target); stored != nil && now.Before(stored.until) {
			return &stored.answer, nil
		}
	}
	form := ""
	if method == http.MethodPost {
		form = params.Encode()
	}
	if x.request.event != nil {
		form = string(x.request.event.body)
	}
	for challenged := false; ; challenged = true {
		req, err := http.NewRequestWithContext(ctx, method, u.String(), strings.NewReader(form))
		if err != nil {
			return nil, &failure{err: twilio.Err(11100, Redact(target)).With(err)}
		}
		if method == http.MethodGet {
			req.Body, req.GetBody, req.ContentLength = nil, nil, 0
		}
		x.header(req, target, params)
		if stored != nil {
			stored.ask(req.Header)
		} else if x.ask != nil {
			x.ask.ask(req.Header)
		}
		sent := x.c.creds.authorize(req, org, user)
		began := x.c.h.cfg.Clock.Now()
		a, f := x.roundTrip(ctx, req)
		x.report(began, method, x.asked, x.sent, a)
		if f != nil {
			return a, f
		}
		if a.status == http.StatusUnauthorized && !challenged && x.c.creds.challenged(a.header, org, user, sent) {
			continue
		}
		if stored != nil && a.status == http.StatusNotModified {
			return docs.renew(stored, a.header, now), nil
		}
		if docs != nil && a.status == http.StatusOK {
			docs.put(target, a, now)
		}
		return a, nil
	}
}

// header sets what every request carries (call-lifecycle section 2).
func (x *exchange) header(req *http.Request, target string, params url.Values) {
	h := req.Header
	h.Set("User-Agent", x.c.h.cfg.UserAgent)
	h.Set("Accept", "*/*")
	if e := x.request.event; e != nil {
		e.header(h)
		x.span.Inject(h)
		return
	}
	h.Set("Cache-Control", "max-age=259200")
	if req.Method == http.MethodPost {
		h.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	}
	if x.kind != kindMedia {
		h.Set(twilio.SignatureHeader, twilio.Signature(x.c.token, target, params))
		h.Set("I-Twilio-Idempotency-Token", x.request.Token)
	}
	x.span.Inject(h)
	// Not sent, but it tells net/http that a request may be repeated on a new connection when the old,
	// idle one turns out to have been dropped by the server.
	h["X-Idempotency-Key"] = nil
	if x.c.jar != nil && x.kind != kindMedia {
		for _, cookie := range x.c.jar.of(req.URL) {
			req.AddCookie(cookie)
		}
	}
}

// roundTrip sends req and reads the answer under the read time-out.
func (x *exchange) roundTrip(ctx context.Context, req *http.Request) (*answer, *failure) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	idle := x.c.h.cfg.Clock.AfterFunc(maxTotal, func() { cancel(errReadTimeout) })
	defer idle.Stop()
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { idle.Reset(x.o.read) },
	})
	transport := x.c.h.sni
	if !x.o.sni {
		transport = x.c.h.noSNI
	}
	resp, err := transport.RoundTrip(req.WithContext(ctx))
	if err != nil {
		return nil, classify(ctx, err)
	}
	defer func() { _ = resp.Body.Close() }()
	idle.Reset(x.o.read)
	if x.c.jar != nil && x.kind != kindMedia {
		x.c.jar.set(req.URL, resp.Cookies())
	}
	a := &answer{status: resp.StatusCode, header: resp.Header}
	limit := x.limit(resp)
	var over bool
	large := false
	a.body, over, err = readBody(resp.Body, limit, func(n int) error {
		if n > largeMedia && limit == MaxMedia && !large {
			idle.Stop() // it is us who are waiting
			if err := x.c.h.media.large.take(ctx); err != nil {
				return err
			}
			large = true
		}
		idle.Reset(x.o.read)
		return nil
	})
	if large {
		defer func() { x.c.h.media.large.own(a.body, over || err != nil) }()
	}
	switch {
	case err != nil:
		f := classify(ctx, err)
		f.stage = final // part of the answer is here: no retry
		return a, f
	case over && resp.StatusCode < 300 && x.kind != kindCallback && x.kind != kindEvent:
		return a, &failure{err: twilio.Err(11750, fmt.Sprintf("%s sent more than %d bytes", Redact(req.URL.String()), limit))}
	}
	return a, nil
}

// limit is how much of a body is read.
func (x *exchange) limit(resp *http.Response) int {
	if resp.StatusCode < 300 && (x.kind == kindMedia || x.kind == kindDocument && twiml.IsAudio(resp.Header.Get("Content-Type"))) {
		return MaxMedia
	}
	return twiml.MaxBody
}

// readBody reads up to limit bytes and calls progress after each piece with how many there are.
func readBody(r io.Reader, limit int, progress func(n int) error) (body []byte, over bool, err error) {
	body = make([]byte, 0, 1024)
	for {
		if len(body) == cap(body) {
			body = append(body, 0)[:len(body)]
		}
		n, err := r.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		if err := progress(len(body)); err != nil {
			return body, false, err
		}
		if len(body) > limit {
			return body[:limit], true, nil
		}
		if errors.Is(err, io.EOF) {
			return body, false, nil
		}
		if err != nil {
			return body, false, err
		}
	}
}
