// Package call is the domain: calls and their status machine, the events, callbacks and notifications
// a change of a call gives rise to, numbers, trunks and accounts. It has no I/O, no clock and no
// goroutine; package session runs calls, package store keeps them.
package call

import (
	"time"

	"github.com/offhook/offhook/internal/twilio"
)

// Direction says who asked for the call; the values are Twilio's.
type Direction string

// Directions of a call.
const (
	Inbound      Direction = "inbound"
	OutboundAPI  Direction = "outbound-api"
	OutboundDial Direction = "outbound-dial"

	// Of calls over an elastic trunk, which run no TwiML.
	TrunkingOriginating Direction = "trunking-originating" // to a number on it, and on to its PBX
	TrunkingTerminating Direction = "trunking-terminating" // from its PBX to a number
)

// Directions lists every direction.
var Directions = []Direction{Inbound, OutboundAPI, OutboundDial, TrunkingOriginating, TrunkingTerminating}

// Trunking reports whether d is of a call over an elastic trunk.
func (d Direction) Trunking() bool { return d == TrunkingOriginating || d == TrunkingTerminating }

// CameIn reports whether the other party called us. Of a call over a trunk the first leg did, and that of its child
// goes out.
func (c *Call) CameIn() bool {
	return c.Direction == Inbound || c.Direction.Trunking() && c.ParentSID == ""
}

// Call is the stored record of one call session and the source of both API resources.
type Call struct {
	SID        string // CA…
	Seq        int64  // order of commit among all calls; the store sets it
	AccountSID string // AC…
	ParentSID  string // the call whose <Dial> made this one, or ""
	To, From   string // E.164 with +, sip: URI or client: identity

	Direction Direction
	Status    Status
	Cause     Cause // why it ended; kept apart from the status

	DateCreated time.Time
	DateUpdated time.Time
	DialedAt    time.Time     // the INVITE was committed to leave (outbound) or arrived (inbound); zero while queued
	AnsweredAt  time.Time     // 2xx; zero when never answered
	EndedAt     time.Time     // zero while live
	QueueTime   time.Duration // waited for a dialling slot

	NumberSID     string // PN… or ""
	TrunkSID      string // TK… or ""
	GroupSID      string // GP… or ""
	ForwardedFrom string
	CallerName    string
	AnsweredBy    string // what machine detection found out: human, machine_start, …; "" before, and without it
	Annotation    string
	Metadata      map[string]any
	Price         string // decimal without sign, "" when none
	PriceUnit     string // ISO 4217, upper case

	// QueueKey names the dialling queue: the trunk's SID, "sip" for SIP URIs or "sim" for the simulator.
	QueueKey string
	Options  Options
	Dialog   *Dialog // nil before the INVITE is committed

	// CallbackSeq is the SequenceNumber the next status callback carries; it counts subscribed events only.
	CallbackSeq int
	// EventSeq is the sequence the next event carries, without gaps from 0.
	EventSeq int

	// Owner and Epoch name the node that runs the call; every write of live state is guarded by Epoch.
	Owner string
	Epoch int64
}

// StartTime is the resource's start_time: the moment of dialling, replaced by that of the answer
// (calls-api section 5, design). Zero while queued.
func (c *Call) StartTime() time.Time {
	if !c.AnsweredAt.IsZero() {
		return c.AnsweredAt
	}
	return c.DialedAt
}

// Duration is the seconds from start to end as the resource shows them, so that end_time − start_time is
// duration (calls-api section 5); 0 for a call that was never answered. ok is false while live.
func (c *Call) Duration() (seconds int, ok bool) {
	if c.EndedAt.IsZero() {
		return 0, false
	}
	if c.AnsweredAt.IsZero() {
		return 0, true
	}
	return int(c.EndedAt.Unix() - c.AnsweredAt.Unix()), true
}

// PageToken is c's place in a list of calls.
func (c *Call) PageToken() twilio.PageToken {
	return twilio.PageToken{SID: c.SID, Time: c.DateCreated.UnixMicro(), Seq: c.Seq}
}

// AsCreated is the call as its create answered it.
func (c *Call) AsCreated() *Call {
	d := c.Clone()
	d.Status, d.Cause, d.DateUpdated = Queued, Cause{}, c.DateCreated
	d.DialedAt, d.AnsweredAt, d.EndedAt, d.QueueTime = time.Time{}, time.Time{}, time.Time{}, 0
	d.AnsweredBy, d.Price, d.Dialog, d.Options.Held, d.Options.Muted = "", "", nil, false, false
	return d
}

// Clone is a deep enough copy: nothing a Session later changes in c shows in the clone.
func (c *Call) Clone() *Call {
	d := *c
	d.Metadata = make(map[string]any, len(c.Metadata))
	for k, v := range c.Metadata {
		d.Metadata[k] = v
	}
	d.Options.StatusEvents = append([]string(nil), c.Options.StatusEvents...)
	if c.Dialog != nil {
		dl := *c.Dialog
		dl.RouteSet = append([]string(nil), c.Dialog.RouteSet...)
		d.Dialog = &dl
	}
	return &d
}

// ReasonHeader carries CallReason in an INVITE (calls-api section 4).
const ReasonHeader = "X-Branded-CallReason"

// Line is where calls of an account wait for a dialling slot.
type Line struct {
	QueueKey   string // as Call's
	AccountSID string
	Calls      int // how many wait
}

// Options is how the customer asked for a call to be handled: the parameters of create or of the
// number, as later updates left them. It is stored as JSON.
type Options struct {
	URL            string   `json:"url,omitempty"`
	Method         string   `json:"method,omitempty"` // GET or POST
	Twiml          string   `json:"twiml,omitempty"`
	FallbackURL    string   `json:"fallbackUrl,omitempty"`
	FallbackMethod string   `json:"fallbackMethod,omitempty"`
	StatusURL      string   `json:"statusCallback,omitempty"`
	StatusMethod   string   `json:"statusCallbackMethod,omitempty"`
	StatusEvents   []string `json:"statusCallbackEvent,omitempty"` // initiated ringing answered completed
	Timeout        int      `json:"timeout,omitempty"`             // ring time in seconds
	TimeLimit      int      `json:"timeLimit,omitempty"`           // seconds from the answer
	SendDigits     string   `json:"sendDigits,omitempty"`          // 0-9 A-D # * w W
	CallerID       string   `json:"callerId,omitempty"`            // presented instead of From
	CallReason     string   `json:"callReason,omitempty"`          // told to the called party
	SIPUsername    string   `json:"sipAuthUsername,omitempty"`
	SIPPassword    string   `json:"sipAuthPassword,omitempty"`

	// ApplicationSID is the AP… that the URLs are of, "" for those that are the call's or its number's own.
	ApplicationSID string `json:"applicationSid,omitempty"`

	// Held and Muted are what the party is now (twiliocall section 3).
	Held  bool `json:"held,omitempty"`
	Muted bool `json:"muted,omitempty"`

	// Recording is how the call is recorded from its answer; nil: it is not.
	Recording *RecordingParams `json:"recording,omitempty"`

	// MachineDetection is how it is found out who answers; nil: it is not.
	MachineDetection *MachineDetection `json:"machineDetection,omitempty"`

	// Countries of From and To, ISO 3166, "" for what is no number: worked out once, told in every request.
	FromCountry string `json:"fromCountry,omitempty"`
	ToCountry   string `json:"toCountry,omitempty"`

	// Parameters are for a client: identity that is called, into whose INVITE they go, or for the requests of an
	// application that a <Dial> called.
	Parameters map[string]string `json:"parameters,omitempty"`

	// AppTo is the To of the call that comes in for the application, "" for the application itself.
	AppTo string `json:"appTo,omitempty"`

	// NotificationURL is asked, by POST, to wake the phones of the client: identity that is called.
	NotificationURL string `json:"clientNotificationUrl,omitempty"`

	// Of a call for a SIP domain.
	SIPDomain    string `json:"sipDomain,omitempty"`
	SIPDomainSID string `json:"sipDomainSid,omitempty"`

	// Of an inbound call: what its INVITE said beside the numbers, for the application's requests.
	SIPHeaders     map[string]string `json:"sipHeaders,omitempty"`     // X-… headers, full names
	SIPSource      string            `json:"sipSource,omitempty"`      // IP address
	CallerIDLookup bool              `json:"callerIdLookup,omitempty"` // the number wants CallerName

	// Hops are how often the call was passed on before, by us (a <Dial>, a trunk) or by others: those that go in
	// circles end (RFC 7332).
	Hops int `json:"hops,omitempty"`
}

// Follow makes a call follow v.
func (o *Options) Follow(v *Voice) {
	o.URL, o.Method, o.FallbackURL, o.FallbackMethod = v.URL, v.Method, v.FallbackURL, v.FallbackMethod
	o.StatusURL, o.StatusMethod = v.StatusURL, v.StatusMethod
}

// Obey makes a call follow an application.
func (o *Options) Obey(a *Application) {
	o.Follow(&a.Voice)
	o.ApplicationSID = a.SID
}

// Defaults and limits of Options (calls-api section 4).
const (
	DefaultTimeout   = 60 * time.Second
	MaxTimeout       = 600 * time.Second
	DefaultTimeLimit = 14400 * time.Second
	MaxTwiml         = 4000 // characters
)

// Dialog is what a restart needs to end a call politely: RFC 3261 section 12 state, stored with the
// change that made it true.
type Dialog struct {
	CallID    string   `json:"callId"`
	LocalTag  string   `json:"localTag"`
	RemoteTag string   `json:"remoteTag,omitempty"`
	LocalURI  string   `json:"localUri"`           // our From (UAC) or To (UAS) header's URI
	RemoteURI string   `json:"remoteUri"`          // the peer's
	Target    string   `json:"target"`             // remote target: the peer's Contact, before that the Request-URI
	RouteSet  []string `json:"routeSet,omitempty"` // in the order to be used
	CSeq      uint32   `json:"cseq"`               // the last one we used
	Branch    string   `json:"branch,omitempty"`   // of our INVITE's Via, for a CANCEL
	Transport string   `json:"transport"`          // UDP or TCP
	Dest      string   `json:"dest"`               // host:port the next request goes to
	UAS       bool     `json:"uas,omitempty"`      // the peer sent the INVITE
	Vias      []string `json:"vias,omitempty"`     // of his INVITE until it is answered, for a refusal,
	Source    string   `json:"source,omitempty"`   // the host:port it came from
	PeerCSeq  uint32   `json:"peerCseq,omitempty"` // and its CSeq

	// Forks are the other phones that ring for the same call, until one answers.
	Forks []*Dialog `json:"forks,omitempty"`
}

// Cause is why a call ended. The status tells the application what happened, the cause tells the operator.
type Cause struct {
	SIPCode int    `json:"sipCode,omitempty"` // final SIP code, 200 for answered calls, 0 when none was seen
	Reason  string `json:"reason,omitempty"`  // reason phrase, or our own words: "busy here", "rtp timeout"
	Q850    int    `json:"q850,omitempty"`    // from a Reason header (RFC 3326), 0 when none
	Code    int    `json:"code,omitempty"`    // runtime error code such as 32014, 0 when none
	Local   bool   `json:"local,omitempty"`   // we ended it
}

// StatusOf maps a final SIP code of an outbound INVITE to the call's status (call-lifecycle section 1).
// The caller decides canceled itself: 487 here is a ring time-out.
func StatusOf(sipCode int) Status {
	switch sipCode {
	case 486, 600:
		return Busy
	case 480, 487, 603, 408, 607, 608:
		return NoAnswer
	default:
		return Failed
	}
}
