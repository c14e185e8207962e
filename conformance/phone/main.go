// Command phone is a phone of someone else's for the SDKs' tests: SIPp or baresip, made to behave as one.
//
//	phone KIND KEY PROMPT REPLY
//
// It takes one call to sip:conformance@ADDR, hears PROMPT spoken by the test voice, presses KEY, hears REPLY
// and is hung up. It writes a line as each happens: "ready sip=ADDR", "heard TEXT", "ended". Kinds are
//
//	sipp-uas    SIPp's own uas scenario with -rtp_echo; it knows no telephone-events and presses nothing
//	sipp-dtmf   a SIPp scenario that presses KEY with play_dtmf
//	baresip     a softphone, operated from outside
//
// What cannot run here says "NOT TESTED: why"; with CI=true it fails. It runs in a folder beside its own.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/offhook/offhook/internal/clock"
	"github.com/offhook/offhook/internal/speech"
)

const (
	patience  = 60 * time.Second      // for the whole call
	pollEvery = 20 * time.Millisecond // where nothing tells of a change
)

// errMissing is what keeps a phone from running here.
type errMissing struct{ why string }

func (e errMissing) Error() string { return e.why }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	var missing errMissing
	switch {
	case err == nil:
	case errors.As(err, &missing) && os.Getenv("CI") != "true":
		fmt.Println("NOT TESTED:", err)
	default:
		fmt.Fprintln(os.Stderr, "phone:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) != 4 {
		return errors.New("usage: phone KIND KEY PROMPT REPLY")
	}
	kind, key := args[0], args[1]
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	dir, err := os.MkdirTemp("", "phone-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a folder left behind harms nobody
	port, err := freePorts(ctx)
	if err != nil {
		return err
	}
	e := &ear{texts: args[2:]}
	switch kind {
	case "sipp-uas":
		return runSIPp(ctx, dir, port, e, "")
	case "sipp-dtmf":
		return runSIPp(ctx, dir, port, e, key)
	case "baresip":
		return runBaresip(ctx, dir, port, e, key)
	}
	return fmt.Errorf("no phone of kind %q", kind)
}

// An ear tells of texts of the test voice as it hears them, one after the other.
type ear struct {
	speech.Ear
	texts []string
}

// take listens to more samples and says whether that completed a text.
func (e *ear) take(pcm []int16) bool {
	e.Write(pcm)
	if len(e.texts) == 0 || !e.Heard(e.texts[0]) {
		return false
	}
	fmt.Println("heard", e.texts[0])
	e.texts = e.texts[1:]
	return true
}

// command prepares a program that ends with ctx and runs in dir.
func command(ctx context.Context, dir, name string, args ...string) (*exec.Cmd, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return nil, errMissing{name + " is not installed; scripts/install-peers installs it"}
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir, cmd.WaitDelay = dir, time.Second
	return cmd, nil
}

// until polls until ok.
func until(ctx context.Context, what string, ok func() bool) error {
	for !ok() {
		if err := clock.Sleep(ctx, clock.System, pollEvery); err != nil {
			return fmt.Errorf("not %s: %w", what, err)
		}
	}
	return nil
}

// Ports lie below those of RTP and those the kernel hands out, and above those of package interop. Phones
// that start side by side have neighbouring process ids and with them different slots.
const (
	firstPort = 16000
	lastPort  = 20000
	portSlot  = 16
	slots     = (lastPort - firstPort) / portSlot
)

// freePorts is the first port of a slot of which all were free a moment ago, for UDP and TCP.
func freePorts(ctx context.Context) (int, error) {
	for i := range slots {
		if first := firstPort + (os.Getpid()+i*i)%slots*portSlot; free(ctx, first) {
			return first, nil
		}
	}
	return 0, errors.New("no free ports")
}

func free(ctx context.Context, first int) bool {
	var lc net.ListenConfig
	for port := first; port < first+portSlot; port++ {
		addr := fmt.Sprintf("127.0.0.1:%d", port)
		tcp, err := lc.Listen(ctx, "tcp", addr)
		if err != nil {
			return false
		}
		defer tcp.Close()
		udp, err := lc.ListenPacket(ctx, "udp", addr)
		if err != nil {
			return false
		}
		defer udp.Close()
	}
	return true
}
