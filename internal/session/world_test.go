package session

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/offhook/offhook/internal/audio"
	"github.com/offhook/offhook/internal/bus"
	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/clock"
	"github.com/offhook/offhook/internal/speech"
	"github.com/offhook/offhook/internal/store"
	"github.com/offhook/offhook/internal/twilio"
	"github.com/offhook/offhook/internal/webhook"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long something that must happen may take.
const patience = 10 * time.Second

// moodyStore is a real store whose writes of live calls fail as the test wants.
type moodyStore struct {
	*store.Store

	mu   sync.Mutex
	mood func(c *call.Call) error // of a write of c; nil is well
	read func()                   // before a queue is read
}

func (s *moodyStore) reads(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.read = f
}

func (s *moodyStore) Queued(ctx context.Context, of call.Line, limit int) ([]*call.Call, error) {
	s.mu.Lock()
	read := s.read
	s.mu.Unlock()
	list, err := s.Store.Queued(ctx, of, limit)
	if read != nil {
		read()
	}
	return list, err
}

func (s *moodyStore) fails(mood func(*call.Call) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mood = mood
}

func (s *moodyStore) SaveCall(ctx context.Context, c *call.Call, from call.Status, ch call.Change) error {
	s.mu.Lock()
	mood := s.mood
	s.mu.Unlock()
	if mood != nil {
		if err := mood(c); err != nil {
			return err
		}
	}
	return s.Store.SaveCall(ctx, c, from, ch)
}

// actor is a leg that does what the test says.
type actor struct {
	events  chan call.LegEvent
	invited chan struct{} // closed by Invite
	played  chan *audio.Clip
	hungUp  chan struct{} // closed by Hangup and Reject
	linger  bool          // the other side does not answer our BYE: the test ends the leg
	callID  string

	mu       sync.Mutex
	answered bool
	rejected int // by that code
	over     bool
	hears    Leg
	tap      audio.Tap
	loops    bool // something is played until Flush
	muted    bool
	aside    bool
	early    bool // Progress
	rings    bool // Ring

	referred string // URI of Refer
	replied  int    // code of ReferReply
	notified []int  // codes of ReferNotify
}

func newActor() *actor {
	return &actor{
		events: make(chan call.LegEvent, 64), invited: make(chan struct{}),
		played: make(chan *audio.Clip, 64), hungUp: make(chan struct{}), callID: twilio.NewSID("CI"),
	}
}

func (l *actor) Dialog() *call.Dialog {
	l.mu.Lock()
	defer l.mu.Unlock()
	return &call.Dialog{CallID: l.callID, LocalTag: "ours", RemoteTag: "theirs"}
}
func (l *actor) Events() <-chan call.LegEvent { return l.events }
func (l *actor) Invite()                      { close(l.invited) }
func (l *actor) Acknowledge()                 {}
func (l *actor) Ring()                        { l.set(func() { l.rings = true }) }

func (l *actor) set(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
}

func (l *actor) Flush()           { l.set(func() { l.loops = false }) }
func (l *actor) Loop(*audio.Clip) { l.set(func() { l.loops = true }) }
func (l *actor) Hear(other Leg)   { l.set(func() { l.hears = other }) }
func (l *actor) Progress() error  { l.set(func() { l.early = true }); return nil }
func (l *actor) Tap(t audio.Tap) func() {
	l.set(func() { l.tap = t })
	return func() { l.set(func() { l.tap = nil }) }
}
func (l *actor) Mute(on bool)         { l.set(func() { l.muted = on }) }
func (l *actor) PutAside(*audio.Clip) { l.set(func() { l.aside = true }) }
func (l *actor) TakeBack()            { l.set(func() { l.aside = false }) }

func (l *actor) Refer(uri string)       { l.set(func() { l.referred = uri }) }
func (l *actor) ReferReply(_, code int) { l.set(func() { l.replied = code }) }
func (l *actor) ReferNotify(_, code int, _ string) {
	l.set(func() { l.notified = append(l.notified, code) })
}

// hearing is whom the party hears, nil for nobody.
func (l *actor) hearing() Leg {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.hears
}

// rung reports whether the party was told that it rings.
func (l *actor) rung() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rings
}

// tone reports whether the party hears something again and again.
func (l *actor) tone() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.loops
}

func (l *actor) Answer() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return errors.New("the caller has gone")
	}
	l.answered = true
	return nil
}

func (l *actor) Reject(code int, _ string) {
	l.mu.Lock()
	l.rejected = code
	l.mu.Unlock()
	l.Hangup()
}

func (l *actor) Hangup() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return
	}
	l.over = true
	close(l.hungUp)
	if !l.linger {
		close(l.events)
	}
}

// leaves is the other party hanging up.
func (l *actor) leaves() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.over {
		l.over = true
		close(l.hungUp)
		l.events <- call.LegEnded{Cause: call.Cause{SIPCode: 200}}
		close(l.events)
	}
}

// press is a key, unless the party is gone.
func (l *actor) press(key byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.over && len(l.events) < cap(l.events) {
		l.events <- call.LegDigit{Key: key}
	}
}

func (l *actor) did() (answered bool, rejected int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.answered, l.rejected
}

// Play is over at once.
func (l *actor) Play(c *audio.Clip) <-chan struct{} {
	select {
	case l.played <- c:
	default:
	}
	done := make(chan struct{})
	close(done)
	return done
}

func (l *actor) PlayDigits(string) <-chan struct{} { return l.Play(nil) }

// stage hands out actors and keeps them for the test.
type stage struct {
	prepare func(*actor)
	legs    chan *actor
}

func (d *stage) NewLeg(call.OutboundLeg) (Leg, error) {
	l := newActor()
	if d.prepare != nil {
		d.prepare(l)
	}
	d.legs <- l
	return l, nil
}
func (d *stage) EndStored(context.Context, *call.Dialog, bool) error { return nil }
func (d *stage) Self() string                                        { return "127.0.0.1:5060" }

// world is a manager on a real store, with legs that the test plays.
type world struct {
	*Manager
	t       *testing.T
	store   *moodyStore
	stage   *stage
	account *call.Account
}

func newWorld(t *testing.T, change ...func(*Config)) *world {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	st, err := store.Open(t.Context(), store.Config{DSN: filepath.Join(t.TempDir(), "offhook.db"), Clock: clock.System, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	voices, err := speech.New(speech.Config{Engine: speech.EngineTest, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{
		t: t, store: &moodyStore{Store: st}, stage: &stage{legs: make(chan *actor, 2000)},
		account: &call.Account{SID: twilio.NewSID("AC"), AuthToken: "token"},
	}
	if err := st.PutAccount(t.Context(), w.account); err != nil {
		t.Fatal(err)
	}
	hooks := webhook.New(webhook.Config{})
	cfg := Config{
		Store: w.store, Dialer: w.stage, Hooks: hooks, Voices: voices, Publisher: bus.New(),
		CallbacksDue: func() {}, Trunks: func() []call.Trunk { return nil }, Simulator: func() string { return "127.0.0.1:1" },
		Clock: clock.System, Log: log,
	}
	for _, f := range change {
		f(&cfg)
	}
	w.Manager = NewManager(cfg)
	t.Cleanup(func() {
		now, cancel := context.WithCancel(context.Background())
		cancel()
		w.Drain(now)
		hooks.Close()
		if err := voices.Close(); err != nil {
			t.Error(err)
		}
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *world) create(twiml string, change ...func(*call.CreateParams)) *call.Call {
	w.t.Helper()
	p := call.CreateParams{To: "+15550100", From: "+15550101", Options: call.Options{Twiml: twiml}}
	for _, f := range change {
		f(&p)
	}
	c, err := w.Create(w.t.Context(), w.account.SID, p)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// leg waits for the next call that is dialled.
func (w *world) leg() *actor {
	w.t.Helper()
	select {
	case l := <-w.stage.legs:
		return l
	case <-clock.System.NewTimer(patience).C():
		w.t.Fatal("nothing was dialled")
		return nil
	}
}

// comes waits for c.
func (w *world) comes(what string, c <-chan struct{}) {
	w.t.Helper()
	select {
	case <-c:
	case <-clock.System.NewTimer(patience).C():
		w.t.Fatalf("%s: not in %v", what, patience)
	}
}

// until waits until ok, which it asks again and again: for what nobody is told of.
func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	for !ok() {
		if clock.Sleep(ctx, clock.System, 2*time.Millisecond) != nil {
			w.t.Fatalf("%s: not in %v", what, patience)
		}
	}
}

func (w *world) stored(sid string) *call.Call {
	w.t.Helper()
	c, err := w.store.Call(w.t.Context(), w.account.SID, sid)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (w *world) is(sid string, status call.Status) *call.Call {
	w.t.Helper()
	w.until("the call is "+string(status), func() bool { return w.stored(sid).Status == status })
	return w.stored(sid)
}

// events are the stored events of a call; their sequence must have no gap.
func (w *world) events(sid string) (names []string) {
	w.t.Helper()
	list, err := w.store.Events(w.t.Context(), sid, -1)
	if err != nil {
		w.t.Fatal(err)
	}
	for i, e := range list {
		if e.Seq != i {
			w.t.Errorf("event %d has sequence %d", i, e.Seq)
		}
		names = append(names, e.Name)
	}
	return names
}

// callbacks are the statuses of the call's callbacks in the outbox; their SequenceNumber must have no gap.
func (w *world) callbacks(sid string) (statuses []string) {
	w.t.Helper()
	list, err := w.store.Due(w.t.Context(), clock.System.Now().Add(time.Hour), 1000)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, cb := range list {
		if cb.CallSID == sid {
			if seq := cb.Params.Get("SequenceNumber"); seq != strconv.Itoa(len(statuses)) {
				w.t.Errorf("callback %d has sequence %s", len(statuses), seq)
			}
			statuses = append(statuses, cb.Params.Get("CallStatus"))
		}
	}
	return statuses
}

// toldOf asks for every status callback.
func toldOf(p *call.CreateParams) {
	p.Options.StatusURL = (&url.URL{Scheme: "http", Host: "a.test", Path: "/status"}).String()
	p.Options.StatusEvents = []string{"initiated", "ringing", "answered", "completed"}
}
