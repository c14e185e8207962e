package session

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/clock"
	"github.com/offhook/offhook/internal/twilio"
)

// dialled are the calls that were dialled, in order.
func (s *specs) dialled() (sids []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, spec := range s.all {
		sids = append(sids, spec.CallSID)
	}
	return sids
}

// noting makes d note what is dialled.
func noting(d *specs) func(*Config) {
	return func(c *Config) {
		d.stage = c.Dialer.(*stage)
		c.Dialer = d
	}
}

// tenant is another account.
func (w *world) tenant() string {
	w.t.Helper()
	a := &call.Account{SID: twilio.NewSID("AC"), AuthToken: "token"}
	if err := w.store.PutAccount(w.t.Context(), a); err != nil {
		w.t.Fatal(err)
	}
	return a.SID
}

func (w *world) createFor(account string) (*call.Call, error) {
	return w.Create(w.t.Context(), account, call.CreateParams{To: "+15550100", From: "+15550101", Options: call.Options{Twiml: "<Response/>"}})
}

func (w *world) leave(account string) (*call.Call, error) {
	now := clock.System.Now()
	c := &call.Call{
		SID: twilio.NewSIDAt("CA", now), AccountSID: account, To: "+15550100", From: "+15550101", Direction: call.OutboundAPI, Status: call.Queued,
		DateCreated: now, DateUpdated: now, QueueKey: queueSimulator, PriceUnit: "USD", Options: call.Options{Twiml: "<Response/>"},
	}
	return c, w.store.AddCall(w.t.Context(), c, call.Change{Events: newEvents(c, now, "created", "queued")})
}

// left stores calls as an earlier process left them in its queue, in order.
func (w *world) left(account string, n int) (sids []string) {
	w.t.Helper()
	stored := make(map[int64]string)
	var mu sync.Mutex
	var all sync.WaitGroup
	next := make(chan int)
	for range 200 {
		all.Go(func() {
			for range next {
				c, err := w.leave(account)
				for errors.Is(err, call.ErrUnavailable) { // a machine that is very busy
					c, err = w.leave(account)
				}
				if err != nil {
					w.t.Error(err)
					continue
				}
				mu.Lock()
				stored[c.Seq] = c.SID
				mu.Unlock()
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	all.Wait()
	var seqs []int64
	for seq := range stored {
		seqs = append(seqs, seq)
	}
	slices.Sort(seqs)
	for _, seq := range seqs {
		sids = append(sids, stored[seq])
	}
	return sids
}

// One account has 5,000 calls in the queue, from before a restart. They go in order, and another's calls wait for no
// more than the one that is being dialled and the one that was next.
func TestNobodyWaitsForAnothersQueue(t *testing.T) {
	d := &specs{}
	w := newWorld(t, noting(d), func(c *Config) { c.SimulatorLimits.MaxCalls = 1 })
	theirs := w.left(w.account.SID, 5000)
	if err := w.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	l := w.leg()
	other := w.tenant()
	var own []string
	for range 3 {
		c, err := w.createFor(other)
		if err != nil {
			t.Fatal(err)
		}
		own = append(own, c.SID)
	}
	late, err := w.createFor(w.account.SID)
	if err != nil {
		t.Fatal(err)
	}
	if n := w.queue.waiting(); n != 5003 {
		t.Errorf("%d calls wait", n)
	}
	for range 300 { // more than are read from the store at a time
		l.leaves()
		l = w.leg()
	}
	got := d.dialled()
	for i, sid := range own {
		if at := slices.Index(got, sid); at < 0 || at > 2*i+2 {
			t.Errorf("the other account's call %d was dialled as number %d", i, at)
		}
	}
	got = slices.DeleteFunc(got, func(sid string) bool { return slices.Contains(own, sid) })
	for i, sid := range got {
		if sid != theirs[i] {
			t.Fatalf("number %d was %s, want %s", i, sid, theirs[i])
		}
	}
	if slices.Contains(got, late.SID) {
		t.Error("the newest call went before older ones")
	}
	w.queue.mu.Lock()
	defer w.queue.mu.Unlock()
	if w.queue.held > lineBuffer {
		t.Errorf("%d calls in memory", w.queue.held)
	}
}

// A call that is created while the store is asked for older ones goes after them.
func TestNobodyPassesAQueueThatIsRead(t *testing.T) {
	d := &specs{}
	w := newWorld(t, noting(d), func(c *Config) { c.SimulatorLimits.MaxCalls = 1 })
	want := w.left(w.account.SID, 3)
	reads, goesOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	w.store.reads(func() { once.Do(func() { close(reads); <-goesOn }) })
	if err := w.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.comes("the queue is read", reads)
	want = append(want, w.create("<Response/>").SID)
	w.queue.mu.Lock()
	if l, _ := w.queue.findLocked(w.Clock.Now()); l != nil {
		t.Error("the new call may leave")
	}
	w.queue.mu.Unlock()
	close(goesOn)
	for range want {
		w.leg().leaves()
	}
	if got := d.dialled(); !slices.Equal(got, want) {
		t.Errorf("dialled %v, want %v", got, want)
	}
}

// Many accounts with long queues share a bounded memory.
func TestWhatWaitsInMemoryIsBounded(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.AccountLimits.CPS = 0.001 })
	q := w.queue
	q.running = true // it is not
	for i := range 300 {
		for range lineBuffer {
			q.add(&call.Call{SID: twilio.NewSID("CA"), AccountSID: fmt.Sprint("AC", i), QueueKey: queueSimulator})
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.held > heldCalls {
		t.Errorf("%d calls in memory", q.held)
	}
}

func TestAnAccountsPace(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.AccountLimits.CPS = 20 })
	first := w.create("<Response/>")
	var last *call.Call
	for range 9 {
		last = w.create("<Response/>")
	}
	for range 10 {
		w.leg().leaves()
	}
	w.until("the last call is over", func() bool { return w.stored(last.SID).Status.Final() })
	c := w.stored(last.SID)
	if wait := c.DialedAt.Sub(first.DateCreated); wait < 450*time.Millisecond {
		t.Errorf("ten calls at 20 a second took %v", wait)
	}
	if c.QueueTime <= 0 || (c.QueueTime-c.DialedAt.Sub(c.DateCreated)).Abs() > time.Millisecond || c.Resource().QueueTime != c.QueueTime.Milliseconds() {
		t.Errorf("it waited %v", c.QueueTime)
	}
}

// Over all places where its calls go to, an account's pace goes to the oldest call that may leave there.
func TestAnAccountsCallsGoInOrder(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.AccountLimits.CPS, c.SIPLimits.CPS = 1, 0.5 })
	q := w.queue
	q.running = true // it is not
	for i, key := range []string{queueSimulator, queueSIP, queueSimulator, queueSIP, queueSIP, queueSimulator, queueSimulator, queueSimulator} {
		q.add(&call.Call{SID: fmt.Sprint("CA", i), Seq: int64(i), AccountSID: "AC1", QueueKey: key})
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	now := clock.System.Now()
	q.sweep = now.Add(time.Hour)
	var got []int64
	for at := range 9 {
		moment := now.Add(time.Duration(at) * time.Second)
		for {
			l, until := q.findLocked(moment)
			if l == nil {
				if at < 7 && until.Sub(moment) != time.Second {
					t.Errorf("second %d: to look again in %v", at, until.Sub(moment))
				}
				break
			}
			got = append(got, q.takeLocked(l, moment).Seq)
		}
		if want := min(at+1, 8); len(got) != want {
			t.Errorf("second %d: %d calls have left, want %d", at, len(got), want)
		}
	}
	if want := []int64{0, 1, 2, 3, 5, 4, 6, 7}; !slices.Equal(got, want) {
		t.Errorf("in the order %v, want %v", got, want)
	}
	if q.held != 0 || len(q.lanes[queueSIP].lines) != 0 {
		t.Errorf("left behind: %d calls, %+v", q.held, q.lanes)
	}
}

func TestAnAccountAtItsPaceHoldsNobodyBack(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.AccountLimits = Limits{CPS: 0.01, MaxCalls: 1} })
	w.create("<Response/>")
	w.leg()
	waits := w.create("<Response/>")
	theirs, err := w.createFor(w.tenant())
	if err != nil {
		t.Fatal(err)
	}
	w.leg()
	w.until("the other account's call is dialled", func() bool {
		c, err := w.store.Call(t.Context(), theirs.AccountSID, theirs.SID)
		return err == nil && !c.DialedAt.IsZero()
	})
	if c := w.stored(waits.SID); c.Status != call.Queued || !c.DialedAt.IsZero() {
		t.Errorf("the account's second call: %s", c.Status)
	}
}

// The calls of a <Dial> are never held back, but take places that others then wait for.
func TestADialTakesAPlace(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.AccountLimits.MaxCalls = 2 })
	parent := w.create(`<Response><Dial>+15550102</Dial></Response>`)
	l := w.leg()
	second := w.create(`<Response/>`)
	other := w.leg()
	l.events <- call.LegAnswered{}
	child := w.leg()
	third := w.create(`<Response/>`)
	other.leaves()
	active := func() int {
		w.queue.mu.Lock()
		defer w.queue.mu.Unlock()
		return w.queue.payers[w.account.SID].active
	}
	w.until("the second call has given its place back", func() bool { return w.stored(second.SID).Status.Final() && active() == 2 })
	w.queue.mu.Lock()
	if l, _ := w.queue.findLocked(w.Clock.Now()); l != nil {
		t.Error("a third call may leave beside two")
	}
	w.queue.mu.Unlock()
	if c := w.stored(third.SID); c.Status != call.Queued || !c.DialedAt.IsZero() {
		t.Errorf("the third call is %s", c.Status)
	}
	child.leaves()
	l.leaves()
	w.is(parent.SID, call.Completed)
	w.leg()
}

// later is a clock that can be set forward.
type later struct {
	clock.Clock
	by atomic.Int64
}

func (l *later) Now() time.Time { return l.Clock.Now().Add(time.Duration(l.by.Load())) }

func TestACallThatWaitedForADay(t *testing.T) {
	ahead := &later{Clock: clock.System}
	w := newWorld(t, func(c *Config) { c.Clock, c.SimulatorLimits.MaxCalls = ahead, 1 })
	w.create("<Response/>")
	l := w.leg()
	old := w.create("<Response/>", toldOf)
	ahead.by.Store(int64(maxWait - time.Minute))
	w.queue.poke()
	w.until("the queue has been searched", func() bool {
		w.queue.mu.Lock()
		defer w.queue.mu.Unlock()
		return !w.queue.sweeping && w.queue.sweep.After(ahead.Now())
	})
	if err := w.expire(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c := w.stored(old.SID); c.Status != call.Queued {
		t.Fatalf("%s before its time", c.Status)
	}
	ahead.by.Store(int64(maxWait + time.Minute))
	w.queue.poke()
	c := w.is(old.SID, call.Failed)
	if c.Cause.Code != 22001 || c.QueueTime < maxWait || c.EndedAt.IsZero() || !c.DialedAt.IsZero() {
		t.Errorf("%+v", c)
	}
	if got := w.events(old.SID); !slices.Equal(got, []string{"created", "queued", "failed"}) {
		t.Errorf("events %v", got)
	}
	due, err := w.store.Due(t.Context(), ahead.Now(), 10)
	if err != nil || len(due) != 1 || due[0].CallSID != old.SID || due[0].Params.Get("CallStatus") != "failed" {
		t.Errorf("callbacks %+v, %v", due, err)
	}
	notes, _, err := w.store.ListNotifications(t.Context(), call.NotificationFilter{AccountSID: w.account.SID, CallSID: old.SID, Limit: 10})
	if err != nil || len(notes) != 1 || notes[0].Code != 22001 {
		t.Errorf("notifications %+v, %v", notes, err)
	}
	if n := w.queue.waiting(); n != 0 {
		t.Errorf("%d calls wait", n)
	}
	l.leaves()
	w.create("<Response/>")
	w.leg().leaves()
}

// A queue that would take more than a day is full. Others' are not.
func TestAQueueOfADayIsFull(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.AccountLimits.CPS = 0.001 }) // 86.4 in a day
	var full *twilio.Error
	made := 0
	for range 200 {
		_, err := w.createFor(w.account.SID)
		if errors.As(err, &full) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		made++
		if made == 1 {
			w.leg() // is not in the queue any more
		}
	}
	if full == nil || full.Code != 22005 || full.Status != 400 || made != 88 {
		t.Errorf("%d calls, then %v", made, full)
	}
	if _, err := w.createFor(w.tenant()); err != nil {
		t.Errorf("another account: %v", err)
	}
	list, _, err := w.store.ListCalls(t.Context(), call.Filter{AccountSID: w.account.SID, Statuses: []call.Status{call.Queued}, Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range list[:2] {
		if _, err := w.Update(t.Context(), w.account.SID, c.SID, call.UpdateParams{Status: call.Canceled}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.createFor(w.account.SID); err != nil {
		t.Errorf("after two were canceled: %v", err)
	}
}
