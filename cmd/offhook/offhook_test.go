package main

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/google/go-cmp/cmp"

	"github.com/offhook/offhook/internal/clock"
	"github.com/offhook/offhook/phone"
)

var update = flag.Bool("update", false, "rewrite the golden files from what the commands say now")

// offhook runs a command line as a user would and returns what it wrote.
func offhook(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, &app{in: strings.NewReader(""), out: &out, err: &errs, clock: clock.System})
	return out.String(), errs.String(), code
}

// cleanEnv hides the developer's own settings from a test.
func cleanEnv(t *testing.T) {
	for _, kv := range os.Environ() {
		name, value, _ := strings.Cut(kv, "=")
		if strings.HasPrefix(name, "OFFHOOK_") || strings.HasPrefix(name, "TWILIO_") || name == "COLUMNS" {
			t.Setenv(name, value) // so that the test's end restores it
			os.Unsetenv(name)
		}
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs; if that is meant, run `make golden`:\n%s", name, diff)
	}
}

// visible walks the commands that help shows, a group before its members.
func visible(n *kong.Node, f func(*kong.Node)) {
	for _, c := range n.Children {
		if !c.Hidden {
			f(c)
			visible(c, f)
		}
	}
}

func commandTree(t *testing.T) *kong.Node {
	t.Helper()
	p, err := newParser(&app{out: io.Discard, err: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	return p.Model.Node
}

func TestReferenceShowsEveryCommandsHelp(t *testing.T) {
	cleanEnv(t)
	var doc strings.Builder
	doc.WriteString("# Command line\n\nWhat every command says with `--help`; `make golden` writes this page. Results go to stdout, logs and errors\n" +
		"to stderr. Exit codes: 0 done, 1 failed, 2 asked wrongly.\n")
	section := func(title string, args ...string) {
		out, errs, code := offhook(t, append(args, "--help")...)
		if code != exitOK || errs != "" {
			t.Errorf("%s --help: exit %d, stderr %q", title, code, errs)
		}
		fmt.Fprintf(&doc, "\n## %s\n\n```text\n%s```\n", title, out)
	}
	section("offhook")
	visible(commandTree(t), func(n *kong.Node) { section(n.FullPath(), strings.Fields(n.Path())...) })
	golden(t, filepath.Join("..", "..", "docs", "cli.md"), doc.String())
}

func TestEveryHelpTeachesWithAnExample(t *testing.T) {
	visible(commandTree(t), func(n *kong.Node) {
		example := "    " + n.FullPath()
		if len(n.Children) > 0 {
			example += " " // one of its members
		}
		if !strings.Contains(n.Detail, example) && !strings.Contains(n.Detail, "\""+"$("+n.FullPath()) {
			t.Errorf("%s --help shows no line that starts with %q", n.FullPath(), example)
		}
		if strings.HasPrefix(n.Detail, " ") { // kong trims the whole text and wraps the line like prose
			t.Errorf("%s --help begins with an example, which loses its indentation: say a sentence first", n.FullPath())
		}
		if n.Help == "" || !strings.HasSuffix(n.Help, ".") {
			t.Errorf("%s: help %q is not a sentence", n.FullPath(), n.Help)
		}
		for _, f := range n.Flags {
			if !f.Hidden && !strings.HasSuffix(f.Help, ".") {
				t.Errorf("%s --%s: help %q is not a sentence", n.FullPath(), f.Name, f.Help)
			}
		}
	})
}

func TestNoArgumentsIsHelp(t *testing.T) {
	cleanEnv(t)
	bare, _, code := offhook(t)
	help, _, _ := offhook(t, "--help")
	if code != exitOK || bare != help {
		t.Errorf("exit %d, output %q", code, bare)
	}
}

// TestTranscripts replays the command lines of testdata and compares what they write. A line that
// starts with "$ " is run; below it stand stdout, then stderr after "2> ", what the server was asked
// after "http> ", and an exit code other than 0.
func TestTranscripts(t *testing.T) {
	names, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(names) == 0 {
		t.Fatal("no transcripts", err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) {
			cleanEnv(t)
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			name, err := filepath.Abs(name)
			if err != nil {
				t.Fatal(err)
			}
			srv := newFakeServer(t)
			dir := t.TempDir()
			t.Chdir(dir)
			if strings.HasPrefix(filepath.Base(name), "server-") {
				t.Setenv("OFFHOOK_URL", srv.URL)
				t.Setenv("TWILIO_ACCOUNT_SID", fakeAccount)
				t.Setenv("TWILIO_AUTH_TOKEN", "secret")
			}
			write(t, "config.json", `{"http": "127.0.0.1:1", "sip": ["127.0.0.1:2", "127.0.0.1:3"], "sip-cps": 2.5, "nats": "nats://a"}`)
			write(t, "typo.json", `{"htp": "127.0.0.1:1"}`)
			write(t, "two.json", `{"http": "127.0.0.1:1"} {}`)
			write(t, "rates.csv", "prefix,rate\n,0.5\n+1,0.013\n")
			write(t, "wrong.csv", "prefix,rate\n,free\n+1,0.013\n1,0.014\n")
			write(t, "hello.xml", `<Response><Say>Hello</Say></Response>`)
			write(t, "kept/account.json", `{"accountSid": "`+fakeAccount+`", "authToken": "it's secret", "url": "http://127.0.0.1:4700"}`)

			hide := strings.NewReplacer(srv.URL, "http://SERVER", dir, "DIR")
			var got strings.Builder
			for line := range strings.Lines(string(b)) {
				switch {
				case strings.HasPrefix(line, "#"), line == "\n":
					got.WriteString(line)
				case strings.HasPrefix(line, "$ "):
					got.WriteString(line)
					got.WriteString(hide.Replace(srv.transcript(t, strings.TrimSpace(line[2:]))))
				}
			}
			golden(t, name, got.String())
		})
	}
}

func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// transcript runs one line: NAME=VALUE words, then offhook and its arguments, quoted as in a shell.
func (s *fakeServer) transcript(t *testing.T, line string) string {
	t.Helper()
	words := shellWords(line)
	for len(words) > 0 && words[0] != "offhook" {
		name, value, ok := strings.Cut(words[0], "=")
		if !ok {
			t.Fatalf("%s: want offhook …", line)
		}
		old, had := os.LookupEnv(name)
		os.Setenv(name, value)
		defer func() {
			if os.Unsetenv(name); had {
				os.Setenv(name, old)
			}
		}()
		words = words[1:]
	}
	s.asked = nil
	stdout, stderr, code := offhook(t, words[1:]...)
	var b strings.Builder
	b.WriteString(stdout)
	for l := range strings.Lines(stderr) {
		b.WriteString("2> " + l)
	}
	for _, a := range s.asked {
		b.WriteString("http> " + a + "\n")
	}
	if code != 0 {
		fmt.Fprintf(&b, "exit %d\n", code)
	}
	return b.String()
}

// shellWords splits at spaces outside single quotes.
func shellWords(line string) []string {
	var words []string
	var word strings.Builder
	quoted, any := false, false
	for _, r := range line + " " {
		switch {
		case r == '\'':
			quoted, any = !quoted, true
		case r == ' ' && !quoted:
			if any {
				words = append(words, word.String())
				word.Reset()
				any = false
			}
		default:
			word.WriteRune(r)
			any = true
		}
	}
	return words
}

const fakeAccount = "AC00000000000000000000000000000000"

// fakeServer answers like a server with one live and one ended call, and remembers what it was asked.
type fakeServer struct {
	*httptest.Server
	asked []string
}

func newFakeServer(t *testing.T) *fakeServer {
	s := &fakeServer{}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	return s
}

func (s *fakeServer) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(err)
	}
	path := strings.TrimPrefix(r.URL.RequestURI(), "/2010-04-01/Accounts/"+fakeAccount)
	s.asked = append(s.asked, strings.TrimSpace(r.Method+" "+path+" "+string(body)))
	if user, pass, _ := r.BasicAuth(); user != fakeAccount || pass != "secret" {
		w.WriteHeader(http.StatusUnauthorized)
		io.WriteString(w, `{"code":20003,"message":"Authenticate","status":401}`)
		return
	}
	path, _, _ = strings.Cut(path, "?")
	answer, ok := fakeAnswers[r.Method+" "+path]
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprintf(w, `{"code":20404,"message":"The requested resource %[1]s was not found","detail":"The requested resource %[1]s was not found","status":404}`, path)
		return
	}
	if strings.HasSuffix(path, "/events") {
		w.Header().Set("Content-Type", "text/event-stream")
	}
	io.WriteString(w, answer)
}

const (
	liveCall = `{"sid":"CA1","from":"+15557654321","to":"+15551234567","status":"in-progress","direction":"outbound-api",
"date_created":"Sat, 31 Jan 2026 12:00:00 +0000","start_time":"Sat, 31 Jan 2026 12:00:01 +0000","end_time":null,"duration":null,"queue_time":"0"}`
	endedCall = `{"sid":"CA2","from":"sip:alice@example.com","to":"+15557654321","status":"completed","direction":"inbound",
"date_created":"Sat, 31 Jan 2026 11:00:00 +0000","start_time":"Sat, 31 Jan 2026 11:00:02 +0000","end_time":"Sat, 31 Jan 2026 11:00:17 +0000","duration":"15","queue_time":"0","caller_name":"Alice"}`
	ownNumber = `{"sid":"PN1","phone_number":"+15557654321","friendly_name":"Reception","voice_url":"http://127.0.0.1:3000/voice","voice_method":"POST","voice_caller_id_lookup":false}`
	recorded  = `{"sid":"RE1","call_sid":"CA2","status":"completed","source":"RecordVerb","channels":1,"duration":"7","price":null,"error_code":null,
"date_created":"Sat, 31 Jan 2026 11:00:05 +0000","start_time":"Sat, 31 Jan 2026 11:00:05 +0000","media_url":"http://127.0.0.1:4600/2010-04-01/Accounts/AC1/Recordings/RE1"}`
	oneTrunk = `{"sid":"TK1","name":"carrier","host":"sip.carrier.example","transport":"udp+tcp","username":"1234","sources":["192.0.2.0/28","192.0.2.77/32"],"prefixes":["+"],"cps":5,"maxCalls":0}`
)

var fakeAnswers = map[string]string{
	"POST /Calls.json":       liveCall,
	"GET /Calls.json":        `{"calls":[` + liveCall + `,` + endedCall + `],"next_page_uri":null}`,
	"GET /Calls/CA2.json":    endedCall,
	"POST /Calls/CA1.json":   liveCall,
	"DELETE /Calls/CA2.json": "",

	"GET /Recordings.json":        `{"recordings":[` + recorded + `],"next_page_uri":null}`,
	"GET /Recordings/RE1.json":    recorded,
	"GET /Recordings/RE1.wav":     "RIFF…",
	"GET /Recordings/RE1.mp3":     "ID3…",
	"DELETE /Recordings/RE1.json": "",

	"GET /v1/calls/CA1/events": event(0, "created", "12:00:00.000", "queued") + event(1, "queued", "12:00:00.000", "queued") +
		event(2, "ringing", "12:00:00.013", "ringing") + event(3, "answered", "12:00:01.020", "in-progress") +
		"event: trace\ndata: {\"time\":\"2026-01-31T12:00:01.031Z\",\"text\":\"say \\\"Hello\\\" 1.2s\"}\n\n" +
		event(4, "completed", "12:00:02.300", "completed") + event(5, "never", "12:00:09.000", "after the end"),
	"GET /v1/calls/CA3/events":              event(0, "created", "12:00:00.000", "queued") + event(1, "busy", "12:00:00.100", "busy"),
	"GET /IncomingPhoneNumbers.json":        `{"incoming_phone_numbers":[` + ownNumber + `],"next_page_uri":null}`,
	"POST /IncomingPhoneNumbers.json":       ownNumber,
	"GET /IncomingPhoneNumbers/PN1.json":    ownNumber,
	"POST /IncomingPhoneNumbers/PN1.json":   ownNumber,
	"DELETE /IncomingPhoneNumbers/PN1.json": "",
	"GET /v1/trunks":                        `[` + oneTrunk + `]`,
	"POST /v1/trunks":                       oneTrunk,
	"DELETE /v1/trunks/TK1":                 "",
	"PUT /v1/rates":                         `{"accountSid":"AC1","rates":2,"dateImported":"2026-01-31T12:00:00Z"}`,
	"GET /v1/rates": `[{"direction":"outbound","prefix":"","name":"World","rate":0.5,"initial":60,"increment":60,"currency":"USD","effective":null},` +
		`{"direction":"outbound","prefix":"+1","name":"North America","rate":0.013,"initial":30,"increment":6,"currency":"USD","effective":"2026-01-01"}]`,
	"DELETE /v1/rates": "",
}

func event(seq int, name, clock, status string) string {
	return fmt.Sprintf("id: %d\nevent: TwilioCall.%s\ndata: {\"type\":\"TwilioCall.%s\",\"time\":\"2026-01-31T%sZ\",\"sequence\":%d,"+
		"\"data\":{\"id\":\"CA1\",\"from\":\"+15557654321\",\"to\":\"+15551234567\",\"status\":%q,\"duration\":1}}\n\n", seq, name, name, clock, seq, status)
}

func TestSimulatorPageListsEveryNumber(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "simulator.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range phone.Numbers() {
		row := fmt.Sprintf("| %s | %s | %s |", n.Number, n.Name, n.Description)
		if !strings.Contains(string(page), row+"\n") {
			t.Errorf("docs/simulator.md lacks the row\n%s", row)
		}
	}
}

// TestPhonesTalk runs two phone commands against each other: a whole call, its keys and its recording.
func TestPhonesTalk(t *testing.T) {
	cleanEnv(t)
	out, w := io.Pipe()
	called := make(chan int, 1)
	dir := t.TempDir()
	go func() {
		args := []string{"phone", "--once", "--dir", dir, "--voice", "test", "--script", "ring; answer; say hello; expect digits 12; wait 1s; hangup"}
		called <- run(t.Context(), args, &app{out: w, err: t.Output(), clock: clock.System})
		w.Close()
	}()
	lines := bufio.NewScanner(out)
	lines.Scan()
	addr, ok := strings.CutPrefix(lines.Text(), "ready sip=")
	if !ok {
		t.Fatalf("first line is %q", lines.Text())
	}
	rest := make(chan string, 1)
	go func() {
		var b strings.Builder
		for lines.Scan() {
			b.WriteString(lines.Text() + "\n")
		}
		rest <- b.String()
	}()
	stdout, stderr, code := offhook(t, "phone", "+15551234567", "--via", addr, "--number", "+15557654321", "--script", "wait answer; hear 300ms; press 12; expect hangup")
	if code != exitOK || !strings.Contains(stdout, "ended by the far end: 200") {
		t.Errorf("caller: exit %d, stdout %q, stderr %q", code, stdout, stderr)
	}
	if code := <-called; code != exitOK {
		t.Errorf("called: exit %d", code)
	}
	got := <-rest
	for _, want := range []string{"call from +15557654321 to +15551234567\n", "digits 12\n", "ended here: 200", "recorded " + dir} {
		if !strings.Contains(got, want) {
			t.Errorf("called phone's output lacks %q:\n%s", want, got)
		}
	}
}
