package webhook

import (
	"bytes"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/twilio"
	"github.com/offhook/offhook/internal/twiml"
)

// maxIgnored is how much is told of a body that nothing is done with, bytes.
const maxIgnored = 4 << 10

// Of names the call that c makes its requests for: they are told to Config.Report. It returns c.
func (c *Client) Of(callSID string) *Client {
	c.callSID = callSID
	return c
}

// report tells of a request that was sent, and its answer, which may be nil. asked is its URL and params are its
// parameters, apart.
func (x *exchange) report(began time.Time, method, asked string, params url.Values, a *answer) {
	h := x.c.h
	if h.cfg.Report == nil || x.c.callSID == "" {
		return
	}
	r := call.Request{
		ID: twilio.NewSIDAt("EV", began), CallSID: x.c.callSID, Time: began, Duration: h.cfg.Clock.Now().Sub(began),
		Method: method, URL: Redact(asked), Params: params.Encode(),
	}
	if a != nil {
		r.Status, r.ContentType, r.Length = a.status, a.header.Get("Content-Type"), len(a.body)
		r.Body = shown(r.ContentType, a.body, x.kind == kindDocument && a.status < 300)
	}
	h.cfg.Report(r)
}

// shown is the text of a body, all of it or its beginning; "" of what is none.
func shown(contentType string, body []byte, whole bool) string {
	if twiml.IsAudio(contentType) {
		return ""
	}
	if !utf8.Valid(body) {
		if !strings.HasPrefix(contentType, "text/") && !strings.Contains(contentType, "xml") {
			return ""
		}
		body = bytes.ToValidUTF8(body, []byte("\ufffd"))
	}
	if !whole && len(body) > maxIgnored {
		body = body[:maxIgnored]
	}
	return strings.ToValidUTF8(string(body), "") // a rune may have been cut in two
}
