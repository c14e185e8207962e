package torture_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/textproto"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/clock"
	"github.com/offhook/offhook/internal/sip/torture"
	"github.com/offhook/offhook/offhooktest"
	"github.com/offhook/offhook/phone"
)

const (
	calls    = 20
	right    = 45 // of the 49 of RFC 4475, at least
	patience = 5 * time.Second
)

// set is the messages of an RFC.
type set struct {
	name  string
	cases []torture.Case
	size  int
	right int
}

var (
	rfc4475 = set{"RFC 4475", torture.RFC4475, 49, right}
	rfc5118 = set{"RFC 5118", torture.RFC5118, 10, 10}
)

// TestTorture sends the messages of RFC 4475 and RFC 5118 to a whole server, over UDP and TCP, while calls
// are up and hear a tone.
func TestTorture(t *testing.T) { torment(t, "127.0.0.1", rfc4475, rfc5118) }

// TestTortureOverIPv6 is that with the messages about IPv6, over IPv6.
func TestTortureOverIPv6(t *testing.T) {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skip("this machine has no ::1: ", err)
	}
	_ = l.Close()
	torment(t, "::1", rfc5118)
}

func torment(t *testing.T, ip string, sets ...set) {
	srv := offhooktest.Start(t, offhooktest.ListenSIP(net.JoinHostPort(ip, "0")))
	talk := begin(t, srv)
	n := 0
	for _, set := range sets {
		if len(set.cases) != set.size {
			t.Fatalf("%d messages of %s, want %d", len(set.cases), set.name, set.size)
		}
		for _, transport := range []string{"UDP", "TCP"} {
			t.Run(set.name+"/"+transport, func(t *testing.T) {
				good := 0
				for _, c := range set.cases {
					n++
					want := c.Answers
					if transport == "TCP" && c.OverTCP != nil {
						want = c.OverTCP
					}
					got := unhurried(t, func(again int) []int {
						if transport == "UDP" {
							return overUDP(t, srv.SIP, c, 100*n+again)
						}
						return overTCP(t, srv.SIP, c, 100*n+again)
					})
					answers := 1
					switch {
					case want == nil:
						answers = 0
					case c.Name == "dblreq" && transport == "TCP":
						answers = 2
					}
					ok := len(got) == answers
					for _, code := range got {
						ok = ok && slices.Contains(want, code)
					}
					switch {
					case !ok:
						t.Errorf("%s (section %s): answered %v, want %d of %v", c.Name, c.Section, got, answers, want)
					case c.Unanswered != "":
						t.Logf("%s (section %s): answered %v: %s", c.Name, c.Section, got, c.Unanswered)
					default:
						good++
					}
				}
				t.Logf("%d of %d answered as the RFC says", good, set.size)
				if good < set.right {
					t.Errorf("%d of %d are answered as the RFC says, want %d", good, set.size, set.right)
				}
			})
		}
	}
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); { // all of it, over and over
		for _, set := range sets {
			for _, c := range set.cases {
				n++
				overUDP(t, srv.SIP, c, 100*n)
			}
		}
	}
	talk.unharmed(t)
}

// TestTheRFCsOwn sends the RFC's own bytes, when they are here, and wants the same answers as for ours.
func TestTheRFCsOwn(t *testing.T) {
	dir := ""
	for _, d := range []string{os.Getenv("OFFHOOK_SHARED"), "../../../../shared"} {
		if d = filepath.Join(d, "data", "sip-torture"); dir == "" {
			if _, err := os.Stat(d); err == nil {
				dir = d
			}
		}
	}
	if dir == "" {
		t.Skip("the RFC's own messages are not here: set OFFHOOK_SHARED to the folder that holds data/sip-torture")
	}
	srv := offhooktest.Start(t)
	talk := begin(t, srv)
	found := 0
	for _, c := range torture.RFC4475 {
		files, err := filepath.Glob(filepath.Join(dir, "*", c.Name+".*"))
		if err != nil || len(files) != 1 {
			continue
		}
		data, err := os.ReadFile(files[0])
		if err != nil {
			t.Fatal(err)
		}
		found++
		// Over TCP the answer finds its way back, whatever Via says.
		want := c.Answers
		if c.OverTCP != nil {
			want = c.OverTCP
		}
		unfinished := c.Name == "clerr" || !bytes.Contains(data, []byte("\r\n\r\n")) // one file has no empty line
		got := unhurried(t, func(again int) []int {
			// Another call each time, or it would be a copy.
			data := bytes.ReplaceAll(data, []byte(c.Name+"."), fmt.Append(nil, c.Name, again, "."))
			data = bytes.ReplaceAll(data, []byte("z9hG4bKkdjuw"), fmt.Append(nil, "z9hG4bK", c.Name, again))
			return exchangeTCP(t, srv.SIP, data, unfinished, len(want) > 0, c.Name == "dblreq")
		})
		if (len(got) > 0) != (len(want) > 0) {
			t.Errorf("%s: answered %v, want one of %v", c.Name, got, want)
		}
		for _, code := range got {
			if !slices.Contains(want, code) && !(c.Name == "dblreq" && code == 400) { // its INVITE has no Contact
				t.Errorf("%s: answered %v, want %v", c.Name, got, want)
			}
		}
		conn, err := net.Dial("udp", srv.SIP)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = conn.Write(data)
		ping(t, conn)
		_ = conn.Close()
	}
	if found < 48 {
		t.Errorf("%d of the RFC's messages found in %s", found, dir)
	}
	talk.unharmed(t)
}

// unhurried sends again what was refused because this machine is busy.
func unhurried(t *testing.T, send func(again int) []int) (codes []int) {
	t.Helper()
	for again := range 50 {
		if codes = send(again); !slices.Contains(codes, 503) {
			break
		}
		_ = clock.Sleep(t.Context(), clock.System, 200*time.Millisecond)
	}
	return codes
}

// overUDP returns the final responses to a message.
func overUDP(t *testing.T, to string, c torture.Case, n int) (codes []int) {
	t.Helper()
	conn, err := net.Dial("udp", to)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = conn.Write(c.Text("UDP", conn.LocalAddr().String(), n))
	take := func(res response) {
		if res.code < 200 {
			return
		}
		codes = append(codes, res.code)
		res.ack(conn, "UDP")
	}
	if len(c.Answers) > 0 {
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		for buf := make([]byte, 65535); len(codes) == 0; {
			size, err := conn.Read(buf)
			if err != nil {
				t.Errorf("%s: no answer: %v", c.Name, err)
				break
			}
			take(parse(bufio.NewReader(strings.NewReader(string(buf[:size])))))
		}
	}
	for _, res := range ping(t, conn) {
		if !slices.Contains(codes, res.code) { // not a copy
			take(res)
		}
	}
	return codes
}

// ping has the server answer an OPTIONS, and returns what came before the answer.
func ping(t *testing.T, conn net.Conn) (others []response) {
	t.Helper()
	us := conn.LocalAddr().String()
	id := fmt.Sprint("ping-", us, "-", time.Now().UnixNano())
	_, _ = fmt.Fprintf(conn, "OPTIONS sip:ping@example.net SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bK%s;rport\r\nMax-Forwards: 70\r\n"+
		"From: <sip:ping@%s>;tag=ping\r\nTo: <sip:ping@example.net>\r\nCall-ID: %s\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n", us, id, us, id)
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	for buf := make([]byte, 65535); ; {
		size, err := conn.Read(buf)
		if err != nil {
			t.Fatalf("the server does not answer OPTIONS any more: %v", err)
		}
		res := parse(bufio.NewReader(strings.NewReader(string(buf[:size]))))
		if res.header.Get("Call-Id") == id {
			return others
		}
		others = append(others, res)
	}
}

func hostOf(hostport string) string {
	host, _, _ := net.SplitHostPort(hostport) // is one
	return host
}

func overTCP(t *testing.T, to string, c torture.Case, n int) []int {
	t.Helper()
	return exchangeTCP(t, to, c.Text("TCP", net.JoinHostPort(hostOf(to), "5099"), n), c.Name == "clerr", len(c.Answers) > 0, c.Name == "dblreq")
}

// exchangeTCP returns the final responses to what is sent over a connection of its own.
func exchangeTCP(t *testing.T, to string, data []byte, unfinished, answered, twice bool) (codes []int) {
	t.Helper()
	conn, err := net.Dial("tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write(data); err != nil {
		t.Fatal(err)
	}
	if unfinished { // the server waits for the rest
		_ = conn.(*net.TCPConn).CloseWrite()
	}
	if answered {
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		for r := bufio.NewReader(conn); len(codes) == 0 || twice && len(codes) < 2; {
			res := parse(r)
			if res.code == 0 {
				break
			}
			if res.code >= 200 {
				codes = append(codes, res.code)
				res.ack(conn, "TCP")
			}
		}
	}
	// Alive, and for a message without an answer: none until this one.
	other, err := net.Dial("udp", to)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	ping(t, other)
	if !answered {
		_ = conn.SetReadDeadline(time.Now())
		if b, _ := io.ReadAll(conn); len(b) > 0 {
			t.Errorf("%.20q was answered: %s", data, b)
		}
	}
	return codes
}

// response is one of the server's.
type response struct {
	code   int
	header textproto.MIMEHeader
}

func parse(r *bufio.Reader) (res response) {
	tr := textproto.NewReader(r)
	line, err := tr.ReadLine()
	if err != nil {
		return res
	}
	_, rest, _ := strings.Cut(line, " ")
	code, _, _ := strings.Cut(rest, " ")
	res.code, _ = strconv.Atoi(code)
	res.header = make(textproto.MIMEHeader)
	for { // textproto wants no odd bytes in values
		line, err := tr.ReadLine()
		if err != nil || line == "" {
			break
		}
		name, value, _ := strings.Cut(line, ":")
		res.header.Add(name, strings.TrimSpace(value))
	}
	n, _ := strconv.Atoi(res.header.Get("Content-Length"))
	_, _ = io.CopyN(io.Discard, r, int64(n))
	return res
}

// ack acknowledges a final response to an INVITE, and hangs up what was answered.
func (res response) ack(conn net.Conn, transport string) {
	cseq, method, _ := strings.Cut(res.header.Get("Cseq"), " ")
	if strings.TrimSpace(method) != "INVITE" {
		return
	}
	send := func(method string, cseq int, via string) {
		_, _ = fmt.Fprintf(conn, "%s sip:x@example.net SIP/2.0\r\nVia: %s\r\nMax-Forwards: 70\r\nFrom: %s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: %d %s\r\nContent-Length: 0\r\n\r\n",
			method, via, res.header.Get("From"), res.header.Get("To"), res.header.Get("Call-Id"), cseq, method)
	}
	n, _ := strconv.Atoi(strings.TrimSpace(cseq))
	via, _, _ := strings.Cut(res.header.Get("Via"), ",")
	send("ACK", n, via)
	if res.code < 300 {
		send("BYE", n+1, fmt.Sprintf("SIP/2.0/%s %s;branch=z9hG4bKbye%d", transport, conn.LocalAddr(), time.Now().UnixNano()))
	}
}

// talk is the calls that are up meanwhile.
type talk struct {
	calls []*phone.Call
	since []time.Time
	heard []int
}

// begin sets up calls that hear a tone without end.
func begin(t *testing.T, srv *offhooktest.Server) *talk {
	t.Helper()
	app := srv.App(t)
	app.OnFunc("/tone.wav", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "audio/wav")
		_, _ = w.Write(wav(phone.Tone(10*time.Second, 440)))
	})
	app.On("/tone", `<Response><Play loop="0">`+app.URL("/tone.wav")+`</Play></Response>`)
	srv.Number(t, "+15550199", app.URL("/tone"))
	p, err := phone.Listen(t.Context(), phone.Config{Addr: net.JoinHostPort(hostOf(srv.SIP), "0")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	k := &talk{}
	for range calls {
		c, err := p.Dial(ctx, "sip:+15550199@"+srv.SIP)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(c.WaitAnswered(ctx), c.WaitTone(ctx, 440)); err != nil {
			t.Fatal(err)
		}
		k.calls = append(k.calls, c)
	}
	for _, c := range k.calls {
		k.since, k.heard = append(k.since, time.Now()), append(k.heard, c.PacketsHeard())
	}
	return k
}

// unharmed checks that every call is up and has heard its 50 packets a second.
func (k *talk) unharmed(t *testing.T) {
	t.Helper()
	got, want := 0, 0.0
	for i, c := range k.calls {
		if end, over := c.End(); over {
			t.Errorf("a call is over: %s", end)
			continue
		}
		got += c.PacketsHeard() - k.heard[i]
		want += time.Since(k.since[i]).Seconds() * 50
	}
	loss := 1 - float64(got)/want
	t.Logf("%d calls heard %d packets of %.0f", len(k.calls), got, want)
	// A packet more or less at the ends of each call's time is no loss.
	if slack := calls / want; math.Abs(loss) > 0.001+slack {
		t.Errorf("%.2f %% of the audio is missing", 100*loss)
	}
}

// wav is 8 kHz mono with 16 bits.
func wav(pcm []int16) []byte {
	b := []byte("RIFF\x00\x00\x00\x00WAVEfmt ")
	for _, v := range []any{uint32(16), uint16(1), uint16(1), uint32(8000), uint32(16000), uint16(2), uint16(16), []byte("data"), uint32(2 * len(pcm)), pcm} {
		b, _ = binary.Append(b, binary.LittleEndian, v) // fixed sizes
	}
	binary.LittleEndian.PutUint32(b[4:], uint32(len(b)-8))
	return b
}
