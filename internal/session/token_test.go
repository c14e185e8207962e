package session

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/clock"
	"github.com/offhook/offhook/internal/twilio"
)

// laterClock is ahead of the time.
type laterClock struct {
	clock.Clock
	by time.Duration
}

func (c *laterClock) Now() time.Time { return c.Clock.Now().Add(c.by) }

// A call that is forwarded shows the caller of the other one, whose number is not the account's.
func TestACallTokenGrantsTheCallersNumber(t *testing.T) {
	later := &laterClock{Clock: clock.System}
	w := newWorld(t, func(c *Config) { c.OwnedFromOnly, c.Clock = true, later })
	token := w.tokenOf(&call.Call{SID: "CA1", AccountSID: w.account.SID, From: "+15550108", To: "+15550199"})
	plain, err := url.QueryUnescape(token)
	if err != nil || !strings.HasPrefix(plain, `{"parentCallInfoToken":"ey`) || !strings.HasSuffix(plain, `"identityHeaderTokens":[]}`) {
		t.Fatalf("token %s", token)
	}
	create := func(from, callerID, token string) (*call.Call, int) {
		c, err := w.Create(t.Context(), w.account.SID, call.CreateParams{
			To: "+15550100", From: from, CallToken: token, Options: call.Options{Twiml: "<Response/>", CallerID: callerID},
		})
		var e *twilio.Error
		if errors.As(err, &e) {
			return nil, e.Code
		}
		if err != nil {
			t.Fatal(err)
		}
		return c, 0
	}
	if _, code := create("+15550108", "", ""); code != 21210 {
		t.Errorf("without token: %d", code)
	}
	for _, text := range []string{token, plain} {
		if c, code := create("+15550108", "", text); code != 0 || c.ForwardedFrom != "+15550199" || c.From != "+15550108" {
			t.Errorf("with token: %d, %+v", code, c)
		}
	}
	n := &call.Number{SID: twilio.NewSID("PN"), AccountSID: w.account.SID, PhoneNumber: "+15550150"}
	if err := w.store.CreateNumber(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	if c, code := create(n.PhoneNumber, "+15550108", token); code != 0 || c.NumberSID != n.SID {
		t.Errorf("as CallerId: %d, %+v", code, c)
	}
	if _, code := create("+15550108", "+15550109", token); code != 21212 {
		t.Errorf("with another CallerId than was granted: %d", code)
	}
	if _, code := create("+15550109", "+15550108", token); code != 21210 {
		t.Errorf("with another From than was granted: %d", code)
	}
	changed := strings.Replace(plain, ".ey", ".eY", 1)
	other := w.tokenOf(&call.Call{SID: "CA1", AccountSID: twilio.NewSID("AC"), From: "+15550108", To: "+15550199"})
	forger := &Manager{Config: Config{TokenKey: randomKey(), Clock: clock.System}}
	forged := forger.tokenOf(&call.Call{SID: "CA1", AccountSID: w.account.SID, From: "+15550108", To: "+15550199"})
	for what, text := range map[string]string{"forged": forged, "text": "x", "JSON": "{}", "changed": changed, "another account's": other, "cut": plain[:len(plain)-40]} {
		if _, code := create("+15550108", "", text); code != 20001 {
			t.Errorf("%s: %d", what, code)
		}
	}
	if _, code := create("+15550109", "", token); code != 20001 {
		t.Errorf("another caller's number: %d", code)
	}
	later.by = tokenLife + time.Second
	if _, code := create("+15550108", "", token); code != 20001 {
		t.Errorf("a token of long ago: %d", code)
	}
}
