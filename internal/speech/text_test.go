package speech

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestPlanCutsTextIntoClauses(t *testing.T) {
	long := strings.Repeat("word ", 100)
	for _, test := range []struct {
		text string
		want []string
	}{
		{"", nil},
		{" \n\t ", nil},
		{"...", nil},
		{"Hello", []string{"Hello"}},
		{"  Hello\n   world\u00a0again ", []string{"Hello world again"}},
		{"One. Two! Three? Four", []string{"One.", "Two!", "Three?", "Four"}},
		{"Version 1.5 costs $2.50 at example.com today.", []string{"Version 1.5 costs $2.50 at example.com today."}},
		{"Mr. Smith met Dr. J. Jones. They left.", []string{"Mr. Smith met Dr. J. Jones.", "They left."}},
		{`He said "stop." Then he left.`, []string{`He said "stop."`, "Then he left."}},
		{"Thank you for calling, press one.", []string{"Thank you for calling, press one."}},
		{"Thank you for calling the Acme Company, your call matters to us, please hold the line.",
			[]string{"Thank you for calling the Acme Company,", "your call matters to us, please hold the line."}},
		{"今日は。元気ですか？", []string{"今日は。", "元気ですか？"}},
		{"a\x00b\u200dc\xffd", []string{"abcd"}},
		{strings.TrimSpace(long), []string{
			strings.TrimSpace(long[:120]), strings.TrimSpace(long[120:420]), strings.TrimSpace(long[420:])}},
	} {
		var got []string
		for _, l := range plan([]Part{{Text: test.text}}) {
			got = append(got, l.text)
		}
		if d := cmp.Diff(test.want, got); d != "" {
			t.Errorf("%q (-want +got):\n%s", test.text, d)
		}
	}
}

func TestPlanKeepsPausesInPlace(t *testing.T) {
	got := plan([]Part{{Text: "A b."}, {Pause: time.Second}, {Text: "C d."}, {Pause: -1}})
	want := []line{{text: "A b."}, {pause: time.Second}, {text: "C d."}}
	if len(got) != len(want) || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] {
		t.Errorf("got %v, want %v", got, want)
	}
}

func FuzzPlan(f *testing.F) {
	for _, s := range []string{"Hello, world. How are you?", "\x00\xff", strings.Repeat("ab, ", 200), "今日は。", `"x." y`, "a.b.c."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		total := 0
		for _, l := range plan([]Part{{Text: text}}) {
			n := utf8.RuneCountInString(l.text)
			if n == 0 || n > maxClause+16 || !utf8.ValidString(l.text) || strings.ContainsAny(l.text, "\x00\n") {
				t.Fatalf("clause %q", l.text)
			}
			total += n
		}
		if total > utf8.RuneCountInString(text) {
			t.Fatalf("%d characters became %d", utf8.RuneCountInString(text), total)
		}
		if s := toASCII(text); strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Fatalf("toASCII left %q", s)
		}
	})
}
