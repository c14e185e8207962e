package phone

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testTimeout bounds every wait of a test; only a failing one gets there.
const testTimeout = 20 * time.Second

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	t.Cleanup(cancel)
	return ctx
}

// start opens a phone that is closed with the test.
func start(t testing.TB, cfg Config) *Phone {
	t.Helper()
	if testing.Verbose() && cfg.Log == nil {
		cfg.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	p, err := Listen(testContext(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return p
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// take waits for the next incoming call.
func take(t testing.TB, p *Phone) *Call {
	t.Helper()
	select {
	case c := <-p.Incoming():
		return c
	case <-time.After(testTimeout):
		t.Fatal("no call came in")
		return nil
	}
}

// connect makes a call between two phones and answers it.
func connect(t testing.TB, from, to *Phone, o Outgoing) (caller, callee *Call) {
	t.Helper()
	ctx := testContext(t)
	if o.To == "" {
		o.To = to.URI()
	}
	caller, err := from.Call(ctx, o)
	check(t, err)
	callee = take(t, to)
	check(t, callee.Answer())
	check(t, caller.WaitAnswered(ctx))
	check(t, callee.WaitAnswered(ctx))
	return caller, callee
}

func hungUp(t testing.TB, c *Call) End {
	t.Helper()
	check(t, c.WaitHungUp(testContext(t)))
	end, _ := c.End()
	return end
}
