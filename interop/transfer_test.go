package interop

import (
	"testing"

	"github.com/offhook/offhook/offhooktest"
)

// Bob is called by Ann and transfers her to Cat, who is called by the document of referUrl.
func TestBaresipTransfersItsCaller(t *testing.T) {
	srv := offhooktest.Start(t)
	app := srv.App(t)
	h := domain(t, srv, app, "shop.example", "ann", "bob", "cat")
	app.On("/voice", `<Response><Dial action="/after" referUrl="/refer"><Sip statusCallback="/child">sip:bob@shop.example</Sip></Dial></Response>`)
	app.On("/refer", `<Response><Dial action="/after-refer"><Sip statusCallback="/child">sip:cat@shop.example</Sip></Dial></Response>`)
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
	bob.reports("CALL_CLOSED")
	app.Got("/after", "CallSid", parent, "DialCallStatus", "completed", "DialBridged", "true")
	app.Got("/child", "ParentCallSid", parent, "CallStatus", "completed", "To", "sip:bob@shop.example")
	cat.reports("CALL_INCOMING")
	cat.do("accept", "")
	ann.hears("This is cat")
	cat.hears("This is ann")
	cat.do("hangup", "")
	app.Got("/after-refer", "CallSid", parent, "DialCallStatus", "completed", "DialBridged", "true")
	ann.reports("CALL_CLOSED")
	app.Got("/child", "ParentCallSid", parent, "CallStatus", "completed", "To", "sip:cat@shop.example")
}

// Bob's phone is asked by <Refer> to call Cat, which it does by itself.
func TestBaresipIsReferred(t *testing.T) {
	srv := offhooktest.Start(t)
	app := srv.App(t)
	h := domain(t, srv, app, "shop.example", "ann", "cat")
	app.On("/voice", `<Response><Refer action="/referred"><Sip>sip:cat@shop.example</Sip></Refer></Response>`)
	app.On("/referred", `<Response/>`)
	ann, cat := h.baresip("ann", "udp"), h.baresip("cat", "udp", "answermode=manual")
	ann.do("dial", "sip:support@shop.example")
	parent := app.Got("/voice").Params.Get("CallSid")
	app.On("/voice", `<Response><Dial answerOnBridge="true"><Sip>sip:cat@shop.example</Sip></Dial></Response>`)
	cat.reports("CALL_INCOMING")
	cat.do("accept", "")
	app.Got("/voice", "To", "sip:cat@shop.example")
	app.Got("/referred", "CallSid", parent, "ReferCallStatus", "in-progress", "ReferSipResponseCode", "202", "NotifySipResponseCode", "200")
	ann.hears("This is cat")
	cat.hears("This is ann")
	cat.do("hangup", "")
}

// Bob puts his caller on hold and takes him back.
func TestBaresipHoldsItsCaller(t *testing.T) {
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
