//go:build linux

package proof

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/offhook/offhook/internal/clock"
	"github.com/offhook/offhook/phone"
)

// away is how long the store cannot be written, and longAway with more than one round.
const (
	away     = 5 * time.Second
	longAway = 30 * time.Second
	// red is how soon the probe must say so, and green how soon that it is over: PostgreSQL reads its log first.
	red   = 2 * time.Second
	green = 8 * time.Second
	// maxGap is between packets at a phone that listens. Tests share the machine with others: what is
	// looked for is audio that stops, not how even it is.
	maxGap = 500 * time.Millisecond
)

// freeze stops every process of the server where it is: nobody is refused, nobody is answered.
func (c *cluster) freeze() { c.signal(syscall.SIGSTOP) }
func (c *cluster) thaw()   { c.signal(syscall.SIGCONT) }

func (c *cluster) signal(s syscall.Signal) {
	seen := map[int]bool{}
	for range 2 { // one may have been born meanwhile
		for _, pid := range c.processes() {
			if !seen[pid] {
				seen[pid] = true
				_ = syscall.Kill(pid, s) // it may have gone by itself
			}
		}
	}
}

// TestAFullDisk fills the disk that holds the data. It is a small one of a mount namespace of the engine's own.
func TestAFullDisk(t *testing.T) {
	t.Parallel()
	e := &engine{t: t, bin: build(t), data: t.TempDir()}
	e.prepare = func(cmd *exec.Cmd) {
		// The shell mounts and becomes the engine.
		cmd.Args = slices.Concat([]string{"sh", "-c", `mount -t tmpfs -o size=24m none "$0" && exec "$@"`, e.data, e.bin}, cmd.Args[1:])
		cmd.Path = "/bin/sh"
		cmd.SysProcAttr = ownMounts()
	}
	probe := exec.Command("true")
	e.prepare(probe)
	probe.Args = []string{"sh", "-c", `mount -t tmpfs none "$0"`, e.data}
	if out, err := probe.CombinedOutput(); err != nil {
		t.Skipf("this machine gives no mount namespace (%v: %s): a full disk is NOT proved", err, out)
	}
	var filler string
	withoutStore(t, e, func() {
		filler = fmt.Sprintf("/proc/%d/root%s/filler", e.cmd.Process.Pid, e.data)
		f, err := os.Create(filler)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		block := make([]byte, 4096)
		for err == nil {
			_, err = f.Write(block)
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
	}, func() {
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
	}, true)
}

// ownMounts has a process mount what others do not see.
func ownMounts() *syscall.SysProcAttr {
	if os.Getuid() == 0 {
		return &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	}
	return &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
}

// TestAStoreThatIsReadOnly: no file can be written any more, all can be read. A mount with open files cannot be
// made read-only, so it is the process that may not write.
func TestAStoreThatIsReadOnly(t *testing.T) {
	t.Parallel()
	e := &engine{t: t, bin: build(t), data: t.TempDir()}
	limit := func(most uint64) {
		if err := unix.Prlimit(e.cmd.Process.Pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: most, Max: unix.RLIM_INFINITY}, nil); err != nil {
			t.Fatalf("prlimit: %v", err)
		}
	}
	withoutStore(t, e, func() { limit(0) }, func() { limit(unix.RLIM_INFINITY) }, true)
}

func TestAPostgreSQLThatIsAway(t *testing.T) {
	for _, kind := range [...]struct {
		name     string
		leave    func(*cluster)
		comeBack func(*cluster)
	}{
		{"stopped", (*cluster).stop, (*cluster).start},
		{"silent", (*cluster).freeze, (*cluster).thaw},
	} {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t)
			e := &engine{t: t, bin: build(t), data: t.TempDir(), database: c.database()}
			withoutStore(t, e, func() { kind.leave(c) }, func() { kind.comeBack(c) }, false)
		})
	}
}

// What the application says, by the last digit of the called number.
const (
	listens = '1' // speaks for ever
	held    = '2' // asks for the next document, which comes when the test says so and hangs up
)

// party is a call of the proof, with what the phone has of it.
type party struct {
	name, sid string
	*phone.Call
	in bool
}

// scene is an engine with calls in every state, whose store fails.
type scene struct {
	t      *testing.T
	engine *engine
	app    *app
	phones *phones
	next   int
	acked  []string // SIDs
	turn   chan struct{}

	mu     sync.Mutex
	voiced map[string]string // SID by calling number
}

// withoutStore has calls in every state when spoil makes the store unwritable, and checks what must be true then
// and after mend.
func withoutStore(t *testing.T, e *engine, spoil, mend func(), readable bool) {
	s := newScene(t, e)
	defer e.kill()
	s.start()
	listener, listenerIn := s.calls("listens", stays, listens), s.callsIn("listens", talks)
	ended, endedIn := s.calls("hung up by the application", stays, held), s.callsIn("hung up by the application", thinks)
	leaver, leaverIn := s.calls("hung up by the phone", stays, listens), s.callsIn("hung up by the phone", talks)
	answers, refuses := s.calls("answered meanwhile", rings, listens), s.calls("refused meanwhile", rings, listens)
	for _, p := range [...]*party{listener, ended, leaver, listenerIn, endedIn, leaverIn} {
		s.is(p, "in-progress")
	}
	s.is(answers, "ringing")
	s.is(refuses, "ringing")

	duration := away
	if *rounds > 1 {
		duration = longAway
	}
	ctx, stop := context.WithTimeout(t.Context(), time.Hour)
	defer stop()
	audio := []*gaps{measure(ctx, listener), measure(ctx, listenerIn)}
	began := time.Now()
	spoil()
	spoiled := time.Since(began)
	turnedRed := make(chan time.Time, 1)
	go func() {
		until(ctx, began.Add(patience), func() bool { return e.health("/healthz") == http.StatusServiceUnavailable })
		turnedRed <- time.Now()
	}()
	broken := began.Add(spoiled)
	if refused := s.createUntilRefused(); readable { // a full disk may have room for some more
		broken = refused
	}
	redAfter := (<-turnedRed).Sub(broken)
	if redAfter > red {
		t.Errorf("/healthz needs %v to turn red, want %v", redAfter, red)
	}
	close(s.turn)
	leaver.Hangup()
	leaverIn.Hangup()
	if err := answers.Answer(); err != nil {
		t.Errorf("answer: %v", err)
	}
	if err := refuses.Reject(486); err != nil {
		t.Errorf("refuse: %v", err)
	}
	for _, p := range [...]*party{ended, endedIn} {
		s.told(p, began.Add(spoiled+away+2*time.Second))
	}
	told := time.Since(began)
	s.refusesMeanwhile(listener, readable)
	if d := time.Until(began.Add(duration)); d > 0 {
		_ = clock.Sleep(ctx, clock.System, d)
	}
	if status := e.health("/healthz"); status != http.StatusServiceUnavailable {
		t.Errorf("/healthz answers %d while the store cannot be written", status)
	}
	for _, p := range [...]*party{listener, listenerIn, answers} {
		if end, over := p.End(); over {
			t.Errorf("%s: the call did not live through it: %s", p.name, end)
		}
	}

	mended := time.Now()
	mend()
	back := time.Now()
	if !until(ctx, back.Add(green), func() bool { return e.health("/healthz") == http.StatusOK }) {
		t.Errorf("/healthz is not green again after %v", green)
	}
	greenAfter := time.Since(back)
	_ = clock.Sleep(ctx, clock.System, 500*time.Millisecond) // audio goes on afterwards too
	for _, g := range audio {
		packets, longest, d := g.stop()
		t.Logf("%s: %d packets in %v, longest gap %v", g.name, packets, d.Round(time.Millisecond), longest.Round(time.Millisecond))
		if want := int(0.97 * d.Seconds() * 50); packets < want || longest > maxGap {
			t.Errorf("%s heard %d packets in %v, want %d, with a gap of %v", g.name, packets, d, want, longest)
		}
	}
	t.Logf("away %v; red after %v, BYEs within %v; green %v after the store was back", mended.Sub(began).Round(time.Millisecond),
		redAfter.Round(time.Millisecond), told.Round(time.Millisecond), greenAfter.Round(time.Millisecond))

	after, afterIn := s.calls("made afterwards", picksUp, listens), s.callsIn("made afterwards", talks)
	s.is(after, "in-progress")
	s.is(afterIn, "in-progress")
	for _, p := range [...]*party{listener, listenerIn, answers, after, afterIn} {
		p.Hangup()
	}
	for _, p := range [...]*party{listener, ended, leaver, answers, after, listenerIn, endedIn, leaverIn, afterIn} {
		s.is(p, "completed")
	}
	s.is(refuses, "busy")
	s.nothingLost()
}

func newScene(t *testing.T, e *engine) *scene {
	s := &scene{
		t: t, engine: e, app: newApp(t, time.Millisecond), phones: newPhones(t, time.Millisecond),
		turn: make(chan struct{}), voiced: map[string]string{},
	}
	s.app.document = s.document
	return s
}

// start starts the engine and tells it of the phones and the numbers: one listens, one is held.
func (s *scene) start() {
	s.t.Helper()
	s.engine.start()
	s.engine.trunk("wide", s.phones.Addr(), wide, 0, 0)
	for _, number := range [...]string{talks, thinks} {
		s.engine.number(number, s.app.URL+"/voice", s.app.URL+"/status")
	}
}

// document is what the application answers.
func (s *scene) document(r *http.Request) string {
	to, sid := r.PostForm.Get("To"), r.PostForm.Get("CallSid")
	s.mu.Lock()
	s.voiced[r.PostForm.Get("From")] = sid
	s.mu.Unlock()
	switch {
	case r.URL.Path == "/next":
		select {
		case <-s.turn:
		case <-r.Context().Done():
		}
		return `<Response><Hangup/></Response>`
	case to[len(to)-1] == held:
		return `<Response><Say>hello</Say><Redirect>` + s.app.URL + `/next</Redirect></Response>`
	}
	return `<Response><Say loop="0">The quick brown fox jumps over the lazy dog and comes home late.</Say></Response>`
}

// form asks for a call to a number of its own.
func (s *scene) form(does plan, says byte) (to string, form url.Values) {
	s.next++
	to = fmt.Sprintf("%s%c%05d%c", wide, does, s.next, says)
	return to, url.Values{
		"To": {to}, "From": {"+15005550006"}, "Url": {s.app.URL + "/voice"}, "Timeout": {"120"},
		"StatusCallback": {s.app.URL + "/status"}, "StatusCallbackEvent": {"initiated", "ringing", "answered", "completed"},
	}
}

// calls makes a call and waits until it is at its phone.
func (s *scene) calls(name string, does plan, says byte) *party {
	s.t.Helper()
	to, form := s.form(does, says)
	var sid string
	var err error
	until(s.t.Context(), time.Now().Add(patience), func() bool { // a busy engine says come again
		sid, err = s.engine.create(s.t.Context(), form)
		return err == nil || unavailable(err) != nil
	})
	if err != nil {
		s.t.Fatalf("%s: %v", name, err)
	}
	s.acked = append(s.acked, sid)
	if !until(s.t.Context(), time.Now().Add(patience), func() bool { return len(s.phones.of(to)) > 0 }) {
		s.t.Fatalf("%s: no INVITE", name)
	}
	return &party{name: name, sid: sid, Call: s.phones.of(to)[0].Call}
}

// callsIn calls one of the engine's numbers and waits for the answer.
func (s *scene) callsIn(name, to string) *party {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	c := s.dialIn(ctx, to)
	if err := c.WaitAnswered(ctx); err != nil {
		s.t.Fatalf("%s: %v", name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	sid := s.voiced[c.From()]
	s.acked = append(s.acked, sid)
	return &party{name: "inbound, " + name, sid: sid, Call: c, in: true}
}

func (s *scene) dialIn(ctx context.Context, to string) *phone.Call {
	s.t.Helper()
	s.next++
	c, err := s.phones.Call(ctx, phone.Outgoing{To: "sip:" + to + "@" + s.engine.sip, From: fmt.Sprintf("+1558%07d", s.next)})
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// is waits until a call has a status.
func (s *scene) is(p *party, status string) {
	s.t.Helper()
	var last resource
	var err error
	if !until(s.t.Context(), time.Now().Add(patience), func() bool {
		last, err = s.engine.fetch(p.sid)
		return err == nil && last.Status == status
	}) {
		s.t.Errorf("%s: %s is %q, %v; want %s", p.name, p.sid, last.Status, err, status)
	}
}

// told waits until a phone hears that its call is over.
func (s *scene) told(p *party, deadline time.Time) {
	select {
	case <-p.HungUp():
		if end, _ := p.End(); !end.Remote {
			s.t.Errorf("%s: %s, not by the engine", p.name, end)
		}
	case <-time.After(time.Until(deadline)):
		s.t.Errorf("%s: the phone was not told", p.name)
	}
}

// createUntilRefused makes calls until one is refused, as it must be, and returns when that one was asked for.
func (s *scene) createUntilRefused() time.Time {
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		_, form := s.form(stays, listens)
		ctx, cancel := context.WithTimeout(s.t.Context(), patience)
		began := time.Now()
		sid, err := s.engine.create(ctx, form)
		cancel()
		if err != nil {
			if err := unavailable(err); err != nil {
				s.t.Error(err)
			}
			return began
		}
		s.acked = append(s.acked, sid)
	}
	s.t.Fatal("the store cannot be written, and calls are taken")
	return time.Time{}
}

// refusesMeanwhile checks what the engine says to those who come.
func (s *scene) refusesMeanwhile(live *party, readable bool) {
	for range 3 {
		_, form := s.form(stays, listens)
		began := time.Now()
		_, err := s.engine.create(s.t.Context(), form)
		if err := unavailable(err); err != nil {
			s.t.Error(err)
		}
		if d := time.Since(began); d > 2*time.Second {
			s.t.Errorf("the refusal took %v", d)
		}
		ctx, cancel := context.WithTimeout(s.t.Context(), patience)
		c := s.dialIn(ctx, talks)
		err = c.WaitHungUp(ctx)
		cancel()
		if end, over := c.End(); !over || end.Code != 503 {
			s.t.Errorf("an INVITE got %s, %v; want 503", end, err)
		}
		got, err := s.engine.fetch(live.sid)
		if err == nil && got.SID != live.sid {
			s.t.Errorf("GET answers %+v", got)
		}
		if err != nil {
			if readable {
				s.t.Errorf("the store can be read: %v", err)
			} else if err := unavailable(err); err != nil {
				s.t.Error(err)
			}
		}
	}
}

// everybody is at the phones, also of calls that were taken just before the first refusal.
func (s *scene) everybody() []person {
	s.phones.mu.Lock()
	defer s.phones.mu.Unlock()
	var list []person
	for _, calls := range s.phones.calls {
		list = append(list, calls...)
	}
	return list
}

// nothingLost checks that everything that was acknowledged is there with its end, its events without gaps and
// its callbacks, once each.
func (s *scene) nothingLost() {
	for _, sid := range s.acked {
		var last resource
		var err error
		if !until(s.t.Context(), time.Now().Add(patience), func() bool {
			last, err = s.engine.fetch(sid)
			if err == nil && !last.final() {
				for _, c := range s.everybody() { // dialled just now
					c.Hangup()
				}
			}
			return err == nil && last.final()
		}) {
			s.t.Errorf("acknowledged: %s is %q, %v", sid, last.Status, err)
			continue
		}
		events, err := s.engine.events(sid)
		if err != nil || len(events) == 0 || events[len(events)-1] != last.Status {
			s.t.Errorf("%s is %s and its events are %v, %v", sid, last.Status, events, err)
		}
		want := []string{"initiated"}
		for _, e := range events {
			switch e {
			case "created", "queued", "in-progress":
			case "answered":
				want = append(want, "in-progress")
			default:
				want = append(want, e)
			}
		}
		if !slices.Contains(events, "queued") { // inbound: completed alone
			want = []string{last.Status}
		}
		until(s.t.Context(), time.Now().Add(patience), func() bool { return len(s.app.callbacks(sid)) >= len(want) })
		compare(s.t, sid, "", want, s.app.callbacks(sid))
	}
	s.app.mu.Lock()
	defer s.app.mu.Unlock()
	for _, bad := range s.app.bad {
		s.t.Error(bad)
	}
}

// gaps are the pauses between packets at a phone.
type gaps struct {
	name    string
	cancel  context.CancelFunc
	done    chan struct{}
	first   int
	last    int
	began   time.Time
	longest time.Duration
}

// measure looks every 5 ms how many packets a phone has heard, until stop.
func measure(ctx context.Context, p *party) *gaps {
	ctx, cancel := context.WithCancel(ctx)
	g := &gaps{name: p.name, cancel: cancel, done: make(chan struct{}), first: p.PacketsHeard(), began: time.Now()}
	g.last = g.first
	go func() {
		defer close(g.done)
		at := g.began
		for clock.Sleep(ctx, clock.System, 5*time.Millisecond) == nil {
			n, now := p.PacketsHeard(), time.Now()
			if n != g.last {
				g.longest = max(g.longest, now.Sub(at))
				g.last, at = n, now
			}
		}
		g.longest = max(g.longest, time.Since(at))
	}()
	return g
}

func (g *gaps) stop() (packets int, longest, d time.Duration) {
	d = time.Since(g.began)
	g.cancel()
	<-g.done
	return g.last - g.first, g.longest, d
}
