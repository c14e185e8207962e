package call

import (
	"fmt"
	"slices"
)

// Status is where a call stands; the values are Twilio's (call-lifecycle section 1).
type Status string

// The statuses of the Calls resource.
const (
	Queued     Status = "queued"
	Ringing    Status = "ringing"
	InProgress Status = "in-progress"
	Completed  Status = "completed"
	Busy       Status = "busy"
	Failed     Status = "failed"
	NoAnswer   Status = "no-answer"
	Canceled   Status = "canceled"
)

// Initiated is what a status callback says when the INVITE leaves; the resource never shows it.
const Initiated Status = "initiated"

// Statuses lists every status of the resource in the order of a call's life.
var Statuses = []Status{Queued, Ringing, InProgress, Completed, Busy, Failed, NoAnswer, Canceled}

// transitions lists every legal move; a status without a row is final.
var transitions = map[Status][]Status{
	Queued:     {Ringing, InProgress, Busy, Failed, NoAnswer, Canceled},
	Ringing:    {InProgress, Busy, Failed, NoAnswer, Canceled},
	InProgress: {Completed},
}

// Final reports whether nothing follows s.
func (s Status) Final() bool { return len(transitions[s]) == 0 }

// Move takes the call to next. It has no side effects: the caller saves the move and its event together.
func (c *Call) Move(next Status) error {
	if !slices.Contains(transitions[c.Status], next) {
		return fmt.Errorf("call: %s to %s is not a legal move", c.Status, next)
	}
	c.Status = next
	return nil
}

// Ended reports whether s is one of the final statuses; unlike Final it is false for a word that is no status.
func (s Status) Ended() bool { return slices.Contains(Statuses, s) && s.Final() }
