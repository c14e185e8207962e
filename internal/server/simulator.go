package server

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/offhook/offhook/internal/clock"
)

const (
	simulatorStart   = 10 * time.Second // until the child says where it listens
	simulatorRestart = time.Second      // between the end of a child and the next
)

// simulator is the child process in which the simulated phones of dev mode live, so that they share
// neither memory nor scheduler with the server under test. It is started again when it ends.
type simulator struct {
	cfg    Config
	host   netip.Addr // where the child listens
	log    *slog.Logger
	cancel context.CancelFunc
	done   chan struct{}

	mu     sync.Mutex
	listen string
}

// startSimulator starts the child and waits until it listens, on the loopback address that a server
// whose SIP is at sip can reach. Without an executable there is none, and cfg.Simulator may name one that
// runs elsewhere.
func startSimulator(ctx context.Context, cfg Config, sip netip.Addr, log *slog.Logger) (*simulator, error) {
	s := &simulator{cfg: cfg, host: loopbackFor(sip), log: log, listen: cfg.Simulator, done: make(chan struct{})}
	if cfg.Simulator != "" || len(cfg.Executable) == 0 {
		close(s.done)
		s.cancel = func() {}
		return s, nil
	}
	var run context.Context
	run, s.cancel = context.WithCancel(context.Background())
	ready := make(chan error, 1)
	go s.keep(run, ready)
	t := cfg.Clock.NewTimer(simulatorStart)
	defer t.Stop()
	var err error
	select {
	case err = <-ready:
	case <-t.C():
		err = fmt.Errorf("no sign of life after %s", simulatorStart)
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil {
		s.close()
		return nil, fmt.Errorf("simulated phones: %w", err)
	}
	return s, nil
}

// loopbackFor is the loopback address of a's family; a listener on every IPv6 address has IPv4 too.
func loopbackFor(a netip.Addr) netip.Addr {
	if a.Unmap().Is6() && !a.IsUnspecified() {
		return netip.IPv6Loopback()
	}
	return netip.AddrFrom4([4]byte{127, 0, 0, 1})
}

// addr is the host:port of the simulated phones, "" when there are none.
func (s *simulator) addr() string {
	if s == nil {
		return ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.listen
}

func (s *simulator) close() {
	s.cancel()
	<-s.done
}

// keep runs one child after the other until ctx is done.
func (s *simulator) keep(ctx context.Context, ready chan<- error) {
	defer close(s.done)
	for {
		err := s.child(ctx, func() {
			select {
			case ready <- nil:
			default:
			}
		})
		if ctx.Err() != nil {
			return
		}
		select {
		case ready <- err:
		default:
		}
		s.log.Error("the simulated phones ended, starting them again", "err", err)
		if clock.Sleep(ctx, s.cfg.Clock, simulatorRestart) != nil {
			return
		}
	}
}

// child runs one child process to its end. Its first line of output is "ready sip=HOST:PORT"; it ends
// when its standard input closes, so that it never outlives the server.
func (s *simulator) child(ctx context.Context, ready func()) error {
	voice := cmp.Or(s.cfg.Voice, "auto")
	if voice == "test" {
		voice = "babble" // its tones are no speech to whoever tells people and machines apart
	}
	args := append(slices.Clone(s.cfg.Executable[1:]),
		"phone", "--simulator", "--listen", netip.AddrPortFrom(s.host, 0).String(), "--dir", filepath.Join(s.cfg.Data, "simulator"),
		"--data", s.cfg.Data, "--voice", voice)
	cmd := exec.CommandContext(ctx, s.cfg.Executable[0], args...)
	cmd.WaitDelay = 2 * time.Second
	ownGroup(cmd)
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	defer in.Close()
	cmd.Cancel = in.Close // asks it to end; WaitDelay then kills it
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	var stderr tail
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if addr, ok := strings.CutPrefix(lines.Text(), "ready sip="); ok {
			s.mu.Lock()
			s.listen = addr
			s.mu.Unlock()
			ready()
		}
	}
	_, _ = io.Copy(io.Discard, out) // a line too long for the scanner must not block the child
	err = cmd.Wait()
	if msg := stderr.String(); msg != "" {
		return fmt.Errorf("%w: %s", errOrEnded(err), msg)
	}
	return errOrEnded(err)
}

func errOrEnded(err error) error {
	if err == nil {
		return fmt.Errorf("the process ended")
	}
	return err
}

// tail keeps the last 4 kB written to it.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if n := len(t.buf) - 4096; n > 0 {
		t.buf = append(t.buf[:0], t.buf[n:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.buf))
}
