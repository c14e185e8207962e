package offhooktest_test

import (
	"context"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/offhook/offhook/offhooktest"
	"github.com/offhook/offhook/phone"
)

// office makes an elastic trunk of a PBX at that address, on which the number own is, and returns its SID. The PBX
// calls it localhost.
func office(t *testing.T, srv *offhooktest.Server, pbx string, trunk ...string) string {
	t.Helper()
	send := func(path string, pairs ...string) string {
		t.Helper()
		form := url.Values{}
		for i := 0; i < len(pairs); i += 2 {
			form.Set(pairs[i], pairs[i+1])
		}
		code, answer := srv.Request("POST", path, form)
		if code >= 300 {
			t.Fatalf("%s: %d %v", path, code, answer)
		}
		return answer["sid"].(string)
	}
	sid := send("/v1/Trunks", append([]string{"DomainName", "localhost"}, trunk...)...)
	send("/v1/Trunks/"+sid+"/OriginationUrls", "SipUrl", "sip:127.0.0.1:9", "FriendlyName", "off", "Weight", "1", "Priority", "1", "Enabled", "false")
	send("/v1/Trunks/"+sid+"/OriginationUrls", "SipUrl", "sip:"+pbx, "FriendlyName", "pbx", "Weight", "1", "Priority", "2", "Enabled", "true")
	credentials := send("/SIP/CredentialLists.json", "FriendlyName", "pbx")
	send("/SIP/CredentialLists/"+credentials+"/Credentials.json", "Username", "pbx", "Password", "Secret-000001")
	send("/v1/Trunks/"+sid+"/CredentialLists", "CredentialListSid", credentials)
	send("/IncomingPhoneNumbers.json", "PhoneNumber", own, "TrunkSid", sid)
	return sid
}

// legs waits until the two calls of a call over a trunk have that status, and returns the one that came in.
func legs(t *testing.T, srv *offhooktest.Server, from, status string) map[string]any {
	t.Helper()
	for deadline := time.Now().Add(offhooktest.Patience); ; {
		_, answer := srv.Request("GET", "/Calls.json", url.Values{"From": {from}, "Status": {status}})
		calls, _ := answer["calls"].([]any)
		if len(calls) == 2 {
			child, first := calls[0].(map[string]any), calls[1].(map[string]any)
			if child["parent_call_sid"] != first["sid"] || child["direction"] != first["direction"] {
				t.Errorf("%v and %v", first, child)
			}
			return first
		}
		if time.Now().After(deadline) {
			t.Fatalf("calls: %v", answer)
		}
	}
}

func TestACallToANumberOnATrunk(t *testing.T) {
	srv := offhooktest.Start(t)
	pbx := srv.Phone(t, "pbx")
	sid := office(t, srv, pbx.URI()[strings.Index(pbx.URI(), "@")+1:])
	line := srv.Phone(t, callee).Dial(own)
	desk := pbx.OwnIncoming()
	if desk.To() != own || desk.From() != callee {
		t.Errorf("the PBX is called from %s to %s", desk.From(), desk.To())
	}
	if err := desk.Ring(); err != nil {
		t.Fatal(err)
	}
	line.Rings()
	if err := desk.Answer(); err != nil {
		t.Fatal(err)
	}
	line.Answered()
	talk(line, desk)
	line.Press("5")
	desk.GotDigits("5")
	if got := legs(t, srv, callee, "in-progress"); got["direction"] != "trunking-originating" || got["trunk_sid"] != sid {
		t.Errorf("%v", got)
	}
	line.Hangup()
	desk.HungUp()
	legs(t, srv, callee, "completed")

	line = srv.Phone(t, "+15550151").Dial(own)
	busy := pbx.OwnIncoming()
	if err := busy.Reject(486); err != nil {
		t.Fatal(err)
	}
	if end := line.HungUp(); end.Code != 486 {
		t.Errorf("the caller got %v", end)
	}
}

func TestDisasterRecoveryOfATrunk(t *testing.T) {
	srv := offhooktest.Start(t)
	app := srv.App(t)
	app.On("/recovery", `<Response><Say>The office is closed</Say></Response>`)
	office(t, srv, "127.0.0.1:9;transport=tcp", "DisasterRecoveryUrl", app.URL("/recovery"))
	line := srv.Phone(t, callee).Dial(own)
	app.Got("/recovery", "CallStatus", "ringing", "From", callee, "To", own)
	line.Hears("The office is closed")
	line.HungUp()
}

func TestAPBXCallsOut(t *testing.T) {
	srv := offhooktest.Start(t)
	sid := office(t, srv, "127.0.0.1:9")
	far := srv.Phone(t, callee)
	_, port, _ := strings.Cut(srv.SIP, ":")
	call := func(password string) *phone.Call {
		p, err := phone.Listen(t.Context(), phone.Config{Number: own, Username: "pbx", Password: password})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = p.Close() })
		c, err := p.Dial(t.Context(), "sip:"+callee+"@localhost:"+port)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	ctx, cancel := context.WithTimeout(t.Context(), offhooktest.Patience)
	defer cancel()
	pbx := call("Secret-000001")
	desk := far.Incoming()
	if desk.From() != own {
		t.Errorf("called from %s", desk.From())
	}
	if err := desk.Answer(); err != nil {
		t.Fatal(err)
	}
	if err := pbx.WaitAnswered(ctx); err != nil {
		t.Fatal(err)
	}
	desk.Whistles(time.Second, 600)
	if err := pbx.WaitTone(ctx, 600); err != nil {
		t.Fatal(err)
	}
	if got := legs(t, srv, own, "in-progress"); got["direction"] != "trunking-terminating" || got["trunk_sid"] != sid {
		t.Errorf("%v", got)
	}
	pbx.Hangup()
	desk.HungUp()
	legs(t, srv, own, "completed")

	stranger := call("Secret-000002")
	if err := stranger.WaitHungUp(ctx); err != nil {
		t.Fatal(err)
	}
	if end, _ := stranger.End(); end.Code != 407 {
		t.Errorf("without the password: %v", end)
	}
}
