package session

import (
	"bytes"
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/audio"
	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/phone"
)

// says is a leg's audio until nobody taps it any more: pcm, then silence. It needs no time.
func (l *actor) says(w *world, pcm []int16) {
	w.t.Helper()
	w.until("the leg is tapped", func() bool { return l.tapped() != nil })
	ulaw := audio.EncodeULaw(pcm)
	for at := int64(0); ; at += audio.FrameSamples {
		t := l.tapped()
		if t == nil {
			return
		}
		t.Tick(at, nil, at)
		if len(ulaw) > 0 {
			n := min(audio.FrameSamples, len(ulaw))
			t.Write(audio.Inbound, at, ulaw[:n])
			ulaw = ulaw[n:]
		}
	}
}

func (l *actor) tapped() audio.Tap {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tap
}

// detecting asks for a detection.
func detecting(app *dialApp, async bool) func(*call.CreateParams) {
	return func(p *call.CreateParams) {
		p.Options.URL = app.URL + "/"
		p.MachineDetection.Mode, p.MachineDetection.SilenceTimeout = call.DetectEnable, 2000
		if async {
			p.AsyncAMD, p.MachineDetection.CallbackURL = &async, app.URL+"/amd"
		}
		toldOf(p)
	}
}

// requests are those of the application for /.
func (a *dialApp) requests() []url.Values {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.first)
}

var fax = audio.Tone(2*time.Second, 2100)

func TestTheFirstInstructionWaitsForWhoAnswered(t *testing.T) {
	for who, said := range map[string][]int16{
		audio.AnsweredHuman: phone.Babble("Hello?"), audio.AnsweredUnknown: nil, audio.AnsweredFax: fax,
	} {
		t.Run(who, func(t *testing.T) {
			w := newWorld(t)
			app := newDialApp(t, nil)
			c := w.create("", detecting(app, false))
			l := w.leg()
			l.events <- call.LegAnswered{}
			w.is(c.SID, call.InProgress)
			if got := w.events(c.SID); !slices.Equal(got, []string{"created", "queued", "answered"}) {
				t.Errorf("before it is known: %v", got)
			}
			if n := len(app.requests()); n != 0 {
				t.Errorf("asked %d times before it is known", n)
			}
			l.says(w, said)
			done := w.is(c.SID, call.Completed)
			if done.AnsweredBy != who {
				t.Errorf("answered by %q, want %q", done.AnsweredBy, who)
			}
			if got := w.events(c.SID); !slices.Equal(got, []string{"created", "queued", "answered", "in-progress", "completed"}) {
				t.Errorf("in the end: %v", got)
			}
			d, err := w.store.Detection(t.Context(), w.account.SID, c.SID)
			if err != nil {
				t.Fatal(err)
			}
			ms := d.After.Milliseconds()
			if d.AnsweredBy != who || ms <= 0 || d.Settings.SilenceTimeout != 2000 || !bytes.HasPrefix(d.Trace, []byte("{")) {
				t.Errorf("kept: %+v", d)
			}
			asked := app.requests()
			if len(asked) != 1 || asked[0].Get("AnsweredBy") != who || asked[0].Get("MachineDetectionDuration") != strconv.FormatInt(ms, 10) ||
				asked[0].Get("CallStatus") != "in-progress" {
				t.Errorf("asked: %v", asked)
			}
			due, err := w.store.Due(t.Context(), w.Clock.Now(), 100)
			if last := due[len(due)-1].Params; err != nil || last.Get("CallStatus") != "completed" || last.Get("AnsweredBy") != who {
				t.Errorf("last callback: %v, %v", last, err)
			}
		})
	}
}

func TestAHangupBeforeItIsKnownWhoAnswered(t *testing.T) {
	for _, async := range []bool{false, true} {
		w := newWorld(t)
		app := newDialApp(t, map[string]string{"/": `<Pause length="100"/>`})
		c := w.create("", detecting(app, async))
		l := w.leg()
		l.events <- call.LegAnswered{}
		w.until("the leg is tapped", func() bool { return l.tapped() != nil })
		l.leaves()
		if done := w.is(c.SID, call.Completed); done.AnsweredBy != "" {
			t.Errorf("answered by %q", done.AnsweredBy)
		}
		want := []string{"created", "queued", "answered", "in-progress", "completed"}
		if !async {
			want = []string{"created", "queued", "answered", "completed"}
		}
		if got := w.events(c.SID); !slices.Equal(got, want) {
			t.Errorf("async %v: %v", async, got)
		}
		due, err := w.store.Due(t.Context(), w.Clock.Now(), 100)
		for _, cb := range due {
			if cb.URL == app.URL+"/amd" || cb.Params.Has("AnsweredBy") {
				t.Errorf("told %s %v", cb.URL, cb.Params)
			}
		}
		if err != nil {
			t.Error(err)
		}
		w.until("the tap is gone", func() bool { return l.tapped() == nil })
	}
}

func TestACallGoesOnMeanwhile(t *testing.T) {
	w := newWorld(t)
	app := newDialApp(t, map[string]string{"/": `<Pause length="100"/>`})
	c := w.create("", detecting(app, true))
	l := w.leg()
	l.events <- call.LegAnswered{}
	w.until("the application is asked", func() bool { return len(app.requests()) > 0 })
	if asked := app.requests()[0]; asked.Has("AnsweredBy") || asked.Has("MachineDetectionDuration") {
		t.Errorf("asked with %v", asked)
	}
	l.says(w, fax)
	w.until("it is known", func() bool { return w.stored(c.SID).AnsweredBy != "" })
	due, err := w.store.Due(t.Context(), w.Clock.Now(), 100)
	if err != nil {
		t.Fatal(err)
	}
	told := due[len(due)-1]
	d, err := w.store.Detection(t.Context(), w.account.SID, c.SID)
	if err != nil {
		t.Fatal(err)
	}
	want := url.Values{
		"CallSid": {c.SID}, "AccountSid": {w.account.SID}, "AnsweredBy": {"fax"},
		"MachineDetectionDuration": {strconv.FormatInt(d.After.Milliseconds(), 10)},
	}
	if told.URL != app.URL+"/amd" || told.Method != "POST" || told.Params.Encode() != want.Encode() {
		t.Errorf("told %s %s %v, want %v", told.Method, told.URL, told.Params, want)
	}
	if n := len(app.requests()); n != 1 {
		t.Errorf("asked %d times", n)
	}
	if got := w.events(c.SID); !slices.Equal(got, []string{"created", "queued", "answered", "in-progress"}) {
		t.Errorf("events %v", got)
	}
}

func TestARedirectDoesNotWaitForWhoAnswered(t *testing.T) {
	w := newWorld(t)
	app := newDialApp(t, map[string]string{"/other": `<Pause length="100"/>`})
	c := w.create("", detecting(app, false))
	l := w.leg()
	l.events <- call.LegAnswered{}
	w.is(c.SID, call.InProgress)
	if _, err := w.Update(t.Context(), w.account.SID, c.SID, call.UpdateParams{URL: app.URL + "/other"}); err != nil {
		t.Fatal(err)
	}
	if asked := <-app.asked; asked.Get("path") != "/other" || asked.Has("AnsweredBy") {
		t.Errorf("asked %v", asked)
	}
	want := []string{"created", "queued", "answered", "in-progress"}
	if got := w.events(c.SID); !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
	l.says(w, fax)
	w.until("it is known all the same", func() bool { return w.stored(c.SID).AnsweredBy == audio.AnsweredFax })
	if got := w.events(c.SID); !slices.Equal(got, want) || len(app.requests()) != 0 {
		t.Errorf("events %v, want %v; asked %v for what it was to do before", got, want, app.requests())
	}
}

// The silence of a party that is put aside is nothing it says.
func TestADetectionWaitsForWhoIsAside(t *testing.T) {
	for name, aside := range map[string]func(*world, string, bool) error{
		"held": func(w *world, sid string, on bool) (err error) {
			if on {
				_, err = w.Hold(t.Context(), w.account.SID, sid, "")
			} else {
				_, err = w.Unhold(t.Context(), w.account.SID, sid)
			}
			return err
		},
		"muted": func(w *world, sid string, on bool) error {
			_, err := w.Mute(t.Context(), w.account.SID, sid, on)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			app := newDialApp(t, nil)
			c := w.create("", detecting(app, false))
			l := w.leg()
			l.events <- call.LegAnswered{}
			w.is(c.SID, call.InProgress)
			w.until("the leg is tapped", func() bool { return l.tapped() != nil })
			if err := aside(w, c.SID, true); err != nil {
				t.Fatal(err)
			}
			e := l.tapped().(*ears)
			for at := int64(0); at < 5*audio.SampleRate; at += audio.FrameSamples {
				e.Tick(at, nil, at)
			}
			if trace, _ := e.trace(); trace.AfterMs != 0 {
				t.Errorf("%d ms of silence are heard", trace.AfterMs)
			}
			if err := aside(w, c.SID, false); err != nil {
				t.Fatal(err)
			}
			l.says(w, fax)
			if done := w.is(c.SID, call.Completed); done.AnsweredBy != audio.AnsweredFax {
				t.Errorf("answered by %q", done.AnsweredBy)
			}
		})
	}
}

// A greeting that goes on while its party is put aside seems short, and may have been any length.
func TestAGreetingThatWasHeardInPart(t *testing.T) {
	const part = audio.SampleRate
	greeting := audio.EncodeULaw(phone.Babble("Hello, you have reached the office, which is closed at this time of the day and of the year")[:2*part])
	for name, x := range map[string]struct {
		before, after []byte
		want          string
	}{
		"its end is missed":       {greeting[:part], nil, audio.AnsweredUnknown},
		"its beginning is missed": {nil, greeting[part:], audio.AnsweredUnknown},
		"its middle is missed":    {greeting[:part/2], greeting[part/2 : part], audio.AnsweredUnknown},
		"none of it is missed":    {nil, append(audio.EncodeULaw(make([]int16, part)), greeting[:part]...), audio.AnsweredHuman},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			app := newDialApp(t, nil)
			c := w.create("", detecting(app, false))
			l := w.leg()
			l.events <- call.LegAnswered{}
			w.is(c.SID, call.InProgress)
			w.until("the leg is tapped", func() bool { return l.tapped() != nil })
			if len(x.before) > 0 {
				e := l.tapped().(*ears)
				e.Tick(0, nil, 0)
				for at := 0; at < len(x.before); at += audio.FrameSamples {
					e.Write(audio.Inbound, int64(at), x.before[at:min(at+audio.FrameSamples, len(x.before))])
				}
				e.Write(audio.Inbound, int64(len(x.before)+earsPatience), nil)
			}
			if _, err := w.Hold(t.Context(), w.account.SID, c.SID, ""); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Unhold(t.Context(), w.account.SID, c.SID); err != nil {
				t.Fatal(err)
			}
			l.says(w, audio.DecodeULaw(x.after))
			if done := w.is(c.SID, call.Completed); done.AnsweredBy != x.want {
				t.Errorf("answered by %q, want %s", done.AnsweredBy, x.want)
			}
		})
	}
}

func TestAStoreThatFailsDoesNotKeepWhoAnswered(t *testing.T) {
	w := newWorld(t)
	app := newDialApp(t, map[string]string{"/": `<Pause length="100"/>`})
	c := w.create("", detecting(app, false))
	l := w.leg()
	l.events <- call.LegAnswered{}
	w.is(c.SID, call.InProgress)
	w.store.fails(func(*call.Call) error { return call.ErrUnavailable })
	l.says(w, fax)
	w.until("the application is asked", func() bool { return len(app.requests()) > 0 })
	if got := w.stored(c.SID).AnsweredBy; got != "" {
		t.Errorf("stored: %q", got)
	}
	w.store.fails(nil)
	w.until("it is stored", func() bool { return w.stored(c.SID).AnsweredBy == audio.AnsweredFax })
	if got := w.events(c.SID); !slices.Equal(got, []string{"created", "queued", "answered", "in-progress"}) {
		t.Errorf("events %v", got)
	}
	if _, err := w.store.Detection(t.Context(), w.account.SID, c.SID); err != nil {
		t.Error(err)
	}
}

func TestALegWithoutSamplesIsGivenUp(t *testing.T) {
	w := newWorld(t)
	app := newDialApp(t, nil)
	c := w.create("", detecting(app, false), func(p *call.CreateParams) { p.MachineDetection.Timeout = 3 })
	w.leg().events <- call.LegAnswered{}
	if done := w.is(c.SID, call.Completed); done.AnsweredBy != audio.AnsweredUnknown {
		t.Errorf("answered by %q", done.AnsweredBy)
	}
}

func TestWhoAnsweredADial(t *testing.T) {
	for name, tt := range map[string]struct {
		noun  string
		known bool
	}{
		"number":          {`<Number machineDetection="Enable" amdStatusCallback="/amd" amdStatusCallbackMethod="GET">+15550102</Number>`, true},
		"sip":             {`<Sip machineDetection="DetectMessageEnd" amdStatusCallback="/amd" amdStatusCallbackMethod="GET">sip:a@b.test</Sip>`, true},
		"digits beat it":  {`<Number machineDetection="Enable" sendDigits="1" amdStatusCallback="/amd">+15550102</Number>`, false},
		"nobody to tell":  {`<Number machineDetection="Enable">+15550102</Number>`, true},
		"nobody asked it": {`<Number>+15550102</Number>`, false},
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, `<Dial>`+tt.noun+`</Dial>`, nil)
			l := c.leg()
			l.events <- call.LegAnswered{}
			c.until("they hear each other before it is known", func() bool { return c.caller.hearing() == Leg(l) && l.hearing() == Leg(c.caller) })
			list, _, err := c.store.ListCalls(t.Context(), call.Filter{AccountSID: c.account.SID, ParentSID: c.call.SID, Limit: 5})
			if err != nil || len(list) != 1 {
				t.Fatalf("%v %v", list, err)
			}
			sid := list[0].SID
			if !tt.known {
				if l.tapped() != nil {
					t.Error("somebody listens")
				}
				return
			}
			l.says(c.world, fax)
			c.until("it is known", func() bool { return c.stored(sid).AnsweredBy == audio.AnsweredFax })
			if by := c.stored(c.call.SID).AnsweredBy; by != "" {
				t.Errorf("the caller is %s", by)
			}
			due, err := c.store.Due(t.Context(), c.Clock.Now(), 100)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(tt.noun, "amdStatusCallback") {
				if len(due) != 0 {
					t.Errorf("told %v", due)
				}
				return
			}
			if len(due) != 1 || due[0].URL != c.app.URL+"/amd" || due[0].Method != "GET" || len(due[0].Params) != 4 ||
				due[0].Params.Get("CallSid") != sid || due[0].Params.Get("AnsweredBy") != audio.AnsweredFax {
				t.Errorf("told %v", due)
			}
			c.caller.leaves()
			c.is(sid, call.Completed)
		})
	}
}

// A panic of the detector is the end of the detection, not of the call.
func TestADetectorThatBreaksDown(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Samples = brokenKeeper{} })
	app := newDialApp(t, nil)
	c := w.create("", detecting(app, false))
	w.leg().events <- call.LegAnswered{}
	if done := w.is(c.SID, call.Completed); done.AnsweredBy != audio.AnsweredUnknown {
		t.Errorf("answered by %q", done.AnsweredBy)
	}
}

// So is one in the midst of what is said, on the goroutine that moves the packets.
func TestADetectorThatBreaksDownWhileItHears(t *testing.T) {
	w := newWorld(t)
	app := newDialApp(t, nil)
	c := w.create("", detecting(app, false))
	l := w.leg()
	l.events <- call.LegAnswered{}
	w.until("the leg is tapped", func() bool { return l.tapped() != nil })
	e := l.tapped().(*ears)
	e.mu.Lock()
	e.detector = nil
	e.mu.Unlock()
	l.says(w, make([]int16, audio.SampleRate))
	if done := w.is(c.SID, call.Completed); done.AnsweredBy != audio.AnsweredUnknown {
		t.Errorf("answered by %q", done.AnsweredBy)
	}
}

type brokenKeeper struct{}

func (brokenKeeper) Begin() bool                 { panic(errors.New("a test's")) }
func (brokenKeeper) Keep([]byte, call.Detection) {}
func (brokenKeeper) Forget(string)               {}

// drawer keeps what it gets.
type drawer struct {
	mu    sync.Mutex
	ulaw  []byte
	found call.Detection
	n     int
}

func (k *drawer) Begin() bool { return true }

func (k *drawer) Keep(ulaw []byte, found call.Detection) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ulaw, k.found = ulaw, found
	k.n++
}

func (k *drawer) Forget(callSID string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.found.CallSID == callSID {
		k.n--
	}
}

func (k *drawer) kept() ([]byte, call.Detection, int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.ulaw, k.found, k.n
}

func TestHalfAMinuteIsKept(t *testing.T) {
	k := new(drawer)
	w := newWorld(t, func(c *Config) { c.Samples = k })
	app := newDialApp(t, map[string]string{"/": `<Pause length="100"/>`})
	w.create("", detecting(app, false))
	l := w.leg()
	l.events <- call.LegAnswered{}
	said := slices.Concat(make([]int16, 4000), fax)
	l.says(w, said)
	w.until("it is kept", func() bool { _, _, n := k.kept(); return n == 1 })
	ulaw, found, _ := k.kept()
	if want := audio.EncodeULaw(said); len(ulaw) != sampleSize || !bytes.Equal(ulaw[:len(want)], want) {
		t.Errorf("%d samples, want %d that begin with what was said", len(ulaw), sampleSize)
	}
	if found.AnsweredBy != audio.AnsweredFax {
		t.Errorf("%+v", found)
	}
}

func TestWhatIsKeptOfAShortCall(t *testing.T) {
	k := new(drawer)
	w := newWorld(t, func(c *Config) { c.Samples = k })
	app := newDialApp(t, nil)
	c := w.create("", detecting(app, false))
	l := w.leg()
	l.events <- call.LegAnswered{}
	w.until("the leg is tapped", func() bool { return l.tapped() != nil })
	l.leaves()
	w.is(c.SID, call.Completed)
	w.until("it is kept", func() bool { _, _, n := k.kept(); return n == 1 })
	if _, found, _ := k.kept(); found.AnsweredBy != "" || found.CallSID != c.SID || len(found.Trace) == 0 {
		t.Errorf("%+v", found)
	}
}

// What the network brings in disorder, late or not at all is put right.
func TestEars(t *testing.T) {
	const frame = audio.FrameSamples
	e := newEars(audio.NewAMD(audio.AMDConfig{}))
	e.keep(1 << 20)
	tick := func(at int64) { e.Tick(at, nil, 0) }
	waited := func(at int64) { e.Tick(0, nil, at) }
	hear := func(at int64, b byte) { e.Write(audio.Inbound, at, bytes.Repeat([]byte{b}, frame)) }
	read := 0
	want := func(what string, frames ...byte) {
		t.Helper()
		var all []byte
		for _, b := range frames {
			all = append(all, bytes.Repeat([]byte{b}, frame)...)
		}
		if got := e.sample[read:]; !bytes.Equal(got, all) {
			t.Errorf("%s: got %d samples %x, want %d", what, len(got), slices.Compact(slices.Clone(got)), len(all))
		}
		read = len(e.sample)
	}
	const start = 1000 * frame
	hear(start-frame, 1)
	tick(start)
	hear(start-frame, 1) // said before
	hear(start+frame, 3)
	hear(start, 2)
	want("nothing is complete")
	waited(start + 5*frame)
	want("nor what may still come")
	hear(start+3*frame, 4)
	hear(start+6*frame, 7)
	want("in order, as soon as something came behind it, with silence where nothing came", 2, 3, 0xff, 4, 0xff)
	hear(start+2*frame, 4)
	waited(start + earsPatience + 10*frame)
	want("what is late is not heard, what came is, and silence is when that was waited for", 0xff, 7, 0xff, 0xff, 0xff)
	e.Write(audio.Inbound, start+10*frame-80, bytes.Repeat([]byte{5}, frame))
	waited(start + earsPatience + 15*frame)
	if got := e.sample[read:]; len(got) != 5*frame || !bytes.Equal(got[:frame], append(bytes.Repeat([]byte{5}, 80), bytes.Repeat([]byte{0xff}, 80)...)) {
		t.Errorf("half of a frame was in time: %x", got)
	}
	read = len(e.sample)
	for i := range int64(3 * earsSize / frame) {
		hear(start+(15+i)*frame, byte(i+1))
	}
	for i, b := range e.sample[read:] {
		if b != byte(i/frame+1) {
			t.Fatalf("sample %d is of another frame: %x", i, b)
		}
	}
	if left := 3*earsSize - len(e.sample[read:]); left > earful+earsOrder+frame {
		t.Errorf("%d samples are not heard", left)
	}
}
