package phone

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestParseScript(t *testing.T) {
	for src, want := range map[string]string{
		"": "",
		" ring 1s; answer;;\nwait 500ms ; say hello there ; hear 2s; press 1; expect digits 12; hangup": `ring 1s; answer; wait 500ms; say "hello there"; hear 2s; press 1; expect digits 12; hangup`,
		`SAY "a; b\n\"c\""`:                `say "a; b\n\"c\""`,
		"ring":                             "ring",
		"press 1w#W*D":                     "press 1w#W*D",
		"hear tone 697+1209.5 within 3s":   "hear tone 697+1209.5 within 3s",
		"hear silence 1s within 1m":        "hear silence 1s within 1m0s",
		"expect hangup within 100ms":       "expect hangup within 100ms",
		"wait answer; tone 1000 500ms":     "wait answer; tone 1000 500ms",
		"reject 486; busy; echo; progress": "reject 486; busy; echo; progress",
		"hold; unhold; play a b.wav":       `hold; unhold; play "a b.wav"`,
	} {
		s, err := ParseScript(src)
		if err != nil {
			t.Errorf("%q: %v", src, err)
		} else if s.String() != want {
			t.Errorf("%q is %q, want %q", src, s, want)
		}
	}
}

func TestScriptErrorsSayWhere(t *testing.T) {
	for src, want := range map[string]string{
		"answer; jump":                   `line 1, column 9: unknown command "jump"; known are ring,`,
		"answer\n wait soon":             `line 2, column 7: "soon" is not a duration; write 500ms or 2s`,
		"wait":                           "line 1, column 5: a duration is missing",
		"wait 2":                         `column 6: "2" is not a duration`,
		"wait -1s":                       `column 6: "-1s" is not between nothing and a day`,
		"say":                            "column 4: say what?",
		`say "héllo" "x`:                 "column 5: the quotes do not close",
		"press 12x":                      `column 9: 'x' is not a key`,
		"press":                          "column 6: press which keys?",
		"expect digits 1w":               `column 16: 'w' is not a key`,
		"expect nothing":                 `column 1: expect what?`,
		"answer now":                     `column 8: "now" is too much for "answer"`,
		"hear 2s before 3s":              `column 9: "before" is too much for "hear"`,
		"hear 2s within":                 "column 15: a duration is missing",
		"reject 200":                     "column 8: reject needs a SIP code, 300 to 699",
		"tone 5 1s":                      `column 6: "5" is not a frequency`,
		"hear tone NaN":                  `column 11: "NaN" is not a frequency`,
		"hear tone 100+200+300+400+500":  "column 11: a tone has at most 4 frequencies",
		"say é; ü":                       `column 8: unknown command`,
		strings.Repeat(" ", maxScript+1): "the limit is",
	} {
		_, err := ParseScript(src)
		var se *ScriptError
		if !errors.As(err, &se) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: error %v, want %q", src, err, want)
		}
	}
}

func FuzzParseScript(f *testing.F) {
	f.Add("ring 1s; answer; say \"a;b\"; press 12#; expect digits 3 within 2s; hear tone 440+480; hangup")
	f.Fuzz(func(t *testing.T, src string) {
		s, err := ParseScript(src)
		if err != nil {
			var se *ScriptError
			if !errors.As(err, &se) || se.Line < 1 || se.Column < 1 {
				t.Fatalf("%q: %v", src, err)
			}
			return
		}
		again, err := ParseScript(s.String())
		if len(s.String()) <= maxScript && (err != nil || again.String() != s.String()) {
			t.Errorf("%q became %q, then %v, %v", src, s, again, err)
		}
	})
}

func TestEveryVerbIsDocumented(t *testing.T) {
	help := ScriptHelp()
	for _, v := range verbs {
		if !strings.Contains(help, v.name) || v.help == "" {
			t.Errorf("%s is not in the help", v.name)
		}
	}
}

func script(t testing.TB, src string) *Script {
	t.Helper()
	s, err := ParseScript(src)
	check(t, err)
	return s
}

// Two scripts play a call against each other, one for each end.
func TestScriptsTalkToEachOther(t *testing.T) {
	ctx := testContext(t)
	wav := filepath.Join(t.TempDir(), "tone.wav")
	w, err := createWAV(wav, sampleRate)
	check(t, err)
	check(t, w.write(Tone(500*time.Millisecond, 1234)))
	check(t, w.close())
	caller, callee := start(t, Config{}), start(t, Config{})
	a, err := caller.Dial(ctx, callee.URI())
	check(t, err)
	b := take(t, callee)
	done := make(chan error, 1)
	go func() {
		done <- b.Run(ctx, script(t, `progress; tone 425 300ms; ring 50ms; answer; wait 100ms; say "Hello, who is there?"
			expect digits 12 within 10s; press 34; hear tone 1234; hear silence 200ms; hold; tone 800 300ms; unhold; echo; expect hangup`))
	}()
	check(t, a.Run(ctx, script(t, "hear tone 425; wait answer; hear 500ms; press 12; expect digits 34; play "+wav+"; hear tone 800; wait 100ms; tone 900 500ms; hear tone 900; hangup")))
	check(t, <-done)
}

func TestFailingScriptSaysWhichStep(t *testing.T) {
	ctx := testContext(t)
	a, b := connect(t, start(t, Config{}), start(t, Config{}), Outgoing{})
	go func() { _ = b.Press(ctx, "9") }()
	err := a.Run(ctx, script(t, "wait 1ms; expect digits 12"))
	if err == nil || !strings.Contains(err.Error(), "step 2 (expect digits 12)") || !strings.Contains(err.Error(), "got 9") {
		t.Errorf("%v", err)
	}
	err = a.Run(ctx, script(t, "hear tone 440 within 100ms"))
	if err == nil || !strings.Contains(err.Error(), "heard ") {
		t.Errorf("%v", err)
	}
	b.Hangup()
	err = a.Run(ctx, script(t, "hear 1s"))
	var end *EndError
	if !errors.As(err, &end) || !end.End.Remote {
		t.Errorf("%v", err)
	}
	if err := a.Run(ctx, script(t, "play "+filepath.Join(t.TempDir(), "none.wav"))); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if err := a.Run(ctx, script(t, "answer")); err == nil {
		t.Error("the caller answered")
	}
}
