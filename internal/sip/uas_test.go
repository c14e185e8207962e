package sip

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/call"
)

func TestCancelBeforeAndAfterTheAnswer(t *testing.T) {
	b := start(t, nil)
	s := newPeer(t, b).script()
	s.ask("INVITE", 1, "", "sdp")
	in := b.incoming(t)
	in.leg.Ring()
	ringing := s.response("INVITE", 180)
	s.ask("CANCEL", 1, s.branch, "Reason: Q.850;cause=16")
	ok, gone := s.response("CANCEL", 200), s.response("INVITE", 487)
	if tag := tagOf(ringing.To().Params); tag == "" || tagOf(ok.To().Params) != tag || tagOf(gone.To().Params) != tag {
		t.Errorf("tags differ:\n%s\n%s\n%s", ringing, ok, gone)
	}
	s.toTag = tagOf(gone.To().Params)
	s.ask("ACK", 1, s.branch)
	if e := ended(t, in.leg); !e.Canceled || e.Cause.Q850 != 16 {
		t.Errorf("%+v", e)
	}

	s = newPeer(t, b).script()
	s.ask("INVITE", 1, "", "sdp")
	in = b.incoming(t)
	if err := in.leg.Answer(); err != nil {
		t.Fatal(err)
	}
	answered := s.response("INVITE", 200)
	s.ask("CANCEL", 1, s.branch) // our 2xx is out: it wins
	s.response("CANCEL", 200)
	s.toTag = tagOf(answered.To().Params)
	s.ask("ACK", 1, "")
	s.ask("BYE", 2, "")
	s.response("BYE", 200)
	if e := ended(t, in.leg); e.Canceled || e.Cause.SIPCode != 200 {
		t.Errorf("%+v", e)
	}
}

func TestAnswerIsRepeatedUntilTheACK(t *testing.T) {
	clk := newFakeClock()
	b := start(t, func(c *Config) { c.Clock = clk })
	s := newPeer(t, b).script()
	s.ask("INVITE", 1, "", "sdp")
	in := b.incoming(t)
	if err := in.leg.Answer(); err != nil {
		t.Fatal(err)
	}
	s.response("INVITE", 200)
	for _, d := range []time.Duration{t1, 2 * t1, 4 * t1, t2, t2} {
		clk.due(t, d)
		s.toTag = tagOf(s.response("INVITE", 200).To().Params)
	}
	in.leg.Hangup() // waits for the ACK
	s.silent(50 * time.Millisecond)
	s.ask("ACK", 1, "")
	bye := s.request("BYE")
	s.answer(bye, 200, "")
	if e := ended(t, in.leg); e.Cause.SIPCode != 200 || !e.Cause.Local {
		t.Errorf("%+v", e)
	}
}

func TestCallWithoutACKIsHungUp(t *testing.T) {
	clk := newFakeClock()
	b := start(t, func(c *Config) { c.Clock = clk })
	s := newPeer(t, b).script()
	s.ask("INVITE", 1, "", "sdp")
	in := b.incoming(t)
	if err := in.leg.Answer(); err != nil {
		t.Fatal(err)
	}
	s.response("INVITE", 200)
	for range 9 { // 0.5 1.5 3.5 7.5 11.5 … 27.5 s
		clk.due(t, t2)
		s.response("INVITE", 200)
	}
	clk.due(t, t2)
	s.answer(s.request("BYE"), 200, "")
	if e := ended(t, in.leg); e.Cause.SIPCode != 408 || !e.Cause.Local {
		t.Errorf("%+v", e)
	}
}

func TestByeBeforeACK(t *testing.T) {
	b := start(t, nil)
	s := newPeer(t, b).script()
	s.ask("INVITE", 1, "", "sdp")
	in := b.incoming(t)
	if err := in.leg.Answer(); err != nil {
		t.Fatal(err)
	}
	s.toTag = tagOf(s.response("INVITE", 200).To().Params)
	s.ask("BYE", 2, "")
	s.response("BYE", 200)
	s.ask("ACK", 1, "")
	if e := ended(t, in.leg); e.Cause.SIPCode != 200 || e.Cause.Local {
		t.Errorf("%+v", e)
	}
	s.ask("BYE", 3, "") // once more, another transaction
	s.response("BYE", 200)
}

func TestLateOffer(t *testing.T) {
	b := start(t, nil)
	s := newPeer(t, b).script()
	s.ask("INVITE", 1, "")
	in := b.incoming(t)
	if err := in.leg.Answer(); err != nil {
		t.Fatal(err)
	}
	res := s.response("INVITE", 200)
	if len(res.Body()) == 0 {
		t.Fatal("no offer in the 200")
	}
	if started, _, _, _ := b.media.stream(t, 0).state(); started {
		t.Error("media started before the answer")
	}
	s.toTag = tagOf(res.To().Params)
	s.ask("ACK", 1, "", "sdp")
	s.ask("OPTIONS", 2, "")
	s.response("OPTIONS", 200) // the mailbox is behind the ACK now
	if started, _, _, accepted := b.media.stream(t, 0).state(); !started || accepted != 1 {
		t.Errorf("started %v accepted %d", started, accepted)
	}
	s.ask("BYE", 3, "")
	s.response("BYE", 200)
	ended(t, in.leg)
}

func TestLateOfferWithoutAnswerIsHungUp(t *testing.T) {
	b := start(t, nil)
	s := newPeer(t, b).script()
	s.ask("INVITE", 1, "")
	in := b.incoming(t)
	if err := in.leg.Answer(); err != nil {
		t.Fatal(err)
	}
	s.toTag = tagOf(s.response("INVITE", 200).To().Params)
	s.ask("ACK", 1, "")
	s.answer(s.request("BYE"), 200, "")
	if e := ended(t, in.leg); e.Cause.SIPCode != 488 {
		t.Errorf("%+v", e)
	}
}

func TestReliableRinging(t *testing.T) {
	for _, late := range []bool{false, true} {
		clk := newFakeClock()
		b := start(t, func(c *Config) { c.Clock = clk })
		s := newPeer(t, b).script()
		offer, answer := "sdp", "X-Nothing: 1"
		if late {
			offer, answer = answer, offer
		}
		s.ask("INVITE", 1, "", "Require: 100rel", offer)
		in := b.incoming(t)
		in.leg.Ring()
		res := s.response("INVITE", 180)
		if headerValue(res, "Require", "") != "100rel" || (len(res.Body()) > 0) != late {
			t.Errorf("180:\n%s", res)
		}
		clk.due(t, t1)
		res = s.response("INVITE", 180) // again
		if late {
			if err := in.leg.Answer(); err != nil {
				t.Fatal(err)
			}
			s.silent(50 * time.Millisecond) // not before the PRACK
		}
		s.toTag = tagOf(res.To().Params)
		s.ask("PRACK", 2, "", "RAck: 1 1 INVITE")
		s.response("PRACK", 481)
		s.ask("PRACK", 3, "", "RAck: "+headerValue(res, "RSeq", "")+" 1 INVITE", answer)
		s.response("PRACK", 200)
		if !late {
			if err := in.leg.Answer(); err != nil {
				t.Fatal(err)
			}
		}
		if res = s.response("INVITE", 200); (len(res.Body()) > 0) == late {
			t.Errorf("200:\n%s", res)
		}
		s.ask("ACK", 1, "")
		s.ask("BYE", 4, "")
		s.response("BYE", 200)
		ended(t, in.leg)
		if started, _, answered, accepted := b.media.stream(t, 0).state(); !started || answered+accepted != 1 {
			t.Errorf("started %v answered %d accepted %d", started, answered, accepted)
		}
	}
}

func TestRequestsInsideADialog(t *testing.T) {
	b := start(t, nil)
	s := newPeer(t, b).script()
	leg := s.call(b)
	s.ask("INVITE", 2, "", "sdp") // hold, say
	if res := s.response("INVITE", 200); len(res.Body()) == 0 || res.Contact() == nil {
		t.Errorf("re-INVITE:\n%s", res)
	}
	s.ask("ACK", 2, "")
	s.ask("INVITE", 3, "") // without an offer
	if res := s.response("INVITE", 200); len(res.Body()) == 0 {
		t.Errorf("re-INVITE:\n%s", res)
	}
	s.ask("UPDATE", 4, "", "sdp")
	s.response("UPDATE", 491) // our offer is open
	s.ask("ACK", 3, "", "sdp")
	s.ask("UPDATE", 5, "", "sdp")
	if res := s.response("UPDATE", 200); len(res.Body()) == 0 {
		t.Errorf("UPDATE:\n%s", res)
	}
	s.ask("INFO", 6, "", "Content-Type: application/dtmf-relay", "body:Signal=5\r\nDuration=160\r\n")
	s.response("INFO", 200)
	if d := next[call.LegDigit](t, leg); d.Key != '5' {
		t.Errorf("%+v", d)
	}
	s.ask("OPTIONS", 7, "")
	if res := s.response("OPTIONS", 200); !strings.Contains(headerValue(res, "Allow", ""), "INVITE") {
		t.Errorf("OPTIONS:\n%s", res)
	}
	s.ask("PUBLISH", 8, "")
	if res := s.response("PUBLISH", 405); headerValue(res, "Allow", "") == "" {
		t.Error("405 without Allow")
	}
	s.ask("INFO", 3, "") // out of order
	s.response("INFO", 500)
	s.ask("UPDATE", 9, "", "Require: magic")
	if res := s.response("UPDATE", 420); headerValue(res, "Unsupported", "") != "magic" {
		t.Errorf("420:\n%s", res)
	}
	b.media.stream(t, 0).mu.Lock()
	b.media.stream0().refuse = fmt.Errorf("no codec")
	b.media.stream0().mu.Unlock()
	s.ask("INVITE", 10, "", "sdp")
	s.response("INVITE", 488) // the call goes on
	s.ask("ACK", 10, s.branch)
	q := newPeer(t, b)
	s.ask("OPTIONS", 11, "")
	s.response("OPTIONS", 200)
	s.ask("UPDATE", 12, "", "Contact: <"+q.uri()+">") // target refresh
	s.response("UPDATE", 200)
	leg.Hangup()
	q.answer(q.request("BYE"), 200, "")
	ended(t, leg)
}

func (m *fakeMedia) stream0() *fakeStream { return m.streams[0] }

func TestRequestsOutsideOfADialog(t *testing.T) {
	b := start(t, nil)
	for _, c := range []struct {
		method string
		toTag  string
		code   int
		extra  []string
	}{
		{"OPTIONS", "", 200, nil},
		{"OPTIONS", "nobody", 481, nil},
		{"BYE", "", 481, nil},
		{"BYE", "nobody", 481, nil},
		{"INVITE", "nobody", 481, []string{"sdp"}},
		{"UPDATE", "nobody", 481, nil},
		{"CANCEL", "", 481, nil},
		{"REGISTER", "", 405, nil},
		{"SUBSCRIBE", "", 405, nil},
		{"FOO", "", 405, nil},
		{"INVITE", "", 415, []string{"Content-Type: text/plain", "body:hello"}},
		{"INVITE", "", 415, []string{"Content-Encoding: gzip", "sdp"}},
		{"INVITE", "", 420, []string{"Require: magic, 100rel", "sdp"}},
		{"INVITE", "", 422, []string{"Session-Expires: 60", "Supported: timer", "sdp"}},
	} {
		s := newPeer(t, b).script()
		s.toTag = c.toTag
		s.ask(c.method, 1, "", c.extra...)
		s.response(c.method, c.code)
	}
}

func TestMergedRequest(t *testing.T) {
	b := start(t, nil)
	s := newPeer(t, b).script()
	s.ask("INVITE", 1, "", "sdp")
	in := b.incoming(t)
	s.ask("INVITE", 1, "", "sdp") // by another path
	s.response("INVITE", 482)
	in.leg.Reject(486, "Busy Here")
	s.response("INVITE", 486)
	ended(t, in.leg)
}

func TestUnacceptableOffer(t *testing.T) {
	b := start(t, func(c *Config) { c.Media = refusingMedia{} })
	s := newPeer(t, b).script()
	s.ask("INVITE", 1, "", "sdp")
	s.response("INVITE", 488)
	if n := b.Legs(); n != 0 {
		t.Errorf("%d legs", n)
	}
}

type refusingMedia struct{}

func (refusingMedia) Open(netip.Addr, MediaSink) (MediaStream, error) {
	return &fakeStream{refuse: fmt.Errorf("no codec")}, nil
}

func TestTooManyLegs(t *testing.T) {
	b := start(t, func(c *Config) { c.MaxLegs = 1 })
	first := newPeer(t, b).script().call(b)
	s := newPeer(t, b).script()
	s.ask("INVITE", 1, "", "sdp")
	if res := s.response("INVITE", 503); headerValue(res, "Retry-After", "") == "" {
		t.Error("503 without Retry-After")
	}
	if _, err := b.NewLeg(call.OutboundLeg{Target: "sip:x@127.0.0.1:9"}); err == nil {
		t.Error("an outbound leg over the limit")
	}
	first.drop()
	ended(t, first)
}

func TestPanicEndsOneLegOnly(t *testing.T) {
	b := start(t, nil)
	s, other := newPeer(t, b).script(), newPeer(t, b).script()
	leg, alive := s.call(b), other.call(b)
	leg.mail.post(func() { panic("a bug") }, 0)
	s.answer(s.request("BYE"), 200, "")
	if e := ended(t, leg); e.Cause.SIPCode != 500 {
		t.Errorf("%+v", e)
	}
	other.ask("OPTIONS", 2, "")
	other.response("OPTIONS", 200)
	other.ask("BYE", 3, "")
	other.response("BYE", 200)
	ended(t, alive)
}

func TestMediaEvents(t *testing.T) {
	b := start(t, nil)
	s := newPeer(t, b).script()
	leg := s.call(b)
	sink := b.media.stream(t, 0).sink
	for range 2 * maxEvents { // nobody listens: digits are dropped
		sink.Digit('1')
	}
	sink.Timeout()
	s.answer(s.request("BYE"), 200, "")
	for ev := range leg.Events() {
		if e, ok := ev.(call.LegEnded); ok && e.Cause.Code != 32014 {
			t.Errorf("%+v", e)
		}
	}
}

// A phone may send each key both ways, in either order, and INFO alone though telephone-event was agreed on.
func TestAKeyThatComesBothWaysCountsOnce(t *testing.T) {
	b := start(t, nil)
	s := newPeer(t, b).script()
	leg := s.call(b)
	cseq := 1
	for _, k := range strings.Fields("r1 i1 i2 r2 r3 r3 i3 i3 i4 r5 i6 i6 r6") { // r by RTP, i by INFO
		if k[0] == 'r' {
			b.media.stream(t, 0).sink.Digit(k[1])
			continue
		}
		cseq++
		s.ask("INFO", cseq, "", "Content-Type: application/dtmf-relay", "body:Signal="+k[1:]+"\r\nDuration=160\r\n")
		s.response("INFO", 200)
	}
	s.ask("BYE", cseq+1, "")
	s.response("BYE", 200)
	keys := ""
	for e := range leg.Events() {
		if d, ok := e.(call.LegDigit); ok {
			keys += string(d.Key)
		}
	}
	if want := "12334566"; keys != want {
		t.Errorf("keys %s, want %s", keys, want)
	}
}
