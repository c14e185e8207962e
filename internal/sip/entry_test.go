package sip

import (
	"hash/maphash"
	"strconv"
	"sync/atomic"
	"testing"
	"time"
)

// An INVITE that there is no room for costs no transaction; copies of it hear the same, and live calls nothing.
func TestNoRoomForAnotherCall(t *testing.T) {
	var open atomic.Bool
	open.Store(true)
	b := start(t, func(c *Config) { c.Admit = open.Load })
	p := newPeer(t, b)
	live := p.script()
	leg := live.call(b)
	busy := b.Stats().Transactions

	open.Store(false)
	s := p.script()
	s.ask("INVITE", 1, "", "sdp")
	refusal := s.response("INVITE", 503)
	tag := tagOf(refusal.To().Params)
	after := refusal.GetHeader("Retry-After")
	if tag == "" || after == nil {
		t.Fatalf("without tag or Retry-After:\n%s", refusal)
	}
	if n, err := strconv.Atoi(after.Value()); err != nil || n < 1 {
		t.Errorf("Retry-After: %s", after.Value())
	}
	live.ask("INVITE", 2, "", "sdp") // of a live call
	live.response("INVITE", 200)
	live.ask("ACK", 2, "")

	open.Store(true)
	s.ask("INVITE", 1, s.branch, "sdp") // our answer was lost
	if again := tagOf(s.response("INVITE", 503).To().Params); again != tag {
		t.Errorf("tag %s, then %s", tag, again)
	}
	s.toTag = tag
	s.ask("ACK", 1, s.branch)
	s.silent(20 * time.Millisecond)
	if n := b.Stats().Transactions; n > busy+1 { // of the re-INVITE
		t.Errorf("%d transactions, %d before", n, busy)
	}

	open.Store(false)
	live.ask("BYE", 3, "")
	live.response("BYE", 200)
	if e := ended(t, leg); e.Cause.Local {
		t.Errorf("%+v", e)
	}

	open.Store(true)
	s.toTag = ""
	s.ask("INVITE", 2, "", "sdp") // he tries again
	if in := b.incoming(t); in.info.Taken.IsZero() {
		t.Error("nothing tells when the INVITE came")
	} else {
		in.leg.Reject(486, "Busy Here")
	}
	s.response("INVITE", 486)
}

// What is decided of an INVITE holds for as long as copies of it may come, and no longer.
func TestDecisionsAreForgotten(t *testing.T) {
	open := false
	en := entry{admit: func() bool { return open }, seed: maphash.MakeSeed()}
	now := time.Unix(1_000_000_000, 0)
	if en.decide(1, now) {
		t.Fatal("came in")
	}
	open = true
	for _, d := range []time.Duration{0, timer64T1 - 1} {
		if en.decide(1, now.Add(d)) {
			t.Errorf("a copy after %v came in", d)
		}
	}
	en.decide(2, now.Add(timer64T1))
	en.decide(3, now.Add(2*timer64T1))
	if !en.decide(1, now.Add(2*timer64T1)) {
		t.Error("refused for ever")
	}
	for n := range inviteName(3 * maxDecided) {
		en.decide(n, now.Add(2*timer64T1))
	}
	if n := len(en.young) + len(en.old); n > 2*maxDecided {
		t.Errorf("%d decisions are remembered", n)
	}
}
