//go:build linux

package proof

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/offhook/offhook/internal/clock"
	"github.com/offhook/offhook/phone"
)

const (
	floodCalls = 100  // live while it lasts
	floodRate  = 1000 // messages a second
	floodTries = 3
	floodShort = 3 * time.Second        // how long, in plain go test
	floodLong  = time.Minute            // and with -rounds
	floodLoss  = 0.001                  // of the audio, added
	floodNoise = 0.01                   // that may be lost before it, when it is long
	floodSetup = 0.99                   // of the calls made meanwhile are set up
	floodGrown = 24 << 10               // KiB of memory that may be left
	floodEvery = 100 * time.Millisecond // a call is set up
	floodRest  = 15 * time.Second       // until the memory is back
	floodFirst = "+15550142"            // the number that is called
)

// TestFlood has an address that no trunk lists send what anybody may send, and then one that a trunk lists
// send what nobody can read, while calls are up and others are made. The senders sit in a network namespace.
func TestFlood(t *testing.T) {
	if os.Geteuid() != 0 {
		asRoot(t)
		return
	}
	lasts := floodShort
	if *rounds > 1 {
		lasts = floodLong
	}
	n := newNamespace(t)
	f := &flood{t: t, engine: &engine{
		t: t, bin: build(t), data: t.TempDir(), sip: netip.AddrPortFrom(n.engine, 0).String(),
		prepare: func(cmd *exec.Cmd) { cmd.Args = append(cmd.Args, "--mode", "dev") }, // said aloud: not on loopback
	}}
	defer f.engine.kill()
	f.begin(n)
	for _, c := range []struct {
		name    string
		from    netip.Addr
		message func(i int, from, to string) string
	}{
		{"unlisted", n.stranger, anybodys},
		{"listed garbage", n.listed, garbled},
	} {
		t.Run(c.name, func(t *testing.T) {
			send := n.socket(t, c.from)
			for try := 1; ; try++ { // of a machine that does other things as well
				quiet, memory := f.listen(lasts, nil), f.memory()
				loud := f.listen(lasts, func(ctx context.Context) int { return f.send(ctx, send, c.message) })
				grown := 0
				until(t.Context(), time.Now().Add(floodRest), func() bool {
					grown = f.memory() - memory
					return grown <= floodGrown
				})
				t.Logf("before:  %v", quiet)
				t.Logf("flooded: %v; %d KiB of memory, and %d more afterwards", loud, memory, grown)
				wrong := ""
				switch {
				case loud.sent < int(0.9*floodRate*lasts.Seconds()):
					wrong = "too little was sent"
				case quiet.loss() > floodNoise && lasts == floodLong:
					wrong = "the machine loses audio by itself, so nothing can be told"
				case loud.loss()-quiet.loss() > floodLoss:
					wrong = fmt.Sprintf("%.3f %% more of the audio is lost", 100*(loud.loss()-quiet.loss()))
				case loud.setUp < floodSetup*float64(loud.tried) || loud.tried == 0:
					wrong = "calls were not set up"
				case grown > floodGrown:
					wrong = "memory is not given back"
				}
				if wrong == "" {
					break
				}
				if try == floodTries {
					t.Error(wrong)
					break
				}
				t.Logf("once more: %s", wrong)
			}
		})
	}
	for _, c := range f.live {
		if end, over := c.End(); over {
			t.Errorf("a call did not live through it: %s", end)
		}
	}
}

// flood is the engine with its calls.
type flood struct {
	t      *testing.T
	engine *engine
	phone  *phone.Phone
	live   []*phone.Call
}

// heard is what a stretch of time was like.
type heard struct {
	packets  int
	expected float64
	sent     int
	tried    int
	setUp    float64
}

func (h heard) loss() float64 { return 1 - float64(h.packets)/h.expected }

func (h heard) String() string {
	return fmt.Sprintf("%d packets of audio heard of %.0f (%.3f %% lost), %.0f of %d calls set up, %d messages of the flood",
		h.packets, h.expected, 100*h.loss(), h.setUp, h.tried, h.sent)
}

// begin starts the engine and sets up the calls that stay.
func (f *flood) begin(n *namespace) {
	t := f.t
	f.engine.start()
	f.trunk(n.phones, n.listed)
	web := httptest.NewServer(http.HandlerFunc(tone))
	t.Cleanup(web.Close)
	form := url.Values{"PhoneNumber": {floodFirst}, "VoiceUrl": {web.URL}}
	var answer any
	if err := f.engine.request(t.Context(), "POST", apiBase+"/IncomingPhoneNumbers.json", strings.NewReader(form.Encode()),
		"application/x-www-form-urlencoded", &answer); err != nil {
		t.Fatal(err)
	}
	var err error
	if f.phone, err = phone.Listen(t.Context(), phone.Config{Addr: netip.AddrPortFrom(n.phones, 0).String(), MaxHeard: time.Second}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.phone.Close() }) // what is wrong with its calls was told before
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var mu sync.Mutex
	each(make([]struct{}, floodCalls), func(struct{}) {
		for {
			c, err := f.dial(ctx)
			var end *phone.EndError
			switch {
			case err == nil:
				mu.Lock()
				defer mu.Unlock()
				f.live = append(f.live, c)
				return
			case errors.As(err, &end) && ctx.Err() == nil: // 503: the machine is busy
				_ = clock.Sleep(ctx, clock.System, floodEvery)
			default:
				t.Error(err)
				return
			}
		}
	})
	if len(f.live) < floodCalls {
		t.FailNow()
	}
	for _, c := range f.live {
		if err := c.WaitTone(ctx, 440); err != nil {
			t.Fatal(err)
		}
	}
}

func (f *flood) trunk(sources ...netip.Addr) {
	f.t.Helper()
	body := fmt.Sprintf(`{"name":"carrier","host":"192.0.2.1","sources":[%q,%q]}`, sources[0], sources[1])
	var answer any
	if err := f.engine.request(f.t.Context(), "POST", "/v1/trunks", strings.NewReader(body), "application/json", &answer); err != nil {
		f.t.Fatal(err)
	}
}

// dial makes a call; without an error it was answered.
func (f *flood) dial(ctx context.Context) (*phone.Call, error) {
	c, err := f.phone.Dial(ctx, "sip:"+floodFirst+"@"+f.engine.sip)
	if err != nil {
		return nil, err
	}
	return c, c.WaitAnswered(ctx)
}

// listen counts for a while what the live calls hear, sets up others, and runs the sender beside that.
func (f *flood) listen(lasts time.Duration, sender func(context.Context) int) (h heard) {
	ctx, cancel := context.WithTimeout(f.t.Context(), lasts)
	defer cancel()
	since, before := make([]time.Time, len(f.live)), make([]int, len(f.live))
	for i, c := range f.live {
		since[i], before[i] = time.Now(), c.PacketsHeard()
	}
	var (
		beside sync.WaitGroup
		setUp  atomic.Int64
	)
	if sender != nil {
		beside.Go(func() { h.sent = sender(ctx) })
	}
	for clock.Sleep(ctx, clock.System, floodEvery) == nil {
		h.tried++
		beside.Go(func() {
			ctx, cancel := context.WithTimeout(f.t.Context(), 5*time.Second)
			defer cancel()
			c, err := f.dial(ctx)
			if err == nil {
				setUp.Add(1)
			} else {
				f.t.Logf("a call was not set up: %v", err)
			}
			if c != nil {
				c.Hangup()
			}
		})
	}
	for i, c := range f.live {
		h.packets += c.PacketsHeard() - before[i]
		h.expected += 50 * time.Since(since[i]).Seconds()
	}
	beside.Wait()
	h.setUp = float64(setUp.Load())
	return h
}

// send floods until ctx is done, and returns how much.
func (f *flood) send(ctx context.Context, from net.PacketConn, message func(i int, from, to string) string) (sent int) {
	to := net.UDPAddrFromAddrPort(netip.MustParseAddrPort(f.engine.sip))
	for began := time.Now(); clock.Sleep(ctx, clock.System, 10*time.Millisecond) == nil; {
		for due := int(floodRate * time.Since(began).Seconds()); sent < due; sent++ {
			if _, err := from.WriteTo([]byte(message(sent, from.LocalAddr().String(), to.String())), to); err != nil && ctx.Err() == nil {
				f.t.Errorf("the flood does not leave: %v", err)
				return sent
			}
		}
	}
	return sent
}

// anybodys is an INVITE, REGISTER or OPTIONS without credentials, each of a call of its own.
func anybodys(i int, from, to string) string {
	method := [...]string{"INVITE", "REGISTER", "OPTIONS"}[i%3]
	return fmt.Sprintf("%s sip:%s@%s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bKflood%d;rport\r\nMax-Forwards: 70\r\nFrom: <sip:%d@%s>;tag=%d\r\n"+
		"To: <sip:%s@%s>\r\nCall-ID: flood-%d@%s\r\nCSeq: 1 %s\r\nContact: <sip:%d@%s>\r\nContent-Length: 0\r\n\r\n",
		method, floodFirst, to, from, i, i, from, i, floodFirst, to, i, from, method, i, from)
}

// garbled is such a message with something wrong.
func garbled(i int, from, to string) string {
	m := anybodys(i, from, to)
	switch i / 3 % 4 {
	case 0:
		return strings.Replace(m, "Content-Length: 0", "Content-Length: 70000", 1)
	case 1:
		return strings.Replace(m, "CSeq: 1", "CSeq: 99999999999", 1)
	case 2:
		return strings.Replace(m, "SIP/2.0\r\n", "SIP/3.0\r\n", 1)
	default:
		return m[:len(m)/2]
	}
}

// memory is the engine's resident memory in KiB.
func (f *flood) memory() int {
	f.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", f.engine.cmd.Process.Pid))
	if err != nil {
		f.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	n, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		f.t.Fatal(err)
	}
	return n
}

// tone is an application whose every call hears 440 Hz for ever.
func tone(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/tone.wav" {
		w.Header().Set("Content-Type", "text/xml")
		_, _ = fmt.Fprintf(w, `<Response><Play loop="0">http://%s/tone.wav</Play></Response>`, r.Host)
		return
	}
	pcm := phone.Tone(10*time.Second, 440)
	b := []byte("RIFF\x00\x00\x00\x00WAVEfmt ")
	for _, v := range []any{uint32(16), uint16(1), uint16(1), uint32(8000), uint32(16000), uint16(2), uint16(16), []byte("data"), uint32(2 * len(pcm)), pcm} {
		b, _ = binary.Append(b, binary.LittleEndian, v) // fixed sizes
	}
	binary.LittleEndian.PutUint32(b[4:], uint32(len(b)-8))
	w.Header().Set("Content-Type", "audio/wav")
	_, _ = w.Write(b)
}

// namespace is a network of the test's own: a cable with the engine and the phones at one end, and at the other,
// in a network namespace, an address that the trunk lists and one that it does not.
type namespace struct {
	name                             string
	engine, phones, listed, stranger netip.Addr
}

// insideEnv tells the test that it runs in namespaces that asRoot made.
const insideEnv = "OFFHOOK_FLOOD_INSIDE"

// asRoot runs the test again as root of namespaces of its own, which most kernels give to anybody.
func asRoot(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0], append(os.Args[1:], "-test.run=^TestFlood$", "-test.v", "-test.testlogfile=")...)
	cmd.Env = append(os.Environ(), insideEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		noFlood(t, "not root, and no user namespace", err)
	}
	err := cmd.Wait()
	t.Logf("in namespaces of its own:\n%s", out.Bytes())
	switch {
	case err != nil:
		t.Error(err)
	case strings.Contains(out.String(), "--- SKIP: TestFlood"):
		t.Skip("SKIPPED: no flood was sent, see above")
	}
}

// noFlood skips the test, or fails it under CI. Only where the kernel itself refuses namespaces to this process is
// the flood impossible: a container without CAP_SYS_ADMIN, a kernel without namespaces or with too many.
func noFlood(t *testing.T, why string, err error) {
	t.Helper()
	if err != nil {
		why += ": " + err.Error()
	}
	impossible := false
	for _, refusal := range []error{unix.EPERM, unix.EACCES, unix.ENOSYS, unix.EINVAL, unix.ENOSPC} {
		impossible = impossible || errors.Is(err, refusal)
	}
	if !impossible && os.Getenv("CI") == "true" {
		t.Fatal(why)
	}
	t.Skip("SKIPPED: no flood was sent: " + why)
}

// onThread runs f on a thread that ends with it: its namespaces are nobody else's.
func onThread(f func() error) (err error) {
	var wait sync.WaitGroup
	wait.Go(func() {
		runtime.LockOSThread() // for ever
		err = f()
	})
	wait.Wait()
	return err
}

// newNamespace makes one, or skips the test.
func newNamespace(t *testing.T) *namespace {
	t.Helper()
	if err := onThread(func() error { return unix.Unshare(unix.CLONE_NEWNET) }); err != nil {
		noFlood(t, "no network namespace", err)
	}
	if _, err := exec.LookPath("ip"); err != nil {
		noFlood(t, "the command ip is not installed; on Debian: apt-get install iproute2", nil)
	}
	run := func(args ...string) error {
		out, err := exec.CommandContext(context.Background(), "ip", args...).CombinedOutput() // also when the test is over
		if err != nil {
			return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, out)
		}
		return nil
	}
	if os.Getenv(insideEnv) != "" { // ip keeps its namespaces in a folder that is root's
		if err := errors.Join(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""), unix.Mount("run", "/run", "tmpfs", 0, "")); err != nil {
			noFlood(t, "no folder for namespaces", err)
		}
		if err := run("link", "set", "lo", "up"); err != nil {
			t.Fatal(err)
		}
	}
	pid := os.Getpid()
	n := &namespace{name: fmt.Sprint("offhook", pid)}
	at := func(host byte) netip.Addr { return netip.AddrFrom4([4]byte{198, 18, byte(pid % 251), host}) } // RFC 2544
	n.engine, n.phones, n.listed, n.stranger = at(1), at(2), at(3), at(4)
	if err := run("netns", "add", n.name); err != nil {
		noFlood(t, err.Error(), nil)
	}
	t.Cleanup(func() {
		if err := run("netns", "del", n.name); err != nil { // the cable goes with it
			t.Error(err)
		}
	})
	ours, theirs := fmt.Sprint("oh", pid%100000, "a"), fmt.Sprint("oh", pid%100000, "b")
	if err := run("link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", n.name); err != nil {
		noFlood(t, err.Error(), nil)
	}
	t.Cleanup(func() { _ = run("link", "del", ours) })
	for _, args := range [][]string{
		{"addr", "add", n.engine.String() + "/24", "dev", ours}, {"addr", "add", n.phones.String() + "/24", "dev", ours}, {"link", "set", ours, "up"},
		{"-n", n.name, "addr", "add", n.listed.String() + "/24", "dev", theirs}, {"-n", n.name, "addr", "add", n.stranger.String() + "/24", "dev", theirs},
		{"-n", n.name, "link", "set", theirs, "up"},
	} {
		if err := run(args...); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// socket opens a UDP socket inside. A socket stays in the namespace its thread was in.
func (n *namespace) socket(t *testing.T, from netip.Addr) net.PacketConn {
	t.Helper()
	var conn net.PacketConn
	err := onThread(func() error {
		inside, err := os.Open("/var/run/netns/" + n.name)
		if err != nil {
			return err
		}
		defer inside.Close()
		if err = unix.Setns(int(inside.Fd()), unix.CLONE_NEWNET); err == nil {
			conn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, 0)))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	go func() { // answers are nobody's business, but fill the socket
		for buf := make([]byte, 2048); ; {
			if _, _, err := conn.ReadFrom(buf); errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF) {
				return
			}
		}
	}()
	return conn
}
