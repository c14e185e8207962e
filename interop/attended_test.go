package interop

import (
	"testing"

	"github.com/offhook/offhook/offhooktest"
)

// Lin is called by Ann, asks Bob, and connects the two: linphone sends REFER with Replaces.
func TestLinphoneConnectsItsTwoCalls(t *testing.T) {
	srv := offhooktest.Start(t)
	app := srv.App(t)
	h := domain(t, srv, app, "shop.example", "ann", "bob", "lin")
	app.On("/voice", `<Response><Dial action="/after"><Sip statusCallback="/child">sip:lin@shop.example</Sip></Dial></Response>`)
	app.On("/after", `<Response/>`)
	app.On("/after-consult", `<Response/>`)
	ann, bob, lin := h.baresip("ann", "udp"), h.baresip("bob", "udp", "answermode=manual"), h.linphone("lin", "udp")
	ann.do("dial", "sip:lin@shop.example")
	lin.says("Receiving new incoming call")
	lin.do("answer")
	ann.hears("This is lin")
	first := app.Got("/voice").Params.Get("CallSid")
	app.On("/voice", `<Response><Dial action="/after-consult"><Sip statusCallback="/child">sip:bob@shop.example</Sip></Dial></Response>`)
	lin.do("pause")
	lin.says("paused")
	lin.do("call sip:bob@shop.example")
	bob.reports("CALL_INCOMING")
	bob.do("accept", "")
	bob.hears("This is lin")
	second := app.Got("/voice").Params.Get("CallSid")
	lin.do("transfer 1 --to-call 2")
	app.Got("/after-consult", "CallSid", second, "CallStatus", "completed", "DialCallStatus", "completed", "DialBridged", "true")
	ann.hears("This is bob")
	bob.hears("This is ann")
	app.Got("/child", "ParentCallSid", first, "CallStatus", "completed")
	bob.do("hangup", "")
	app.Got("/after", "CallSid", first, "DialCallStatus", "completed", "DialBridged", "true")
	app.Got("/child", "ParentCallSid", second, "CallStatus", "completed")
	ann.reports("CALL_CLOSED")
}
