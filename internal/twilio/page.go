package twilio

import (
	"strconv"
	"strings"
)

// PageToken is the place where a page of a list begins: behind the last item of the page before it, or
// just ahead of the first item of the page after it. Lists come newest first, so ahead is newer. It
// carries the item's position and not only its name, so it holds when the item has been deleted.
// To clients it is opaque: "PA" or "PB", the SID, the time and the sequence.
type PageToken struct {
	SID    string
	Time   int64 // when the item was made, in microseconds since 1970
	Seq    int64 // orders calls made at the same time; other items go by their SIDs
	Before bool
}

func (t PageToken) String() string {
	b := make([]byte, 0, 64)
	b = append(b, "PA"...)
	if t.Before {
		b[1] = 'B'
	}
	b = append(b, t.SID...)
	b = strconv.AppendInt(append(b, '-'), t.Time, 36)
	b = strconv.AppendInt(append(b, '-'), t.Seq, 36)
	return string(b)
}

// ParsePageToken reads a token of a list whose items have SIDs with the given prefix.
func ParsePageToken(s, prefix string) (PageToken, bool) {
	sid, position, _ := strings.Cut(s, "-")
	if len(sid) < 2 || (sid[:2] != "PA" && sid[:2] != "PB") || !IsSID(sid[2:], prefix) {
		return PageToken{}, false
	}
	at, seq, _ := strings.Cut(position, "-")
	t := PageToken{SID: sid[2:], Before: sid[1] == 'B'}
	var err1, err2 error
	t.Time, err1 = strconv.ParseInt(at, 36, 64)
	t.Seq, err2 = strconv.ParseInt(seq, 36, 64)
	return t, err1 == nil && err2 == nil
}
