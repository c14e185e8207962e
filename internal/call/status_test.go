package call

import (
	"os"
	"regexp"
	"slices"
	"testing"
)

func TestMoveFollowsTheTable(t *testing.T) {
	for _, from := range Statuses {
		for _, to := range Statuses {
			c := Call{Status: from}
			err := c.Move(to)
			legal := slices.Contains(transitions[from], to)
			if legal != (err == nil) {
				t.Errorf("%s to %s: legal %v, error %v", from, to, legal, err)
			}
			if want := map[bool]Status{true: to, false: from}[legal]; c.Status != want {
				t.Errorf("%s to %s left the call %s", from, to, c.Status)
			}
		}
	}
}

func TestTheDrawingIsTheTable(t *testing.T) {
	doc, err := os.ReadFile("../../docs/states.md")
	if err != nil {
		t.Fatal(err)
	}
	drawn := map[[2]Status]bool{}
	for _, m := range regexp.MustCompile(`(?m)^ +([a-z-]+) --> ([a-z-]+):`).FindAllSubmatch(doc, -1) {
		drawn[[2]Status{Status(m[1]), Status(m[2])}] = true
	}
	for _, from := range Statuses {
		for _, to := range Statuses {
			if legal := slices.Contains(transitions[from], to); legal != drawn[[2]Status{from, to}] {
				t.Errorf("%s --> %s: in the table %v, in docs/states.md %v", from, to, legal, !legal)
			}
		}
	}
}

func TestFinalStatuses(t *testing.T) {
	for s, want := range map[Status]bool{
		Queued: false, Ringing: false, InProgress: false,
		Completed: true, Busy: true, Failed: true, NoAnswer: true, Canceled: true,
	} {
		if s.Final() != want || s.Ended() != want {
			t.Errorf("%s: final %v, ended %v, want %v", s, s.Final(), s.Ended(), want)
		}
	}
	if Status("created").Ended() {
		t.Error("a word that is no status counts as ended")
	}
}

func TestStatusOfSIPCode(t *testing.T) {
	for want, codes := range map[Status][]int{
		Busy:     {486, 600},
		NoAnswer: {480, 487, 603, 408, 607, 608},
		Failed:   {400, 401, 403, 404, 407, 410, 415, 420, 481, 484, 488, 500, 503, 504, 580, 604, 606, 0},
	} {
		for _, code := range codes {
			if got := StatusOf(code); got != want {
				t.Errorf("%d is %s, want %s", code, got, want)
			}
		}
	}
}
