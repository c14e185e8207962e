package sip

import (
	"reflect"
	"strings"
	"testing"

	"github.com/offhook/offhook/internal/call"
)

func TestReferToAndReplaces(t *testing.T) {
	both := &call.Replaces{CallID: "a@b", ToTag: "1", FromTag: "2"}
	for _, test := range []struct {
		in, to   string
		replaces *call.Replaces
		bad      bool
	}{
		{in: "<sip:c@h>", to: "sip:c@h"},
		{in: `"C" <SIP:c@h;transport=tcp>;x=y`, to: "sip:c@h;transport=tcp"},
		{in: "sip:c@h;p=q", to: "sip:c@h"},
		{in: "<sip:c@h?X-Id=7>", to: "sip:c@h?X-Id=7"},
		{in: "<sip:c@h?Replaces=a%40b%3Bto-tag%3D1%3Bfrom-tag%3D2>", to: "sip:c@h?Replaces=a%40b%3Bto-tag%3D1%3Bfrom-tag%3D2", replaces: both},
		{in: "<sip:c@h?X=1&replaces=a@b;from-tag=2;to-tag=1;early-only>", to: "sip:c@h?X=1&replaces=a@b;from-tag=2;to-tag=1;early-only",
			replaces: &call.Replaces{CallID: "a@b", ToTag: "1", FromTag: "2", EarlyOnly: true}},
		{in: "<sip:c@h;method=INVITE>", to: "sip:c@h;method=INVITE"},
		{in: "<sip:c@h;method=BYE>", bad: true},
		{in: "<sip:c@h?Replaces=a%3Bto-tag%3D1>", bad: true},
		{in: "<sip:c@h?Replaces=a%zz>", bad: true},
		{in: "<sip:c@h?Replaces=a;to-tag=1;to-tag=2;from-tag=3>", bad: true},
		{in: "<sip:c@h", bad: true},
		{in: "c", bad: true},
		{in: "", bad: true},
		{in: "<sip:" + strings.Repeat("x", maxRefer) + ">", bad: true},
	} {
		got, ok := parseReferTo(test.in)
		if ok == test.bad || ok && (got.To != test.to || !reflect.DeepEqual(got.Replaces, test.replaces)) {
			t.Errorf("%s: %v %+v %+v", test.in, ok, got, got.Replaces)
		}
	}
}

func FuzzReferTo(f *testing.F) {
	f.Add(`"C" <sip:c@h?Replaces=a%40b%3Bto-tag%3D1%3Bfrom-tag%3D2>;x`, "SIP/2.0 200 OK\r\n")
	f.Add("sip:c@h;method=INVITE", "sip/2.0 486 Busy\nx")
	f.Fuzz(func(t *testing.T, refer, frag string) {
		if ev, ok := parseReferTo(refer); ok && (hasControl(ev.To) || ev.Replaces != nil && (ev.Replaces.CallID == "" || ev.Replaces.ToTag == "" || ev.Replaces.FromTag == "")) {
			t.Errorf("%q: %+v %+v", refer, ev, ev.Replaces)
		}
		if r, ok := parseReplaces(refer); ok && (hasControl(r.CallID) || r.ToTag == "" || r.FromTag == "") {
			t.Errorf("%q: %+v", refer, r)
		}
		if code := parseSipfrag([]byte(frag)); code != 0 && (code < 100 || code > 699) {
			t.Errorf("%q: %d", frag, code)
		}
	})
}

func TestAPartyAsksForATransfer(t *testing.T) {
	s := start(t, nil)
	p := newPeer(t, s)
	c := p.script()
	leg := c.call(s)
	c.ask("REFER", 2, "", "Refer-To: <sip:c@127.0.0.1?Replaces=x%3Bto-tag%3D1%3Bfrom-tag%3D2>", "Referred-By: <sip:b@h>")
	ev := next[call.LegReferred](t, leg)
	if ev.To != "sip:c@127.0.0.1?Replaces=x%3Bto-tag%3D1%3Bfrom-tag%3D2" || ev.ReferredBy != "sip:b@h" || ev.Replaces == nil || ev.Replaces.CallID != "x" {
		t.Errorf("%+v", ev)
	}
	leg.ReferReply(ev.ID, 202)
	leg.ReferNotify(ev.ID, 200, "OK")
	c.response("REFER", 202)
	for _, want := range []struct{ body, state string }{
		{"SIP/2.0 100 Trying\r\n", "active;expires=60"}, {"SIP/2.0 200 OK\r\n", "terminated;reason=noresource"},
	} { // the second waits for the answer to the first
		n := p.request("NOTIFY")
		if string(n.Body()) != want.body || headerValue(n, "Event", "") != "refer;id=2" || headerValue(n, "Subscription-State", "") != want.state {
			t.Errorf("NOTIFY:\n%s", n)
		}
		p.answer(n, 200, "")
	}
	c.ask("REFER", 3, "", "Refer-To: <sip:c@127.0.0.1>", "Refer-Sub: false")
	ev = next[call.LegReferred](t, leg)
	leg.ReferReply(ev.ID, 202)
	if res := c.response("REFER", 202); headerValue(res, "Refer-Sub", "") != "false" {
		t.Errorf("answer:\n%s", res)
	}
	leg.ReferNotify(ev.ID, 200, "OK") // which it does not want
	c.ask("REFER", 4, "", "Refer-To: <sip:c@127.0.0.1>")
	ev = next[call.LegReferred](t, leg)
	leg.ReferReply(ev.ID, 603)
	c.response("REFER", 603)
	for i, headers := range [][]string{{}, {"Refer-To: <sip:a@h>", "Refer-To: <sip:b@h>"}, {"Refer-To: <sip:a@h;method=BYE>"}} {
		c.ask("REFER", 5+i, "", headers...)
		c.response("REFER", 400)
	}
	c.ask("REFER", 8, "", "Refer-To: <mailto:a@h>")
	c.response("REFER", 416)
	c.ask("NOTIFY", 9, "", "Event: refer", "Subscription-State: active")
	c.response("NOTIFY", 481)
	c.ask("NOTIFY", 10, "", "Event: presence", "Subscription-State: active")
	c.response("NOTIFY", 489)
}

func TestAPartyIsAskedForATransfer(t *testing.T) {
	s := start(t, nil)
	p := newPeer(t, s)
	c := p.script()
	leg := c.call(s)
	leg.Refer("sip:c@127.0.0.1?X-Id=7")
	req := p.request("REFER")
	if headerValue(req, "Refer-To", "r") != "<sip:c@127.0.0.1?X-Id=7>" || !strings.HasPrefix(headerValue(req, "Referred-By", "b"), "<sip:") {
		t.Errorf("REFER:\n%s", req)
	}
	p.answer(req, 202, "")
	if a := next[call.LegReferAnswered](t, leg); a.Code != 202 || a.Silent {
		t.Errorf("%+v", a)
	}
	for i, want := range []call.LegReferNotified{{Code: 180}, {Code: 486, Final: true}} {
		state := "active"
		if want.Final {
			state = "terminated;reason=noresource"
		}
		c.ask("NOTIFY", 2+i, "", "Event: refer", "Subscription-State: "+state, "Content-Type: message/sipfrag",
			map[int]string{180: "body:SIP/2.0 180 Ringing", 486: "body:SIP/2.0 486 Busy Here\r\n"}[want.Code])
		c.response("NOTIFY", 200)
		if n := next[call.LegReferNotified](t, leg); n != want {
			t.Errorf("%+v, want %+v", n, want)
		}
	}
	leg.Refer("sip:d@127.0.0.1")
	p.answer(p.request("REFER"), 405, "")
	if a := next[call.LegReferAnswered](t, leg); a.Code != 405 {
		t.Errorf("%+v", a)
	}
	leg.Refer("sip:d@127.0.0.1>\r\nX: y")
	if a := next[call.LegReferAnswered](t, leg); a.Code != 481 {
		t.Errorf("%+v", a)
	}
}

func TestInviteWithReplaces(t *testing.T) {
	s := start(t, nil)
	p := newPeer(t, s)
	p.script().ask("INVITE", 1, "", "Replaces: x;to-tag=1;from-tag=2;early-only", "Require: replaces", "sdp")
	in := s.incoming(t)
	if r := in.info.Replaces; r == nil || *r != (call.Replaces{CallID: "x", ToTag: "1", FromTag: "2", EarlyOnly: true}) {
		t.Errorf("%+v", r)
	}
	in.leg.Reject(481, "Call/Transaction Does Not Exist")
	p.response("INVITE", 481)
	q := newPeer(t, s)
	q.script().ask("INVITE", 1, "", "Replaces: x;to-tag=1;from-tag=2", "Replaces: y;to-tag=1;from-tag=2", "sdp")
	q.response("INVITE", 400)
}
