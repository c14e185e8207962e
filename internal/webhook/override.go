package webhook

import (
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/offhook/offhook/internal/twilio"
)

// Defaults and bounds of the connection overrides (call-lifecycle section 2).
const (
	defaultConnect = 5 * time.Second
	maxConnect     = 10 * time.Second
	maxTotal       = 15 * time.Second // beats everything else
	maxRetries     = 5
)

// overrides are what a URL's fragment may say about how it is requested: #ct=2000&rc=2&rp=5xx,ct.
type overrides struct {
	connect time.Duration // ct: for one TCP connection, and again for its TLS handshake
	read    time.Duration // rt: for the first byte of the answer, and between two packets of it
	total   time.Duration // tt: for everything, retries included
	retries int           // rc: after the first attempt
	sni     bool

	// rp: what is worth a retry.
	on4xx, on5xx, onConnect, onRead, onAny bool
}

// splitURL takes the overrides off a URL: neither the request nor the signature has them. A bad retry
// policy is error 11243 and a bad edge 11240; other bad values count as absent, and unknown keys as a
// fragment of the application's own.
func splitURL(rawURL string) (string, overrides, *twilio.Error) {
	o := overrides{connect: defaultConnect, read: maxTotal, total: maxTotal, retries: 1, sni: true, onConnect: true}
	clean, fragment, _ := strings.Cut(rawURL, "#")
	for pair := range strings.SplitSeq(fragment, "&") {
		key, value, ok := strings.Cut(pair, "=")
		if !ok {
			continue
		}
		if v, err := url.PathUnescape(value); err == nil {
			value = v
		}
		switch key {
		case "ct":
			o.connect = milliseconds(value, o.connect, maxConnect)
		case "rt":
			o.read = milliseconds(value, o.read, maxTotal)
		case "tt":
			o.total = milliseconds(value, o.total, maxTotal)
		case "rc":
			if n, err := strconv.Atoi(value); err == nil {
				o.retries = min(max(n, 0), maxRetries)
			}
		case "sni":
			o.sni = value != "n"
		case "rp":
			if !o.policy(value) {
				return clean, o, twilio.Err(11243, strconv.Quote(value))
			}
		case "e": // we have no edges: any list will do
			for edge := range strings.SplitSeq(value, ",") {
				if edge == "" || strings.Trim(edge, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
					return clean, o, twilio.Err(11240, strconv.Quote(value))
				}
			}
		}
	}
	return clean, o, nil
}

func milliseconds(s string, def, most time.Duration) time.Duration {
	n, err := strconv.Atoi(s)
	if err != nil {
		return def
	}
	return time.Duration(min(max(n, 100), int(most/time.Millisecond))) * time.Millisecond
}

func (o *overrides) policy(list string) bool {
	o.on4xx, o.on5xx, o.onConnect, o.onRead, o.onAny = false, false, false, false, false
	for p := range strings.SplitSeq(list, ",") {
		switch p {
		case "4xx":
			o.on4xx = true
		case "5xx":
			o.on5xx = true
		case "ct":
			o.onConnect = true
		case "rt":
			o.onRead = true
		case "all":
			o.onAny = true
		default:
			return false
		}
	}
	return true
}

// retryStatus reports whether the policy asks for a retry after an answer with that status.
func (o *overrides) retryStatus(status int) bool {
	switch {
	case status >= 500:
		return o.on5xx || o.onAny
	case status >= 400:
		return o.on4xx || o.onAny
	}
	return false
}

// retryFailure reports whether the policy asks for a retry after f.
func (o *overrides) retryFailure(f *failure) bool {
	switch f.stage {
	case connecting:
		return o.onConnect || o.onAny
	case reading:
		return o.onRead || o.onAny
	case broken:
		return o.onAny
	default:
		return false
	}
}
