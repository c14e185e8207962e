package phone

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// speakTone is a voice whose every text is its own short tone.
func speakTone(_ context.Context, text string) ([]int16, error) {
	switch text {
	case shortHello:
		return Tone(300*time.Millisecond, 500), nil
	case longGreeting:
		return Tone(900*time.Millisecond, 600), nil
	case mailboxMessage, mailboxNoTone:
		return Tone(600*time.Millisecond, 700), nil
	}
	return nil, fmt.Errorf("unexpected text %q", text)
}

// errgroup runs functions at once and collects their errors.
type errgroup struct {
	wg   sync.WaitGroup
	mu   sync.Mutex
	errs []error
}

func (g *errgroup) do(name string, f func() error) {
	g.wg.Go(func() {
		if err := f(); err != nil {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.errs = append(g.errs, fmt.Errorf("%s: %w", name, err))
		}
	})
}

func (g *errgroup) wait() []error {
	g.wg.Wait()
	return g.errs
}

func startSimulator(t *testing.T, cfg Config) *Simulator {
	t.Helper()
	s, err := NewSimulator(testContext(t), cfg)
	check(t, err)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

func TestSimulatedNumbers(t *testing.T) {
	dir := t.TempDir()
	sim := startSimulator(t, Config{Dir: dir, Speak: speakTone})
	caller := start(t, Config{Number: "+15550100"})
	ctx := testContext(t)
	var calls errgroup // all at once: most of their time is waiting
	for number, src := range map[string]string{
		"+15005551001": "wait answer; hear tone 500; hear silence 500ms; hangup",
		"+15005551002": "wait answer; hear tone 700; hear tone 1000; hear silence 300ms; tone 800 500ms; hangup",
		"+15005551003": "wait answer; hear tone 700; hear silence 1s; hangup",
		"+15005551004": "wait answer; hear tone 2100; hear silence 50ms; hear 500ms; hear silence 1s; hangup",
		"+15005551005": "wait answer; tone 900 500ms; hear tone 900; hangup",
		"+15005551006": "wait answer; hear tone 600; hear silence 500ms; hangup",
		"+15005559999": "wait answer; hear silence 300ms; tone 440 500ms; wait 200ms; hangup",
	} {
		s := script(t, src)
		calls.do(number, func() error {
			c, err := caller.Dial(ctx, "sip:"+number+"@"+sim.Addr())
			if err != nil {
				return err
			}
			return errors.Join(c.WaitRinging(ctx), c.Run(ctx, s))
		})
	}
	for number, code := range map[string]int{
		"+15005551404": 404, "+15005551480": 480, "+15005551486": 486, "+15005551503": 503, "+15005551603": 603,
	} {
		calls.do(number, func() error {
			c, err := caller.Dial(ctx, "sip:"+number+"@"+sim.Addr())
			if err != nil {
				return err
			}
			if err := c.WaitHungUp(ctx); err != nil {
				return err
			}
			if end, _ := c.End(); end.Code != code || !end.Remote {
				return errors.New(end.String())
			}
			return nil
		})
	}
	calls.do("+15005551408", func() error {
		c, err := caller.Dial(ctx, "sip:+15005551408@"+sim.Addr())
		if err != nil {
			return err
		}
		if err := c.WaitRinging(ctx); err != nil {
			return err
		}
		short, cancel := context.WithTimeout(ctx, 1500*time.Millisecond)
		defer cancel()
		if err := c.WaitAnswered(short); !errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("answered: %w", err)
		}
		c.Hangup()
		return c.WaitHungUp(ctx)
	})
	for _, err := range calls.wait() {
		t.Error(err)
	}
	check(t, sim.Close())
	files, err := filepath.Glob(filepath.Join(dir, "+15005551002", "*.wav"))
	check(t, err)
	if len(files) != 1 {
		t.Fatalf("recordings of the voicemail: %q", files)
	}
	pcm, err := ReadWAV(files[0])
	check(t, err)
	heard := false
	for w := pcm; len(w) >= 800; w = w[800:] {
		heard = heard || IsTone(w[:800], 800)
	}
	if !heard {
		t.Error("the message is not in the recording")
	}
}

// The table of DESIGN's numbers is an interface: scripts and documents depend on it.
func TestNumbersTable(t *testing.T) {
	seen := map[string]bool{}
	for _, n := range Numbers() {
		if seen[n.Number] || seen[n.Name] || n.Description == "" {
			t.Errorf("%+v", n)
		}
		seen[n.Number], seen[n.Name] = true, true
	}
	for _, suffix := range strings.Fields("001 002 003 004 005 006 404 408 480 486 503 603") {
		if !seen["+15005551"+suffix] {
			t.Errorf("+15005551%s is missing", suffix)
		}
	}
}

func TestServeSimulator(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan string, 1), make(chan error, 1)
	go func() { done <- ServeSimulator(ctx, Config{}, func(addr string) { ready <- addr }) }()
	addr := <-ready
	c, err := start(t, Config{}).Dial(testContext(t), "sip:+15005551486@"+addr)
	check(t, err)
	if end := hungUp(t, c); end.Code != 486 {
		t.Errorf("%s", end)
	}
	cancel()
	check(t, <-done)
	if err := ServeSimulator(ctx, Config{Addr: "nowhere"}, nil); err == nil {
		t.Error("served at a bad address")
	}
}

// Without a voice, or with one that fails, the simulated person still makes speech-like sound.
func TestSimulatorBabblesWithoutVoice(t *testing.T) {
	for name, speak := range map[string]func(context.Context, string) ([]int16, error){
		"no voice": nil,
		"broken":   func(context.Context, string) ([]int16, error) { return nil, os.ErrPermission },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sim := startSimulator(t, Config{Speak: speak})
			ctx := testContext(t)
			c, err := start(t, Config{}).Dial(ctx, "sip:+15005551001@"+sim.Addr())
			check(t, err)
			check(t, c.Run(ctx, script(t, "wait answer; hear 100ms; hear silence 1s; hangup")))
		})
	}
}
