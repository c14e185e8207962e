package call

import "time"

// LegEvent is what a leg tells the session that owns it: one of LegRinging, LegAnswered,
// LegDigit, LegHeld, LegEnded.
type LegEvent interface{ legEvent() }

// LegRinging says that the callee's phone rings: the first 180 or 183. It comes at most once.
type LegRinging struct {
	Code       int  // 180 or 183
	EarlyMedia bool // an SDP answer came with it
}

// LegAnswered says that the callee picked up and media runs. Outbound legs only; at most once.
type LegAnswered struct{}

// LegDigit is one key the party pressed, reported when it goes down.
type LegDigit struct {
	Key byte // 0-9 * # A-D
}

// LegHeld says that the party put us on hold, or took us back (RFC 3264 section 8.4).
type LegHeld struct {
	On    bool
	Sends bool // music of its own comes meanwhile (sendonly)
}

// LegEnded is the last event of every leg: it is over, whoever ended it, and holds nothing any more.
type LegEnded struct {
	Cause Cause
	// Canceled: the caller gave up an inbound call before we answered it.
	Canceled bool
}

func (LegRinging) legEvent()  {}
func (LegAnswered) legEvent() {}
func (LegDigit) legEvent()    {}
func (LegHeld) legEvent()     {}
func (LegEnded) legEvent()    {}

// OutboundLeg is everything signalling needs to know to call somebody.
type OutboundLeg struct {
	CallSID   string // for logs
	Target    string // Request-URI, "sip:+15551234567@carrier.example;user=phone" or the customer's own sip: URI
	Dest      string // host:port the INVITE goes to; "" resolves Target (RFC 3263)
	Transport string // udp, tcp, or udp+tcp: UDP unless the INVITE is over the MTU; "" is what Target says, else udp+tcp
	From      string // presented caller: E.164, a user name, or a whole sip: URI
	FromName  string // display name, "" for none
	Username  string // answers a digest challenge of this leg's own first hop
	Password  string
	Headers   map[string]string // X-… headers to add
	// Hairpin marks a call to one of our own numbers: it comes back to our own listener, which
	// recognises its Call-ID whatever the source rules say.
	Hairpin bool
	// HoldACK keeps the ACK of the answer until Leg.Acknowledge, when the answer is stored. A callee without
	// an ACK repeats the answer, so that a process that takes over hears of it.
	HoldACK bool
}

// InboundLeg is what an INVITE from outside says, after its source was accepted.
type InboundLeg struct {
	To, From      string            // E.164 when the user part is a number (+ added when the trunk sends it bare), else user@host
	ToURI         string            // as received
	FromURI       string            // as received
	CallerName    string            // display name of From, or of P-Asserted-Identity of a trusted source
	ForwardedFrom string            // Diversion (RFC 5806), else History-Info (RFC 7044)
	Trunk         *Trunk            // nil when it came from loopback in dev mode or is a hairpin
	Hairpin       bool              // one of our own calls to one of our own numbers
	Source        string            // ip:port
	CallID        string            // SIP Call-ID
	Taken         time.Time         // when the INVITE was let in
	Headers       map[string]string // X-… headers
}

// LegError is a leg that could not be made; Cause is what to record.
type LegError struct {
	Cause Cause
	Err   error
}

func (e *LegError) Error() string { return e.Err.Error() }
func (e *LegError) Unwrap() error { return e.Err }
