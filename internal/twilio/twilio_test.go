package twilio

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

func TestCatalogue(t *testing.T) {
	var rows []Entry
	if err := json.Unmarshal(errorsJSON, &rows); err != nil {
		t.Fatal(err)
	}
	last := 0
	for _, e := range rows {
		if e.Code <= last {
			t.Errorf("%d comes after %d: keep the rows in order, each code once", e.Code, last)
		}
		last = e.Code
		if e.Level != "error" && e.Level != "warning" {
			t.Errorf("%d: level %q", e.Code, e.Level)
		}
		if e.Message == "" || strings.HasSuffix(e.Message, ".") || strings.Contains(e.Message, "%") {
			t.Errorf("%d: message %q: want a sentence without full stop or verbs", e.Code, e.Message)
		}
		if e.Status != 0 && (e.Status < 400 || e.Status > 599) {
			t.Errorf("%d: status %d", e.Code, e.Status)
		}
		if strings.HasPrefix(fmt.Sprint(e.Code), "20") && len(fmt.Sprint(e.Code)) == 5 && e.Status == 0 {
			t.Errorf("%d: REST codes need a status", e.Code)
		}
	}
	if len(catalogue()) != len(rows) {
		t.Errorf("%d codes in %d rows", len(catalogue()), len(rows))
	}
}

// What the calls API documents for its own codes (calls-api section 3).
func TestRESTStatus(t *testing.T) {
	want := map[int]int{
		20001: 400, 20003: 401, 20004: 405, 20006: 403, 20009: 409, 20404: 404, 20409: 409, 20429: 429, 20500: 500, 20503: 503,
		21201: 400, 21205: 400, 21208: 400, 21211: 400, 21213: 400, 21220: 400, 21609: 400, 22005: 400, 32018: 400,
	}
	for code, status := range want {
		if got := Err(code).Status; got != status {
			t.Errorf("%d: status %d, want %d", code, got, status)
		}
	}
	for _, code := range []int{12200, 13511, 15003, 21626, 32019} {
		if Level(code) != 1 {
			t.Errorf("%d: want a warning", code)
		}
	}
	for _, code := range []int{11200, 12100, 32014, 99999} {
		if Level(code) != 0 {
			t.Errorf("%d: want an error", code)
		}
	}
}

func TestErr(t *testing.T) {
	if got := Err(21211, "+12", 7).Message; got != "Invalid 'To' phone number: +12 7" {
		t.Error(got)
	}
	if got := Errf(21205, "Url is not a valid URL: %s", "x%d"); got.Message != "Url is not a valid URL: x%d" || got.Status != 400 {
		t.Error(got)
	}
	e := Err(20500).With(io.EOF)
	if !errors.Is(e, io.EOF) || !errors.Is(e, Err(20500)) || errors.Is(e, Err(20503)) || Err(20500).Cause != nil {
		t.Error(e)
	}
	if _, ok := Lookup(1); ok {
		t.Error("1 is not a code")
	}
}

func TestTime(t *testing.T) {
	at := time.Date(2010, 8, 31, 22, 36, 28, 999, time.FixedZone("", 2*3600))
	const want = "Tue, 31 Aug 2010 20:36:28 +0000"
	if got := FormatTime(at); got != want {
		t.Error(got)
	}
	if got := string(AppendTime([]byte("x"), at)); got != "x"+want {
		t.Error(got)
	}
	if got, err := ParseTime(want); err != nil || !got.Equal(at.Truncate(time.Second)) {
		t.Error(got, err)
	}
}

func TestPageToken(t *testing.T) {
	const sid = "CA0123456789abcdef0123456789abcdef"
	for _, want := range []PageToken{{SID: sid}, {SID: sid, Before: true}, {SID: sid, Time: 1 << 50, Seq: 1<<63 - 1}} {
		if got, ok := ParsePageToken(want.String(), CallPrefix); !ok || got != want {
			t.Errorf("%v: got %v, %t", want, got, ok)
		}
	}
	for _, bad := range []string{"", "P", "PA", "PC" + sid, "PA" + sid, "PAPN" + sid[2:] + "-1-1", "PA" + sid + "0-1-1", "pa" + sid + "-1-1", "PA" + sid + "-1", "PA" + sid + "--1", "PA" + sid + "-1-1-1", "PA" + sid + "-1-%"} {
		if _, ok := ParsePageToken(bad, CallPrefix); ok {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestSIDsSortByTime(t *testing.T) {
	at := time.Date(2026, 3, 4, 5, 6, 7, 8e6, time.UTC)
	a, b, later := NewSIDAt(CallPrefix, at), NewSIDAt(CallPrefix, at), NewSIDAt(CallPrefix, at.Add(time.Millisecond))
	if !IsSID(a, CallPrefix) || a == b || a[:14] != b[:14] || a >= later || b >= later {
		t.Error(a, b, later)
	}
}

func TestSID(t *testing.T) {
	if s := NewSID(CallPrefix); !IsSID(s, CallPrefix) || !IsSID(s, "") || s == NewSID(CallPrefix) {
		t.Error(s)
	}
	for _, bad := range []string{"", "CA", "CA" + strings.Repeat("g", 32), "ca" + strings.Repeat("0", 32), "CA" + strings.Repeat("0", 31)} {
		if IsSID(bad, "") {
			t.Errorf("%q was taken", bad)
		}
	}
}
