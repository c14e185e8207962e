package sip

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/call"
)

// sipp starts SIPp with a scenario; wait fails the test when a call of its did not go as written.
func sipp(t *testing.T, args ...string) (wait func()) {
	t.Helper()
	path, err := exec.LookPath("sipp")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("SIPp is not installed; on Debian: apt-get install sip-tester")
		}
		t.Skip("SKIPPED: SIPp is not installed, so no independent SIP stack was heard; on Debian: apt-get install sip-tester")
	}
	for i, a := range args {
		if filepath.Ext(a) == ".xml" {
			if args[i], err = filepath.Abs(filepath.Join("testdata", "sipp", a)); err != nil {
				t.Fatal(err)
			}
		}
	}
	cmd := exec.CommandContext(t.Context(), path, append(args, "-nostdin", "-i", "127.0.0.1", "-timeout", "20s", "-timeout_error", "-trace_err", "-error_file", "errors.log")...)
	cmd.Dir = t.TempDir()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		if err := cmd.Wait(); err != nil {
			log, _ := os.ReadFile(filepath.Join(cmd.Dir, "errors.log"))
			t.Errorf("sipp: %v\n%s\n%s", err, log, out.Bytes())
		}
	}
}

// freePort is a UDP port nobody has now.
func freePort(t *testing.T) string {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	return strconv.Itoa(c.LocalAddr().(*net.UDPAddr).Port)
}

func TestSIPpCallee(t *testing.T) {
	for _, c := range []struct {
		name, transport string
		spec            call.OutboundLeg
		scenario        []string
	}{
		{"udp", "u1", call.OutboundLeg{Transport: "udp"}, []string{"-sn", "uas"}},
		{"tcp", "t1", call.OutboundLeg{Transport: "tcp"}, []string{"-sn", "uas"}},
		{"auth", "u1", call.OutboundLeg{Transport: "udp", Username: "alice", Password: "secret"}, []string{"-sf", "uas-auth.xml"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, port := start(t, nil), freePort(t)
			wait := sipp(t, append(c.scenario, "-t", c.transport, "-p", port, "-m", "1")...)
			spec := c.spec
			spec.Target, spec.From = "sip:service@127.0.0.1:"+port, "+15557654321"
			out := untilListening(t, a, spec)
			for ev := range out.Events() {
				switch ev := ev.(type) {
				case call.LegAnswered:
					out.Hangup()
				case call.LegEnded:
					if ev.Cause.SIPCode != 200 {
						t.Errorf("%+v", ev)
					}
				}
			}
			wait()
		})
	}
}

// untilListening dials until SIPp has opened its socket: a refused TCP connection is tried again, and UDP
// is sent again by the transaction.
func untilListening(t *testing.T, a *station, spec call.OutboundLeg) *Leg {
	t.Helper()
	if spec.Transport == "tcp" {
		_, port, _ := net.SplitHostPort(spec.Target[len("sip:service@"):])
		for limit := time.Now().Add(patience); ; {
			c, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", port))
			if err == nil {
				_ = c.Close()
				break
			}
			if time.Now().After(limit) {
				t.Fatalf("SIPp does not listen: %v", err)
			}
		}
	}
	return dial(t, a, spec)
}

func TestSIPpCaller(t *testing.T) {
	for _, c := range []struct {
		name     string
		scenario []string
		calls    int
	}{
		{"basic udp", []string{"-sn", "uac", "-t", "u1"}, 20},
		{"basic tcp", []string{"-sn", "uac", "-t", "t1"}, 20},
		{"hold", []string{"-sf", "uac-hold.xml", "-t", "u1"}, 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := start(t, nil)
			wait := sipp(t, append(c.scenario, "-s", "15551234567", "-m", strconv.Itoa(c.calls), "-p", freePort(t), b.Addr().String())...)
			for range c.calls {
				in := b.incoming(t)
				if in.info.To != "+15551234567" {
					t.Errorf("%+v", in.info)
				}
				in.leg.Ring()
				if err := in.leg.Answer(); err != nil {
					t.Error(err)
				}
				if e := ended(t, in.leg); e.Cause.SIPCode != 200 || e.Cause.Local {
					t.Errorf("%+v", e)
				}
			}
			wait()
		})
	}
}
