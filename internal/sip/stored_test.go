package sip

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/offhook/offhook/internal/call"
)

func TestCallsOfAnEarlierProcessAreEnded(t *testing.T) {
	// The first process dies with one call up and one ringing.
	first := start(t, nil)
	p := newPeer(t, first)
	up := dial(t, first, call.OutboundLeg{Target: p.uri()})
	p.answer(p.request("INVITE"), 200, "up", "sdp")
	p.request("ACK")
	next[call.LegAnswered](t, up)
	ringing := dial(t, first, call.OutboundLeg{Target: p.uri()})
	inv := p.request("INVITE")
	p.answer(inv, 180, "ring")
	next[call.LegRinging](t, ringing)
	stored := []*call.Dialog{up.Dialog(), ringing.Dialog()}
	up.drop()
	ringing.drop()
	ended(t, up)
	ended(t, ringing)

	second := start(t, func(c *Config) { c.Dev = false })
	p.to.Port = int(second.Addr().Port())
	done := make(chan error, 2)
	go func() { done <- second.EndStored(t.Context(), stored[0], true) }()
	bye := p.request("BYE")
	if tagOf(bye.To().Params) != "up" || bye.CSeq().SeqNo <= stored[0].CSeq {
		t.Errorf("BYE:\n%s", bye)
	}
	p.answer(bye, 200, "")
	if err := <-done; err != nil {
		t.Error(err)
	}
	go func() { done <- second.EndStored(t.Context(), stored[1], false) }()
	cancel := p.request("CANCEL")
	want, _ := inv.Via().Params.Get("branch")
	if got, _ := cancel.Via().Params.Get("branch"); got != want || cancel.CSeq().SeqNo != inv.CSeq().SeqNo || cancel.Recipient.String() != inv.Recipient.String() {
		t.Errorf("CANCEL:\n%s", cancel)
	}
	p.answer(cancel, 200, "ring")
	if err := <-done; err != nil {
		t.Error(err)
	}
	p.answer(inv, 487, "ring")
	p.request("ACK")
	p.answer(inv, 200, "ring", "sdp") // it was answered just before
	p.request("ACK")
	p.answer(p.request("BYE"), 200, "")
	if err := second.EndStored(t.Context(), &call.Dialog{UAS: true}, false); err != nil {
		t.Error(err)
	}
	if err := second.EndStored(t.Context(), &call.Dialog{Dest: "nowhere"}, true); err == nil {
		t.Error("a broken dialog was ended")
	}
}

// Who called and heard it ring gets a final response from the next process, in the transaction that he still has.
func TestACallerOfAnEarlierProcessIsRefused(t *testing.T) {
	for name, answered := range map[string]bool{"ringing": false, "with an answer that was stored and did not leave": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			first := start(t, nil)
			p := newPeer(t, first)
			s := p.script()
			s.ask("INVITE", 7, "", "sdp")
			in := first.incoming(t)
			in.leg.Ring()
			ringing := s.response("INVITE", 180)
			stored := in.leg.Dialog()
			in.leg.drop()
			ended(t, in.leg)

			second := start(t, func(c *Config) { c.Dev = false })
			p.to.Port = int(second.Addr().Port())
			done := make(chan error, 1)
			go func() { done <- second.EndStored(t.Context(), stored, answered) }()
			if answered {
				s.answer(s.request("BYE"), 481, "")
			}
			for range 3 {
				res := s.response("INVITE", 503)
				if res.Via().Value() != ringing.Via().Value() || res.CSeq().Value() != "7 INVITE" || tagOf(res.To().Params) != tagOf(ringing.To().Params) ||
					tagOf(res.From().Params) != tagOf(ringing.From().Params) || res.GetHeader("Retry-After") == nil {
					t.Errorf("%s\nbehind\n%s", res, ringing)
				}
			}
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAHeldACKLeavesWhenItIsAllowed(t *testing.T) {
	st := start(t, nil)
	p := newPeer(t, st)
	answered := func() (*Leg, *sip.Request) {
		l := dial(t, st, call.OutboundLeg{Target: p.uri(), HoldACK: true})
		inv := p.request("INVITE")
		p.answer(inv, 200, "up", "sdp")
		next[call.LegAnswered](t, l)
		p.answer(inv, 200, "up", "sdp") // as it does until it has its ACK
		p.silent(200 * time.Millisecond)
		return l, inv
	}
	l, inv := answered()
	l.Acknowledge()
	p.request("ACK")
	p.answer(inv, 200, "up", "sdp") // the ACK was lost
	p.request("ACK")
	l.Hangup()
	p.answer(p.request("BYE"), 200, "")
	ended(t, l)

	l, _ = answered()
	l.Hangup()
	p.request("ACK") // RFC 3261 section 15: a callee without an ACK need not take a BYE
	p.answer(p.request("BYE"), 200, "")
	ended(t, l)
}

// A call whose answer was never acknowledged is hung up when the callee repeats the answer, whatever
// became of our CANCEL.
func TestAnAnswerThatCrossedTheRestart(t *testing.T) {
	first := start(t, nil)
	p := newPeer(t, first)
	l := dial(t, first, call.OutboundLeg{Target: p.uri(), HoldACK: true})
	stored := l.Dialog()
	inv := p.request("INVITE")
	p.answer(inv, 200, "up", "sdp")
	next[call.LegAnswered](t, l)
	l.drop()
	ended(t, l)

	second := start(t, func(c *Config) { c.Dev = false })
	p.to.Port = int(second.Addr().Port())
	done := make(chan error, 1)
	go func() { done <- second.EndStored(t.Context(), stored, false) }()
	for range 1 + resends {
		p.answer(p.request("CANCEL"), 481, "")
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	p.answer(inv, 200, "up", "sdp")
	p.request("ACK")
	bye := p.request("BYE")
	if tagOf(bye.To().Params) != "up" {
		t.Errorf("BYE:\n%s", bye)
	}
	p.answer(bye, 200, "")
}

// A challenge is answered without a trip to the store: the CANCEL after a restart finds the INVITE all the same.
func TestACallThatWasChallengedIsCanceledAfterARestart(t *testing.T) {
	first := start(t, nil)
	p := newPeer(t, first)
	l := dial(t, first, call.OutboundLeg{Target: p.uri(), Username: "u", Password: "p"})
	stored := l.Dialog()
	p.answer(p.request("INVITE"), 407, "x", `Proxy-Authenticate: Digest realm="r", nonce="n", algorithm=MD5, qop="auth"`)
	p.request("ACK")
	inv := p.request("INVITE")
	p.answer(inv, 180, "ring")
	next[call.LegRinging](t, l)
	l.drop()
	ended(t, l)

	second := start(t, func(c *Config) { c.Dev = false })
	p.to.Port = int(second.Addr().Port())
	done := make(chan error, 1)
	go func() { done <- second.EndStored(t.Context(), stored, false) }()
	p.answer(p.request("CANCEL"), 481, "")
	cancel := p.request("CANCEL")
	want, _ := inv.Via().Params.Get("branch")
	if got, _ := cancel.Via().Params.Get("branch"); got != want || cancel.CSeq().SeqNo != inv.CSeq().SeqNo {
		t.Errorf("CANCEL:\n%s\nof\n%s", cancel, inv)
	}
	p.answer(cancel, 200, "ring")
	if err := <-done; err != nil {
		t.Error(err)
	}
	p.answer(inv, 487, "ring")
	ack := p.request("ACK")
	if got, _ := ack.Via().Params.Get("branch"); got != want || ack.CSeq().SeqNo != inv.CSeq().SeqNo {
		t.Errorf("ACK:\n%s", ack)
	}
}

// The BYE of a stored dialog answers the challenge of the trunk that was called, and of nobody else.
func TestAStoredDialogsBYEIsChallenged(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "192.0.2.1"} {
		b := start(t, func(c *Config) {
			trunks := []call.Trunk{{SID: "TK1", Host: host, Username: "us", Password: "secret"}}
			c.Trunks = func() []call.Trunk { return trunks }
		})
		p := newPeer(t, b)
		s := &call.Dialog{
			CallID: newCallID(), LocalTag: "l", RemoteTag: "r", LocalURI: "sip:us@h", RemoteURI: p.uri(), Target: p.uri(),
			CSeq: 1, Transport: "UDP", Dest: p.addr(),
		}
		done := make(chan error, 1)
		go func() { done <- b.EndStored(t.Context(), s, true) }()
		first := p.request("BYE")
		p.answer(first, 401, "", `WWW-Authenticate: Digest realm="r", nonce="n", algorithm=MD5`)
		if host == "127.0.0.1" {
			second := p.request("BYE")
			if second.GetHeader("Authorization") == nil || second.CSeq().SeqNo <= first.CSeq().SeqNo {
				t.Errorf("without an answer:\n%s", second)
			}
			p.answer(second, 200, "")
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		p.silent(20 * time.Millisecond)
	}
}

func TestCausesInFewWords(t *testing.T) {
	for want, err := range map[string]error{
		"connection refused": fmt.Errorf("a: %w", &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}),
		"timed out":          fmt.Errorf("a: %w", context.DeadlineExceeded),
		"connection lost":    fmt.Errorf("conn 10.0.0.1:5060: %w", sip.ErrTransactionTransport),
		"request not sent":   errors.New("udp conn 10.0.0.1:5060 err. something"),
	} {
		if got := failureCause(err); got.SIPCode != 503 || got.Reason != "transport error: "+want {
			t.Errorf("%v: %+v, want %s", err, got, want)
		}
	}
}
