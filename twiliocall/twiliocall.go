// Package twiliocall is a client of the TwilioCall resource, a voice call session: one method for each of its
// actions, iterators for lists and events, and one Go type per JSON shape of the /v1/calls API. It imports nothing
// of offhook's inside, and nothing but the standard library.
package twiliocall

import "encoding/json"

// Call is one voice call session. Every property is always present, null when it has no value.
type Call struct {
	ID              string            `json:"id"` // the call SID, CA…
	AccountSID      string            `json:"accountSid"`
	From            string            `json:"from"` // E.164, sip: URI or client: identity
	To              string            `json:"to"`
	FromFormatted   string            `json:"fromFormatted"`
	ToFormatted     string            `json:"toFormatted"`
	ParentCallSID   *string           `json:"parentCallSid"`
	PhoneNumberSID  *string           `json:"phoneNumberSid"`
	Status          string            `json:"status"`
	StartTime       *int64            `json:"startTime"` // Unix seconds
	EndTime         *int64            `json:"endTime"`
	Duration        *int              `json:"duration"` // whole seconds since the answer; null while live
	Price           *float64          `json:"price"`    // positive, in PriceUnit
	PriceUnit       string            `json:"priceUnit"`
	Direction       string            `json:"direction"`  // inbound, outbound-api, outbound-dial; to the PBX of an elastic trunk inbound, from it outbound-dial
	AnsweredBy      *string           `json:"answeredBy"` // human, machine, fax, unknown
	Annotation      *string           `json:"annotation"`
	CallerName      *string           `json:"callerName"`
	QueueTime       int64             `json:"queueTime"` // milliseconds
	ForwardedFrom   *string           `json:"forwardedFrom"`
	GroupSID        *string           `json:"groupSid"`
	TrunkSID        *string           `json:"trunkSid"`
	URI             string            `json:"uri"`
	SubresourceURIs map[string]string `json:"subresourceUris"`
	DateCreated     int64             `json:"dateCreated"`
	DateUpdated     int64             `json:"dateUpdated"`
	Metadata        map[string]any    `json:"metadata"`
	Held            bool              `json:"held"`
	Muted           bool              `json:"muted"`
}

// Event is a CloudEvents 1.0 envelope around one of the twelve events of a call.
type Event struct {
	SpecVersion string          `json:"specversion"` // 1.0
	ID          string          `json:"id"`
	Type        string          `json:"type"`   // TwilioCall.created, TwilioCall.ringing, …
	Source      string          `json:"source"` // the account's path
	Subject     string          `json:"subject"`
	Time        string          `json:"time"` // RFC 3339 with milliseconds
	ContentType string          `json:"datacontenttype"`
	Sequence    int             `json:"sequence"` // from 0 per call without gaps
	Data        json.RawMessage `json:"data"`     // the Call after the change, or a RecordingEvent

	// Position is where a stream was with this event, for Client.Events; not part of the event.
	Position string `json:"-"`
}

// Recording is one recording of a call. Every property is always present, null when it has no value.
type Recording struct {
	ID          string            `json:"id"` // the recording SID, RE…
	CallID      string            `json:"callId"`
	AccountSID  string            `json:"accountSid"`
	Status      string            `json:"status"`   // in-progress, paused, stopped, processing, completed, absent or failed
	Channels    string            `json:"channels"` // mono or dual
	Track       string            `json:"track"`    // inbound, outbound or both
	Source      string            `json:"source"`
	StartTime   *int64            `json:"startTime"` // Unix seconds
	Duration    *int              `json:"duration"`  // seconds; null before the end
	Price       *float64          `json:"price"`     // positive, in PriceUnit
	PriceUnit   string            `json:"priceUnit"`
	URL         string            `json:"url"`
	MediaURLs   map[string]string `json:"mediaUrls"` // wav, mp3
	DateCreated int64             `json:"dateCreated"`
	DateUpdated int64             `json:"dateUpdated"`
}

// RecordingEvent is the data of the events Recording.started and Recording.completed.
type RecordingEvent struct {
	Call      Call      `json:"call"`
	Recording Recording `json:"recording"`
}
