package phone

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// need finds a peer program; where it is missing the test is skipped, in CI it fails.
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

// Ports of test peers are below what the system hands out by itself: a TCP connection to a port of those that nobody
// listens on yet may be given that very port as its own, and then talks to itself.
const firstPort, lastPort = 30_100, 32_700

var nextPort atomic.Int32

// freePort is a UDP and TCP port that was free a moment ago.
func freePort(t *testing.T) int {
	t.Helper()
	for range lastPort - firstPort {
		port := firstPort + (os.Getpid()*64+int(nextPort.Add(4)))%(lastPort-firstPort) // SIPp takes the two above its media port
		udp, tcp, err := bindBoth(testContext(t), fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		udp.Close()
		tcp.Close()
		return port
	}
	t.Fatal("no free port")
	return 0
}

// process is a program that runs beside the test and ends with it.
type process struct {
	cmd  *exec.Cmd
	out  bytes.Buffer // complete after wait
	done chan struct{}
	err  error
}

func peer(t *testing.T, name string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.CommandContext(testContext(t), need(t, name), args...), done: make(chan struct{})}
	p.cmd.Dir = t.TempDir()
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	p.cmd.WaitDelay = time.Second
	check(t, p.cmd.Start())
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		_ = p.wait()
		if t.Failed() {
			logs, _ := filepath.Glob(filepath.Join(p.cmd.Dir, "*.log"))
			for _, l := range logs {
				b, _ := os.ReadFile(l)
				t.Logf("%s:\n%s", l, b)
			}
			t.Logf("%s said:\n%s", name, p.out.Bytes())
		}
	})
	return p
}

// wait is the program's exit.
func (p *process) wait() error {
	<-p.done
	return p.err
}

func sipp(t *testing.T, port int, args ...string) *process {
	t.Helper()
	return peer(t, "sipp", append([]string{"-i", "127.0.0.1", "-p", strconv.Itoa(port), "-mi", "127.0.0.1", "-nostdin", "-trace_err", "-timeout", "15s", "-timeout_error"}, args...)...)
}

func TestAnswersSIPp(t *testing.T) {
	for _, transport := range []string{"u1", "t1"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			need(t, "sipp")
			callee := start(t, Config{OnCall: func(c *Call) {
				if c.Ring() == nil && c.Answer() == nil {
					<-c.HungUp()
				}
			}})
			uac := sipp(t, freePort(t), "-sn", "uac", "-t", transport, "-m", "3", "-r", "10", "-d", "300", callee.Addr())
			if err := uac.wait(); err != nil {
				t.Errorf("sipp: %v", err)
			}
		})
	}
}

func TestDialsSIPp(t *testing.T) {
	for _, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			need(t, "sipp")
			ctx := testContext(t)
			port := freePort(t)
			uas := sipp(t, port, "-sn", "uas", "-t", transport[:1]+"1", "-rtp_echo", "-mp", strconv.Itoa(freePort(t)), "-m", "1")
			p := start(t, Config{Transport: transport})
			c, err := p.Dial(ctx, fmt.Sprintf("sip:service@127.0.0.1:%d", port))
			for transport == "tcp" && err != nil && ctx.Err() == nil { // not listening yet; UDP is repeated until it is
				c, err = p.Dial(ctx, fmt.Sprintf("sip:service@127.0.0.1:%d", port))
			}
			check(t, err)
			check(t, c.WaitAnswered(ctx))
			go func() { _ = c.Play(ctx, Tone(time.Second, 440)) }()
			check(t, c.WaitTone(ctx, 440)) // our own, back from SIPp
			c.Hangup()
			if err := uas.wait(); err != nil {
				t.Errorf("sipp: %v", err)
			}
		})
	}
}

func TestAnswersAChallenge(t *testing.T) {
	scenario, err := filepath.Abs("testdata/sipp_auth.xml")
	check(t, err)
	for name, code := range map[string]int{"secret": 200, "wrong": 403} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			need(t, "sipp")
			ctx := testContext(t)
			port := freePort(t)
			sipp(t, port, "-sf", scenario, "-m", "1")
			c, err := start(t, Config{Username: "alice", Password: name}).Dial(ctx, fmt.Sprintf("sip:service@127.0.0.1:%d", port))
			check(t, err)
			err = c.WaitAnswered(ctx)
			if c.Code() != code {
				t.Errorf("code %d, %v", c.Code(), err)
			}
			if code == 200 && c.Codec() != PCMA {
				t.Errorf("codec %s", c.Codec())
			}
			c.Hangup()
			hungUp(t, c)
		})
	}
}

// baresip answers by itself and plays a file.
const baresipConfig = `sip_listen 127.0.0.1:%d
rtp_ports 20000-30000
audio_player aufile,%[2]s/heard.wav
audio_source aufile,%[2]s/tone.wav
audio_alert aufile,%[2]s/alert.wav
ausrc_srate 8000
auplay_srate 8000
ausrc_channels 1
auplay_channels 1
module_path %[3]s
module g711.so
module aufile.so
module_tmp account.so
module_app menu.so
`

func TestDialsBaresip(t *testing.T) {
	need(t, "baresip")
	modules, _ := filepath.Glob("/usr/lib*/baresip/modules")
	if more, _ := filepath.Glob("/usr/lib/*/baresip/modules"); len(modules)+len(more) == 0 {
		t.Skip("NOT TESTED: the modules of baresip are in a place of their own")
	} else {
		modules = append(modules, more...)
	}
	ctx := testContext(t)
	dir, port := t.TempDir(), freePort(t)
	for name, text := range map[string]string{
		"config":   fmt.Sprintf(baresipConfig, port, dir, modules[0]),
		"accounts": fmt.Sprintf("<sip:bob@127.0.0.1:%d>;regint=0;answermode=auto;audio_codecs=PCMA/8000/1,PCMU/8000/1\n", port),
		"contacts": "",
	} {
		check(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	w, err := createWAV(filepath.Join(dir, "tone.wav"), 60*sampleRate)
	check(t, err)
	check(t, w.write(Tone(time.Minute, 440)))
	check(t, w.close())
	bob := peer(t, "baresip", "-f", dir, "-v")
	c, err := start(t, Config{}).Dial(ctx, fmt.Sprintf("sip:bob@127.0.0.1:%d", port))
	check(t, err)
	check(t, c.WaitAnswered(ctx))
	check(t, c.WaitTone(ctx, 440))
	check(t, c.Press(ctx, "12"))
	check(t, c.Play(ctx, Tone(300*time.Millisecond, 600))) // carries the keys through its jitter buffer
	check(t, c.Hold(ctx))
	check(t, c.WaitSilence(ctx, 300*time.Millisecond))
	check(t, c.Unhold(ctx))
	check(t, c.WaitTone(ctx, 440))
	c.Hangup()
	hungUp(t, c)
	check(t, bob.cmd.Process.Signal(syscall.SIGTERM)) // it writes what it said at its end
	_ = bob.wait()
	for _, key := range []string{"1", "2"} {
		if !bytes.Contains(bob.out.Bytes(), []byte("received event: '"+key+"' (end=1)")) {
			t.Errorf("baresip did not receive key %s", key)
		}
	}
}
