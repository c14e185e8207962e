package offhooktest_test

import (
	"net/http"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/offhook/offhook/internal/clock"
	"github.com/offhook/offhook/offhooktest"
)

// However a cancel and an answer cross, both sides are told the same.
func TestACancelThatMeetsAnAnswer(t *testing.T) {
	srv := offhooktest.Start(t)
	app := srv.App(t)
	app.On("/voice", `<Response><Pause length="600"/></Response>`)
	ph := srv.Phone(t, callee)
	for i := range 20 {
		c := srv.Call(t, append(allEvents(app), "To", callee, "From", caller, "Url", app.URL("/voice"))...)
		line := ph.Incoming()
		_ = line.Ring()
		c.Is("ringing")
		var both sync.WaitGroup
		both.Go(func() {
			_ = clock.Sleep(t.Context(), clock.System, time.Duration(i%10)*300*time.Microsecond)
			_ = line.Answer() // the CANCEL may have been first
		})
		both.Go(func() { c.Update("Status", "canceled") })
		both.Wait()
		got := c.Fetch()["status"]
		if got == "in-progress" { // the answer was first, so that the cancel had no effect
			c.Update("Status", "completed")
			got = "completed"
		}
		line.HungUp()
		c.Is(got.(string))
		app.Got("/status", "CallSid", c.SID, "CallStatus", got.(string))
		finals := 0
		for _, r := range app.Requests("/status") {
			if r.Params.Get("CallSid") == c.SID && r.Params.Has("CallDuration") {
				finals++
			}
		}
		if finals != 1 {
			t.Errorf("%d final callbacks", finals)
		}
	}
}

func TestHangupDuringASlowFetch(t *testing.T) {
	gone := make(chan struct{})
	app, c, line := inCall(t, "",
		at("/voice", func(_ http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			close(gone)
		}))
	app.Got("/voice")
	began := clock.System.Now()
	if code, answer := c.Update("Status", "completed"); code != http.StatusOK || answer["status"] != "completed" {
		t.Errorf("hang up: %d %v", code, answer)
	}
	line.HungUp()
	<-gone // the request is given up
	if d := clock.System.Now().Sub(began); d > 5*time.Second {
		t.Errorf("hanging up took %v", d)
	}
}

func TestRedirectOfACallThatStillRings(t *testing.T) {
	srv, app, line := incoming(t, `<Response><Pause length="60"/></Response>`)
	app.On("/busy", `<Response><Reject reason="busy"/></Response>`)
	c := srv.Find(t, app.Got("/voice").Params.Get("CallSid"))
	line.Rings()
	if code, answer := c.Update("Url", app.URL("/busy")); code != http.StatusOK || answer["status"] != "ringing" {
		t.Errorf("redirect: %d %v", code, answer)
	}
	if end := line.HungUp(); end.Code != 486 {
		t.Errorf("the caller got %v, want 486", end)
	}
	app.Got("/status", "CallStatus", "busy", "SipResponseCode", "486")
}

func TestCancelOfAnInboundCallThatRings(t *testing.T) {
	for _, status := range []string{"canceled", "completed"} {
		srv, app, line := incoming(t, `<Response><Pause length="60"/></Response>`)
		c := srv.Find(t, app.Got("/voice").Params.Get("CallSid"))
		line.Rings()
		if code, answer := c.Update("Status", status); code != http.StatusOK || answer["status"] != "canceled" {
			t.Errorf("%s: %d %v", status, code, answer)
		}
		if end := line.HungUp(); end.Code < 400 {
			t.Errorf("the caller got %v, want a refusal", end)
		}
		app.Got("/status", "CallStatus", "canceled")
	}
}

func TestAStormOfRedirects(t *testing.T) {
	app, c, line := inCall(t, `<Response><Say loop="0">First</Say></Response>`,
		at("/next", `<Response><Say loop="0">Next</Say></Response>`))
	line.Hears("First")
	began := clock.System.Now()
	for range 50 {
		if code, answer := c.Update("Url", app.URL("/next")); code != http.StatusOK {
			t.Fatalf("redirect: %d %v", code, answer["message"])
		}
	}
	if d := clock.System.Now().Sub(began); d > 5*time.Second {
		t.Errorf("50 redirects took %v", d)
	}
	line.Hears("Next")
	c.Update("Twiml", "<Response><Say>Last</Say></Response>")
	line.Hears("Last")
	line.HungUp()
	c.Is("completed")
}

// An update that comes when the call ends is either done or refused, and the call stays ended.
func TestAnUpdateThatMeetsTheEnd(t *testing.T) {
	srv := offhooktest.Start(t)
	ph := srv.Phone(t, callee)
	for range 10 {
		c := srv.Call(t, "To", callee, "From", caller, "Twiml", `<Response><Pause length="60"/></Response>`)
		line := ph.Answers()
		c.Is("in-progress")
		var both sync.WaitGroup
		both.Go(line.Hangup)
		both.Go(func() {
			if code, answer := c.Update("Twiml", "<Response><Pause/></Response>"); code != http.StatusOK && (code != http.StatusBadRequest || answer["code"] != 21220.0) {
				t.Errorf("redirect: %d %v", code, answer)
			}
		})
		both.Wait()
		c.Is("completed")
		if code, answer := c.Update("Status", "completed"); code != http.StatusBadRequest || answer["code"] != 21220.0 {
			t.Errorf("hang up of an ended call: %d %v", code, answer)
		}
	}
}

func TestTheOrderOfInitiatedAndTheInvite(t *testing.T) {
	srv := offhooktest.Start(t)
	app := srv.App(t)
	ph := srv.Phone(t, callee)
	c := srv.Call(t, append(allEvents(app), "To", callee, "From", caller, "Twiml", "<Response/>")...)
	line := ph.Incoming() // the phone has the INVITE and does not ring yet
	app.Got("/status", "CallStatus", "initiated", "SequenceNumber", "0")
	if got := c.Fetch()["status"]; got != "queued" {
		t.Errorf("status %v before 180, want queued", got)
	}
	_ = line.Ring()
	app.Got("/status", "CallStatus", "ringing", "SequenceNumber", "1")
	c.Is("ringing")
	line.Hangup()
}

// A first call on the other database.
func TestAFirstCallOnPostgreSQL(t *testing.T) {
	dsn := os.Getenv("OFFHOOK_TEST_POSTGRES")
	switch {
	case dsn == "" && os.Getenv("CI") == "true":
		t.Fatal("OFFHOOK_TEST_POSTGRES is not set: run the tests by scripts/with-postgres")
	case dsn == "":
		t.Skip("NOT TESTED: PostgreSQL; run scripts/with-postgres go test ./offhooktest")
	}
	srv := offhooktest.Start(t, offhooktest.Database(dsn))
	app := srv.App(t)
	app.On("/voice", `<Response><Gather numDigits="1" action="/menu"><Say>Press one</Say></Gather></Response>`)
	app.On("/menu", `<Response><Say>Sales</Say></Response>`)
	ph := srv.Phone(t, callee)
	c := srv.Call(t, append(allEvents(app), "To", callee, "From", caller, "Url", app.URL("/voice"))...)
	line := ph.Answers()
	line.Hears("Press one")
	line.Press("1")
	line.Hears("Sales")
	line.HungUp()
	for i, status := range []string{"initiated", "ringing", "in-progress", "completed"} {
		app.Got("/status", "CallSid", c.SID, "CallStatus", status, "SequenceNumber", strconv.Itoa(i))
	}
	c.Is("completed")
	want := []string{"created", "queued", "ringing", "answered", "in-progress", "completed"}
	if diff := cmp.Diff(want, c.Events().Names()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}
