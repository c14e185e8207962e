package store_test

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/offhook/offhook/internal/call"
)

// callback is one of a call, named by its ID.
func callback(id string, c *call.Call, seq int, target string, at time.Time) call.Callback {
	return call.Callback{
		ID: id, CallSID: c.SID, AccountSID: account, Seq: seq, Method: "POST", URL: target,
		Params: url.Values{"A": {"1", "2"}, "B c": {"&="}}, CreatedAt: at,
	}
}

func ids(list []call.Callback) string {
	var got []string
	for _, cb := range list {
		got = append(got, cb.ID)
	}
	return strings.Join(got, " ")
}

func testDue(t *testing.T, b backend) {
	s := open(t, b.address(t))
	first, second := newCall(morning), newCall(morning)
	for i, c := range []*call.Call{first, second} {
		from := morning.Add(time.Duration(i) * time.Second)
		name := string(rune('a' + i))
		ch := call.Change{Callbacks: []call.Callback{
			callback(name+"2", c, 2, "https://x.example/", from.Add(20*time.Second)),
			callback(name+"0", c, 0, "https://x.example/", from),
			callback(name+"1", c, 1, "https://y.example/", from.Add(10*time.Second)),
		}}
		must(t, s.CreateCall(t.Context(), c, ch))
	}
	later := newCall(morning)
	must(t, s.CreateCall(t.Context(), later, call.Change{Callbacks: []call.Callback{
		callback("later", later, 0, "https://x.example/", morning.Add(time.Minute)),
	}}))
	due := func(after time.Duration, limit int, want string) []call.Callback {
		t.Helper()
		list, err := s.Due(t.Context(), morning.Add(after), limit)
		must(t, err)
		if ids(list) != want {
			t.Errorf("due after %v: %q, want %q", after, ids(list), want)
		}
		return list
	}
	due(-time.Second, 10, "")
	list := due(30*time.Second, 10, "a0 a1 a2 b0 b1 b2")
	want := callback("a0", first, 0, "https://x.example/", morning)
	want.DueAt = morning
	if diff := cmp.Diff(want, list[0]); diff != "" {
		t.Error(diff)
	}
	due(30*time.Second, 1, "a0 a1 a2") // limit counts what is due; the call comes whole

	// A head that waits for its retry still shows before the row behind it.
	must(t, s.Retry(t.Context(), "a0", 1, morning.Add(50*time.Second), "no answer"))
	list = due(30*time.Second, 10, "b0 b1 b2 a0 a1 a2")
	if head := list[3]; head.Attempts != 1 || !head.DueAt.Equal(morning.Add(50*time.Second)) || head.LastError != "no answer" {
		t.Errorf("head %+v", head)
	}
	// With the rows behind it parked too, the call is not due at all.
	must(t, s.Delivered(t.Context(), "a1"))
	must(t, s.Retry(t.Context(), "a2", 0, morning.Add(50*time.Second), ""))
	due(30*time.Second, 10, "b0 b1 b2")
	due(55*time.Second, 10, "b0 b1 b2 a0 a2")

	for _, tt := range []struct {
		after time.Duration
		limit int
		want  string
	}{
		{31 * time.Second, 10, "a0 a2 later"}, {51 * time.Second, 10, "later"}, {61 * time.Second, 10, ""},
		{21 * time.Second, 1, "b0 b1 b2"}, // b2 alone is that late
	} {
		list, err := s.Later(t.Context(), morning.Add(tt.after), tt.limit)
		must(t, err)
		got := strings.Fields(ids(list))
		slices.Sort(got)
		if strings.Join(got, " ") != tt.want {
			t.Errorf("from %v: %q, want %q", tt.after, got, tt.want)
		}
	}
}

func testMarks(t *testing.T, b backend) {
	s := open(t, b.address(t))
	c := newCall(morning)
	var ch call.Change
	for i, id := range []string{"p", "q", "r"} {
		ch.Callbacks = append(ch.Callbacks, callback(id, c, i, "https://x.example/", morning))
	}
	must(t, s.CreateCall(t.Context(), c, ch))
	due := func(want string) {
		t.Helper()
		list, err := s.Due(t.Context(), time.Now().Add(time.Hour), 10)
		must(t, err)
		if ids(list) != want {
			t.Errorf("due: %q, want %q", ids(list), want)
		}
	}
	due("p q r")
	must(t, s.Delivered(t.Context(), "p"))
	must(t, s.Dead(t.Context(), "q", "gone"))
	due("r")
	dead, err := s.DeadLetters(t.Context(), account, 10)
	must(t, err)
	if ids(dead) != "q" || dead[0].LastError != "gone" {
		t.Errorf("dead letters %+v", dead)
	}
	for _, id := range []string{"p", "r", "none"} {
		if err := s.Resend(t.Context(), account, id); !errors.Is(err, call.ErrNotFound) {
			t.Errorf("resend of %s: %v, want not found", id, err)
		}
	}
	if err := s.Resend(t.Context(), other, "q"); !errors.Is(err, call.ErrNotFound) {
		t.Errorf("resend by another account: %v", err)
	}
	must(t, s.Resend(t.Context(), account, "q"))
	due("q r")
	// Marks of what is over, or gone with its call, are no errors: the dispatcher may be late.
	for _, id := range []string{"p", "none"} {
		must(t, s.Delivered(t.Context(), id))
		must(t, s.Retry(t.Context(), id, 1, morning, ""))
		must(t, s.Dead(t.Context(), id, ""))
	}
	due("q r")
}
