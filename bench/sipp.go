//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"time"
)

// w1SIPp is W1 as SIPp calls it, with its own scenario "uac": a caller that is not ours judges the same server.
func (b *bench) w1SIPp(ctx context.Context) error {
	const rate = 600
	b.head("W1", "the same calls made by SIPp")
	program, err := exec.LookPath("sipp")
	if err != nil {
		fmt.Fprintln(b.out, "  left out: SIPp is not installed (Debian: apt install sip-tester)")
		return nil
	}
	dir, err := b.folder()
	if err != nil {
		return err
	}
	count := rate * pick(b, 5, 30)
	s := b.loaded
	ctx, cancel := context.WithTimeout(ctx, pick(b, 40*time.Second, 90*time.Second))
	defer cancel()
	port, err := freePort(ctx)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, program, "-sn", "uac", "-s", w1Number, s.sip.String(),
		"-i", "127.0.0.1", "-p", strconv.Itoa(port), "-bind_local", "-nostdin", "-skip_rlimit", "-d", "0",
		"-r", strconv.Itoa(rate), "-m", strconv.Itoa(count), "-l", strconv.Itoa(count), "-buff_size", "4000000",
		"-trace_screen", "-screen_file", filepath.Join(dir, "screen"))
	m := start(s.pid())
	began := time.Now()
	out, err := cmd.Output()
	u := m.used()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return fmt.Errorf("SIPp: %w", err)
	}
	done, failed := sippCounts(out)
	s.calls += done + failed
	s.idle = time.Now()
	took := time.Since(began).Seconds()
	b.add("W1", "SIPp: calls without a fault of 100", 100*float64(done)/float64(count), "", least(100, 0), &u,
		fmt.Sprintf("%d calls at %d/s in %.1f s, %d failed", count, rate, took, failed))
	b.add("W1", "SIPp: engine CPU per 1,000 calls at 600/s", 1000*u.EngineCPU/float64(max(done, 1)), "s", most(2.5, 1.5), nil, "")
	return nil
}

var sippTotal = regexp.MustCompile(`(Successful call|Failed call)\s*\|\s*\d+\s*\|\s*(\d+)`)

// sippCounts reads the cumulative counts of SIPp's last screen of statistics.
func sippCounts(screen []byte) (done, failed int) {
	for _, m := range sippTotal.FindAllSubmatch(screen, -1) {
		n, _ := strconv.Atoi(string(m[2]))
		if string(m[1]) == "Failed call" {
			failed = n
		} else {
			done = n
		}
	}
	return done, failed
}

// freePort is a UDP port that nobody has at the moment.
func freePort(ctx context.Context) (int, error) {
	var lc net.ListenConfig
	c, err := lc.ListenPacket(ctx, "udp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).Port, nil
}
