//go:build linux

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestVerdicts(t *testing.T) {
	for _, c := range []struct {
		budget budget
		value  float64
		must   string
		aim    bool
		text   string
	}{
		{most(2.5, 1.5), 1.5, "ok", true, "≤ 2.5, aim 1.5"},
		{most(2.5, 1.5), 2.5, "ok", false, "≤ 2.5, aim 1.5"},
		{most(2.5, 0), 2.51, "over", false, "≤ 2.5"},
		{least(600, 1000), 599, "over", false, "≥ 600, aim 1000"},
		{least(600, 1000), 1200, "ok", true, "≥ 600, aim 1000"},
		{budget{}, 5, "", false, ""},
	} {
		must, aim := c.budget.verdict(c.value)
		if must != c.must || aim != c.aim || c.budget.String() != c.text {
			t.Errorf("%v of %s: %q %v", c.value, c.budget, must, aim)
		}
	}
}

func TestRound(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 1234.5: "1235", 0.12345: "0.123", 99.95: "100", 27.649: "27.6", -3.14159: "-3.14"} {
		if got := figure(v); got != want {
			t.Errorf("%v is printed as %s, want %s", v, got, want)
		}
	}
}

func TestReportIsComparedWithAnEarlierOne(t *testing.T) {
	file := filepath.Join(t.TempDir(), "old.json")
	var out bytes.Buffer
	old := report{Time: time.Now(), out: &out}
	old.add("W9", "thing", 10, "ms", most(5, 0), &usage{Idle: 50}, "a note")
	if err := old.finish(file); err != nil {
		t.Fatal(err)
	}
	if s := out.String(); !strings.Contains(s, "over: W9 thing: 10 ms, budget ≤ 5") {
		t.Errorf("printed:\n%s", s)
	}
	out.Reset()
	now := report{Time: time.Now(), out: &out}
	if err := now.compare(file); err != nil {
		t.Fatal(err)
	}
	now.add("W9", "thing", 12, "ms", budget{}, nil, "")
	if s := out.String(); !strings.Contains(s, "was 10 (+20 %)") {
		t.Errorf("printed:\n%s", s)
	}
	if err := os.WriteFile(file, []byte("no"), 0o600); err != nil || now.compare(file) == nil {
		t.Errorf("took a damaged report (%v)", err)
	}
}

func TestParseStat(t *testing.T) {
	s, err := parseStat([]byte("123 (off hook) S 77 1 1 0 -1 4194560 1 2 3 4 250 50 0 0 20 0 9 0 1 2 3\n"))
	if err != nil || s.parent != 77 || s.cpu != 3 {
		t.Errorf("%+v %v", s, err)
	}
	for _, b := range []string{"", "1 (x", "1 (x) S 1", "1 (x) S 1 1 1 0 -1 4194560 1 2 3 4 a b"} {
		if _, err := parseStat([]byte(b)); err == nil {
			t.Errorf("%q was taken", b)
		}
	}
}

func TestField(t *testing.T) {
	b := []byte("VmPeak:\t 9 kB\nVmRSS:\t  2048 kB\n")
	if v := field(b, "VmRSS:"); v != 2048 {
		t.Errorf("%v", v)
	}
	if v := field(b, "VmSwap:"); v != 0 {
		t.Errorf("%v", v)
	}
}

func TestReadyLine(t *testing.T) {
	log := []byte("time=… msg=x\nready http=http://127.0.0.1:1 sip=127.0.0.1:2\n")
	a, ok := readyLine(log)
	if !ok || a["http"] != "http://127.0.0.1:1" || a["sip"] != "127.0.0.1:2" {
		t.Errorf("%v %v", a, ok)
	}
	if _, ok := readyLine(log[:len(log)-1]); ok {
		t.Error("took half a line")
	}
}
