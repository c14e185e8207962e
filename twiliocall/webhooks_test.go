package twiliocall_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/offhook/offhook/twiliocall"
)

// The vector of the Standard Webhooks reference implementations.
func TestSignaturesAreThoseOfStandardWebhooks(t *testing.T) {
	const secret, id = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek"
	at, body := time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`)
	got, err := twiliocall.SignWebhook(secret, id, at, body)
	if err != nil || got != "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=" {
		t.Fatalf("%s %v", got, err)
	}
	header := func(signature, timestamp string) http.Header {
		h := http.Header{}
		h.Set("Webhook-Id", id)
		h.Set("Webhook-Timestamp", timestamp)
		h.Set("Webhook-Signature", signature)
		return h
	}
	for name, test := range map[string]struct {
		secret string
		header http.Header
		body   string
		now    time.Time
		ok     bool
	}{
		"as it was sent":        {secret, header(got, "1614265330"), string(body), at.Add(time.Minute), true},
		"one of several":        {secret, header("v1,AAAA v1a,xx "+got, "1614265330"), string(body), at, true},
		"another body":          {secret, header(got, "1614265330"), `{"test": 1}`, at, false},
		"another secret":        {twiliocall.NewSecret(), header(got, "1614265330"), string(body), at, false},
		"recorded long ago":     {secret, header(got, "1614265330"), string(body), at.Add(6 * time.Minute), false},
		"from the future":       {secret, header(got, "1614265330"), string(body), at.Add(-6 * time.Minute), false},
		"another time":          {secret, header(got, "1614265331"), string(body), at, false},
		"no time":               {secret, header(got, ""), string(body), at, false},
		"no signature":          {secret, header("", "1614265330"), string(body), at, false},
		"of another version":    {secret, header("v2"+got[2:], "1614265330"), string(body), at, false},
		"half of the signature": {secret, header(got[:20], "1614265330"), string(body), at, false},
	} {
		if _, err := twiliocall.VerifyWebhook(test.secret, test.header, []byte(test.body), test.now); (err == nil) != test.ok || err != nil && !errors.Is(err, twiliocall.ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, bad := range []string{"", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_AAAA", "whsec_!"} {
		if _, err := twiliocall.ParseSecret(bad); err == nil {
			t.Errorf("%q is a secret", bad)
		}
	}
}

// receiver is a customer's server: it takes what is signed with one of its secrets, when it is open.
type receiver struct {
	*httptest.Server
	events chan *twiliocall.Event
	answer atomic.Int64 // status; 0: it verifies
	mu     sync.Mutex
	secret string
	tries  map[string]int // by webhook-id
}

func receive(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{events: make(chan *twiliocall.Event, 1000), tries: map[string]int{}}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			t.Error(err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.tries[req.Header.Get("Webhook-Id")]++
		if status := int(r.answer.Load()); status != 0 {
			w.WriteHeader(status)
			return
		}
		e, err := twiliocall.VerifyWebhook(r.secret, req.Header, body, time.Now())
		if err != nil {
			t.Errorf("%v: %v", req.Header, err)
			return
		}
		if e.ID != req.Header.Get("Webhook-Id") || !strings.HasPrefix(req.Header.Get("Content-Type"), "application/cloudevents+json") {
			t.Errorf("event %s with %v", e.ID, req.Header)
		}
		r.events <- e
	}))
	t.Cleanup(r.Close)
	return r
}

// hook makes a webhook to the receiver, which goes with the test.
func (r *receiver) hook(t *testing.T, events ...string) *twiliocall.Webhook {
	t.Helper()
	w, err := client.CreateWebhook(t.Context(), twiliocall.CreateWebhook{URL: r.URL, Events: events})
	if err != nil {
		t.Fatal(err)
	}
	r.mu.Lock()
	r.secret = w.Secret
	r.mu.Unlock()
	t.Cleanup(func() { _, _ = client.DeleteWebhook(context.Background(), w.ID) })
	return w
}

// got reads the names of the events of one call, to the final one.
func (r *receiver) got(t *testing.T, callID string) (names []string) {
	t.Helper()
	for next := 0; ; {
		select {
		case e := <-r.events:
			if e.Subject != callID {
				continue
			}
			if e.Sequence < next {
				t.Errorf("event %d behind %d", e.Sequence, next-1)
			}
			next = e.Sequence + 1
			names = append(names, strings.TrimPrefix(e.Type, "TwilioCall."))
			if c, err := e.Call(); err != nil || c.ID != callID {
				t.Errorf("%s: %+v %v", e.Type, c, err)
			}
			if slices.Contains([]string{"completed", "canceled", "failed"}, names[len(names)-1]) {
				return names
			}
		case <-time.After(60 * time.Second):
			t.Fatalf("only %v came", names)
		}
	}
}

func call(t *testing.T) string {
	t.Helper()
	c, err := client.Create(t.Context(), twiliocall.CreateCall{From: "+15005550006", To: "+15551234567", Twiml: "<Response/>"})
	if err != nil {
		t.Fatal(err)
	}
	return c.ID
}

var life = []string{"created", "queued", "answered", "in-progress", "completed"}

func TestAWebhookIsSentTheEventsOfEveryCall(t *testing.T) {
	all, some := receive(t), receive(t)
	all.hook(t)
	w := some.hook(t, "TwilioCall.completed", "answered", "answered")
	if !slices.Equal(w.Events, []string{"answered", "completed"}) {
		t.Errorf("events %v", w.Events)
	}
	id := call(t)
	if got := all.got(t, id); !slices.Equal(got, life) {
		t.Errorf("%v", got)
	}
	if got := some.got(t, id); !slices.Equal(got, []string{"answered", "completed"}) {
		t.Errorf("%v", got)
	}
	none, url := []string{"busy"}, "http://127.0.0.1:9/"
	changed, err := client.UpdateWebhook(t.Context(), w.ID, twiliocall.UpdateWebhook{Events: &none})
	if err != nil || !slices.Equal(changed.Events, none) || changed.Secret != "" || changed.URL != w.URL {
		t.Errorf("%+v %v", changed, err)
	}
	if changed, err = client.UpdateWebhook(t.Context(), w.ID, twiliocall.UpdateWebhook{URL: &url}); err != nil || changed.URL != url {
		t.Errorf("%+v %v", changed, err)
	}
	all.got(t, call(t))
	if n := len(some.events); n > 0 {
		t.Errorf("%d events that nobody asked for", n)
	}
}

// A secret that is replaced signs on for a day, so that the receiver can change over.
func TestASecretIsRotated(t *testing.T) {
	r := receive(t)
	w := r.hook(t)
	rotated, err := client.RotateSecret(t.Context(), w.ID, "")
	if err != nil || rotated.Secret == "" || rotated.Secret == w.Secret {
		t.Fatalf("%+v %v", rotated, err)
	}
	r.got(t, call(t)) // by the old one
	r.mu.Lock()
	r.secret = rotated.Secret
	r.mu.Unlock()
	r.got(t, call(t))
	mine := twiliocall.NewSecret()
	if rotated, err = client.RotateSecret(t.Context(), w.ID, mine); err != nil || rotated.Secret != mine {
		t.Errorf("%+v %v", rotated, err)
	}
	shown, err := client.Webhook(t.Context(), w.ID)
	if err != nil || shown.Secret != "" || shown.URL != w.URL {
		t.Errorf("%+v %v", shown, err)
	}
	list, err := client.Webhooks(t.Context())
	if err != nil || len(list) != 1 || list[0].ID != w.ID {
		t.Errorf("%+v %v", list, err)
	}
}

// What a server that is away misses comes when it is back, in order.
func TestAReceiverThatWasAwayGetsWhatItMissed(t *testing.T) {
	r := receive(t)
	r.answer.Store(http.StatusServiceUnavailable)
	w := r.hook(t)
	id := call(t)
	ends(t, id)
	pending := 0
	for d, err := range client.Deliveries(t.Context(), w.ID, "pending") {
		if err != nil || d.CallID != id || d.Status != "pending" || d.NextAttempt == nil {
			t.Fatalf("%+v %v", d, err)
		}
		pending++
	}
	if pending != len(life) {
		t.Errorf("%d deliveries wait", pending)
	}
	r.answer.Store(0)
	if got := r.got(t, id); !slices.Equal(got, life) {
		t.Errorf("%v", got)
	}
}

func TestWhatFailedIsSentAgain(t *testing.T) {
	r := receive(t)
	r.answer.Store(http.StatusGone)
	w := r.hook(t)
	id := call(t)
	ends(t, id)
	var failed []*twiliocall.Delivery
	for len(failed) < len(life) && t.Context().Err() == nil { // the last ones are on their way
		failed = nil
		for d, err := range client.Deliveries(t.Context(), w.ID, "failed") {
			if err != nil {
				t.Fatal(err)
			}
			failed = append(failed, d)
		}
	}
	if d := failed[0]; d.Status != "failed" || d.LastError == nil || !strings.Contains(*d.LastError, "410") || !strings.Contains(string(d.Event), id) {
		t.Errorf("%+v", d)
	}
	r.answer.Store(0)
	sequence := func(d *twiliocall.Delivery) int { // events of one moment are listed in any order
		var e twiliocall.Event
		if err := json.Unmarshal(d.Event, &e); err != nil {
			t.Fatal(err)
		}
		return e.Sequence
	}
	slices.SortFunc(failed, func(a, b *twiliocall.Delivery) int { return sequence(a) - sequence(b) })
	for _, d := range failed {
		if err := client.Resend(t.Context(), w.ID, d.ID); err != nil {
			t.Fatal(err)
		}
	}
	if got := r.got(t, id); !slices.Contains(got, "completed") {
		t.Errorf("%v", got)
	}
	var p *twiliocall.Problem
	if err := client.Resend(t.Context(), w.ID, "EV00000000000000000000000000000000"); !errors.As(err, &p) || p.Status != 404 {
		t.Errorf("what never was: %v", err)
	}
	if _, err := client.DeleteWebhook(t.Context(), w.ID); err != nil {
		t.Error(err)
	}
	if _, err := client.Webhook(t.Context(), w.ID); !errors.As(err, &p) || p.Status != 404 {
		t.Errorf("a deleted webhook: %v", err)
	}
}

func TestWebhooksThatCannotBeAreRefused(t *testing.T) {
	for _, test := range []struct {
		ask    twiliocall.CreateWebhook
		detail string
	}{
		{twiliocall.CreateWebhook{}, "url"}, {twiliocall.CreateWebhook{URL: "ftp://x/"}, "url"},
		{twiliocall.CreateWebhook{URL: "http://x/", Events: []string{"finished"}}, "finished"},
		{twiliocall.CreateWebhook{URL: "http://x/", Secret: "whsec_short"}, "secret"},
	} {
		var p *twiliocall.Problem
		if _, err := client.CreateWebhook(t.Context(), test.ask); !errors.As(err, &p) || p.Status != 400 || !strings.Contains(p.Detail, test.detail) {
			t.Errorf("%+v: %v", test.ask, err)
		}
	}
	var made []string
	defer func() {
		for _, id := range made {
			_, _ = client.DeleteWebhook(context.Background(), id)
		}
	}()
	for {
		w, err := client.CreateWebhook(t.Context(), twiliocall.CreateWebhook{URL: "http://127.0.0.1:9/", Events: []string{"busy"}})
		var p *twiliocall.Problem
		if errors.As(err, &p) && p.Status == 409 {
			break
		}
		if err != nil || len(made) > 32 {
			t.Fatalf("%d: %v", len(made), err)
		}
		made = append(made, w.ID)
	}
	if len(made) != 32 {
		t.Errorf("%d webhooks", len(made))
	}
}

// A stream of all calls survives its connection: nothing is lost, nothing comes twice.
func TestAccountEventsAreResumed(t *testing.T) {
	var cut atomic.Pointer[context.CancelFunc]
	breaking := &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		ctx, cancel := context.WithCancel(r.Context())
		cut.Store(&cancel)
		return http.DefaultTransport.RoundTrip(r.WithContext(ctx))
	})}
	weak := clientWith(t, breaking)
	var first string
	begun, seen := 0, map[string]int{}
	last := ""
	for e, err := range weak.AccountEvents(t.Context(), twiliocall.EventFilter{Begun: func(string) {
		if begun++; begun == 1 {
			first = call(t)
		}
	}}) {
		if err != nil {
			t.Fatal(err)
		}
		if want := seen[e.Subject]; e.Sequence != want {
			t.Fatalf("event %d of %s, want %d", e.Sequence, e.Subject, want)
		}
		seen[e.Subject]++
		switch e.Type {
		case "TwilioCall.queued", "TwilioCall.in-progress":
			(*cut.Load())()
		case "TwilioCall.completed":
			if e.Subject == first {
				last = call(t)
			} else if e.Subject == last {
				if begun < 3 || seen[first] != 5 || seen[last] != 5 {
					t.Errorf("%d connections, %v", begun, seen)
				}
				n := 0
				for e, err := range client.AccountEvents(t.Context(), twiliocall.EventFilter{After: "0", Types: []string{"completed"}}) {
					if n++; err != nil || e.Type != "TwilioCall.completed" {
						t.Fatalf("%+v %v", e, err)
					}
					if e.Subject == last {
						return
					}
				}
			}
		}
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A receiver checks who sent an event.
func ExampleVerifyWebhook() {
	secret := twiliocall.NewSecret() // what Client.CreateWebhook answered
	body := []byte(`{"id":"EV1","type":"TwilioCall.completed","subject":"CA1"}`)
	signature, err := twiliocall.SignWebhook(secret, "EV1", time.Now(), body)
	if err != nil {
		fmt.Println(err)
		return
	}
	header := http.Header{}
	header.Set("Webhook-Id", "EV1")
	header.Set("Webhook-Timestamp", fmt.Sprint(time.Now().Unix()))
	header.Set("Webhook-Signature", signature)

	event, err := twiliocall.VerifyWebhook(secret, header, body, time.Now())
	fmt.Println(event.Type, event.Subject, err)
	_, err = twiliocall.VerifyWebhook(secret, header, append(body, ' '), time.Now())
	fmt.Println(err)
	// Output:
	// TwilioCall.completed CA1 <nil>
	// twiliocall: the signature of the webhook is not valid
}
