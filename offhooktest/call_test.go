package offhooktest_test

import (
	"net/http"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/offhook/offhook/offhooktest"
)

const (
	callee = "+15550100"
	caller = "+15550006" + "1"
)

// allEvents asks for every status callback at the application's /status.
func allEvents(app *offhooktest.App) []string {
	return []string{"StatusCallback", app.URL("/status"),
		"StatusCallbackEvent", "initiated", "StatusCallbackEvent", "ringing",
		"StatusCallbackEvent", "answered", "StatusCallbackEvent", "completed"}
}

func TestAFirstCall(t *testing.T) {
	srv := offhooktest.Start(t)
	app := srv.App(t)
	app.On("/voice", `<Response><Say>Hello</Say><Gather numDigits="1" action="/menu"><Say>Press one</Say></Gather></Response>`)
	app.On("/menu", `<Response><Say>Sales</Say></Response>`)
	ph := srv.Phone(t, callee)

	c := srv.Call(t, append(allEvents(app), "To", callee, "From", caller, "Url", app.URL("/voice"))...)
	line := ph.Answers()
	line.Hears("Hello")
	line.Hears("Press one")
	line.Press("1")
	got := app.Got("/menu", "Digits", "1", "CallStatus", "in-progress", "FinishedOnKey", "")
	line.Hears("Sales")
	line.HungUp()

	if got.Params.Get("CallSid") != c.SID || got.Params.Get("AccountSid") != srv.AccountSID ||
		got.Params.Get("Direction") != "outbound-api" || got.Params.Get("ApiVersion") != "2010-04-01" ||
		got.Params.Get("To") != callee || got.Params.Get("Called") != callee || got.Params.Get("From") != caller {
		t.Errorf("action request lacks what every request has: %v", got.Params)
	}
	for i, status := range []string{"initiated", "ringing", "in-progress", "completed"} {
		cb := app.Got("/status", "SequenceNumber", strconv.Itoa(i))
		if cb.Params.Get("CallStatus") != status || cb.Params.Get("CallbackSource") != "call-progress-events" {
			t.Errorf("callback %d: %v, want %s", i, cb.Params, status)
		}
		if cb.Header.Get("I-Twilio-Idempotency-Token") == "" {
			t.Errorf("callback %d has no idempotency token", i)
		}
		if _, err := time.Parse(time.RFC1123Z, cb.Params.Get("Timestamp")); err != nil {
			t.Errorf("callback %d: %v", i, err)
		}
		if status == "completed" && (cb.Params.Get("SipResponseCode") != "200" || cb.Params.Get("Duration") != "1" || cb.Params.Get("CallDuration") == "") {
			t.Errorf("completed callback: %v", cb.Params)
		}
	}
	resource := c.Is("completed")
	if resource["duration"] == nil || resource["start_time"] == nil || resource["end_time"] == nil {
		t.Errorf("ended call: %v", resource)
	}
	want := []string{"created", "queued", "ringing", "answered", "in-progress", "completed"}
	if diff := cmp.Diff(want, c.Events().Names()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func TestInlineTwimlToASIPURI(t *testing.T) {
	srv := offhooktest.Start(t)
	ph := srv.Phone(t, callee)
	c := srv.Call(t, "To", ph.URI(), "From", caller, "Twiml", "<Response><Say>Good morning</Say></Response>")
	line := ph.OwnIncoming()
	line.Ring()
	line.Answer()
	line.Hears("Good morning")
	line.HungUp()
	c.Is("completed")
}

func TestHowCallsThatAreNotAnsweredEnd(t *testing.T) {
	srv := offhooktest.Start(t)
	app := srv.App(t)
	for code, status := range map[int]string{
		486: "busy", 600: "busy", 603: "no-answer", 480: "no-answer", 408: "no-answer",
		404: "failed", 503: "failed", 500: "failed", 488: "failed",
	} {
		t.Run(strconv.Itoa(code), func(t *testing.T) {
			number := "+1555010" + strconv.Itoa(1000 + code)[1:]
			ph := srv.Phone(t, number)
			c := srv.Call(t, append(allEvents(app), "To", number, "From", caller, "Url", app.URL("/never"))...)
			line := ph.Incoming()
			if err := line.Reject(code); err != nil {
				t.Fatal(err)
			}
			got := c.Is(status)
			if got["duration"] != "0" || got["end_time"] == nil {
				t.Errorf("resource: %v", got)
			}
			cb := app.Got("/status", "CallSid", c.SID, "CallStatus", status)
			if cb.Params.Get("SipResponseCode") != strconv.Itoa(code) || cb.Params.Get("CallDuration") != "0" ||
				cb.Params.Get("Duration") != "0" || cb.Params.Get("SequenceNumber") != "1" {
				t.Errorf("callback: %v", cb.Params)
			}
		})
	}
	if n := len(app.Requests("/never")); n != 0 {
		t.Errorf("TwiML was asked for %d times though nobody answered", n)
	}
}

func TestNobodyAnswersInTime(t *testing.T) {
	srv := offhooktest.Start(t)
	app := srv.App(t)
	ph := srv.Phone(t, callee)
	c := srv.Call(t, append(allEvents(app), "To", callee, "From", caller, "Url", app.URL("/never"), "Timeout", "1")...)
	line := ph.Incoming()
	line.Ring()
	if end := line.HungUp(); end.Code != 487 {
		t.Errorf("the phone saw %v, want CANCEL and 487", end)
	}
	c.Is("no-answer")
	app.Got("/status", "CallStatus", "no-answer", "SipResponseCode", "487", "SequenceNumber", "2")
}

func TestCancelWhileRinging(t *testing.T) {
	srv := offhooktest.Start(t)
	app := srv.App(t)
	ph := srv.Phone(t, callee)
	c := srv.Call(t, append(allEvents(app), "To", callee, "From", caller, "Url", app.URL("/never"))...)
	line := ph.Incoming()
	line.Ring()
	c.Is("ringing")
	if code, answer := c.Update("Status", "canceled"); code != http.StatusOK || answer["status"] != "canceled" {
		t.Errorf("cancel: %d %v", code, answer)
	}
	line.HungUp()
	app.Got("/status", "CallStatus", "canceled", "SequenceNumber", "2")
	if code, answer := c.Update("Status", "completed"); code != http.StatusBadRequest || answer["code"] != 21220.0 {
		t.Errorf("hang up of a canceled call: %d %v, want 400 21220", code, answer)
	}
}

func TestCancelWhileQueued(t *testing.T) {
	srv := offhooktest.Start(t, offhooktest.SimulatorLimits(0, 1))
	app := srv.App(t)
	ph := srv.Phone(t, callee)
	first := srv.Call(t, "To", callee, "From", caller, "Twiml", `<Response><Pause length="60"/></Response>`)
	line := ph.Answers()
	second := srv.Call(t, append(allEvents(app), "To", callee, "From", caller, "Url", app.URL("/never"))...)
	third := srv.Call(t, "To", callee, "From", caller, "Twiml", `<Response><Say>Third</Say></Response>`)
	if got := second.Fetch(); got["status"] != "queued" || got["start_time"] != nil {
		t.Fatalf("the second call is %v before there is a place for it", got["status"])
	}
	second.Update("Status", "canceled")
	second.Is("canceled")
	if diff := cmp.Diff([]string{"created", "queued", "canceled"}, second.Events().Names()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	line.Hangup()
	first.Is("completed")
	line = ph.Answers() // the third: the second was taken out of the queue
	line.Hears("Third")
	line.HungUp()
	got := third.Is("completed")
	if wait, err := strconv.Atoi(got["queue_time"].(string)); err != nil || wait <= 0 {
		t.Errorf("queue_time %v, want the wait in ms", got["queue_time"])
	}
	if requests := app.Requests(""); len(requests) != 0 {
		t.Errorf("a call canceled in the queue made requests: %v", requests)
	}
}

// took checks the duration of an ended call: it is that of the shown times, which are whole seconds, so
// one more than what passed when a second turned.
func took(t *testing.T, resource map[string]any, seconds int) {
	t.Helper()
	if d := resource["duration"]; d != strconv.Itoa(seconds) && d != strconv.Itoa(seconds+1) {
		t.Errorf("duration %v, want %d s", d, seconds)
	}
}

func TestHangupByEitherSide(t *testing.T) {
	srv := offhooktest.Start(t)
	app := srv.App(t)
	app.On("/voice", `<Response><Say loop="0">Still here</Say></Response>`)
	ph := srv.Phone(t, callee)
	for who, hangup := range map[string]func(*offhooktest.Call, *offhooktest.Line){
		"by the API": func(c *offhooktest.Call, _ *offhooktest.Line) {
			if code, answer := c.Update("Status", "completed"); code != http.StatusOK || answer["status"] != "completed" {
				t.Errorf("hang up: %d %v", code, answer)
			}
		},
		"by the phone": func(_ *offhooktest.Call, l *offhooktest.Line) { l.Hangup() },
	} {
		t.Run(who, func(t *testing.T) {
			c := srv.Call(t, append(allEvents(app), "To", callee, "From", caller, "Url", app.URL("/voice"))...)
			line := ph.Answers()
			line.Hears("Still here")
			line.Hears("Still here")
			if code, answer := c.Update("Status", "canceled"); code != http.StatusOK || answer["status"] != "in-progress" {
				t.Errorf("canceled has an effect on an answered call: %d %v", code, answer)
			}
			hangup(c, line)
			line.HungUp()
			got := c.Is("completed")
			cb := app.Got("/status", "CallSid", c.SID, "CallStatus", "completed")
			if cb.Params.Get("CallDuration") != got["duration"] {
				t.Errorf("callback says %s s, the resource %v s", cb.Params.Get("CallDuration"), got["duration"])
			}
			start, _ := time.Parse(time.RFC1123Z, got["start_time"].(string))
			end, _ := time.Parse(time.RFC1123Z, got["end_time"].(string))
			if seconds, _ := strconv.Atoi(got["duration"].(string)); seconds != int(end.Sub(start).Seconds()) {
				t.Errorf("duration %d s, from %s to %s", seconds, got["start_time"], got["end_time"])
			}
		})
	}
}

func TestDeleteACall(t *testing.T) {
	srv := offhooktest.Start(t)
	ph := srv.Phone(t, callee)
	c := srv.Call(t, "To", callee, "From", caller, "Twiml", `<Response><Pause length="60"/></Response>`)
	line := ph.Answers()
	if code, answer := srv.Request("DELETE", "/Calls/"+c.SID+".json", nil); code != http.StatusConflict || answer["code"] != 20009.0 {
		t.Errorf("delete of a live call: %d %v, want 409 20009", code, answer)
	}
	line.Hangup()
	c.Is("completed")
	if code, _ := srv.Request("DELETE", "/Calls/"+c.SID+".json", nil); code != http.StatusNoContent {
		t.Errorf("delete: %d, want 204", code)
	}
	if code, answer := srv.Request("GET", "/Calls/"+c.SID+".json", nil); code != http.StatusNotFound || answer["code"] != 20404.0 {
		t.Errorf("fetch of a deleted call: %d %v", code, answer)
	}
}

func TestSendDigitsAndTimeLimit(t *testing.T) {
	srv := offhooktest.Start(t)
	ph := srv.Phone(t, callee)
	c := srv.Call(t, "To", callee, "From", caller, "SendDigits", "12w#", "TimeLimit", "2",
		"Twiml", `<Response><Say>Connected</Say><Play digits="42"/><Pause length="60"/></Response>`)
	line := ph.Answers()
	line.GotDigits("12#")
	line.Hears("Connected")
	line.GotDigits("42")
	line.HungUp()
	took(t, c.Is("completed"), 2)
}

func TestListNewestFirst(t *testing.T) {
	srv := offhooktest.Start(t, offhooktest.SimulatorLimits(0, 1))
	ph := srv.Phone(t, callee)
	srv.Call(t, "To", callee, "From", caller, "Twiml", `<Response><Pause length="60"/></Response>`)
	ph.Answers()
	var sids []string
	for range 5 {
		sids = append(sids, srv.Call(t, "To", callee, "From", caller, "Twiml", "<Response/>").SID)
	}
	slices.Reverse(sids)
	var got []string
	path, pages := "/2010-04-01/Accounts/"+srv.AccountSID+"/Calls.json?Status=queued&PageSize=2", 0
	for path != "" {
		code, page := srv.Request("GET", path, nil)
		if code != http.StatusOK {
			t.Fatalf("list: %d %v", code, page)
		}
		for _, c := range page["calls"].([]any) {
			got = append(got, c.(map[string]any)["sid"].(string))
		}
		path, _ = page["next_page_uri"].(string)
		pages++
	}
	if diff := cmp.Diff(sids, got); diff != "" || pages != 3 {
		t.Errorf("%d pages, calls (-want +got):\n%s", pages, diff)
	}
}
