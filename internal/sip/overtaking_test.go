package sip

import (
	"testing"
	"time"
)

// sipgo treats every message in a goroutine of its own, and a network reorders: a CANCEL may be looked at
// before the INVITE it belongs to.
func TestCancelOvertakesItsInvite(t *testing.T) {
	b := start(t, nil)
	s := newPeer(t, b).script()
	branch := newBranch()
	s.ask("CANCEL", 1, branch)
	s.ask("INVITE", 1, branch, "sdp")
	s.cancelled(b)

	b, open := gated(t)
	s = newPeer(t, b).script()
	s.ask("INVITE", 1, branch, "sdp")
	s.ask("CANCEL", 1, branch) // the INVITE waits for its media
	s.silent(50 * time.Millisecond)
	open()
	s.cancelled(b)
}

// gated is a station whose media waits until open is called.
func gated(t *testing.T) (s *station, open func()) {
	gate := make(chan struct{})
	return start(t, func(c *Config) { c.Media.(*fakeMedia).gate = gate }), func() { close(gate) }
}

func (s *script) cancelled(b *station) {
	s.t.Helper()
	got := map[string]int{}
	for len(got) < 2 {
		m := s.read(patience)
		if m == nil {
			s.t.Fatalf("nothing more came after %v", got)
		}
		res := asResponse(s.t, m)
		if res.StatusCode >= 200 {
			got[string(res.CSeq().MethodName)] = res.StatusCode
		}
	}
	if got["CANCEL"] != 200 || got["INVITE"] != 487 {
		s.t.Errorf("responses are %v", got)
	}
	if e := ended(s.t, b.incoming(s.t).leg); !e.Canceled {
		s.t.Errorf("%+v", e)
	}
}

// Two copies of an INVITE over different paths come at the same moment, while no leg is registered yet.
func TestMergedRequestsAtOnce(t *testing.T) {
	b, open := gated(t)
	s := newPeer(t, b).script()
	s.ask("INVITE", 1, "", "sdp")
	s.ask("INVITE", 1, "", "sdp")
	s.response("INVITE", 482)
	open()
	b.incoming(t).leg.Reject(486, "Busy Here")
	s.response("INVITE", 486)
	b.media.mu.Lock()
	defer b.media.mu.Unlock()
	if n := len(b.media.streams); n != 1 {
		t.Errorf("%d streams were opened", n)
	}
}

// A refused caller tries again under the same Call-ID and tag; the end of the first attempt's record must
// not take the second one's along.
func TestSecondAttemptOutlivesTheFirst(t *testing.T) {
	clk := newFakeClock()
	b := start(t, func(c *Config) { c.Clock = clk })
	s := newPeer(t, b).script()
	s.ask("INVITE", 1, "", "sdp")
	b.incoming(t).leg.Reject(486, "Busy Here")
	s.response("INVITE", 486)
	s.ask("INVITE", 2, "", "sdp")
	in := b.incoming(t)
	clk.exactly(t, timer64T1)
	s.ask("CANCEL", 2, s.branch)
	s.response("CANCEL", 200)
	if e := ended(t, in.leg); !e.Canceled {
		t.Errorf("%+v", e)
	}
}
