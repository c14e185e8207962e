package call

import (
	"net/netip"
	"time"

	"github.com/offhook/offhook/internal/twilio"
)

// Account owns calls and numbers; its token signs every webhook and opens the API.
type Account struct {
	SID          string
	AuthToken    string
	FriendlyName string
	DateCreated  time.Time
}

// Number is an IncomingPhoneNumber: a number of ours and what happens when it is called.
type Number struct {
	SID            string // PN…
	AccountSID     string
	PhoneNumber    string // E.164
	FriendlyName   string
	VoiceURL       string
	VoiceMethod    string // GET or POST
	VoiceFallback  string // URL
	FallbackMethod string
	StatusURL      string
	StatusMethod   string
	CallerIDLookup bool
	DateCreated    time.Time
	DateUpdated    time.Time
}

// PageToken is n's place in a list of numbers.
func (n *Number) PageToken() twilio.PageToken {
	return twilio.PageToken{SID: n.SID, Time: n.DateCreated.UnixMicro()}
}

// Trunk is a carrier connection: where calls to numbers go and who may send us calls.
type Trunk struct {
	SID       string // TK…
	Name      string // unique, for people and the command line
	Host      string // host or host:port the INVITE goes to
	Transport string // udp, tcp, or udp+tcp: TCP only for an INVITE over the MTU
	Username  string // digest credentials, "" for none
	Password  string
	Sources   []netip.Prefix // where its calls come from; Host's own address is always among them
	Prefixes  []string       // E.164 prefixes it serves, "+" is all; the longest match wins
	CPS       float64        // calls a second, 0 unlimited
	MaxCalls  int            // concurrent calls, 0 unlimited
	Created   time.Time
}
