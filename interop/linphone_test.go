package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// linphoneConfig is a phone without a sound card that registers.
const linphoneConfig = `[sip]
sip_port=%[1]d
sip_tcp_port=%[1]d
sip_tls_port=-1
bind_address=127.0.0.1
use_ipv6=0
guess_hostname=0
default_proxy=0
media_encryption=%[7]s
media_encryption_mandatory=%[8]d
root_ca=%[9]s
[rtp]
audio_rtp_port=28000-29999
[net]
mtu=0
[sound]
echocancellation=0
[auth_info_0]
username=%[2]s
passwd=%[3]s
realm=%[4]s
domain=%[4]s
[proxy_0]
reg_proxy=<%[5]s>
reg_route=<%[5]s;lr>
reg_identity=%[6]s
reg_expires=600
reg_sendregister=1
publish=0
`

// A linphone is a linphonec, told by lines on its standard input.
type linphone struct {
	*peer
	tapes
}

// linphone registers one as user over a transport; it says its name again and again.
func (h *home) linphone(user, transport string) *linphone {
	h.t.Helper()
	return h.linphoneWith(user, transport, "none")
}

// linphoneWith has its media encrypted as menc says, none or srtp.
func (h *home) linphoneWith(user, transport, menc string) *linphone {
	t := h.t
	t.Helper()
	need(t, "linphonec")
	dir, must := t.TempDir(), 0
	if menc != "none" {
		must = 1
	}
	route := strings.Replace(h.route(transport), "127.0.0.1", "localhost", 1) // it looks for no address in a certificate
	config := fmt.Sprintf(linphoneConfig, freePort(t), user, h.secret[user], h.name, route, "sip:"+user+"@"+h.name, menc, must, h.cert)
	check(t, os.WriteFile(filepath.Join(dir, "linphonerc"), []byte(config), 0o600))
	check(t, os.WriteFile(filepath.Join(dir, "mouth.wav"), mouth("This is "+user), 0o600))
	check(t, os.MkdirAll(filepath.Join(dir, ".local/share/linphone"), 0o700)) // it does nothing without its database
	l := &linphone{
		start(t, dir, "linphonec", "-c", filepath.Join(dir, "linphonerc"), "-d", "6", "-l", filepath.Join(dir, "linphone.log")),
		tapes{pattern: filepath.Join(dir, "ear.wav")},
	}
	l.do("soundcard use files")
	l.do("play " + filepath.Join(dir, "mouth.wav"))
	l.do("record " + filepath.Join(dir, "ear.wav"))
	l.logs("[LinphoneRegistrationOk]")
	return l
}

// logs waits until linphone has written text to its log: its console tells little.
func (l *linphone) logs(text string) {
	l.t.Helper()
	l.waitFor("linphone logs "+text, func() bool {
		log, err := os.ReadFile(filepath.Join(l.dir, "linphone.log"))
		return err == nil && strings.Contains(string(log), text)
	})
}

// rings waits until linphone was called for the nth time.
func (l *linphone) rings(n int) {
	l.t.Helper()
	l.waitFor("linphone is called", func() bool {
		return strings.Count(l.out.String(), "Receiving new incoming call") >= n
	})
}

// do gives a command.
func (l *linphone) do(line string) {
	l.t.Helper()
	_, err := l.in.Write([]byte(line + "\n"))
	check(l.t, err)
}

// hears waits until the test voice has spoken text, since the last forget.
func (l *linphone) hears(text string) {
	l.t.Helper()
	l.waitFor("linphone heard "+text, func() bool { return l.heard(text) })
}

// Linphone and baresip register over every transport, call each other through the VoiceUrl of their domain, and are
// called by the API, by address and by identity.
func TestLinphoneAndBaresip(t *testing.T) {
	t.Parallel()
	for name, way := range map[string]struct{ transport, secure string }{
		"udp": {"udp", "false"}, "tcp": {"tcp", "false"}, "tls": {"tls", "false"}, "tls and srtp": {"tls", "true"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cert, key, _ := pair(t)
			srv, sips := secured(t, cert, key)
			app := srv.App(t)
			h := &home{t: t, srv: srv, name: "shop.example", secret: map[string]string{}, sips: sips, cert: cert}
			h.found(app, []string{"ann", "lin"}, "Secure", way.secure)
			params, menc := []string{"answermode=manual"}, "none"
			if way.secure == "true" {
				params, menc = append(params, "mediaenc=srtp-mand"), "srtp"
			}
			ann, lin := h.baresip("ann", way.transport, params...), h.linphoneWith("lin", way.transport, menc)
			ann.says(`Authorization: Digest username="ann", realm="shop.example"`)
			lin.logs(`Authorization:  Digest realm="shop.example"`)

			app.On("/voice", `<Response><Dial action="/after" answerOnBridge="true">`+noun("Client", "lin")+`</Dial></Response>`)
			app.On("/after", `<Response/>`)
			ann.do("dial", "sip:lin@shop.example")
			parent := app.Got("/voice", "From", "sip:ann@shop.example", "To", "sip:lin@shop.example", "CallStatus", "ringing").Params.Get("CallSid")
			lin.rings(1)
			lin.do("answer")
			ann.reports("CALL_ESTABLISHED")
			ann.hears("This is lin")
			lin.hears("This is ann")
			lin.do("terminate")
			ann.reports("CALL_CLOSED")
			gotAction(t, app, "/after", parent, gotChild(t, srv, app, parent, "client:lin", all...), true)
			gotParent(t, srv, app, parent)

			app.On("/voice", `<Response><Dial action="/after" answerOnBridge="true">`+h.sip("ann")+`</Dial></Response>`)
			ann.forget()
			lin.forget()
			lin.do("call sip:ann@shop.example")
			parent = app.Got("/voice", "From", "sip:lin@shop.example", "To", "sip:ann@shop.example", "CallStatus", "ringing").Params.Get("CallSid")
			ann.reports("CALL_INCOMING")
			ann.do("accept", "")
			ann.hears("This is lin")
			lin.hears("This is ann")
			ann.do("hangup", "")
			gotAction(t, app, "/after", parent, gotChild(t, srv, app, parent, "sip:ann@shop.example", all...), true)
			gotParent(t, srv, app, parent)

			app.On("/answered", `<Response><Say loop="0">Hello</Say></Response>`)
			for _, to := range []string{"sip:ann@shop.example", "client:ann"} {
				ann.forget()
				c := srv.Call(t, append(allEvents(app), "To", to, "From", "client:support", "Url", app.URL("/answered"))...)
				ann.reports("CALL_INCOMING")
				ann.do("accept", "")
				ann.hears("Hello")
				ann.do("hangup", "")
				gotInOrder(t, app, c.SID, all...)
			}
			if n := ann.connections(way.transport); way.transport != "udp" && n != 1 {
				t.Errorf("%d connections, want the one of the registration", n)
			}
			for i, to := range []string{"sip:lin@shop.example", "client:lin"} {
				lin.forget()
				c := srv.Call(t, append(allEvents(app), "To", to, "From", "client:support", "Url", app.URL("/answered"))...)
				lin.rings(2 + i)
				lin.logs("From: <sip:support@shop.example>")
				lin.do("answer")
				lin.hears("Hello")
				lin.do("terminate")
				gotInOrder(t, app, c.SID, all...)
			}
		})
	}
}
