package sip

import (
	"fmt"
	"net"
	"testing"

	"github.com/offhook/offhook/internal/call"
)

func TestCallIsAnsweredAndHungUp(t *testing.T) {
	for _, transport := range []string{"udp", "tcp", "udp+tcp"} {
		for _, callerHangsUp := range []bool{true, false} {
			t.Run(transport+map[bool]string{true: " by caller", false: " by callee"}[callerHangsUp], func(t *testing.T) {
				a, b := start(t, nil), start(t, nil)
				out := dial(t, a, call.OutboundLeg{Target: b.uri("+15551234567"), Transport: transport, From: "+15557654321", FromName: `A "B" C`, Headers: map[string]string{"X-Test": "yes"}})
				in := b.incoming(t)
				if in.info.To != "+15551234567" || in.info.From != "+15557654321" || in.info.CallerName != `A "B" C` || in.info.Headers["X-Test"] != "yes" {
					t.Errorf("incoming call is %+v", in.info)
				}
				in.leg.Ring()
				if r := next[call.LegRinging](t, out); r.Code != 180 || r.EarlyMedia {
					t.Errorf("ringing is %+v", r)
				}
				if err := in.leg.Answer(); err != nil {
					t.Fatal(err)
				}
				next[call.LegAnswered](t, out)
				hanging, other := out, in.leg
				if !callerHangsUp {
					hanging, other = other, hanging
				}
				hanging.Hangup()
				if e := ended(t, other); e.Cause.SIPCode != 200 || e.Cause.Local || e.Canceled {
					t.Errorf("hung up: %+v", e)
				}
				if e := ended(t, hanging); e.Cause.SIPCode != 200 || !e.Cause.Local {
					t.Errorf("hanging up: %+v", e)
				}
				for i, m := range []*fakeMedia{a.media, b.media} {
					started, closed, answered, accepted := m.stream(t, 0).state()
					if !started || !closed || answered != i || accepted != 1-i {
						t.Errorf("stream %d: started %v closed %v answered %d accepted %d", i, started, closed, answered, accepted)
					}
				}
			})
		}
	}
}

func TestCallIsCanceled(t *testing.T) {
	a, b := start(t, nil), start(t, nil)
	out := dial(t, a, call.OutboundLeg{Target: b.uri("bob"), From: "+15557654321"})
	in := b.incoming(t)
	in.leg.Ring()
	next[call.LegRinging](t, out)
	out.Hangup()
	if e := ended(t, in.leg); !e.Canceled || e.Cause.SIPCode != 487 {
		t.Errorf("callee: %+v", e)
	}
	if e := ended(t, out); e.Cause.SIPCode != 487 || !e.Cause.Local || e.Canceled {
		t.Errorf("caller: %+v", e)
	}
	if err := in.leg.Answer(); err == nil {
		t.Error("a canceled call was answered")
	}
}

func TestCallIsRefused(t *testing.T) {
	for _, code := range []int{404, 480, 486, 503, 603} {
		a, b := start(t, nil), start(t, nil)
		out := dial(t, a, call.OutboundLeg{Target: b.uri("bob"), From: "alice"})
		b.incoming(t).leg.Reject(code, "No")
		if e := ended(t, out); e.Cause.SIPCode != code || e.Cause.Local {
			t.Errorf("%d: %+v", code, e)
		}
	}
}

func TestCallOverIPv6AndWildcards(t *testing.T) {
	if l, err := net.Listen("tcp", "[::1]:0"); err != nil {
		t.Skip("SKIPPED: this machine has no IPv6")
	} else {
		_ = l.Close()
	}
	on := func(addr string) *station { return start(t, func(c *Config) { c.Listen = []string{addr} }) }
	for _, c := range []struct{ listen, host string }{{"[::1]:0", "[::1]"}, {"[::]:0", "[::1]"}, {"[::]:0", "127.0.0.1"}, {"0.0.0.0:0", "127.0.0.1"}} {
		for _, transport := range []string{"udp", "tcp"} {
			a, b := on(c.listen), on(c.listen)
			out := dial(t, a, call.OutboundLeg{Target: fmt.Sprintf("sip:bob@%s:%d", c.host, b.Addr().Port()), Transport: transport})
			in := b.incoming(t)
			if err := in.leg.Answer(); err != nil {
				t.Fatal(err)
			}
			next[call.LegAnswered](t, out)
			in.leg.Hangup()
			ended(t, out)
			ended(t, in.leg)
		}
	}
}
