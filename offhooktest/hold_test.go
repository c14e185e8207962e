package offhooktest_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/audio"
	"github.com/offhook/offhook/offhooktest"
	"github.com/offhook/offhook/twiliocall"
)

// sessions is the TwilioCall client of a server.
func sessions(t *testing.T, srv *offhooktest.Server) *twiliocall.Client {
	t.Helper()
	c, err := twiliocall.New(twiliocall.Config{URL: srv.URL, AccountSID: srv.AccountSID, AuthToken: srv.AuthToken})
	noError(t, err)
	return c
}

func TestAHeldPartyHearsMusicAndItsGatherWaits(t *testing.T) {
	t.Parallel()
	srv := offhooktest.Start(t)
	app := srv.App(t)
	app.On("/voice", `<Response><Gather action="/pressed" timeout="2" numDigits="1"/><Say>Nothing was pressed</Say></Response>`)
	app.On("/pressed", `<Response><Say>You pressed it</Say></Response>`)
	app.OnFunc("/music", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "audio/wav")
		_, _ = w.Write(audio.EncodeWAV(audio.Tone(time.Second, 620), audio.SampleRate))
	})
	ph := srv.Phone(t, callee)
	c := srv.Call(t, "To", callee, "From", caller, "Url", app.URL("/voice"))
	line := ph.Answers()
	app.Got("/voice")
	tc := sessions(t, srv)
	held, err := tc.Hold(t.Context(), c.SID, "")
	noError(t, err)
	if !held.Held || held.Status != "in-progress" {
		t.Errorf("%+v", held)
	}
	line.HearsSound(3 * time.Second) // longer than the timeout of the Gather
	_, err = tc.Hold(t.Context(), c.SID, app.URL("/music"))
	noError(t, err)
	line.HearsTone(620)
	line.Press("5") // nobody hears it
	line.HearsTone(620)
	if line.HeardEver("Nothing was pressed") || len(app.Requests("/pressed")) > 0 {
		t.Error("the Gather went on")
	}
	_, err = tc.Unhold(t.Context(), c.SID)
	noError(t, err)
	line.Press("7")
	app.Got("/pressed", "Digits", "7")
	line.Hears("You pressed it")
	line.HungUp()
	c.Is("completed")
}

// A <Record> waits for who is on hold, also one that begins meanwhile: neither its silence nor its length counts.
func TestARecordWaitsForWhoIsHeld(t *testing.T) {
	t.Parallel()
	srv := offhooktest.Start(t)
	app := srv.App(t)
	app.On("/record", `<Response><Record action="/done" timeout="1" playBeep="false" recordingStatusCallback="/rec" recordingStatusCallbackEvent="in-progress"/></Response>`)
	app.On("/done", `<Response><Pause length="60"/></Response>`)
	ph := srv.Phone(t, callee)
	c := srv.Call(t, "To", callee, "From", caller, "Url", app.URL("/record"))
	line := ph.Answers()
	app.Got("/rec", "RecordingStatus", "in-progress")
	tc := sessions(t, srv)
	_, err := tc.Hold(t.Context(), c.SID, "")
	noError(t, err)
	waits := func() {
		t.Helper()
		line.HearsSound(3 * time.Second) // longer than its timeout
		if len(app.Requests("/done")) > 0 {
			t.Error("the silence of a party that is held ended a recording")
		}
	}
	waits()
	_, err = tc.Redirect(t.Context(), c.SID, twiliocall.Redirect{URL: app.URL("/record")})
	noError(t, err)
	app.Got("/rec", "RecordingStatus", "in-progress") // another
	waits()
	_, err = tc.Unhold(t.Context(), c.SID)
	noError(t, err)
	app.Got("/done")
}

func TestHoldAndMuteSurviveARedirect(t *testing.T) {
	t.Parallel()
	srv := offhooktest.Start(t)
	app := srv.App(t)
	app.On("/voice", `<Response><Say loop="0">First</Say></Response>`)
	app.On("/second", `<Response><Gather action="/pressed" numDigits="1"><Say>Second</Say></Gather></Response>`)
	app.On("/pressed", `<Response><Say>Thanks</Say></Response>`)
	ph := srv.Phone(t, callee)
	c := srv.Call(t, "To", callee, "From", caller, "Url", app.URL("/voice"))
	line := ph.Answers()
	line.Hears("First")
	tc := sessions(t, srv)
	_, err := tc.Mute(t.Context(), c.SID)
	noError(t, err)
	_, err = tc.Hold(t.Context(), c.SID, "")
	noError(t, err)
	c.Update("Url", app.URL("/second"))
	app.Got("/second")
	line.HearsSound(time.Second)
	if line.HeardEver("Second") {
		t.Error("a held party hears the new document")
	}
	now, err := tc.Unhold(t.Context(), c.SID)
	noError(t, err)
	if now.Held || !now.Muted {
		t.Errorf("%+v", now)
	}
	line.Hears("Second")
	line.Press("1") // the keys of a muted party count
	app.Got("/pressed", "Digits", "1")
	line.HungUp()
}

func TestHoldAndMuteInAConversation(t *testing.T) {
	t.Parallel()
	srv, _, a, b := conversation(t)
	tc := sessions(t, srv)
	var parent, child string
	for c, err := range tc.List(t.Context(), twiliocall.Filter{Status: []string{"in-progress"}}) {
		noError(t, err)
		if c.ParentCallSID != nil {
			child, parent = c.ID, *c.ParentCallSID
		}
	}
	talk(a, b)
	_, err := tc.Hold(t.Context(), parent, "")
	noError(t, err)
	a.HearsSound(time.Second)
	a.Whistles(500*time.Millisecond, 1000)
	b.Whistles(500*time.Millisecond, 1000)
	_, err = tc.Unhold(t.Context(), parent)
	noError(t, err)
	talk(a, b)

	_, err = tc.Mute(t.Context(), child)
	noError(t, err)
	b.Whistles(500*time.Millisecond, 1000)
	a.Whistles(time.Second, 700)
	b.HearsTone(700) // who is muted still hears
	_, err = tc.Unmute(t.Context(), child)
	noError(t, err)
	talk(a, b)
	for name, l := range map[string]*offhooktest.Line{"alice": a, "bob": b} {
		if whistled(l, 1000) {
			t.Errorf("%s heard what was said on hold, or muted", name)
		}
	}
}

// whistled reports whether a tenth of a second of a tone was ever heard.
func whistled(l *offhooktest.Line, hz float64) bool {
	const window, step = audio.SampleRate / 10, audio.SampleRate / 50
	for pcm := l.Heard(); len(pcm) >= window; pcm = pcm[step:] {
		if p := pcm[:window]; audio.Goertzel(p, hz) > 1e5 && audio.Goertzel(p, hz) > 0.6*audio.Power(p) {
			return true
		}
	}
	return false
}
