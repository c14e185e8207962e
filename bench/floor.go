//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// The floors: the plainest Go programs that do the same on the wire, each in a process of its own so that
// its CPU is its own. They end with their standard input.

const floorArgument = "floor"

// runFloor is the child's main: "rtp N PORT", "relay N PORT" or "http".
func runFloor(args []string) error {
	defer func() { _, _ = io.Copy(io.Discard, os.Stdin) }()
	switch {
	case len(args) == 3 && (args[0] == "rtp" || args[0] == "relay"):
		n, err1 := strconv.Atoi(args[1])
		port, err2 := strconv.Atoi(args[2])
		if err1 != nil || err2 != nil {
			return fmt.Errorf("floor %s: want numbers, not %q", args[0], args[1:])
		}
		if args[0] == "relay" {
			return floorRelay(n, port)
		}
		return floorRTP(n, port)
	case len(args) == 1 && args[0] == "http":
		return floorHTTP()
	}
	return fmt.Errorf("no floor %q", args)
}

// floorRTP is n calls the plain way: a socket, a reader goroutine and a ticker goroutine each.
func floorRTP(n, port int) error {
	to := &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}
	audio := prompt(30*time.Second, longMark)[46:]
	conns := make([]*net.UDPConn, n)
	for i := range conns {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: to.IP})
		if err != nil {
			return err
		}
		conns[i] = c
		fmt.Print(c.LocalAddr().(*net.UDPAddr).Port, " ")
		go func() {
			b := make([]byte, 1500)
			for {
				if _, _, err := c.ReadFromUDPAddrPort(b); err != nil {
					return
				}
			}
		}()
	}
	fmt.Println()
	for i, c := range conns {
		go func() {
			time.Sleep(time.Duration(i%slots) * time.Millisecond)
			var b [rtpHeader + frame]byte
			b[0], b[8], b[11] = 0x80, 1, byte(i)
			pos := i * 8000 % len(audio)
			seq := uint32(i)
			for range time.Tick(20 * time.Millisecond) {
				seq++
				binary.BigEndian.PutUint16(b[2:], uint16(seq))
				binary.BigEndian.PutUint32(b[4:], seq*frame)
				copy(b[rtpHeader:], audio[pos:])
				pos = (pos + frame) % len(audio)
				_, _ = c.WriteToUDP(b[:], to)
			}
		}()
	}
	return nil
}

// floorRelay is n conversations the plain way: two sockets, and for each a goroutine that sends what comes to it
// out of the other one.
func floorRelay(n, port int) error {
	to := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(port))
	for range n {
		var sides [2]*net.UDPConn
		for i := range sides {
			c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
			if err != nil {
				return err
			}
			sides[i] = c
			fmt.Print(c.LocalAddr().(*net.UDPAddr).Port, " ")
		}
		for i, c := range sides {
			go func() {
				b := make([]byte, 1500)
				for {
					n, _, err := c.ReadFromUDPAddrPort(b)
					if err != nil {
						return
					}
					_, _ = sides[1-i].WriteToUDPAddrPort(b[:n], to)
				}
			}()
		}
	}
	fmt.Println()
	return nil
}

// floorHTTP answers the two API requests with bodies of the right size, and does nothing else.
func floorHTTP() error {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	body := []byte(`{"sid":"CA` + strings.Repeat("a", 32) + `","pad":"` + strings.Repeat("x", 1440) + `"}`)
	answer := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			_, _ = w.Write(body)
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /2010-04-01/Accounts/{account}/Calls.json", answer(http.StatusCreated))
	mux.HandleFunc("GET /2010-04-01/Accounts/{account}/Calls/{call}", answer(http.StatusOK))
	fmt.Println("http://" + l.Addr().String())
	go func() { _ = http.Serve(l, mux) }()
	return nil
}

// floor is a running floor.
type floor struct {
	cmd  *exec.Cmd
	in   io.Closer
	line string // the first line it printed
}

func startFloor(ctx context.Context, args ...string) (*floor, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	f := &floor{cmd: exec.CommandContext(ctx, self, append([]string{floorArgument}, args...)...)}
	f.cmd.Stderr = os.Stderr
	in, err1 := f.cmd.StdinPipe()
	out, err2 := f.cmd.StdoutPipe()
	if err1 != nil || err2 != nil {
		return nil, fmt.Errorf("pipes of the floor: %w %w", err1, err2)
	}
	f.in = in
	if err := f.cmd.Start(); err != nil {
		return nil, err
	}
	if f.line, err = bufio.NewReader(out).ReadString('\n'); err != nil {
		f.stop()
		return nil, fmt.Errorf("floor %q said nothing: %w", args, err)
	}
	f.line = strings.TrimSpace(f.line)
	return f, nil
}

func (f *floor) pid() int { return f.cmd.Process.Pid }

func (f *floor) stop() {
	_ = f.in.Close()
	_ = f.cmd.Wait()
}
