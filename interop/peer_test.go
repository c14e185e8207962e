package interop

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/clock"
	"github.com/offhook/offhook/offhooktest"
)

// need finds a program; where it is missing the test is skipped, in CI it fails.
func need(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is not installed; interoperability is not tested", name)
		}
		t.Skipf("NOT TESTED: %s is not installed", name)
	}
	return path
}

// A peer is a program that runs beside the test in a folder of its own.
type peer struct {
	t    *testing.T
	name string
	dir  string
	pid  int
	in   io.WriteCloser // its standard input
	out  transcript
	done chan struct{} // closed when it ended
	err  error         // how; valid after done
}

// start runs a program until it ends or the test does, which kills it.
func start(t *testing.T, dir, name string, args ...string) *peer {
	t.Helper()
	p := &peer{t: t, name: name, dir: dir, done: make(chan struct{})}
	cmd := exec.CommandContext(t.Context(), need(t, name), args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, append(os.Environ(), "HOME="+dir), &p.out, &p.out
	cmd.WaitDelay = time.Second
	in, err := cmd.StdinPipe()
	check(t, err)
	check(t, cmd.Start())
	p.in, p.pid = in, cmd.Process.Pid
	go func() {
		defer close(p.done)
		p.err = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		select {
		case <-p.done:
		case <-after(offhooktest.Patience):
			t.Errorf("%s does not end", name)
		}
		if t.Failed() {
			p.dump()
		}
	})
	return p
}

// dump shows what the program said and logged.
func (p *peer) dump() {
	logs, _ := filepath.Glob(filepath.Join(p.dir, "*.log"))
	for _, l := range logs {
		if b, err := os.ReadFile(l); err == nil {
			p.t.Logf("%s: %s:\n%s", p.name, filepath.Base(l), b)
		}
	}
	p.t.Logf("%s said:\n%s", p.name, p.out.String())
}

// listens waits until the program has bound a UDP port. Where the kernel does not tell, it waits for
// nothing: requests over UDP are repeated.
func (p *peer) listens(port int) {
	p.t.Helper()
	p.waitFor(fmt.Sprintf("%s listens on port %d", p.name, port), func() bool {
		table, err := os.ReadFile("/proc/net/udp")
		return err != nil || bytes.Contains(table, fmt.Appendf(nil, ":%04X ", port))
	})
}

// accepts waits until the program takes TCP connections.
func (p *peer) accepts(port int) {
	p.t.Helper()
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	p.waitFor(p.name+" accepts at "+addr, func() bool {
		c, err := dial(p.t.Context(), addr)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

// waitFor polls for what no event announces, and fails at once when the program ends meanwhile.
func (p *peer) waitFor(what string, ok func() bool) {
	p.t.Helper()
	poll(p.t, what, p.done, ok)
}

// says waits until the program has written text.
func (p *peer) says(text string) {
	p.t.Helper()
	late := after(offhooktest.Patience)
	for {
		changed := p.out.changed()
		if strings.Contains(p.out.String(), text) {
			return
		}
		select {
		case <-changed:
		case <-p.done:
			if !strings.Contains(p.out.String(), text) {
				p.t.Fatalf("%s ended (%v) and did not say %q", p.name, p.err, text)
			}
			return
		case <-late:
			p.t.Fatalf("%s does not say %q", p.name, text)
		}
	}
}

// transcript keeps what a program writes.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
	wake chan struct{}
}

func (o *transcript) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.wake != nil {
		close(o.wake)
		o.wake = nil
	}
	return o.text.Write(b)
}

func (o *transcript) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// changed is closed at the next Write.
func (o *transcript) changed() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.wake == nil {
		o.wake = make(chan struct{})
	}
	return o.wake
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func after(d time.Duration) <-chan time.Time { return clock.System.NewTimer(d).C() }

// pollEvery is how often poll looks.
const pollEvery = 5 * time.Millisecond

// poll waits until ok; gone ends it early, nil never does.
func poll(t *testing.T, what string, gone <-chan struct{}, ok func() bool) {
	t.Helper()
	late := after(offhooktest.Patience)
	for !ok() {
		select {
		case <-after(pollEvery):
		case <-gone:
			if !ok() {
				t.Fatalf("not before the program ended: %s", what)
			}
			return
		case <-late:
			t.Fatalf("not within %s: %s", offhooktest.Patience, what)
		}
	}
}

func dial(ctx context.Context, addr string) (net.Conn, error) {
	return (&net.Dialer{Timeout: offhooktest.Patience}).DialContext(ctx, "tcp", addr)
}

// Ports of programs lie below those of RTP and those the kernel hands out, so that nobody takes one between
// our look and the program's start.
const (
	firstPort = 10000
	lastPort  = 16000
	portSlots = 4 // SIPp takes the successors for audio and video, baresip the next one for TLS
)

// slots counts what freePort gave, so that tests that run side by side never get the same one; two runs
// on one machine begin at different places.
var slots = func() *atomic.Int32 {
	var n atomic.Int32
	n.Store(rand.Int32N((lastPort - firstPort) / portSlots))
	return &n
}()

// freePort is a port that was free a moment ago, for UDP and TCP, and its successors in the slot too.
func freePort(t *testing.T) int {
	t.Helper()
	for range 100 {
		slot := int(slots.Add(1)) % ((lastPort - firstPort) / portSlots)
		if port := firstPort + portSlots*slot; free(t, port) {
			return port
		}
	}
	t.Fatal("no free ports")
	return 0
}

func free(t *testing.T, port int) bool {
	t.Helper()
	var lc net.ListenConfig
	for p := port; p < port+portSlots; p++ {
		addr := fmt.Sprintf("127.0.0.1:%d", p)
		tcp, err := lc.Listen(t.Context(), "tcp", addr)
		if err != nil {
			return false
		}
		defer tcp.Close()
		udp, err := lc.ListenPacket(t.Context(), "udp", addr)
		if err != nil {
			return false
		}
		defer udp.Close()
	}
	return true
}
