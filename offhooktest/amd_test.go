package offhooktest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/clock"
	"github.com/offhook/offhook/offhooktest"
)

// detected are the simulated numbers, and what is found out about each with which parameters.
var detected = []struct {
	name, number string
	params       []string
	answeredBy   string
	from, to     time.Duration // MachineDetectionDuration
}{
	{"a person", "+15005551001", []string{"MachineDetection", "Enable"}, "human", 1500 * time.Millisecond, 2500 * time.Millisecond},
	{"a person, to the end", "+15005551001", []string{"MachineDetection", "DetectMessageEnd"}, "human", 1500 * time.Millisecond, 2500 * time.Millisecond},
	{"a person whose pauses are long", "+15005551001", []string{"MachineDetection", "Enable", "MachineDetectionSpeechEndThreshold", "3000"}, "human", 3300 * time.Millisecond, 4300 * time.Millisecond},
	{"voicemail", "+15005551002", []string{"MachineDetection", "Enable"}, "machine_start", 2900 * time.Millisecond, 3500 * time.Millisecond},
	{"voicemail to the beep", "+15005551002", []string{"MachineDetection", "DetectMessageEnd"}, "machine_end_beep", 11 * time.Second, 13 * time.Second},
	{"voicemail without a beep", "+15005551003", []string{"MachineDetection", "Enable"}, "machine_start", 2900 * time.Millisecond, 3500 * time.Millisecond},
	{"voicemail to its silence", "+15005551003", []string{"MachineDetection", "DetectMessageEnd"}, "machine_end_silence", 12 * time.Second, 13200 * time.Millisecond},
	{"voicemail for too long", "+15005551003", []string{"MachineDetection", "DetectMessageEnd", "MachineDetectionTimeout", "6"}, "machine_end_other", 6 * time.Second, 6100 * time.Millisecond},
	{"fax", "+15005551004", []string{"MachineDetection", "Enable"}, "fax", 800 * time.Millisecond, 2 * time.Second},
	{"fax, to the end", "+15005551004", []string{"MachineDetection", "DetectMessageEnd"}, "fax", 800 * time.Millisecond, 2 * time.Second},
	{"a business", "+15005551006", []string{"MachineDetection", "Enable"}, "machine_start", 2800 * time.Millisecond, 3400 * time.Millisecond},
	{"a business that is heard out", "+15005551006", []string{"MachineDetection", "Enable", "MachineDetectionSpeechThreshold", "6000"}, "human", 5 * time.Second, 7500 * time.Millisecond},
	{"silence", "+15550100", []string{"MachineDetection", "Enable", "MachineDetectionSilenceTimeout", "2000"}, "unknown", 2 * time.Second, 2100 * time.Millisecond},
}

// attempts is how often a call is made until it is right: a machine that stands still for a fifth of a second takes a
// piece out of what the party says, and who hears the rest may rightly take it for another.
const attempts = 3

// eachNumber calls all simulated numbers at once. found makes a call and returns the request that told who answered.
func eachNumber(t *testing.T, found func(t *testing.T, number string, params []string, right func(offhooktest.Request) bool)) {
	for _, n := range detected {
		t.Run(n.name, func(t *testing.T) {
			t.Parallel()
			for i := 1; ; i++ {
				ok := false
				found(t, n.number, n.params, func(r offhooktest.Request) bool {
					ms, err := strconv.Atoi(r.Params.Get("MachineDetectionDuration"))
					after := time.Duration(ms) * time.Millisecond
					ok = err == nil && r.Params.Get("AnsweredBy") == n.answeredBy && after >= n.from && after <= n.to
					if !ok && i < attempts {
						t.Logf("%s after %v", r.Params.Get("AnsweredBy"), after)
					} else if !ok {
						t.Errorf("%s after %v, want %s after %v to %v", r.Params.Get("AnsweredBy"), after, n.answeredBy, n.from, n.to)
					}
					return ok
				})
				if ok || i == attempts {
					return
				}
			}
		})
	}
}

func TestWhoAnsweredIsKnownBeforeTheFirstInstruction(t *testing.T) {
	srv := offhooktest.Start(t, offhooktest.Simulated())
	eachNumber(t, func(t *testing.T, number string, params []string, right func(offhooktest.Request) bool) {
		app := srv.App(t)
		app.On("/voice", `<Response><Redirect>/next</Redirect></Response>`)
		app.On("/next", `<Response><Hangup/></Response>`)
		c := srv.Call(t, append([]string{
			"To", number, "From", own, "Url", app.URL("/voice"), "StatusCallback", app.URL("/status"),
			"StatusCallbackEvent", "answered", "StatusCallbackEvent", "completed",
		}, params...)...)
		events := c.Events()
		defer events.Close()
		app.Got("/status", "CallStatus", "in-progress")
		asked := app.Got("/voice", "CallStatus", "in-progress")
		by, after := asked.Params.Get("AnsweredBy"), asked.Params.Get("MachineDetectionDuration")
		if next := app.Got("/next"); next.Params.Has("AnsweredBy") || next.Params.Has("MachineDetectionDuration") {
			t.Errorf("asked a second time with %v", next.Params)
		}
		app.Got("/status", "CallStatus", "completed", "AnsweredBy", by)
		if done := c.Is("completed"); done["answered_by"] != by {
			t.Errorf("answered by %v, told %s", done["answered_by"], by)
		}
		if names := events.Names(); !slices.Equal(names, []string{"created", "queued", "ringing", "answered", "in-progress", "completed"}) {
			t.Errorf("events %v", names)
		}
		folded := by
		if strings.HasPrefix(by, "machine_") {
			folded = "machine"
		}
		if _, session := srv.Request("GET", "/v1/calls/"+c.SID, nil); session["answeredBy"] != folded {
			t.Errorf("as TwilioCall: %v, want %s", session["answeredBy"], folded)
		}
		_, why := srv.Request("GET", "/v1/calls/"+c.SID+"/detection", nil)
		trace, _ := why["trace"].(map[string]any)
		if why["answeredBy"] != by || why["rule"] == "" || trace["answered_by"] != by || fmt.Sprint(why["afterMs"]) != after {
			t.Errorf("kept: %v", why)
		}
		if !right(asked) {
			t.Log(why)
		}
	})
}

func TestWhoAnsweredIsKnownMeanwhile(t *testing.T) {
	srv := offhooktest.Start(t, offhooktest.Simulated())
	eachNumber(t, func(t *testing.T, number string, params []string, right func(offhooktest.Request) bool) {
		app := srv.App(t)
		app.On("/voice", `<Response><Pause length="100"/></Response>`)
		c := srv.Call(t, append([]string{
			"To", number, "From", own, "Url", app.URL("/voice"), "AsyncAmd", "true", "AsyncAmdStatusCallback", app.URL("/amd"),
			"StatusCallback", app.URL("/status"),
		}, params...)...)
		if asked := app.Got("/voice"); asked.Params.Has("AnsweredBy") {
			t.Errorf("asked with %v", asked.Params)
		}
		told := app.Got("/amd")
		by := told.Params.Get("AnsweredBy")
		want := url.Values{
			"CallSid": {c.SID}, "AccountSid": {srv.AccountSID}, "AnsweredBy": {by},
			"MachineDetectionDuration": {told.Params.Get("MachineDetectionDuration")},
		}
		if told.Method != "POST" || told.Params.Encode() != want.Encode() {
			t.Errorf("told by %s of %v, want %v", told.Method, told.Params, want)
		}
		if now := c.Fetch(); now["answered_by"] != by || now["status"] != "in-progress" {
			t.Errorf("%v, answered by %v", now["status"], now["answered_by"])
		}
		if code, answer := c.Update("Status", "completed"); code != 200 {
			t.Fatalf("%d %v", code, answer)
		}
		app.Got("/status", "CallStatus", "completed", "AnsweredBy", by)
		if told := app.Requests("/amd"); len(told) != 1 || len(app.Requests("/voice")) != 1 {
			t.Errorf("told %v", told)
		}
		if !right(told) {
			_, why := srv.Request("GET", "/v1/calls/"+c.SID+"/detection", nil)
			t.Log(why)
		}
	})
}

// Both parties of a bridge hear each other from the answer on, whoever it turns out to be.
func TestWhoAnsweredADialIsToldBeside(t *testing.T) {
	srv := offhooktest.Start(t)
	app := srv.App(t)
	app.On("/voice", `<Response><Dial action="/over"><Number machineDetection="DetectMessageEnd" amdStatusCallback="/amd">`+callee+`</Number></Dial></Response>`)
	app.On("/over", `<Response><Hangup/></Response>`)
	srv.Number(t, own, app.URL("/voice"))
	called := srv.Phone(t, callee)
	line := srv.Phone(t, "+15550142").Dial(own)
	far := called.Answers()
	line.Answered()
	line.Whistles(300*time.Millisecond, 440)
	far.HearsTone(440)
	if told := app.Requests("/amd"); len(told) != 0 {
		t.Errorf("told before it can be known: %v", told)
	}
	far.Whistles(2*time.Second, 2100)
	line.HearsTone(2100)
	told := app.Got("/amd", "AnsweredBy", "fax")
	if told.Method != "POST" || len(told.Params) != 4 || told.Params.Get("AccountSid") != srv.AccountSID {
		t.Errorf("told by %s of %v", told.Method, told.Params)
	}
	child := srv.Find(t, told.Params.Get("CallSid"))
	if now := child.Fetch(); now["answered_by"] != "fax" || now["direction"] != "outbound-dial" {
		t.Errorf("%v answered by %v", now["direction"], now["answered_by"])
	}
	line.Hangup()
	over := app.Got("/over", "DialCallStatus", "completed")
	if parent := srv.Find(t, over.Params.Get("CallSid")).Is("completed"); parent["answered_by"] != nil {
		t.Errorf("the caller is %v", parent["answered_by"])
	}
}

func TestACallThatEndsBeforeItIsKnownWhoAnswered(t *testing.T) {
	srv := offhooktest.Start(t)
	for _, async := range []string{"false", "true"} {
		app := srv.App(t)
		app.On("/voice", `<Response><Pause length="100"/></Response>`)
		ph := srv.Phone(t, callee)
		c := srv.Call(t, "To", callee, "From", own, "Url", app.URL("/voice"), "MachineDetection", "Enable",
			"AsyncAmd", async, "AsyncAmdStatusCallback", app.URL("/amd"), "StatusCallback", app.URL("/status"))
		events := c.Events()
		defer events.Close()
		line := ph.Answers()
		c.Is("in-progress")
		line.Hangup()
		if told := app.Got("/status", "CallStatus", "completed"); told.Params.Has("AnsweredBy") {
			t.Errorf("told %v", told.Params)
		}
		if done := c.Is("completed"); done["answered_by"] != nil {
			t.Errorf("answered by %v", done["answered_by"])
		}
		want := []string{"created", "queued", "ringing", "answered", "completed"}
		if async == "true" {
			want = []string{"created", "queued", "ringing", "answered", "in-progress", "completed"}
		} else if asked := app.Requests("/voice"); len(asked) != 0 {
			t.Errorf("asked %v", asked)
		}
		if names := events.Names(); !slices.Equal(names, want) {
			t.Errorf("async %s: events %v, want %v", async, names, want)
		}
		if told := app.Requests("/amd"); len(told) != 0 {
			t.Errorf("told %v", told)
		}
		if code, _ := srv.Request("GET", "/v1/calls/"+c.SID+"/detection", nil); code != 404 {
			t.Errorf("something was found out: %d", code)
		}
	}
}

func TestALiveCallIsTakenAwayFromDetection(t *testing.T) {
	srv := offhooktest.Start(t)
	app := srv.App(t)
	app.On("/voice", `<Response><Say>First</Say></Response>`)
	app.On("/other", `<Response><Say loop="0">Other</Say></Response>`)
	ph := srv.Phone(t, callee)
	c := srv.Call(t, "To", callee, "From", own, "Url", app.URL("/voice"), "MachineDetection", "Enable", "StatusCallback", app.URL("/status"))
	line := ph.Answers()
	c.Is("in-progress")
	if code, answer := c.Update("Url", app.URL("/other")); code != 200 {
		t.Fatalf("%d %v", code, answer)
	}
	if asked := app.Got("/other"); asked.Params.Has("AnsweredBy") {
		t.Errorf("asked with %v", asked.Params)
	}
	line.Hears("Other")
	line.Whistles(2*time.Second, 2100)
	line.Hangup()
	app.Got("/status", "CallStatus", "completed", "AnsweredBy", "fax")
	if asked := app.Requests("/voice"); len(asked) != 0 {
		t.Errorf("asked for what it was to do before: %v", asked)
	}

	again := srv.Call(t, "To", callee, "From", own, "Url", app.URL("/voice"), "MachineDetection", "Enable")
	line = ph.Answers()
	again.Is("in-progress")
	if code, answer := again.Update("Status", "completed"); code != 200 {
		t.Fatalf("%d %v", code, answer)
	}
	line.HungUp()
	again.Is("completed")
}

func TestDetectionWithDigitsAndWithoutACallback(t *testing.T) {
	srv := offhooktest.Start(t)
	app := srv.App(t)
	app.On("/voice", `<Response><Say loop="0">Here</Say></Response>`)
	ph := srv.Phone(t, callee)
	c := srv.Call(t, "To", callee, "From", own, "Url", app.URL("/voice"), "MachineDetection", "Enable", "SendDigits", "12")
	line := ph.Answers()
	line.GotDigits("12")
	line.Hears("Here")
	if asked := app.Got("/voice"); asked.Params.Has("AnsweredBy") {
		t.Errorf("asked with %v", asked.Params)
	}
	line.Hangup()
	if done := c.Is("completed"); done["answered_by"] != nil {
		t.Errorf("answered by %v", done["answered_by"])
	}

	c = srv.Call(t, "To", callee, "From", own, "Url", app.URL("/voice"), "MachineDetection", "Enable", "AsyncAmd", "true")
	if n := c.Notified(21262); n["log"] != "1" {
		t.Errorf("notification %v, want a warning", n)
	}
	line = ph.Answers()
	line.Hears("Here")
	line.Whistles(2*time.Second, 2100)
	line.Hangup()
	if done := c.Is("completed"); done["answered_by"] != "fax" {
		t.Errorf("answered by %v", done["answered_by"])
	}
}

// A second server that takes over from one that was stopped in the middle tells nobody who answered.
func TestARestartDuringDetection(t *testing.T) {
	dir := t.TempDir()
	first := offhooktest.Start(t, offhooktest.Data(dir))
	app := first.App(t)
	ph := first.Phone(t, callee)
	c := first.Call(t, "To", callee, "From", own, "Url", app.URL("/voice"), "MachineDetection", "Enable", "StatusCallback", app.URL("/status"))
	line := ph.Answers()
	c.Is("in-progress")
	first.Stop()
	line.HungUp()
	second := offhooktest.Start(t, offhooktest.Data(dir), offhooktest.Phones(first))
	if done := second.Find(t, c.SID).Is("completed"); done["answered_by"] != nil {
		t.Errorf("answered by %v", done["answered_by"])
	}
	if told := app.Got("/status", "CallStatus", "completed"); told.Params.Has("AnsweredBy") {
		t.Errorf("told %v", told.Params)
	}
	if asked := app.Requests("/voice"); len(asked) != 0 {
		t.Errorf("asked %v", asked)
	}
}

func TestTheFirstSecondsAreKeptOnRequest(t *testing.T) {
	dir := t.TempDir()
	srv := offhooktest.Start(t, offhooktest.Data(dir), offhooktest.AMDKeep(1))
	app := srv.App(t)
	app.On("/voice", `<Response><Pause length="100"/></Response>`)
	ph := srv.Phone(t, callee)
	var last string
	for range 2 {
		c := srv.Call(t, "To", callee, "From", own, "Url", app.URL("/voice"), "MachineDetection", "Enable")
		line := ph.Answers()
		c.Is("in-progress")
		line.Whistles(2*time.Second, 2100)
		app.Got("/voice", "AnsweredBy", "fax")
		line.Hangup()
		c.Is("completed")
		last = filepath.Join(dir, "amd", c.SID)
		ctx, cancel := context.WithTimeout(t.Context(), offhooktest.Patience)
		for { // it is written behind the end of the call
			if files, err := filepath.Glob(filepath.Join(dir, "amd", "*")); err == nil && len(files) == 2 && exists(last+".wav") {
				break
			}
			if clock.Sleep(ctx, clock.System, 20*time.Millisecond) != nil {
				t.Fatal("nothing is kept of the newest call alone")
			}
		}
		cancel()
	}
	b, err := os.ReadFile(last + ".json")
	var about struct {
		AnsweredBy string `json:"answered_by"`
		Trace      map[string]any
	}
	if err != nil || json.Unmarshal(b, &about) != nil || about.AnsweredBy != "fax" || len(about.Trace) == 0 {
		t.Errorf("%v %s", err, b)
	}
	if info, err := os.Stat(last + ".wav"); err != nil || info.Size() < 8_000 || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}
