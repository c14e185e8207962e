package call

import (
	"time"

	"github.com/offhook/offhook/internal/twilio"
)

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
	TrunkSID       string // TK… of the elastic trunk its calls go to; all that says what happens to them is then ignored
	ApplicationSID string // AP… of the application that its calls are for, instead of its own URLs
	DateCreated    time.Time
	DateUpdated    time.Time
}

// PageToken is n's place in a list of numbers.
func (n *Number) PageToken() twilio.PageToken {
	return twilio.PageToken{SID: n.SID, Time: n.DateCreated.UnixMicro()}
}

// PutOn puts n on an elastic trunk, by which it loses its voice URLs, or takes it off with "".
func (n *Number) PutOn(trunkSID string) {
	n.TrunkSID = trunkSID
	if trunkSID != "" {
		n.VoiceURL, n.VoiceFallback = "", ""
	}
}

// RateDeck is what calls of an account cost, as it is kept: see package rates.
type RateDeck struct {
	AccountSID string
	Imported   time.Time
	Rates      int // lines of CSV, without the header
	CSV        string
}
