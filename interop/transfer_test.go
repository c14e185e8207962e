package interop

import (
	"testing"

	"github.com/offhook/offhook/offhooktest"
)

// Bob is called by Ann and transfers her to Cat, who is called by the document of referUrl.
func TestBaresipTransfersItsCaller(t *testing.T) {
	t.Parallel()
	srv := offhooktest.Start(t)
	app := srv.App(t)
	h := domain(t, srv, app, "shop.example", "ann", "bob", "cat")
	app.On("/voice", `<Response><Dial action="/after" referUrl="/refer">`+h.sip("bob")+`</Dial></Response>`)
	app.On("/refer", `<Response><Dial action="/after-refer">`+h.sip("cat")+`</Dial></Response>`)
	app.On("/after-refer", `<Response/>`)
	ann, bob, cat := h.baresip("ann", "udp"), h.baresip("bob", "udp", "answermode=manual"), h.baresip("cat", "udp", "answermode=manual")
	ann.do("dial", "sip:bob@shop.example")
	bob.reports("CALL_INCOMING")
	bob.do("accept", "")
	ann.hears("This is bob")
	bob.hears("This is ann")
	parent := app.Got("/voice").Params.Get("CallSid")
	bob.do("transfer", "sip:cat@shop.example")
	r := app.Got("/refer", "CallSid", parent, "CallStatus", "in-progress")
	if got := r.Params.Get("ReferTransferTarget"); got != "sip:cat@shop.example" {
		t.Errorf("ReferTransferTarget %q", got)
	}
	bob.says("SIP/2.0 202")
	bob.says("NOTIFY sip:")
	bob.reports("CALL_CLOSED")
	gotActionBefore(t, app, "/after", parent, gotChild(t, srv, app, parent, "sip:bob@shop.example", all...), true, transferTime)
	cat.reports("CALL_INCOMING")
	cat.do("accept", "")
	ann.forget()
	ann.hears("This is cat")
	cat.hears("This is ann")
	if ann.heard("This is bob") {
		t.Error("bob is still heard")
	}
	cat.do("hangup", "")
	gotAction(t, app, "/after-refer", parent, gotChild(t, srv, app, parent, "sip:cat@shop.example", all...), true)
	ann.reports("CALL_CLOSED")
	gotParent(t, srv, app, parent)
}

// Ann transfers whom she called to Cat: Bob's call goes on by itself, and hers is over.
func TestBaresipTransfersWhomItCalled(t *testing.T) {
	t.Parallel()
	srv := offhooktest.Start(t)
	app := srv.App(t)
	h := domain(t, srv, app, "shop.example", "ann", "bob", "cat")
	app.On("/voice", `<Response><Dial action="/after" referUrl="/refer">`+h.sip("bob")+`</Dial></Response>`)
	app.On("/refer", `<Response><Dial action="/after-refer">`+h.sip("cat")+`</Dial></Response>`)
	app.On("/after", `<Response/>`)
	app.On("/after-refer", `<Response/>`)
	ann, bob, cat := h.baresip("ann", "udp"), h.baresip("bob", "tcp", "answermode=auto"), h.baresip("cat", "udp", "answermode=manual")
	ann.do("dial", "sip:bob@shop.example")
	ann.hears("This is bob")
	bob.hears("This is ann")
	parent := app.Got("/voice").Params.Get("CallSid")
	ann.do("transfer", "sip:cat@shop.example")
	child := app.Got("/refer", "ParentCallSid", parent, "To", "sip:bob@shop.example", "ReferTransferTarget", "sip:cat@shop.example").Params.Get("CallSid")
	ann.reports("CALL_CLOSED")
	left := app.Got("/after", "CallSid", parent, "CallStatus", "completed", "DialCallSid", child, "DialCallStatus", "completed", "DialBridged", "true")
	if left.Params.Has("DialCallDuration") {
		t.Errorf("duration of a call that goes on: %v", left.Params)
	}
	gotParent(t, srv, app, parent)
	cat.reports("CALL_INCOMING")
	cat.do("accept", "")
	bob.hears("This is cat")
	cat.hears("This is bob")
	cat.do("hangup", "")
	gotAction(t, app, "/after-refer", child, gotChild(t, srv, app, child, "sip:cat@shop.example", all...), true)
	bob.reports("CALL_CLOSED")
	gotChild(t, srv, app, parent, "sip:bob@shop.example", all...)
}

// Bob's phone is asked by <Refer> to call Cat, which it does by itself.
func TestBaresipIsReferred(t *testing.T) {
	t.Parallel()
	srv := offhooktest.Start(t)
	app := srv.App(t)
	h := domain(t, srv, app, "shop.example", "ann", "cat")
	app.On("/voice", `<Response><Refer action="/referred"><Sip>sip:cat@shop.example</Sip></Refer></Response>`)
	app.On("/referred", `<Response/>`)
	ann, cat := h.baresip("ann", "udp"), h.baresip("cat", "udp", "answermode=manual")
	ann.do("dial", "sip:support@shop.example")
	parent := app.Got("/voice").Params.Get("CallSid")
	app.On("/voice", `<Response><Dial action="/after" answerOnBridge="true">`+h.sip("cat")+`</Dial></Response>`)
	cat.reports("CALL_INCOMING")
	cat.do("accept", "")
	second := app.Got("/voice", "To", "sip:cat@shop.example").Params.Get("CallSid")
	app.Got("/referred", "CallSid", parent, "ReferCallStatus", "in-progress", "ReferSipResponseCode", "202", "NotifySipResponseCode", "200")
	ann.hears("This is cat")
	cat.hears("This is ann")
	cat.do("hangup", "")
	gotAction(t, app, "/after", second, gotChild(t, srv, app, second, "sip:cat@shop.example", all...), true)
	gotParent(t, srv, app, parent)
	gotParent(t, srv, app, second)
}

// Bob puts his caller on hold and takes him back.
func TestBaresipHoldsItsCaller(t *testing.T) {
	t.Parallel()
	srv := offhooktest.Start(t)
	app := srv.App(t)
	h := domain(t, srv, app, "shop.example", "bob")
	app.On("/called", `<Response><Dial><Sip>sip:bob@shop.example</Sip></Dial></Response>`)
	srv.Number(t, own, app.URL("/called"))
	bob := h.baresip("bob", "udp", "answermode=manual")
	line := srv.Phone(t, alice).Dial(own)
	bob.reports("CALL_INCOMING")
	bob.do("accept", "")
	line.Hears("This is bob")
	bob.do("hold", "")
	bob.pauses()
	bob.do("resume", "")
	bob.press("3") // across the bridge
	line.GotDigits("3")
	line.Hears("This is bob")
	line.Press("4")
	line.Hangup()
	bob.reports("CALL_CLOSED")
}
