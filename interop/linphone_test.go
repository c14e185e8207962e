package interop

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/offhook/offhook/internal/speech"
	"github.com/offhook/offhook/offhooktest"
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
media_encryption=none
[rtp]
audio_rtp_port=%[2]d
[net]
mtu=0
[sound]
echocancellation=0
[auth_info_0]
username=%[3]s
passwd=%[4]s
realm=%[5]s
domain=%[5]s
[proxy_0]
reg_proxy=<sip:%[6]s;transport=%[7]s>
reg_route=<sip:%[6]s;transport=%[7]s;lr>
reg_identity=sip:%[3]s@%[5]s
reg_expires=600
reg_sendregister=1
publish=0
`

// A linphone is a linphonec, told by lines on its standard input.
type linphone struct{ *peer }

// linphone registers one as user over a transport; it says its name again and again.
func (h *home) linphone(user, transport string) *linphone {
	t := h.t
	t.Helper()
	need(t, "linphonec")
	dir, port := t.TempDir(), freePort(t)
	config := fmt.Sprintf(linphoneConfig, port, port+2, user, h.secret[user], h.name, h.srv.SIP, transport)
	check(t, os.WriteFile(filepath.Join(dir, "linphonerc"), []byte(config), 0o600))
	check(t, os.WriteFile(filepath.Join(dir, "mouth.wav"), mouth("This is "+user), 0o600))
	check(t, os.MkdirAll(filepath.Join(dir, ".local/share/linphone"), 0o700)) // it does nothing without its database
	t.Setenv("HOME", dir)
	l := &linphone{start(t, dir, "linphonec", "-c", filepath.Join(dir, "linphonerc"), "-d", "6", "-l", filepath.Join(dir, "linphone.log"))}
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

// do gives a command.
func (l *linphone) do(line string) {
	l.t.Helper()
	_, err := l.in.Write([]byte(line + "\n"))
	check(l.t, err)
}

// hears waits until the test voice has spoken text.
func (l *linphone) hears(text string) {
	l.t.Helper()
	l.waitFor("linphone heard "+text, func() bool {
		raw, err := os.ReadFile(filepath.Join(l.dir, "ear.wav"))
		if err != nil || len(raw) < wavHeader {
			return false
		}
		pcm := make([]int16, 0, len(raw)/2)
		for raw = raw[wavHeader:]; len(raw) >= 2; raw = raw[2:] {
			pcm = append(pcm, int16(binary.LittleEndian.Uint16(raw)))
		}
		return speech.Heard(pcm, text)
	})
}

// Linphone and baresip call each other through the VoiceUrl of their domain.
func TestLinphoneAndBaresip(t *testing.T) {
	srv := offhooktest.Start(t)
	app := srv.App(t)
	h := domain(t, srv, app, "shop.example", "ann", "lin")
	app.On("/voice", `<Response><Dial answerOnBridge="true"><Client>lin</Client></Dial></Response>`)
	ann, lin := h.baresip("ann", "udp"), h.linphone("lin", "udp")
	ann.do("dial", "sip:lin@shop.example")
	lin.logs("LinphoneCallIncomingReceived")
	lin.do("answer")
	ann.reports("CALL_ESTABLISHED")
	ann.hears("This is lin")
	lin.hears("This is ann")
	lin.do("terminate")
	ann.reports("CALL_CLOSED")

	app.On("/voice", `<Response><Dial answerOnBridge="true"><Sip>sip:ann@shop.example</Sip></Dial></Response>`)
	lin.do("call sip:ann@shop.example")
	ann.reports("CALL_INCOMING")
	ann.do("accept", "")
	ann.reports("CALL_ESTABLISHED")
	ann.hears("This is lin")
	app.Got("/voice", "From", "sip:lin@shop.example", "To", "sip:ann@shop.example")
	ann.do("hangup", "")
	app.Got("/domain-status", "From", "sip:lin@shop.example", "CallStatus", "completed")
}

// Linphone is called by the API, over UDP and TCP, by address and by identity.
func TestLinphoneIsCalled(t *testing.T) {
	for transport, to := range map[string]string{"udp": "sip:lin@shop.example", "tcp": "client:lin"} {
		t.Run(transport, func(t *testing.T) {
			srv := offhooktest.Start(t)
			app := srv.App(t)
			h := domain(t, srv, app, "shop.example", "lin")
			app.On("/answered", `<Response><Say loop="3">Hello</Say></Response>`)
			lin := h.linphone("lin", transport)
			c := srv.Call(t, append(allEvents(app), "To", to, "From", "client:support", "Url", app.URL("/answered"))...)
			lin.logs("LinphoneCallIncomingReceived")
			lin.logs("From: <sip:support@shop.example>")
			lin.do("answer")
			lin.hears("Hello")
			gotInOrder(t, app, c.SID, "initiated", "ringing", "in-progress", "completed")
		})
	}
}
