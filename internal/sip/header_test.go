package sip

import (
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"
)

func TestParty(t *testing.T) {
	for in, want := range map[string]string{
		"sip:+15551234567@h":                     "+15551234567",
		"sip:%2B15551234567@h":                   "+15551234567",
		"sip:15551234567@h":                      "+15551234567",
		"sip:+1-555-123.4567@h;user=phone":       "+15551234567",
		"sip:15551234567;npdi;rn=+15550000000@h": "+15551234567",
		"sip:0015551234567@h":                    "0015551234567@h", // an international prefix is the trunk's business
		"sip:05551234567@h":                      "05551234567@h",
		"sip:1001@h:5070":                        "1001@h",
		"sip:1234567@h":                          "1234567@h",
		"sip:12345678@h":                         "+12345678",
		"sip:+123456@h":                          "+123456@h",
		"sip:1234567890123456@h":                 "1234567890123456@h",
		"sip:alice@h":                            "alice@h",
		"sip:h":                                  "h",
		"tel:+15551234567;phone-context=x":       "+15551234567",
	} {
		var u sip.Uri
		if err := sip.ParseUri(in, &u); err != nil {
			t.Errorf("%s: %v", in, err)
		} else if got := party(&u); got != want {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
}

func TestSplitList(t *testing.T) {
	got := splitList(`"a, b" <sip:a,b@h>;x="1,\"2", c ,, d`)
	want := []string{`"a, b" <sip:a,b@h>;x="1,\"2"`, "c", "d"}
	if len(got) != len(want) {
		t.Fatalf("%q", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%q, want %q", got[i], want[i])
		}
	}
}

func TestSessionExpires(t *testing.T) {
	for in, want := range map[string]sessionExpires{
		"1800":                    {1800 * time.Second, ""},
		" 90 ; refresher=UAC ":    {90 * time.Second, "uac"},
		"90;x=y;refresher=uas":    {90 * time.Second, "uas"},
		"90;refresher=somebody":   {90 * time.Second, ""},
		"":                        {},
		"-1":                      {},
		"0":                       {},
		"99999999999999999999999": {},
		"ninety":                  {},
	} {
		if got, _ := parseSessionExpires(in); got != want {
			t.Errorf("%q: %+v, want %+v", in, got, want)
		}
	}
}

func TestDTMFInfo(t *testing.T) {
	for _, c := range []struct {
		kind, body string
		want       byte
	}{
		{"application/dtmf-relay", "Signal=5\r\nDuration=160\r\n", '5'},
		{"application/dtmf-relay", "Duration=160\nSignal= a\n", 'A'},
		{"Application/DTMF-Relay; x=y", "signal=11", '#'},
		{"application/dtmf", "*", '*'},
		{"application/dtmf", "", 0},
		{"application/dtmf", "E", 0},
		{"application/dtmf-relay", "5", 0},
		{"text/plain", "5", 0},
		{"", "", 0},
	} {
		got, ok := dtmfInfo(c.kind, []byte(c.body))
		if !ok {
			got = 0
		}
		if got != c.want {
			t.Errorf("%s %q: %q, want %q", c.kind, c.body, got, c.want)
		}
	}
}

func TestMultipartBody(t *testing.T) {
	m, err := sip.ParseMessage([]byte("INVITE sip:a@b SIP/2.0\r\nContent-Type: multipart/mixed;boundary=\"b1\"\r\n\r\n" +
		"--b1\r\nContent-Type: application/isup\r\n\r\n\x01\x02\r\n--b1\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n\r\n--b1--\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	if sdp, ok := sdpOf(m.(*sip.Request)); !ok || string(sdp) != "v=0\r\n" {
		t.Errorf("%q %v", sdp, ok)
	}
}

func FuzzHeaders(f *testing.F) {
	for _, s := range []string{`"a" <sip:b@c;x=y>;tag=1, <sip:d>`, "1800;refresher=uac", "1 2 INVITE", "Signal=5", `Q.850;cause=16;text="x"`, "INVITE x\r\nCall-ID: y\r\n\r\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		splitList(s)
		parseSessionExpires(s)
		parseRAck(s)
		dtmfInfo("application/dtmf-relay", []byte(s))
		dtmfInfo(s, []byte("5"))
		read([]byte(s), false)
		if name, uri, ok := address(s); ok {
			party(&uri)
			if hasControl(quote(name)) {
				t.Errorf("quote let a control character through: %q", name)
			}
		}
		m := sip.NewRequest(sip.INVITE, sip.Uri{Scheme: "sip", Host: "h"})
		m.AppendHeader(sip.NewHeader("Reason", s))
		if q := q850Of(m); q < 0 || q > 127 {
			t.Errorf("cause %d", q)
		}
	})
}
