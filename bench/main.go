//go:build linux

// Command bench measures the real binary from outside, on loopback: calls it sets up (W1), prompts it plays
// (W2) and records (W3), calls it bridges (W4), its APIs, its events, its latencies, its memory and its start. Callers, phones'
// audio and the customer's application are its own; it shares no code with the server. docs/benchmarks.md says
// what the figures mean.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == floorArgument {
		if err := runFloor(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		cancel()
		os.Exit(1)
	}
}

// bench is one run of the benchmark.
type bench struct {
	report
	bin     string
	full    bool
	calls   []int // of W2, one run each; nil for those of the run's length
	app     *app
	peer    *peer
	scratch string // folder of the data folders, on the disk of the repository
	folders int
	loaded  *loaded
}

// pick chooses between a developer's short run and the full one.
func pick[T any](b *bench, quick, full T) T {
	if b.full {
		return full
	}
	return quick
}

// part is a step of the run, chosen by name.
type part struct {
	name string
	run  func(context.Context) error
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	var (
		bin     = flags.String("bin", "bin/offhook", "the server to measure")
		only    = flags.String("only", "", "comma-separated parts: start, w1, w2, w3, w4, amd, api, events, latency (default all)")
		full    = flags.Bool("full", false, "longer windows, more calls: about 20 minutes instead of 4")
		calls   = flags.String("calls", "", "comma-separated numbers of W2 calls to measure, such as 1000,2000 (default 300, 500 and with -full 1000, 2000)")
		jsonOut = flags.String("json", "", "write the figures to this file")
		against = flags.String("against", "", "print the figures of this earlier -json file beside the new ones")
	)
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return nil
	case err != nil:
		return err
	}
	limit := 6 * time.Minute
	if *full {
		limit = 30 * time.Minute
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()

	b := &bench{bin: *bin, full: *full}
	for n := range strings.SplitSeq(*calls, ",") {
		if *calls == "" {
			break
		}
		count, err := strconv.Atoi(n)
		if err != nil || count < 1 || count > 8000 {
			return fmt.Errorf("-calls %q: give numbers from 1 to 8000", *calls)
		}
		b.calls = append(b.calls, count)
	}
	b.report = report{out: os.Stdout, Time: time.Now(), Load: load(), Command: "bench " + strings.Join(args, " ")}
	if *against != "" {
		if err := b.compare(*against); err != nil {
			return err
		}
	}
	parts := []part{ // what needs W1's server idle comes after what does not
		{"w1", b.w1}, {"w1", b.w1SIPp}, {"start", b.starts}, {"latency", b.latencies}, {"w1", b.w1Memory},
		{"w2", b.w2}, {"w3", b.w3}, {"w4", b.w4}, {"amd", b.amd}, {"api", b.api}, {"events", b.events}, {"w1", b.w1End},
	}
	wanted := strings.Split(*only, ",")
	for _, w := range wanted {
		if *only != "" && !slices.ContainsFunc(parts, func(p part) bool { return p.name == w }) {
			return fmt.Errorf("-only %q: the parts are start, w1, w2, w3, w4, amd, api, events and latency", w)
		}
	}
	if err := b.open(ctx); err != nil {
		return err
	}
	defer b.close()
	for _, p := range parts {
		if *only == "" || slices.Contains(wanted, p.name) {
			if err := p.run(ctx); err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
		}
	}
	if *only == "" {
		b.later("W5", "one conference of 3, 10, 30", "not yet: must ≤ 1, 3, 8 % of a core a room")
	}
	return b.finish(*jsonOut)
}

// open prepares the generator and prints where it runs.
func (b *bench) open(ctx context.Context) (err error) {
	version, err := exec.CommandContext(ctx, b.bin, "version").Output()
	if err != nil {
		return fmt.Errorf("%s: %w (make build makes it)", b.bin, err)
	}
	b.Version = strings.TrimSpace(string(version))
	if b.scratch, err = os.MkdirTemp(filepath.Dir(b.bin), "bench-"); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	if b.Machine, err = describe(b.scratch); err != nil {
		return err
	}
	if b.app, err = startApp(); err != nil {
		return err
	}
	if b.peer, err = newPeer(); err != nil {
		return err
	}
	pause(ctx, 50*time.Millisecond)
	m := b.Machine
	class := "with"
	if !b.peer.realtime.Load() {
		class = "without"
	}
	fmt.Fprintf(b.out, "%s, %s\n%d × %s, %.1f GiB, Linux %s, %s\n", b.Version, b.Command, m.Cores, m.CPU, m.MemoryGiB, m.Kernel, runtime.Version())
	fmt.Fprintf(b.out, "data on %s: 4 KiB and fdatasync p50 %s ms, p99 %s ms; SQLite with synchronous=FULL; load average %s\n", m.Disk, figure(m.Sync), figure(m.SyncP99), b.Load)
	fmt.Fprintf(b.out, "the generator shares the cores; its RTP sender runs %s real-time class, the server without\n", class)
	fmt.Fprintf(b.out, "CPU is utime and stime of the server's process; shares are of one core, idle of the machine\n")
	return nil
}

func (b *bench) close() {
	if b.loaded != nil {
		b.loaded.close()
	}
	if b.app != nil {
		b.app.close()
	}
	if b.peer != nil {
		b.peer.close()
	}
	_ = os.RemoveAll(b.scratch)
}

// served is a server with a caller of its own.
type served struct {
	*engine
	caller *caller
}

func (s *served) close() {
	s.caller.close()
	s.stop()
}

// folder is a new data folder.
func (b *bench) folder() (string, error) {
	b.folders++
	dir := filepath.Join(b.scratch, fmt.Sprint(b.folders))
	return dir, os.Mkdir(dir, 0o700)
}

// serve starts a server on a new data folder.
func (b *bench) serve(ctx context.Context, args ...string) (*served, error) {
	dir, err := b.folder()
	if err != nil {
		return nil, err
	}
	return b.serveOn(ctx, dir, args...)
}

func (b *bench) serveOn(ctx context.Context, dir string, args ...string) (*served, error) {
	e, err := startEngine(ctx, b.bin, dir, args...)
	if err != nil {
		return nil, err
	}
	c, err := newCaller(e.sip, b.peer.sock.local)
	if err != nil {
		e.stop()
		return nil, err
	}
	return &served{engine: e, caller: c}, nil
}
