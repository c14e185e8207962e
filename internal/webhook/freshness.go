package webhook

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxFresh is the oldest stored answer we take without asking: our requests say max-age=259200.
const maxFresh = 72 * time.Hour

// validity is how long an answer may be used again, and how to ask whether it still may (RFC 9111).
type validity struct {
	until        time.Time // fresh before that moment
	etag         string
	lastModified string
}

// validityOf reads an answer's header. ok is false when it must not, or could never, be used again.
func validityOf(h http.Header, now time.Time) (v validity, ok bool) {
	v.etag, v.lastModified = h.Get("ETag"), h.Get("Last-Modified")
	v.until = now
	fresh, explicit, store, ask := time.Duration(0), false, true, false
	for _, line := range h.Values("Cache-Control") {
		for d := range strings.SplitSeq(line, ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(d), "=")
			switch strings.ToLower(name) {
			case "no-store":
				store = false
			case "no-cache":
				ask = true
			case "max-age":
				if n, err := strconv.ParseInt(strings.Trim(value, `"`), 10, 64); err == nil {
					fresh, explicit = time.Duration(min(max(n, 0), int64(maxFresh/time.Second)))*time.Second, true
				}
			}
		}
	}
	if !store || strings.Contains(h.Get("Vary"), "*") {
		return v, false
	}
	if !explicit {
		if expires, err := http.ParseTime(h.Get("Expires")); err == nil {
			date, err := http.ParseTime(h.Get("Date"))
			if err != nil {
				date = now
			}
			fresh = min(expires.Sub(date), maxFresh)
		}
	}
	if age, err := strconv.ParseInt(h.Get("Age"), 10, 64); err == nil && age > 0 {
		fresh -= time.Duration(min(age, int64(maxFresh/time.Second))) * time.Second
	}
	if ask {
		fresh = 0
	}
	if fresh > 0 {
		v.until = now.Add(fresh)
	}
	return v, fresh > 0 || v.etag != "" || v.lastModified != ""
}

// ask makes h a conditional request; false when there is nothing to ask with.
func (v *validity) ask(h http.Header) bool {
	if v.etag != "" {
		h.Set("If-None-Match", v.etag)
	}
	if v.lastModified != "" {
		h.Set("If-Modified-Since", v.lastModified)
	}
	return v.etag != "" || v.lastModified != ""
}

// renew takes over what a 304 says.
func (v *validity) renew(h http.Header, now time.Time) {
	if n, ok := validityOf(h, now); ok {
		v.until = n.until
		if n.etag != "" {
			v.etag = n.etag
		}
		if n.lastModified != "" {
			v.lastModified = n.lastModified
		}
	} else {
		v.until = now
	}
}
