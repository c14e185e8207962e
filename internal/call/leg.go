package call

import "time"

// LegEvent is what a leg tells the session that owns it: one of LegMoved, LegRinging, LegAnswered,
// LegDigit, LegHeld, LegReferred, LegReferAnswered, LegReferNotified, LegEnded.
type LegEvent interface{ legEvent() }

// LegRinging says that the callee's phone rings: the first 180 or 183. It comes at most once.
type LegRinging struct {
	Code       int  // 180 or 183
	EarlyMedia bool // an SDP answer came with it
}

// LegMoved says that the INVITE went to another address, since nobody was at the one before or it sent us on.
type LegMoved struct{}

// LegAnswered says that the callee picked up and media runs. Outbound legs only; at most once.
type LegAnswered struct{}

// LegDigit is one key the party pressed, reported when it goes down.
type LegDigit struct {
	Key byte // 0-9 * # A-D
}

// LegHeld says that the party put us on hold, or took us back (RFC 3264 section 8.4), and when the music that it sends
// stops or begins.
type LegHeld struct {
	On    bool
	Sends bool // music of its own comes meanwhile: sendonly, and it does send
}

// LegReferred says that the party asks us to connect the other one with somebody else (REFER, RFC 3515). It is
// answered by Leg.ReferReply.
type LegReferred struct {
	ID         int       // for the reply
	To         string    // URI of Refer-To as it was written, with its headers
	Replaces   *Replaces // the dialog that the new call is to take the place of; nil for none
	ReferredBy string    // URI that the party calls itself (RFC 3892), "" for none
}

// LegReferAnswered is the final response to our own REFER.
type LegReferAnswered struct {
	Code   int
	Silent bool // it was accepted, and no news will come (RFC 4488)
}

// LegReferNotified is news of the call that the party makes on our REFER.
type LegReferNotified struct {
	Code  int  // SIP response that it got, 0 when it was not told
	Final bool // nothing more will come
}

// Replaces names a dialog by its parts as the one sees them who is to replace it (RFC 3891 section 3).
type Replaces struct {
	CallID, ToTag, FromTag string
	EarlyOnly              bool // unless it was answered
}

// LegEnded is the last event of every leg: it is over, whoever ended it, and holds nothing any more.
type LegEnded struct {
	Cause Cause
	// Canceled: the caller gave up an inbound call before we answered it.
	Canceled bool
}

func (LegMoved) legEvent()    {}
func (LegRinging) legEvent()  {}
func (LegAnswered) legEvent() {}
func (LegDigit) legEvent()    {}
func (LegHeld) legEvent()     {}
func (LegEnded) legEvent()    {}

func (LegReferred) legEvent()      {}
func (LegReferAnswered) legEvent() {}
func (LegReferNotified) legEvent() {}

// OutboundLeg is everything signalling needs to know to call somebody.
type OutboundLeg struct {
	CallSID   string   // for logs
	Targets   []string // further ones, tried in order when nobody answers at those before
	Target    string   // Request-URI, "sip:+15551234567@carrier.example;user=phone" or the customer's own sip: URI
	To        string   // address of record for the To header; "" is Target
	Dest      string   // host:port the INVITE goes to; "" resolves Target (RFC 3263)
	Symmetric bool     // Dest is where a phone speaks from: later requests go there too, whatever its Contact says
	Transport string   // udp, tcp, or udp+tcp: UDP unless the INVITE is over the MTU; "" is what Target says, else udp+tcp
	From      string   // presented caller: E.164, a user name, or a whole sip: URI
	FromName  string   // display name, "" for none
	Username  string   // answers a digest challenge of this leg's own first hop
	Password  string
	Headers   map[string]string // X-… headers to add
	Secure    bool              // over TLS and with SRTP, or not at all
	Trusted   bool              // is told who calls (P-Asserted-Identity)
	// DivertedBy is who was called before and sent the call on (RFC 5806), "" for nobody. It is told to trunks and to
	// our own numbers.
	DivertedBy string
	Hops       int // as Options.Hops: Max-Forwards is so many less
	// Hairpin marks a call to one of our own numbers: it comes back to our own listener, which
	// recognises its Call-ID whatever the source rules say.
	Hairpin bool
	// HoldACK keeps the ACK of the answer until Leg.Acknowledge, when the answer is stored. A callee without
	// an ACK repeats the answer, so that a process that takes over hears of it.
	HoldACK bool
}

// InboundLeg is what an INVITE from outside says, after its source was accepted.
type InboundLeg struct {
	To, From      string            // E.164 when the user part is a number (+ added when the trunk sends it bare), else user@host; for a Domain sip: URIs
	ToURI         string            // as received
	FromURI       string            // as received
	CallerName    string            // display name of From, or of P-Asserted-Identity of a trusted source
	ForwardedFrom string            // Diversion (RFC 5806), else History-Info (RFC 7044)
	Trunk         *Trunk            // the carrier's, or the elastic one whose PBX calls; nil when it came from loopback in dev mode or is a hairpin
	Domain        *Domain           // it is for this SIP domain, whose rules it met
	AuthUser      string            // whose password was shown to the domain or elastic trunk; "" when its address was enough
	Hairpin       bool              // one of our own calls to one of our own numbers
	Source        string            // ip:port
	CallID        string            // SIP Call-ID
	Taken         time.Time         // when the INVITE was let in
	Hops          int               // that the INVITE has behind it, as its Max-Forwards tells, at least 0
	Headers       map[string]string // X-… headers
	Replaces      *Replaces         // the dialog that the call is to take the place of; nil for none
}

// LegError is a leg that could not be made; Cause is what to record.
type LegError struct {
	Cause Cause
	Err   error
}

func (e *LegError) Error() string { return e.Err.Error() }
func (e *LegError) Unwrap() error { return e.Err }
