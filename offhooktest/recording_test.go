package offhooktest_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"math"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/audio"
	"github.com/offhook/offhook/internal/clock"
	"github.com/offhook/offhook/offhooktest"
)

// exact is how far a recording may be from what was said.
const exact = 20 * time.Millisecond

// punctual is how long after a request it may be done: a busy machine takes its time. OFFHOOK_PROOF is set where it
// has nothing else to do.
var punctual = func() time.Duration {
	if os.Getenv("OFFHOOK_PROOF") != "" {
		return 20 * time.Millisecond
	}
	return 250 * time.Millisecond
}()

// sound is what a recording has.
type sound [][]int16 // channels

// listen downloads a recording.
func listen(t *testing.T, srv *offhooktest.Server, sid string) sound {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, srv.URL+"/2010-04-01/Accounts/"+srv.AccountSID+"/Recordings/"+sid+".wav", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(srv.AccountSID, srv.AuthToken)
	client := http.Client{Timeout: offhooktest.Patience, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || len(b) < 44 {
		t.Fatalf("%s %v: %.200s", resp.Status, err, b)
	}
	channels := int(binary.LittleEndian.Uint16(b[22:]))
	s := make(sound, channels)
	for i, pcm := 0, b[44:]; i+1 < len(pcm); i += 2 {
		c := i / 2 % channels
		s[c] = append(s[c], int16(binary.LittleEndian.Uint16(pcm[i:])))
	}
	return s
}

func span(samples int) time.Duration { return time.Duration(samples) * time.Second / audio.SampleRate }

func (s sound) length() time.Duration { return span(len(s[0])) }

// tone is where a tone of that frequency is in a channel, and how much of it, to 5 ms.
func (s sound) tone(channel int, hz float64) (from, to, length time.Duration) {
	const step = audio.SampleRate / 200
	from = -1
	for i := 0; i+step <= len(s[channel]); i += step {
		if p := s[channel][i : i+step]; audio.Goertzel(p, hz) > 1e6 && audio.Goertzel(p, hz) > 0.6*audio.Power(p) {
			if from < 0 {
				from = span(i)
			}
			to, length = span(i+step), length+span(step)
		}
	}
	return from, to, length
}

// has checks that a tone is there for d, and returns where.
func (s sound) has(t *testing.T, channel int, hz float64, d time.Duration) (from, to time.Duration) {
	t.Helper()
	from, to, got := s.tone(channel, hz)
	if got < d-exact || got > d+exact {
		t.Errorf("%v of %g Hz in channel %d from %v to %v, want %v of it", got, hz, channel, from, to, d)
	}
	return from, to
}

func (s sound) lacks(t *testing.T, channel int, hz float64) {
	t.Helper()
	if from, to, length := s.tone(channel, hz); length > exact {
		t.Errorf("%v of %g Hz in channel %d from %v to %v", length, hz, channel, from, to)
	}
}

// near checks a duration that requests began and ended, whose bounds are a frame of 20 ms apart from those of the recording.
func near(t *testing.T, what string, got, least, most time.Duration) {
	t.Helper()
	if got < least-punctual-20*time.Millisecond || got > most+punctual+20*time.Millisecond {
		t.Errorf("%s: %v, want %v to %v", what, got, least, most)
	}
}

// taped is a request of a call's Recordings.
func taped(t *testing.T, srv *offhooktest.Server, want int, call, path string, params ...string) map[string]any {
	t.Helper()
	form := url.Values{}
	for i := 0; i < len(params); i += 2 {
		form.Add(params[i], params[i+1])
	}
	code, answer := srv.Request("POST", "/Calls/"+call+"/Recordings"+path+".json", form)
	if code != want {
		t.Fatalf("recordings%s %v: %d %v", path, params, code, answer)
	}
	return answer
}

// toneFile answers path with a tone as a WAV file.
func toneFile(app *offhooktest.App, path string, d time.Duration, hz float64) {
	soundFile(app, path, audio.Tone(d, hz))
}

// soundFile answers path with pcm as a WAV file.
func soundFile(app *offhooktest.App, path string, pcm []int16) {
	var b bytes.Buffer
	b.WriteString("RIFF")
	_ = binary.Write(&b, binary.LittleEndian, uint32(36+2*len(pcm)))
	b.WriteString("WAVEfmt ")
	_ = binary.Write(&b, binary.LittleEndian, []uint32{16, 1 | 1<<16, 8000, 16000, 2 | 16<<16})
	b.WriteString("data")
	_ = binary.Write(&b, binary.LittleEndian, uint32(2*len(pcm)))
	_ = binary.Write(&b, binary.LittleEndian, pcm)
	app.OnFunc(path, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "audio/wav")
		_, _ = w.Write(b.Bytes())
	})
}

// rest is a silence, in which what was sent before arrives.
func rest(t *testing.T, line *offhooktest.Line, d time.Duration) {
	t.Helper()
	line.Whistles(d, 0) // silence
}

func TestRecordingALiveCall(t *testing.T) {
	for _, behavior := range []string{"silence", "skip"} {
		t.Run(behavior, func(t *testing.T) {
			t.Parallel()
			srv := offhooktest.Start(t)
			app := srv.App(t)
			toneFile(app, "/tone.wav", time.Second, 1500)
			app.On("/tone", `<Response><Play>/tone.wav</Play><Pause length="60"/></Response>`)
			ph := srv.Phone(t, callee)
			c := srv.Call(t, "To", callee, "From", caller, "Twiml", `<Response><Pause length="60"/></Response>`)
			if code, e := srv.Request("POST", "/Calls/"+c.SID+"/Recordings.json", url.Values{}); code != 400 || e["code"] != 21220.0 {
				t.Errorf("before the answer: %d %v", code, e)
			}
			line := ph.Answers()
			c.Is("in-progress")

			began := clock.System.Now()
			r := taped(t, srv, 201, c.SID, "", "RecordingChannels", "dual", "RecordingStatusCallback", app.URL("/rec"),
				"RecordingStatusCallbackEvent", "in-progress completed")
			started := clock.System.Now()
			sid := r["sid"].(string)
			if r["status"] != "in-progress" || r["source"] != "StartCallRecordingAPI" || r["channels"] != 2.0 || r["track"] != "both" || r["duration"] != nil {
				t.Errorf("started: %v", r)
			}
			app.Got("/rec", "RecordingStatus", "in-progress", "RecordingSid", sid, "CallSid", c.SID)
			rest(t, line, 300*time.Millisecond)
			line.Whistles(time.Second, 440)
			c.Update("Url", app.URL("/tone"))
			line.HearsTone(1500)
			rest(t, line, 1200*time.Millisecond)
			pausing := clock.System.Now()
			if r := taped(t, srv, 200, c.SID, "/Twilio.CURRENT", "Status", "paused", "PauseBehavior", behavior); r["status"] != "paused" || r["sid"] != sid {
				t.Errorf("paused: %v", r)
			}
			paused := clock.System.Now()
			other := map[string]string{"silence": "skip", "skip": "silence"}[behavior]
			if code, e := srv.Request("POST", "/Calls/"+c.SID+"/Recordings/"+sid+".json", url.Values{"Status": {"paused"}, "PauseBehavior": {other}}); code != 400 || e["code"] != 21220.0 {
				t.Errorf("paused by %s, then by %s: %d %v", behavior, other, code, e)
			}
			taped(t, srv, 200, c.SID, "/"+sid, "Status", "paused") // once more, which changes nothing
			line.Whistles(time.Second, 1000)
			rest(t, line, 300*time.Millisecond)
			resuming := clock.System.Now()
			if r := taped(t, srv, 200, c.SID, "/"+sid, "Status", "in-progress"); r["status"] != "in-progress" {
				t.Errorf("resumed: %v", r)
			}
			resumed := clock.System.Now()
			rest(t, line, 300*time.Millisecond)
			line.Whistles(600*time.Millisecond, 700)
			rest(t, line, 300*time.Millisecond)
			ending := clock.System.Now()
			if r := taped(t, srv, 200, c.SID, "/"+sid, "Status", "stopped"); r["status"] != "stopped" {
				t.Errorf("stopped: %v", r)
			}
			ended := clock.System.Now()
			app.Got("/rec", "RecordingStatus", "completed", "RecordingSid", sid, "RecordingChannels", "2",
				"RecordingSource", "StartCallRecordingAPI", "RecordingTrack", "both", "RecordingUrl",
				srv.URL+"/2010-04-01/Accounts/"+srv.AccountSID+"/Recordings/"+sid)
			if c.Fetch()["status"] != "in-progress" {
				t.Error("the call ended with its recording")
			}

			s := listen(t, srv, sid)
			s.has(t, 0, 440, time.Second)
			s.has(t, 1, 1500, time.Second)
			s.has(t, 0, 700, 600*time.Millisecond)
			s.lacks(t, 0, 1000)
			if from, to, _ := s.tone(1, 1500); from >= 0 { // ≥ 40 dB apart
				a, b := int(from*audio.SampleRate/time.Second), int(to*audio.SampleRate/time.Second)
				if mine, other := audio.Goertzel(s[1][a:b], 1500), audio.Goertzel(s[0][a:b], 1500); other > mine/1e4 {
					t.Errorf("the channels are only %.0f dB apart", 10*math.Log10(mine/other))
				}
			}
			least, most := ending.Sub(started), ended.Sub(began)
			if behavior == "skip" {
				least, most = least-resumed.Sub(pausing), most-resuming.Sub(paused)
			}
			near(t, "length", s.length(), least, most+20*time.Millisecond)
			_, r = srv.Request("GET", "/Recordings/"+sid+".json", nil)
			if r["status"] != "completed" || r["duration"] != strconv.Itoa(int(s.length().Round(time.Second)/time.Second)) {
				t.Errorf("%v of %v", r, s.length())
			}
			if code, e := srv.Request("POST", "/Calls/"+c.SID+"/Recordings/"+sid+".json", url.Values{"Status": {"paused"}}); code != 400 || e["code"] != 21220.0 {
				t.Errorf("pausing what has ended: %d %v", code, e)
			}
			line.Hangup()
			c.Is("completed")
			if code, e := srv.Request("POST", "/Calls/"+c.SID+"/Recordings.json", url.Values{}); code != 400 || e["code"] != 21220.0 {
				t.Errorf("after the end: %d %v", code, e)
			}
			names := strings.Join(c.Events().Names(), " ")
			if strings.Count(names, "Recording.started") != 1 || strings.Count(names, "Recording.completed") != 1 {
				t.Errorf("events %s", names)
			}
		})
	}
}

// Each of several recordings has its own tracks, and the end of the call ends them all.
func TestSeveralRecordingsEndWithTheCall(t *testing.T) {
	t.Parallel()
	srv := offhooktest.Start(t)
	app := srv.App(t)
	toneFile(app, "/tone.wav", 700*time.Millisecond, 1500)
	app.On("/tone", `<Response><Play>/tone.wav</Play><Pause length="60"/></Response>`)
	ph := srv.Phone(t, callee)
	c := srv.Call(t, "To", callee, "From", caller, "Twiml", `<Response><Pause length="60"/></Response>`)
	line := ph.Answers()
	c.Is("in-progress")
	sids := map[string]string{}
	for _, track := range []string{"inbound", "outbound", "both"} {
		sids[track] = taped(t, srv, 201, c.SID, "", "RecordingTrack", track, "RecordingChannels", "dual", "RecordingStatusCallback", app.URL("/rec"))["sid"].(string)
	}
	trimmed := taped(t, srv, 201, c.SID, "", "Trim", "trim-silence", "RecordingStatusCallback", app.URL("/rec"))["sid"].(string)
	if code, e := srv.Request("POST", "/Calls/"+c.SID+"/Recordings/Twilio.CURRENT.json", url.Values{"Status": {"stopped"}}); code != 400 {
		t.Errorf("which of them: %d %v", code, e)
	}
	c.Update("Url", app.URL("/tone"))
	line.HearsTone(1500)
	rest(t, line, time.Second)
	line.Whistles(500*time.Millisecond, 440)
	rest(t, line, 300*time.Millisecond)
	line.Hangup()
	for track, sid := range sids {
		app.Got("/rec", "RecordingSid", sid, "RecordingStatus", "completed", "RecordingTrack", track)
	}
	app.Got("/rec", "RecordingSid", trimmed, "RecordingStatus", "completed")
	if s := listen(t, srv, sids["inbound"]); len(s) != 1 {
		t.Errorf("one track has %d channels", len(s))
	} else {
		s.has(t, 0, 440, 500*time.Millisecond)
		s.lacks(t, 0, 1500)
	}
	s := listen(t, srv, sids["outbound"])
	s.has(t, 0, 1500, 700*time.Millisecond)
	s.lacks(t, 0, 440)
	s = listen(t, srv, sids["both"])
	s.has(t, 0, 440, 500*time.Millisecond)
	s.has(t, 1, 1500, 700*time.Millisecond)
	s = listen(t, srv, trimmed)
	from, _ := s.has(t, 0, 1500, 700*time.Millisecond)
	_, to := s.has(t, 0, 440, 500*time.Millisecond)
	near(t, "silence before", from, 0, 0)
	near(t, "silence behind", s.length()-to, 0, 0)
}

// kept is the completed callback of a recording, and what it has.
func kept(t *testing.T, srv *offhooktest.Server, app *offhooktest.App, params ...string) (offhooktest.Request, sound) {
	t.Helper()
	r := app.Got("/rec", append(params, "RecordingStatus", "completed")...)
	s := listen(t, srv, r.Params.Get("RecordingSid"))
	if want := strconv.Itoa(int(s.length().Round(time.Second) / time.Second)); r.Params.Get("RecordingDuration") != want {
		t.Errorf("RecordingDuration %s of %v", r.Params.Get("RecordingDuration"), s.length())
	}
	return r, s
}

func TestACallRecordedFromItsAnswer(t *testing.T) {
	for name, tc := range map[string]struct {
		params   []string
		channels int
		trimmed  bool
	}{
		"by default": {nil, 1, true},
		"dual, all":  {[]string{"RecordingChannels", "dual", "Trim", "do-not-trim"}, 2, false},
		"inbound":    {[]string{"RecordingChannels", "dual", "RecordingTrack", "inbound"}, 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := offhooktest.Start(t)
			app := srv.App(t)
			ph := srv.Phone(t, callee)
			c := srv.Call(t, append(tc.params, "To", callee, "From", caller, "Twiml", `<Response><Pause length="60"/></Response>`,
				"Record", "true", "RecordingStatusCallback", app.URL("/rec"), "RecordingStatusCallbackEvent", "in-progress completed absent",
				"StatusCallback", app.URL("/status"))...)
			line := ph.Answers()
			began := clock.System.Now()
			app.Got("/rec", "RecordingStatus", "in-progress", "RecordingSource", "OutboundAPI")
			rest(t, line, 400*time.Millisecond)
			line.Whistles(1600*time.Millisecond, 440)
			rest(t, line, 300*time.Millisecond)
			line.Hangup()
			took := clock.System.Now().Sub(began)
			r, s := kept(t, srv, app, "RecordingSource", "OutboundAPI", "RecordingChannels", strconv.Itoa(tc.channels))
			from, to := s.has(t, 0, 440, 1600*time.Millisecond)
			if len(s) != tc.channels {
				t.Errorf("%d channels", len(s))
			}
			if tc.trimmed {
				near(t, "silence before", from, 0, 0)
				near(t, "silence behind", s.length()-to, 0, 0)
			} else {
				near(t, "length", s.length(), took-100*time.Millisecond, took+100*time.Millisecond)
			}
			status := app.Got("/status", "CallStatus", "completed", "RecordingSid", r.Params.Get("RecordingSid"),
				"RecordingUrl", r.Params.Get("RecordingUrl"))
			if status.Params.Get("RecordingDuration") != r.Params.Get("RecordingDuration") {
				t.Errorf("it lasted %s and %s s", status.Params.Get("RecordingDuration"), r.Params.Get("RecordingDuration"))
			}
			c.Is("completed")
		})
	}
}

func TestTheRecordVerb(t *testing.T) {
	for name, tc := range map[string]struct {
		attributes string
		whistle    time.Duration
		end        func(line *offhooktest.Line)
		digits     string
		length     time.Duration // untrimmed: at least
		status     string
	}{
		"ended by a key":      {`finishOnKey="5#"`, time.Second, func(l *offhooktest.Line) { l.Press("15") }, "5", 0, "in-progress"},
		"ended by silence":    {`timeout="1"`, time.Second, func(*offhooktest.Line) {}, "", 0, "in-progress"},
		"ended at its length": {`maxLength="1" trim="do-not-trim"`, 500 * time.Millisecond, func(*offhooktest.Line) {}, "", time.Second, "in-progress"},
		"ended by hanging up": {`timeout="0"`, time.Second, func(l *offhooktest.Line) { l.Hangup() }, "hangup", 0, "completed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := offhooktest.Start(t)
			app := srv.App(t)
			app.On("/voice", `<Response><Record action="/done" recordingStatusCallback="/rec" transcribe="true" transcribeCallback="/text" `+tc.attributes+`/><Say>Not this</Say></Response>`)
			app.On("/done", `<Response><Say>Thanks</Say></Response>`)
			srv.Number(t, own, app.URL("/voice"))
			line := srv.Phone(t, callee).Dial(own)
			line.HearsTone(1000)
			rest(t, line, 700*time.Millisecond)
			line.Whistles(tc.whistle, 440)
			if tc.length == 0 {
				rest(t, line, 300*time.Millisecond)
			}
			tc.end(line)
			done := app.Got("/done", "CallStatus", tc.status)
			r, s := kept(t, srv, app, "RecordingSource", "RecordVerb", "RecordingTrack", "inbound", "RecordingChannels", "1")
			for _, name := range []string{"RecordingSid", "RecordingUrl", "RecordingDuration"} {
				if done.Params.Get(name) != r.Params.Get(name) || r.Params.Get(name) == "" {
					t.Errorf("%s is %q to the action and %q to the callback", name, done.Params.Get(name), r.Params.Get(name))
				}
			}
			if done.Params.Get("Digits") != tc.digits {
				t.Errorf("Digits %q, want %q", done.Params.Get("Digits"), tc.digits)
			}
			if tc.length > 0 {
				near(t, "length", s.length(), tc.length, tc.length)
			} else {
				from, to := s.has(t, 0, 440, tc.whistle)
				near(t, "silence before", from, 0, 0)
				near(t, "silence behind", s.length()-to, 0, 0)
			}
			s.lacks(t, 0, 1000)
			app.Got("/text", "TranscriptionStatus", "failed", "RecordingSid", r.Params.Get("RecordingSid"), "TranscriptionType", "fast")
			if tc.digits != "hangup" {
				line.Hears("Thanks")
			}
			line.HungUp()
		})
	}
}

func TestARecordNobodySpeaksInto(t *testing.T) {
	t.Parallel()
	srv := offhooktest.Start(t)
	app := srv.App(t)
	app.On("/voice", `<Response><Record action="/done" maxLength="1" playBeep="false" recordingStatusCallback="/rec" recordingStatusCallbackEvent="absent"/><Say>Nobody</Say></Response>`)
	srv.Number(t, own, app.URL("/voice"))
	line := srv.Phone(t, callee).Dial(own)
	line.StopRTP(true)
	line.Hears("Nobody")
	app.Got("/rec", "RecordingStatus", "absent", "ErrorCode", "16102")
	if got := app.Requests("/done"); len(got) > 0 {
		t.Errorf("the action was requested: %v", got)
	}
}

func TestARecordedDial(t *testing.T) {
	for _, mode := range []string{"record-from-answer", "record-from-ringing", "record-from-answer-dual", "record-from-ringing-dual"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			srv := offhooktest.Start(t)
			app := srv.App(t)
			app.On("/voice", `<Response><Dial action="/done" record="`+mode+`" recordingStatusCallback="/rec"><Number statusCallback="/child">+15550122</Number></Dial></Response>`)
			app.On("/done", `<Response><Say>Over</Say><Pause length="60"/></Response>`)
			srv.Number(t, own, app.URL("/voice"))
			called := srv.Phone(t, "+15550122")
			line := srv.Phone(t, callee).Dial(own)
			other := called.Incoming()
			other.Ring()
			line.Answered() // by the <Dial>
			rest(t, line, 500*time.Millisecond)
			line.Whistles(700*time.Millisecond, 700) // while it rings
			rest(t, line, 300*time.Millisecond)
			other.Answer()
			other.Answered()
			rest(t, other, 500*time.Millisecond)
			line.Whistles(time.Second, 900)
			rest(t, line, 100*time.Millisecond)
			other.Whistles(900*time.Millisecond, 1500)
			rest(t, other, 300*time.Millisecond)
			other.Hangup()
			done := app.Got("/done", "DialCallStatus", "completed")
			channels := 1
			if strings.HasSuffix(mode, "dual") {
				channels = 2
			}
			r, s := kept(t, srv, app, "RecordingSource", "DialVerb", "RecordingChannels", strconv.Itoa(channels), "CallSid", done.Params.Get("CallSid"))
			if done.Params.Get("RecordingUrl") != r.Params.Get("RecordingUrl") {
				t.Errorf("RecordingUrl %q and %q", done.Params.Get("RecordingUrl"), r.Params.Get("RecordingUrl"))
			}
			if of := app.Got("/child", "CallStatus", "completed", "RecordingSid", r.Params.Get("RecordingSid"), "RecordingUrl", r.Params.Get("RecordingUrl")); of.Params.Get("RecordingDuration") == "" {
				t.Errorf("the called party's last callback has no RecordingDuration: %v", of.Params)
			}
			s.has(t, 0, 900, time.Second)
			s.has(t, channels-1, 1500, 900*time.Millisecond)
			if channels == 2 {
				s.lacks(t, 0, 1500)
				s.lacks(t, 1, 900)
			}
			if strings.Contains(mode, "ringing") {
				s.has(t, 0, 700, 700*time.Millisecond)
			} else {
				s.lacks(t, 0, 700)
			}
			line.Hears("Over")
			line.Hangup()
		})
	}
}

func TestStartAndStopRecording(t *testing.T) {
	t.Parallel()
	srv := offhooktest.Start(t)
	app := srv.App(t)
	app.On("/voice", `<Response>
		<Start><Recording name="a" trim="do-not-trim" recordingStatusCallback="/rec" recordingStatusCallbackEvent="in-progress completed"/></Start>
		<Start><Recording name="b" channels="mono" recordingStatusCallback="/rec"/></Start>
		<Pause length="1"/><Stop><Recording name="a"/></Stop><Pause length="60"/></Response>`)
	srv.Number(t, own, app.URL("/voice"))
	line := srv.Phone(t, callee).Dial(own)
	line.Answered()
	app.Got("/rec", "RecordingStatus", "in-progress", "RecordingSource", "StartCallRecordingTwiML")
	_, s := kept(t, srv, app, "RecordingChannels", "2")
	near(t, "length", s.length(), time.Second, time.Second+40*time.Millisecond)
	line.Whistles(500*time.Millisecond, 440)
	rest(t, line, 300*time.Millisecond)
	line.Hangup()
	_, s = kept(t, srv, app, "RecordingChannels", "1", "RecordingSource", "StartCallRecordingTwiML", "RecordingTrack", "both")
	s.has(t, 0, 440, 500*time.Millisecond)
}
