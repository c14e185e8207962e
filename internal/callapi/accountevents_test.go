package callapi

import (
	"bufio"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/auth"
	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/clock"
)

// follow reads the account's stream: "ringing 3" for an event, "at 3" for a place alone.
func (s *server) follow(t *testing.T, query string, headers ...string) (next func() string) {
	t.Helper()
	res := s.ask(t, "GET", "/v1/events"+query, "", headers...)
	if got := res.Header.Get("Content-Type"); res.StatusCode != 200 || got != "text/event-stream" {
		t.Fatalf("%s %s", res.Status, got)
	}
	return frames(res)
}

func frames(res *http.Response) (next func() string) {
	lines := bufio.NewScanner(res.Body)
	return func() string {
		id, name := "", "at"
		for lines.Scan() {
			field, value, _ := strings.Cut(lines.Text(), ": ")
			switch field {
			case "id":
				id = value
			case "event":
				name = strings.TrimPrefix(value, "TwilioCall.")
			case "":
				if lines.Text() == "" && id != "" {
					return name + " " + id
				}
			}
		}
		return "end"
	}
}

func TestEventsOfAnAccountFromNowOn(t *testing.T) {
	s := start(t, &fake{})
	s.store.happens(s.bus, "created")
	next := s.follow(t, "")
	expect(t, next, "at 1")
	s.store.happens(s.bus, "queued")
	s.store.happens(s.bus, "ringing")
	expect(t, next, "queued 2", "ringing 3")
	close(s.closing)
	expect(t, next, "end")
}

func TestEventsOfAnAccountResume(t *testing.T) {
	s := start(t, &fake{})
	for _, name := range []string{"created", "queued", "ringing", "busy"} {
		s.store.happens(s.bus, name)
	}
	expect(t, s.follow(t, "", "Last-Event-ID", "0"), "at 0", "created 1", "queued 2", "ringing 3", "busy 4")
	next := s.follow(t, "", "Last-Event-ID", "3")
	expect(t, next, "at 3", "busy 4")
	s.store.happens(s.bus, "Recording.completed")
	expect(t, next, "Recording.completed 5")
	for _, last := range []string{"6", "-1", "x"} {
		if status, code, _ := refusal(t, s.ask(t, "GET", "/v1/events", "", "Last-Event-ID", last)); status != 400 || code != 20001 {
			t.Errorf("Last-Event-ID %s: %d %d", last, status, code)
		}
	}
}

func TestEventsOfAnAccountAreFiltered(t *testing.T) {
	s := start(t, &fake{})
	const another = "CA00000000000000000000000000000009"
	publish := func(sid, name string) {
		s.store.mu.Lock()
		e := call.Event{CallSID: sid, AccountSID: accountSID, Name: name, Snapshot: []byte("{}"), Pos: int64(len(s.store.events) + 1)}
		s.store.events = append(s.store.events, e)
		s.store.mu.Unlock()
		s.bus.Publish([]call.Event{e}, e.Pos)
	}
	publish(callSID, "created")
	publish(another, "created")
	publish(another, "busy")
	types := s.follow(t, "?types=busy,TwilioCall.failed&types=canceled", "Last-Event-ID", "0")
	expect(t, types, "at 0", "busy 3")
	one := s.follow(t, "?callId="+callSID, "Last-Event-ID", "0")
	expect(t, one, "at 0", "created 1")
	both := s.follow(t, "?types=failed&callId="+callSID)
	expect(t, both, "at 3")
	publish(another, "ringing")
	publish(callSID, "failed")
	expect(t, types, "failed 5")
	expect(t, one, "failed 5")
	expect(t, both, "failed 5")
	for query, detail := range map[string]string{
		"?types=finished": "created, queued", "?callId=CA1": "callId", "?type=busy": "type is not a filter",
	} {
		if status, _, said := refusal(t, s.ask(t, "GET", "/v1/events"+query, "")); status != 400 || !strings.Contains(said, detail) {
			t.Errorf("%s: %d %s", query, status, said)
		}
	}
}

func TestTenThousandEventsAreReplayed(t *testing.T) {
	s := start(t, &fake{})
	const n = 10_000
	for range n {
		s.store.happens(s.bus, "ringing")
	}
	next := s.follow(t, "", "Last-Event-ID", "0")
	expect(t, next, "at 0")
	for i := range n {
		if got, want := next(), fmt.Sprintf("ringing %d", i+1); got != want {
			t.Fatalf("%s, want %s", got, want)
		}
	}
	s.store.happens(s.bus, "busy")
	expect(t, next, fmt.Sprintf("busy %d", n+1))
}

// A client that does not read holds nobody up, and no event is kept for it: it reads on from the store.
func TestASlowClientReadsFromTheStore(t *testing.T) {
	s := start(t, &fake{})
	slow, quick := s.follow(t, ""), s.follow(t, "")
	expect(t, slow, "at 0")
	expect(t, quick, "at 0")
	const n = 1000 // 20 MB: more than sockets and memory keep
	snapshot := []byte(`{"x":"` + strings.Repeat("x", 20_000) + `"}`)
	for i := range int64(n) {
		e := call.Event{CallSID: callSID, AccountSID: accountSID, Name: "ringing", Snapshot: snapshot, Pos: i + 1}
		s.store.mu.Lock()
		s.store.events = append(s.store.events, e)
		s.store.mu.Unlock()
		s.bus.Publish([]call.Event{e}, e.Pos)
		expect(t, quick, fmt.Sprintf("ringing %d", e.Pos))
	}
	for i := range n {
		if got, want := slow(), fmt.Sprintf("ringing %d", i+1); got != want {
			t.Fatalf("%s, want %s", got, want)
		}
	}
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	if s.store.replayed == 0 {
		t.Error("nothing was read from the store: the client was not slow enough")
	}
}

// hurried is a clock on which a minute passes whenever somebody looks.
type hurried struct {
	clock.Clock
	looks atomic.Int64
}

func (h *hurried) Now() time.Time {
	return h.Clock.Now().Add(time.Duration(h.looks.Add(1)) * time.Minute)
}

// Who opened a stream reads it as long as its credentials are good.
func TestStreamsEndWithTheirCredentials(t *testing.T) {
	f := &fake{}
	gate := auth.NewGate(f, clock.System)
	s := start(t, f, func(c *Config) { c.Clock, c.Gate = &hurried{Clock: clock.System}, gate })
	s.store.happens(s.bus, "created")
	all, one := s.follow(t, ""), s.watch(t, "")
	expect(t, all, "at 1")
	expect(t, one, "created 0")
	s.store.happens(s.bus, "queued")
	expect(t, all, "queued 2")
	expect(t, one, "queued 1")
	f.mu.Lock()
	f.suspended = true
	f.mu.Unlock()
	gate.Forget()
	s.store.happens(s.bus, "ringing")
	expect(t, all, "end")
	got := one()
	if got == "ringing 2" { // it is written before anybody asks
		got = one()
	}
	if got != "end" {
		t.Errorf("%s, want the end", got)
	}
}
