package call

import (
	"bytes"
	"encoding/json"
	"net/url"
	"time"

	"github.com/offhook/offhook/internal/twilio"
	"github.com/offhook/offhook/twiliocall"
)

// Change is what one step of a call's life adds beside its row. The store writes row and Change in one
// transaction: an event exists if and only if the change it tells of was stored.
type Change struct {
	Events        []Event
	Callbacks     []Callback
	Notifications []Notification
	// Recordings are stored as they are now. One that was deleted meanwhile stays so.
	Recordings []*Recording
	// Idempotency of a create is stored with its call; the zero value is none.
	Idempotency Idempotency
	// Detections has what machine detection found out.
	Detections []Detection
}

// Event is one of the twelve events of TwilioCall (twiliocall section 4): created, queued, ringing, …
// It is append-only.
type Event struct {
	ID         string // unique, "EV" and 32 hex
	CallSID    string
	AccountSID string
	Seq        int    // from 0 per call without gaps
	Name       string // created, queued, ringing, answered, in-progress, completed, failed, busy, no-answer, canceled
	Time       time.Time
	Snapshot   []byte // JSON: the TwilioCall after the change, for Recording.* {call, recording}; see Data
	Pos        int64  // among all events, in the order of their commits; the store sets it
}

// EventNames are the twelve.
var EventNames = []string{
	"created", "queued", "ringing", "answered", "in-progress", "completed", "failed", "busy", "no-answer", "canceled",
	"Recording.started", "Recording.completed",
}

// noLinks is how links that are not there are encoded.
const noLinks = `"uri":"","subresourceUris":null`

// Snapshot is what an event keeps of c, and of r when it is about a recording: without the links of the call,
// three quarters of it, which follow from the SIDs.
func Snapshot(c *Call, r *twiliocall.Recording) []byte {
	var v any = c.resource()
	if r != nil {
		v = twiliocall.RecordingEvent{Call: c.resource(), Recording: *r}
	}
	b, err := json.Marshal(v)
	if err != nil { // metadata was decoded from JSON, so it encodes
		panic("call: snapshot: " + err.Error())
	}
	return b
}

// Data is the event's data as customers get it: Snapshot with the links. It is nil when the event that had it was
// removed for its age, as this one soon is.
func (e *Event) Data() json.RawMessage {
	if len(e.Snapshot) == 0 {
		return nil
	}
	var links struct {
		URI             string            `json:"uri"`
		SubresourceURIs map[string]string `json:"subresourceUris"`
	}
	c := Call{AccountSID: e.AccountSID, SID: e.CallSID}
	links.URI, links.SubresourceURIs = c.links()
	b, err := json.Marshal(links)
	if err != nil {
		panic("call: links: " + err.Error()) // strings alone
	}
	return bytes.Replace(e.Snapshot, []byte(noLinks), b[1:len(b)-1], 1)
}

// Resource is the event as customers get it (twiliocall section 4).
func (e *Event) Resource() twiliocall.Event {
	return twiliocall.Event{
		SpecVersion: "1.0", ID: e.ID, Type: "TwilioCall." + e.Name,
		Source:  "/2010-04-01/Accounts/" + e.AccountSID,
		Subject: e.CallSID, Time: e.Time.UTC().Format("2006-01-02T15:04:05.000Z07:00"),
		ContentType: "application/json", Sequence: e.Seq, Data: e.Data(),
	}
}

// Callback is an outbox row: one status callback that is due.
type Callback struct {
	ID         string // idempotency token, stable across retries: sent as I-Twilio-Idempotency-Token
	CallSID    string
	AccountSID string
	Seq        int // order among the callbacks of its call
	Method     string
	URL        string // as configured, with its fragment
	Params     url.Values
	CreatedAt  time.Time

	WebhookSID string // WH… of the webhook that is sent Body; "" for a status callback
	Body       []byte // a CloudEvent

	// Delivery marks, outside the epoch guard.
	Attempts  int
	DueAt     time.Time // not before; zero is at once
	LastError string
}

// Notification is an error or warning of a call, shown to the customer (related-resources, Notifications).
type Notification struct {
	SID             string // NO…
	CallSID         string
	AccountSID      string
	Code            int    // e.g. 11200
	Level           int    // 0 error, 1 warning
	Message         string // human text
	Time            time.Time
	RequestMethod   string
	RequestURL      string
	RequestParams   string // form encoded
	ResponseHeaders string // form encoded
	ResponseBody    string // at most 64 kB
}

// PageToken is n's place in a list of notifications.
func (n *Notification) PageToken() twilio.PageToken {
	return twilio.PageToken{SID: n.SID, Time: n.Time.UnixMicro()}
}

// Levels of a notification.
const (
	LevelError   = 0
	LevelWarning = 1
)
