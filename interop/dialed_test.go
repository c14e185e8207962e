package interop

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/offhook/offhook/offhooktest"
)

// sip is the noun that calls a user of h, with every status callback to /child; attributes come before them.
func (h *home) sip(user string, attributes ...string) string {
	return noun("Sip", "sip:"+user+"@"+h.name, attributes...)
}

func noun(name, text string, attributes ...string) string {
	tag := name
	for _, a := range attributes {
		tag += " " + a
	}
	return "<" + tag + ` statusCallback="/child" statusCallbackEvent="initiated ringing answered completed">` + text + "</" + name + ">"
}

// gotChild checks the call that a <Dial> of parent made to somebody: that its callbacks came with these statuses,
// numbered from 0, and what the API says of it. It returns the resource.
func gotChild(t *testing.T, srv *offhooktest.Server, app *offhooktest.App, parent, to string, statuses ...string) map[string]any {
	t.Helper()
	var last offhooktest.Request
	for i, status := range statuses {
		r := app.Got("/child", "ParentCallSid", parent, "To", to, "SequenceNumber", strconv.Itoa(i))
		if got := r.Params; got.Get("CallStatus") != status || got.Get("Direction") != "outbound-dial" {
			t.Errorf("callback %d of the call to %s, want %s: %v", i, to, status, got)
		}
		if i > 0 && (r.Params.Get("CallSid") != last.Params.Get("CallSid") || r.Time.Before(last.Time)) {
			t.Errorf("callback %d of the call to %s: %v after %v", i, to, r.Params, last.Params)
		}
		last = r
	}
	c := fetch(t, srv, last.Params.Get("CallSid"))
	status := statuses[len(statuses)-1]
	if c["status"] != status || c["parent_call_sid"] != parent || c["direction"] != "outbound-dial" || c["to"] != to {
		t.Errorf("call to %s: %v", to, c)
	}
	code := map[string]string{"completed": "200", "busy": "486", "canceled": "487", "no-answer": "487"}[status]
	if got := last.Params; got.Get("SipResponseCode") != code || got.Get("CallDuration") != c["duration"] {
		t.Errorf("final callback of the call to %s, which lasted %v s: %v", to, c["duration"], got)
	}
	if status != "completed" && c["duration"] != "0" {
		t.Errorf("duration %v of a call that is %s", c["duration"], status)
	}
	return c
}

// gotAction checks what the action of a <Dial> of parent is told: of the call that it names, and whether the two
// parties talked.
func gotAction(t *testing.T, app *offhooktest.App, path, parent string, child map[string]any, bridged bool) {
	t.Helper()
	gotActionBefore(t, app, path, parent, child, bridged, 0)
}

// gotActionBefore is for a <Dial> that may have been over so many seconds before the call that it made.
func gotActionBefore(t *testing.T, app *offhooktest.App, path, parent string, child map[string]any, bridged bool, before int) {
	t.Helper()
	sid, status := child["sid"].(string), child["status"].(string)
	got := app.Got(path, "CallSid", parent, "DialCallSid", sid).Params
	if got.Get("DialCallStatus") != status || got.Get("DialBridged") != strconv.FormatBool(bridged) {
		t.Errorf("%s: %v, want %s and bridged %v", path, got, status, bridged)
	}
	if status != "completed" {
		if got.Has("DialCallDuration") {
			t.Errorf("%s: duration of a call that was not answered: %v", path, got)
		}
		return
	}
	most := seconds(t, child["duration"])
	if d, err := strconv.Atoi(got.Get("DialCallDuration")); err != nil || d > most || d < most-before {
		t.Errorf("%s: DialCallDuration %q of a call of %d s", path, got.Get("DialCallDuration"), most)
	}
}

// transferTime is how many seconds a phone may take to hang up after its transfer, and one for counting whole ones.
const transferTime = 3

// gotParent checks the call of a phone that has ended.
func gotParent(t *testing.T, srv *offhooktest.Server, app *offhooktest.App, sid string) {
	t.Helper()
	app.Got("/domain-status", "CallSid", sid, "CallStatus", "completed", "SequenceNumber", "0")
	if c := fetch(t, srv, sid); c["status"] != "completed" || c["direction"] != "inbound" || c["parent_call_sid"] != nil {
		t.Errorf("call: %v", c)
	}
}

// all are the callbacks of a call that was answered.
var all = []string{"initiated", "ringing", "in-progress", "completed"}

func TestBaresipIsToldWhoCalls(t *testing.T) {
	t.Parallel()
	for name, number := range map[string]string{"Sip": "", "Number": "+15551230000"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := offhooktest.Start(t)
			app := srv.App(t)
			h := domain(t, srv, app, "shop.example", "ann", "bob")
			ann := h.baresip("ann", "udp")
			var bob *baresip
			party, to := h.sip("bob", `url="/whisper"`), "sip:bob@shop.example"
			if number == "" {
				bob = h.baresip("bob", "udp", "answermode=manual")
			} else {
				port := freePort(t)
				bob = softphone(t, port, "This is bob", fmt.Sprintf("<sip:%s@127.0.0.1:%d>;regint=0", number, port))
				trunk(t, srv, map[string]any{"name": "carrier", "host": fmt.Sprintf("127.0.0.1:%d", port), "prefixes": []string{"+"}})
				srv.Number(t, own, app.URL("/voice"))
				party, to = noun("Number", number, `url="/whisper"`), number
			}
			app.On("/voice", `<Response><Dial callerId="`+own+`" action="/after">`+party+`</Dial></Response>`)
			app.On("/whisper", `<Response><Say>From the shop</Say><Pause length="1"/></Response>`)
			app.On("/after", `<Response/>`)
			ann.do("dial", "sip:support@shop.example")
			parent := app.Got("/voice", "From", "sip:ann@shop.example").Params.Get("CallSid")
			bob.reports("CALL_INCOMING")
			bob.do("accept", "")
			whispered := app.Got("/whisper", "ParentCallSid", parent, "To", to, "Direction", "outbound-dial", "CallStatus", "in-progress")
			bob.hears("This is ann")
			ann.hears("This is bob")
			if !bob.heardBefore("From the shop", "This is ann") {
				t.Error("bob heard no whisper before ann")
			}
			if ann.heard("From the shop") || !ann.rang() {
				t.Error("ann heard the whisper, or no ringing")
			}
			bob.do("hangup", "")
			child := gotChild(t, srv, app, parent, to, all...)
			gotAction(t, app, "/after", parent, child, true)
			if child["sid"] != whispered.Params.Get("CallSid") {
				t.Errorf("the whisper was of %v, not of %v", whispered.Params, child)
			}
			ann.reports("CALL_CLOSED")
			gotParent(t, srv, app, parent)
		})
	}
}

// Bob is asked whether he takes the call: by a key he does; by another one, or when he hangs up, Cat is called.
func TestBaresipIsScreened(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]func(*baresip){
		"accepts":  func(bob *baresip) { bob.press("1") },
		"refuses":  func(bob *baresip) { bob.press("2") },
		"hangs up": func(bob *baresip) { bob.do("hangup", "") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := offhooktest.Start(t)
			app := srv.App(t)
			h := domain(t, srv, app, "shop.example", "ann", "bob", "cat")
			app.On("/voice", `<Response><Dial action="/after">`+h.sip("bob", `url="/screen"`)+`</Dial></Response>`)
			app.On("/screen", `<Response><Gather numDigits="1" action="/pressed" timeout="60"><Say>Press one</Say></Gather><Hangup/></Response>`)
			app.OnFunc("/pressed", twiml(func(digits string) string {
				if digits == "1" {
					return `<Response/>`
				}
				return `<Response><Hangup/></Response>`
			}))
			app.On("/after", `<Response><Dial action="/last">`+h.sip("cat")+`</Dial></Response>`)
			app.On("/last", `<Response/>`)
			ann, bob, cat := h.baresip("ann", "udp"), h.baresip("bob", "udp", "answermode=manual"), h.baresip("cat", "udp", "answermode=manual")
			ann.do("dial", "sip:support@shop.example")
			parent := app.Got("/voice").Params.Get("CallSid")
			bob.reports("CALL_INCOMING")
			bob.do("accept", "")
			app.Got("/screen", "ParentCallSid", parent, "To", "sip:bob@shop.example", "CallStatus", "in-progress")
			bob.hears("Press one")
			answer(bob)
			if name == "accepts" {
				app.Got("/pressed", "ParentCallSid", parent, "Digits", "1", "CallStatus", "in-progress")
				bob.hears("This is ann")
				ann.hears("This is bob")
				app.On("/after", `<Response/>`)
				bob.do("hangup", "")
			} else {
				if name == "refuses" {
					app.Got("/pressed", "ParentCallSid", parent, "Digits", "2", "CallStatus", "in-progress")
				}
				bob.reports("CALL_CLOSED")
				cat.reports("CALL_INCOMING")
				cat.do("accept", "")
				ann.hears("This is cat")
				cat.hears("This is ann")
				if ann.heard("This is bob") || bob.heard("This is ann") {
					t.Error("ann and bob heard each other")
				}
				cat.do("hangup", "")
				gotAction(t, app, "/last", parent, gotChild(t, srv, app, parent, "sip:cat@shop.example", all...), true)
			}
			gotAction(t, app, "/after", parent, gotChild(t, srv, app, parent, "sip:bob@shop.example", all...), name == "accepts")
			ann.reports("CALL_CLOSED")
			gotParent(t, srv, app, parent)
		})
	}
}

// Bob and Cat ring at once; Cat is first.
func TestBaresipPhonesRingAtOnce(t *testing.T) {
	t.Parallel()
	srv := offhooktest.Start(t)
	app := srv.App(t)
	h := domain(t, srv, app, "shop.example", "ann", "bob", "cat")
	app.On("/voice", `<Response><Dial action="/after">`+h.sip("bob")+h.sip("cat")+`</Dial></Response>`)
	app.On("/after", `<Response/>`)
	ann, bob, cat := h.baresip("ann", "udp"), h.baresip("bob", "udp", "answermode=manual"), h.baresip("cat", "tcp", "answermode=manual")
	ann.do("dial", "sip:support@shop.example")
	parent := app.Got("/voice").Params.Get("CallSid")
	bob.reports("CALL_INCOMING")
	cat.reports("CALL_INCOMING")
	cat.do("accept", "")
	bob.says("CANCEL sip:")
	bob.reports("CALL_CLOSED")
	ann.hears("This is cat")
	cat.hears("This is ann")
	gotChild(t, srv, app, parent, "sip:bob@shop.example", "initiated", "ringing", "canceled")
	cat.do("hangup", "")
	gotAction(t, app, "/after", parent, gotChild(t, srv, app, parent, "sip:cat@shop.example", all...), true)
	ann.reports("CALL_CLOSED")
	gotParent(t, srv, app, parent)
}

// Bob and Cat answer by themselves, at once. Ann talks with one of them; the other is canceled, or was answered too
// late to be and is hung up on.
func TestBaresipPhonesAnswerAtOnce(t *testing.T) {
	t.Parallel()
	srv := offhooktest.Start(t)
	app := srv.App(t)
	h := domain(t, srv, app, "shop.example", "ann", "bob", "cat")
	app.On("/voice", `<Response><Dial action="/after">`+h.sip("bob")+h.sip("cat")+`</Dial></Response>`)
	app.On("/after", `<Response/>`)
	ann := h.baresip("ann", "udp")
	phones := map[string]*baresip{"bob": h.baresip("bob", "udp", "answermode=auto"), "cat": h.baresip("cat", "udp", "answermode=auto")}
	ann.do("dial", "sip:support@shop.example")
	parent := app.Got("/voice").Params.Get("CallSid")
	var first, second string
	ann.waitFor("ann hears one of them", func() bool {
		for first, second = range map[string]string{"bob": "cat", "cat": "bob"} {
			if ann.heard("This is " + first) {
				return true
			}
		}
		return false
	})
	phones[first].hears("This is ann")
	phones[second].reports("CALL_CLOSED")
	phones[first].do("hangup", "")
	gotAction(t, app, "/after", parent, gotChild(t, srv, app, parent, "sip:"+first+"@shop.example", all...), true)
	ann.reports("CALL_CLOSED")
	if ann.heard("This is "+second) || phones[second].heard("This is ann") {
		t.Errorf("%s was connected, too", second)
	}
	poll(t, "the call of "+second+" is over", nil, func() bool {
		for _, c := range calls(srv) {
			if c["to"] == "sip:"+second+"@shop.example" {
				return c["status"] == "canceled" || c["status"] == "completed"
			}
		}
		return false
	})
	gotParent(t, srv, app, parent)
}

// Bob is busy, with another call or since he says so; the action calls Cat.
func TestBaresipIsBusyAndTheNextIsCalled(t *testing.T) {
	t.Parallel()
	for name, talks := range map[string]bool{"in another call": true, "by a button": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := offhooktest.Start(t)
			app := srv.App(t)
			h := domain(t, srv, app, "shop.example", "ann", "bob", "cat")
			app.On("/voice", `<Response><Dial action="/after">`+h.sip("bob")+`</Dial></Response>`)
			app.On("/after", `<Response><Dial action="/last">`+h.sip("cat")+`</Dial></Response>`)
			app.On("/last", `<Response><Say>Good bye</Say></Response>`)
			ann, bob, cat := h.baresip("ann", "udp"), h.oneLine("bob", "udp", "answermode=manual"), h.baresip("cat", "udp", "answermode=manual")
			var other *offhooktest.Call
			if talks {
				other = srv.Call(t, "To", "sip:bob@shop.example", "From", caller, "Twiml", `<Response><Say loop="0">Another call</Say></Response>`)
				bob.reports("CALL_INCOMING")
				bob.do("accept", "")
				bob.hears("Another call")
			}
			ann.do("dial", "sip:support@shop.example")
			parent := app.Got("/voice").Params.Get("CallSid")
			statuses := []string{"initiated", "busy"}
			if !talks {
				bob.reports("CALL_INCOMING")
				bob.do("hangup", "")
				statuses = []string{"initiated", "ringing", "busy"}
			}
			child := gotChild(t, srv, app, parent, "sip:bob@shop.example", statuses...)
			gotAction(t, app, "/after", parent, child, false)
			cat.reports("CALL_INCOMING")
			cat.do("accept", "")
			ann.hears("This is cat")
			cat.hears("This is ann")
			cat.do("hangup", "")
			gotAction(t, app, "/last", parent, gotChild(t, srv, app, parent, "sip:cat@shop.example", all...), true)
			ann.hears("Good bye")
			ann.reports("CALL_CLOSED")
			gotParent(t, srv, app, parent)
			if talks {
				bob.forget()
				bob.hears("Another call") // he was not disturbed
				bob.do("hangup", "")
				other.Is("completed")
			}
		})
	}
}

// Bob puts Ann on hold with a=sendonly, but sends nothing: it is found out, and she hears our music. He takes her back; then his phone gives back what it hears, so that Ann hears herself.
func TestBaresipHoldsAnotherBaresip(t *testing.T) {
	t.Parallel()
	srv := offhooktest.Start(t)
	app := srv.App(t)
	h := domain(t, srv, app, "shop.example", "ann", "bob")
	app.On("/voice", `<Response><Dial action="/after">`+h.sip("bob")+`</Dial></Response>`)
	app.On("/after", `<Response/>`)
	ann, bob := h.baresip("ann", "udp"), h.baresip("bob", "udp", "answermode=auto")
	ann.do("dial", "sip:support@shop.example")
	parent := app.Got("/voice").Params.Get("CallSid")
	ann.hears("This is bob")
	bob.hears("This is ann")
	bob.do("hold", "")
	bob.says("a=recvonly") // our answer
	bob.pauses()
	ann.forget()
	ann.longer(holdFor)
	ann.waitFor("ann hears music", func() bool { return ann.heardSound(time.Second) })
	if ann.heard("This is bob") {
		t.Error("ann hears bob on hold")
	}
	bob.do("resume", "")
	ann.hears("This is bob")
	bob.do("ausrc", "aubridge,none") // the sound device of the phone
	ann.hears("This is ann")
	bob.do("hangup", "")
	gotAction(t, app, "/after", parent, gotChild(t, srv, app, parent, "sip:bob@shop.example", all...), true)
	ann.reports("CALL_CLOSED")
	gotParent(t, srv, app, parent)
}
