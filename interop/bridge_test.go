package interop

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/offhook/offhook/offhooktest"
)

const (
	secondOwn = "+15550198"
	alice     = "+15550062"
	bob       = "+15550063"
)

// SIPp is the controller of third party call control: it connects two calls by their descriptions, each of which
// we connect to a phone by <Dial>. The phones hear each other through both of our bridges.
func TestSIPpConnectsTwoConversations(t *testing.T) {
	t.Parallel()
	srv := offhooktest.Start(t)
	app := srv.App(t)
	for number, to := range map[string]string{own: alice, secondOwn: bob} {
		app.On("/"+to, `<Response><Dial action="/after">`+to+`</Dial></Response>`)
		srv.Number(t, number, app.URL("/"+to))
	}
	app.On("/after", `<Response/>`)
	a, b := srv.Phone(t, alice), srv.Phone(t, bob)
	twin := freePort(t)
	args := []string{"-3pcc", fmt.Sprintf("127.0.0.1:%d", twin)}
	second := play(t, script{Builtin: "3pcc-C-B", Dial: srv.SIP, To: secondOwn, Args: args})
	second.waitFor("SIPp listens for its twin", func() bool {
		table, err := os.ReadFile("/proc/net/tcp")
		return err != nil || bytes.Contains(table, fmt.Appendf(nil, ":%04X 00000000:0000 0A", twin))
	})
	first := play(t, script{Builtin: "3pcc-C-A", Dial: srv.SIP, To: own, Args: args})

	la, lb := a.Answers(), b.Answers()
	la.Press("5") // SIPp ends the calls after a second
	lb.GotDigits("5")
	first.ends()
	second.ends()
	la.HungUp()
	lb.HungUp()
	for range 2 {
		app.Got("/after", "DialCallStatus", "completed", "DialBridged", "true", "CallStatus", "completed")
	}
}

// dialed lets a phone call a number whose document dials SIPp.
func dialed(t *testing.T, peer *sipp, attributes string) (app *offhooktest.App, line *offhooktest.Line) {
	t.Helper()
	srv := offhooktest.Start(t)
	app = srv.App(t)
	app.On("/voice", `<Response><Dial action="/after"`+attributes+`><Sip>`+peer.uri()+`</Sip></Dial></Response>`)
	app.On("/after", `<Response/>`)
	srv.Number(t, own, app.URL("/voice"))
	return app, srv.Phone(t, alice).Dial(own)
}

func TestHowSIPpRefusesADial(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"403 Forbidden": "failed", "404 Not Found": "failed", "408 Request Timeout": "no-answer",
		"480 Temporarily Unavailable": "no-answer", "486 Busy Here": "busy", "488 Not Acceptable Here": "failed",
		"500 Server Internal Error": "failed", "503 Service Unavailable": "failed", "600 Busy Everywhere": "busy",
		"603 Decline": "no-answer",
	} {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			peer := play(t, script{File: "refuse", Code: line})
			app, _ := dialed(t, peer, "")
			code, _, _ := strings.Cut(line, " ")
			app.Got("/after", "DialCallStatus", want, "DialBridged", "false", "DialSipResponseCode", code)
			peer.ends()
		})
	}
}

func TestSIPpIsDialedAndDoesNotAnswer(t *testing.T) {
	t.Parallel()
	app, _ := dialed(t, play(t, script{File: "never", Code: "180 Ringing"}), ` timeout="5"`)
	app.Got("/after", "DialCallStatus", "no-answer", "DialBridged", "false", "DialSipResponseCode", "487")
}

func TestSIPpReturnsWhatComesThroughTheBridge(t *testing.T) {
	t.Parallel()
	peer := play(t, script{File: "answer", Args: []string{"-rtp_echo"}})
	app, line := dialed(t, peer, "")
	line.Answered()
	for range 3 { // the echo begins with the conversation
		line.Whistles(offhooktest.Patience/30, 1300)
	}
	line.HearsTone(1300)
	line.Hangup()
	peer.ends() // with our BYE
	app.Got("/after", "DialCallStatus", "completed", "DialBridged", "true", "CallStatus", "completed")
}

func TestSIPpPressesAKeyThroughTheBridge(t *testing.T) {
	rawSockets(t)
	t.Parallel()
	peer := play(t, script{File: "answer", Steps: `<pause milliseconds="300"/><nop><action><exec play_pcap_audio="/usr/share/sip-tester/dtmf_2833_5.pcap"/></action></nop>`})
	_, line := dialed(t, peer, "")
	line.GotDigits("5")
	line.Hangup()
	peer.ends()
}
