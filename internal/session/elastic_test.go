package session

import (
	"errors"
	"slices"
	"testing"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/clock"
	"github.com/offhook/offhook/internal/twilio"
)

// office is an account with a PBX behind an elastic trunk that has the number +15550199, and a carrier.
type office struct {
	*conversation
	dialer       *specs
	trunk, other call.Trunk // the elastic trunk and the carrier's
	update       func(change func(*call.Trunk))
}

// specced waits for the next leg, and what it was asked for.
func (o *office) specced() (*actor, call.OutboundLeg) {
	o.t.Helper()
	l := o.leg()
	return l, o.dialer.last()
}

func newOffice(t *testing.T, change func(o *office), pages map[string]string) *office {
	t.Helper()
	c, d := newCarriers(), &specs{}
	update := func(o *office) { c.list.Store(&[]call.Trunk{o.trunk, o.other}) }
	w := newWorld(t, func(cfg *Config) {
		cfg.Trunks, d.stage = c.get, cfg.Dialer.(*stage)
		cfg.Dialer = d
	})
	o := &office{conversation: &conversation{world: w, app: newDialApp(t, pages)}, dialer: d}
	o.trunk = call.Trunk{
		SID: twilio.NewSID("TK"), AccountSID: w.account.SID, Kind: call.Elastic, DomainName: "office.example",
		RecoveryMethod: "POST", TransferMode: "disable-all", TransferCallerID: "from-transferee", RecordMode: "do-not-record", RecordTrim: "do-not-trim",
		Targets: []call.Target{{URI: "sip:b.example", Priority: 2, Weight: 1, Enabled: true}, {URI: "sip:a.example", Priority: 1, Weight: 1, Enabled: true}},
	}
	o.other = call.Trunk{
		SID: twilio.NewSID("TK"), AccountSID: w.account.SID, Prefixes: []string{"+1"}, Username: "me", Password: "secret",
		Targets: []call.Target{{URI: "sip:carrier.example", Weight: 1, Enabled: true}},
	}
	if change != nil {
		change(o)
	}
	if err := w.store.CreateTrunk(t.Context(), &o.trunk); err != nil {
		t.Fatal(err)
	}
	o.update = func(change func(*call.Trunk)) {
		change(&o.trunk)
		update(o)
	}
	update(o)
	now := clock.System.Now()
	n := &call.Number{SID: twilio.NewSID("PN"), AccountSID: w.account.SID, PhoneNumber: "+15550199", TrunkSID: o.trunk.SID, DateCreated: now, DateUpdated: now}
	if err := w.store.CreateNumber(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	return o
}

// comesIn is an INVITE of a trunk.
func (o *office) comesIn(t *call.Trunk, from, to string) *actor {
	o.t.Helper()
	o.caller = newActor()
	o.Inbound(o.caller, call.InboundLeg{To: to, From: from, CallerName: "Ann", Trunk: t, Source: "192.0.2.1:5060", Hops: 3})
	o.until("the call is there", func() bool {
		list, _, err := o.store.ListCalls(o.t.Context(), call.Filter{AccountSID: o.account.SID, Limit: 50})
		for _, c := range list {
			if c.Dialog != nil && c.Dialog.CallID == o.caller.callID {
				o.call = c
				return err == nil
			}
		}
		_, code := o.caller.did()
		return code != 0
	})
	return o.caller
}

func TestACallToANumberOnATrunkGoesToItsPBX(t *testing.T) {
	o := newOffice(t, func(o *office) { o.trunk.Secure, o.trunk.CNAMLookup = true, true }, nil)
	caller := o.comesIn(&o.other, "+15550150", "+15550199")
	pbx, spec := o.specced()
	if spec.Target != "sip:+15550199@a.example;user=phone" || !slices.Equal(spec.Targets, []string{"sip:+15550199@b.example;user=phone"}) ||
		!spec.Secure || !spec.Trusted || spec.From != "+15550150" || spec.FromName != "Ann" || spec.Username != "" || spec.Hops != 4 {
		t.Errorf("%+v", spec)
	}
	if caller.rung() {
		t.Error("the caller was told that it rings before it did")
	}
	pbx.events <- call.LegRinging{Code: 180}
	o.until("the caller hears that it rings", caller.rung)
	if answered, _ := caller.did(); answered || caller.tone() {
		t.Error("answered, or a tone of ours, before anybody did")
	}
	pbx.events <- call.LegAnswered{}
	o.talking(caller, pbx)
	first, child := o.stored(o.call.SID), o.children()[0]
	for _, c := range []*call.Call{first, child} {
		if c.Direction != call.TrunkingOriginating || c.TrunkSID != o.trunk.SID || c.Status != call.InProgress || c.Resource().Direction != "inbound" {
			t.Errorf("%+v", c)
		}
	}
	if first.NumberSID == "" || child.To != "+15550199" || child.From != "+15550150" {
		t.Errorf("%+v, %+v", first, child)
	}
	_, err := o.Update(t.Context(), o.account.SID, first.SID, call.UpdateParams{Twiml: "<Response/>"})
	var refused *twilio.Error
	if !errors.As(err, &refused) || refused.Code != 21220 {
		t.Errorf("redirected: %v", err)
	}
	pbx.leaves()
	o.is(first.SID, call.Completed)
	o.comes("BYE to the caller", caller.hungUp)
	select {
	case p := <-o.app.asked:
		t.Errorf("an application was asked: %v", p)
	default:
	}
}

// The caller gets the answer of the PBX, but for what only we could do something about.
func TestTheCallerHearsWhatThePBXSays(t *testing.T) {
	o := newOffice(t, nil, nil)
	for answer, want := range map[int]int{486: 486, 404: 404, 488: 488, 603: 603, 480: 480, 401: 503, 407: 503, 302: 503, 503: 503, 500: 500} {
		caller := o.comesIn(&o.other, "+15550150", "+15550199")
		pbx, _ := o.specced()
		pbx.events <- call.LegRinging{Code: 180}
		o.until("the caller hears that it rings", caller.rung)
		pbx.events <- call.LegEnded{Cause: call.Cause{SIPCode: answer, Reason: "As The PBX Said"}}
		o.comes("end of the call", caller.hungUp)
		if answered, code := caller.did(); answered || code != want {
			t.Errorf("%d: answered %v, refused with %d, not %d", answer, answered, code, want)
		}
		o.is(o.call.SID, call.StatusOf(answer))
	}
}

func TestTheCallerOfATrunkGivesUp(t *testing.T) {
	o := newOffice(t, nil, nil)
	caller := o.comesIn(&o.other, "+15550150", "+15550199")
	pbx, _ := o.specced()
	pbx.events <- call.LegRinging{Code: 183, EarlyMedia: true}
	o.until("the caller hears the PBX", func() bool { return caller.hearing() == Leg(pbx) })
	caller.events <- call.LegEnded{Canceled: true, Cause: call.Cause{SIPCode: 487}}
	o.comes("CANCEL to the PBX", pbx.hungUp)
	o.is(o.call.SID, call.NoAnswer)
	o.is(o.children()[0].SID, call.Canceled)
}

func TestDisasterRecovery(t *testing.T) {
	for name, fails := range map[string]struct {
		events []call.LegEvent
		want   bool
	}{
		"nobody answers":    {[]call.LegEvent{call.LegEnded{Cause: call.Cause{SIPCode: 408, Reason: "request timeout"}}}, true},
		"service failure":   {[]call.LegEvent{call.LegEnded{Cause: call.Cause{SIPCode: 503}}}, true},
		"busy":              {[]call.LegEvent{call.LegEnded{Cause: call.Cause{SIPCode: 486}}}, false},
		"it rang":           {[]call.LegEvent{call.LegRinging{Code: 180}, call.LegEnded{Cause: call.Cause{SIPCode: 408}}}, false},
		"no enabled target": {nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t, nil, map[string]string{"/recovery": `<Reject reason="busy"/>`})
			o.update(func(tr *call.Trunk) {
				tr.RecoveryURL = o.app.URL + "/recovery"
				if fails.events == nil {
					tr.Targets = nil
				}
			})
			caller := o.comesIn(&o.other, "+15550150", "+15550199")
			if fails.events != nil {
				pbx, _ := o.specced()
				for _, e := range fails.events {
					pbx.events <- e
				}
			}
			if fails.want {
				if p := o.asked("/recovery"); p.Get("CallSid") != o.call.SID || p.Get("CallStatus") != "ringing" {
					t.Errorf("%v", p)
				}
			}
			o.comes("end of the call", caller.hungUp)
			if len(o.app.asked) > 0 {
				t.Error("the recovery URL was asked")
			}
		})
	}
}

func TestAPBXCallsANumber(t *testing.T) {
	o := newOffice(t, nil, nil)
	pbx := o.comesIn(&o.trunk, "+15550199", "+15550150")
	callee, spec := o.specced()
	if spec.Target != "sip:+15550150@carrier.example;user=phone" || spec.From != "+15550199" || spec.Username != "me" || !spec.Trusted {
		t.Errorf("%+v", spec)
	}
	callee.events <- call.LegRinging{Code: 183, EarlyMedia: true}
	o.until("the PBX hears the network", func() bool { return pbx.hearing() == Leg(callee) })
	callee.events <- call.LegAnswered{}
	o.talking(pbx, callee)
	first, child := o.stored(o.call.SID), o.children()[0]
	if first.Direction != call.TrunkingTerminating || child.Direction != call.TrunkingTerminating || first.Resource().Direction != "outbound-dial" ||
		first.TrunkSID != o.trunk.SID || child.TrunkSID != o.other.SID || first.NumberSID == "" {
		t.Errorf("%+v, %+v", first, child)
	}
	pbx.leaves()
	o.comes("BYE to the callee", callee.hungUp)
	o.is(child.SID, call.Completed)
}

func TestWhomAPBXMayCallAndAs(t *testing.T) {
	o := newOffice(t, nil, nil)
	for _, x := range []struct {
		from, to string
		owned    bool
		code     int
	}{
		{"+15550177", "bob@office.example", false, 404}, {"bob@office.example", "+15550150", false, 403},
		{"+15550177", "+15550150", true, 403}, {"anonymous@anonymous.invalid", "+15550150", true, 403},
	} {
		o.OwnedFromOnly = x.owned
		l := o.comesIn(&o.trunk, x.from, x.to)
		if _, code := l.did(); code != x.code {
			t.Errorf("%s calls %s: %d, not %d", x.from, x.to, code, x.code)
		}
	}
	o.OwnedFromOnly = false
	o.comesIn(&o.trunk, "Anonymous@anonymous.invalid", "+15550150")
	if _, spec := o.specced(); spec.From != "anonymous" {
		t.Errorf("%+v", spec)
	}
	o.comesIn(&o.trunk, "+15550199", "+447700900001") // no carrier goes there; the simulator does
	if _, spec := o.specced(); spec.Dest != "127.0.0.1:1" {
		t.Errorf("%+v", spec)
	}
	o.Simulator = func() string { return "" }
	l := o.comesIn(&o.trunk, "+15550199", "+447700900001")
	o.comes("end of the call", l.hungUp)
	if _, code := l.did(); code != 404 {
		t.Errorf("nowhere to go: %d", code)
	}
}

// A carrier's trunk is its account's. Only the server's own serve all.
func TestTrunksAndNumbersOfAccounts(t *testing.T) {
	w := newWorld(t, func(cfg *Config) { cfg.Operator = "ACoperator" })
	a, b := w.account.SID, twilio.NewSID("AC")
	trunk := func(account string, prefixes ...string) call.Trunk {
		return call.Trunk{SID: twilio.NewSID("TK"), AccountSID: account, Prefixes: prefixes, Targets: []call.Target{{URI: "sip:a.example", Enabled: true}}}
	}
	servers, old, as := trunk("ACoperator", "+", "+1555"), trunk("", "+4"), trunk(a, "+1")
	list := []call.Trunk{servers, old, as}
	w.Trunks = func() []call.Trunk { return list }
	for _, x := range []struct {
		account, number, want string
	}{
		{a, "+15550100", as.SID}, {b, "+15550100", servers.SID}, {a, "+33123456", servers.SID}, {b, "+447700900", old.SID}, {"ACoperator", "+15550100", servers.SID},
	} {
		if got := w.trunkFor(x.account, x.number); got == nil || got.SID != x.want {
			t.Errorf("%s calls %s: %+v", x.account, x.number, got)
		}
	}
	list = list[2:]
	if got := w.trunkFor(b, "+15550100"); got != nil {
		t.Errorf("another account's trunk: %+v", got)
	}

	now := clock.System.Now()
	n := &call.Number{SID: twilio.NewSID("PN"), AccountSID: a, PhoneNumber: "+15550199", VoiceURL: "http://a.test/", DateCreated: now, DateUpdated: now}
	if err := w.store.CreateNumber(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	bs, byoc := trunk(b), trunk(a)
	byoc.Voice = call.Voice{URL: "http://a.test/byoc", Method: "GET"}
	for name, x := range map[string]struct {
		trunk *call.Trunk
		to    string
		url   string // "" is not found
	}{
		"its own": {&as, "+15550199", "http://a.test/"}, "the server's": {&servers, "+15550199", "http://a.test/"},
		"somebody else's": {&bs, "+15550199", ""}, "nobody's number": {&as, "+15550198", ""},
		"a number that is not ours, of BYOC": {&byoc, "+15550198", "http://a.test/byoc"}, "loopback": {nil, "+15550199", "http://a.test/"},
	} {
		c, err := w.inboundCall(t.Context(), call.InboundLeg{To: x.to, From: "+15550150", Trunk: x.trunk})
		switch {
		case x.url == "" && !errors.Is(err, call.ErrNotFound):
			t.Errorf("%s: %+v, %v", name, c, err)
		case x.url != "" && (err != nil || c.AccountSID != a || c.Options.URL != x.url):
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
}

func TestAPBXTransfersItsCall(t *testing.T) {
	for name, x := range map[string]struct {
		mode, caller, to string
		incoming         bool // a call from the PBX
		replied          int
		target, from     string // of the new call
	}{
		"none":                         {"disable-all", "from-transferee", "sip:+15550123@office.example", false, 603, "", ""},
		"to a number":                  {"enable-all", "from-transferee", "sip:+15550123@office.example", false, 202, "sip:+15550123@carrier.example;user=phone", "+15550150"},
		"to a number, as the PBX":      {"enable-all", "from-transferor", "sip:+15550123@office.example", false, 202, "sip:+15550123@carrier.example;user=phone", "+15550199"},
		"to a number, not allowed":     {"sip-only", "from-transferee", "sip:+15550123@office.example", false, 603, "", ""},
		"to an address":                {"sip-only", "from-transferee", "sip:bob@other.example?X-A=1", false, 202, "sip:bob@other.example", "+15550150"},
		"whom it called":               {"enable-all", "from-transferee", "sip:+15550123@office.example", true, 202, "sip:+15550123@carrier.example;user=phone", "+15550150"},
		"whom it called, as the PBX":   {"enable-all", "from-transferor", "sip:+15550123@office.example", true, 202, "sip:+15550123@carrier.example;user=phone", "+15550199"},
		"to what is no address at all": {"enable-all", "from-transferee", "mailto:a@b", false, 603, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t, func(o *office) { o.trunk.TransferMode, o.trunk.TransferCallerID = x.mode, x.caller }, nil)
			var pbx, other *actor
			if x.incoming {
				pbx = o.comesIn(&o.trunk, "+15550199", "+15550150")
				other, _ = o.specced()
				other.events <- call.LegAnswered{}
			} else {
				other = o.comesIn(&o.other, "+15550150", "+15550199")
				pbx, _ = o.specced()
				pbx.events <- call.LegAnswered{}
			}
			o.talking(pbx, other)
			other.refersTo(call.LegReferred{ID: 1, To: x.to}) // not for a carrier to ask
			o.told(other, 603)
			pbx.refersTo(call.LegReferred{ID: 1, To: x.to})
			if x.replied == 603 {
				o.told(pbx, 603)
				o.talking(pbx, other)
				return
			}
			third, spec := o.specced()
			o.told(pbx, 202, 200)
			if spec.Target != x.target || spec.From != x.from {
				t.Errorf("%+v", spec)
			}
			third.events <- call.LegAnswered{}
			o.talking(other, third)
			pbx.leaves()
			third.leaves()
			o.comes("the end", other.hungUp)
		})
	}
}
