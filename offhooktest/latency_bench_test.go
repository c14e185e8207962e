package offhooktest_test

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/clock"
	"github.com/offhook/offhook/offhooktest"
	"github.com/offhook/offhook/phone"
)

// millis collects latencies and reports their median and 99th percentile.
type millis []float64

func (m *millis) add(d time.Duration) { *m = append(*m, float64(d)/float64(time.Millisecond)) }

func (m millis) report(b *testing.B) {
	slices.Sort(m)
	b.ReportMetric(m[len(m)/2], "p50-ms")
	b.ReportMetric(m[len(m)*99/100], "p99-ms")
	b.ReportMetric(0, "ns/op") // the phone's own pace, not ours
}

// tones serves a tone of hz as /HZ.wav.
func tones(app *offhooktest.App, hz ...float64) {
	for _, f := range hz {
		file := wav(phone.Tone(2*time.Second, f))
		app.OnFunc(fmt.Sprintf("/%.0f.wav", f), func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "audio/wav")
			w.Header().Set("Cache-Control", "max-age=3600")
			_, _ = w.Write(file)
		})
	}
}

// heardAt is how long after sample from the first 20 ms of a tone were heard; what was heard is 8 kHz
// without gaps, so samples are time.
func heardAt(b *testing.B, line *offhooktest.Line, from int, hz float64) time.Duration {
	b.Helper()
	line.HearsTone(hz)
	pcm := line.Heard()[from:]
	for i := 0; i+320 <= len(pcm); i += 40 { // 40 ms that are the tone: its first 5 ms fade in
		if phone.IsTone(pcm[i:i+320], hz) {
			return time.Duration(i) * time.Second / 8000
		}
	}
	b.Fatalf("no %.0f Hz in what was heard", hz)
	return 0
}

func startTones(b *testing.B) (*offhooktest.Server, *offhooktest.App, *offhooktest.Call, *offhooktest.Line) {
	b.Helper()
	srv := offhooktest.Start(b)
	app := srv.App(b)
	tones(app, 440, 880)
	app.On("/440", `<Response><Play loop="0">/440.wav</Play></Response>`)
	app.On("/880", `<Response><Play loop="0">/880.wav</Play></Response>`)
	app.On("/keys", `<Response><Gather action="/880" numDigits="1"><Play loop="0">/440.wav</Play></Gather></Response>`)
	ph := srv.Phone(b, callee)
	c := srv.Call(b, "To", callee, "From", caller, "Url", app.URL("/440"))
	line := ph.Answers()
	line.HearsTone(440)
	c.Update("Url", app.URL("/880")) // both files are cached from here on
	line.HearsTone(880)
	return srv, app, c, line
}

// BenchmarkRedirectToFirstAudio is the time from the redirect request to the first new audio at the phone,
// the prompt being cached and the application answering at once. Budget: 200 ms.
func BenchmarkRedirectToFirstAudio(b *testing.B) {
	_, app, c, line := startTones(b)
	hz := [...]float64{440, 880}
	var m millis
	for i := range b.N {
		from := len(line.Heard())
		c.Update("Url", app.URL(fmt.Sprintf("/%.0f", hz[i%2])))
		m.add(heardAt(b, line, from, hz[i%2]))
	}
	m.report(b)
}

// BenchmarkKeyToPrompt is the time from a key going down to the first audio of the action's document: the
// cut of the prompt (budget 40 ms), a request, and cached audio (budget 60 ms).
func BenchmarkKeyToPrompt(b *testing.B) {
	_, app, c, line := startTones(b)
	var m millis
	for range b.N {
		c.Update("Url", app.URL("/keys"))
		line.HearsTone(440)
		from := len(line.Heard())
		line.Press("1") // 100 ms of key and 100 ms of pause
		m.add(heardAt(b, line, from, 880))
	}
	m.report(b)
}

// BenchmarkKeyToCut is the time from a key going down to the end of the prompt at the phone. Budget: 40 ms.
func BenchmarkKeyToCut(b *testing.B) {
	_, app, c, line := startTones(b)
	app.On("/cut", `<Response><Gather action="/880" numDigits="5" timeout="60"><Play loop="0">/440.wav</Play></Gather></Response>`)
	var m millis
	for range b.N {
		c.Update("Url", app.URL("/880"))
		line.HearsTone(880)
		c.Update("Url", app.URL("/cut"))
		line.HearsTone(440)
		from := len(line.Heard())
		line.Press("1") // 100 ms of key and 100 ms of pause
		pcm := line.Heard()[from:]
		end := slices.IndexFunc(slices.Collect(slices.Chunk(pcm, 40)), silent)
		if end < 0 {
			b.Fatal("the prompt was not cut")
		}
		m.add(time.Duration(end) * 5 * time.Millisecond)
	}
	m.report(b)
}

func silent(pcm []int16) bool {
	return !slices.ContainsFunc(pcm, func(s int16) bool { return s > 200 || s < -200 })
}

// BenchmarkAnswerToFirstAudio is the time from the application's answer to the first audio at the phone
// when it is cached. Budget: 60 ms.
func BenchmarkAnswerToFirstAudio(b *testing.B) {
	_, app, c, line := startTones(b)
	from := make(chan int, 1)
	for _, hz := range [...]string{"440", "880"} {
		app.OnFunc("/"+hz, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/xml")
			from <- len(line.Heard())
			_, _ = fmt.Fprintf(w, `<Response><Play loop="0">/%s.wav</Play></Response>`, hz)
		})
	}
	hz := [...]float64{440, 880}
	var m millis
	for i := range b.N {
		c.Update("Url", app.URL(fmt.Sprintf("/%.0f", hz[i%2])))
		m.add(heardAt(b, line, <-from, hz[i%2]))
	}
	m.report(b)
}

// BenchmarkStatusCallback is the time from the commit of an event to its callback at the application.
// Budget: 10 ms.
func BenchmarkStatusCallback(b *testing.B) {
	srv := offhooktest.Start(b)
	app := srv.App(b)
	ph := srv.Phone(b, callee)
	var m millis
	for range b.N {
		asked := clock.System.Now()
		srv.Call(b, "To", callee, "From", caller, "Twiml", "<Response/>",
			"StatusCallback", app.URL("/status"), "StatusCallbackEvent", "initiated")
		m.add(app.Got("/status").Time.Sub(asked)) // from the request on: more than what the budget counts
		ph.Answers().HungUp()
	}
	m.report(b)
}
