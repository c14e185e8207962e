package twiliocall

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	// requestTimeout bounds an action when Config has no HTTP client of its own.
	requestTimeout = 30 * time.Second
	maxAnswer      = 256 << 20 // bytes; 1,000 calls with all the metadata they may have are less
)

// Config says which server a Client talks to, and as whom.
type Config struct {
	URL        string // of the server, such as http://127.0.0.1:4600
	AccountSID string
	AuthToken  string
	// HTTP makes the requests. Default: one whose actions end after 30 s. A time-out of its own also ends streams
	// of events, which then are resumed.
	HTTP *http.Client
	// Tries is how many connections in a row may fail before a stream of events is given up; 0: it never is.
	Tries int
}

// Client is one account at one server. It is safe for concurrent use. The error of its methods is a *Problem when
// the server refused.
type Client struct {
	cfg  Config
	base string
}

// New makes a client; it does not connect.
func New(cfg Config) (*Client, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, fmt.Errorf("twiliocall: server %q: want a URL such as http://127.0.0.1:4600", cfg.URL)
	}
	if cfg.HTTP == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.ResponseHeaderTimeout = requestTimeout // the body of a stream has no end
		cfg.HTTP = &http.Client{Transport: t}
	}
	return &Client{cfg: cfg, base: strings.TrimRight(u.Scheme+"://"+u.Host+u.EscapedPath(), "/")}, nil
}

// Create calls somebody. The call is durable when Create returns.
func (c *Client) Create(ctx context.Context, call CreateCall) (*Call, error) {
	return c.create(ctx, "", call)
}

// CreateOnce is Create with an idempotency key of at most 255 characters: sent again with the same key and call
// within 24 hours it makes no second call, and answers as the first time.
func (c *Client) CreateOnce(ctx context.Context, key string, call CreateCall) (*Call, error) {
	return c.create(ctx, key, call)
}

func (c *Client) create(ctx context.Context, key string, call CreateCall) (*Call, error) {
	header := http.Header{}
	if key != "" {
		header.Set("Idempotency-Key", key)
	}
	out := new(Call)
	_, err := c.do(ctx, http.MethodPost, "/v1/calls", header, call, out)
	return result(out, err)
}

// Retrieve shows a call.
func (c *Client) Retrieve(ctx context.Context, id string) (*Call, error) {
	return c.action(ctx, http.MethodGet, id, "", nil)
}

// Update changes a call, live or, as far as its annotation and metadata go, ended.
func (c *Client) Update(ctx context.Context, id string, change UpdateCall) (*Call, error) {
	return c.action(ctx, http.MethodPatch, id, "", change)
}

// Delete removes the record of a call that has ended, and returns what it was.
func (c *Client) Delete(ctx context.Context, id string) (*Call, error) {
	return c.action(ctx, http.MethodDelete, id, "", nil)
}

// Redirect gives a live call another document, which runs at once.
func (c *Client) Redirect(ctx context.Context, id string, to Redirect) (*Call, error) {
	return c.action(ctx, http.MethodPost, id, "/redirect", to)
}

// Hangup ends a call, or takes it back while it is queued or rings. A call that has ended is returned as it is.
func (c *Client) Hangup(ctx context.Context, id string) (*Call, error) {
	return c.action(ctx, http.MethodPost, id, "/hangup", nil)
}

// Hold puts the party of a live call on hold: it hears music, from a URL or with "" our own, and nothing else; what it
// says and presses goes nowhere, and what the call does waits.
func (c *Client) Hold(ctx context.Context, id, musicURL string) (*Call, error) {
	var body any
	if musicURL != "" {
		body = map[string]string{"musicUrl": musicURL}
	}
	return c.action(ctx, http.MethodPost, id, "/hold", body)
}

// Unhold goes on where Hold stopped.
func (c *Client) Unhold(ctx context.Context, id string) (*Call, error) {
	return c.action(ctx, http.MethodPost, id, "/unhold", nil)
}

// Mute makes what the party of a live call says silence for everybody and everything. It still hears all, and its
// keys count.
func (c *Client) Mute(ctx context.Context, id string) (*Call, error) {
	return c.action(ctx, http.MethodPost, id, "/mute", nil)
}

// Unmute ends Mute.
func (c *Client) Unmute(ctx context.Context, id string) (*Call, error) {
	return c.action(ctx, http.MethodPost, id, "/unmute", nil)
}

// Record starts a recording of a live call, beside those that run already.
func (c *Client) Record(ctx context.Context, id string, config RecordingConfig) (*Recording, error) {
	out := new(Recording)
	_, err := c.do(ctx, http.MethodPost, path(id)+"/record", nil, config, out)
	return result(out, err)
}

// StopRecording stops the recording of that SID, or with "" all that run.
func (c *Client) StopRecording(ctx context.Context, id, recordingID string) (*Call, error) {
	var body any
	if recordingID != "" {
		body = map[string]string{"recordingId": recordingID}
	}
	return c.action(ctx, http.MethodPost, id, "/stopRecording", body)
}

// List yields the calls that f selects, newest first, page after page. After an error it ends.
func (c *Client) List(ctx context.Context, f Filter) iter.Seq2[*Call, error] {
	next := "/v1/calls"
	if q := f.query().Encode(); q != "" {
		next += "?" + q
	}
	return pages[Call](ctx, c, next)
}

// pages yields the elements of a list, page after page from the first one on.
func pages[T any](ctx context.Context, c *Client, first string) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		for next := first; next != ""; {
			var page []*T
			header, err := c.do(ctx, http.MethodGet, next, nil, nil, &page)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, v := range page {
				if !yield(v, nil) {
					return
				}
			}
			next = nextLink(header.Get("Link"))
		}
	}
}

func (f *Filter) query() url.Values {
	q := url.Values{}
	for name, value := range map[string]string{
		"from": f.From, "to": f.To, "direction": f.Direction, "parentCallSid": f.ParentCallSID, "answeredBy": f.AnsweredBy,
		"startTimeAfter": f.StartTimeAfter, "startTimeBefore": f.StartTimeBefore,
		"endTimeAfter": f.EndTimeAfter, "endTimeBefore": f.EndTimeBefore,
	} {
		if value != "" {
			q.Set(name, value)
		}
	}
	for _, s := range f.Status {
		q.Add("status", s)
	}
	for key, value := range f.Metadata {
		q.Set("metadata."+key, value)
	}
	if f.Limit > 0 {
		q.Set("limit", strconv.Itoa(f.Limit))
	}
	return q
}

// nextLink is the target of rel="next" in a Link header (RFC 8288), "" for none.
func nextLink(link string) string {
	target, params, ok := strings.Cut(strings.TrimPrefix(link, "<"), ">")
	if !ok || !strings.Contains(params, `rel="next"`) {
		return ""
	}
	return target
}

func path(id string) string { return "/v1/calls/" + url.PathEscape(id) }

func (c *Client) action(ctx context.Context, method, id, action string, body any) (*Call, error) {
	out := new(Call)
	_, err := c.do(ctx, method, path(id)+action, nil, body, out)
	return result(out, err)
}

// result is out, or nil beside an error.
func result[T any](out *T, err error) (*T, error) {
	if err != nil {
		return nil, err
	}
	return out, nil
}

// do sends one request and reads its answer into out.
func (c *Client) do(ctx context.Context, method, path string, header http.Header, body, out any) (http.Header, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	res, err := c.send(ctx, method, path, header, body)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	if err := json.NewDecoder(io.LimitReader(res.Body, maxAnswer)).Decode(out); err != nil {
		return nil, fmt.Errorf("twiliocall: %s %s: %w", method, path, err)
	}
	return res.Header, nil
}

// send sends one request; an answer that refuses is a *Problem.
func (c *Client) send(ctx context.Context, method, path string, header http.Header, body any) (*http.Response, error) {
	var content io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("twiliocall: %s %s: %w", method, path, err)
		}
		content = bytes.NewReader(b)
	}
	r, err := http.NewRequestWithContext(ctx, method, c.base+path, content)
	if err != nil {
		return nil, fmt.Errorf("twiliocall: %w", err)
	}
	for name, values := range header {
		r.Header[name] = values
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	r.SetBasicAuth(c.cfg.AccountSID, c.cfg.AuthToken)
	res, err := c.cfg.HTTP.Do(r)
	if err != nil {
		return nil, fmt.Errorf("twiliocall: %w", err)
	}
	if res.StatusCode < 300 {
		return res, nil
	}
	defer func() { _ = res.Body.Close() }()
	p := &Problem{Title: http.StatusText(res.StatusCode)}
	if err := json.NewDecoder(io.LimitReader(res.Body, maxAnswer)).Decode(p); err != nil || p.Detail == "" {
		p.Detail = "the server answered " + res.Status
	}
	p.Status = res.StatusCode
	return nil, p
}

// errStopped ends a stream whose consumer has enough.
var errStopped = errors.New("twiliocall: stopped")
