package interop

import (
	"testing"

	"github.com/offhook/offhook/offhooktest"
)

// Lin is called by Ann, asks Bob, and connects the two: linphone sends REFER with Replaces.
func TestLinphoneConnectsItsTwoCalls(t *testing.T) {
	t.Parallel()
	srv := offhooktest.Start(t)
	app := srv.App(t)
	h := domain(t, srv, app, "shop.example", "ann", "bob", "lin")
	app.On("/voice", `<Response><Dial action="/after">`+h.sip("lin")+`</Dial></Response>`)
	app.On("/after", `<Response><Say>Good bye</Say></Response>`)
	ann, bob, lin := h.baresip("ann", "udp"), h.baresip("bob", "udp", "answermode=manual"), h.linphone("lin", "udp")
	ann.do("dial", "sip:lin@shop.example")
	lin.rings(1)
	lin.do("answer")
	ann.hears("This is lin")
	lin.hears("This is ann")
	first := app.Got("/voice").Params.Get("CallSid")
	app.On("/voice", `<Response><Dial action="/after-consult">`+h.sip("bob")+`</Dial></Response>`)
	lin.do("pause")
	lin.says("paused")
	lin.do("call sip:bob@shop.example")
	bob.reports("CALL_INCOMING")
	bob.do("accept", "")
	bob.hears("This is lin")
	lin.hears("This is bob")
	second := app.Got("/voice", "From", "sip:lin@shop.example").Params.Get("CallSid")
	ann.forget()
	bob.forget()
	lin.do("transfer 1 --to-call 2")
	ann.hears("This is bob")
	bob.hears("This is ann")
	if ann.heard("This is lin") || bob.heard("This is lin") {
		t.Error("lin is still heard")
	}
	// Lin's two calls are over: the one that Ann's Dial made, and his own. Bob's belongs to nobody's Dial now.
	gotParent(t, srv, app, second)
	lins := gotChild(t, srv, app, first, "sip:lin@shop.example", all...)
	bobs := app.Got("/after-consult", "CallSid", second, "CallStatus", "completed", "DialCallStatus", "completed", "DialBridged", "true").Params
	if bobs.Has("DialCallDuration") {
		t.Errorf("duration of a call that goes on: %v", bobs)
	}
	bob.do("hangup", "")
	gotActionBefore(t, app, "/after", first, lins, true, transferTime)
	if c := gotChild(t, srv, app, second, "sip:bob@shop.example", all...); c["sid"] != bobs.Get("DialCallSid") {
		t.Errorf("bob's call is %v, the action was told of %v", c["sid"], bobs)
	}
	ann.hears("Good bye")
	ann.reports("CALL_CLOSED")
	gotParent(t, srv, app, first)
}
