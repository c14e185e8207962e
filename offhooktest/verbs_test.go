package offhooktest_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/clock"
	"github.com/offhook/offhook/internal/speech"
	"github.com/offhook/offhook/offhooktest"
	"github.com/offhook/offhook/phone"
)

// incoming is a call from a phone to a number whose document is at /voice.
func incoming(t *testing.T, twiml string) (*offhooktest.Server, *offhooktest.App, *offhooktest.Line) {
	t.Helper()
	srv := offhooktest.Start(t)
	app := srv.App(t)
	app.On("/voice", twiml)
	srv.Number(t, own, app.URL("/voice"), "StatusCallback", app.URL("/status"))
	return srv, app, srv.Phone(t, callee).Dial(own)
}

// A leading Pause or Redirect keeps the call ringing; the next verb answers.
func TestWhatKeepsACallRinging(t *testing.T) {
	for name, tc := range map[string]struct {
		twiml string
		rings time.Duration
	}{
		"a leading Pause":                    {`<Response><Pause length="1"/><Say>Hello</Say></Response>`, time.Second},
		"a leading Redirect to a slow one":   {`<Response><Redirect>/slow</Redirect></Response>`, time.Second},
		"a Redirect to a document with both": {`<Response><Redirect>/pause</Redirect></Response>`, time.Second},
		"nothing":                            {`<Response><Say>Hello</Say></Response>`, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := offhooktest.Start(t)
			app := srv.App(t)
			app.On("/voice", tc.twiml)
			app.OnFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
				_ = clock.Sleep(r.Context(), clock.System, time.Second)
				w.Header().Set("Content-Type", "text/xml")
				_, _ = w.Write([]byte("<Response><Say>Hello</Say></Response>"))
			})
			app.On("/pause", `<Response><Pause length="1"/><Say>Hello</Say></Response>`)
			srv.Number(t, own, app.URL("/voice"))
			line := srv.Phone(t, callee).Dial(own)
			line.Rings()
			began := clock.System.Now()
			line.Answered()
			if d := clock.System.Now().Sub(began); d < tc.rings-300*time.Millisecond || d > tc.rings+3*time.Second {
				t.Errorf("rang for %v, want %v", d, tc.rings)
			}
			line.Hears("Hello")
			line.HungUp()
		})
	}
}

func TestHangupAsTheFirstVerbAnswersFirst(t *testing.T) {
	_, app, line := incoming(t, `<Response><Hangup/></Response>`)
	line.Answered()
	if end := line.HungUp(); !end.Remote {
		t.Errorf("the call ended as %v, want a BYE", end)
	}
	app.Got("/status", "CallStatus", "completed", "SipResponseCode", "200")
}

func TestRejectAfterAnotherVerbHangsUp(t *testing.T) {
	_, app, line := incoming(t, `<Response><Say>Hello</Say><Reject reason="busy"/></Response>`)
	line.Answered()
	line.Hears("Hello")
	line.HungUp()
	app.Got("/status", "CallStatus", "completed", "SipResponseCode", "200")
}

func TestSayInItsVariants(t *testing.T) {
	for name, tc := range map[string]struct {
		say  string
		code int // notified
	}{
		"a Polly voice":                {`<Say voice="Polly.Joanna-Neural">Hello there</Say>`, 0},
		"a Google voice":               {`<Say voice="Google.en-US-Chirp3-HD-Aoede" language="en-US">Hello there</Say>`, 0},
		"woman":                        {`<Say voice="woman" language="en-GB">Hello there</Say>`, 0},
		"a voice that is none":         {`<Say voice="Nobody">Hello there</Say>`, 13511},
		"a language that is none":      {`<Say language="klingon!">Hello there</Say>`, 13512},
		"SSML":                         {`<Say><prosody rate="slow">Hello <emphasis>there</emphasis></prosody></Say>`, 0},
		"lines and entities":           {"<Say>\n  Hello\n\t&#116;here\n</Say>", 0},
		"CDATA and comments":           {`<Say><![CDATA[Hello ]]><!-- not this -->there</Say>`, 0},
		"after one without text":       {`<Say></Say><Say>Hello there</Say>`, 13520},
		"a voice of another language":  {`<Say voice="Polly.Hans" language="en-US">Not this</Say><Say>Hello there</Say>`, 13512},
		"a loop that is none":          {`<Say loop="x">Hello there</Say>`, 13510},
		"something that is no TwiML":   {`<say>Not this</say><Say>Hello there</Say>`, 12200},
		"an attribute that is unknown": {`<Say volume="11">Hello there</Say>`, 12200},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, c, line := inCall(t, "<Response>"+tc.say+"</Response>")
			line.Hears("Hello there")
			line.HungUp()
			if line.HeardEver("Not this") {
				t.Error("what had to be skipped was spoken")
			}
			if tc.code != 0 {
				c.Notified(tc.code)
			}
		})
	}
}

func TestSayLoopsAndBreaks(t *testing.T) {
	_, c, line := inCall(t, `<Response><Say loop="2">One<break time="800ms"/>Two</Say><Say>Three</Say></Response>`)
	line.Hears("Three")
	line.HungUp()
	c.Is("completed")
	one := speech.TestVoice("One").Duration() + speech.TestVoice("Two").Duration() + 800*time.Millisecond
	want := 2*one + speech.TestVoice("Three").Duration()
	if got := time.Duration(len(line.Heard())) * time.Second / 8000; got < want-100*time.Millisecond || got > want+700*time.Millisecond {
		t.Errorf("heard %v of audio, want %v", got, want)
	}
}

func TestSayUntilTheCallEnds(t *testing.T) {
	_, c, line := inCall(t, `<Response><Say loop="0">Again</Say><Say>Never</Say></Response>`, "TimeLimit", "2")
	line.HungUp()
	if line.HeardEver("Never") {
		t.Error("the verb behind an endless one ran")
	}
	took(t, c.Is("completed"), 2)
}

func TestPlayUntilTheCallerLeaves(t *testing.T) {
	app, c, line := inCall(t, `<Response><Play loop="0">tone.wav</Play></Response>`,
		at("/tone.wav", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "audio/wav")
			_, _ = w.Write(wav(phone.Tone(200*time.Millisecond, 440)))
		}))
	line.HearsSound(time.Second)
	line.Hangup()
	c.Is("completed")
	if n := len(app.Requests("/tone.wav")); n != 1 {
		t.Errorf("the file was asked for %d times", n)
	}
}

func TestPlayDigits(t *testing.T) {
	_, c, line := inCall(t, `<Response><Play digits="12w3#*AD"/><Play digits="x"/><Say>After</Say></Response>`)
	line.GotDigits("123#*AD")
	line.Hears("After")
	line.HungUp()
	c.Notified(13430)
}

func TestGatherFetchesItsFilesFirst(t *testing.T) {
	_, c, line := inCall(t, `<Response><Gather action="/got"><Say>Not heard</Say><Play>/missing.wav</Play></Gather></Response>`,
		at("/missing.wav", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) }))
	line.Hears(errorPrompt)
	line.HungUp()
	if line.HeardEver("Not heard") {
		t.Error("a prompt was heard before all files were there")
	}
	c.Notified(11200)
}

// The silence that ends the input begins anew with every key.
func TestEveryKeyRestartsTheTimeoutOfGather(t *testing.T) {
	app, _, line := inCall(t, `<Response><Gather action="/got" timeout="3"><Say>Ready</Say></Gather></Response>`,
		at("/got", `<Response><Say>Thank you</Say></Response>`))
	line.Hears("Ready")
	line.Press("1W2W3W4W5") // 4 s of pauses in all
	app.Got("/got", "Digits", "12345", "FinishedOnKey", "")
	line.Hears("Thank you")
}

// The timeout begins when the prompts have ended.
func TestALongPromptDoesNotEatTheTimeoutOfGather(t *testing.T) {
	app, _, line := inCall(t, `<Response><Gather action="/got" timeout="3" numDigits="1"><Say>Ready</Say><Pause length="4"/><Say>Go</Say></Gather></Response>`,
		at("/got", `<Response><Say>Thank you</Say></Response>`))
	line.Hears("Go")
	line.Press("7")
	app.Got("/got", "Digits", "7")
	line.Hears("Thank you")
}

func TestTheFinishKeyAloneIsAnEmptyResult(t *testing.T) {
	app, _, line := inCall(t, `<Response><Gather action="/got" actionOnEmptyResult="true"><Say loop="0">Ready</Say></Gather></Response>`,
		at("/got", `<Response><Say>Thank you</Say></Response>`))
	line.Hears("Ready")
	line.Press("#")
	app.Got("/got", "Digits", "", "FinishedOnKey", "#")
	line.Hears("Thank you")
}

func TestKeysBeforeGatherDoNotCount(t *testing.T) {
	app, _, line := inCall(t, `<Response><Say loop="2">A long welcome</Say><Gather action="/got" numDigits="2" timeout="4"><Say>Ready</Say></Gather></Response>`,
		at("/got", `<Response><Say>Thank you</Say></Response>`))
	line.Hears("A long welcome")
	line.Press("9")
	line.Hears("Ready")
	line.Press("12")
	app.Got("/got", "Digits", "12")
	line.Hears("Thank you")
}

func TestHangingUpDuringAGatherRequestsNothing(t *testing.T) {
	app, c, line := inCall(t, `<Response><Gather action="/got" actionOnEmptyResult="true"><Say loop="0">Ready</Say></Gather></Response>`)
	line.Hears("Ready")
	line.Press("1")
	line.Hangup()
	c.Is("completed")
	if n := len(app.Requests("/got")); n != 0 {
		t.Error("the action was requested")
	}
}

// A Gather without action asks its own document again; so does one whose action is empty.
func TestGatherWithoutActionGoesBackToItsDocument(t *testing.T) {
	app, _, line := inCall(t, "",
		at("/voice", func(w http.ResponseWriter, r *http.Request) {
			text := `<Gather numDigits="1"><Say>Ready</Say></Gather>`
			if d := r.Form.Get("Digits"); d != "" {
				text = "<Say>Number " + d + "</Say>"
			}
			w.Header().Set("Content-Type", "text/xml")
			_, _ = w.Write([]byte("<Response>" + text + "</Response>"))
		}))
	line.Hears("Ready")
	line.Press("5")
	line.Hears("Number 5")
	if n := len(app.Requests("/voice")); n != 2 {
		t.Errorf("%d requests", n)
	}
}

func TestGatherForSpeechIsAnErrorAndNotSilence(t *testing.T) {
	_, c, line := inCall(t, `<Response><Gather input="dtmf speech"><Say>Ready</Say></Gather></Response>`)
	line.Hears(errorPrompt)
	line.HungUp()
	if n := c.Notified(12200); !strings.Contains(n["message_text"].(string), "speech") {
		t.Errorf("the notification does not name what is missing: %v", n["message_text"])
	}
}
