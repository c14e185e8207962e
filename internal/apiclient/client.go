// Package apiclient is the command line's small client of a running server: the Twilio-shaped API
// under /2010-04-01, the trunks, and the event stream of a call. It knows addresses, credentials and
// how answers are framed, not what the resources mean: a Resource keeps the JSON it came as.
package apiclient

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	requestTimeout = 30 * time.Second
	maxBody        = 16 << 20 // bytes of one answer
	maxPage        = 1000     // calls-api section 6, PageSize
)

// Config says which server to talk to, and as whom.
type Config struct {
	URL        string // base, such as http://127.0.0.1:4600
	AccountSID string
	AuthToken  string
	UserAgent  string
}

// Client talks to one server as one account. It is safe for concurrent use.
type Client struct {
	cfg  Config
	base *url.URL
	http *http.Client
}

// New checks cfg; it does not connect.
func New(cfg Config) (*Client, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, fmt.Errorf("server %q: want a base URL such as http://127.0.0.1:4600", cfg.URL)
	}
	u.Path, u.RawQuery, u.Fragment = strings.TrimRight(u.Path, "/"), "", ""
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.ResponseHeaderTimeout = requestTimeout // an event stream's body has no such bound
	return &Client{cfg: cfg, base: u, http: &http.Client{Transport: t}}, nil
}

// Error is the server's refusal: its error envelope.
type Error struct {
	Status  int // HTTP
	Code    int // of the error catalogue, 0 when the answer had none
	Message string
}

func (e *Error) Error() string {
	msg := strings.TrimSuffix(e.Message, ".")
	if msg == "" {
		msg = "the server answered " + strconv.Itoa(e.Status) + " " + http.StatusText(e.Status)
	}
	if e.Code != 0 {
		msg += " (error " + strconv.Itoa(e.Code) + ")"
	}
	switch {
	case e.Status == http.StatusUnauthorized:
		msg += ": the server has another account; see `offhook env --help` for where credentials come from"
	case e.Status == http.StatusServiceUnavailable:
		msg += ": try again in a moment; the server's log says why"
	}
	return msg
}

// UnreachableError says that nothing answers at the server's address.
type UnreachableError struct {
	URL string
	Err error
}

func (e *UnreachableError) Error() string {
	return fmt.Sprintf("no server answers at %s: start it with `offhook serve`, or name another with --server (%v)", e.URL, e.Err)
}

func (e *UnreachableError) Unwrap() error { return e.Err }

// account is the path of what belongs to the account: account("Calls") is /2010-04-01/Accounts/AC…/Calls.json.
func (c *Client) account(resource ...string) string {
	parts := []string{"", "2010-04-01", "Accounts", url.PathEscape(c.cfg.AccountSID)}
	for _, r := range resource {
		parts = append(parts, url.PathEscape(r))
	}
	return strings.Join(parts, "/") + ".json"
}

// Create posts form to a collection of the account, such as Calls.
func (c *Client) Create(ctx context.Context, collection string, form url.Values) (Resource, error) {
	return c.one(ctx, http.MethodPost, c.account(collection), form)
}

// Fetch gets one resource of the account.
func (c *Client) Fetch(ctx context.Context, collection, sid string) (Resource, error) {
	return c.one(ctx, http.MethodGet, c.account(collection, sid), nil)
}

// Update posts form to one resource of the account.
func (c *Client) Update(ctx context.Context, collection, sid string, form url.Values) (Resource, error) {
	return c.one(ctx, http.MethodPost, c.account(collection, sid), form)
}

// Download gets a file of the account, such as Recordings, RE….wav. It is the caller's to close.
func (c *Client) Download(ctx context.Context, collection, name string, query url.Values) (io.ReadCloser, error) {
	path := strings.TrimSuffix(c.account(collection, name), ".json")
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	res, err := c.send(ctx, http.MethodGet, path, "", nil, nil)
	if err != nil {
		return nil, err
	}
	return res.Body, nil
}

// Delete removes one resource of the account.
func (c *Client) Delete(ctx context.Context, collection, sid string) error {
	_, err := c.do(ctx, http.MethodDelete, c.account(collection, sid), "", nil)
	return err
}

// List gets up to limit resources of a collection, newest first, over as many pages as that takes.
// key is the name of the array in the answer, such as calls.
func (c *Client) List(ctx context.Context, collection, key string, filter url.Values, limit int) ([]Resource, error) {
	query := url.Values{}
	for k, v := range filter {
		query[k] = v
	}
	query.Set("PageSize", strconv.Itoa(min(max(limit, 1), maxPage)))
	next := c.account(collection) + "?" + query.Encode()
	var all []Resource
	for next != "" && len(all) < limit {
		body, err := c.do(ctx, http.MethodGet, next, "", nil)
		if err != nil {
			return nil, err
		}
		var page map[string]json.RawMessage
		if err := json.Unmarshal(body, &page); err != nil {
			return nil, notOurs(next, err)
		}
		rows, err := ParseList(page[key])
		if err != nil {
			return nil, notOurs(next, err)
		}
		all = append(all, rows...)
		next = ""
		if raw := page["next_page_uri"]; len(rows) > 0 && raw != nil {
			if err := json.Unmarshal(raw, &next); err != nil { // null leaves ""
				return nil, notOurs("next_page_uri", err)
			}
		}
	}
	return all[:min(max(limit, 0), len(all))], nil
}

// Act does an action of the TwilioCall API to a call, such as hold; its answer is a call or a recording.
func (c *Client) Act(ctx context.Context, callSID, action string, body map[string]any) (Resource, error) {
	var content []byte
	contentType := ""
	if len(body) > 0 {
		b, err := json.Marshal(body)
		if err != nil {
			return Resource{}, err
		}
		content, contentType = b, "application/json"
	}
	answer, err := c.do(ctx, http.MethodPost, "/v1/calls/"+url.PathEscape(callSID)+"/"+action, contentType, content)
	if err != nil {
		return Resource{}, err
	}
	return newResource(answer)
}

const trunksPath = "/v1/trunks"

// AddTrunk creates a trunk from a value that encodes as its JSON form.
func (c *Client) AddTrunk(ctx context.Context, trunk any) (Resource, error) {
	b, err := json.Marshal(trunk)
	if err != nil {
		return Resource{}, err
	}
	body, err := c.do(ctx, http.MethodPost, trunksPath, "application/json", b)
	if err != nil {
		return Resource{}, err
	}
	return newResource(body)
}

// Trunks lists the server's trunks.
func (c *Client) Trunks(ctx context.Context) ([]Resource, error) {
	body, err := c.do(ctx, http.MethodGet, trunksPath, "", nil)
	if err != nil {
		return nil, err
	}
	rows, err := ParseList(body)
	if err != nil {
		return nil, notOurs(trunksPath, err)
	}
	return rows, nil
}

// RemoveTrunk deletes the trunk with that SID.
func (c *Client) RemoveTrunk(ctx context.Context, sid string) error {
	_, err := c.do(ctx, http.MethodDelete, trunksPath+"/"+url.PathEscape(sid), "", nil)
	return err
}

func (c *Client) one(ctx context.Context, method, path string, form url.Values) (Resource, error) {
	var body []byte
	contentType := ""
	if form != nil {
		body, contentType = []byte(form.Encode()), "application/x-www-form-urlencoded"
	}
	answer, err := c.do(ctx, method, path, contentType, body)
	if err != nil {
		return Resource{}, err
	}
	return newResource(answer)
}

// do sends one request and returns the body of its 2xx answer; anything else is an *Error.
func (c *Client) do(ctx context.Context, method, path, contentType string, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	res, err := c.send(ctx, method, path, contentType, body, nil)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxBody+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the answer of %s: %w", c.base, err)
	case len(answer) > maxBody:
		return nil, fmt.Errorf("the answer of %s is longer than %d MiB", c.base, maxBody>>20)
	}
	return answer, nil
}

// send sends one request; the answer is 2xx and its body the caller's to close.
func (c *Client) send(ctx context.Context, method, path, contentType string, body []byte, header http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base.String()+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.SetBasicAuth(c.cfg.AccountSID, c.cfg.AuthToken)
	req.Header.Set("User-Agent", c.cfg.UserAgent)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	for k, v := range header {
		req.Header[k] = v
	}
	res, err := c.http.Do(req)
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) && op.Op == "dial" {
			return nil, &UnreachableError{URL: c.base.String(), Err: op.Err}
		}
		return nil, err
	}
	if res.StatusCode/100 == 2 {
		return res, nil
	}
	defer func() { _ = res.Body.Close() }()
	return nil, refusal(res)
}

// refusal reads the error envelope of a non-2xx answer: Twilio's, or problem+json (RFC 9457).
func refusal(res *http.Response) error {
	var envelope struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
		Title   string `json:"title"`
		Detail  string `json:"detail"`
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err == nil && json.Unmarshal(body, &envelope) != nil {
		envelope.Message = "" // not an envelope of ours: the status says all we know
	}
	e := &Error{Status: res.StatusCode, Code: envelope.Code, Message: envelope.Message}
	for _, m := range []string{envelope.Detail, envelope.Title} {
		if e.Message == "" {
			e.Message = m
		}
	}
	return e
}

func notOurs(what string, err error) error {
	return fmt.Errorf("%s: not an answer of an offhook server: %w", what, err)
}
