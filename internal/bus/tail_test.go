package bus

import (
	"errors"
	"testing"

	"github.com/offhook/offhook/internal/call"
)

func event(account string, pos int64) call.Event {
	return call.Event{AccountSID: account, CallSID: "CA1", Name: "ringing", Pos: pos, Snapshot: []byte("{}")}
}

func follow(t *testing.T, b *Bus, account string) *Follower {
	t.Helper()
	f, err := b.Follow(account)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

// expect reads what follows pos; ok false is written as -1.
func expect(t *testing.T, f *Follower, pos int64, want ...int64) {
	t.Helper()
	events, _, _, ok := f.Next(pos)
	if !ok {
		if len(want) != 1 || want[0] != -1 {
			t.Errorf("behind %d: in the store; want %v", pos, want)
		}
		return
	}
	var got []int64
	for _, e := range events {
		got = append(got, e.Pos)
	}
	if len(got) != len(want) {
		t.Fatalf("behind %d: %v, want %v", pos, got, want)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Errorf("behind %d: %v, want %v", pos, got, want)
		}
	}
}

func TestAFollowerReadsItsAccountAtItsOwnPace(t *testing.T) {
	b := New()
	b.Publish([]call.Event{event("AC1", 1)}, 1) // before anybody follows
	f := follow(t, b, "AC1")
	if f.Stored() != 1 {
		t.Errorf("stored up to %d", f.Stored())
	}
	expect(t, f, 0, -1)
	expect(t, f, 1)
	_, _, more, _ := f.Next(1)
	b.Publish([]call.Event{event("AC2", 2), event("AC1", 3), event("AC1", 4)}, 4)
	<-more
	expect(t, f, 1, 3, 4)
	expect(t, f, 3, 4)
	expect(t, f, 4)
	b.Publish([]call.Event{event("AC2", 5)}, 5)
	if _, upTo, _, ok := f.Next(4); !ok || upTo != 5 {
		t.Errorf("behind another account's: up to %d, %v", upTo, ok)
	}
}

// What was not told is in the store.
func TestAGapSendsFollowersToTheStore(t *testing.T) {
	b := New()
	f := follow(t, b, "AC1")
	b.Publish([]call.Event{event("AC1", 1)}, 1)
	_, _, more, _ := f.Next(1)
	sub, _ := b.Subscribe("CA1")
	b.Publish(nil, 7)
	<-more
	if _, open := <-sub.C; open {
		t.Error("who watches one call goes on over a gap")
	}
	expect(t, f, 1, -1)
	expect(t, f, 7)
	b.Publish([]call.Event{event("AC1", 8)}, 8)
	expect(t, f, 1, -1)
	expect(t, f, 7, 8)
}

func TestTheTailIsBounded(t *testing.T) {
	b := New()
	f := follow(t, b, "AC1")
	for pos := range int64(tailEvents + 10) {
		b.Publish([]call.Event{event("AC1", pos+1)}, pos+1)
	}
	expect(t, f, 9, -1)
	if events, _, _, ok := f.Next(10); !ok || len(events) != tailEvents || events[0].Pos != 11 {
		t.Errorf("%d events, %v", len(events), ok)
	}
	large := event("AC1", tailEvents+11)
	large.Snapshot = make([]byte, tailBytes-100)
	b.Publish([]call.Event{large}, large.Pos)
	if n := len(b.tails["AC1"].events); n > 51 {
		t.Errorf("%d events beside a large one", n)
	}
}

func TestFollowersAreBoundedAndLeave(t *testing.T) {
	b := New()
	var all []*Follower
	for range maxFollowers {
		all = append(all, follow(t, b, "AC1"))
	}
	if _, err := b.Follow("AC1"); !errors.Is(err, call.ErrFull) {
		t.Errorf("one more: %v", err)
	}
	follow(t, b, "AC2").Close()
	if !b.Watched() {
		t.Error("nobody watches")
	}
	for _, f := range all {
		f.Close()
		f.Close()
	}
	if b.Watched() || len(b.tails) > 0 {
		t.Errorf("%d tails are left", len(b.tails))
	}
}

func TestAnEventIsEncodedOnce(t *testing.T) {
	b := New()
	f, g := follow(t, b, "AC1"), follow(t, b, "AC1")
	e := event("AC1", 1)
	b.Publish([]call.Event{e}, 1)
	n := 0
	for _, f := range []*Follower{f, g} {
		events, _, _, _ := f.Next(0)
		if got := events[0].Form(func(e *call.Event) []byte { n++; return []byte(Subject(e)) }); string(got) != "offhook.events.AC1.TwilioCall.ringing" {
			t.Errorf("%s", got)
		}
	}
	if n != 1 {
		t.Errorf("encoded %d times", n)
	}
}
