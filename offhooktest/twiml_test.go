package offhooktest_test

import (
	"bytes"
	"encoding/binary"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/offhook/offhook/offhooktest"
	"github.com/offhook/offhook/phone"
)

// wav is pcm as a file of 16-bit mono at 8 kHz.
func wav(pcm []int16) []byte {
	var b bytes.Buffer
	data := uint32(2 * len(pcm))
	for _, v := range []any{
		[]byte("RIFF"), 36 + data, []byte("WAVEfmt "), uint32(16), uint16(1), uint16(1), uint32(8000), uint32(16000),
		uint16(2), uint16(16), []byte("data"), data, pcm,
	} {
		_ = binary.Write(&b, binary.LittleEndian, v) // a Buffer takes everything
	}
	return b.Bytes()
}

// route is what the application has at a path: TwiML, or a function that answers.
type route struct {
	path   string
	answer any
}

func at(path string, answer any) route { return route{path, answer} }

// inCall starts a call that runs the document at /voice, and answers it. Further arguments are routes of the
// application, which has them before the call begins, and parameters of the call as names and values.
func inCall(t *testing.T, twiml string, more ...any) (*offhooktest.App, *offhooktest.Call, *offhooktest.Line) {
	t.Helper()
	srv := offhooktest.Start(t)
	app := srv.App(t)
	app.On("/voice", twiml)
	ph := srv.Phone(t, callee)
	params := []string{"To", callee, "From", caller, "Url", app.URL("/voice")}
	for _, m := range more {
		switch m := m.(type) {
		case string:
			if strings.HasPrefix(m, "/") {
				m = app.URL(m)
			}
			params = append(params, m)
		case route:
			switch h := m.answer.(type) {
			case string:
				app.On(m.path, h)
			case func(http.ResponseWriter, *http.Request):
				app.OnFunc(m.path, h)
			default:
				t.Fatalf("%s answers with %T", m.path, h)
			}
		}
	}
	c := srv.Call(t, params...)
	return app, c, ph.Answers()
}

func TestPlayAFileFromTheApplication(t *testing.T) {
	app, c, line := inCall(t, `<Response><Play>/tone.wav</Play><Play loop="2">/tone.wav</Play></Response>`,
		at("/tone.wav", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "audio/wav")
			w.Header().Set("ETag", `"1"`)
			_, _ = w.Write(wav(phone.Tone(700*time.Millisecond, 440)))
		}))
	line.HearsTone(440)
	line.HungUp()
	took(t, c.Is("completed"), 2) // three times 0.7 s
	if n := len(app.Requests("/tone.wav")); n < 1 || n > 3 {
		t.Errorf("%d requests for the file", n)
	}
	for _, r := range app.Requests("/tone.wav") {
		if len(r.Params) > 0 || r.Method != "GET" {
			t.Errorf("a file is asked for as %s with %v, want GET without parameters", r.Method, r.Params)
		}
	}
}

func TestAFileThatIsNoAudio(t *testing.T) {
	_, c, line := inCall(t, `<Response><Play>/page</Play><Say>Never</Say></Response>`, "FallbackUrl", "/fallback",
		at("/page", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = w.Write([]byte("<html>"))
		}),
		at("/fallback", `<Response><Say>Fallback</Say></Response>`))
	line.Hears("Fallback")
	line.HungUp()
	c.Notified(13420)
}

func TestGather(t *testing.T) {
	for name, tc := range map[string]struct {
		twiml  string
		press  string
		digits string // "" means that the action is not requested and the next verb runs
		key    string
	}{
		"ended by the finish key":  {`<Gather action="/got"><Say>Press</Say></Gather>`, "123#", "123", "#"},
		"ended by silence":         {`<Gather action="/got" timeout="3"/>`, "45", "45", ""},
		"ended by count":           {`<Gather action="/got" numDigits="2"><Say>Press</Say></Gather>`, "789", "78", ""},
		"another finish key":       {`<Gather action="/got" finishOnKey="*"/>`, "1#2*", "1#2", "*"},
		"no finish key":            {`<Gather action="/got" finishOnKey="" timeout="3"/>`, "1#", "1#", ""},
		"only the finish key":      {`<Gather action="/got"/>`, "#", "", ""},
		"nothing":                  {`<Gather action="/got" timeout="1"><Say>Press</Say></Gather>`, "", "", ""},
		"by the action's own verb": {`<Gather action="/got" method="GET" numDigits="1"/>`, "5", "5", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app, _, line := inCall(t, `<Response><Say>Ready</Say>`+tc.twiml+`<Say>No input</Say></Response>`,
				at("/got", `<Response><Say>Thank you</Say></Response>`))
			line.Hears("Ready")
			if tc.press != "" {
				line.Press("w" + tc.press)
			}
			if tc.digits == "" {
				line.Hears("No input")
				if len(app.Requests("/got")) > 0 {
					t.Error("the action was requested")
				}
				return
			}
			r := app.Got("/got", "Digits", tc.digits, "FinishedOnKey", tc.key)
			if want := map[bool]string{true: "GET", false: "POST"}[strings.Contains(tc.twiml, "GET")]; r.Method != want {
				t.Errorf("requested by %s, want %s", r.Method, want)
			}
			line.Hears("Thank you")
		})
	}
}

func TestAnEmptyResultCanBeAskedFor(t *testing.T) {
	app, _, line := inCall(t, `<Response><Gather action="/got" timeout="1" actionOnEmptyResult="true"/></Response>`,
		at("/got", `<Response><Say>Empty</Say></Response>`))
	app.Got("/got", "Digits", "")
	line.Hears("Empty")
}

func TestTheFirstKeyCutsThePrompt(t *testing.T) {
	app, _, line := inCall(t, `<Response><Gather action="/got" numDigits="2"><Say loop="0">A long prompt</Say></Gather></Response>`,
		at("/got", `<Response><Say>Done</Say></Response>`))
	line.Hears("A long prompt")
	line.Press("1")
	ctx := t.Context()
	if err := line.WaitSilence(ctx, 400*time.Millisecond); err != nil {
		t.Error(err)
	}
	line.Press("2")
	app.Got("/got", "Digits", "12")
	line.Hears("Done")
}

func TestWhatTheApplicationAnswers(t *testing.T) {
	for name, tc := range map[string]struct {
		contentType, body string
		hears             string // else the error prompt
		code              int    // notified
	}{
		"text/html is TwiML":         {"text/html", "<Response><Say>Html</Say></Response>", "Html", 0},
		"plain text is spoken":       {"text/plain", "Just text", "Just text", 0},
		"not XML":                    {"text/xml", "<Response><Say>", "", 12100},
		"another root":               {"text/xml", "<Answer/>", "", 12102},
		"an unknown type":            {"application/pdf", "x", "", 12300},
		"a verb that is not there":   {"text/xml", "<Response><Say>Wait</Say><Enqueue>support</Enqueue></Response>", "Wait", 12200},
		"an unknown verb":            {"text/xml", "<Response><Dance/><Say>Next</Say></Response>", "Next", 12200},
		"a wrong attribute":          {"text/xml", `<Response><Pause length="x"/><Say>After</Say></Response>`, "After", 13910},
		"a document that is too big": {"text/xml", "<Response>" + strings.Repeat(" ", 65<<10) + "</Response>", "", 11750},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, c, line := inCall(t, "",
				at("/voice", func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Type", tc.contentType)
					_, _ = w.Write([]byte(tc.body))
				}))
			if tc.hears == "" {
				tc.hears = "An application error has occurred."
			}
			line.Hears(tc.hears)
			line.HungUp()
			c.Is("completed")
			if tc.code != 0 {
				c.Notified(tc.code)
			}
		})
	}
}

func TestRedirectVerbGoesRound(t *testing.T) {
	app, c, line := inCall(t, `<Response><Say>Once</Say><Redirect>/next?a=1%2B1</Redirect><Say>Never</Say></Response>`,
		at("/next", `<Response><Say>Twice</Say></Response>`))
	line.Hears("Once")
	if q := app.Got("/next").Query; q != "a=1%2B1" {
		t.Errorf("query %q, want it byte for byte", q)
	}
	line.Hears("Twice")
	line.HungUp()
	c.Is("completed")
}

func TestADocumentThatGoesInCirclesEnds(t *testing.T) {
	app, c, line := inCall(t, `<Response><Redirect/></Response>`)
	line.Hears("An application error has occurred.")
	line.HungUp()
	c.Is("completed")
	c.Notified(12400)
	if n := len(app.Requests("/voice")); n > 60 {
		t.Errorf("%d requests", n)
	}
}

func TestADocumentThatGoesInCirclesTakesItsFallbackOnce(t *testing.T) {
	app, c, line := inCall(t, `<Response><Redirect/></Response>`, "FallbackUrl", "/fallback",
		route{"/fallback", `<Response><Say>Fallback</Say><Redirect>/voice</Redirect></Response>`})
	line.Hears("Fallback")
	line.Hears("An application error has occurred.")
	line.HungUp()
	c.Is("completed")
	app.Got("/fallback", "ErrorCode", "12400")
	if n := len(app.Requests("/fallback")); n != 1 {
		t.Errorf("%d requests of the fallback", n)
	}
}

func TestCookiesLastForTheCall(t *testing.T) {
	app, _, line := inCall(t, "",
		at("/voice", func(w http.ResponseWriter, _ *http.Request) {
			http.SetCookie(w, &http.Cookie{Name: "menu", Value: "main"})
			w.Header().Set("Content-Type", "text/xml")
			_, _ = w.Write([]byte("<Response><Redirect>/next</Redirect></Response>"))
		}),
		at("/next", `<Response><Say>Back</Say></Response>`))
	if got := app.Got("/next").Header.Get("Cookie"); got != "menu=main" {
		t.Errorf("cookie %q, want menu=main", got)
	}
	line.Hears("Back")
}
