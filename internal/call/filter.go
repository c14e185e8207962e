package call

import (
	"time"

	"github.com/offhook/offhook/internal/twilio"
)

// Filter selects calls of one account, newest first. Zero values do not restrict.
type Filter struct {
	AccountSID string
	To, From   string
	ParentSID  string
	Statuses   []Status
	Direction  Direction         // and those that are shown as it, see ShownAs
	AnsweredBy string            // human, machine (any of them), fax or unknown
	Metadata   map[string]string // values as text: 1 is found as "1" and as 1
	// StartTime and EndTime bounds: after is inclusive (>=), before exclusive (<).
	StartAfter, StartBefore time.Time
	EndAfter, EndBefore     time.Time

	Limit  int // rows wanted
	Offset int // rows to skip, when no cursor is given
	// Cursor continues behind (older than) the place it names, or with Before returns the page just
	// ahead of (newer than) it; the rows of both come newest first. The call there may be gone.
	Cursor twilio.PageToken
}

// NumberFilter selects numbers of one account, newest first. Zero values do not restrict.
type NumberFilter struct {
	AccountSID   string
	PhoneNumber  string // E.164, or part of one; * stands for one digit
	FriendlyName string // exact
	TrunkSID     string

	Limit, Offset int
	Cursor        twilio.PageToken // as in Filter
}

// NotificationFilter selects notifications of one account, newest first. Zero values do not restrict.
type NotificationFilter struct {
	AccountSID, CallSID string
	Level               *int
	// Time bounds: after is inclusive (>=), before exclusive (<).
	After, Before time.Time

	Limit, Offset int
	Cursor        twilio.PageToken // as in Filter
}
