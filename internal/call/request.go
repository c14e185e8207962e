package call

import (
	"time"

	"github.com/offhook/offhook/internal/twilio"
)

// Request is one HTTP request that was made to an application for a call, with its answer: what the Events of a call
// show (related-resources, Call events and notifications).
type Request struct {
	ID      string // unique, "EV" and 32 hex
	CallSID string
	Time    time.Time // when it was begun
	Method  string
	URL     string // without credentials, connection overrides and the parameters that were added to a GET
	Params  string // form encoded

	Status      int // 0: there was no answer
	ContentType string
	Length      int // of the body, bytes, as far as it was read
	Body        string
	Duration    time.Duration
}

// PageToken is r's place in a list of requests.
func (r *Request) PageToken() twilio.PageToken {
	return twilio.PageToken{SID: r.ID, Time: r.Time.UnixMicro()}
}
