package twiliocall

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Webhook is a URL of the customer's that is sent the events of an account, signed as the Standard Webhooks
// specification says.
type Webhook struct {
	ID          string   `json:"id"` // WH…
	AccountSID  string   `json:"accountSid"`
	URL         string   `json:"url"`
	Events      []string `json:"events"`           // such as completed; empty: all
	Secret      string   `json:"secret,omitempty"` // whsec_…; only in the answer to what set it
	DateCreated int64    `json:"dateCreated"`      // Unix seconds
	DateUpdated int64    `json:"dateUpdated"`
}

// CreateWebhook is a new webhook.
type CreateWebhook struct {
	URL    string   `json:"url" doc:"Gets a POST of each event."`
	Events []string `json:"events,omitempty" doc:"Names of events, such as completed or TwilioCall.completed; all when left out."`
	Secret string   `json:"secret,omitempty" doc:"whsec_ and 24 to 64 bytes in base64. Default: a new one, which the answer tells."`
}

// UpdateWebhook changes a webhook; nil leaves as it is.
type UpdateWebhook struct {
	URL    *string   `json:"url,omitempty" doc:"What waits goes there too."`
	Events *[]string `json:"events,omitempty" doc:"Empty: all."`
}

// Delivery is one event that is owed to a webhook, or was.
type Delivery struct {
	ID          string          `json:"id"`
	WebhookID   string          `json:"webhookId"`
	CallID      string          `json:"callId"`
	Status      string          `json:"status"`    // pending, delivered or failed
	Attempts    int             `json:"attempts"`  // that ended
	LastError   *string         `json:"lastError"` // of the last one that failed
	NextAttempt *int64          `json:"nextAttempt"`
	DateCreated int64           `json:"dateCreated"` // Unix seconds
	Event       json.RawMessage `json:"event"`       // what is sent: an Event; null when it was, and its call was deleted
}

const webhooksPath = "/v1/webhooks"

func webhookPath(id string) string { return webhooksPath + "/" + url.PathEscape(id) }

// CreateWebhook adds a webhook. The answer alone has its secret.
func (c *Client) CreateWebhook(ctx context.Context, w CreateWebhook) (*Webhook, error) {
	return c.webhook(ctx, http.MethodPost, webhooksPath, w)
}

// Webhook shows a webhook.
func (c *Client) Webhook(ctx context.Context, id string) (*Webhook, error) {
	return c.webhook(ctx, http.MethodGet, webhookPath(id), nil)
}

// UpdateWebhook changes a webhook.
func (c *Client) UpdateWebhook(ctx context.Context, id string, change UpdateWebhook) (*Webhook, error) {
	return c.webhook(ctx, http.MethodPatch, webhookPath(id), change)
}

// DeleteWebhook removes a webhook with what is still owed to it, and returns what it was.
func (c *Client) DeleteWebhook(ctx context.Context, id string) (*Webhook, error) {
	return c.webhook(ctx, http.MethodDelete, webhookPath(id), nil)
}

// RotateSecret gives a webhook another secret, with "" a new one. For a day what is sent is signed with both.
func (c *Client) RotateSecret(ctx context.Context, id, secret string) (*Webhook, error) {
	var body any
	if secret != "" {
		body = map[string]string{"secret": secret}
	}
	return c.webhook(ctx, http.MethodPost, webhookPath(id)+"/rotateSecret", body)
}

// Webhooks lists the webhooks of the account, newest first.
func (c *Client) Webhooks(ctx context.Context) ([]Webhook, error) {
	var list []Webhook
	_, err := c.do(ctx, http.MethodGet, webhooksPath, nil, nil, &list)
	return list, err
}

// Deliveries yields what a webhook was sent, newest first: those that have a status, pending, delivered or, with "",
// failed.
func (c *Client) Deliveries(ctx context.Context, webhookID, status string) iter.Seq2[*Delivery, error] {
	next := webhookPath(webhookID) + "/deliveries"
	if status != "" {
		next += "?" + url.Values{"status": {status}}.Encode()
	}
	return pages[Delivery](ctx, c, next)
}

// Resend sends a delivery that failed again.
func (c *Client) Resend(ctx context.Context, webhookID, deliveryID string) error {
	res, err := c.send(ctx, http.MethodPost, webhookPath(webhookID)+"/deliveries/"+url.PathEscape(deliveryID)+"/resend", nil, nil)
	if err != nil {
		return err
	}
	_ = res.Body.Close()
	return nil
}

func (c *Client) webhook(ctx context.Context, method, path string, body any) (*Webhook, error) {
	out := new(Webhook)
	_, err := c.do(ctx, method, path, nil, body, out)
	return result(out, err)
}

const (
	secretPrefix = "whsec_"
	minSecret    = 24 // bytes
	maxSecret    = 64
	// signatureAge is how far the time of a webhook may be off, which bounds for how long a recorded one can be sent
	// again (Standard Webhooks).
	signatureAge = 5 * time.Minute
)

// NewSecret makes a secret for a webhook.
func NewSecret() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails (crypto/rand documentation)
	return secretPrefix + base64.StdEncoding.EncodeToString(b)
}

// ParseSecret is the key in a secret: whsec_ and 24 to 64 bytes in base64.
func ParseSecret(secret string) ([]byte, error) {
	text, ok := strings.CutPrefix(secret, secretPrefix)
	key, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil || len(key) < minSecret || len(key) > maxSecret {
		return nil, errors.New("twiliocall: a secret is whsec_ and 24 to 64 bytes in base64")
	}
	return key, nil
}

// SignWebhook is the signature of a message: version 1 of Standard Webhooks.
func SignWebhook(secret, id string, at time.Time, body []byte) (string, error) {
	key, err := ParseSecret(secret)
	if err != nil {
		return "", err
	}
	return "v1," + base64.StdEncoding.EncodeToString(sign(key, id, strconv.FormatInt(at.Unix(), 10), body)), nil
}

func sign(key []byte, id, timestamp string, body []byte) []byte {
	mac := hmac.New(sha256.New, key)
	for _, part := range [...]string{id, ".", timestamp, "."} {
		_, _ = mac.Write([]byte(part)) // a hash takes everything
	}
	_, _ = mac.Write(body)
	return mac.Sum(nil)
}

// ErrSignature says that a webhook was not sent by who has the secret, or too long ago.
var ErrSignature = errors.New("twiliocall: the signature of the webhook is not valid")

// VerifyWebhook reads the event that a webhook was sent, when its signature is that of the secret and it was sent no
// more than 5 minutes from now; otherwise ErrSignature. body is the request's, byte for byte. An event may be sent more
// than once: its ID is the same then.
func VerifyWebhook(secret string, header http.Header, body []byte, now time.Time) (*Event, error) {
	key, err := ParseSecret(secret)
	if err != nil {
		return nil, err
	}
	id, timestamp := header.Get("Webhook-Id"), header.Get("Webhook-Timestamp")
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil || now.Sub(time.Unix(seconds, 0)).Abs() > signatureAge {
		return nil, fmt.Errorf("%w: sent at %q", ErrSignature, timestamp)
	}
	want := sign(key, id, timestamp, body)
	for signature := range strings.FieldsSeq(header.Get("Webhook-Signature")) {
		text, ok := strings.CutPrefix(signature, "v1,")
		got, err := base64.StdEncoding.DecodeString(text)
		if ok && err == nil && hmac.Equal(got, want) {
			e := &Event{}
			if err := json.Unmarshal(body, e); err != nil {
				return nil, fmt.Errorf("twiliocall: webhook: %w", err)
			}
			return e, nil
		}
	}
	return nil, ErrSignature
}
