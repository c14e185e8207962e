package webhook

import (
	"container/heap"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/clock"
	"github.com/offhook/offhook/internal/store"
	"github.com/offhook/offhook/internal/twilio"
)

// handClock moves when the test says so.
type handClock struct {
	mu     sync.Mutex
	now    time.Time
	timers handTimers // those that run
}

type handTimer struct {
	clock *handClock
	at    time.Time
	f     func() // nil: send on c
	c     chan time.Time
	index int // in clock.timers, -1 when it does not run
}

func (c *handClock) Now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.now }

func (c *handClock) start(t *handTimer, d time.Duration) *handTimer {
	c.mu.Lock()
	defer c.mu.Unlock()
	t.clock, t.at = c, c.now.Add(max(d, 0))
	heap.Push(&c.timers, t)
	return t
}

func (c *handClock) AfterFunc(d time.Duration, f func()) clock.Timer {
	return c.start(&handTimer{f: f}, d)
}

func (c *handClock) NewTimer(d time.Duration) clock.Timer {
	return c.start(&handTimer{c: make(chan time.Time, 1)}, d)
}

// advance lets d go by.
func (c *handClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	end := c.now.Add(d)
	for len(c.timers) > 0 && !c.timers[0].at.After(end) {
		t := heap.Pop(&c.timers).(*handTimer)
		c.now = t.at
		if t.f != nil {
			go t.f()
		} else {
			t.c <- c.now // Reset and Stop keep it empty
		}
	}
	c.now = end
}

func (t *handTimer) C() <-chan time.Time { return t.c }

func (t *handTimer) Stop() bool { t.clock.mu.Lock(); defer t.clock.mu.Unlock(); return t.stop() }

func (t *handTimer) stop() bool {
	ran := t.index >= 0
	if ran {
		heap.Remove(&t.clock.timers, t.index)
	}
	select {
	case <-t.c:
	default:
	}
	return ran
}

func (t *handTimer) Reset(d time.Duration) bool {
	t.clock.mu.Lock()
	defer t.clock.mu.Unlock()
	ran := t.stop()
	t.at = t.clock.now.Add(max(d, 0))
	if t.at.Equal(t.clock.now) && t.f == nil {
		t.c <- t.at
		return ran
	}
	heap.Push(&t.clock.timers, t)
	return ran
}

type handTimers []*handTimer

func (h handTimers) Len() int           { return len(h) }
func (h handTimers) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h handTimers) Swap(i, j int)      { h[i], h[j] = h[j], h[i]; h[i].index, h[j].index = i, j }
func (h *handTimers) Push(x any)        { t := x.(*handTimer); t.index = len(*h); *h = append(*h, t) }
func (h *handTimers) Pop() any {
	t := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	t.index = -1
	return t
}

// watched is an outbox that counts what the dispatcher asks of it. Due runs in the dispatcher's own
// goroutine, so it may look at what that holds in memory.
type watched struct {
	Outbox
	d           *Dispatcher
	reads, puts atomic.Int64
	held, lanes int
	delivered   atomic.Int64
	marked      chan struct{}
}

func (w *watched) Due(ctx context.Context, now time.Time, limit int) ([]call.Callback, error) {
	w.reads.Add(1)
	w.held, w.lanes = max(w.held, len(w.d.held)), max(w.lanes, len(w.d.lanes))
	return w.Outbox.Due(ctx, now, limit)
}

func (w *watched) Later(ctx context.Context, from time.Time, limit int) ([]call.Callback, error) {
	w.reads.Add(1)
	return w.Outbox.Later(ctx, from, limit)
}

func (w *watched) Retry(ctx context.Context, id string, attempts int, dueAt time.Time, why string) error {
	w.puts.Add(1)
	return w.Outbox.Retry(ctx, id, attempts, dueAt, why)
}

func (w *watched) Delivered(ctx context.Context, id string) error {
	if err := w.Outbox.Delivered(ctx, id); err != nil {
		return err
	}
	w.delivered.Add(1)
	select {
	case w.marked <- struct{}{}:
	default:
	}
	return nil
}

var waysDown = []string{"503", "no name", "refused", "reset", "silent"}

// down connects to what is left of a server, by the way in which it is down. look sees the requests that it
// still reads.
func down(t *testing.T, look func(*http.Request)) map[string]func(ctx context.Context) (net.Conn, error) {
	to := func(addr string) func(ctx context.Context) (net.Conn, error) {
		return func(ctx context.Context) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", addr)
		}
	}
	listen := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	nobody := listen()
	_ = nobody.Close()
	silent := listen() // the kernel accepts
	t.Cleanup(func() { _ = silent.Close() })
	resets := listen()
	var work sync.WaitGroup
	work.Go(func() {
		for {
			c, err := resets.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 1))
			_ = c.(*net.TCPConn).SetLinger(0)
			_ = c.Close()
		}
	})
	t.Cleanup(func() { _ = resets.Close(); work.Wait() })
	busy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		look(r)
		w.Header().Set("Retry-After", "120")
		w.WriteHeader(503)
	}))
	t.Cleanup(busy.Close)
	return map[string]func(ctx context.Context) (net.Conn, error){
		"refused": to(nobody.Addr().String()),
		"silent":  to(silent.Addr().String()),
		"reset":   to(resets.Addr().String()),
		"503":     to(busy.Listener.Addr().String()),
		"no name": func(context.Context) (net.Conn, error) {
			return nil, &net.DNSError{Err: "no such host", Name: "app.example", IsNotFound: true}
		},
	}
}

// An outage is a run of five calls a second against an application that goes down, in one way after the
// other, and one call a second against one that does not.
type outage struct {
	*testing.T
	clock *handClock
	store *store.Store
	box   *watched
	d     *Dispatcher

	all                bool // calls tell of all that happens to them, not only some
	second, goroutines int

	due  map[int][]told // by second
	want map[string]int // callbacks of an application, so far

	mu       sync.Mutex
	arrived  map[string]int   // requests by application
	first    map[string][]int // sequence numbers by call, as they arrived first
	at       map[id]time.Time // first arrival
	sent     map[id]call.Callback
	inside   int // requests of what was down that are being answered
	most     int
	back     bool
	answered int // since then
	progress chan struct{}
}

// id is that of a callback to those who get it.
type id struct {
	callSID string
	seq     int
}

// told is what a call tells in a second.
type told struct {
	call *call.Call
	call.Callback
}

// look reads a request; its idempotency token must be that of the callback.
func (o *outage) look(r *http.Request) (sid string, seq int) {
	body, _ := io.ReadAll(r.Body)
	form, _ := url.ParseQuery(string(body))
	sid = form.Get("CallSid")
	seq, _ = strconv.Atoi(form.Get("SequenceNumber"))
	o.mu.Lock()
	defer o.mu.Unlock()
	if token := r.Header.Get("I-Twilio-Idempotency-Token"); token == "" || token != o.sent[id{sid, seq}].ID {
		o.Errorf("callback %d of %s has the idempotency token %s", seq, sid, token)
	}
	return sid, seq
}

func (o *outage) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	sid, seq := o.look(r)
	o.mu.Lock()
	defer o.mu.Unlock()
	if r.Host == "app.example" {
		o.inside++
		if o.most = max(o.most, o.inside); o.back && o.inside > o.answered+1 {
			o.Errorf("%d requests at once, with %d answered since it is back", o.inside, o.answered)
		}
		o.mu.Unlock()
		runtime.Gosched() // others may come in
		o.mu.Lock()
		o.inside--
		o.answered++
	}
	if _, again := o.at[id{sid, seq}]; !again {
		o.at[id{sid, seq}] = o.clock.Now()
		o.first[sid] = append(o.first[sid], seq)
		o.arrived[r.Host]++
	}
	select {
	case o.progress <- struct{}{}:
	default:
	}
}

// plan makes the calls that begin in a second, five of them for what goes down: answered and not, short
// and long, told of all and told of the end only.
func (o *outage) plan(second int) {
	start := o.clock.Now().Add(time.Duration(second-o.second) * time.Second)
	for i := range 6 {
		host := "app.example"
		if i == 5 {
			host = "fine.example"
		}
		target := "http://" + host + "/status"
		c := &call.Call{
			SID: twilio.NewSID("CA"), AccountSID: "AC1", To: "+15005551001", From: "+15005550006", Direction: call.OutboundAPI,
			Status: call.Queued, DateCreated: start, DateUpdated: start, Options: call.Options{StatusURL: target},
		}
		at := []int{0, 1, 3, 4 + (7*second+13*i)%60} // initiated, ringing, answered, completed
		switch i {
		case 1: // nobody answers
			at = []int{0, 1, 31}
		case 2, 3, 4: // only the end is of interest
			if !o.all {
				at = at[3:]
			}
		}
		for seq, after := range at {
			status := []string{"initiated", "ringing", "in-progress", "completed"}[seq]
			cb := call.Callback{
				ID: twilio.NewSID("EV"), CallSID: c.SID, AccountSID: "AC1", Seq: seq, Method: "POST", URL: target, CreatedAt: start.Add(time.Duration(after) * time.Second),
				Params: url.Values{"CallSid": {c.SID}, "AccountSid": {"AC1"}, "SequenceNumber": {strconv.Itoa(seq)}, "CallStatus": {status}},
			}
			o.mu.Lock()
			o.sent[id{c.SID, seq}] = cb
			o.mu.Unlock()
			o.due[second+after] = append(o.due[second+after], told{c, cb})
		}
	}
}

// tick lets some seconds go by, with what happens in them.
func (o *outage) tick() {
	const seconds = 3
	const moment = minLoadInterval + time.Millisecond // in which the outbox is read
	o.clock.advance(seconds*time.Second - moment)
	happened := map[*call.Call][]call.Callback{}
	for range seconds {
		for _, cb := range o.due[o.second] {
			host, _, _ := strings.Cut(strings.TrimPrefix(cb.URL, "http://"), "/")
			o.want[host]++
			happened[cb.call] = append(happened[cb.call], cb.Callback)
		}
		delete(o.due, o.second)
		o.second++
	}
	var work sync.WaitGroup
	for c, list := range happened {
		work.Go(func() {
			save := o.store.AddCall
			if c.Seq != 0 {
				save = func(ctx context.Context, c *call.Call, ch call.Change) error {
					return o.store.SaveCall(ctx, c, c.Status, ch)
				}
			}
			if err := save(o.Context(), c, call.Change{Callbacks: list}); err != nil {
				o.Error(err)
			}
		})
	}
	work.Wait()
	o.d.Wake()
	o.clock.advance(moment)
	// Whatever the other server is up to: what happened is told here without any waiting.
	o.until("fine.example", none, moment, 50*time.Millisecond)
	o.goroutines = max(o.goroutines, runtime.NumGoroutine())
}

// missing is how many callbacks an application has still to get.
func (o *outage) missing(host string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.want[host] - o.arrived[host]
}

// until waits for an application's callbacks. While there is progress the clock stands, else it goes on in
// steps, for most at most; until returns how far it went: how long timers held things up. Then it waits for what
// a busy machine has still to do.
func (o *outage) until(host string, done func(missing int) bool, step, most time.Duration) (waited time.Duration) {
	o.Helper()
	for {
		n := o.missing(host)
		if done(n) {
			return waited
		}
		pause := 30 * time.Millisecond
		if waited >= most {
			pause = 20 * time.Second
		}
		quiet := time.NewTimer(pause)
		select {
		case <-o.progress:
		case <-o.box.marked:
		case <-quiet.C:
			if waited >= most {
				o.Fatalf("%s: %d callbacks have not arrived after %v", host, n, waited)
			}
			o.clock.advance(step)
			waited += step
		}
		quiet.Stop()
	}
}

func none(missing int) bool { return missing == 0 }

func TestAnApplicationThatIsDownForTenMinutes(t *testing.T) {
	t.Run("in every way", func(t *testing.T) { testOutage(t, waysDown) })
	if os.Getenv("OFFHOOK_PROOF") == "" {
		return
	}
	for _, way := range waysDown {
		t.Run(way, func(t *testing.T) { testOutage(t, []string{way}) })
	}
}

func testOutage(t *testing.T, ways []string) {
	const calm, minutes = 9, 10 // seconds before it
	s, err := store.Open(t.Context(), store.Config{DSN: filepath.Join(memoryDir(t), "offhook.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	o := &outage{
		T: t, all: len(ways) == 1, clock: &handClock{now: time.Date(2026, 5, 1, 8, 0, 0, 0, time.UTC)}, store: s,
		box: &watched{Outbox: s, marked: make(chan struct{}, 1)}, due: map[int][]told{}, want: map[string]int{},
		arrived: map[string]int{}, first: map[string][]int{}, at: map[id]time.Time{}, sent: map[id]call.Callback{}, progress: make(chan struct{}, 1),
	}
	dial := down(t, func(r *http.Request) { o.look(r) })
	up := httptest.NewServer(o)
	defer up.Close()

	h := New(Config{Clock: o.clock})
	defer h.Close()
	var way atomic.Pointer[string]
	h.connect = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if w := way.Load(); w != nil && strings.HasPrefix(addr, "app.") {
			return dial[*w](ctx)
		}
		var d net.Dialer
		return d.DialContext(ctx, network, up.Listener.Addr().String())
	}
	o.d = NewDispatcher(DispatcherConfig{
		Hooks: h, Outbox: o.box, Clock: o.clock,
		Token: func(string) (string, bool) { return token, true },
	})
	o.box.d = o.d
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- o.d.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	defer stop()

	for second := range calm {
		o.plan(second)
	}
	for o.second < calm {
		o.tick()
	}
	o.until("app.example", none, 100*time.Millisecond, 3*time.Second)
	readsBefore, putsBefore := o.box.reads.Load(), o.box.puts.Load()
	memory := heapInUse()

	for begin := o.second; o.second < begin+minutes*60; {
		way.Store(&ways[(o.second-begin)*len(ways)/(minutes*60)])
		h.sni.CloseIdleConnections() // of the way before
		for i := range 3 {
			o.plan(o.second + i)
		}
		o.tick()
	}
	backlog := o.missing("app.example")
	reads, puts := int(o.box.reads.Load()-readsBefore), int(o.box.puts.Load()-putsBefore)
	grown := heapInUse() - memory
	t.Logf("%d callbacks wait after %d minutes; outbox: %d reads, %d put off; at most %d callbacks in %d lanes in memory, %d goroutines; heap %+d KiB",
		backlog, minutes, reads, puts, o.box.held, o.box.lanes, o.goroutines, grown>>10)

	if reads > 2*60*minutes || puts > 4*backlog {
		t.Errorf("the outbox was asked too much: %d reads, %d callbacks put off", reads, puts)
	}
	if o.box.held > 1000 || o.box.lanes > 300 || o.goroutines > 600 || grown > 16<<20 {
		t.Error("it takes too much memory")
	}

	o.mu.Lock()
	o.most, o.answered, o.back = 0, 0, true
	o.mu.Unlock()
	way.Store(nil) // it is back
	noticed := o.until("app.example", func(n int) bool { return n < backlog }, 100*time.Millisecond, maxBreakerPause+maxTotal)
	drained := o.until("app.example", none, 100*time.Millisecond, 20*time.Second)
	t.Logf("noticed after %v, all delivered %v later, not counting what the requests take; at most %d at once", noticed, drained, o.most)
	if o.most > maxHostInFlight {
		t.Errorf("%d requests at once", o.most)
	}
	for len(o.due) > 0 { // calls that are still up
		o.tick()
	}
	o.until("app.example", none, 100*time.Millisecond, 3*time.Second)
	stop()
	if dead, err := s.DeadLetters(t.Context(), "AC1", 10); err != nil || len(dead) > 0 {
		t.Errorf("given up: %v %v", dead, err)
	}
	passed := 0
	for sid, order := range o.first {
		for i := 1; i < len(order); i++ {
			if order[i-1] < order[i] {
				continue
			}
			early := o.sent[id{sid, order[i-1]}] // which did not wait for order[i]
			if waited := o.at[id{sid, order[i-1]}].Sub(early.CreatedAt); waited < patience {
				t.Errorf("callback %d of %s to %s came before %d after only %v", early.Seq, sid, early.URL, order[i], waited)
			}
			passed++
		}
	}
	if passed > len(o.first)/20 {
		t.Errorf("in %d of %d calls one went before another", passed, len(o.first))
	}
	t.Logf("in %d of %d calls one went before another", passed, len(o.first))
}

// memoryDir is a directory that costs no disk's time, where there is one.
func memoryDir(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "offhook")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// heapInUse is the live heap in bytes.
func heapInUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
