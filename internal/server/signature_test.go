package server

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/clock"
	"github.com/offhook/offhook/internal/twilio"
)

// A call between two accounts is a call of each: what is asked of an application is signed with the token of its account.
func TestRequestsAreSignedByTheAccountOfTheirCall(t *testing.T) {
	type asked struct{ path, account, status string }
	wrong, right := make(chan string, 100), make(chan asked, 100)
	tokens := map[string]string{} // by account; complete before the call
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			wrong <- err.Error()
		}
		account := r.PostForm.Get("AccountSid")
		if got := r.Header.Get("X-Twilio-Signature"); got == "" || got != twilio.Signature(tokens[account], "http://"+r.Host+r.URL.String(), r.PostForm) {
			wrong <- r.URL.Path + " for " + account
		}
		right <- asked{r.URL.Path, account, r.PostForm.Get("CallStatus")}
		w.Header().Set("Content-Type", "text/xml")
		_, _ = w.Write([]byte(`<Response><Reject/></Response>`))
	}))
	defer app.Close()
	s, err := Start(t.Context(), Config{HTTP: "127.0.0.1:0", SIP: []string{"127.0.0.1:0"}, Data: t.TempDir(), Voice: "test", Mode: Dev})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(t.Context())
	w := &tenants{Server: s, t: t}
	parent := w.operator()
	sid, token := w.madeWith(parent, "/2010-04-01/Accounts.json", "")
	tokens[parent.of], tokens[sid] = parent.password, token
	shop := credentials{"shop", sid, token, sid}
	w.made(shop, "…/IncomingPhoneNumbers.json", "PhoneNumber=%2B14155550123&VoiceUrl="+app.URL+"/voice&StatusCallback="+app.URL+"/theirs")
	w.made(parent, "…/Calls.json", "To=%2B14155550123&From=%2B15005550006&Twiml=<Response/>&StatusCallback="+app.URL+"/ours")

	want := map[string]string{"/voice": sid, "/theirs": sid, "/ours": parent.of}
	for len(want) > 0 {
		select {
		case got := <-right:
			if account, open := want[got.path]; open && account != got.account {
				t.Errorf("%s was asked for %s, want %s", got.path, got.account, account)
			}
			delete(want, got.path)
		case what := <-wrong:
			t.Errorf("signature: %s", what)
		case <-clock.System.NewTimer(20 * time.Second).C():
			t.Fatalf("not asked: %v", want)
		}
	}
	select {
	case what := <-wrong:
		t.Errorf("signature: %s", what)
	default:
	}
}
