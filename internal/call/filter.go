package call

import "time"

// Filter selects calls of one account, newest first. Zero values do not restrict.
type Filter struct {
	AccountSID string
	To, From   string
	ParentSID  string
	Statuses   []Status
	Direction  Direction
	// StartTime and EndTime bounds: after is inclusive (>=), before exclusive (<).
	StartAfter, StartBefore time.Time
	EndAfter, EndBefore     time.Time

	Limit  int // rows wanted
	Offset int // rows to skip, when no cursor is given
	// AfterSID continues behind (older than) that call, BeforeSID returns the page just ahead of
	// (newer than) it; the rows of both come newest first. A cursor's call may have been deleted:
	// then the page is empty.
	AfterSID, BeforeSID string
}

// NumberFilter selects numbers of one account, newest first. Zero values do not restrict.
type NumberFilter struct {
	AccountSID   string
	PhoneNumber  string // E.164, or a pattern in which * stands for any digits
	FriendlyName string // exact

	Limit, Offset       int
	AfterSID, BeforeSID string // as in Filter
}
