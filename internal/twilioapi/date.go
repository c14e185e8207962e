package twilioapi

import (
	"strings"
	"time"
)

// date is a moment in UTC, midnight when only the day was given.
type date struct{ time.Time }

// dateLayouts are the forms a list filter takes (calls-api section 6: parse leniently). Go reads a
// fraction of a second behind any "05". A form without a zone is UTC.
var dateLayouts = []string{
	"2006-01-02",
	"2006-01-02T15:04:05Z07:00",
	"2006-01-02T15:04:05Z0700",
	"2006-01-02T15:04:05",
	"2006-01-02T15:04Z07:00",
	"2006-01-02T15:04",
	"2006-01-02 15:04:05",
	"2006-01-02 15:04:05Z07:00",
	"2006-01-02 15:04:05 Z0700",
	"2006-01-02 15:04",
	"20060102",
	"20060102T150405Z",
	"01/02/2006",
	"01/02/2006 15:04:05",
	"01/02/2006 15:04:05 Z0700",
	"01/02/2006 15:04",
	"Mon, 2 Jan 2006 15:04:05 Z0700",
	"Mon, 2 Jan 2006 15:04:05",
	"2 Jan 2006 15:04:05 Z0700",
	"2 Jan 2006 15:04:05",
	"2 Jan 2006",
}

// zones are the zone names of RFC 2822 section 4.3, in seconds east of UTC.
var zones = map[string]int{
	"UTC": 0, "UT": 0, "GMT": 0, "Z": 0,
	"EDT": -4 * 3600, "EST": -5 * 3600, "CDT": -5 * 3600, "CST": -6 * 3600,
	"MDT": -6 * 3600, "MST": -7 * 3600, "PDT": -7 * 3600, "PST": -8 * 3600,
}

// parseDate reads a date or a date with time.
func parseDate(s string) (date, bool) {
	s = strings.TrimSpace(s)
	if len(s) < 8 || len(s) > 40 {
		return date{}, false
	}
	offset := 0
	if i := strings.LastIndexByte(s, ' '); i > 0 {
		if seconds, ok := zones[strings.ToUpper(s[i+1:])]; ok {
			s, offset = s[:i], seconds
		}
	}
	for _, layout := range dateLayouts {
		if t, err := time.Parse(layout, s); err == nil {
			t = t.Add(-time.Duration(offset) * time.Second).UTC()
			// Years that a store's microseconds cannot hold, or that nobody means.
			return date{t}, t.Year() >= 1 && t.Year() <= 9999
		}
	}
	return date{}, false
}
