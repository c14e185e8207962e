package twilio

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
)

// errorsJSON is the catalogue: every code that offhook answers, logs or reserves, one row each.
//
//go:embed errors.json
var errorsJSON []byte

// Entry is a row of the catalogue.
type Entry struct {
	Code    int    `json:"code"`
	Status  int    `json:"status"`  // HTTP status of a REST answer; 0 for codes only seen on running calls
	Level   string `json:"level"`   // "error" or "warning": what a notification of this code is
	Message string `json:"message"` // a short sentence, in our own words
}

var catalogue = sync.OnceValue(func() map[int]Entry {
	var rows []Entry
	if err := json.Unmarshal(errorsJSON, &rows); err != nil {
		panic("twilio: errors.json: " + err.Error()) // a test reads every row
	}
	byCode := make(map[int]Entry, len(rows))
	for _, e := range rows {
		byCode[e.Code] = e
	}
	return byCode
})

// Lookup finds a code in the catalogue.
func Lookup(code int) (Entry, bool) {
	e, ok := catalogue()[code]
	return e, ok
}

// Level is the notification level of code: 0 error, 1 warning. Unknown codes are errors.
func Level(code int) int {
	if catalogue()[code].Level == "warning" {
		return 1
	}
	return 0
}

// Err makes the error of a code in the catalogue. Its message is the catalogue's, followed by the
// details, if any: Err(21211, number) reads "Invalid 'To' phone number: 12".
func Err(code int, details ...any) *Error {
	e := catalogue()[code]
	if len(details) > 0 {
		e.Message += ": " + strings.TrimSuffix(fmt.Sprintln(details...), "\n")
	}
	return &Error{Code: code, Status: e.Status, Message: e.Message}
}

// Errf is Err with a message of its own.
func Errf(code int, format string, args ...any) *Error {
	return &Error{Code: code, Status: catalogue()[code].Status, Message: fmt.Sprintf(format, args...)}
}

// With is e with the cause that our log shows beside it.
func (e *Error) With(cause error) *Error {
	d := *e
	d.Cause = cause
	return &d
}

// MoreInfo is the address of a code's page in Twilio's documentation, which explains it to people.
func MoreInfo(code int) string { return fmt.Sprintf("https://www.twilio.com/docs/errors/%d", code) }
