package interop

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/offhook/offhook/offhooktest"
)

// A home is a SIP domain whose phones register.
type home struct {
	t      *testing.T
	srv    *offhooktest.Server
	name   string
	sid    string
	secret map[string]string // by user
	sips   string            // where its server listens for TLS, "" when it does not
	cert   string            // the file of its certificate
}

// domain makes one, with the credentials of users for registrations and for calls, which get the document at
// /voice of the application.
func domain(t *testing.T, srv *offhooktest.Server, app *offhooktest.App, name string, users ...string) *home {
	t.Helper()
	h := &home{t: t, srv: srv, name: name, secret: map[string]string{}}
	h.found(app, users)
	return h
}

// found makes the domain itself; more are further fields of it.
func (h *home) found(app *offhooktest.App, users []string, more ...string) {
	h.t.Helper()
	h.sid = h.make("/SIP/Domains.json", append([]string{
		"DomainName", h.name, "SipRegistration", "true", "VoiceUrl", app.URL("/voice"),
		"VoiceStatusCallbackUrl", app.URL("/domain-status"),
	}, more...)...)
	list := h.make("/SIP/CredentialLists.json", "FriendlyName", "phones")
	for _, user := range users {
		h.secret[user] = "Secret-of-" + user + "-1"
		h.make("/SIP/CredentialLists/"+list+"/Credentials.json", "Username", user, "Password", h.secret[user])
	}
	for _, what := range []string{"Registrations", "Calls"} {
		h.make("/SIP/Domains/"+h.sid+"/Auth/"+what+"/CredentialListMappings.json", "CredentialListSid", list)
	}
}

// route is where phones send what they have to say over a transport, a URI.
func (h *home) route(transport string) string {
	addr := h.srv.SIP
	if transport == "tls" {
		addr = h.sips
	}
	return "sip:" + addr + ";transport=" + transport
}

func (h *home) make(path string, pairs ...string) (sid string) {
	h.t.Helper()
	v := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
	}
	code, answer := h.srv.Request("POST", path, v)
	if code >= 300 {
		h.t.Fatalf("%s: %d %v", path, code, answer["message"])
	}
	return answer["sid"].(string)
}

// baresip registers one as user over a transport; it says its name again and again.
func (h *home) baresip(user, transport string, params ...string) *baresip {
	h.t.Helper()
	return h.register(user, transport, params)
}

// oneLine is a baresip that takes one call at a time.
func (h *home) oneLine(user, transport string, params ...string) *baresip {
	h.t.Helper()
	return h.register(user, transport, params, "call_max_calls 1")
}

// register starts one with further lines of its configuration, and waits until it has registered.
func (h *home) register(user, transport string, params []string, config ...string) *baresip {
	h.t.Helper()
	b := h.start(user, transport, params, config...)
	b.says("200 OK (offhook") // its event may have been there before anybody listened
	return b
}

func (h *home) start(user, transport string, params []string, config ...string) *baresip {
	h.t.Helper()
	account := fmt.Sprintf(`<sip:%s@%s;transport=%s>;auth_user=%[1]s;auth_pass=%[4]s;outbound="%[5]s";regint=600`,
		user, h.name, transport, h.secret[user], h.route(transport))
	for _, p := range params {
		account += ";" + p
	}
	if transport == "tls" {
		config = append(config, "module srtp.so", "sip_cafile "+h.cert)
	}
	return softphone(h.t, freePort(h.t), "This is "+user, account, config...)
}

func TestRegisteredPhonesCallEachOther(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			srv := offhooktest.Start(t)
			app := srv.App(t)
			h := domain(t, srv, app, "shop.example", "ann", "bob")
			app.On("/voice", `<Response><Dial answerOnBridge="true"><Sip>sip:bob@shop.example</Sip></Dial></Response>`)
			ann, bob := h.baresip("ann", transport), h.baresip("bob", transport, "answermode=manual")
			ann.do("dial", "sip:bob@shop.example")
			bob.reports("CALL_INCOMING")
			ann.reports("CALL_RINGING")
			bob.do("accept", "")
			bob.reports("CALL_ESTABLISHED")
			ann.reports("CALL_ESTABLISHED")
			ann.hears("This is bob")
			bob.hears("This is ann")
			asked := app.Got("/voice", "From", "sip:ann@shop.example", "To", "sip:bob@shop.example", "SipDomain", "shop.example", "SipDomainSid", h.sid, "Direction", "inbound")
			if asked.Params.Get("SipCallId") == "" || asked.Params.Get("SipSourceIp") != "127.0.0.1" {
				t.Errorf("%v", asked.Params)
			}
			bob.do("hangup", "")
			ann.reports("CALL_CLOSED")
			app.Got("/domain-status", "CallStatus", "completed", "CallSid", asked.Params.Get("CallSid"))
		})
	}
}

func TestRegisteredPhonesAreCalled(t *testing.T) {
	t.Parallel()
	for name, to := range map[string]string{"by address": "sip:bob@shop.example", "by identity": "client:bob"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := offhooktest.Start(t)
			app := srv.App(t)
			h := domain(t, srv, app, "shop.example", "bob")
			app.On("/answered", `<Response><Gather numDigits="1" action="/menu" timeout="20"><Say loop="0">Press one</Say></Gather></Response>`)
			app.On("/menu", `<Response><Hangup/></Response>`)
			one, two := h.baresip("bob", "udp", "answermode=manual"), h.baresip("bob", "tcp", "answermode=manual")
			c := srv.Call(t, append(allEvents(app), "To", to, "From", caller, "Url", app.URL("/answered"))...)
			one.reports("CALL_INCOMING")
			two.reports("CALL_INCOMING")
			two.do("accept", "")
			two.reports("CALL_ESTABLISHED")
			one.reports("CALL_CLOSED") // canceled
			two.hears("Press one")
			two.press("1")
			app.Got("/menu", "Digits", "1", "CallSid", c.SID, "To", to)
			two.reports("CALL_CLOSED")
			gotInOrder(t, app, c.SID, "initiated", "ringing", "in-progress", "completed")
		})
	}
}

func TestPhonesOfAnIdentityRingForAClient(t *testing.T) {
	t.Parallel()
	srv := offhooktest.Start(t)
	app := srv.App(t)
	h := domain(t, srv, app, "shop.example", "ann", "bob")
	app.On("/voice", `<Response><Dial action="/after"><Client><Identity>bob</Identity><Parameter name="Order" value="7"/></Client></Dial></Response>`)
	app.On("/after", `<Response><Hangup/></Response>`)
	ann, bob := h.baresip("ann", "udp"), h.baresip("bob", "udp", "answermode=auto")
	ann.do("dial", "sip:whoever@shop.example")
	bob.reports("CALL_ESTABLISHED")
	ann.hears("This is bob")
	bob.hears("This is ann")
	bob.do("hangup", "")
	app.Got("/after", "DialCallStatus", "completed", "DialBridged", "true")
	ann.reports("CALL_CLOSED")
}

func TestAPhoneThatLeft(t *testing.T) {
	t.Parallel()
	srv := offhooktest.Start(t)
	app := srv.App(t)
	h := domain(t, srv, app, "shop.example", "ann", "bob")
	app.On("/voice", `<Response><Dial action="/after"><Sip>sip:bob@shop.example</Sip></Dial></Response>`)
	app.On("/after", `<Response><Hangup/></Response>`)
	ann, bob := h.baresip("ann", "udp"), h.baresip("bob", "udp")
	bob.do("quit", "")
	<-bob.done // it unregisters first
	ann.do("dial", "sip:bob@shop.example")
	asked := app.Got("/after", "DialCallStatus", "no-answer", "DialSipResponseCode", "480", "DialBridged", "false")
	srv.Find(t, asked.Params.Get("DialCallSid")).Notified(32009)
	ann.reports("CALL_CLOSED")
}

func TestAPhoneWithAWrongPassword(t *testing.T) {
	t.Parallel()
	srv := offhooktest.Start(t)
	h := domain(t, srv, srv.App(t), "shop.example", "ann")
	h.secret["ann"] = "a guess"
	ann := h.start("ann", "udp", nil)
	ann.says("Authorization: Digest") // it knows the challenge
	ann.says("reg: sip:ann@shop.example: 401 Unauthorized")
	c := srv.Call(t, "To", "sip:ann@shop.example", "From", caller, "Twiml", `<Response/>`)
	c.Is("no-answer")
	c.Notified(32009)
	if strings.Contains(ann.out.String(), "200 OK") {
		t.Error("ann was registered")
	}
}
