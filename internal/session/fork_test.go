package session

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/twilio"
)

// directory is where phones are, by user.
type directory map[string][]call.Binding

func (d directory) Lookup(_ context.Context, _ time.Time, _, user string) ([]call.Binding, error) {
	return d[user], nil
}

// specs keeps what legs were asked for.
type specs struct {
	*stage
	mu  sync.Mutex
	all []call.OutboundLeg
}

func (s *specs) NewLeg(spec call.OutboundLeg) (Leg, error) {
	s.mu.Lock()
	s.all = append(s.all, spec)
	s.mu.Unlock()
	return s.stage.NewLeg(spec)
}

// last is what the newest leg was asked for.
func (s *specs) last() call.OutboundLeg {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all[len(s.all)-1]
}

// withPhones adds a domain shop.example where ann has two phones, bob one and cid none.
func withPhones(dialer *specs, account *string) func(*Config) {
	at := func(user, host, transport string) call.Binding {
		return call.Binding{URI: "sip:" + user + "@10.0.0.7", Dest: host + ":5060", Transport: transport}
	}
	where := directory{
		"ann": {at("ann", "192.0.2.1", "udp"), at("ann", "192.0.2.2", "tcp")},
		"bob": {at("bob", "192.0.2.3", "udp")},
	}
	return func(cfg *Config) {
		dialer.stage = cfg.Dialer.(*stage)
		cfg.Dialer, cfg.Locations = dialer, where
		cfg.Domains = func() []call.Domain {
			return []call.Domain{{
				Record: call.Record{SID: "SD1", AccountSID: *account}, Name: "shop.example", SIPRegistration: true,
				Registrants: map[string]string{"ann": "", "bob": "", "cid": ""},
			}}
		}
	}
}

func phones(t *testing.T) (*world, *specs) {
	t.Helper()
	s, account := &specs{}, ""
	w := newWorld(t, withPhones(s, &account))
	account = w.account.SID
	return w, s
}

func to(s string, more ...func(*call.CreateParams)) func(*call.CreateParams) {
	return func(p *call.CreateParams) {
		p.To = s
		for _, f := range more {
			f(p)
		}
	}
}

func TestAllPhonesOfAnAddressRing(t *testing.T) {
	for _, target := range []string{"sip:ann@shop.example", "client:ann?Order=7"} {
		t.Run(target, func(t *testing.T) {
			w, dialer := phones(t)
			c := w.create("<Response><Say>Hello</Say></Response>", to(target, toldOf))
			one, two := w.leg(), w.leg()
			w.comes("the first is called", one.invited)
			w.comes("the second is called", two.invited)
			one.events <- call.LegRinging{Code: 180}
			w.is(c.SID, call.Ringing)
			two.events <- call.LegRinging{Code: 180}
			two.events <- call.LegAnswered{}
			w.comes("the first is canceled", one.hungUp)
			<-two.played
			w.is(c.SID, call.Completed)
			w.comes("the second is hung up", two.hungUp)
			if got := w.events(c.SID); !slices.Equal(got, []string{"created", "queued", "ringing", "answered", "in-progress", "completed"}) {
				t.Errorf("events: %v", got)
			}
			dialer.mu.Lock()
			defer dialer.mu.Unlock()
			spec := dialer.all[1]
			if spec.To != "sip:ann@shop.example" || spec.Dest != "192.0.2.2:5060" || spec.Transport != "tcp" || !spec.Symmetric ||
				spec.Target != "sip:ann@10.0.0.7" || spec.From != "sip:+15550101@shop.example" || spec.Headers["X-Order"] != map[bool]string{true: "7"}[strings.HasPrefix(target, "client")] {
				t.Errorf("%+v", spec)
			}
		})
	}
}

func TestTheBestAnswerOfAllPhonesCounts(t *testing.T) {
	for name, test := range map[string]struct {
		first, second int
		want          call.Status
	}{
		"busy beats gone": {404, 486, call.Busy}, "busy beats no answer": {486, 408, call.Busy}, "a person beats a server": {503, 480, call.NoAnswer},
	} {
		t.Run(name, func(t *testing.T) {
			w, _ := phones(t)
			c := w.create("<Response/>", to("client:ann"))
			for _, end := range []int{test.first, test.second} {
				l := w.leg()
				w.comes("it is called", l.invited)
				l.set(func() { l.over = true; close(l.hungUp) })
				l.events <- call.LegEnded{Cause: call.Cause{SIPCode: end}}
				close(l.events)
			}
			w.is(c.SID, test.want)
		})
	}
}

func TestOnePhoneThatWantsNoCallEndsAll(t *testing.T) {
	w, _ := phones(t)
	c := w.create("<Response/>", to("client:ann"))
	one, two := w.leg(), w.leg()
	w.comes("the second is called", two.invited)
	two.set(func() { two.over = true; close(two.hungUp) })
	two.events <- call.LegEnded{Cause: call.Cause{SIPCode: 603}}
	close(two.events)
	w.comes("the first is canceled", one.hungUp)
	w.is(c.SID, call.NoAnswer)
}

func TestAForkThatIsGivenUp(t *testing.T) {
	w, _ := phones(t)
	c := w.create("<Response/>", to("client:ann"))
	one, two := w.leg(), w.leg()
	one.events <- call.LegRinging{Code: 180}
	w.is(c.SID, call.Ringing)
	if _, err := w.Update(t.Context(), w.account.SID, c.SID, call.UpdateParams{Status: call.Canceled}); err != nil {
		t.Fatal(err)
	}
	w.comes("one ends", one.hungUp)
	w.comes("two ends", two.hungUp)
	w.is(c.SID, call.Canceled)
	w.until("nothing is left of it", func() bool { return w.Count() == 0 })
}

func TestNobodyIsRegistered(t *testing.T) {
	for target, want := range map[string]struct {
		status call.Status
		code   int
	}{
		"sip:cid@shop.example":    {call.NoAnswer, 480},
		"sip:nobody@SHOP.example": {call.Failed, 404},
		"client:cid":              {call.NoAnswer, 480},
		"client:nobody":           {call.NoAnswer, 480},
	} {
		w, _ := phones(t)
		c := w.is(w.create("<Response/>", to(target)).SID, want.status)
		if c.Cause.SIPCode != want.code || c.Cause.Code != 32009 {
			t.Errorf("%s: %+v", target, c.Cause)
		}
	}
}

// A domain of another account is called as the rest of the world is.
func TestADomainOfAnotherAccountIsNoneOfOurs(t *testing.T) {
	s, stranger := &specs{}, twilio.NewSID("AC")
	w := newWorld(t, withPhones(s, &stranger))
	w.create("<Response/>", to("sip:ann@shop.example"))
	w.leg()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.all) != 1 || s.all[0].Dest != "" || s.all[0].Target != "sip:ann@shop.example" {
		t.Errorf("%+v", s.all)
	}
}

func TestACallForADomainRunsItsDocument(t *testing.T) {
	w := newWorld(t)
	app := newDialApp(t, map[string]string{"/voice": "<Reject/>"})
	l := newActor()
	w.Inbound(l, call.InboundLeg{
		To: "sip:sales@shop.example", From: "sip:ann@shop.example", Source: "192.0.2.9:5060", CallID: "1", AuthUser: "ann",
		Headers: map[string]string{"X-Order": "7"},
		Domain: &call.Domain{
			Record: call.Record{SID: "SD1", AccountSID: w.account.SID}, Name: "shop.example",
			Voice: call.Voice{URL: app.URL + "/voice", Method: "POST", StatusURL: "http://a.test/status", StatusMethod: "POST"},
		},
	})
	got := (&conversation{world: w, app: app}).asked("/voice")
	for name, want := range map[string]string{
		"From": "sip:ann@shop.example", "To": "sip:sales@shop.example", "SipDomain": "shop.example", "SipDomainSid": "SD1",
		"SipSourceIp": "192.0.2.9", "SipHeader_X-Order": "7", "Direction": "inbound", "CallStatus": "ringing",
	} {
		if got.Get(name) != want {
			t.Errorf("%s is %q, want %q", name, got.Get(name), want)
		}
	}
	w.is(got.Get("CallSid"), call.NoAnswer)
	if got := w.callbacks(got.Get("CallSid")); !slices.Equal(got, []string{"no-answer"}) {
		t.Errorf("callbacks %v", got)
	}
}

// Phones that answer neither CANCEL nor BYE do not hold up a shutdown.
func TestAShutdownDoesNotWaitForPhonesThatAreGone(t *testing.T) {
	w, dialer := phones(t)
	dialer.prepare = func(l *actor) { l.linger = true }
	w.create("<Response><Say>Hello</Say></Response>", to("client:ann"))
	one, two := w.leg(), w.leg()
	w.comes("the first is called", one.invited)
	w.comes("the second is called", two.invited)
	drained := make(chan struct{})
	go func() {
		now, cancel := context.WithCancel(context.Background())
		cancel()
		w.Drain(now)
		close(drained)
	}()
	w.comes("the end of the shutdown", drained)
}

// What is stored of a call says how to cancel it wherever it rings.
func TestEveryPhoneOfAForkIsStored(t *testing.T) {
	w, _ := phones(t)
	c := w.create("<Response/>", to("sip:ann@shop.example"))
	a, b := w.leg(), w.leg()
	w.comes("the INVITE", b.invited)
	d := w.stored(c.SID).Dialog
	if d.CallID != a.callID || len(d.Forks) != 1 || d.Forks[0].CallID != b.callID {
		t.Fatalf("%+v", d)
	}
	b.events <- call.LegAnswered{}
	w.until("the one that answered is left", func() bool {
		d := w.stored(c.SID).Dialog
		return d.CallID == b.callID && len(d.Forks) == 0
	})
}

func TestWhereACallWentIsStored(t *testing.T) {
	w := newWorld(t)
	c := w.create("<Response/>")
	l := w.leg()
	w.comes("the INVITE", l.invited)
	l.set(func() { l.callID = "elsewhere" })
	l.events <- call.LegMoved{}
	w.until("the new address is stored", func() bool { return w.stored(c.SID).Dialog.CallID == "elsewhere" })
	if got := w.stored(c.SID).Status; got != call.Queued {
		t.Errorf("%s", got)
	}
}
