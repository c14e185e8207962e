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

	b = start(t, nil)
	b.media.gate = make(chan struct{})
	s = newPeer(t, b).script()
	s.ask("INVITE", 1, branch, "sdp")
	s.ask("CANCEL", 1, branch) // the INVITE waits for its media
	s.silent(50 * time.Millisecond)
	close(b.media.gate)
	s.cancelled(b)
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
	b := start(t, nil)
	b.media.gate = make(chan struct{})
	s := newPeer(t, b).script()
	s.ask("INVITE", 1, "", "sdp")
	s.ask("INVITE", 1, "", "sdp")
	s.response("INVITE", 482)
	close(b.media.gate)
	b.incoming(t).leg.Reject(486, "Busy Here")
	s.response("INVITE", 486)
	if b.media.stream(t, 0); len(b.media.streams) != 1 {
		t.Errorf("%d streams were opened", len(b.media.streams))
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
