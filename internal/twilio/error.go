// Package twilio holds the facts of the Twilio wire: the error catalogue, SIDs, time formats, the
// request signature and paging tokens. It has no I/O.
package twilio

import "fmt"

// Error is a failure the customer sees. Code and Status are Twilio's, so SDK error handling works unchanged.
type Error struct {
	Code    int    // a row of errors.json, e.g. 21220
	Status  int    // HTTP status of a REST answer, e.g. 400; 0 for a runtime error of a call
	Message string // rendered to the customer
	Cause   error  // for our log; never rendered
}

func (e *Error) Error() string {
	if e.Cause != nil {
		return fmt.Sprintf("twilio %d: %s: %v", e.Code, e.Message, e.Cause)
	}
	return fmt.Sprintf("twilio %d: %s", e.Code, e.Message)
}

func (e *Error) Unwrap() error { return e.Cause }

// Is reports whether target has the same code: the code alone decides.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}
