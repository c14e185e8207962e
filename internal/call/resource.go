package call

import (
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/offhook/offhook/twiliocall"
)

// subresources are the keys of subresource_uris and the path element each stands for (calls-api section 5).
var subresources = [...][2]string{
	{"events", "Events"},
	{"notifications", "Notifications"},
	{"payments", "Payments"},
	{"recordings", "Recordings"},
	{"siprec", "Siprec"},
	{"streams", "Streams"},
	{"transcriptions", "Transcriptions"},
	{"user_defined_message_subscriptions", "UserDefinedMessageSubscriptions"},
	{"user_defined_messages", "UserDefinedMessages"},
}

// resource is d in the TwilioCall resource, which has three directions (calls-api section 11).
func (d Direction) resource() Direction {
	switch d {
	case TrunkingOriginating:
		return Inbound
	case TrunkingTerminating:
		return OutboundDial
	case Inbound, OutboundAPI, OutboundDial:
	}
	return d
}

// ShownAs are the directions that the TwilioCall resource shows as d; d itself when it shows none so.
func (d Direction) ShownAs() []Direction {
	switch d {
	case Inbound:
		return []Direction{Inbound, TrunkingOriginating}
	case OutboundDial:
		return []Direction{OutboundDial, TrunkingTerminating}
	case OutboundAPI, TrunkingOriginating, TrunkingTerminating:
	}
	return []Direction{d}
}

// Path is the call's path in the Calls API without a suffix.
func (c *Call) Path() string {
	return "/2010-04-01/Accounts/" + c.AccountSID + "/Calls/" + c.SID
}

// Resource is the call as the TwilioCall resource (twiliocall section 1).
func (c *Call) Resource() twiliocall.Call {
	r := c.resource()
	r.URI, r.SubresourceURIs = c.links()
	return r
}

// links are where the call and what belongs to it are.
func (c *Call) links() (uri string, subresourceURIs map[string]string) {
	path := c.Path()
	subresourceURIs = make(map[string]string, len(subresources))
	for _, s := range subresources {
		subresourceURIs[s[0]] = path + "/" + s[1] + ".json"
	}
	return path + ".json", subresourceURIs
}

// resource is Resource without the links.
func (c *Call) resource() twiliocall.Call {
	r := twiliocall.Call{
		ID: c.SID, AccountSID: c.AccountSID,
		From: c.From, To: c.To,
		FromFormatted: FormatEndpoint(c.From), ToFormatted: FormatEndpoint(c.To),
		ParentCallSID: optional(c.ParentSID), PhoneNumberSID: optional(c.NumberSID),
		Status: string(c.Status), Direction: string(c.Direction.resource()),
		StartTime: unix(c.StartTime()), EndTime: unix(c.EndedAt),
		PriceUnit:  c.PriceUnit,
		Annotation: optional(c.Annotation), CallerName: optional(c.CallerName),
		QueueTime:     c.QueueTime.Milliseconds(),
		ForwardedFrom: optional(c.ForwardedFrom), GroupSID: optional(c.GroupSID), TrunkSID: optional(c.TrunkSID),
		DateCreated: c.DateCreated.Unix(), DateUpdated: c.DateUpdated.Unix(),
		Metadata: map[string]any{},
		Held:     c.Options.Held && c.Status == InProgress, Muted: c.Options.Muted && c.Status == InProgress,
	}
	if d, ok := c.Duration(); ok {
		r.Duration = &d
	}
	if p, err := strconv.ParseFloat(c.Price, 64); err == nil {
		r.Price = &p
	}
	if by := c.AnsweredBy; by != "" {
		if strings.HasPrefix(by, "machine") {
			by = "machine"
		}
		r.AnsweredBy = &by
	}
	maps.Copy(r.Metadata, c.Metadata)
	return r
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	there := s // a parameter whose address is taken would be allocated for each that is not
	return &there
}

func unix(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	s := t.Unix()
	return &s
}
