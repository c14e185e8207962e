package webhook

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/twilio"
)

// memory is an outbox.
type memory struct {
	mu        sync.Mutex
	pending   map[string]*call.Callback
	delivered []string
	dead      []string
	err       error // of every method, when set
	reads     int
	changed   chan struct{} // a mark was made
}

func newMemory(list ...call.Callback) *memory {
	m := &memory{pending: map[string]*call.Callback{}, changed: make(chan struct{}, 1)}
	m.add(list...)
	return m
}

func (m *memory) add(list ...call.Callback) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, cb := range list {
		m.pending[cb.ID] = &cb
	}
}

func (m *memory) Due(_ context.Context, now time.Time, limit int) ([]call.Callback, error) {
	return m.read(limit, func(cb *call.Callback) bool { return !cb.DueAt.After(now) })
}

func (m *memory) Later(_ context.Context, from time.Time, limit int) ([]call.Callback, error) {
	return m.read(limit, func(cb *call.Callback) bool { return !cb.DueAt.Before(from) })
}

func (m *memory) read(limit int, match func(*call.Callback) bool) ([]call.Callback, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reads++
	if m.err != nil {
		return nil, m.err
	}
	byDue := func(a, b call.Callback) int { return a.DueAt.Compare(b.DueAt) }
	var due []call.Callback
	for _, cb := range m.pending {
		if match(cb) {
			due = append(due, *cb)
		}
	}
	slices.SortFunc(due, byDue)
	due = due[:min(limit, len(due))]
	calls := map[string]bool{}
	for _, cb := range due {
		calls[cb.CallSID] = true
	}
	var list []call.Callback
	for _, cb := range m.pending {
		if calls[cb.CallSID] {
			list = append(list, *cb)
		}
	}
	slices.SortFunc(list, byDue)
	return list, nil
}

func (m *memory) mark(id string, f func(*call.Callback)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return m.err
	}
	if cb := m.pending[id]; cb != nil {
		f(cb)
	}
	select {
	case m.changed <- struct{}{}:
	default:
	}
	return nil
}

func (m *memory) Delivered(_ context.Context, id string) error {
	return m.mark(id, func(*call.Callback) { delete(m.pending, id); m.delivered = append(m.delivered, id) })
}

func (m *memory) Dead(_ context.Context, id, why string) error {
	return m.mark(id, func(*call.Callback) { delete(m.pending, id); m.dead = append(m.dead, id+": "+why) })
}

func (m *memory) Retry(_ context.Context, id string, attempts int, dueAt time.Time, why string) error {
	return m.mark(id, func(cb *call.Callback) { cb.Attempts, cb.DueAt, cb.LastError = attempts, dueAt, why })
}

func (m *memory) fail(err error) { m.mu.Lock(); defer m.mu.Unlock(); m.err = err }

func (m *memory) left() int { m.mu.Lock(); defer m.mu.Unlock(); return len(m.pending) }

// has reports whether a callback was delivered.
func (m *memory) has(id string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Contains(m.delivered, id)
}

// row is a copy of a pending callback.
func (m *memory) row(id string) call.Callback {
	m.mu.Lock()
	defer m.mu.Unlock()
	return *m.pending[id]
}

// ended counts what was delivered and what is dead.
func (m *memory) ended() (delivered, dead int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.delivered), len(m.dead)
}

// looks counts the reads.
func (m *memory) looks() int { m.mu.Lock(); defer m.mu.Unlock(); return m.reads }

// untilEmpty waits until nothing is pending.
func (m *memory) untilEmpty() {
	for m.left() > 0 {
		<-m.changed
	}
}

var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // synctest's clock begins there

// cb is a callback of a call, created at the beginning.
func cb(callSID string, seq int, target string) call.Callback {
	status := []string{"initiated", "ringing", "in-progress", "completed"}[seq%4]
	return call.Callback{
		ID: fmt.Sprintf("EV-%s-%d", callSID, seq), CallSID: callSID, AccountSID: "AC1", Seq: seq, Method: "POST", URL: target, CreatedAt: epoch,
		Params: url.Values{"CallSid": {callSID}, "SequenceNumber": {strconv.Itoa(seq)}, "CallStatus": {status}},
	}
}

// rig is a dispatcher at work under synctest, and what it said.
type rig struct {
	*Dispatcher
	*app
	*pipes
	box   *memory
	stop  func() // and wait
	notes []call.Notification
	lines []string
	mu    sync.Mutex
}

func dispatch(t *testing.T, box *memory, f http.HandlerFunc) *rig {
	h := newHooks(t, Config{})
	r := &rig{app: &app{}, box: box}
	r.pipes = serve(t, h, r.record(f))
	r.Dispatcher = NewDispatcher(DispatcherConfig{
		Hooks: h, Outbox: box,
		Token:  func(account string) (string, bool) { return token, account == "AC1" },
		Notify: func(n call.Notification) { r.mu.Lock(); defer r.mu.Unlock(); r.notes = append(r.notes, n) },
		Trace:  func(sid, line string) { r.mu.Lock(); defer r.mu.Unlock(); r.lines = append(r.lines, sid+" "+line) },
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(r.stop)
	return r
}

// codes lists the notifications.
func (r *rig) codes() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []string
	for _, n := range r.notes {
		list = append(list, fmt.Sprintf("%d/%d", n.Code, n.Level))
	}
	return strings.Join(list, " ")
}

// got lists which callbacks arrived: call:sequence.
func (a *app) got() []string {
	var list []string
	for _, s := range a.requests() {
		list = append(list, s.Form.Get("CallSid")+":"+s.Form.Get("SequenceNumber"))
	}
	return list
}

func ok(http.ResponseWriter, *http.Request) {}

// pass lets d go by, and everything that it makes happen.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestCallbackRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		get := cb("CA2", 3, "http://user:p@app.example/get?x=1#rc=0")
		get.Method = "GET"
		box := newMemory(cb("CA1", 0, "http://app.example/status"), get)
		r := dispatch(t, box, ok)
		box.untilEmpty()
		for _, s := range r.requests() {
			id, signed, form := "EV-CA1-0", "http://app.example/status", s.Form
			if s.Method == "GET" {
				id, signed, form = "EV-CA2-3", "http://app.example/get?x=1&CallSid=CA2&CallStatus=completed&SequenceNumber=3", nil
			}
			if "http://app.example"+s.URI != signed {
				t.Errorf("asked %s, want %s", s.URI, signed)
			}
			if got := s.Header.Get("I-Twilio-Idempotency-Token"); got != id {
				t.Errorf("idempotency token %q, want %q", got, id)
			}
			if s.Header.Get("X-Twilio-Signature") != twilio.Signature(token, signed, form) {
				t.Error("wrong signature")
			}
			if s.Header.Get("Cookie") != "" {
				t.Error("cookies")
			}
		}
		pass(0)
		slices.Sort(r.lines)
		want := []string{
			"CA1 status callback initiated: POST http://app.example/status: 200 in 0s",
			"CA2 status callback completed: GET http://app.example/get?x=1: 200 in 0s",
		}
		if !slices.Equal(r.lines, want) {
			t.Errorf("traced %q", r.lines)
		}
	})
}

func TestCallbacksArriveInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		box := newMemory()
		for _, seq := range []int{3, 1, 0, 2} {
			box.add(cb("CA1", seq, "http://app.example/status"))
		}
		inside := 0
		r := dispatch(t, box, func(http.ResponseWriter, *http.Request) {
			inside++
			if inside > 1 {
				t.Error("two at a time")
			}
			<-time.After(3 * time.Second)
			inside--
		})
		box.untilEmpty()
		if got := r.got(); !slices.Equal(got, []string{"CA1:0", "CA1:1", "CA1:2", "CA1:3"}) {
			t.Errorf("got %v", got)
		}
	})
}

func TestCallsAndURLsGoInParallel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		box := newMemory(cb("CA1", 0, "http://app.example/a"), cb("CA1", 1, "http://app.example/b"), cb("CA2", 0, "http://app.example/a"))
		var all sync.WaitGroup
		all.Add(3)
		dispatch(t, box, func(http.ResponseWriter, *http.Request) { all.Done(); all.Wait() })
		box.untilEmpty()
		if d := time.Since(epoch); d > 10*time.Millisecond {
			t.Errorf("took %v", d)
		}
	})
}

func TestStatuses(t *testing.T) {
	for _, tt := range []struct {
		status    int
		fragment  string
		delivered bool
		notes     string
	}{
		{200, "", true, ""},
		{204, "", true, ""},
		{302, "", true, "11206/0"}, // without a Location
		{400, "", true, "15003/1"},
		{404, "", true, "15003/1"},
		{500, "", true, "15003/1"},
		{501, "", true, "15003/1"},
		{429, "", false, "15003/1"},
		{502, "", false, "15003/1"},
		{503, "", false, "15003/1"},
		{504, "", false, "15003/1"},
		{500, "#rp=5xx&rc=0", false, "15003/1"},
		{404, "#rp=5xx&rc=0", true, "15003/1"},
		{404, "#rp=4xx,ct&rc=0", false, "15003/1"},
		{404, "#rp=all&rc=0", false, "15003/1"},
		{0, "", false, "11205/0"},
	} {
		t.Run(fmt.Sprint(tt.status, tt.fragment), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				box := newMemory(cb("CA1", 0, "http://u:p@app.example/status"+tt.fragment))
				r := dispatch(t, box, func(w http.ResponseWriter, _ *http.Request) {
					if tt.status == 0 {
						panic(http.ErrAbortHandler)
					}
					w.Header().Set("X-App", "yes")
					w.WriteHeader(tt.status)
					if tt.status >= 400 {
						_, _ = io.WriteString(w, "sorry \xff")
					}
				})
				pass(900 * time.Millisecond) // before any second attempt
				if (box.left() == 0) != tt.delivered || len(r.requests()) != 1 {
					t.Errorf("%d left after %d requests", box.left(), len(r.requests()))
				}
				if r.codes() != tt.notes {
					t.Errorf("notifications %s, want %s", r.codes(), tt.notes)
				}
				if len(r.notes) == 0 || tt.status == 0 || tt.status == 302 {
					return
				}
				n := r.notes[0]
				if n.CallSID != "CA1" || n.AccountSID != "AC1" || n.RequestMethod != "POST" || n.RequestURL != "http://app.example/status" ||
					!strings.Contains(n.RequestParams, "CallStatus=initiated") || !strings.Contains(n.ResponseHeaders, "X-App=yes") || n.ResponseBody != "sorry \ufffd" {
					t.Errorf("notification %+v", n)
				}
			})
		})
	}
}

func TestRetriesForADayThenDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		box := newMemory(cb("CA1", 0, "http://app.example/status"))
		var at []time.Duration
		r := dispatch(t, box, func(w http.ResponseWriter, _ *http.Request) {
			at = append(at, time.Since(epoch))
			w.WriteHeader(503)
		})
		box.untilEmpty()
		r.stop()
		for i := 1; i < len(at); i++ {
			gap, most := at[i]-at[i-1], min(time.Second<<min(i, 9), maxBackOff)
			if gap < most/2 || gap > most+pollInterval {
				t.Errorf("attempt %d came %v after the one before, want %v to %v", i+1, gap, most/2, most)
			}
		}
		last := at[len(at)-1]
		if last < maxAge || last > maxAge+maxBackOff+pollInterval || len(box.dead) != 1 {
			t.Errorf("the last attempt was after %v; dead: %v", last, box.dead)
		}
		if r.codes() != "15003/1 15002/0" {
			t.Errorf("notifications %s", r.codes())
		}
	})
}

func TestRetryAfter(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"60": 60 * time.Second, "9999999": maxBackOff, "-1": time.Second, "x": time.Second,
		epoch.Add(90 * time.Second).Format(http.TimeFormat): 90 * time.Second,
	} {
		t.Run(value, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				box := newMemory(cb("CA1", 0, "http://app.example/status"))
				n := 0
				dispatch(t, box, func(w http.ResponseWriter, _ *http.Request) {
					if n++; n == 1 {
						w.Header().Set("Retry-After", value)
						w.WriteHeader(503)
					}
				})
				box.untilEmpty()
				if d := time.Since(epoch); d < want || d > want+2*time.Second {
					t.Errorf("came back after %v, want %v", d, want)
				}
			})
		})
	}
}

func TestWaitsAtMost30SecondsBehindAnEarlierOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		box := newMemory(cb("CA1", 0, "http://app.example/status"), cb("CA1", 1, "http://app.example/status"), cb("CA1", 3, "http://other.example/"))
		var second, other time.Duration
		dispatch(t, box, func(w http.ResponseWriter, r *http.Request) {
			switch r.PostFormValue("SequenceNumber") {
			case "0":
				w.WriteHeader(503)
			case "1":
				second = time.Since(epoch)
			default:
				other = time.Since(epoch)
			}
		})
		for box.left() > 1 {
			<-box.changed
		}
		if second < patience || second > patience+time.Second {
			t.Errorf("the second callback left after %v", second)
		}
		if other > 10*time.Millisecond {
			t.Errorf("the callback to another URL left after %v", other)
		}
	})
}

// TestGoesAheadOfOneThatHangs: the first is under way when patience ends.
func TestGoesAheadOfOneThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		target := "http://app.example/status#tt=15000"
		box := newMemory(cb("CA1", 0, target))
		r := dispatch(t, box, func(w http.ResponseWriter, r *http.Request) {
			if r.PostFormValue("SequenceNumber") == "0" {
				<-r.Context().Done()
			}
		})
		pass(time.Second)
		box.add(cb("CA1", 1, target))
		r.Wake()
		for !box.has("EV-CA1-1") {
			<-box.changed
		}
		if d := time.Since(epoch); d < time.Second+patience || d > 32*time.Second+50*time.Millisecond {
			t.Errorf("delivered after %v", d)
		}
	})
}

func TestLeavesAtOnceAfterWake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		box := newMemory()
		r := dispatch(t, box, ok)
		for i := range 50 {
			pass(time.Duration(137+i) * time.Millisecond)
			start := time.Now()
			for j := range 5 { // commits in quick succession
				box.add(cb(fmt.Sprintf("CA%d-%d", i, j), 0, "http://app.example/status"))
				r.Wake()
				pass(time.Millisecond)
			}
			box.untilEmpty()
			if d := time.Since(start); d > 10*time.Millisecond {
				t.Fatalf("took %v", d)
			}
		}
	})
}

func TestPollFindsWhatNobodyToldOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		box := newMemory()
		dispatch(t, box, ok)
		pass(time.Minute)
		if n := box.looks(); n > 62 {
			t.Errorf("the idle dispatcher read the outbox %d times in a minute", n)
		}
		start := time.Now()
		box.add(cb("CA1", 0, "http://app.example/status"))
		box.untilEmpty()
		if d := time.Since(start); d > pollInterval {
			t.Errorf("found after %v", d)
		}
	})
}

func TestStopWaitsForWhatIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		box := newMemory(cb("CA1", 0, "http://app.example/status"), cb("CA1", 1, "http://app.example/status"))
		r := dispatch(t, box, func(http.ResponseWriter, *http.Request) { <-time.After(3 * time.Second) })
		pass(time.Second)
		r.stop()
		if d := time.Since(epoch); d != 3*time.Second || !box.has("EV-CA1-0") || box.left() != 1 {
			t.Errorf("stopped after %v, %d left", d, box.left())
		}
	})
}

func TestAbandonedIsSentAgainAfterRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		box := newMemory(cb("CA1", 0, "http://app.example/status"), cb("CA1", 1, "http://app.example/status"))
		r := dispatch(t, box, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		pass(time.Second)
		r.stop()
		if d := time.Since(epoch); d != time.Second+stopGrace || box.left() != 2 || box.row("EV-CA1-0").Attempts != 0 {
			t.Errorf("stopped after %v, %d left", d, box.left())
		}
		again := dispatch(t, box, ok)
		box.untilEmpty()
		if got := again.got(); !slices.Equal(got, []string{"CA1:0", "CA1:1"}) {
			t.Errorf("got %v", got)
		}
		if again.requests()[0].Header.Get("I-Twilio-Idempotency-Token") != r.requests()[0].Header.Get("I-Twilio-Idempotency-Token") {
			t.Error("the idempotency token changed")
		}
	})
}

func TestHostsAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		box := newMemory()
		for i := range 3 * maxHostInFlight {
			box.add(cb(fmt.Sprintf("CA%d", i), 0, "http://slow.example/"))
		}
		inside, most := 0, 0
		var mu sync.Mutex
		box.add(cb("CB", 0, "http://fast.example/"))
		dispatch(t, box, func(_ http.ResponseWriter, r *http.Request) {
			if r.Host != "slow.example" {
				return
			}
			mu.Lock()
			inside++
			most = max(most, inside)
			mu.Unlock()
			<-time.After(time.Second)
			mu.Lock()
			inside--
			mu.Unlock()
		})
		pass(10 * time.Millisecond)
		if !box.has("EV-CB-0") {
			t.Error("the other host has to wait")
		}
		box.untilEmpty()
		if most != maxHostInFlight || time.Since(epoch) != 3*time.Second {
			t.Errorf("%d at a time for %v", most, time.Since(epoch))
		}
	})
}

func TestBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		box := newMemory()
		for i := range 3000 {
			box.add(cb(fmt.Sprintf("CA%d", i), 0, "http://app.example/"))
		}
		dispatch(t, box, func(http.ResponseWriter, *http.Request) { <-time.After(20 * time.Millisecond) })
		box.untilEmpty()
		// 64 at a time, and nothing was put off
		if d := time.Since(epoch); d > 3000/maxHostInFlight*21*time.Millisecond+pollInterval/2 {
			t.Errorf("took %v", d)
		}
	})
}

func TestBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const calls = 300
		box := newMemory()
		for i := range calls {
			box.add(cb(fmt.Sprintf("CA%d", i), 0, "http://app.example/"))
		}
		broken := true
		r := dispatch(t, box, func(w http.ResponseWriter, _ *http.Request) {
			if broken {
				w.WriteHeader(503)
			}
		})
		pass(5 * time.Minute)
		if n := len(r.requests()); n > maxHostInFlight+5*60/int(maxBreakerPause/time.Second)+10 {
			t.Errorf("%d requests to a server that is down", n)
		}
		broken = false
		mended := time.Now()
		box.untilEmpty()
		if d := time.Since(mended); d > maxBackOff+2*maxBreakerPause {
			t.Errorf("delivered %v after the server was back", d)
		}
		if delivered, dead := box.ended(); delivered != calls || dead != 0 {
			t.Errorf("%d delivered, %d dead", delivered, dead)
		}
		pass(2 * maxBackOff)
		r.stop()
		if len(r.hosts) != 0 || len(r.sick) != 0 || len(r.lanes) != 0 || len(r.held) != 0 || len(r.waiting) != 0 {
			t.Errorf("left behind: %d hosts, %d lanes, %d held", len(r.hosts), len(r.lanes), len(r.held))
		}
	})
}

// TestDeadServersDoNotDelayOthers fills the outbox with what cannot be delivered.
func TestDeadServersDoNotDelayOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		box := newMemory()
		r := dispatch(t, box, ok)
		r.dials = func(addr string) error {
			if strings.HasPrefix(addr, "dead") {
				<-time.After(5 * time.Second)
				return timeoutError{}
			}
			return nil
		}
		for i := range 10_000 {
			box.add(cb(fmt.Sprintf("CA%d", i), 0, fmt.Sprintf("http://dead%d.example/", i%7)))
		}
		pass(time.Minute)
		for i := range 20 {
			start := time.Now()
			id := fmt.Sprintf("CB%d", i)
			live := cb(id, 0, "http://live.example/")
			live.DueAt = start
			box.add(live)
			r.Wake()
			for !box.has("EV-" + id + "-0") {
				<-box.changed
			}
			if d := time.Since(start); d > time.Second {
				t.Errorf("waited %v behind dead servers", d)
			}
			pass(10 * time.Second)
		}
		r.stop()
		if len(r.held) > maxHeld/2 {
			t.Errorf("%d callbacks in memory", len(r.held))
		}
	})
}

func TestStoreThatIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		box := newMemory(cb("CA1", 0, "http://app.example/status"))
		box.fail(errors.New("disk full"))
		r := dispatch(t, box, func(http.ResponseWriter, *http.Request) { box.fail(errors.New("disk full")) })
		pass(10 * time.Second)
		box.fail(nil)
		pass(pollInterval) // sent; the mark fails
		if len(r.requests()) != 1 || box.left() != 1 {
			t.Fatalf("%d requests, %d left", len(r.requests()), box.left())
		}
		pass(10 * time.Second)
		box.fail(nil)
		box.untilEmpty()
		if len(r.requests()) != 1 {
			t.Errorf("sent %d times", len(r.requests()))
		}
	})
}

func TestHopelessAndUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nobody := cb("CA3", 0, "http://app.example/status")
		nobody.AccountSID = "AC2"
		box := newMemory(cb("CA1", 0, "http://app.example/status#rp=never"), cb("CA2", 0, "http://%zz/"), nobody)
		r := dispatch(t, box, ok)
		pass(10 * time.Millisecond)
		if _, dead := box.ended(); dead != 2 || box.left() != 1 || len(r.requests()) != 0 {
			t.Errorf("%d dead, %d left, %d requests", dead, box.left(), len(r.requests()))
		}
		if cb := box.row("EV-CA3-0"); cb.Attempts != 1 || !cb.DueAt.After(epoch) {
			t.Errorf("the callback of an unknown account: %+v", cb)
		}
		codes := strings.Fields(r.codes())
		slices.Sort(codes)
		if got := fmt.Sprint(codes); got != "[11100/0 11200/0 11243/1]" && got != "[11100/0 11200/0 11243/0]" {
			t.Errorf("notifications %v", got)
		}
	})
}

func TestBackOff(t *testing.T) {
	for attempts := 1; attempts < 100; attempts++ {
		most := maxBackOff
		if attempts < 9 {
			most = min(time.Second<<attempts, maxBackOff)
		}
		for range 100 {
			if d := backOff(attempts); d < most/2 || d > most || d < minBackOff {
				t.Fatalf("backOff(%d) = %v, want %v to %v", attempts, d, most/2, most)
			}
		}
	}
}

func BenchmarkDispatcher(b *testing.B) {
	s := httptest.NewServer(http.HandlerFunc(ok))
	defer s.Close()
	h := New(Config{})
	defer h.Close()
	box := newMemory()
	d := NewDispatcher(DispatcherConfig{Hooks: h, Outbox: box, Token: func(string) (string, bool) { return token, true }})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = d.Run(ctx) }()
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		c := cb(fmt.Sprint("CA", i/4), i%4, s.URL)
		c.CreatedAt = time.Now()
		box.add(c)
		d.Wake()
		for box.left() > 500 {
			<-box.changed
		}
	}
	box.untilEmpty()
	b.StopTimer()
	cancel()
	<-done
}
