package session

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/twilio"
)

// carriers lets a test change the trunks.
type carriers struct{ list atomic.Pointer[[]call.Trunk] }

func (c *carriers) get() []call.Trunk { return *c.list.Load() }

func newCarriers(trunks ...call.Trunk) *carriers {
	c := &carriers{}
	c.list.Store(&trunks)
	return c
}

func TestACallLeavesThroughItsByocTrunk(t *testing.T) {
	var account string
	byoc := call.Trunk{
		SID: twilio.NewSID("TK"), Secure: true, FromHost: "pbx.example", Username: "me", Password: "secret",
		Targets: []call.Target{
			{URI: "sip:b.example", Priority: 2, Weight: 1, Enabled: true}, {URI: "sip:a.example", Priority: 1, Weight: 1, Enabled: true},
			{URI: "sip:off.example", Priority: 0, Weight: 1},
		},
	}
	other, elastic := byoc, byoc
	other.SID, elastic.SID, elastic.Kind = twilio.NewSID("TK"), twilio.NewSID("TK"), call.Elastic
	c := newCarriers()
	w := newWorld(t, func(cfg *Config) { cfg.Trunks = c.get })
	account = w.account.SID
	byoc.AccountSID, elastic.AccountSID, other.AccountSID = account, account, twilio.NewSID("AC")
	c.list.Store(&[]call.Trunk{byoc, other, elastic})
	made := w.create(`<Response/>`, func(p *call.CreateParams) { p.Byoc = call.ByocSID(byoc.SID) })
	if made.TrunkSID != byoc.SID {
		t.Errorf("trunk %q", made.TrunkSID)
	}
	w.leg()
	spec, err := w.legFor(made)
	if err != nil || spec.Target != "sip:+15550100@a.example;user=phone" || !slices.Equal(spec.Targets, []string{"sip:+15550100@b.example;user=phone"}) ||
		!spec.Secure || !spec.Trusted || spec.From != "sip:+15550101@pbx.example" || spec.Username != "me" {
		t.Errorf("%+v, %v", spec, err)
	}
	for _, sid := range []string{call.ByocSID(other.SID), call.ByocSID(elastic.SID), twilio.NewSID("BY")} {
		_, err := w.Create(context.Background(), account, call.CreateParams{To: "+15550100", From: "+15550101", Byoc: sid, Options: call.Options{Twiml: "<Response/>"}})
		var refused *twilio.Error
		if !errors.As(err, &refused) || refused.Code != 20404 || !strings.Contains(refused.Message, sid) {
			t.Errorf("%s: %v", sid, err)
		}
	}
	for _, p := range []call.CreateParams{
		{To: "sip:x@h", From: "+15550101", Byoc: call.ByocSID(byoc.SID)}, {To: "+15550100", From: "+15550101", Byoc: byoc.SID},
	} {
		p.Options.Twiml = "<Response/>"
		var refused *twilio.Error
		if _, err := w.Create(context.Background(), account, p); !errors.As(err, &refused) || refused.Code != 20001 {
			t.Errorf("%+v: %v", p, err)
		}
	}
}

// TestTheQueueOfARemovedTrunkEnds: at once when it is idle, else with its last call, which goes on.
func TestTheQueueOfARemovedTrunkEnds(t *testing.T) {
	trunk := call.Trunk{SID: twilio.NewSID("TK"), Prefixes: []string{"+"}, MaxCalls: 1, Targets: []call.Target{{URI: "sip:a.example", Enabled: true}}}
	c := newCarriers(trunk)
	w := newWorld(t, func(cfg *Config) { cfg.Trunks = c.get })
	lanes := func() int {
		w.queue.mu.Lock()
		defer w.queue.mu.Unlock()
		n := 0
		for key := range w.queue.lanes {
			if key == trunk.SID {
				n++
			}
		}
		return n
	}
	first := w.create(`<Response><Pause length="60"/></Response>`)
	l := w.leg()
	second := w.create(`<Response/>`) // waits for its place
	c.list.Store(&[]call.Trunk{})
	w.TrunksChanged()
	w.is(second.SID, call.Failed) // its trunk was removed while it waited
	if got := w.stored(first.SID); got.Status.Final() || lanes() != 1 {
		t.Errorf("the live call: %s, %d queues", got.Status, lanes())
	}
	l.leaves()
	w.until("the first call is over", func() bool { return w.stored(first.SID).Status.Final() })
	w.until("the queue of the removed trunk ends", func() bool { return lanes() == 0 })

	c.list.Store(&[]call.Trunk{trunk}) // and comes back with the trunk
	third := w.create(`<Response/>`)
	w.leg().leaves()
	w.until("the third call is over", func() bool { return w.stored(third.SID).Status.Final() })
}
