package conformance

import (
	"strings"
	"testing"

	api "github.com/twilio/twilio-go/rest/api/v2010"
)

// simulated are the simulated numbers, and who answers there.
var simulated = []struct{ answeredBy, number, mode string }{
	{"human", "+15005551001", "Enable"},
	{"machine_start", "+15005551002", "Enable"},
	{"machine_end_beep", "+15005551002", "DetectMessageEnd"},
	{"machine_end_silence", "+15005551003", "DetectMessageEnd"},
	{"fax", "+15005551004", "Enable"},
}

// attempts is how often a number is called until it is right: a machine that stands still for a moment takes a piece
// out of what is said.
const attempts = 3

func TestWhoAnsweredIsKnownBeforeTheFirstInstruction(t *testing.T) {
	s := start(t)
	for _, n := range simulated {
		t.Run(n.answeredBy, func(t *testing.T) {
			t.Parallel()
			app := newApp(t, map[string]string{"/voice": `<Response><Hangup/></Response>`})
			for i := 1; ; i++ {
				p := &api.CreateCallParams{}
				p.SetTo(n.number)
				p.SetFrom(from)
				p.SetUrl(app.URL + "/voice")
				p.SetStatusCallback(app.URL + "/status")
				p.SetMachineDetection(n.mode)
				c, err := s.sdk.CreateCall(p)
				if err != nil {
					t.Fatal(err)
				}
				asked, told := app.waitFor("/voice", i)[i-1], app.waitFor("/status", i)[i-1]
				by := asked.Get("AnsweredBy")
				if asked.Get("CallSid") != *c.Sid || asked.Get("MachineDetectionDuration") == "" || told.Get("AnsweredBy") != by {
					t.Errorf("asked with %v, told %v", asked, told)
				}
				if done := s.waitStatus(t, *c.Sid, "completed"); done.AnsweredBy == nil || *done.AnsweredBy != by {
					t.Errorf("answered by %v, told %s", done.AnsweredBy, by)
				}
				if by == n.answeredBy {
					return
				} else if i == attempts {
					t.Fatalf("answered by %s, want %s", by, n.answeredBy)
				}
			}
		})
	}
}

func TestWhoAnsweredIsToldMeanwhile(t *testing.T) {
	s := start(t)
	for _, n := range simulated {
		t.Run(n.answeredBy, func(t *testing.T) {
			t.Parallel()
			app := newApp(t, map[string]string{"/voice": `<Response><Pause length="100"/></Response>`})
			for i := 1; ; i++ {
				p := &api.CreateCallParams{}
				p.SetTo(n.number)
				p.SetFrom(from)
				p.SetUrl(app.URL + "/voice")
				p.SetMachineDetection(n.mode)
				p.SetAsyncAmd("true")
				p.SetAsyncAmdStatusCallback(app.URL + "/amd")
				p.SetAsyncAmdStatusCallbackMethod("POST")
				c, err := s.sdk.CreateCall(p)
				if err != nil {
					t.Fatal(err)
				}
				if asked := app.waitFor("/voice", i)[i-1]; asked.Has("AnsweredBy") {
					t.Errorf("asked with %v", asked)
				}
				told := app.waitFor("/amd", i)[i-1]
				by := told.Get("AnsweredBy")
				if len(told) != 4 || told.Get("CallSid") != *c.Sid || told.Get("AccountSid") != accountSID || told.Get("MachineDetectionDuration") == "" {
					t.Errorf("told %v", told)
				}
				if now, err := s.sdk.FetchCall(*c.Sid, nil); err != nil || now.AnsweredBy == nil || *now.AnsweredBy != by {
					t.Errorf("fetched %+v, %v; told %s", now, err, by)
				}
				hangup := &api.UpdateCallParams{}
				hangup.SetStatus("completed")
				if _, err := s.sdk.UpdateCall(*c.Sid, hangup); err != nil {
					t.Error(err)
				}
				if by == n.answeredBy {
					return
				} else if i == attempts {
					t.Fatalf("answered by %s, want %s", by, n.answeredBy)
				}
			}
		})
	}
}

func TestDetectionOutOfItsBounds(t *testing.T) {
	s := start(t)
	for name, edit := range map[string]func(*api.CreateCallParams){
		"MachineDetection":                   func(p *api.CreateCallParams) { p.SetMachineDetection("Perhaps") },
		"MachineDetectionTimeout":            func(p *api.CreateCallParams) { p.SetMachineDetectionTimeout(60) },
		"MachineDetectionSpeechThreshold":    func(p *api.CreateCallParams) { p.SetMachineDetectionSpeechThreshold(999) },
		"MachineDetectionSpeechEndThreshold": func(p *api.CreateCallParams) { p.SetMachineDetectionSpeechEndThreshold(5001) },
		"MachineDetectionSilenceTimeout":     func(p *api.CreateCallParams) { p.SetMachineDetectionSilenceTimeout(1999) },
	} {
		p := &api.CreateCallParams{}
		p.SetTo("+15005551001")
		p.SetFrom(from)
		p.SetTwiml("<Response/>")
		p.SetMachineDetection("Enable")
		edit(p)
		err := error(nil)
		wantCode(t, func() error { _, err = s.sdk.CreateCall(p); return err }, 21234)
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
