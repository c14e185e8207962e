package offhooktest_test

import (
	"testing"
	"time"

	"github.com/offhook/offhook/offhooktest"
)

const (
	alice = "+15550110"
	bob   = "+15550120"
)

// talk lets both hear each other: each has a tone of its own.
func talk(a, b *offhooktest.Line) {
	for _, side := range []struct {
		says, hears *offhooktest.Line
		hz          float64
	}{{a, b, 700}, {b, a, 1300}} {
		side.says.Whistles(time.Second, side.hz)
		side.hears.HearsTone(side.hz)
	}
}

func TestDialConnectsTwoPhones(t *testing.T) {
	srv := offhooktest.Start(t)
	app := srv.App(t)
	app.On("/voice", `<Response><Dial action="/after" callerId="`+own+`"><Number statusCallback="`+app.URL("/child")+
		`" statusCallbackEvent="initiated ringing answered completed">`+bob+`</Number></Dial></Response>`)
	app.On("/after", `<Response><Say>Good bye</Say></Response>`)
	srv.Number(t, own, app.URL("/voice"))

	b := srv.Phone(t, bob)
	a := srv.Phone(t, alice).Dial(own)
	in := b.Answers()
	parent := app.Got("/voice").Params.Get("CallSid")
	child := app.Got("/child", "CallStatus", "initiated", "ParentCallSid", parent, "From", own, "To", bob,
		"Direction", "outbound-dial").Params.Get("CallSid")
	app.Got("/child", "CallStatus", "ringing")
	app.Got("/child", "CallStatus", "in-progress")
	talk(a, in)
	a.Press("5") // across the bridge
	in.GotDigits("5")
	in.Hangup()
	app.Got("/after", "DialCallStatus", "completed", "DialBridged", "true", "DialCallSid", child, "CallSid", parent)
	app.Got("/child", "CallStatus", "completed", "SequenceNumber", "3", "ParentCallSid", parent)
	a.Hears("Good bye")
	a.HungUp()
}
