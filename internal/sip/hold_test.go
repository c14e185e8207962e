package sip

import (
	"testing"

	"github.com/offhook/offhook/internal/call"
)

// A phone that holds with sendonly promises music. One that sends none is found out, and so is one that begins.
func TestAHoldWithoutMusic(t *testing.T) {
	clk := newFakeClock()
	s := start(t, func(c *Config) { c.Clock = clk })
	sc := newPeer(t, s).script()
	l := sc.call(s)
	st := s.media.stream(t, 0)
	agree := func(hold, sends bool) {
		st.mu.Lock()
		st.hold, st.sends = hold, sends
		st.mu.Unlock()
		sc.ask("INVITE", sc.cseq, "", "sdp")
		sc.response("INVITE", 200)
		sc.ask("ACK", sc.cseq, "")
		sc.cseq++
	}
	heard := func(want call.LegHeld) {
		t.Helper()
		if got := next[call.LegHeld](t, l); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
	st.received.Store(500)
	agree(true, true)
	heard(call.LegHeld{On: true, Sends: true})
	st.received.Add(50)
	clk.exactly(t, holdSilence) // it sends
	clk.exactly(t, holdSilence) // and has stopped
	heard(call.LegHeld{On: true})
	agree(true, true) // a session that is refreshed is no news
	clk.exactly(t, holdSilence)
	st.received.Add(1)
	clk.exactly(t, holdSilence)
	heard(call.LegHeld{On: true, Sends: true})
	agree(true, false)
	heard(call.LegHeld{On: true})
	agree(false, true)
	heard(call.LegHeld{})
	st.received.Add(1)
	agree(true, true)
	heard(call.LegHeld{On: true, Sends: true})
	agree(false, true)
	heard(call.LegHeld{})
	l.Hangup()
}
