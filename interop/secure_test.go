package interop

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/clock"
	"github.com/offhook/offhook/internal/server"
	"github.com/offhook/offhook/offhooktest"
)

// pair makes a certificate for 127.0.0.1 that vouches for itself: the files of the certificate, of its key, and of
// both together, as baresip wants them.
func pair(t *testing.T) (cert, key, both string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	now := clock.System.Now()
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, private.Public(), private)
	check(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	check(t, err)
	c := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	k := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
	dir := t.TempDir()
	cert, key, both = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), filepath.Join(dir, "both.pem")
	check(t, os.WriteFile(cert, c, 0o600))
	check(t, os.WriteFile(key, k, 0o600))
	check(t, os.WriteFile(both, append(k, c...), 0o600))
	return cert, key, both
}

// secured is a server that listens on TLS at an address, too, and trusts cert.
func secured(t *testing.T, cert, key string) (srv *offhooktest.Server, sips string) {
	t.Helper()
	sips = fmt.Sprintf("127.0.0.1:%d", freePort(t))
	return offhooktest.Start(t, func(_ *offhooktest.Server, c *server.Config) {
		c.SIPS, c.Cert, c.Key, c.SIPCA = []string{sips}, cert, key, cert
	}), sips
}

// secureBaresip is a phone of that user, with a certificate, and its media encrypted as menc says.
func secureBaresip(t *testing.T, user, both, menc string) *baresip {
	t.Helper()
	port := freePort(t)
	account := fmt.Sprintf("<sip:%s@127.0.0.1:%d;transport=tls>;regint=0;mediaenc=%s", user, port+1, menc)
	return softphone(t, port, "", account, "module srtp.so", "sip_certificate "+both, "sip_cafile "+both)
}

func TestBaresipIsCalledOverTLSWithSRTP(t *testing.T) {
	t.Parallel()
	cert, key, both := pair(t)
	srv, _ := secured(t, cert, key)
	app := srv.App(t)
	app.On("/voice", `<Response><Gather numDigits="1" action="/menu" timeout="20"><Say>Press one</Say></Gather></Response>`)
	app.On("/menu", `<Response><Say>Sales</Say><Pause length="1"/></Response>`)
	bob := secureBaresip(t, "+15551230000", both, "srtp-mand")
	trunk(t, srv, map[string]any{"name": "carrier", "host": fmt.Sprintf("127.0.0.1:%d", bob.port+1), "secure": true, "prefixes": []string{"+"}})
	c := srv.Call(t, append(allEvents(app), "To", "+15551230000", "From", caller, "Url", app.URL("/voice"))...)
	bob.reports("CALL_INCOMING")
	bob.do("accept", "")
	bob.reports("CALL_ESTABLISHED")
	bob.hears("Press one")
	bob.press("1")
	app.Got("/menu", "Digits", "1", "CallSid", c.SID)
	bob.hears("Sales")
	bob.reports("CALL_CLOSED")
	gotInOrder(t, app, c.SID, "initiated", "ringing", "in-progress", "completed")
	if got := fetch(t, srv, c.SID); got["trunk_sid"] == nil {
		t.Errorf("call: %v", got)
	}
}

func TestBaresipCallsOverTLS(t *testing.T) {
	t.Parallel()
	for menc, secure := range map[string]bool{"srtp-mand": true, "srtp": true, "none": false} {
		t.Run(menc, func(t *testing.T) {
			t.Parallel()
			cert, key, both := pair(t)
			srv, sips := secured(t, cert, key)
			trunk(t, srv, map[string]any{"name": "carrier", "host": "127.0.0.1:1", "secure": true})
			app := srv.App(t)
			app.On("/voice", `<Response><Gather numDigits="1" action="/menu"><Say loop="0">Welcome</Say></Gather></Response>`)
			app.On("/menu", `<Response><Hangup/></Response>`)
			srv.Number(t, own, app.URL("/voice"))
			if menc == "none" {
				menc = ""
			}
			bob := secureBaresip(t, "bob", both, menc)
			bob.do("dial", "sip:"+own+"@"+sips+";transport=tls")
			if !secure {
				if e := bob.reports("CALL_CLOSED"); !strings.HasPrefix(e.Param, "488") {
					t.Errorf("baresip saw %v", e)
				}
				if n := len(calls(srv)); n != 0 {
					t.Errorf("%d calls", n)
				}
				return
			}
			bob.reports("CALL_ESTABLISHED")
			bob.hears("Welcome")
			bob.press("5")
			app.Got("/menu", "Digits", "5")
			bob.reports("CALL_CLOSED")
		})
	}
}

// TestASecureTrunkRefusesPlainSIP: without TLS nobody is asked for keys.
func TestASecureTrunkRefusesPlainSIP(t *testing.T) {
	t.Parallel()
	cert, key, _ := pair(t)
	srv, _ := secured(t, cert, key)
	trunk(t, srv, map[string]any{"name": "carrier", "host": "127.0.0.1:1", "secure": true})
	app := srv.App(t)
	srv.Number(t, own, app.URL("/voice"))
	peer := play(t, script{File: "refused", Dial: srv.SIP, To: own, From: caller, Code: "488"})
	peer.ends()
}

// TestATrunkFailsOver: a target that is dead, one that is full, then a good one; four seconds for the dead one.
func TestATrunkFailsOver(t *testing.T) {
	t.Parallel()
	srv := offhooktest.Start(t)
	app, ear := srv.App(t), newEar(t)
	app.On("/voice", `<Response><Say>Here we are</Say></Response>`)
	dead, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	check(t, err)
	defer dead.Close()
	full, good := play(t, script{File: "refuse", Code: "503 Service Unavailable"}), play(t, script{File: "hangup", Audio: ear.Port, Steps: `<pause milliseconds="1500"/>`})
	target := func(priority int, host string) map[string]any {
		return map[string]any{"uri": "sip:" + host, "priority": priority}
	}
	trunk(t, srv, map[string]any{
		"name": "carrier", "prefixes": []string{"+"},
		"targets": []any{target(3, good.host()), target(1, dead.LocalAddr().String()), target(2, full.host())},
	})
	began := clock.System.Now()
	c := srv.Call(t, append(allEvents(app), "To", "+15551230000", "From", caller, "Url", app.URL("/voice"))...)
	app.Got("/voice", "CallSid", c.SID)
	if took := clock.System.Now().Sub(began); took < 4*time.Second || took > 12*time.Second {
		t.Errorf("reached after %v", took)
	}
	full.ends()
}
