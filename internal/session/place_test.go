package session

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/call"
)

// registrar is where cid's phone is once it was woken.
type registrar struct {
	mu    sync.Mutex
	awake bool
	asked int
}

func (r *registrar) Lookup(context.Context, time.Time, string, string) ([]call.Binding, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked++
	if !r.awake {
		return nil, nil
	}
	return []call.Binding{{URI: "sip:cid@10.0.0.9", Dest: "192.0.2.9:5060", Transport: "udp"}}, nil
}

func (r *registrar) wakes() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.awake = true
}

func (r *registrar) looked() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked
}

// sleepers is a world where cid's phone has to be woken.
func sleepers(t *testing.T) (*world, *registrar, *dialApp) {
	t.Helper()
	s, account, where := &specs{}, "", &registrar{}
	w := newWorld(t, withPhones(s, &account), func(cfg *Config) { cfg.Locations = where })
	account = w.account.SID
	return w, where, newDialApp(t, map[string]string{})
}

// A phone that was woken registers, and is called.
func TestAPhoneIsWokenForItsCall(t *testing.T) {
	w, where, app := sleepers(t)
	c := w.create("<Response/>", to("client:cid"), func(p *call.CreateParams) { p.Options.NotificationURL = app.URL + "/wake" })
	got := <-app.asked
	if got.Get("path") != "/wake" || got.Get("CallSid") != c.SID || got.Get("To") != "client:cid" || got.Get("CallStatus") != "initiated" {
		t.Errorf("the application was asked %v", got)
	}
	if w.stored(c.SID).Status != call.Queued {
		t.Errorf("it is %s before anybody can be called", w.stored(c.SID).Status)
	}
	where.wakes()
	leg := w.leg()
	w.comes("the phone is called", leg.invited)
	leg.events <- call.LegAnswered{}
	w.is(c.SID, call.Completed)
}

// One that does not wake is not there when the time to ring is over.
func TestAPhoneThatDoesNotWake(t *testing.T) {
	w, _, app := sleepers(t)
	c := w.create("<Response/>", to("client:cid"), func(p *call.CreateParams) {
		p.Options.NotificationURL, p.Options.Timeout = app.URL+"/wake", 1
	})
	if got := w.is(c.SID, call.NoAnswer); got.Cause.Code != unregisteredCode {
		t.Errorf("it ended by %+v", got.Cause)
	}
}

// A call that waits for a phone to wake can be canceled.
func TestACallToASleepingPhoneIsCanceled(t *testing.T) {
	w, where, app := sleepers(t)
	c := w.create("<Response/>", to("client:cid"), func(p *call.CreateParams) { p.Options.NotificationURL = app.URL + "/wake" })
	<-app.asked
	if _, err := w.Update(t.Context(), w.account.SID, c.SID, call.UpdateParams{Status: call.Canceled}); err != nil {
		t.Fatal(err)
	}
	w.until("nobody waits for it", func() bool { return w.Count() == 0 })
	asked := where.looked()
	where.wakes()
	if got := w.stored(c.SID); got.Status != call.Canceled || where.looked() != asked {
		t.Errorf("it is %s", got.Status)
	}
}

// One whose account is closed meanwhile is canceled too, and holds up nobody who waits for that.
func TestACallToASleepingPhoneEndsWithItsAccount(t *testing.T) {
	w, _, app := sleepers(t)
	c := w.create("<Response/>", to("client:cid"), func(p *call.CreateParams) {
		p.Options.NotificationURL, p.Options.Timeout = app.URL+"/wake", 600
	})
	<-app.asked
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := w.EndCalls(ctx, w.account.SID); err != nil {
		t.Fatal(err)
	}
	if got := w.stored(c.SID); got.Status != call.Canceled {
		t.Errorf("it is %s", got.Status)
	}
	w.until("nobody waits for it", func() bool { return w.Count() == 0 })
}

// <Client clientNotificationUrl> wakes a phone too; a caller who leaves meanwhile leaves nobody waiting.
func TestADialWakesAPhone(t *testing.T) {
	w, where, app := sleepers(t)
	app.pages["/"] = `<Dial><Client clientNotificationUrl="/wake">cid</Client></Dial>`
	w.create("", func(p *call.CreateParams) { p.Options.URL = app.URL + "/" })
	caller := w.leg()
	caller.events <- call.LegAnswered{}
	if got := <-app.asked; got.Get("path") != "/wake" || got.Get("To") != "client:cid" || got.Get("ParentCallSid") == "" {
		t.Errorf("the application was asked %v", got)
	}
	where.wakes()
	w.comes("the phone is called", w.leg().invited)

	w, _, app = sleepers(t)
	app.pages["/"] = `<Dial timeout="600"><Client clientNotificationUrl="/wake">cid</Client></Dial>`
	c := w.create("", func(p *call.CreateParams) { p.Options.URL = app.URL + "/" })
	caller = w.leg()
	caller.events <- call.LegAnswered{}
	<-app.asked
	caller.leaves()
	w.is(c.SID, call.Completed)
	w.until("nobody waits for it", func() bool { return w.Count() == 0 })
}

// What a create says of the caller is what the leg is made with.
func TestWhoIsSaidToCall(t *testing.T) {
	w, s := phones(t)
	w.create("<Response/>", to("sip:desk@pbx.example", func(p *call.CreateParams) {
		p.Options.CallerID, p.Options.SIPUsername, p.Options.SIPPassword = "+15550199", "ann", "secret"
	}))
	w.comes("the call is dialled", w.leg().invited)
	if got := s.last(); got.From != "+15550199" || got.Username != "ann" || got.Password != "secret" {
		t.Errorf("the leg is of %+v", got)
	}
}
