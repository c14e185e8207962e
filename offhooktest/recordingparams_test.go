package offhooktest_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/offhook/offhook/offhooktest"
)

// What the attributes of <Dial> and <Start><Recording> say is what is recorded, and how it is told: the caller says
// 900 Hz, the called party 1500 Hz.
func TestWhatIsAskedOfARecordingInTwiML(t *testing.T) {
	const (
		asked = ` recordingStatusCallback="/rec" recordingStatusCallbackMethod="GET" recordingStatusCallbackEvent="in-progress completed"`
		dial  = `<Dial record="record-from-answer-dual" recordingTrack="`
		begin = `<Start><Recording channels="dual" track="`
		whom  = `>+15550122</Dial>`
	)
	for name, tc := range map[string]struct {
		verbs         string
		source, track string
		channels      string
		caller, other bool // are heard
		trimmed       bool
	}{
		"Dial, the caller":                {dial + `inbound" trim="trim-silence"` + asked + whom, "DialVerb", "inbound", "1", true, false, true},
		"Dial, the called party":          {dial + `outbound"` + asked + whom, "DialVerb", "outbound", "1", false, true, false},
		"Dial, both":                      {dial + `both" trim="do-not-trim"` + asked + whom, "DialVerb", "both", "2", true, true, false},
		"Dial, true":                      {`<Dial record="true"` + asked + whom, "DialVerb", "both", "1", true, true, false},
		"Start, what the caller says":     {begin + `inbound"` + asked + `/></Start><Dial` + whom, "StartCallRecordingTwiML", "inbound", "1", true, false, true},
		"Start, what he hears, untrimmed": {begin + `outbound" trim="do-not-trim"` + asked + `/></Start><Dial` + whom, "StartCallRecordingTwiML", "outbound", "1", false, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := offhooktest.Start(t)
			app := srv.App(t)
			app.On("/voice", `<Response>`+tc.verbs+`</Response>`)
			srv.Number(t, own, app.URL("/voice"))
			called := srv.Phone(t, "+15550122")
			line := srv.Phone(t, callee).Dial(own)
			other := called.Answers()
			line.Answered()
			began := app.Got("/rec", "RecordingStatus", "in-progress", "RecordingSource", tc.source, "RecordingTrack", tc.track, "RecordingChannels", tc.channels)
			if began.Method != http.MethodGet {
				t.Errorf("the callback is a %s", began.Method)
			}
			rest(t, other, 500*time.Millisecond)
			line.Whistles(time.Second, 900)
			rest(t, line, 100*time.Millisecond)
			other.Whistles(time.Second, 1500)
			rest(t, other, 500*time.Millisecond)
			line.Hangup()
			_, s := kept(t, srv, app, "RecordingSid", began.Params.Get("RecordingSid"))
			last := len(s) - 1
			for hz, heard := range map[float64]bool{900: tc.caller, 1500: tc.other} {
				channel := 0
				if hz == 1500 {
					channel = last
				}
				if heard {
					s.has(t, channel, hz, time.Second)
				} else {
					s.lacks(t, channel, hz)
				}
			}
			if from, _, _ := s.tone(0, 900); tc.trimmed != (from >= 0 && from <= exact) {
				t.Errorf("the first tone begins at %v, trimmed: %v", from, tc.trimmed)
			}
			for _, p := range []string{"From", "To", "CallStatus"} {
				if began.Params.Has(p) {
					t.Errorf("the callback has %s", p)
				}
			}
		})
	}
}

// Without an attribute, and with one that says so, nothing is recorded; by default only the end is told, by POST.
func TestNothingIsRecordedUnasked(t *testing.T) {
	t.Parallel()
	srv := offhooktest.Start(t)
	app := srv.App(t)
	srv.Number(t, own, app.URL("/voice"))
	called := srv.Phone(t, "+15550122")
	for _, record := range []string{"", ` record="false"`, ` record="do-not-record"`} {
		app.On("/voice", `<Response><Dial`+record+` recordingStatusCallback="/rec" action="/done">+15550122</Dial></Response>`)
		line := srv.Phone(t, callee).Dial(own)
		called.Answers().Hangup()
		if done := app.Got("/done"); done.Params.Has("RecordingUrl") {
			t.Errorf("%s: the action is told of a recording: %v", record, done.Params)
		}
		line.HungUp()
	}
	if _, list := srv.Request("GET", "/Recordings.json", nil); len(list["recordings"].([]any)) > 0 {
		t.Errorf("there are %v", list["recordings"])
	}
	if got := app.Requests("/rec"); len(got) > 0 {
		t.Errorf("it was told %v", got)
	}
}

// The methods of a <Record>'s requests.
func TestARecordByGET(t *testing.T) {
	t.Parallel()
	srv := offhooktest.Start(t)
	app := srv.App(t)
	app.On("/voice", `<Response><Record playBeep="false" finishOnKey="#" action="/done" method="GET" recordingStatusCallback="/rec"
		recordingStatusCallbackMethod="GET" recordingStatusCallbackEvent="in-progress completed absent"/></Response>`)
	app.On("/done", `<Response><Pause length="60"/></Response>`)
	srv.Number(t, own, app.URL("/voice"))
	line := srv.Phone(t, callee).Dial(own)
	line.Answered()
	began := app.Got("/rec", "RecordingStatus", "in-progress")
	rest(t, line, 300*time.Millisecond)
	line.Whistles(time.Second, 440)
	line.Press("1#") // 1 does not end it
	done := app.Got("/done", "Digits", "#")
	_, s := kept(t, srv, app)
	s.has(t, 0, 440, time.Second)
	for _, r := range []offhooktest.Request{began, done} {
		if r.Method != http.MethodGet {
			t.Errorf("%s by %s", r.Path, r.Method)
		}
	}
	line.Hangup()
}

// A <Record> without action asks its own document again.
func TestARecordWithoutAction(t *testing.T) {
	t.Parallel()
	srv := offhooktest.Start(t)
	app := srv.App(t)
	app.OnFunc("/voice", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/xml")
		document := `<Record/><Say>Not this</Say>`
		if r.Form.Has("RecordingUrl") {
			document = `<Say>Again</Say>`
		}
		_, _ = w.Write([]byte(`<Response>` + document + `</Response>`))
	})
	srv.Number(t, own, app.URL("/voice"))
	line := srv.Phone(t, callee).Dial(own)
	line.HearsTone(1000)
	rest(t, line, 700*time.Millisecond)
	line.Whistles(500*time.Millisecond, 440)
	line.Press("7")
	line.Hears("Again")
	line.HungUp()
	app.Got("/voice", "Digits", "7")
}

// What a create says of its recording's callback.
func TestACreateThatRecordsByGET(t *testing.T) {
	t.Parallel()
	srv := offhooktest.Start(t)
	app := srv.App(t)
	ph := srv.Phone(t, callee)
	c := srv.Call(t, "To", callee, "From", caller, "Twiml", `<Response><Pause length="60"/></Response>`, "Record", "true", "RecordingTrack", "outbound",
		"RecordingStatusCallback", app.URL("/rec"), "RecordingStatusCallbackMethod", "GET", "RecordingStatusCallbackEvent", "absent moo")
	line := ph.Answers()
	c.Is("in-progress")
	rest(t, line, 300*time.Millisecond)
	line.Hangup()
	told := app.Got("/rec", "RecordingStatus", "absent", "ErrorCode", "16102", "RecordingTrack", "outbound", "RecordingSource", "OutboundAPI")
	if told.Method != http.MethodGet || told.Params.Has("RecordingDuration") {
		t.Errorf("%s %v", told.Method, told.Params)
	}
	if n := c.Notified(13621); !strings.Contains(n["message_text"].(string), "moo") {
		t.Errorf("notification %v", n)
	}
}

func TestARecordingConfigurationIsRefusedByName(t *testing.T) {
	srv := offhooktest.Start(t)
	app := srv.App(t)
	ph := srv.Phone(t, callee)
	for verb, document := range map[string]string{
		"Record":    `<Record recordingConfigurationId="x" action="` + app.URL("/done") + `"/>`,
		"Recording": `<Start><Recording recordingConfigurationId="x"/></Start>`,
		"Dial":      `<Dial record="true" recordingConfigurationId="x">+15550122</Dial>`,
	} {
		c := srv.Call(t, "To", callee, "From", caller, "Twiml", `<Response>`+document+`</Response>`)
		ph.Answers().HungUp()
		if n := c.Notified(12200); !strings.Contains(n["message_text"].(string), url.QueryEscape("<"+verb+"> recordingConfigurationId")) {
			t.Errorf("%s: notification %v", verb, n)
		}
	}
}
