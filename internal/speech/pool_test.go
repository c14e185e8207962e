package speech

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/offhook/offhook/internal/clock"
)

func TestAFaultyChildFailsItsTextAndNoMore(t *testing.T) {
	for _, test := range []struct {
		mode, want string
		crashed    bool
	}{
		{"fails", "no voice today", false},
		{"exits", "EOF", false},
		{"crashes", "ended", true},
		{"lies", "message of kind", true},
		{"refuses", "cannot say that", false},
	} {
		t.Run(test.mode, func(t *testing.T) {
			fakeFlite(t) // only to be found: the child is the faulty one
			v := open(t, Config{Engine: EngineFlite, Executable: self(t, test.mode)})
			for range 2 {
				_, err := collect(t.Context(), v, Utterance{Parts: []Part{{Text: "Hello"}}})
				if err == nil || !strings.Contains(err.Error(), test.want) || errors.Is(err, errCrashed) != test.crashed {
					t.Errorf("got %v, want %q", err, test.want)
				}
			}
		})
	}
}

func TestAMissingExecutableIsAnError(t *testing.T) {
	fakeFlite(t)
	v := open(t, Config{Engine: EngineFlite, Executable: []string{"/nonexistent/offhook"}})
	if _, err := collect(t.Context(), v, Utterance{Parts: []Part{{Text: "Hello"}}}); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("got %v", err)
	}
}

// impatient is a clock on which the time for a clause is up at once.
type impatient struct{ clock.Clock }

func (c impatient) AfterFunc(d time.Duration, f func()) clock.Timer {
	if d == sayTimeout {
		d = 0
	}
	return c.Clock.AfterFunc(d, f)
}

func TestAHangingChildIsKilledInTime(t *testing.T) {
	fakeFlite(t)
	v := open(t, Config{Engine: EngineFlite, Executable: self(t, "hangs"), Clock: impatient{clock.System}})
	if _, err := collect(t.Context(), v, Utterance{Parts: []Part{{Text: "Hello"}}}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestCloseEndsWhatIsBeingSaid(t *testing.T) {
	fakeFlite(t)
	v := open(t, Config{Engine: EngineFlite, Executable: self(t, "hangs")})
	errs := make(chan error, 3)
	for i := range cap(errs) {
		go func() {
			_, err := collect(context.Background(), v, Utterance{Parts: []Part{{Text: fmt.Sprint("Hello ", i)}}})
			errs <- err
		}()
	}
	_ = v.Close()
	_ = v.Close()
	for range cap(errs) {
		if err := <-errs; !errors.Is(err, errClosed) {
			t.Errorf("got %v", err)
		}
	}
}

func TestWhatWasHeardOfAClauseIsNotSaidAgain(t *testing.T) {
	fakeFlite(t)
	v := open(t, Config{Engine: EngineFlite, Executable: self(t, "stumbles")})
	clips, err := collect(t.Context(), v, Utterance{Parts: []Part{{Text: "Hello"}}})
	if len(clips) != 1 || !errors.Is(err, errCrashed) {
		t.Errorf("%d pieces and %v, want the one of the first process", len(clips), err)
	}
}

func TestACallerWhoLeavesTakesHisTextAlong(t *testing.T) {
	p := idlePool(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	o := p.order("a", request{Text: "a"})
	again := p.order("a", request{Text: "a"})
	if err := failed(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if len(p.waiting) != 1 {
		t.Errorf("%d texts wait, want the one of the other caller", len(p.waiting))
	}
	again.release()
	if len(p.waiting) != 0 || len(p.flights) != 0 {
		t.Errorf("%d texts wait, %d in flight, want none", len(p.waiting), len(p.flights))
	}
}

func TestWhoHasNothingToPlayGoesFirst(t *testing.T) {
	p := idlePool(t)
	p.order("ahead", request{})
	p.order("also ahead", request{})
	p.order("now", request{}).hurry()
	for _, want := range []string{"now", "ahead", "also ahead"} {
		if f := p.take(); f.key != want {
			t.Errorf("took %q, want %q", f.key, want)
		}
	}
}

func TestTheQueueIsBounded(t *testing.T) {
	p := idlePool(t)
	var wg sync.WaitGroup
	orders := make([]*order, maxWaiting)
	for i := range orders {
		wg.Go(func() { orders[i] = p.order(fmt.Sprint(i), request{}) })
	}
	wg.Wait()
	if err := failed(t.Context(), p.order("one more", request{})); !errors.Is(err, ErrBusy) {
		t.Errorf("got %v", err)
	}
	orders[3].release()
	if o := p.order("one more", request{}); o.pool == nil {
		t.Error("no room after one was given up")
	}
	for range maxWaiting {
		if p.take() == nil {
			t.Fatal("a text was lost")
		}
	}
}

// failed is the error that an order ends with.
func failed(ctx context.Context, o *order) (err error) {
	for _, err = range o.clips(ctx) {
	}
	return err
}

// idlePool is a pool without workers.
func idlePool(t *testing.T) *pool {
	t.Helper()
	return newPool(Config{Clock: clock.System}, hello{}, nil)
}

func TestRunChildRefusesWhatIsNotItsParent(t *testing.T) {
	for name, in := range map[string]string{
		"nothing":       "",
		"a person":      "hello there\n",
		"say first":     "\x00\x00\x00\x03S{}",
		"garbled hello": "\x00\x00\x00\x03H{]",
		"cut short":     "\x00\x00\x00\x09H{}",
	} {
		if err := RunChild(t.Context(), strings.NewReader(in), io.Discard); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestRunChildEndsWithItsParent(t *testing.T) {
	fakeFlite(t)
	var in, out bytes.Buffer
	_ = writeJSON(&in, kindHello, hello{Engine: "parrot"}) // nothing to warm up
	if err := RunChild(t.Context(), iotest.OneByteReader(&in), &out); err != nil {
		t.Error(err)
	}
}

func TestChildrenDoNotSeeSecrets(t *testing.T) {
	got := childEnv([]string{"PATH=/bin", "TWILIO_AUTH_TOKEN=secret", "OFFHOOK_DATABASE=postgres://u:p@h/d", "LANG=C"})
	if want := []string{"PATH=/bin", "LANG=C"}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %q", got)
	}
}

func FuzzReadMessage(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x03S{}"))
	f.Add([]byte("\x00\x00\x00\x01R"))
	f.Add([]byte("\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		kind, body, err := readMessage(bytes.NewReader(b))
		if err != nil {
			return
		}
		var again bytes.Buffer
		if err := writeMessage(&again, kind, body); err != nil || !bytes.HasPrefix(b, again.Bytes()) {
			t.Fatalf("%q became %q (%v)", b, again.Bytes(), err)
		}
	})
}
