package sip

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/offhook/offhook/internal/audio"
	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/clock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for an event of another goroutine before it fails.
const patience = 5 * time.Second

// fakeMedia opens streams that only keep account of the offer/answer exchange.
type fakeMedia struct {
	mu      sync.Mutex
	streams []*fakeStream
	full    bool
	gate    chan struct{} // when not nil, Open waits until it is closed
}

type fakeStream struct {
	mu       sync.Mutex
	sink     MediaSink
	version  int
	offers   int
	answered []string
	accepted []string
	started  bool
	closed   bool
	secure   bool
	refuse   error

	hold, sends bool          // of the peer
	received    atomic.Uint64 // packets
}

func (m *fakeMedia) Open(_ netip.Addr, s MediaSink) (MediaStream, error) {
	if m.gate != nil {
		<-m.gate
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.full {
		return nil, errors.New("no ports")
	}
	f := &fakeStream{sink: s}
	m.streams = append(m.streams, f)
	return f, nil
}

func (m *fakeMedia) stream(t *testing.T, i int) *fakeStream {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	if i >= len(m.streams) {
		t.Fatalf("%d streams were opened, want more than %d", len(m.streams), i)
	}
	return m.streams[i]
}

func testSDP(version int) []byte {
	return fmt.Appendf(nil, "v=0\r\no=- 1 %d IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n", version)
}

func (f *fakeStream) Offer() []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.version++
	f.offers++
	return testSDP(f.version)
}

func (f *fakeStream) Answer(o []byte) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refuse != nil {
		return nil, f.refuse
	}
	f.answered = append(f.answered, string(o))
	f.version++
	return testSDP(f.version), nil
}

func (f *fakeStream) Accept(a []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.accepted = append(f.accepted, string(a))
	return f.refuse
}

func (f *fakeStream) Start()                            { f.mu.Lock(); f.started = true; f.mu.Unlock() }
func (f *fakeStream) Play(*audio.Clip) <-chan struct{}  { return closedChan() }
func (f *fakeStream) PlayDigits(string) <-chan struct{} { return closedChan() }
func (f *fakeStream) Flush()                            {}
func (f *fakeStream) Mute(bool)                         {}
func (f *fakeStream) PutAside(*audio.Clip)              {}
func (f *fakeStream) TakeBack()                         {}
func (f *fakeStream) Loop(*audio.Clip)                  {}
func (f *fakeStream) Hear(MediaStream)                  {}
func (f *fakeStream) Secure()                           { f.mu.Lock(); f.secure = true; f.mu.Unlock() }
func (f *fakeStream) Received() uint64                  { return f.received.Load() }

func (f *fakeStream) Hold() (on, sends bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hold, f.sends
}

func (f *fakeStream) Tap(audio.Tap) func() { return func() {} }
func (f *fakeStream) Close()               { f.mu.Lock(); f.closed = true; f.mu.Unlock() }

func (f *fakeStream) state() (started, closed bool, answered, accepted int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.started, f.closed, len(f.answered), len(f.accepted)
}

func closedChan() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// incomingCall is what OnInvite got.
type incomingCall struct {
	leg  *Leg
	info call.InboundLeg
}

// station is an endpoint under test.
type station struct {
	*Endpoint
	media *fakeMedia
	calls chan incomingCall
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func (s *station) uri(user string) string { return "sip:" + user + "@" + s.Addr().String() }

// start opens an endpoint on loopback in dev mode; edit may change its configuration.
func start(t testing.TB, edit func(*Config)) *station {
	t.Helper()
	s := &station{media: &fakeMedia{}, calls: make(chan incomingCall, 1000)}
	cfg := Config{
		Listen: []string{"127.0.0.1:0"}, Dev: true, Media: s.media, Clock: clock.System,
		Log:      slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelDebug})),
		OnInvite: func(l *Leg, info call.InboundLeg) { s.calls <- incomingCall{l, info} },
	}
	if edit != nil {
		edit(&cfg)
	}
	e, err := Listen(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.Endpoint = e
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		defer cancel()
		_ = e.Close(ctx)
	})
	return s
}

// testWriter shows logs with the test that made them.
type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	if w.t.Context().Err() == nil {
		w.t.Log(string(p))
	}
	return len(p), nil
}

func (s *station) incoming(t testing.TB) incomingCall {
	t.Helper()
	select {
	case c := <-s.calls:
		return c
	case <-time.After(patience):
		t.Fatal("no incoming call")
		panic("unreachable")
	}
}

// next waits for the next event and checks its type.
func next[E call.LegEvent](t testing.TB, l *Leg) E {
	t.Helper()
	return nextWithin[E](t, l, patience)
}

func nextWithin[E call.LegEvent](t testing.TB, l *Leg, d time.Duration) E {
	t.Helper()
	for late := time.After(d); ; {
		select {
		case ev, ok := <-l.Events():
			if !ok {
				t.Fatalf("events closed, want %T", *new(E))
			}
			if e, ok := ev.(E); ok {
				return e
			}
			if _, ok := ev.(call.LegMoved); !ok { // few tests want that
				t.Fatalf("event %T %+v, want %T", ev, ev, *new(E))
			}
		case <-late:
			t.Fatalf("no event, want %T", *new(E))
		}
	}
}

// ended waits for LegEnded and that the events are closed after it.
func ended(t testing.TB, l *Leg) call.LegEnded {
	t.Helper()
	e := next[call.LegEnded](t, l)
	if _, more := <-l.Events(); more {
		t.Fatal("an event after LegEnded")
	}
	return e
}

func dial(t testing.TB, from *station, spec call.OutboundLeg) *Leg {
	t.Helper()
	l, err := from.NewLeg(spec)
	if err != nil {
		t.Fatal(err)
	}
	l.Invite()
	return l
}
