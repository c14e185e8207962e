package proof

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/audio"
	"github.com/offhook/offhook/phone"
)

// unspooled is what of a recording may be lost with its process.
const unspooled = time.Second

// TestAKillInMidRecording kills the engine while a call is recorded three ways: the next one completes each recording
// with what was spooled, and says so.
func TestAKillInMidRecording(t *testing.T) {
	for i := range *rounds {
		t.Run(fmt.Sprint(i+1), killRecording)
	}
}

func killRecording(t *testing.T) {
	told := make(chan url.Values, 16)
	app := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		told <- r.Form
	}))
	defer app.Close()
	whistled := make(chan struct{})
	ann, err := phone.Listen(t.Context(), phone.Config{OnCall: func(c *phone.Call) {
		_ = c.Ring()
		_ = c.Answer()
		if c.WaitAnswered(t.Context()) == nil && c.Play(t.Context(), audio.Tone(3*time.Second, 440)) == nil {
			close(whistled)
		}
		<-c.HungUp()
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ann.Close() })
	e := &engine{t: t, bin: build(t), data: t.TempDir()}
	e.start()
	defer e.kill()
	e.trunk("carrier", ann.Addr(), wide, 0, 0)
	sid, err := e.create(t.Context(), url.Values{
		"To": {wide + "30000002"}, "From": {talks}, "Record": {"true"}, "RecordingStatusCallback": {app.URL},
		"Twiml": {`<Response><Start><Recording recordingStatusCallback="` + app.URL + `"/></Start><Record action="` + app.URL + `/done" playBeep="false" timeout="0" recordingStatusCallback="` + app.URL + `"/></Response>`},
	})
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-whistled:
	case <-time.After(patience):
		t.Fatal("nobody was called")
	}
	e.kill()
	e.start()
	sources := map[string]string{}
	for late := time.After(patience); len(sources) < 3; {
		select {
		case p := <-told:
			if p.Get("RecordingStatus") != "completed" || p.Get("CallSid") != sid {
				t.Fatalf("the application was told %v", p)
			}
			sources[p.Get("RecordingSource")] = p.Get("RecordingSid")
		case <-late:
			t.Fatalf("the application was told of %v", sources)
		}
	}
	for source, sid := range sources {
		r, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+e.http+apiBase+"/Recordings/"+sid+".wav", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth(accountSID, authToken)
		resp, err := e.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		clip, err := audio.Decode("audio/wav", body)
		if err != nil {
			t.Fatalf("%s: %s %v", source, resp.Status, err)
		}
		pcm := audio.DecodeULaw(clip.ULaw())
		heard := time.Duration(0)
		for i := 0; i+160 <= len(pcm); i += 160 {
			if audio.Has(pcm[i:i+160], 440) {
				heard += audio.FrameDuration
			}
		}
		if heard < 3*time.Second-unspooled {
			t.Errorf("%s has %v of what was said for 3 s", source, heard)
		}
	}
	for _, source := range []string{"OutboundAPI", "RecordVerb", "StartCallRecordingTwiML"} {
		if sources[source] == "" {
			t.Errorf("no recording of %s in %v", source, slices.Collect(maps.Keys(sources)))
		}
	}
}
