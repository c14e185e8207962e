package offhooktest_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/offhook/offhook/offhooktest"
)

// An application plays a recording by the URL that it was given, in any form, though nobody else gets it without
// credentials.
func TestARecordingIsPlayedByItsURL(t *testing.T) {
	t.Parallel()
	srv := offhooktest.Start(t)
	app := srv.App(t)
	app.On("/voice", `<Response><Record action="/done" playBeep="false" recordingStatusCallback="/rec"/></Response>`)
	played := make(chan string, 1)
	app.OnFunc("/done", func(w http.ResponseWriter, r *http.Request) {
		played <- r.Form.Get("RecordingUrl")
		w.Header().Set("Content-Type", "text/xml")
		_, _ = w.Write([]byte(`<Response><Play>` + r.Form.Get("RecordingUrl") + `</Play><Say>and</Say>` +
			`<Play>` + r.Form.Get("RecordingUrl") + `.mp3</Play><Pause length="60"/></Response>`))
	})
	srv.Number(t, own, app.URL("/voice"))
	line := srv.Phone(t, callee).Dial(own)
	line.Answered()
	rest(t, line, 300*time.Millisecond)
	line.Whistles(time.Second, 440)
	line.Press("1")
	line.HearsTone(440)
	line.Hears("and")
	line.HearsTone(440)
	url := <-played
	resp, err := new(http.Transport).RoundTrip(request(t, url))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("a stranger gets %s", resp.Status)
	}
	_, err = sessions(t, srv).Hold(t.Context(), app.Got("/done").Params.Get("CallSid"), url) // as music too
	noError(t, err)
	line.HearsTone(440)
	line.Hangup()
}

func request(t *testing.T, url string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestWhatIsNoRecordingIsNotPlayed(t *testing.T) {
	srv := offhooktest.Start(t)
	app := srv.App(t)
	phones := srv.Phone(t, callee)
	own := srv.URL + "/2010-04-01/Accounts/" + srv.AccountSID + "/Recordings/"
	for name, url := range map[string]string{
		"none":               own + "RE" + strings.Repeat("0", 32) + ".wav",
		"of another account": strings.Replace(own, srv.AccountSID, "AC"+strings.Repeat("0", 32), 1) + "RE" + strings.Repeat("0", 32),
		"another resource":   own + "RE" + strings.Repeat("0", 32) + ".json",
	} {
		t.Run(name, func(t *testing.T) {
			c := srv.Call(t, "To", callee, "From", caller, "Twiml", `<Response><Play>`+url+`</Play></Response>`, "StatusCallback", app.URL("/status"))
			phones.Answers().HungUp()
			c.Is("completed")
			if n := c.Notified(11200); strings.Contains(n["message_text"].(string), "401") != (name == "another resource") {
				t.Errorf("notification %v", n)
			}
		})
	}
}
