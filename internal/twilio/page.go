package twilio

// PageToken is the place where a page of a list begins: behind the last item of the page before it
// ("PA" and that item's SID), or just ahead of the first item of the page after it ("PB").
// Lists come newest first, so ahead is newer. To clients it is opaque.
type PageToken struct {
	SID    string
	Before bool
}

func (t PageToken) String() string {
	if t.Before {
		return "PB" + t.SID
	}
	return "PA" + t.SID
}

// ParsePageToken reads a token of a list whose items have SIDs with the given prefix.
func ParsePageToken(s, prefix string) (PageToken, bool) {
	if len(s) < 2 || (s[:2] != "PA" && s[:2] != "PB") || !IsSID(s[2:], prefix) {
		return PageToken{}, false
	}
	return PageToken{SID: s[2:], Before: s[1] == 'B'}, true
}
