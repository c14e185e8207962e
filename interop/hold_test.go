package interop

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/audio"
	"github.com/offhook/offhook/offhooktest"
	"github.com/offhook/offhook/twiliocall"
)

// Hold and mute are ours: the phones know of neither. What they hear is read sample by sample from their recordings,
// µ-law comes through unchanged.

// An operator asks for hold, unhold, mute and unmute.
type operator struct {
	name string
	asks func(t *testing.T, srv *offhooktest.Server, sid, action, musicURL string) (*twiliocall.Call, error)
}

var operators = []operator{
	{"HTTP", func(t *testing.T, srv *offhooktest.Server, sid, action, musicURL string) (*twiliocall.Call, error) {
		t.Helper()
		var body bytes.Buffer
		if musicURL != "" {
			check(t, json.NewEncoder(&body).Encode(map[string]string{"musicUrl": musicURL}))
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL+"/v1/calls/"+sid+"/"+action, &body)
		check(t, err)
		req.SetBasicAuth(srv.AccountSID, srv.AuthToken)
		if body.Len() > 0 {
			req.Header.Set("Content-Type", "application/json")
		}
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := client.Do(req)
		check(t, err)
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			p := &twiliocall.Problem{Status: resp.StatusCode}
			check(t, json.NewDecoder(resp.Body).Decode(p))
			return nil, p
		}
		c := new(twiliocall.Call)
		return c, json.NewDecoder(resp.Body).Decode(c)
	}},
	{"client", func(t *testing.T, srv *offhooktest.Server, sid, action, musicURL string) (*twiliocall.Call, error) {
		t.Helper()
		tc := sessions(t, srv)
		switch action {
		case "hold":
			return tc.Hold(t.Context(), sid, musicURL)
		case "unhold":
			return tc.Unhold(t.Context(), sid)
		case "mute":
			return tc.Mute(t.Context(), sid)
		}
		return tc.Unmute(t.Context(), sid)
	}},
}

// sessions is the TwilioCall client of a server.
func sessions(t *testing.T, srv *offhooktest.Server) *twiliocall.Client {
	t.Helper()
	c, err := twiliocall.New(twiliocall.Config{URL: srv.URL, AccountSID: srv.AccountSID, AuthToken: srv.AuthToken})
	check(t, err)
	return c
}

// A board is an operator before the calls of a server.
type board struct {
	operator
	t   *testing.T
	srv *offhooktest.Server
}

// set asks for an action and checks what the call then is, in its answer and in the resource.
func (o board) set(sid, action, musicURL string, held, muted bool) {
	o.t.Helper()
	answer, err := o.asks(o.t, o.srv, sid, action, musicURL)
	check(o.t, err)
	now, err := sessions(o.t, o.srv).Retrieve(o.t.Context(), sid)
	check(o.t, err)
	for _, c := range []*twiliocall.Call{answer, now} {
		if c.ID != sid || c.Status != "in-progress" || c.Held != held || c.Muted != muted {
			o.t.Errorf("%s: %s is %s, held %v, muted %v", action, c.ID, c.Status, c.Held, c.Muted)
		}
	}
}

// refused checks that none of the actions is for the call any more.
func (o board) refused(sid string) {
	o.t.Helper()
	for _, action := range []string{"hold", "unhold", "mute", "unmute"} {
		_, err := o.asks(o.t, o.srv, sid, action, "")
		var p *twiliocall.Problem
		if !errors.As(err, &p) || p.Status != http.StatusConflict || p.Code != 21220 {
			o.t.Errorf("%s of a call that is over: %v", action, err)
		}
	}
}

// told reads the events of a call that is over: numbered without a gap, and they say how it was then: the recordings
// begin on hold, and end while the party is still muted. Hold and mute have no events of their own.
func (o board) told(sid string, names ...string) {
	o.t.Helper()
	var got []string
	for e, err := range sessions(o.t, o.srv).Events(o.t.Context(), sid, "") {
		check(o.t, err)
		name := strings.TrimPrefix(e.Type, "TwilioCall.")
		if e.Sequence != len(got) {
			o.t.Errorf("%s comes as number %d and says %d", e.Type, len(got), e.Sequence)
		}
		got = append(got, name)
		c, err := e.Call()
		check(o.t, err)
		if c.Held != (name == "Recording.started") || c.Muted != strings.HasPrefix(name, "Recording.") {
			o.t.Errorf("%s says held %v and muted %v", e.Type, c.Held, c.Muted)
		}
	}
	if !slices.Equal(got, names) {
		o.t.Errorf("events %v, want %v", got, names)
	}
}

// served gives out audio as a file of the application.
func served(app *offhooktest.App, path string, pcm []int16) {
	app.OnFunc(path, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "audio/wav")
		_, _ = w.Write(audio.EncodeWAV(pcm, audio.SampleRate)) // a failed write shows at the caller
	})
}

// placed is a sound whose every trace is of one place in it: noise, and where each key of it is.
type placed struct {
	pcm []int16 // as it comes through µ-law
	at  map[[keyLength]int16]int
}

// keyLength is how many samples of a sound are found nowhere else in it.
const keyLength = 12

func place(pcm []int16) *placed {
	p := &placed{pcm: audio.DecodeULaw(audio.EncodeULaw(pcm)), at: map[[keyLength]int16]int{}}
	for i := 0; i+keyLength <= len(p.pcm); i++ {
		key := [keyLength]int16(p.pcm[i:])
		if _, known := p.at[key]; known {
			p.at[key] = -1 // of several places
			continue
		}
		p.at[key] = i
	}
	return p
}

// noise is a sound to be placed. Another seed makes another one.
func noise(d time.Duration, seed uint64) *placed {
	r := rand.New(rand.NewPCG(seed, 0))
	pcm := make([]int16, d*audio.SampleRate/time.Second)
	for i := range pcm {
		pcm[i] = int16(r.IntN(16000) - 8000)
	}
	return place(pcm)
}

// span is a part of a recording that is one of a sound.
type span struct{ start, end, place int }

// minSpan is the least that counts as heard, 20 ms.
const minSpan = audio.FrameSamples

// spans are the parts of pcm, in order, that are p's.
func (p *placed) spans(pcm []int16) (list []span) {
	for i := 0; i+keyLength <= len(pcm); {
		at, ok := p.at[[keyLength]int16(pcm[i:])]
		if !ok || at < 0 {
			i++
			continue
		}
		s := span{start: i, place: at}
		for i < len(pcm) && at < len(p.pcm) && pcm[i] == p.pcm[at] {
			i, at = i+1, at+1
		}
		if s.end = i; s.end-s.start >= minSpan {
			list = append(list, s)
		}
	}
	return list
}

// length is how many samples of pcm are p's.
func (p *placed) length(pcm []int16) (n int) {
	for _, s := range p.spans(pcm) {
		n += s.end - s.start
	}
	return n
}

// recorded is what a phone heard in its only call so far.
func (b *baresip) recorded() []int16 {
	b.t.Helper()
	names, _ := filepath.Glob(b.pattern)
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	raw, err := os.ReadFile(names[len(names)-1])
	if err != nil || len(raw) < wavHeader {
		return nil
	}
	return samples(raw)
}

// samples are those of a WAV file.
func samples(wav []byte) []int16 {
	wav = wav[wavHeader:]
	pcm := make([]int16, len(wav)/2)
	for i := range pcm {
		pcm[i] = int16(binary.LittleEndian.Uint16(wav[2*i:]))
	}
	return pcm
}

// download is a recording in one channel.
func download(t *testing.T, srv *offhooktest.Server, target string) []int16 {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
	check(t, err)
	req.SetBasicAuth(srv.AccountSID, srv.AuthToken)
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	check(t, err)
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	check(t, err)
	if resp.StatusCode != http.StatusOK || len(raw) < wavHeader {
		t.Fatalf("%s: %s, %d bytes", target, resp.Status, len(raw))
	}
	return samples(raw)
}

// hearsMore waits until the phone has heard d more of a sound, and returns how much it has recorded.
func (b *baresip) hearsMore(what string, p *placed, d time.Duration) int {
	b.t.Helper()
	from := len(b.recorded())
	var pcm []int16
	b.waitFor(what, func() bool {
		pcm = b.recorded()
		return p.length(pcm[min(from, len(pcm)):]) >= int(d*audio.SampleRate/time.Second)
	})
	return len(pcm)
}

// silent checks that the phone hears nothing for a while.
func (b *baresip) silent(why string) {
	b.t.Helper()
	b.longer(settle)
	b.forget()
	b.longer(holdFor)
	if b.heardSound(time.Millisecond) {
		b.t.Errorf("%s: there is sound", why)
	}
}

// settle is what is still under way to a phone when an action has been answered.
const settle = 300 * time.Millisecond

// goesOn checks where in the recording a sound that was interrupted goes on: with the next sample, to within a frame.
func goesOn(t *testing.T, pcm []int16, p *placed, interruptions int) {
	t.Helper()
	list := p.spans(pcm)
	if len(list) == 0 || list[0].place != 0 {
		t.Fatalf("the prompt did not begin with its beginning: %v", list)
	}
	found := 0
	for i, s := range list[1:] {
		before := list[i]
		if s.start-before.end < audio.SampleRate/2 {
			continue // packets that the phone lost
		}
		found++
		if off := s.place - (before.place + before.end - before.start); off < -audio.FrameSamples || off > audio.FrameSamples {
			t.Errorf("after the interruption the prompt goes on %d samples from where it was", off)
		}
	}
	if found != interruptions {
		t.Errorf("the prompt was interrupted %d times, want %d: %v", found, interruptions, list)
	}
}

func TestBaresipIsHeldInAPrompt(t *testing.T) {
	t.Parallel()
	for _, o := range operators {
		t.Run(o.name, func(t *testing.T) {
			t.Parallel()
			srv := offhooktest.Start(t)
			app, o := srv.App(t), board{o, t, srv}
			prompt, second, tune := noise(40*time.Second, 1), noise(40*time.Second, 2), noise(2*time.Second, 3)
			ours := place(audio.HoldMusic().PCM())
			served(app, "/prompt.wav", prompt.pcm)
			served(app, "/second.wav", second.pcm)
			served(app, "/tune.wav", tune.pcm)
			app.On("/voice", `<Response><Gather action="/pressed" timeout="1" finishOnKey="#"><Play>/prompt.wav</Play></Gather></Response>`)
			app.On("/pressed", `<Response><Gather action="/over" numDigits="2"><Play>/second.wav</Play></Gather></Response>`)
			app.On("/second", `<Response><Gather action="/over" numDigits="2"><Play>/second.wav</Play></Gather></Response>`)
			app.On("/over", `<Response/>`)
			bob := phone(t, "answermode=auto")
			c := srv.Call(t, "To", bob.uri(), "From", caller, "Url", app.URL("/voice"))
			bob.hearsMore("bob hears the prompt", prompt, time.Second)

			o.set(c.SID, "hold", "", true, false)
			bob.hearsMore("bob hears our music", ours, time.Second)
			bob.press("5") // counts for nothing, nor does the time
			bob.hearsMore("bob hears our music", ours, time.Second)
			o.set(c.SID, "hold", "", true, false) // a second time changes nothing
			from := len(bob.recorded())
			o.set(c.SID, "hold", app.URL("/tune.wav"), true, false)
			bob.hearsMore("bob hears the tune, and again", tune, 3*time.Second)
			if n := prompt.length(bob.recorded()[from:]); n > 0 {
				t.Errorf("on hold bob heard %d samples of the prompt", n)
			}
			o.set(c.SID, "unhold", "", false, false)
			bob.hearsMore("the prompt goes on", prompt, time.Second)
			o.set(c.SID, "unhold", "", false, false)
			o.set(c.SID, "mute", "", false, true)
			o.set(c.SID, "hold", "", true, true)
			recording, err := sessions(t, srv).Record(t.Context(), c.SID, twiliocall.RecordingConfig{Track: "outbound", StatusCallback: app.URL("/recorded")})
			check(t, err)
			bob.hearsMore("bob hears our music", ours, time.Second)
			o.set(c.SID, "unhold", "", false, true)
			bob.hearsMore("the prompt goes on", prompt, time.Second)
			_, err = sessions(t, srv).StopRecording(t.Context(), c.SID, recording.ID)
			check(t, err)
			bob.press("7") // ends the prompt
			bob.press("#")
			app.Got("/pressed", "Digits", "7", "FinishedOnKey", "#")
			pcm := bob.recorded()
			goesOn(t, pcm, prompt, 2)
			app.Got("/recorded", "RecordingSid", recording.ID, "RecordingStatus", "completed")
			if tape := download(t, srv, recording.MediaURLs["wav"]); prompt.length(tape) < audio.SampleRate || ours.length(tape) > 0 {
				t.Errorf("of %d recorded samples %d are the prompt and %d our music", len(tape), prompt.length(tape), ours.length(tape))
			}

			// Both outlive a redirect, of a document that begins when the party is back.
			bob.hearsMore("bob hears the next prompt", second, time.Second)
			o.set(c.SID, "hold", app.URL("/tune.wav"), true, true)
			bob.hearsMore("bob hears the tune", tune, time.Second)
			from = len(bob.recorded())
			update(t, srv, c.SID, "Url", app.URL("/second"))
			app.Got("/second")
			bob.press("1")
			bob.hearsMore("bob goes on hearing the tune", tune, 2*time.Second)
			if pcm := bob.recorded(); second.length(pcm[from:]) > 0 {
				t.Error("on hold bob heard the document that he was redirected to")
			}
			o.set(c.SID, "unhold", "", false, true)
			bob.hearsMore("bob hears the document", second, time.Second)
			pcm = bob.recorded()
			if after := second.spans(pcm[from:]); after[0].place > audio.FrameSamples {
				t.Errorf("the document begins at sample %d of its prompt", after[0].place)
			}
			o.set(c.SID, "unmute", "", false, false)
			o.set(c.SID, "mute", "", false, true)
			bob.press("2")
			bob.press("3")
			app.Got("/over", "Digits", "23")
			bob.reports("CALL_CLOSED")
			c.Is("completed")
			o.refused(c.SID)
			o.told(c.SID, "created", "queued", "ringing", "answered", "in-progress", "Recording.started", "Recording.completed", "completed")
		})
	}
}

func TestBaresipIsHeldInAConversation(t *testing.T) {
	t.Parallel()
	for _, o := range operators {
		t.Run(o.name, func(t *testing.T) {
			t.Parallel()
			srv := offhooktest.Start(t)
			app, o := srv.App(t), board{o, t, srv}
			h := domain(t, srv, app, "shop.example", "ann", "bob", "cat")
			ours, tune := place(audio.HoldMusic().PCM()), noise(2*time.Second, 4)
			served(app, "/tune.wav", tune.pcm)
			app.On("/voice", `<Response><Dial action="/after" hangupOnStar="true"><Sip>sip:bob@shop.example</Sip></Dial></Response>`)
			app.On("/second", `<Response><Dial action="/after-second" hangupOnStar="true"><Sip>sip:cat@shop.example</Sip></Dial></Response>`)
			app.On("/after-second", `<Response/>`)
			ann, bob, cat := h.baresip("ann", "udp"), h.baresip("bob", "udp", "answermode=auto"), h.baresip("cat", "udp", "answermode=auto")
			ann.do("dial", "sip:bob@shop.example")
			ann.hears("This is bob")
			bob.hears("This is ann")
			var parent, child string
			for c, err := range sessions(t, srv).List(t.Context(), twiliocall.Filter{Status: []string{"in-progress"}}) {
				check(t, err)
				if c.ParentCallSID != nil {
					parent, child = *c.ParentCallSID, c.ID
				}
			}
			again := func() {
				t.Helper()
				ann.forget()
				bob.forget()
				ann.hears("This is bob")
				bob.hears("This is ann")
			}

			// Ann, who called, is on hold.
			o.set(parent, "hold", "", true, false)
			ann.hearsMore("ann hears our music", ours, time.Second)
			ann.forget()
			ann.press("*") // neither is passed on nor ends the conversation
			bob.press("2") // nobody is there
			bob.silent("ann is on hold")
			o.set(parent, "hold", app.URL("/tune.wav"), true, false)
			ann.hearsMore("ann hears the tune", tune, 3*time.Second)
			if ann.heard("This is bob") {
				t.Error("on hold ann hears bob")
			}
			o.set(parent, "unhold", "", false, false)
			again()
			// Bob, who was called.
			o.set(child, "hold", "", true, false)
			bob.hearsMore("bob hears our music", ours, time.Second)
			bob.forget()
			bob.press("4")
			ann.silent("bob is on hold")
			if bob.heard("This is ann") {
				t.Error("on hold bob hears ann")
			}
			o.set(child, "unhold", "", false, false)
			again()
			// Both.
			o.set(parent, "hold", app.URL("/tune.wav"), true, false)
			o.set(child, "hold", "", true, false)
			ann.hearsMore("ann hears the tune", tune, time.Second)
			bob.hearsMore("bob hears our music", ours, time.Second)
			o.set(child, "unhold", "", false, false)
			bob.silent("ann is still on hold")
			o.set(parent, "unhold", "", false, false)
			again()
			// Ann is muted.
			o.set(parent, "mute", "", false, true)
			bob.silent("ann is muted")
			ann.forget()
			ann.hears("This is bob")
			ann.press("6")
			if e := bob.reports("CALL_DTMF_START"); e.Param != "6" {
				t.Errorf("bob was sent %q: keys of who is on hold are dropped, those of who is muted count", e.Param)
			}
			bob.press("8")
			if e := ann.reports("CALL_DTMF_START"); e.Param != "8" {
				t.Errorf("ann was sent %q", e.Param)
			}
			o.set(parent, "unmute", "", false, false)
			again()

			// Muted and on hold she is redirected to cat.
			o.set(parent, "mute", "", false, true)
			o.set(parent, "hold", app.URL("/tune.wav"), true, true)
			ann.hearsMore("ann hears the tune", tune, time.Second)
			_, err := sessions(t, srv).Redirect(t.Context(), parent, twiliocall.Redirect{URL: app.URL("/second")})
			check(t, err)
			bob.reports("CALL_CLOSED")
			cat.reports("CALL_ESTABLISHED")
			ann.hearsMore("ann goes on hearing the tune", tune, 2*time.Second)
			cat.silent("ann is on hold")
			o.set(parent, "unhold", "", false, true)
			ann.forget()
			ann.hears("This is cat")
			cat.silent("ann is muted")
			o.set(parent, "unmute", "", false, false)
			cat.forget()
			cat.hears("This is ann")
			o.set(parent, "mute", "", false, true)
			ann.press("*") // now it ends the conversation
			cat.reports("CALL_CLOSED")
			app.Got("/after-second", "CallSid", parent, "DialCallStatus", "completed", "DialBridged", "true")
			ann.reports("CALL_CLOSED")
			srv.Find(t, parent).Is("completed")
			o.refused(parent)
			o.refused(child)
			o.told(parent, "created", "ringing", "answered", "in-progress", "completed")
			o.told(child, "created", "ringing", "answered", "in-progress", "completed")
		})
	}
}
