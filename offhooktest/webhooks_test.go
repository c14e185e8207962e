package offhooktest_test

import (
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/offhook/offhook/offhooktest"
	"github.com/offhook/offhook/phone"
)

const errorPrompt = "An application error has occurred."

// freePort is an address where nothing listens.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestTheFallbackIsToldWhatWentWrong(t *testing.T) {
	answer := func(contentType, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			_, _ = w.Write([]byte(body))
		}
	}
	hang := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	for name, tc := range map[string]struct {
		answer http.HandlerFunc // nil: nothing listens
		fix    string           // connection overrides
		code   string
	}{
		"HTTP 500":                 {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }, "", "11200"},
		"no first byte":            {hang, "#rt=200", "11200"},
		"too slow in all":          {hang, "#tt=300", "11200"},
		"refused":                  {nil, "", "11202"},
		"not HTTP":                 {func(w http.ResponseWriter, _ *http.Request) { hijack(t, w, "SSH-2.0-x\r\n\r\n") }, "", "11206"},
		"cut off":                  {func(w http.ResponseWriter, _ *http.Request) { hijack(t, w, "") }, "", "11205"},
		"no XML":                   {answer("text/xml", "<Response><Say>"), "", "12100"},
		"a line before the XML":    {answer("text/xml", "\n<?xml version=\"1.0\"?><Response/>"), "", "12100"},
		"another root":             {answer("text/xml", "<Answer/>"), "", "12102"},
		"a bad version":            {answer("text/xml", `<Response version="x"/>`), "", "12101"},
		"a type that is none":      {answer("application/json", "{}"), "", "12300"},
		"too big":                  {answer("text/xml", "<Response>"+strings.Repeat("<!---->", 10_000)+"</Response>"), "", "11750"},
		"a verb's own error":       {answer("text/xml", "<Response><Play></Play></Response>"), "", "11100"},
		"a verb that is not there": {answer("text/xml", "<Response><Enqueue>support</Enqueue></Response>"), "", "12200"},
		"bad audio":                {answer("audio/wav", "this is no audio"), "", "12300"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := offhooktest.Start(t)
			app := srv.App(t)
			app.On("/fallback", `<Response><Say>Fallback</Say></Response>`)
			url := app.URL("/voice")
			if tc.answer == nil {
				url = "http://" + freePort(t) + "/voice"
			} else {
				app.OnFunc("/voice", tc.answer)
			}
			ph := srv.Phone(t, callee)
			c := srv.Call(t, "To", callee, "From", caller, "Url", url+tc.fix,
				"FallbackUrl", app.URL("/fallback"), "FallbackMethod", "GET")
			line := ph.Answers()
			r := app.Got("/fallback", "ErrorCode", tc.code, "ErrorUrl", url, "CallStatus", "in-progress", "CallSid", c.SID)
			if r.Method != "GET" {
				t.Errorf("fallback by %s, want GET", r.Method)
			}
			line.Hears("Fallback")
			line.HungUp()
			n := c.Notified(atoi(t, tc.code))
			if n["log"] != "0" || n["request_url"] != url {
				t.Errorf("notification has level %v and URL %v, want 0 and %s", n["log"], n["request_url"], url)
			}
		})
	}
}

// hijack answers with bytes of the test's own and closes the connection.
func hijack(t *testing.T, w http.ResponseWriter, text string) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		t.Error(err)
		return
	}
	_, _ = conn.Write([]byte(text))
	_ = conn.Close()
}

func atoi(t *testing.T, s string) (n int) {
	t.Helper()
	for _, c := range s {
		n = 10*n + int(c-'0')
	}
	return n
}

func TestAFallbackThatFailsToo(t *testing.T) {
	srv := offhooktest.Start(t)
	app := srv.App(t)
	broken := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }
	app.OnFunc("/voice", broken)
	app.OnFunc("/fallback", broken)
	ph := srv.Phone(t, callee)
	c := srv.Call(t, append(allEvents(app), "To", callee, "From", caller, "Url", app.URL("/voice"), "FallbackUrl", app.URL("/fallback"))...)
	line := ph.Answers()
	line.Hears(errorPrompt)
	line.HungUp()
	app.Got("/status", "CallStatus", "completed", "SipResponseCode", "200")
	c.Is("completed")
	_, page := srv.Request("GET", "/Calls/"+c.SID+"/Notifications.json", nil)
	if n := len(page["notifications"].([]any)); n != 2 {
		t.Errorf("%d notifications, want one for each request that failed", n)
	}
	if n := len(app.Requests("/fallback")); n != 1 {
		t.Errorf("the fallback was asked %d times", n)
	}
}

func TestAnInboundCallFallsBackToo(t *testing.T) {
	srv := offhooktest.Start(t)
	app := srv.App(t)
	app.OnFunc("/voice", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	app.On("/fallback", `<Response><Reject reason="busy"/></Response>`)
	srv.Number(t, own, app.URL("/voice"), "VoiceFallbackUrl", app.URL("/fallback"))
	line := srv.Phone(t, callee).Dial(own)
	app.Got("/fallback", "ErrorCode", "11200", "CallStatus", "ringing", "Direction", "inbound")
	if end := line.HungUp(); end.Code != 486 {
		t.Errorf("the caller got %v, want 486: the call was not answered", end)
	}
}

func TestHTTPRedirectsAreFollowed(t *testing.T) {
	for code, wantMethod := range map[int]string{301: "GET", 302: "GET", 303: "GET", 307: "POST", 308: "POST"} {
		t.Run(http.StatusText(code), func(t *testing.T) {
			t.Parallel()
			app, c, line := inCall(t, "",
				at("/voice", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/deep/er/voice?x=1", code) }),
				at("/deep/er/voice", `<Response><Redirect method="GET">next</Redirect></Response>`),
				at("/deep/er/next", `<Response><Say>Arrived</Say></Response>`))
			r := app.Got("/deep/er/voice")
			if r.Method != wantMethod || r.Params.Has("CallSid") != (wantMethod == "POST") {
				t.Errorf("%s with %v, want %s", r.Method, r.Params, wantMethod)
			}
			app.Got("/deep/er/next", "CallSid", c.SID) // relative to where the document came from
			line.Hears("Arrived")
		})
	}
}

func TestTooManyHTTPRedirects(t *testing.T) {
	app, c, line := inCall(t, "",
		at("/voice", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/voice", http.StatusTemporaryRedirect)
		}))
	line.Hears(errorPrompt)
	c.Notified(11215)
	if n := len(app.Requests("/voice")); n != 11 {
		t.Errorf("%d requests, want the first and ten redirects", n)
	}
}

func TestCredentialsInAURL(t *testing.T) {
	srv := offhooktest.Start(t)
	app := srv.App(t)
	guard := func(next string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if user, password, ok := r.BasicAuth(); !ok || user != "joe" || password != "pa$s" {
				w.Header().Set("WWW-Authenticate", `Basic realm="app"`)
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			w.Header().Set("Content-Type", "text/xml")
			_, _ = w.Write([]byte(next))
		}
	}
	app.OnFunc("/voice", guard("<Response><Redirect>/next</Redirect></Response>"))
	app.OnFunc("/next", guard("<Response><Say>Inside</Say></Response>"))
	ph := srv.Phone(t, callee)
	url := strings.Replace(app.URL("/voice"), "://", "://joe:pa%24s@", 1)
	srv.Call(t, "To", callee, "From", caller, "Url", url, "StatusCallback", url)
	line := ph.Answers()
	line.Hears("Inside")
	line.HungUp()
	for i, r := range app.Requests("/voice")[:2] {
		if got := r.Header.Get("Authorization") != ""; got != (i == 1) {
			t.Errorf("request %d: Authorization %v", i, got)
		}
	}
	if n := len(app.Requests("/next")); n != 1 {
		t.Errorf("%d requests for the next document, want 1: the credentials stay in use", n)
	}
}

func TestDocumentsByGET(t *testing.T) {
	app, c, line := inCall(t, `<Response><Redirect method="GET">/next?b=2</Redirect></Response>`, "Method", "GET",
		at("/next", `<Response><Say>Got</Say></Response>`))
	for _, path := range []string{"/voice", "/next"} {
		if r := app.Got(path, "CallSid", c.SID, "CallStatus", "in-progress"); r.Method != "GET" {
			t.Errorf("%s by %s, want GET", path, r.Method)
		}
	}
	line.Hears("Got")
}

func TestTwimlInPlainTextAndAudioAsAnAnswer(t *testing.T) {
	_, c, line := inCall(t, "",
		at("/voice", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			_, _ = w.Write([]byte("<Response><Say>Plain TwiML</Say><Redirect>/audio</Redirect></Response>"))
		}),
		at("/audio", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "audio/x-wav")
			_, _ = w.Write(wav(phone.Tone(700*time.Millisecond, 620)))
		}))
	line.Hears("Plain TwiML")
	line.HearsTone(620)
	line.HungUp()
	c.Is("completed")
}

func TestCookiesStayWithTheirCall(t *testing.T) {
	srv := offhooktest.Start(t)
	app := srv.App(t)
	app.OnFunc("/voice", func(w http.ResponseWriter, r *http.Request) {
		if _, err := r.Cookie("n"); err == nil {
			t.Error("a new call sends the cookie of an earlier one")
		}
		http.SetCookie(w, &http.Cookie{Name: "n", Value: "1", Path: "/"})
		w.Header().Set("Content-Type", "text/xml")
		_, _ = w.Write([]byte("<Response/>"))
	})
	ph := srv.Phone(t, callee)
	for range 2 {
		srv.Call(t, "To", callee, "From", caller, "Url", app.URL("/voice"), "StatusCallback", app.URL("/status"))
		ph.Answers().HungUp()
		app.Got("/status")
	}
}

func TestAnInlineDocumentNeedsAbsoluteActions(t *testing.T) {
	srv := offhooktest.Start(t)
	app := srv.App(t)
	app.On("/fallback", `<Response><Say>Fallback</Say></Response>`)
	app.On("/got", `<Response><Say>Thank you</Say></Response>`)
	ph := srv.Phone(t, callee)
	c := srv.Call(t, "To", callee, "From", caller, "Twiml", `<Response><Gather action="/got"/></Response>`, "FallbackUrl", app.URL("/fallback"))
	line := ph.Answers()
	app.Got("/fallback", "ErrorCode", "15004")
	line.Hears("Fallback")
	line.HungUp()
	c.Notified(15004)

	srv.Call(t, "To", callee, "From", caller, "Twiml", `<Response><Gather numDigits="1" action="`+app.URL("/got")+`"><Say>Press</Say></Gather></Response>`)
	line = ph.Answers()
	line.Hears("Press")
	line.Press("1")
	line.Hears("Thank you")
}
