// Package proof holds what must be true of the whole program when the world is at its worst: the real
// binary, real SIP phones, a real web application, and kill -9.
package proof

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/clock"
	"github.com/offhook/offhook/phone"
)

var (
	rounds = flag.Int("rounds", fromEnv("OFFHOOK_PROOF", 1), "how often the engine is killed, on each database; with more than one an outage takes 30 s (environment: OFFHOOK_PROOF)")
	seed   = flag.Uint64("seed", 0, "of the moments of the kills; 0 takes a new one")
)

func fromEnv(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return otherwise
}

const (
	inbound  = 60                     // that come in meanwhile
	calls    = 200                    // acknowledged before the kill, at least
	window   = 2 * time.Second        // the kill comes within it after the last of them
	recovery = 5 * time.Second        // from the start of the next process: what had a dialog is final and told
	patience = 20 * time.Second       // until the rest is over
	cps      = 25                     // of the narrow trunk
	places   = 12                     // of the narrow trunk
	trickle  = 15 * time.Millisecond  // between calls made until the kill
	outage   = 700 * time.Millisecond // at most, between the kill and the next start
)

// TestNothingIsLostByAKill kills the engine while calls are queued, ringing and in progress, in both directions.
func TestNothingIsLostByAKill(t *testing.T) {
	t.Run("SQLite", func(t *testing.T) {
		killRounds(t, func() string { return "" })
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		killRounds(t, newCluster(t).database)
	})
}

// killRounds kills as often as the flags say, each time with a database of its own.
func killRounds(t *testing.T, database func() string) {
	bin := build(t)
	for i := range *rounds {
		s := *seed
		if s == 0 {
			s = rand.Uint64()
		}
		t.Run(fmt.Sprint(i+1), func(t *testing.T) {
			t.Logf("-seed %d", s)
			r := &round{
				t: t, rand: rand.New(rand.NewPCG(s, uint64(i))), acked: map[string]string{},
				engine: &engine{t: t, bin: bin, data: t.TempDir(), database: database()},
				phones: newPhones(t, window), app: newApp(t, window),
			}
			defer r.engine.kill()
			r.run()
		})
	}
}

type round struct {
	t      *testing.T
	rand   *rand.Rand
	engine *engine
	phones *phones
	app    *app

	mu     sync.Mutex
	made   int
	acked  map[string]string // number by SID
	in     []*caller
	killed time.Time
}

// caller is one call that comes in, from a number of its own.
type caller struct {
	*phone.Call
	rang bool // heard 180 or 200 before the kill: the call is stored
	code int  // 200 when it was answered before the kill
	over bool // it had ended by then
}

func (r *round) run() {
	r.engine.start()
	r.engine.trunk("wide", r.phones.Addr(), wide, 0, 0)
	r.engine.trunk("narrow", r.phones.Addr(), narrow, cps, places)
	for _, number := range [...]string{talks, thinks, isTurnedAway} {
		r.engine.number(number, r.app.URL+"/voice", r.app.URL+"/status")
	}
	delay, pause := time.Duration(r.rand.Int64N(int64(window))), time.Duration(r.rand.Int64N(int64(outage)))
	r.callAndKill(delay)
	queued, ringing, talking := r.state()
	_ = clock.Sleep(r.t.Context(), clock.System, pause)
	r.phones.calmDown()
	r.app.calmDown()
	r.engine.start()
	ready := time.Since(r.engine.started)

	r.allThere()
	final := r.dialogsFinal()
	told := r.phonesTold()
	r.allOver()
	ringingIn, talkingIn := r.inbound()
	unsent := r.dialledOnce()
	again := r.callbacks()
	r.t.Logf("killed %v after %d calls, away %v: %d queued, %d ringing, %d in progress; ready in %v, all with a dialog final in %v, phones told in %v; "+
		"%d stored but not sent, %d callbacks sent again; inbound %d ringing, %d in progress", delay.Round(time.Millisecond), len(r.acked), pause.Round(time.Millisecond), queued, ringing, talking,
		ready.Round(time.Millisecond), final.Round(time.Millisecond), told.Round(time.Millisecond), unsent, again,
		ringingIn, talkingIn)
	if queued == 0 || ringing == 0 || talking == 0 || ringingIn == 0 || talkingIn == 0 {
		r.t.Errorf("the kill came when %d calls were queued, %d ringing and %d in progress, inbound %d ringing and %d in progress: want some of each",
			queued, ringing, talking, ringingIn, talkingIn)
	}
}

// form is the next call to ask for, to a number of its own.
func (r *round) form() url.Values {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.made++
	prefix := wide
	if r.rand.IntN(3) == 0 {
		prefix = narrow
	}
	to := fmt.Sprintf("%s%c%06d", prefix, '0'+r.rand.IntN(plans), r.made)
	return url.Values{
		"To": {to}, "From": {"+15005550006"}, "Url": {r.app.URL + "/voice"}, "Timeout": {"120"},
		"StatusCallback": {r.app.URL + "/status"}, "StatusCallbackEvent": {"initiated", "ringing", "answered", "completed"},
	}
}

// callAndKill makes calls, the first 200 as fast as they are taken and then one after the other, until the
// engine dies, that long after the 200th.
func (r *round) callAndKill(delay time.Duration) {
	ctx, stop := context.WithCancel(r.t.Context())
	defer stop()
	enough := make(chan struct{})
	var callers sync.WaitGroup
	for i := range inbound / 4 { // these talk by then, however soon it comes
		callers.Go(func() { r.callIn(ctx, i) })
	}
	until(ctx, time.Now().Add(patience), func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		_, talking := r.liveIn()
		return talking > 0
	})
	for range 6 {
		callers.Go(func() {
			for ctx.Err() == nil {
				form := r.form()
				sid, err := r.engine.create(ctx, form)
				if err != nil && unavailable(err) == nil { // busy, and said so: come again
					_ = clock.Sleep(ctx, clock.System, 3*trickle)
					continue
				}
				if err != nil {
					if ctx.Err() == nil {
						r.t.Error(err)
					}
					return
				}
				r.mu.Lock()
				r.acked[sid] = form.Get("To")
				n := len(r.acked)
				r.mu.Unlock()
				switch {
				case n == calls:
					close(enough)
				case n > calls:
					_ = clock.Sleep(ctx, clock.System, 6*trickle)
				}
			}
		})
	}
	for i := inbound / 4; i < inbound; i++ {
		callers.Go(func() { r.callIn(ctx, i) })
	}
	select {
	case <-enough:
	case <-time.After(patience):
		r.t.Fatalf("%d calls were not taken within %v", calls, patience)
	}
	_ = clock.Sleep(ctx, clock.System, delay)
	until(ctx, time.Now().Add(patience), r.someOfEach)
	_ = r.engine.cmd.Process.Kill()
	r.killed = time.Now()
	stop()
	callers.Wait()
	r.engine.kill()
	for _, c := range r.in {
		_, c.over = c.End()
	}
}

// callIn makes a call to one of the engine's numbers and notes what it heard until the kill.
func (r *round) callIn(ctx context.Context, i int) {
	r.mu.Lock()
	wait := time.Duration(r.rand.Int64N(int64(window)))
	to := [...]string{talks, thinks, isTurnedAway}[r.rand.IntN(3)]
	r.mu.Unlock()
	if i < inbound/4 {
		to, wait = talks, wait/20
	}
	if clock.Sleep(ctx, clock.System, wait) != nil {
		return
	}
	for ctx.Err() == nil {
		made, err := r.phones.Call(ctx, phone.Outgoing{To: "sip:" + to + "@" + r.engine.sip, From: fmt.Sprintf("+1558%07d", i)})
		if err != nil {
			if ctx.Err() == nil {
				r.t.Error(err)
			}
			return
		}
		c := &caller{Call: made}
		if c.WaitRinging(ctx) != nil {
			if end, over := c.End(); over && end.Code == 503 { // busy, and said so: come again
				_ = clock.Sleep(ctx, clock.System, 3*trickle)
				continue
			}
			r.note(func() { r.in = append(r.in, c) })
			return
		}
		c.rang = true
		r.note(func() { r.in = append(r.in, c) })
		if c.WaitAnswered(ctx) == nil {
			r.note(func() { c.code = 200 })
		}
		return
	}
}

func (r *round) note(what func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	what()
}

// liveIn counts the calls that came in and ring, and that were answered. The caller has r.mu.
func (r *round) liveIn() (ringing, talking int) {
	for _, c := range r.in {
		if _, over := c.End(); over || !c.rang {
			continue
		}
		if c.code == 200 {
			talking++
		} else {
			ringing++
		}
	}
	return ringing, talking
}

// someOfEach reports whether calls are queued, ringing and in progress, in both directions.
func (r *round) someOfEach() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	queued, ringing, talking := r.state()
	ringingIn, talkingIn := r.liveIn()
	return queued > 0 && ringing > 0 && talking > 0 && ringingIn > 0 && talkingIn > 0
}

// inbound checks the calls that came in before the kill: those that were told of by us are there, once, and
// final; who talked was hung up, and who heard it ring was refused.
func (r *round) inbound() (ringing, talking int) {
	for _, c := range r.in {
		if !c.rang {
			c.Hangup()
			continue // not stored as far as anybody knows
		}
		select {
		case <-c.HungUp():
		case <-time.After(time.Until(r.engine.started.Add(patience))):
		}
		end, over := c.End()
		if !over {
			r.t.Errorf("%s rang, its final response was %d, and it was not told of the end", c.From(), c.code)
			c.Hangup()
		}
		found, err := r.engine.from(c.From())
		if err != nil || len(found) != 1 {
			r.t.Errorf("%s rang, and there are %d calls of it: %v", c.From(), len(found), err)
			continue
		}
		sid, status := found[0].SID, found[0].Status
		if !found[0].final() {
			r.t.Errorf("%s from %s is %q after the restart", sid, c.From(), status)
			continue
		}
		want := "failed"
		switch {
		case c.code == 200:
			want = "completed"
			talking++
		case c.over: // its end had come before, or the answer and its end were on their way
			want = status
		default:
			ringing++
			if status == "completed" { // its 200 had been stored, and did not leave
				want = status
			} else if over && end.Code != 503 {
				r.t.Errorf("%s from %s rang: %s, want 503", sid, c.From(), end)
			}
		}
		if status != want {
			r.t.Errorf("%s from %s is %s, want %s", sid, c.From(), status, want)
		}
		until(r.t.Context(), time.Now().Add(patience), func() bool { return len(r.app.callbacks(sid)) > 0 })
		got := r.app.callbacks(sid)
		compare(r.t, sid, c.To(), []string{status}, got)
	}
	return ringing, talking
}

// state counts what the phones saw when the engine was dead.
func (r *round) state() (queued, ringing, talking int) {
	for _, number := range r.acked {
		calls := r.phones.of(number)
		if len(calls) == 0 {
			queued++
			continue
		}
		if _, over := calls[0].End(); over {
			continue
		}
		if calls[0].Code() == 200 {
			talking++
		} else {
			ringing++
		}
	}
	return queued, ringing, talking
}

// sids are the acknowledged calls, those the phones saw before the kill or the others.
func (r *round) sids(seen bool) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(r.acked)), func(sid string) bool {
		calls := r.phones.of(r.acked[sid])
		return seen != (len(calls) > 0 && calls[0].rang.Before(r.engine.started))
	})
}

func (r *round) allThere() {
	each(slices.Sorted(maps.Keys(r.acked)), func(sid string) {
		if _, err := r.engine.fetch(sid); err != nil {
			r.t.Errorf("acknowledged, and gone: %v", err)
		}
	})
}

// dialogsFinal checks that what the phones saw before the kill is final in time, and returns how long it took.
func (r *round) dialogsFinal() time.Duration {
	each(r.sids(true), func(sid string) {
		var last resource
		if !until(r.t.Context(), r.engine.started.Add(recovery), func() bool {
			last, _ = r.engine.fetch(sid)
			return last.final()
		}) {
			r.t.Errorf("%s to %s had a dialog and is %q %v after the restart", sid, r.acked[sid], last.Status, recovery)
		}
	})
	return time.Since(r.engine.started)
}

// phonesTold checks that nobody stays on a dead line, and returns when the last one was told.
func (r *round) phonesTold() time.Duration {
	deadline := time.After(time.Until(r.engine.started.Add(recovery)))
	late := false
	for _, sid := range r.sids(true) {
		c := r.phones.of(r.acked[sid])[0]
		if !late {
			select {
			case <-c.HungUp():
			case <-deadline:
				late = true
			}
		}
		end, over := c.End()
		last, _ := r.engine.fetch(sid)
		events, _ := r.engine.events(sid)
		switch byHand := plan(r.acked[sid][len(wide)]) == hangsUp; {
		case !over:
			r.t.Errorf("%s to %s: the phone was not told (its final response: %d, stored: %s %v)", sid, r.acked[sid], c.Code(), last.Status, events)
		case !end.Remote && !byHand:
			r.t.Errorf("%s to %s: the phone's call %s", sid, r.acked[sid], end)
		}
	}
	return time.Since(r.engine.started)
}

// allOver waits for the calls that were dialled after the restart.
func (r *round) allOver() {
	deadline := r.engine.started.Add(patience)
	each(slices.Sorted(maps.Keys(r.acked)), func(sid string) {
		var last resource
		if !until(r.t.Context(), deadline, func() bool {
			last, _ = r.engine.fetch(sid)
			return last.final()
		}) {
			r.t.Errorf("%s to %s is %q %v after the restart", sid, r.acked[sid], last.Status, patience)
		}
	})
}

// dialledOnce checks that every call reached its phone once, but for those whose INVITE was stored and
// had not left when the engine died: they failed and must not be dialled. It returns their number.
func (r *round) dialledOnce() (unsent int) {
	for sid, number := range r.acked {
		calls := r.phones.of(number)
		last, err := r.engine.fetch(sid)
		switch n := len(calls); {
		case err != nil:
			r.t.Error(err)
		case n > 1:
			r.t.Errorf("%s to %s was dialled %d times: %v before the kill, then %v after it", sid, number, n,
				r.killed.Sub(calls[0].rang), calls[1].rang.Sub(r.killed))
		case n == 0 && last.Status == "failed":
			unsent++ // its callbacks tell that it was "initiated"; callbacks checks them
		case n == 0:
			r.t.Errorf("%s to %s is %s and never reached its phone", sid, number, last.Status)
		case calls[0].rang.After(r.engine.started) && last.Status != "completed":
			r.t.Errorf("%s to %s waited through the kill and is %s", sid, number, last.Status)
		}
	}
	return unsent
}

// callbacks checks that each stored status was told, in order, and what was told twice under one token.
// It returns how many came again.
func (r *round) callbacks() (again int) {
	deadline := time.Now().Add(patience)
	for sid, number := range r.acked {
		events, err := r.engine.events(sid)
		if err != nil {
			r.t.Error(err)
			continue
		}
		want := []string{"initiated"} // stored with the dialog; each was dialled
		for _, e := range events {
			switch e {
			case "created", "queued", "in-progress":
			case "answered":
				want = append(want, "in-progress")
			default:
				want = append(want, e)
			}
		}
		until(r.t.Context(), deadline, func() bool {
			got := r.app.callbacks(sid)
			return len(got) > 0 && got[len(got)-1].seq == len(want)-1
		})
		got := r.app.callbacks(sid)
		again += compare(r.t, sid, number, want, got)
	}
	for _, bad := range r.app.bad {
		r.t.Error(bad)
	}
	return again
}

// compare compares one call's callbacks with the statuses that are stored.
func compare(t *testing.T, sid, number string, want []string, got []callback) (again int) {
	tokens := map[string]int{}
	var statuses []string
	var before callback
	for i, cb := range got {
		same := i > 0 && cb.seq == before.seq
		switch seq, known := tokens[cb.token]; {
		case i > 0 && cb.seq < before.seq:
			t.Errorf("%s: callback %d (%s) came after callback %d", sid, cb.seq, cb.status, before.seq)
		case known && seq != cb.seq:
			t.Errorf("%s: callbacks %d and %d have the same token", sid, seq, cb.seq)
		case same && cb.token != before.token:
			t.Errorf("%s: callback %d (%s) came again with another token", sid, cb.seq, cb.status)
		case same && cb.body != before.body:
			t.Errorf("%s: callback %d came again and was another:\n%s\n%s", sid, cb.seq, before.body, cb.body)
		case same:
			again++
		default:
			statuses = append(statuses, cb.status)
			if cb.seq != len(statuses)-1 {
				t.Errorf("%s: callback %d (%s) came as number %d", sid, cb.seq, cb.status, len(statuses)-1)
			}
		}
		tokens[cb.token], before = cb.seq, cb
	}
	if slices.Compare(statuses, want) != 0 {
		t.Errorf("%s to %s: callbacks %v, stored statuses %v", sid, number, statuses, want)
	}
	return again
}
