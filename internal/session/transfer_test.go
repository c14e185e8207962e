package session

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"testing"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/clock"
)

func (l *actor) refersTo(e call.LegReferred) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.replied, l.notified = 0, nil
	if !l.over {
		l.events <- e
	}
}

// news are the codes that the party was told of its transfer: the answer to its REFER first.
func (l *actor) news() []int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]int{l.replied}, l.notified...)
}

func (l *actor) ended() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.over
}

func (l *actor) asked() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.referred
}

// told waits until the party heard these codes.
func (c *conversation) told(l *actor, want ...int) {
	c.t.Helper()
	c.until("the party hears of its transfer", func() bool { return len(l.news()) >= len(want) && l.news()[0] != 0 })
	if !slices.Equal(l.news(), want) {
		c.t.Errorf("the party heard %v, want %v", l.news(), want)
	}
}

// bridged is a call of the API that talks to a called party.
func bridged(t *testing.T, dialAttributes string, pages map[string]string) (c *conversation, called *actor) {
	t.Helper()
	c = dial(t, `<Dial `+dialAttributes+`><Number>+15550102</Number></Dial><Play>http://127.0.0.1:1/next</Play>`, pages)
	called = c.leg()
	called.events <- call.LegAnswered{}
	c.talking(c.caller, called)
	return c, called
}

func TestReferVerb(t *testing.T) {
	for _, test := range []struct {
		name string
		does func(*conversation)
		want url.Values
	}{
		{"accepted and answered", func(c *conversation) {
			c.caller.events <- call.LegReferAnswered{Code: 202}
			c.caller.events <- call.LegReferNotified{Code: 180}
			c.caller.events <- call.LegReferNotified{Code: 200, Final: true}
		}, url.Values{"ReferCallStatus": {"in-progress"}, "ReferSipResponseCode": {"202"}, "NotifySipResponseCode": {"200"}}},
		{"busy", func(c *conversation) {
			c.caller.events <- call.LegReferAnswered{Code: 202}
			c.caller.events <- call.LegReferNotified{Code: 486, Final: true}
		}, url.Values{"ReferCallStatus": {"busy"}, "ReferSipResponseCode": {"202"}, "NotifySipResponseCode": {"486"}}},
		{"failed", func(c *conversation) {
			c.caller.events <- call.LegReferAnswered{Code: 202}
			c.caller.events <- call.LegReferNotified{Code: 100}
			c.caller.events <- call.LegReferNotified{Code: 404, Final: true}
		}, url.Values{"ReferCallStatus": {"failed"}, "ReferSipResponseCode": {"202"}, "NotifySipResponseCode": {"404"}}},
		{"refused", func(c *conversation) {
			c.caller.events <- call.LegReferAnswered{Code: 405}
		}, url.Values{"ReferCallStatus": {"failed"}, "ReferSipResponseCode": {"405"}}},
		{"without news", func(c *conversation) {
			c.caller.events <- call.LegReferAnswered{Code: 202, Silent: true}
		}, url.Values{"ReferCallStatus": {"in-progress"}, "ReferSipResponseCode": {"202"}}},
		{"hung up", func(c *conversation) {
			c.caller.events <- call.LegReferAnswered{Code: 202}
			c.caller.leaves()
		}, url.Values{"ReferCallStatus": {"canceled"}, "ReferSipResponseCode": {"202"}, "CallStatus": {"completed"}}},
		{"answered, then hung up", func(c *conversation) {
			c.caller.events <- call.LegReferAnswered{Code: 202}
			c.caller.events <- call.LegReferNotified{Code: 200, Final: true}
			c.caller.leaves()
		}, url.Values{"ReferCallStatus": {"in-progress"}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := dial(t, `<Refer action="/after"><Sip>sip:sales@pbx.test?X-Id=7</Sip></Refer>`, nil)
			c.until("REFER", func() bool { return c.caller.asked() == "sip:sales@pbx.test?X-Id=7" })
			test.does(c)
			got := c.asked("/after")
			for _, name := range []string{"ReferCallStatus", "ReferSipResponseCode", "NotifySipResponseCode", "CallStatus"} {
				if want, said := test.want[name]; (said || name[0] != 'C') && name != "CallStatus" && len(test.want) > 1 && got.Get(name) != test.want.Get(name) || said && got.Get(name) != want[0] {
					t.Errorf("%s: %q, want %q", name, got.Get(name), test.want.Get(name))
				}
			}
			c.is(c.call.SID, call.Completed)
		})
	}
}

func TestReferWithoutActionGoesOn(t *testing.T) {
	c := dial(t, `<Refer><Sip>sip:sales@pbx.test</Sip></Refer><Redirect>/next</Redirect>`, nil)
	c.until("REFER", func() bool { return c.caller.asked() != "" })
	c.caller.events <- call.LegReferAnswered{Code: 603}
	c.asked("/next")
}

// The other side of a call to an own number is offhook itself: there is no phone to be asked.
func TestReferOfAnOwnNumber(t *testing.T) {
	w := newWorld(t)
	now := clock.System.Now()
	n := &call.Number{SID: "PN00000000000000000000000000000001", AccountSID: w.account.SID, PhoneNumber: "+15550100", DateCreated: now, DateUpdated: now}
	if err := w.store.CreateNumber(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	c := w.create(`<Response><Refer><Sip>sip:sales@pbx.test</Sip></Refer></Response>`)
	w.leg().events <- call.LegAnswered{}
	w.notified(c.SID, 13801)
	w.is(c.SID, call.Completed)
}

// A called party transfers the caller: he hears the document of referUrl, and the called one is let go of.
func TestBlindTransferByTheCalledParty(t *testing.T) {
	c, called := bridged(t, `referUrl="/refer" action="/after"`, map[string]string{
		"/refer": "<Dial><Number>+15550103</Number></Dial>", "/after": "<Say>No</Say>",
	})
	child := c.children()[0]
	called.refersTo(call.LegReferred{ID: 2, To: "sip:c@h?X-Id=7"})
	got := c.asked("/refer")
	if got.Get("ReferTransferTarget") != "sip:c@h?X-Id=7" || got.Get("CallSid") != c.call.SID || got.Get("CallStatus") != "in-progress" {
		t.Errorf("referUrl: %v", got)
	}
	after := c.asked("/after") // as a redirect has it
	if after.Get("DialCallStatus") != "completed" || after.Get("DialCallSid") != child.SID || after.Get("CallStatus") != "in-progress" {
		t.Errorf("action: %v", after)
	}
	third := c.leg()
	third.events <- call.LegAnswered{}
	c.talking(c.caller, third)
	c.told(called, 202, 200)
	c.is(child.SID, call.Completed) // it did not hang up by itself
	third.leaves()
	c.is(c.call.SID, call.Completed)
}

// The caller transfers the called party, which goes on by itself.
func TestBlindTransferByTheCaller(t *testing.T) {
	c, called := bridged(t, `referUrl="/refer" action="/after"`, map[string]string{"/refer": "<Gather timeout='60'/>"})
	child := c.children()[0]
	c.caller.refersTo(call.LegReferred{ID: 2, To: "sip:c@h"})
	if got := c.asked("/refer"); got.Get("CallSid") != child.SID || got.Get("ParentCallSid") != c.call.SID {
		t.Errorf("referUrl: %v", got)
	}
	c.told(c.caller, 202, 200)
	c.caller.leaves()
	after := c.asked("/after")
	if after.Get("DialCallStatus") != "completed" || after.Get("DialCallDuration") != "" || after.Get("CallStatus") != "completed" {
		t.Errorf("action: %v", after)
	}
	c.is(c.call.SID, call.Completed)
	if called.ended() {
		t.Error("the party that was transferred was hung up")
	}
	called.leaves()
	c.is(child.SID, call.Completed)
}

// What a called party may hear before it is connected says nothing of what it may do once it was transferred.
func TestBlindTransferOfAPartyThatHeardItsDocumentFirst(t *testing.T) {
	c := dial(t, `<Dial referUrl="/refer"><Number url="/whisper">+15550102</Number></Dial>`,
		map[string]string{"/whisper": "<Pause length='0'/>", "/refer": "<Dial><Number>+15550103</Number></Dial>"})
	called := c.leg()
	called.events <- call.LegAnswered{}
	c.talking(c.caller, called)
	c.caller.refersTo(call.LegReferred{ID: 2, To: "sip:c@h"})
	third := c.leg()
	third.events <- call.LegAnswered{}
	c.talking(called, third)
}

// Some phones hang up as soon as a transfer is promised.
func TestBlindTransferByAPhoneThatLeavesAtOnce(t *testing.T) {
	for who, leaves := range map[string]func(c *conversation, called *actor) (from, other *actor){
		"called": func(c *conversation, called *actor) (*actor, *actor) { return called, c.caller },
		"caller": func(c *conversation, called *actor) (*actor, *actor) { return c.caller, called },
	} {
		for _, ok := range []bool{true, false} {
			t.Run(who, func(t *testing.T) {
				asked, answer := make(chan struct{}), make(chan int)
				refer := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
					close(asked)
					rw.Header().Set("Content-Type", "text/xml")
					rw.WriteHeader(<-answer)
					_, _ = rw.Write([]byte("<Response><Gather timeout='60'/></Response>"))
				}))
				t.Cleanup(refer.Close)
				c, called := bridged(t, `referUrl="`+refer.URL+`#rc=0" action="/after"`, nil)
				child := c.children()[0]
				from, other := leaves(c, called)
				from.refersTo(call.LegReferred{ID: 2, To: "sip:c@h"})
				c.comes("referUrl", asked)
				from.leaves()
				sid, gone := c.call.SID, child.SID
				if from == c.caller {
					sid, gone = gone, sid
				}
				c.is(gone, call.Completed)
				if ok {
					answer <- 200
					other.press('1') // a conversation that goes on hears it or not; nothing ends by it
					c.until("the document of referUrl runs", func() bool { return c.session(sid).keys.Load() != nil && c.session(sid).dialing.Load() == nil })
					if other.ended() {
						t.Error("the other party was hung up")
					}
					other.leaves()
				} else {
					answer <- 404
				}
				c.is(sid, call.Completed)
			})
		}
	}
}

func TestTransferWithoutReferURL(t *testing.T) {
	c, called := bridged(t, "", nil)
	called.refersTo(call.LegReferred{ID: 2, To: "sip:c@h"})
	c.told(called, 603)
	c.notified(c.children()[0].SID, 13802)
	c.talking(c.caller, called)
	called.leaves()
	c.is(c.call.SID, call.Completed)
}

func TestTransferWhoseDocumentFails(t *testing.T) {
	c, called := bridged(t, `referUrl="http://127.0.0.1:1/refer"`, nil)
	called.refersTo(call.LegReferred{ID: 2, To: "sip:c@h"})
	c.told(called, 202, 503)
	c.talking(c.caller, called)
	c.notified(c.call.SID, 11200, 11202, 11205)
	called.refersTo(call.LegReferred{ID: 3, To: "sip:c@h"})
	c.told(called, 202, 503) // it may try again
	c.talking(c.caller, called)
}

// notified waits for a notification of one of these codes.
func (w *world) notified(sid string, codes ...int) {
	w.t.Helper()
	w.until("a notification", func() bool {
		list, _, err := w.store.ListNotifications(w.t.Context(), call.NotificationFilter{AccountSID: w.account.SID, CallSID: sid, Limit: 50})
		if err != nil {
			w.t.Fatal(err)
		}
		return slices.ContainsFunc(list, func(n call.Notification) bool { return slices.Contains(codes, n.Code) })
	})
}

// enters is a call from outside to a number of the account that runs page.
func (c *conversation) enters(page string) (*actor, *Session) {
	c.t.Helper()
	l := newActor()
	if _, err := c.store.NumberByPhone(c.t.Context(), "+15550199"); err != nil {
		now := clock.System.Now()
		n := &call.Number{SID: "PN00000000000000000000000000000001", AccountSID: c.account.SID, PhoneNumber: "+15550199", VoiceURL: c.app.URL + page, VoiceMethod: "POST", DateCreated: now, DateUpdated: now}
		if err := c.store.CreateNumber(c.t.Context(), n); err != nil {
			c.t.Fatal(err)
		}
	}
	c.Inbound(l, call.InboundLeg{To: "+15550199", From: "bob@h", Source: "127.0.0.1:5060"})
	var s *Session
	c.until("the call is live", func() bool { s = c.of(l); return s != nil })
	c.asked(page)
	return l, s
}

// of is the call of a leg.
func (c *conversation) of(l *actor) *Session {
	return c.byDialog(&call.Replaces{CallID: l.callID, ToTag: "ours", FromTag: "theirs"})
}

func (l *actor) replaces() *call.Replaces {
	return &call.Replaces{CallID: l.callID, ToTag: "ours", FromTag: "theirs"}
}

// One phone, B, has two calls and joins A and C. Each of its calls may be one that it made or one that it was
// called with, so that each of the two who remain is a caller or a called one.
func TestAttendedTransfer(t *testing.T) {
	pages := map[string]string{
		"/out": `<Dial action="/after-out"><Number>+15550104</Number></Dial>`, "/after": "<Hangup/>", "/after-out": "<Hangup/>",
	}
	for _, test := range []struct {
		name           string
		first, second  bool // B made that call
		reversed, last bool // REFER goes on the second call; A hangs up in the end, else C
	}{
		{"called, made", false, true, false, false}, {"called, made; A hangs up", false, true, false, true},
		{"called, made; REFER on the second", false, true, true, false},
		{"made, made", true, true, false, false}, {"made, made; A hangs up", true, true, false, true},
		{"called, called", false, false, false, false}, {"called, called; A hangs up", false, false, true, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, called := bridged(t, `action="/after"`, pages)
			a, b1 := c.caller, called
			if test.first {
				a, b1 = called, c.caller
			}
			made, madeSession := c.enters("/out")
			target := c.leg()
			target.events <- call.LegAnswered{}
			c.talking(made, target)
			b2, third := made, target
			if !test.second {
				b2, third = target, made
			}
			sids := map[*actor]string{c.caller: c.call.SID, called: c.children()[0].SID, made: madeSession.sid, target: c.of(target).sid}
			b1.events <- call.LegHeld{On: true}
			c.until("A hears music", a.tone)
			from, named := b1, b2
			if test.reversed {
				from, named = b2, b1
			}
			from.refersTo(call.LegReferred{ID: 2, To: "sip:c@h", Replaces: named.replaces()})
			c.talking(a, third)
			c.told(from, 202, 200)
			if a.tone() {
				t.Error("the music goes on")
			}
			c.is(sids[named], call.Completed) // hung up at once
			from.leaves()
			c.is(sids[from], call.Completed)
			if a.ended() || third.ended() {
				t.Fatal("who was joined was hung up")
			}
			c.talking(a, third)
			for _, p := range []*actor{a, third} {
				if s := c.stored(sids[p]).Status; s != call.InProgress {
					t.Errorf("who was joined is %s", s)
				}
			}
			goes, stays := third, a
			if test.last {
				goes, stays = a, third
			}
			goes.leaves()
			c.is(sids[goes], call.Completed)
			c.is(sids[stays], call.Completed)
			c.until("both actions were requested", func() bool { return len(c.app.asked) >= 2 })
			for range 2 {
				got := c.request()
				if got.Get("DialCallStatus") != "completed" || got.Get("DialBridged") != "true" || got.Get("DialCallSid") != c.stored(got.Get("DialCallSid")).SID ||
					c.stored(got.Get("DialCallSid")).ParentSID != got.Get("CallSid") {
					t.Errorf("action: %v", got)
				}
			}
		})
	}
}

func TestTransfersThatCannotBe(t *testing.T) {
	c, called := bridged(t, `referUrl="/refer"`, map[string]string{"/alone": `<Gather timeout="60"/>`, "/refer": "<Hangup/>"})
	alone, _ := c.enters("/alone")
	called.refersTo(call.LegReferred{ID: 2, To: "sip:c@h", Replaces: alone.replaces()}) // who talks to nobody
	c.told(called, 480)
	early := called.replaces()
	early.EarlyOnly = true
	c.caller.refersTo(call.LegReferred{ID: 2, To: "sip:c@h", Replaces: early})
	c.told(c.caller, 486)
	c.caller.refersTo(call.LegReferred{ID: 3, To: "sip:c@h", Replaces: called.replaces()}) // each other
	c.told(c.caller, 480)
	c.talking(c.caller, called)
	// A dialog that is none of ours is somewhere to go to like any other.
	c.caller.refersTo(call.LegReferred{ID: 4, To: "sip:c@h", Replaces: &call.Replaces{CallID: "x", ToTag: "1", FromTag: "2"}})
	c.asked("/refer")
}

func TestACallTakesThePlaceOfAnother(t *testing.T) {
	for who, place := range map[string]func(c *conversation, called *actor) (old, other *actor){
		"called": func(c *conversation, called *actor) (*actor, *actor) { return called, c.caller },
		"caller": func(c *conversation, called *actor) (*actor, *actor) { return c.caller, called },
	} {
		t.Run(who, func(t *testing.T) {
			c, called := bridged(t, `action="/after"`, map[string]string{"/after": "<Hangup/>"})
			old, other := place(c, called)
			oldSID, otherSID := c.of(old).sid, c.of(other).sid
			for _, refused := range []struct {
				r    call.Replaces
				code int
			}{
				{call.Replaces{CallID: "x", ToTag: "ours", FromTag: "theirs"}, 481},
				{call.Replaces{CallID: old.callID, ToTag: "ours", FromTag: "x"}, 481},
				{call.Replaces{CallID: old.callID, ToTag: "ours", FromTag: "theirs", EarlyOnly: true}, 486},
			} {
				l := newActor()
				c.Inbound(l, call.InboundLeg{To: "x@h", From: "d@h", Source: "127.0.0.1:5060", Replaces: &refused.r})
				if _, code := l.did(); code != refused.code {
					t.Errorf("%+v: %d, want %d", refused.r, code, refused.code)
				}
			}
			l := newActor()
			c.Inbound(l, call.InboundLeg{To: "x@h", From: "d@h", Source: "127.0.0.1:5060", Replaces: old.replaces()})
			c.talking(l, other)
			c.is(oldSID, call.Completed)
			sid := c.of(l).sid
			if got := c.stored(sid); got.Status != call.InProgress || got.Direction != call.Inbound || got.AccountSID != c.account.SID {
				t.Errorf("the new call: %+v", got)
			}
			if other.ended() {
				t.Fatal("the other party was hung up")
			}
			other.leaves()
			c.is(otherSID, call.Completed)
			c.is(sid, call.Completed)
			c.asked("/after")
		})
	}
}

// A phone takes a call that rings at others (RFC 3891 section 3: only one that we make).
func TestACallThatRingsIsPickedUp(t *testing.T) {
	c := inboundDial(t, `<Dial answerOnBridge="true" action="/after"><Number>+15550102</Number><Number>+15550103</Number></Dial>`, map[string]string{"/after": "<Hangup/>"})
	first, second := c.leg(), c.leg()
	c.comes("INVITE", first.invited)
	picks := func(r *call.Replaces) *actor {
		l := newActor()
		c.Inbound(l, call.InboundLeg{To: "x@h", From: "d@h", Source: "127.0.0.1:5060", Replaces: r})
		return l
	}
	for name, l := range map[string]*actor{"not ringing yet": first, "called us": c.caller} {
		if _, code := picks(l.replaces()).did(); code != 481 {
			t.Errorf("%s: %d", name, code)
		}
	}
	first.events <- call.LegRinging{Code: 180}
	child := c.of(first).sid
	c.is(child, call.Ringing)
	early := first.replaces()
	early.EarlyOnly = true
	l := picks(early)
	c.talking(l, c.caller)
	if answered, _ := c.caller.did(); !answered {
		t.Error("the caller was not answered")
	}
	c.comes("CANCEL", first.hungUp)
	c.comes("CANCEL", second.hungUp)
	c.is(child, call.Canceled)
	sid := c.of(l).sid
	l.leaves()
	if got := c.asked("/after"); got.Get("DialCallStatus") != "completed" || got.Get("DialBridged") != "true" || got.Get("DialCallSid") != child {
		t.Errorf("action: %v", got)
	}
	c.is(sid, call.Completed)
	c.is(c.call.SID, call.Completed)
}

// The caller goes, or wants to go on, while he talks to who picked up his call.
func TestTheEndOfACallThatWasPickedUp(t *testing.T) {
	for name, end := range map[string]func(c *conversation){
		"star": func(c *conversation) { c.caller.press('*') }, "hang-up": func(c *conversation) { c.caller.leaves() },
	} {
		t.Run(name, func(t *testing.T) {
			c := inboundDial(t, `<Dial hangupOnStar="true" action="/after">+15550102</Dial>`, map[string]string{"/after": "<Hangup/>"})
			called := c.leg()
			c.comes("INVITE", called.invited)
			called.events <- call.LegRinging{Code: 180}
			c.is(c.of(called).sid, call.Ringing)
			l := newActor()
			c.Inbound(l, call.InboundLeg{To: "x@h", From: "d@h", Source: "127.0.0.1:5060", Replaces: called.replaces()})
			c.talking(l, c.caller)
			end(c)
			c.comes("BYE", l.hungUp)
			if got := c.asked("/after"); got.Get("DialCallStatus") != "completed" || got.Get("DialBridged") != "true" {
				t.Errorf("action: %v", got)
			}
		})
	}
}

// Two phones want the same place at once: one of them has it, the other's call ends, and nobody is left half connected.
func TestTwoCallsTakeThePlaceOfOne(t *testing.T) {
	c, called := bridged(t, `action="/after"`, map[string]string{"/after": "<Hangup/>"})
	both := []*actor{newActor(), newActor()}
	c.joining <- struct{}{} // somebody else is being joined
	for _, l := range both {
		c.Inbound(l, call.InboundLeg{To: "x@h", From: "d@h", Source: "127.0.0.1:5060", Replaces: called.replaces(), Domain: &call.Domain{
			Record: call.Record{SID: "SD1", AccountSID: c.account.SID}, Name: "shop.example",
		}})
	}
	for _, l := range both {
		c.until("both are answered", func() bool { answered, _ := l.did(); return answered })
	}
	<-c.joining
	c.until("one is connected, the other over", func() bool {
		if both[1].hearing() != nil {
			both[0], both[1] = both[1], both[0]
		}
		return both[0].hearing() == Leg(c.caller) && both[1].ended()
	})
	c.talking(both[0], c.caller)
	if o := c.stored(c.of(both[0]).sid).Options; o.SIPDomain != "shop.example" || o.SIPDomainSID != "SD1" {
		t.Errorf("the domain: %+v", o)
	}
	both[0].leaves()
	if got := c.asked("/after"); got.Get("DialCallStatus") != "completed" {
		t.Errorf("action: %v", got)
	}
}

// The API ends or redirects a party that was joined: the other one is free for what is next, or over.
func TestWhoWasJoinedIsRedirected(t *testing.T) {
	c, called := bridged(t, `action="/after"`, map[string]string{"/after": `<Gather timeout="60"/>`, "/other": `<Gather timeout="60"/>`})
	l := newActor()
	c.Inbound(l, call.InboundLeg{To: "x@h", From: "d@h", Source: "127.0.0.1:5060", Replaces: called.replaces()})
	c.talking(l, c.caller)
	sid := c.of(l).sid
	if _, err := c.Update(t.Context(), c.account.SID, sid, call.UpdateParams{URL: c.app.URL + "/other"}); err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{c.request().Get("path"): true, c.request().Get("path"): true}
	if !got["/other"] || !got["/after"] {
		t.Errorf("requests: %v", got)
	}
	if l.hearing() != nil || c.caller.hearing() != nil {
		t.Error("they still hear each other")
	}
}
