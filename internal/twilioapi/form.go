package twilioapi

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/offhook/offhook/internal/twilio"
)

// Bounds of a request.
const (
	maxBody   = 1 << 20 // bytes; over it: 413
	maxParams = 1000    // name=value pairs in a body or a query

	bodyTimeout = 30 * time.Second // from the headers to the end of the body
)

// param is a parameter that an operation knows: how its text gets into a T.
type param[T any] struct {
	name   string
	list   bool // each occurrence counts; of others only the first does
	filter bool // repeated in the URIs of a page
	read   func(dst *T, value string) error
}

// form is the table of an operation's parameters. Names are case-sensitive; unknown ones are ignored
// (calls-api section 1).
type form[T any] struct {
	params []param[T]
	index  map[string]int
	must   []string // names of those that must be given and not be empty
}

func newForm[T any](groups ...[]param[T]) form[T] {
	f := form[T]{params: slices.Concat(groups...), index: map[string]int{}}
	for i, p := range f.params {
		if _, twice := f.index[p.name]; twice || i >= 64 { // decode keeps what it has seen in 64 bits
			panic("twilioapi: parameter table: " + p.name)
		}
		f.index[p.name] = i
	}
	return f
}

// requiring is f with parameters that must be given and not be empty.
func requiring[T any](f form[T], names ...string) form[T] {
	f.must = names
	return f
}

// text is a parameter of any text.
func text[T any](name string, field func(*T) *string) param[T] {
	return param[T]{name: name, read: func(dst *T, value string) error {
		*field(dst) = value
		return nil
	}}
}

// change is text that tells "" (make it empty) from not given.
func change[T any](name string, field func(*T) **string) param[T] {
	return param[T]{name: name, read: func(dst *T, value string) error {
		*field(dst) = &value
		return nil
	}}
}

// texts is a parameter that is repeated for each of its values.
func texts[T any](name string, field func(*T) *[]string) param[T] {
	return param[T]{name: name, list: true, read: func(dst *T, value string) error {
		if value != "" {
			*field(dst) = append(*field(dst), value)
		}
		return nil
	}}
}

// integer is a decimal number between lo and hi; code is the error of anything else.
func integer[T any](name string, code, lo, hi int, field func(*T) *int) param[T] {
	return param[T]{name: name, read: func(dst *T, value string) error {
		if value == "" {
			return nil
		}
		n, err := strconv.Atoi(value)
		if err != nil || value[0] == '+' || n < lo || n > hi {
			return twilio.Errf(code, "%s must be a whole number from %d to %d: %s", name, lo, hi, clip(value))
		}
		*field(dst) = n
		return nil
	}}
}

// boolean is true or false in any case: SDKs differ.
func boolean[T any](name string, field func(*T) **bool) param[T] {
	return param[T]{name: name, read: func(dst *T, value string) error {
		var b bool
		switch strings.ToLower(value) {
		case "":
			return nil
		case "true":
			b = true
		case "false":
		default:
			return twilio.Errf(20001, "%s must be true or false: %s", name, clip(value))
		}
		*field(dst) = &b
		return nil
	}}
}

// bounds is one of the filters Name, Name< and Name> on a time (calls-api section 6): the UTC day that
// holds the value, before it, and from it on.
func bounds[T any](name string, after, before func(*T) *time.Time) []param[T] {
	read := func(suffix string, set func(dst *T, d date)) param[T] {
		return param[T]{name: name + suffix, filter: true, read: func(dst *T, value string) error {
			if value == "" {
				return nil
			}
			d, ok := parseDate(value)
			if !ok {
				return twilio.Errf(20001, "%s is not a date such as 2009-07-06 or 2009-07-06T15:04:05Z: %s", name+suffix, clip(value))
			}
			set(dst, d)
			return nil
		}}
	}
	notBefore := func(dst *T, t time.Time) {
		if a := after(dst); t.After(*a) {
			*a = t
		}
	}
	notAfter := func(dst *T, t time.Time) {
		if b := before(dst); b.IsZero() || t.Before(*b) {
			*b = t
		}
	}
	return []param[T]{
		read("", func(dst *T, d date) {
			day := d.Truncate(24 * time.Hour) // UTC days are whole multiples since the zero time
			notBefore(dst, day)
			notAfter(dst, day.Add(24*time.Hour))
		}),
		read("<", func(dst *T, d date) { notAfter(dst, d.Time) }),
		read(">", func(dst *T, d date) { notBefore(dst, d.Time) }),
	}
}

// unavailableError refuses a parameter that Twilio has and this version has not.
type unavailableError struct{ err *twilio.Error }

func (e unavailableError) Error() string { return e.err.Error() }

// notYet is such a parameter. Values that ask for nothing (empty, or one of neutral in any case) pass.
func notYet[T any](name string, neutral ...string) param[T] {
	return param[T]{name: name, list: true, read: func(_ *T, value string) error {
		if value == "" || slices.ContainsFunc(neutral, func(n string) bool { return strings.EqualFold(n, value) }) {
			return nil
		}
		return unavailableError{twilio.Errf(20001, "%s is not available in this version: %s", name, clip(value))}
	}}
}

// filters marks parameters as filters of a list.
func filters[T any](params ...param[T]) []param[T] {
	for i := range params {
		params[i].filter = true
	}
	return params
}

// decode reads the parameters of the body and, behind them, of the query into dst, and returns the
// filters among them as they came. All that can be read is; then the first error counts, in this
// order: a parameter that is not available, what required (nil: nothing) misses, a value that cannot
// be read (calls-api section 4: required before syntax).
func (f form[T]) decode(q *request, dst *T, required func() error) ([]pair, error) {
	var given []pair
	var missing, invalid error
	var seen, filled uint64
	read := func(raw string) error {
		return eachPair(raw, func(name, value string) error {
			i, known := f.index[name]
			if !known {
				return nil
			}
			p := &f.params[i]
			if seen&(1<<i) != 0 && !p.list {
				return nil
			}
			seen |= 1 << i
			if value != "" {
				filled |= 1 << i
			}
			if !utf8.ValidString(value) || strings.IndexByte(value, 0) >= 0 {
				return twilio.Errf(20001, "%s is not valid UTF-8 text", name)
			}
			if p.filter && value != "" {
				given = append(given, pair{name, value})
			}
			err := p.read(dst, value)
			var u unavailableError
			switch {
			case errors.As(err, &u):
				missing = first(missing, u.err)
			case err != nil:
				invalid = first(invalid, err)
			}
			return nil
		})
	}
	body, err := q.body()
	if err != nil {
		return nil, err
	}
	if err := errors.Join(read(body), read(q.r.URL.RawQuery)); err != nil {
		return nil, err
	}
	for _, name := range f.must {
		if missing == nil && filled&(1<<f.index[name]) == 0 {
			missing = twilio.Errf(20001, "%s is required", name)
		}
	}
	if missing == nil && required != nil {
		missing = required()
	}
	return given, first(missing, invalid)
}

func first(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// body is the text of a form body, "" when there is none.
func (q *request) body() (string, error) {
	r := q.r
	if r.Method != http.MethodPost || r.Body == nil || r.ContentLength == 0 {
		return "", nil
	}
	if coding := r.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		e := twilio.Errf(20001, "Send the parameters as they are, not encoded as %s", clip(coding))
		e.Status = http.StatusUnsupportedMediaType
		return "", e
	}
	// A body that trickles in must not hold a connection for ever.
	conn := http.NewResponseController(q.ResponseWriter)
	limited := conn.SetReadDeadline(q.api.Clock.Now().Add(bodyTimeout)) == nil
	b, err := io.ReadAll(http.MaxBytesReader(q.ResponseWriter, r.Body, maxBody))
	if limited && err == nil {
		_ = conn.SetReadDeadline(time.Time{}) // after an error it stays: net/http tries to read the rest
	}
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		e := twilio.Errf(20001, "The request body is larger than %d bytes", maxBody)
		e.Status = http.StatusRequestEntityTooLarge
		return "", e
	case err != nil:
		return "", twilio.Errf(20001, "The request body could not be read").With(err)
	}
	const form = "application/x-www-form-urlencoded"
	if t := r.Header.Get("Content-Type"); t != "" && t != form && len(b) > 0 {
		if mt, _, err := mime.ParseMediaType(t); err != nil || mt != form {
			e := twilio.Errf(20001, "Send parameters as application/x-www-form-urlencoded, not as %s", clip(t))
			e.Status = http.StatusUnsupportedMediaType
			return "", e
		}
	}
	return string(b), nil
}

// pair is a parameter as it came.
type pair struct{ name, value string }

// eachPair reads form-encoded text (WHATWG URL standard, application/x-www-form-urlencoded): pairs
// divided by "&" only. Unlike that standard it refuses escapes that are not.
func eachPair(raw string, yield func(name, value string) error) error {
	n := 0
	for raw != "" {
		var item string
		item, raw, _ = strings.Cut(raw, "&")
		if item == "" {
			continue
		}
		if n++; n > maxParams {
			return twilio.Errf(20001, "The request has more than %d parameters", maxParams)
		}
		name, value, _ := strings.Cut(item, "=")
		name, err := url.QueryUnescape(name)
		if err == nil {
			value, err = url.QueryUnescape(value)
		}
		if err != nil {
			return twilio.Errf(20001, "Malformed percent-encoding in the parameters: %s", clip(item))
		}
		if err := yield(name, value); err != nil {
			return err
		}
	}
	return nil
}

// clip shortens what a message quotes.
func clip(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= 100 {
		return s
	}
	return strings.ToValidUTF8(s[:100], "") + "…"
}
