package proof

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/clock"
	"github.com/offhook/offhook/phone"
)

// A plan is what a called party does; the digit behind the trunk's prefix says which.
type plan byte

const (
	stays    plan = '0' + iota // rings, answers after a moment and listens
	picksUp                    // answers without ringing
	rings                      // rings for ever
	dithers                    // rings, and answers about when the engine dies, or while it is dead
	isHungUp                   // answers; the application hangs up about when the engine dies
	hangsUp                    // answers, and hangs up about then
	plans    = iota
)

// Prefixes of the two trunks: one takes every call at once, behind the other calls queue up.
const (
	wide   = "+1555"
	narrow = "+1556"
)

// Numbers that calls come in to: what the application does with them.
const (
	talks        = "+15570000001" // answers at once, and listens
	thinks       = "+15570000002" // rings until about when the engine dies, then answers
	isTurnedAway = "+15570000003" // rings until then, then hangs up
)

// person is one call at the phones.
type person struct {
	*phone.Call
	rang time.Time // when its INVITE came
}

// phones are all the parties that are called, behind one address.
type phones struct {
	*phone.Phone
	window time.Duration // the engine dies within it after a call was made

	mu    sync.Mutex
	calls map[string][]person // by number
	calm  bool                // from now on everybody answers at once
}

func newPhones(t *testing.T, window time.Duration) *phones {
	t.Helper()
	p := &phones{window: window, calls: map[string][]person{}}
	var err error
	p.Phone, err = phone.Listen(t.Context(), phone.Config{OnCall: p.play, MaxCalls: 2000, MaxHeard: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() }) // what is wrong with its calls was told before
	return p
}

// play is one party, until its call is over. What fails then failed because the call ended.
func (p *phones) play(c *phone.Call) {
	p.mu.Lock()
	p.calls[c.To()] = append(p.calls[c.To()], person{c, time.Now()})
	calm := p.calm
	p.mu.Unlock()
	ctx := c.Context()
	wait := func(most time.Duration) { _ = clock.Sleep(ctx, clock.System, rand.N(most)) }
	does := plan(c.To()[len(wide)])
	if calm {
		does = picksUp
	}
	if does != picksUp {
		_ = c.Ring()
	}
	switch does {
	case rings:
	case stays:
		wait(p.window / 2)
		_ = c.Answer()
	case dithers:
		wait(2 * p.window)
		_ = c.Answer()
	case picksUp, isHungUp:
		_ = c.Answer()
	case hangsUp:
		_ = c.Answer()
		wait(p.window)
		c.Hangup()
	}
	<-ctx.Done()
}

func (p *phones) calmDown() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calm = true
}

// of are the calls that a number got.
func (p *phones) of(number string) []person {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.calls[number])
}

// callback is one that the application got, in the order of arrival.
type callback struct {
	status, token, body string
	seq                 int
}

// app is the customer's application. It lives through the engine's death.
type app struct {
	*httptest.Server
	window time.Duration

	mu   sync.Mutex
	got  map[string][]callback // by call SID
	calm bool                  // every document hangs up at once
	bad  []string
	// document answers a request for one instead; nil without.
	document func(r *http.Request) string
}

func newApp(t *testing.T, window time.Duration) *app {
	t.Helper()
	a := &app{window: window, got: map[string][]callback{}}
	a.Server = httptest.NewServer(a)
	t.Cleanup(a.Close)
	return a
}

func (a *app) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		return // of a process that died while it sent
	}
	sid := r.PostForm.Get("CallSid")
	if r.URL.Path == "/status" {
		seq, err := strconv.Atoi(r.PostForm.Get("SequenceNumber"))
		cb := callback{r.PostForm.Get("CallStatus"), r.Header.Get("I-Twilio-Idempotency-Token"), r.PostForm.Encode(), seq}
		a.mu.Lock()
		a.got[sid] = append(a.got[sid], cb)
		if err != nil || cb.token == "" {
			a.bad = append(a.bad, fmt.Sprintf("callback without sequence number or token: %v %v", r.Header, r.PostForm))
		}
		a.mu.Unlock()
		// Some are under way when the engine dies.
		_ = clock.Sleep(r.Context(), clock.System, rand.N(30*time.Millisecond))
		return
	}
	a.mu.Lock()
	calm := a.calm
	a.mu.Unlock()
	document := `<Response><Pause length="600"/></Response>`
	inbound := r.PostForm.Get("Direction") == "inbound"
	if inbound { // to pause alone does not answer
		document = `<Response><Play digits="1"/><Pause length="600"/></Response>`
	}
	switch {
	case a.document != nil:
		document = a.document(r)
	case calm:
		document = `<Response><Hangup/></Response>`
	case inbound && r.PostForm.Get("To") != talks:
		_ = clock.Sleep(r.Context(), clock.System, rand.N(a.window)) // the call rings meanwhile
		if r.PostForm.Get("To") == isTurnedAway {
			document = `<Response><Hangup/></Response>`
		}
	case inbound:
	case plan(r.PostForm.Get("To")[len(wide)]) == isHungUp && !strings.HasPrefix(r.PostForm.Get("To"), narrow):
		_ = clock.Sleep(r.Context(), clock.System, rand.N(a.window))
		document = `<Response><Hangup/></Response>`
	}
	w.Header().Set("Content-Type", "text/xml")
	_, _ = io.WriteString(w, document)
}

func (a *app) calmDown() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calm = true
}

func (a *app) callbacks(sid string) []callback {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.got[sid])
}

// each runs f for every item, eight at a time.
func each[T any](items []T, f func(T)) {
	var wg sync.WaitGroup
	next := make(chan T)
	for range 8 {
		wg.Go(func() {
			for item := range next {
				f(item)
			}
		})
	}
	for _, item := range items {
		next <- item
	}
	close(next)
	wg.Wait()
}

// until asks again every 50 ms whether something is so; false when it is not by then.
func until(ctx context.Context, deadline time.Time, so func() bool) bool {
	for {
		if so() {
			return true
		}
		if time.Now().After(deadline) || clock.Sleep(ctx, clock.System, 50*time.Millisecond) != nil {
			return false
		}
	}
}
