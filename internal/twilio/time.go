package twilio

import "time"

// timeLayout is RFC 2822 section 3.3 as the API writes it: two-digit day, numeric zone, always UTC.
const timeLayout = "Mon, 02 Jan 2006 15:04:05 +0000"

// FormatTime renders t as resources and webhooks do: "Tue, 31 Aug 2010 20:36:28 +0000".
func FormatTime(t time.Time) string { return t.UTC().Format(timeLayout) }

// AppendTime appends FormatTime of t to b.
func AppendTime(b []byte, t time.Time) []byte { return t.UTC().AppendFormat(b, timeLayout) }

// ParseTime reads what FormatTime wrote, in any zone.
func ParseTime(s string) (time.Time, error) { return time.Parse(time.RFC1123Z, s) }
