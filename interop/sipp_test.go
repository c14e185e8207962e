package interop

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/template"

	"github.com/offhook/offhook/offhooktest"
)

// A script is a SIPp scenario of testdata, a template over its fields; testdata/parts.tmpl has what the
// scenarios share. Brackets in them are SIPp's own placeholders.
type script struct {
	// File is the scenario's name in testdata, without .xml; "" plays SIPp's own Builtin.
	File    string
	Builtin string
	// Dial is the host:port SIPp calls, "" when it is called.
	Dial string
	// To and From are user parts, of a caller's INVITE.
	To, From string
	// Code is the final response of a callee.
	Code string
	// Audio is the port the SDP gives out: an ear's. 0 is SIPp's own.
	Audio int
	// Codec is the payload type of its audio, 0 is PCMU and 8 PCMA; Event that of its telephone-events,
	// 101 by default.
	Codec, Event int
	// Direction is an attribute of the SDP, such as sendonly.
	Direction string
	// Headers are added to the INVITE of a caller, the 200 of a callee.
	Headers []string
	// Next is another SIPp, to be redirected to.
	Next string
	// Steps is XML played in mid-call.
	Steps string
	// Args are further arguments of SIPp.
	Args []string
	// TCP plays over TCP, else UDP.
	TCP bool
}

// Port is what the SDP says.
func (s script) Port() string {
	if s.Audio != 0 {
		return strconv.Itoa(s.Audio)
	}
	return "[media_port]"
}

// sipp is a SIPp that plays one script.
type sipp struct {
	*peer
	port int
}

// play starts SIPp. One that is called listens when play returns; one that calls has not called yet.
func play(t *testing.T, s script) *sipp {
	t.Helper()
	need(t, "sipp")
	if s.Event == 0 {
		s.Event = typeTelephone
	}
	dir, port, audio := t.TempDir(), freePort(t), freePort(t)
	args := []string{
		"-i", "127.0.0.1", "-p", strconv.Itoa(port), "-mi", "127.0.0.1", "-mp", strconv.Itoa(audio),
		"-bind_local", "-nostdin", "-skip_rlimit", "-trace_err", "-trace_msg", "-trace_logs", "-trace_screen",
		"-timeout", strconv.Itoa(int(offhooktest.Patience.Seconds())), "-timeout_error", "-cp", strconv.Itoa(freePort(t)),
	}
	if s.File == "" {
		args = append(args, "-sn", s.Builtin)
	} else {
		args = append(args, "-sf", s.render(t, dir))
	}
	if s.TCP {
		args = append(args, "-t", "t1")
	}
	if !slices.Contains(s.Args, "-m") {
		args = append(args, "-m", "1")
	}
	args = append(args, s.Args...)
	if s.Dial != "" {
		args = append(args, "-s", s.To, s.Dial)
	}
	p := &sipp{peer: start(t, dir, "sipp", args...), port: port}
	switch {
	case s.Dial != "":
	case s.TCP:
		p.accepts(port)
	default:
		p.listens(port)
	}
	return p
}

// render writes the scenario into dir.
func (s script) render(t *testing.T, dir string) string {
	t.Helper()
	tmpl, err := template.ParseFiles("testdata/parts.tmpl", "testdata/"+s.File+".xml")
	check(t, err)
	name := filepath.Join(dir, "scenario.xml")
	f, err := os.Create(name)
	check(t, err)
	check(t, tmpl.ExecuteTemplate(f, s.File+".xml", s))
	check(t, f.Close())
	return name
}

// uri is where SIPp is called.
func (p *sipp) uri() string {
	return fmt.Sprintf("sip:service@127.0.0.1:%d", p.port)
}

// host is SIPp's host:port.
func (p *sipp) host() string { return fmt.Sprintf("127.0.0.1:%d", p.port) }

// ends waits until the scenario was played to its end, every message as it says.
func (p *sipp) ends() {
	p.t.Helper()
	select {
	case <-p.done:
		if p.err != nil {
			p.t.Fatalf("sipp: %v\n%s", p.err, p.file("errors"))
		}
	case <-after(offhooktest.Patience):
		p.t.Fatal("sipp did not play its scenario to the end")
	}
}

// file is a trace SIPp wrote: errors, messages, logs or screen.
func (p *sipp) file(kind string) string {
	names, _ := filepath.Glob(filepath.Join(p.dir, "*_"+kind+".log"))
	var text strings.Builder
	for _, n := range names {
		b, _ := os.ReadFile(n)
		text.Write(b)
	}
	return text.String()
}

// rawSockets says whether SIPp may play keys: it needs raw sockets for them.
func rawSockets(t *testing.T) {
	t.Helper()
	var lc net.ListenConfig
	c, err := lc.ListenPacket(t.Context(), "ip4:udp", "127.0.0.1")
	if err == nil {
		c.Close()
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("SIPp cannot play keys: %v", err)
	}
	t.Skipf("NOT TESTED: SIPp cannot play keys: %v", err)
}
