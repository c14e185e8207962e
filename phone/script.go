package phone

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Script is what a phone does on one call, step by step.
type Script struct{ steps []step }

// step is one command with its arguments; which fields count is the verb's business.
type step struct {
	verb   string        // first words: "ring", "hear tone", …
	text   string        // say, play, press, expect digits, reject
	d      time.Duration // ring, wait, hear, tone
	hz     []float64     // tone, hear tone
	within time.Duration // expectations: fail after this; 0 is the default of 30 s
}

// verbs are the commands of the script language with their arguments. The longest match wins.
var verbs = []struct{ name, args, help string }{
	{"ring", "[DURATION]", "send 180 and ring that long (incoming calls)"},
	{"progress", "", "send 183 with SDP: what follows is early media (incoming calls)"},
	{"answer", "", "answer the call (incoming calls)"},
	{"reject", "CODE", "refuse the call with a SIP code, 300 to 699 (incoming calls)"},
	{"busy", "", "refuse the call with 486 (incoming calls)"},
	{"hangup", "", "end the call"},
	{"wait", "DURATION", "let time pass"},
	{"wait answer", "[within DURATION]", "until the far end answers (outgoing calls)"},
	{"say", "TEXT", `speak; "quotes" around a text that has ; in it`},
	{"play", "FILE", "play a WAV file, 8 kHz 16-bit mono"},
	{"tone", "HZ[+HZ] DURATION", "play a tone"},
	{"press", "KEYS", "press keys: 0-9 * # A-D, w and W pause 0.5 s and 1 s"},
	{"hear", "DURATION [within DURATION]", "until that much sound has been heard"},
	{"hear tone", "HZ[+HZ] [within DURATION]", "until a tone is heard"},
	{"hear silence", "DURATION [within DURATION]", "until it has been silent that long"},
	{"expect digits", "KEYS [within DURATION]", "until the far end has pressed these keys"},
	{"expect hangup", "[within DURATION]", "until the far end hangs up"},
	{"echo", "", "return the far end's audio from here on"},
	{"hold", "", "put the far end on hold"},
	{"unhold", "", "take it back"},
}

// ScriptHelp is the script language in a few lines, for the command's help.
func ScriptHelp() string {
	var b strings.Builder
	for _, v := range verbs {
		fmt.Fprintf(&b, "  %-40s %s\n", strings.TrimSpace(v.name+" "+v.args), v.help)
	}
	return b.String()
}

// ScriptError is a mistake in a script.
type ScriptError struct {
	Line, Column int // from 1; columns count characters
	Message      string
}

func (e *ScriptError) Error() string {
	return fmt.Sprintf("phone script: line %d, column %d: %s", e.Line, e.Column, e.Message)
}

// maxScript bounds a script's length in bytes.
const maxScript = 64 << 10

// ParseScript reads steps separated by ; or new lines, as "ring 1s; answer; say hello; press 1; hangup".
// Durations are written 500ms, 2s or 1m30s; see ScriptHelp for the commands.
func ParseScript(src string) (*Script, error) {
	if len(src) > maxScript {
		return nil, &ScriptError{1, 1, fmt.Sprintf("a script of %d bytes; the limit is %d", len(src), maxScript)}
	}
	s := &Script{}
	for pos := 0; pos <= len(src); {
		end := statementEnd(src, pos)
		st, at, err := parseStep(src[pos:end])
		if err != "" {
			return nil, scriptError(src, pos+at, err)
		}
		if st.verb != "" {
			s.steps = append(s.steps, st)
		}
		pos = end + 1
	}
	return s, nil
}

func scriptError(src string, at int, msg string) *ScriptError {
	head := src[:min(at, len(src))]
	line := strings.Count(head, "\n") + 1
	col := len([]rune(head[strings.LastIndexByte(head, '\n')+1:])) + 1
	return &ScriptError{line, col, msg}
}

// statementEnd finds the ; or new line that ends the step at pos; those in quotes do not.
func statementEnd(src string, pos int) int {
	quoted := false
	for i := pos; i < len(src); i++ {
		switch {
		case quoted && src[i] == '\\':
			i++
		case src[i] == '"':
			quoted = !quoted
		case src[i] == '\n', src[i] == ';' && !quoted:
			return i
		}
	}
	return len(src)
}

// args walks through the words of a step and remembers where it is, for messages.
type args struct {
	src string
	pos int
}

func (a *args) space() {
	for a.pos < len(a.src) && strings.IndexByte(" \t\r", a.src[a.pos]) >= 0 {
		a.pos++
	}
}

// word takes the next word, "" at the end.
func (a *args) word() string {
	a.space()
	start := a.pos
	for a.pos < len(a.src) && strings.IndexByte(" \t\r", a.src[a.pos]) < 0 {
		a.pos++
	}
	return a.src[start:a.pos]
}

// parseStep reads one step; at is where it begins or, with a message, where it is wrong.
func parseStep(src string) (st step, at int, msg string) {
	a := &args{src: src}
	a.space()
	begin := a.pos
	first := a.word()
	if first == "" {
		return step{}, begin, ""
	}
	st.verb = strings.ToLower(first)
	afterFirst := a.pos
	if two := st.verb + " " + strings.ToLower(a.word()); known(two) {
		st.verb = two
	} else {
		a.pos = afterFirst
	}
	if !known(st.verb) {
		if st.verb == "expect" {
			return st, begin, `expect what? "expect digits" or "expect hangup"`
		}
		return st, begin, fmt.Sprintf("unknown command %q; known are %s", first, verbNames())
	}
	fail := func(msg string) (step, int, string) { return step{}, a.pos, msg }
	arg := func() string { // the next word, and the position of its beginning for messages
		a.space()
		at := a.pos
		w := a.word()
		a.pos = at
		return w
	}
	next := func() { a.word() }
	var err error
	switch st.verb {
	case "say", "play":
		a.space()
		if st.text, err = unquote(strings.TrimRight(src[a.pos:], " \t\r")); err != nil {
			return fail(err.Error())
		}
		if st.text == "" {
			return fail(st.verb + " what?")
		}
		a.pos = len(src)
	case "press", "expect digits":
		st.text = arg()
		if st.text == "" {
			return fail(st.verb + " which keys?")
		}
		for i := range len(st.text) {
			if strings.IndexByte(keys, st.text[i]) < 0 && (st.verb != "press" || strings.IndexByte("wW", st.text[i]) < 0) {
				a.pos += i
				return fail(fmt.Sprintf("%q is not a key (0-9 * # A-D)", st.text[i]))
			}
		}
		next()
	case "reject":
		code, err := strconv.Atoi(arg())
		if err != nil || code < 300 || code > 699 {
			return fail("reject needs a SIP code, 300 to 699")
		}
		st.text = strconv.Itoa(code)
		next()
	case "tone", "hear tone":
		if st.hz, err = frequencies(arg()); err != nil {
			return fail(err.Error())
		}
		next()
	}
	switch st.verb {
	case "ring", "wait", "hear", "hear silence", "tone":
		w := arg()
		if w == "" && st.verb == "ring" {
			break
		}
		if st.d, err = duration(w); err != nil {
			return fail(err.Error())
		}
		next()
	}
	switch st.verb {
	case "wait answer", "hear", "hear tone", "hear silence", "expect digits", "expect hangup":
		if arg() != "within" {
			break
		}
		next()
		if st.within, err = duration(arg()); err != nil {
			return fail(err.Error())
		}
		next()
	}
	if rest := arg(); rest != "" {
		return fail(fmt.Sprintf("%q is too much for %q", rest, st.verb))
	}
	return st, begin, ""
}

func known(verb string) bool {
	for _, v := range verbs {
		if v.name == verb {
			return true
		}
	}
	return false
}

func verbNames() string {
	var names []string
	for _, v := range verbs {
		if name := before(v.name, " "); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

func unquote(s string) (string, error) {
	if !strings.HasPrefix(s, `"`) {
		return s, nil
	}
	u, err := strconv.Unquote(s)
	if err != nil {
		return "", fmt.Errorf("the quotes do not close, or something follows them")
	}
	return u, nil
}

// maxStep bounds every duration of a script.
const maxStep = 24 * time.Hour

func duration(w string) (time.Duration, error) {
	d, err := time.ParseDuration(w)
	switch {
	case w == "":
		return 0, fmt.Errorf("a duration is missing, as 500ms or 2s")
	case err != nil:
		return 0, fmt.Errorf("%q is not a duration; write 500ms or 2s", w)
	case d <= 0 || d > maxStep:
		return 0, fmt.Errorf("%q is not between nothing and a day", w)
	}
	return d, nil
}

func frequencies(w string) ([]float64, error) {
	var hz []float64
	for _, f := range strings.Split(w, "+") {
		v, err := strconv.ParseFloat(f, 64)
		if err != nil || math.IsNaN(v) || v < 50 || v > sampleRate/2 {
			return nil, fmt.Errorf("%q is not a frequency, 50 to 4000 Hz; two are written 697+1209", w)
		}
		hz = append(hz, v)
	}
	if len(hz) > 4 {
		return nil, fmt.Errorf("a tone has at most 4 frequencies")
	}
	return hz, nil
}

// String writes the script in one line; parsing it gives the same script again.
func (s *Script) String() string {
	parts := make([]string, len(s.steps))
	for i, st := range s.steps {
		parts[i] = st.String()
	}
	return strings.Join(parts, "; ")
}

func (st step) String() string {
	words := []string{st.verb}
	if st.text != "" {
		text := st.text
		if st.verb == "say" || st.verb == "play" {
			text = strconv.Quote(text)
		}
		words = append(words, text)
	}
	if len(st.hz) > 0 {
		var hz []string
		for _, f := range st.hz {
			hz = append(hz, strconv.FormatFloat(f, 'f', -1, 64))
		}
		words = append(words, strings.Join(hz, "+"))
	}
	if st.d > 0 {
		words = append(words, st.d.String())
	}
	if st.within > 0 {
		words = append(words, "within", st.within.String())
	}
	return strings.Join(words, " ")
}
