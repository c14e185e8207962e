package bus

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/offhook/offhook/internal/call"
)

func TestAWatcherGetsWhatHappensToItsCall(t *testing.T) {
	b := New()
	b.Trace("CA1", Trace{Text: "before"})
	sub, lines := b.Subscribe("CA1")
	if len(lines) != 1 || lines[0].Text != "before" {
		t.Fatalf("lines so far: %v", lines)
	}
	b.Publish([]call.Event{{CallSID: "CA2", Name: "created"}, {CallSID: "CA1", Name: "ringing"}}, 2)
	b.Trace("CA1", Trace{Text: "say"})
	if m := <-sub.C; m.Event == nil || m.Event.Name != "ringing" {
		t.Fatalf("first message %+v, want the ringing event", m)
	}
	if m := <-sub.C; m.Event != nil || m.Trace.Text != "say" {
		t.Fatalf("second message %+v, want the trace line", m)
	}
	sub.Close()
	sub.Close()
	if _, open := <-sub.C; open {
		t.Error("the channel of a closed subscription still gives messages")
	}
	if len(b.subs) != 0 {
		t.Error("a closed subscription is still kept")
	}
}

func TestAWatcherThatFallsBehindIsCutOff(t *testing.T) {
	b := New()
	sub, _ := b.Subscribe("CA1")
	for range subscription + 1 {
		b.Publish([]call.Event{{CallSID: "CA1"}}, 1)
	}
	n := 0
	for range sub.C { // ends because the channel is closed
		n++
	}
	if n != subscription {
		t.Errorf("%d messages before the cut, want %d", n, subscription)
	}
}

func TestTracesAreBounded(t *testing.T) {
	b := New()
	for i := range tracedCalls + 10 {
		b.Trace(fmt.Sprint("CA", i), Trace{Time: time.Unix(int64(i), 0)})
	}
	for range traceLines + 10 {
		b.Trace("CA2009", Trace{})
	}
	if len(b.traces) != tracedCalls || len(b.order) != tracedCalls {
		t.Errorf("%d calls kept, %d in order, want %d", len(b.traces), len(b.order), tracedCalls)
	}
	if _, lines := b.Subscribe("CA0"); len(lines) != 0 {
		t.Error("the oldest call's lines are still there")
	}
	if _, lines := b.Subscribe("CA2009"); len(lines) != traceLines {
		t.Errorf("%d lines kept, want %d", len(lines), traceLines)
	}
}

// A line may quote what a customer sent; what is kept of it is bounded.
func TestTraceLinesAreCut(t *testing.T) {
	b := New()
	b.Trace("CA1", Trace{Text: strings.Repeat("é", 40_000)})
	s, lines := b.Subscribe("CA1")
	defer s.Close()
	if n := len(lines[0].Text); n > 1000 || !utf8.ValidString(lines[0].Text) {
		t.Errorf("a line of %d bytes, valid %v", n, utf8.ValidString(lines[0].Text))
	}
}
