// Command testlog reads `go test -json` on stdin and prints what a person wants of it: a line for each
// package, the output of what failed, and every skipped test with its reason. It writes the numbers of
// passed, failed and skipped tests to the file it is given, and exits with 1 when any failed.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// event is one line of `go test -json` (go doc test2json).
type event struct {
	Action, Package, Test, Output, ImportPath string
}

// log adds up one run.
type log struct {
	out                     io.Writer
	passed, failed, skipped int

	output  map[string]*strings.Builder // of tests and packages that still run
	broken  map[string]bool             // packages with a failed test
	skipLog []string
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: go test -json ./... | testlog COUNTS")
		os.Exit(2)
	}
	l := newLog(os.Stdout)
	err := l.read(os.Stdin)
	if err == nil {
		for _, s := range l.skipLog {
			fmt.Fprintln(l.out, s)
		}
		err = os.WriteFile(os.Args[1], fmt.Appendf(nil, "%d %d %d\n", l.passed, l.failed, l.skipped), 0o600)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "testlog:", err)
	}
	if err != nil || l.failed > 0 {
		os.Exit(1)
	}
}

func newLog(out io.Writer) *log {
	return &log{out: out, output: map[string]*strings.Builder{}, broken: map[string]bool{}}
}

func (l *log) read(r io.Reader) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			fmt.Fprintln(l.out, lines.Text()) // of the go command itself
			continue
		}
		l.event(e)
	}
	return lines.Err()
}

func (l *log) event(e event) {
	key := e.Package + " " + e.Test
	switch e.Action {
	case "output":
		if e.Test == "" && isSummary(e.Output) {
			fmt.Fprint(l.out, e.Output)
			return
		}
		b := l.output[key]
		if b == nil {
			b = &strings.Builder{}
			l.output[key] = b
		}
		b.WriteString(e.Output)
		return
	case "build-output":
		fmt.Fprint(l.out, e.Output)
		return
	case "pass", "fail", "skip":
	default:
		return
	}
	said := l.output[key]
	delete(l.output, key)
	switch {
	case e.Action == "fail":
		if e.Test != "" || !l.broken[e.Package] { // a package fails by itself when it does not build or ends early
			l.failed++
		}
		l.broken[e.Package] = true
		if said != nil {
			fmt.Fprint(l.out, said)
		}
		if e.Test == "" {
			l.unfinished(e.Package)
		}
	case e.Test == "": // a package
	case e.Action == "skip":
		l.skipped++
		l.skipLog = append(l.skipLog, "SKIP "+e.Package+" "+e.Test+reason(said))
	default:
		l.passed++
	}
}

// maxUnfinished bounds what is shown of a test that did not end, bytes: the stacks of a time-out are long.
const maxUnfinished = 64 << 10

// unfinished shows the tests of a failed package that never said how they ended: it panicked or timed out there.
func (l *log) unfinished(pkg string) {
	var keys []string
	for key := range l.output {
		if strings.HasPrefix(key, pkg+" ") {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	for _, key := range keys {
		said := l.output[key].String()
		delete(l.output, key)
		fmt.Fprintf(l.out, "--- DID NOT END: %s\n%s\n", strings.TrimPrefix(key, pkg+" "), said[max(0, len(said)-maxUnfinished):])
	}
}

// isSummary reports whether a package's output line is its result.
func isSummary(line string) bool {
	for _, prefix := range []string{"ok  \t", "FAIL\t", "---", "?   \t"} {
		if strings.HasPrefix(line, prefix) {
			return true
		}
	}
	return false
}

// reason is what t.Skip said: the line "    file.go:12: reason".
func reason(said *strings.Builder) string {
	if said == nil {
		return ""
	}
	for line := range strings.Lines(said.String()) {
		if _, why, ok := strings.Cut(strings.TrimSpace(line), ".go:"); ok {
			if _, why, ok = strings.Cut(why, ": "); ok {
				return ": " + why
			}
		}
	}
	return ""
}
