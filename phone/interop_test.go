package phone

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
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

// freePort is a UDP and TCP port that was free a moment ago.
func freePort(t *testing.T) int {
	t.Helper()
	udp, tcp, err := bindBoth(testContext(t), "127.0.0.1:0")
	check(t, err)
	port := udp.LocalAddr().(*net.UDPAddr).Port
	udp.Close()
	tcp.Close()
	return port
}

// peer runs a program beside the test; wait returns its exit, and the test's end kills it.
func peer(t *testing.T, name string, args ...string) (wait func() error) {
	t.Helper()
	cmd := exec.CommandContext(testContext(t), need(t, name), args...)
	cmd.Dir = t.TempDir()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Second
	check(t, cmd.Start())
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		select {
		case <-done:
		case <-time.After(testTimeout):
			t.Errorf("%s does not end", name)
		}
		if t.Failed() {
			logs, _ := filepath.Glob(filepath.Join(cmd.Dir, "*.log"))
			for _, l := range logs {
				b, _ := os.ReadFile(l)
				t.Logf("%s:\n%s", l, b)
			}
			t.Logf("%s said:\n%s", name, out.Bytes())
		}
	})
	return func() error {
		err := <-done
		done <- err
		return err
	}
}

func sipp(t *testing.T, port int, args ...string) (wait func() error) {
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
			wait := sipp(t, freePort(t), "-sn", "uac", "-t", transport, "-m", "3", "-r", "10", "-d", "300", callee.Addr())
			if err := wait(); err != nil {
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
			wait := sipp(t, port, "-sn", "uas", "-t", transport[:1]+"1", "-rtp_echo", "-mp", strconv.Itoa(freePort(t)), "-m", "1")
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
			if err := wait(); err != nil {
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
module_path /usr/lib/baresip/modules
module g711.so
module aufile.so
module_tmp account.so
module_app menu.so
`

func TestDialsBaresip(t *testing.T) {
	need(t, "baresip")
	ctx := testContext(t)
	dir, port := t.TempDir(), freePort(t)
	for name, text := range map[string]string{
		"config":   fmt.Sprintf(baresipConfig, port, dir),
		"accounts": fmt.Sprintf("<sip:bob@127.0.0.1:%d>;regint=0;answermode=auto;audio_codecs=PCMA/8000/1,PCMU/8000/1\n", port),
		"contacts": "",
	} {
		check(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	w, err := createWAV(filepath.Join(dir, "tone.wav"), 60*sampleRate)
	check(t, err)
	check(t, w.write(Tone(time.Minute, 440)))
	check(t, w.close())
	peer(t, "baresip", "-f", dir, "-v")
	c, err := start(t, Config{}).Dial(ctx, fmt.Sprintf("sip:bob@127.0.0.1:%d", port))
	check(t, err)
	check(t, c.WaitAnswered(ctx))
	check(t, c.WaitTone(ctx, 440))
	check(t, c.Press(ctx, "12"))
	check(t, c.Hold(ctx))
	check(t, c.WaitSilence(ctx, 300*time.Millisecond))
	check(t, c.Unhold(ctx))
	check(t, c.WaitTone(ctx, 440))
	c.Hangup()
	hungUp(t, c)
}
