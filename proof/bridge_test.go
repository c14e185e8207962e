package proof

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/offhook/offhook/phone"
)

// TestAKillInMidConversation kills the engine while two phones talk through it: the next one hangs both up, and
// both calls are over and told so.
func TestAKillInMidConversation(t *testing.T) {
	const called = wide + "30000001"
	p, a := newPhones(t, window), newApp(t, window)
	a.document = func(*http.Request) string {
		return `<Response><Dial action="/after"><Number statusCallback="/status" statusCallbackEvent="initiated ringing answered completed">` +
			called + `</Number></Dial></Response>`
	}
	incoming := make(chan *phone.Call, 1)
	bob, err := phone.Listen(t.Context(), phone.Config{OnCall: func(c *phone.Call) {
		_ = c.Ring()
		_ = c.Answer()
		incoming <- c
		<-c.HungUp()
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = bob.Close() })
	e := &engine{t: t, bin: build(t), data: t.TempDir()}
	e.start()
	defer e.kill()
	e.trunk("carrier", bob.Addr(), wide, 0, 0)
	e.number(talks, a.URL+"/voice", a.URL+"/status")

	line, err := p.Dial(t.Context(), "sip:"+talks+"@"+e.sip)
	if err != nil {
		t.Fatal(err)
	}
	other := <-incoming
	var sids []string
	talking := func() bool {
		sids = a.inConversation()
		return len(sids) == 2 && other.PacketsHeard() > 0 && line.PacketsHeard() > 0
	}
	if !until(t.Context(), time.Now().Add(patience), talking) {
		t.Fatalf("calls in conversation: %v", sids)
	}
	e.kill()
	a.calmDown()
	e.start()
	for _, c := range []*phone.Call{line, other} {
		if err := c.WaitHungUp(t.Context()); err != nil {
			t.Error(err)
		}
		if end, _ := c.End(); !end.Remote {
			t.Errorf("the phone was not told: %v", end)
		}
	}
	for _, sid := range sids {
		final := func() bool {
			c, err := e.fetch(sid)
			list := a.callbacks(sid)
			return err == nil && c.final() && len(list) > 0 && list[len(list)-1].status == c.Status
		}
		if !until(t.Context(), time.Now().Add(patience), final) {
			c, err := e.fetch(sid)
			t.Errorf("%s: %v %v, callbacks %v", sid, c, err, a.callbacks(sid))
		}
	}
}

// inConversation are the call that a <Dial> made and was answered, and the one that made it.
func (a *app) inConversation() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	for sid, list := range a.got {
		for _, cb := range list {
			if params, err := url.ParseQuery(cb.body); err == nil && cb.status == "in-progress" && params.Get("ParentCallSid") != "" {
				return []string{sid, params.Get("ParentCallSid")}
			}
		}
	}
	return nil
}
