package sip

import (
	"testing"

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
