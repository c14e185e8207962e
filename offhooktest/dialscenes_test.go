package offhooktest_test

import (
	"fmt"
	"slices"
	"time"
)

const (
	toBob  = `<Dial action="after"><Number` + all + `>{bob}</Number></Dial>`
	bobNow = `<Number` + all + `>{bob}</Number>`
)

// scenes are the lines of the table.
var scenes = append([]scene{
	{name: "the called one hangs up", dial: toBob, play: func(x *stage) {
		_, bob := x.bridged()
		bob.Hangup()
	}},
	{name: "the caller hangs up", dial: toBob, play: func(x *stage) {
		caller, _ := x.bridged()
		caller.Hangup()
	}},
	{name: "no action: the next verb", dial: `<Dial>` + bobNow + `</Dial><Redirect>next</Redirect>`, pages: map[string]string{"next": `<Hangup/>`}, play: func(x *stage) {
		_, bob := x.bridged()
		bob.Hangup()
	}},
	{name: "no action, and the caller hangs up: nothing more", dial: `<Dial>{bob}</Dial><Redirect>next</Redirect>`, play: func(x *stage) {
		caller, _ := x.bridged()
		caller.Hangup()
	}},
	{name: "the API hangs up the parent", dial: toBob, play: func(x *stage) {
		x.bridged()
		x.update(x.parent, "Status", "completed")
	}},
	{name: "the API hangs up the child", dial: toBob, play: func(x *stage) {
		x.bridged()
		x.update(x.child("bob"), "Status", "completed")
	}},
	{name: "the API cancels a child in conversation: no effect", dial: toBob, play: func(x *stage) {
		caller, bob := x.bridged()
		x.update(x.child("bob"), "Status", "canceled")
		x.talk(caller, bob)
		bob.Hangup()
	}},
	{name: "redirect of the parent", dial: toBob, pages: map[string]string{"after": `<Redirect>wrong</Redirect>`, "new": `<Say>New</Say>`}, play: func(x *stage) {
		caller, _ := x.bridged()
		x.update(x.parent, "Url", x.app.URL(x.path("new")))
		caller.Hears("New")
	}},
	{name: "redirect of the parent while it rings", dial: toBob, pages: map[string]string{"new": `<Say>New</Say>`}, play: func(x *stage) {
		caller := x.calls()
		x.rings("bob")
		x.ringing("bob")
		x.update(x.parent, "Url", x.app.URL(x.path("new")))
		caller.Hears("New")
	}},
	{name: "redirect of the child", dial: toBob, pages: map[string]string{"new": `<Say>New</Say>`}, play: func(x *stage) {
		_, bob := x.bridged()
		x.update(x.child("bob"), "Url", x.app.URL(x.path("new")))
		bob.Hears("New")
	}},
	{name: "redirect of the child to another Dial", dial: toBob, pages: map[string]string{"new": `<Dial action="later">{carol}</Dial>`, "later": ``}, play: func(x *stage) {
		caller, bob := x.bridged()
		x.update(x.child("bob"), "Url", x.app.URL(x.path("new")))
		caller.HungUp()
		carol := x.answers2("carol")
		x.talk(bob, carol)
		carol.Hangup()
		bob.HungUp()
	}},
	{name: "redirect of a child that rings is refused", dial: toBob, play: func(x *stage) {
		x.calls()
		bob := x.rings("bob")
		x.ringing("bob")
		if code, answer := x.child("bob").Update("Url", x.app.URL(x.path("new"))); code != 400 || answer["code"] != 21220.0 {
			x.Errorf("redirect: %d %v", code, answer)
		}
		x.must(bob.Busy())
	}},
	{name: "timeLimit", dial: `<Dial action="after" timeLimit="1">` + bobNow + `</Dial>`, play: func(x *stage) {
		x.calls()
		x.answers("bob").HungUp()
	}},
	{name: "hangupOnStar", dial: `<Dial action="after" hangupOnStar="true">` + bobNow + `</Dial>`, pages: map[string]string{"after": `<Say>Over</Say>`}, play: func(x *stage) {
		caller, bob := x.bridged()
		bob.Press("*") // his does not count
		caller.GotDigits("*")
		caller.Press("1*")
		bob.HungUp()
		caller.Hears("Over")
	}},
	{name: "hangupOnStar while it rings", dial: `<Dial action="after" hangupOnStar="true">` + bobNow + `</Dial>`, pages: map[string]string{"after": `<Say>Over</Say>`}, play: func(x *stage) {
		caller := x.calls()
		x.rings("bob")
		x.ringing("bob")
		caller.Press("*")
		caller.Hears("Over")
	}},
	{name: "a star without hangupOnStar crosses the bridge", dial: toBob, play: func(x *stage) {
		caller, bob := x.bridged()
		caller.Press("*12")
		bob.GotDigits("*12")
		bob.Press("#")
		caller.GotDigits("#")
		bob.Hangup()
	}},

	{name: "answerOnBridge with early media", dial: `<Dial action="after" answerOnBridge="true">` + bobNow + `</Dial>`, play: func(x *stage) {
		caller := x.calls()
		bob := x.called("bob")
		x.must(bob.Progress())
		x.whistles(bob, 900)
		caller.HearsTone(900)
		x.ringing("bob")
		x.must(bob.Answer())
		caller.Answered()
		x.talk(caller, bob)
		bob.Hangup()
	}},
	{name: "answerOnBridge, early media after 180", dial: `<Dial action="after" answerOnBridge="true">` + bobNow + `</Dial>`, play: func(x *stage) {
		caller := x.calls()
		bob := x.rings("bob")
		x.ringing("bob")
		x.must(bob.Progress())
		x.whistles(bob, 900)
		caller.HearsTone(900)
		x.must(bob.Answer())
		caller.Answered()
		x.talk(caller, bob)
		bob.Hangup()
	}},
	{name: "answerOnBridge without early media", dial: `<Dial action="after" answerOnBridge="true">` + bobNow + `</Dial>`, play: func(x *stage) {
		caller := x.calls()
		bob := x.rings("bob")
		x.ringing("bob")
		if got := x.parent.Fetch()["status"]; got != "ringing" {
			x.Errorf("the parent is %v", got)
		}
		x.must(bob.Answer())
		caller.Answered()
		x.talk(caller, bob)
		caller.Hangup()
	}},
	{name: "answerOnBridge with a ringTone", dial: `<Dial action="after" answerOnBridge="true" ringTone="de">` + bobNow + `</Dial>`, play: func(x *stage) {
		caller := x.calls()
		bob := x.rings("bob")
		caller.HearsTone(425)
		x.must(bob.Answer())
		caller.Answered()
		x.talk(caller, bob)
		bob.Hangup()
	}},
	{name: "answerOnBridge and then a next verb", dial: `<Dial answerOnBridge="true">` + bobNow + `</Dial><Say>Nobody</Say>`, play: func(x *stage) {
		caller := x.calls()
		x.refuses("bob", 486)
		caller.Hears("Nobody")
	}},
	{name: "answerOnBridge, the caller gives up", dial: `<Dial action="after" answerOnBridge="true">` + bobNow + `</Dial>`, play: func(x *stage) {
		caller := x.calls()
		x.rings("bob")
		x.ringing("bob")
		caller.Hangup()
	}},
	{name: "answerOnBridge, the API cancels the parent", dial: `<Dial action="after" answerOnBridge="true">` + bobNow + `</Dial>`, play: func(x *stage) {
		x.calls()
		x.rings("bob")
		x.ringing("bob")
		x.update(x.parent, "Status", "canceled")
	}},
	{name: "answerOnBridge, screened and refused", dial: `<Dial answerOnBridge="true"><Number url="screen"` + all + `>{bob}</Number></Dial>`, pages: map[string]string{"screen": `<Hangup/>`}, play: func(x *stage) {
		x.calls()
		x.answers("bob").HungUp()
	}},
	{name: "answerOnBridge with 486", dial: `<Dial answerOnBridge="true">` + bobNow + `</Dial>`, play: func(x *stage) {
		x.calls()
		x.refuses("bob", 486)
	}},
	{name: "answerOnBridge with 486 and an action", dial: `<Dial action="after" answerOnBridge="true">` + bobNow + `</Dial>`, play: func(x *stage) {
		x.calls()
		x.refuses("bob", 486)
	}},
	{name: "answerOnBridge, nobody answers in time", dial: `<Dial answerOnBridge="true" timeout="5">` + bobNow + `</Dial>`, play: func(x *stage) {
		x.calls()
		x.rings("bob")
	}},
	{name: "answerOnBridge with 603", dial: `<Dial answerOnBridge="true">` + bobNow + `</Dial>`, play: func(x *stage) {
		x.calls()
		x.refuses("bob", 603)
	}},
	{name: "answerOnBridge with 404", dial: `<Dial answerOnBridge="true">` + bobNow + `</Dial>`, play: func(x *stage) {
		x.calls()
		x.refuses("bob", 404)
	}},

	{name: "early media without answerOnBridge", dial: toBob, play: func(x *stage) {
		caller := x.calls()
		bob := x.called("bob")
		x.must(bob.Progress())
		x.whistles(bob, 900)
		caller.HearsTone(900)
		x.ringing("bob")
		x.must(bob.Answer())
		x.talk(caller, bob)
		bob.Hangup()
	}},
	{name: "ringback, and none in the conversation", dial: toBob, play: func(x *stage) {
		caller := x.calls()
		bob := x.rings("bob")
		caller.HearsTone(440, 480)
		x.must(bob.Answer())
		x.talk(caller, bob)
		bob.Hangup()
	}},
	{name: "ringTone over early media", dial: `<Dial action="after" ringTone="de">` + bobNow + `</Dial>`, play: func(x *stage) {
		caller := x.calls()
		bob := x.called("bob")
		x.must(bob.Progress())
		caller.HearsTone(425)
		x.ringing("bob")
		x.must(bob.Answer())
		x.talk(caller, bob)
		bob.Hangup()
	}},
	{name: "all at once, the second one answers", dial: `<Dial action="after">` + bobNow + `<Number` + all + `>{carol}</Number><Number` + all + `>{dave}</Number></Dial>`, play: func(x *stage) {
		caller := x.calls()
		x.rings("bob")
		carol := x.rings("carol")
		x.rings("dave")
		x.ringing("bob")
		x.ringing("carol")
		x.ringing("dave")
		x.must(carol.Answer())
		x.talk(caller, carol)
		carol.Hangup()
	}},
	{name: "all at once, one is busy and one does not exist", dial: `<Dial action="after">` + bobNow + `<Number` + all + `>{nobody}</Number></Dial>`, play: func(x *stage) {
		x.calls()
		bob := x.rings("bob")
		x.ringing("bob")
		x.child("nobody").Is("failed")
		x.must(bob.Busy())
	}},
	{name: "one after another", dial: `<Dial action="after" sequential="true">` + bobNow + `<Number` + all + `>{carol}</Number><Number` + all + `>{dave}</Number></Dial>`, play: func(x *stage) {
		caller := x.calls()
		x.refuses("bob", 486)
		carol := x.answers("carol")
		x.talk(caller, carol)
		carol.Hangup()
	}},
	{name: "one after another, nobody answers", dial: `<Dial action="after" sequential="true">` + bobNow + `<Number` + all + `>{carol}</Number></Dial>`, play: func(x *stage) {
		x.calls()
		x.refuses("bob", 486)
		x.refuses("carol", 480)
	}},
	{name: "one after another, the caller gives up", dial: `<Dial action="after" sequential="true">` + bobNow + `<Number` + all + `>{carol}</Number></Dial>`, play: func(x *stage) {
		caller := x.calls()
		x.rings("bob")
		x.ringing("bob")
		caller.Hangup()
	}},

	{name: "a whisper", dial: `<Dial action="after"><Number url="whisper"` + all + `>{bob}</Number></Dial>`, pages: map[string]string{"whisper": `<Say>For you</Say>`}, play: func(x *stage) {
		caller := x.calls()
		bob := x.answers("bob")
		bob.Hears("For you")
		x.talk(caller, bob)
		if caller.HeardEver("For you") {
			x.Error("the caller heard the whisper")
		}
		bob.Hangup()
	}},
	{name: "screened and accepted", dial: `<Dial action="after"><Number url="screen" method="GET"` + all + `>{bob}</Number></Dial>`, pages: map[string]string{
		"screen": `<Gather numDigits="1" action="pressed"><Say>Press</Say></Gather><Hangup/>`, "pressed": ``,
	}, play: func(x *stage) {
		caller := x.calls()
		bob := x.answers("bob")
		bob.Hears("Press")
		bob.Press("1")
		x.talk(caller, bob)
		bob.Hangup()
	}},
	{name: "screened and refused", dial: `<Dial action="after"><Number url="screen"` + all + `>{bob}</Number></Dial>`, pages: map[string]string{
		"screen": `<Gather numDigits="1" action="pressed"><Say>Press</Say></Gather><Hangup/>`, "pressed": `<Hangup/>`,
	}, play: func(x *stage) {
		x.calls()
		bob := x.answers("bob")
		bob.Hears("Press")
		_ = bob.Call.Press(x.Context(), "2") // the call ends before the key does
		bob.HungUp()
	}},
	{name: "screened, and the called one hangs up", dial: `<Dial action="after"><Number url="screen"` + all + `>{bob}</Number></Dial>`, pages: map[string]string{"screen": `<Say loop="0">Press</Say>`}, play: func(x *stage) {
		x.calls()
		bob := x.answers("bob")
		bob.Hears("Press")
		bob.Hangup()
	}},
	{name: "screened, and the caller hangs up", dial: `<Dial action="after"><Number url="screen"` + all + `>{bob}</Number></Dial>`, pages: map[string]string{"screen": `<Say loop="0">Press</Say>`}, play: func(x *stage) {
		caller := x.calls()
		bob := x.answers("bob")
		bob.Hears("Press")
		caller.Hangup()
	}},
	{name: "screened by a document with a Dial", dial: `<Dial action="after"><Number url="screen"` + all + `>{bob}</Number></Dial>`, pages: map[string]string{"screen": `<Dial>{carol}</Dial>`}, play: func(x *stage) {
		x.calls()
		x.answers("bob").HungUp()
	}},

	{name: "nobody answers in time", dial: `<Dial action="after" timeout="5">` + bobNow + `</Dial>`, play: func(x *stage) {
		x.calls()
		x.rings("bob")
	}},
	{name: "the caller gives up", dial: toBob, play: func(x *stage) {
		caller := x.calls()
		x.rings("bob")
		x.ringing("bob")
		caller.Hangup()
	}},
	{name: "the API cancels the child", dial: toBob, play: func(x *stage) {
		x.calls()
		x.rings("bob")
		x.ringing("bob")
		x.update(x.child("bob"), "Status", "canceled")
	}},
	{name: "the API ends the child that rings", dial: toBob, play: func(x *stage) {
		x.calls()
		x.rings("bob")
		x.ringing("bob")
		x.update(x.child("bob"), "Status", "completed")
	}},
	{name: "the API hangs up the parent while it rings", dial: toBob, play: func(x *stage) {
		x.calls()
		x.rings("bob")
		x.ringing("bob")
		x.update(x.parent, "Status", "completed")
	}},
	{name: "a number that nobody has", dial: `<Dial action="after"><Number` + all + `>{nobody}</Number></Dial>`, play: func(x *stage) { x.calls() }},
	{name: "an address where nobody is", dial: `<Dial action="after" timeout="5"><Sip` + all + `>sip:bob@127.0.0.1:9</Sip></Dial>`, play: func(x *stage) { x.calls() }},
	{name: "a host that does not exist", dial: `<Dial action="after"><Sip` + all + `>sip:bob@nobody.invalid</Sip></Dial>`, play: func(x *stage) { x.calls() }},
	{name: "nobody to call", dial: `<Dial action="after"></Dial>`, play: func(x *stage) { x.calls() }},
	{name: "no number", dial: `<Dial action="after">the office</Dial>`, play: func(x *stage) { x.calls() }},

	{name: "callerId", dial: `<Dial action="after" callerId="{own}">` + bobNow + `</Dial>`, play: func(x *stage) {
		x.calls()
		bob := x.answers("bob")
		if bob.From() != x.number("own") {
			x.Errorf("the call came from %s", bob.From())
		}
		bob.Hangup()
	}},
	{name: "a callerId of somebody else", dial: `<Dial action="after" callerId="+15559999">` + bobNow + `</Dial>`, play: func(x *stage) {
		x.calls()
		x.refuses("bob", 486)
	}},
	{name: "sendDigits", dial: `<Dial action="after"><Number sendDigits="w12"` + all + `>{bob}</Number></Dial>`, play: func(x *stage) {
		caller := x.calls()
		bob := x.answers("bob")
		bob.GotDigits("12")
		x.talk(caller, bob)
		bob.Hangup()
	}},
	{name: "callbacks of the end alone", dial: `<Dial action="after"><Number statusCallback="status">{bob}</Number></Dial>`, play: func(x *stage) {
		_, bob := x.bridged()
		bob.Hangup()
	}},
	{name: "callbacks by GET to an absolute URL", dial: `<Dial action="{app}after"><Number statusCallback="{app}status" statusCallbackMethod="GET" statusCallbackEvent="answered completed">{bob}</Number></Dial>`, play: func(x *stage) {
		_, bob := x.bridged()
		bob.Hangup()
	}},
	{name: "action by GET, with a query", dial: `<Dial action="after?a=1" method="GET">` + bobNow + `</Dial>`, play: func(x *stage) {
		_, bob := x.bridged()
		bob.Hangup()
	}},
	{name: "an action that dials again", dial: toBob, pages: map[string]string{"after": `<Dial action="end">{carol}</Dial>`, "end": ``}, play: func(x *stage) {
		caller := x.calls()
		x.refuses("bob", 486)
		carol := x.answers("carol")
		x.talk(caller, carol)
		carol.Hangup()
	}},
	{name: "an action that fails", dial: `<Dial action="missing">` + bobNow + `</Dial>`, play: func(x *stage) {
		x.app.OnFunc(x.path("missing"), gone)
		_, bob := x.bridged()
		bob.Hangup()
	}},
	{name: "a number of our own", dial: `<Dial action="after"><Number` + all + `>{own}1</Number></Dial>`, pages: map[string]string{"inside": `<Say>Inside</Say>`}, play: func(x *stage) {
		x.srv.Number(x, x.number("own")+"1", x.app.URL(x.path("inside")))
		x.calls().Hears("Inside")
	}},

	{name: "the called one holds, with music of ours", dial: toBob, play: func(x *stage) {
		caller, bob := x.bridged()
		x.must(bob.HoldInactive(x.Context()))
		caller.HearsSound(400 * time.Millisecond)
		x.must(bob.Unhold(x.Context()))
		x.talk(caller, bob)
		bob.Hangup()
	}},
	{name: "the caller holds, with music of ours", dial: toBob, play: func(x *stage) {
		caller, bob := x.bridged()
		x.must(caller.HoldInactive(x.Context()))
		bob.HearsSound(400 * time.Millisecond)
		x.must(caller.Unhold(x.Context()))
		x.talk(caller, bob)
		caller.Hangup()
	}},
	{name: "the called one holds, with music of its own", dial: toBob, play: func(x *stage) {
		caller, bob := x.bridged()
		x.must(bob.Hold(x.Context()))
		x.whistles(bob, 900)
		caller.HearsTone(900)
		x.must(bob.Unhold(x.Context()))
		x.talk(caller, bob)
		bob.Hangup()
	}},
	{name: "the called one holds and hangs up", dial: toBob, pages: map[string]string{"after": `<Say>Over</Say>`}, play: func(x *stage) {
		caller, bob := x.bridged()
		x.must(bob.HoldInactive(x.Context()))
		caller.HearsSound(400 * time.Millisecond)
		bob.Hangup()
		caller.Hears("Over")
	}},
}, refusals(400, 401, 403, 404, 408, 410, 480, 484, 486, 487, 488, 500, 503, 600, 603, 604)...)

// refusals are what the called one may answer.
func refusals(codes ...int) (list []scene) {
	for _, code := range slices.Sorted(slices.Values(codes)) {
		list = append(list, scene{name: fmt.Sprintf("refused with %d", code), dial: toBob, play: func(x *stage) {
			x.calls()
			x.refuses("bob", code)
		}})
	}
	return list
}
