package speech

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/offhook/offhook/internal/clock"
)

// A child is the parent's end of a process that runs RunChild. One worker uses it.
type child struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Reader
	clock clock.Clock
}

// startChild starts the process and waits until it is warm.
func startChild(ctx context.Context, argv []string, h hello, clk clock.Clock, log *slog.Logger) (*child, error) {
	cmd := exec.Command(argv[0], argv[1:]...) //nolint:noctx // it lives as long as its worker, which kills it with its group
	cmd.Env = childEnv(os.Environ())
	cmd.Stderr = &logWriter{log: log}
	cmd.WaitDelay = time.Second // for a grandchild that keeps stderr open
	ownGroup(cmd)
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("speech: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("speech: %w", err)
	}
	began := clk.Now()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("speech: starting the voice: %w", err)
	}
	c := &child{cmd: cmd, in: in, out: bufio.NewReaderSize(out, 64<<10), clock: clk}
	var kind byte
	var body []byte
	err = c.within(ctx, startTimeout, func() (err error) {
		if err = writeJSON(c.in, kindHello, h); err == nil {
			kind, body, err = readMessage(c.out)
		}
		return err
	})
	switch {
	case err == nil && kind == kindReady:
		log.Debug("the voice is warm", "engine", h.Engine, "took", clk.Now().Sub(began))
		return c, nil
	case err == nil && kind == kindFailed:
		err = errors.New(string(body))
	case err == nil:
		err = fmt.Errorf("message of kind %q", kind)
	}
	c.kill()
	return nil, fmt.Errorf("speech: starting the voice: %w", err)
}

// say has req spoken and calls hear with one piece after the other, µ-law of whole frames but for the last. An error that
// is errCrashed means that the child is of no more use.
func (c *child) say(ctx context.Context, req request, hear func(ulaw []byte)) error {
	var refused error
	heard := 0
	err := c.within(ctx, sayTimeout, func() error {
		if err := writeJSON(c.in, kindSay, req); err != nil {
			return err
		}
		for {
			kind, body, err := readMessage(c.out)
			if err != nil {
				return err
			}
			heard += len(body)
			switch {
			case kind == kindAudio && len(body) > 0 && heard <= maxMessage:
				hear(body)
			case kind == kindEnd && heard > 0:
				return nil
			case kind == kindFailed:
				refused = fmt.Errorf("speech: %s", body)
				return nil
			default:
				return fmt.Errorf("message of kind %q after %d samples", kind, heard)
			}
		}
	})
	if err != nil {
		return fmt.Errorf("%w: %w", errCrashed, err)
	}
	return refused
}

// within runs a conversation with the child. When ctx ends or the time is up the child is killed, because nothing else
// stops it, and the error says which it was.
func (c *child) within(ctx context.Context, limit time.Duration, talk func() error) error {
	var late atomic.Bool
	timer := c.clock.AfterFunc(limit, func() { late.Store(true); killGroup(c.cmd) })
	defer timer.Stop()
	defer context.AfterFunc(ctx, func() { killGroup(c.cmd) })()
	err := talk()
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return errClosed
	case late.Load():
		return fmt.Errorf("no answer in %v: %w", limit, context.DeadlineExceeded)
	}
	return err
}

// kill ends the process and waits for it.
func (c *child) kill() {
	killGroup(c.cmd)
	_ = c.in.Close()
	_ = c.cmd.Wait() // the exit status of a killed process says nothing
}

// childEnv is what a child may see of our environment: where programs and temporary files are, and nothing secret.
func childEnv(env []string) []string {
	keep := []string{"PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "SYSTEMROOT", "TEMP", "ESPEAK_DATA_PATH", childTestEnv}
	return slices.DeleteFunc(slices.Clone(env), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return !slices.Contains(keep, name)
	})
}

// childTestEnv makes a test binary be the child.
const childTestEnv = "OFFHOOK_SPEECH_TEST_CHILD"

// A logWriter logs what a child says on stderr, line by line.
type logWriter struct {
	log  *slog.Logger
	rest []byte
}

func (w *logWriter) Write(p []byte) (int, error) {
	w.rest = append(w.rest, p...)
	for {
		line, rest, ok := bytes.Cut(w.rest, []byte("\n"))
		if !ok {
			break
		}
		w.log.Warn("speech worker", "stderr", string(line))
		w.rest = rest
	}
	if len(w.rest) > 4096 { // no line of a sane program
		w.rest = nil
	}
	return len(p), nil
}
