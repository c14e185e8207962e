package sip

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emiago/sipgo/sip"
)

// wellFormed is a request that validate accepts; the table changes one thing at a time.
const wellFormed = "INVITE sip:bob@h SIP/2.0\nVia: SIP/2.0/UDP h;branch=z9hG4bKx\nMax-Forwards: 70\nFrom: <sip:a@h>;tag=1\nTo: <sip:bob@h>\nCall-ID: c\nCSeq: 1 INVITE\nContact: <sip:a@h>\n"

func TestValidate(t *testing.T) {
	edit := func(pairs ...string) string { return strings.NewReplacer(pairs...).Replace(wellFormed) }
	for name, c := range map[string]struct {
		text string
		code int
	}{
		"as it should be":      {wellFormed, 0},
		"version":              {edit("SIP/2.0\nVia", "SIP/7.0\nVia"), 505},
		"scheme":               {edit("INVITE sip:bob@h", "INVITE tel:+15551234567"), 416},
		"sips":                 {edit("INVITE sip:", "INVITE sips:"), 416},
		"no Via":               {edit("Via: SIP/2.0/UDP h;branch=z9hG4bKx\n", ""), 400},
		"Via protocol":         {edit("Via: SIP/2.0", "Via: SIP/3.0"), 400},
		"no From":              {edit("From: <sip:a@h>;tag=1\n", ""), 400},
		"no From tag":          {edit(";tag=1", ""), 400},
		"no To":                {edit("To: <sip:bob@h>\n", ""), 400},
		"no Call-ID":           {edit("Call-ID: c\n", ""), 400},
		"no CSeq":              {edit("CSeq: 1 INVITE\n", ""), 400},
		"CSeq method":          {edit("1 INVITE", "1 BYE"), 400},
		"two CSeq":             {edit("CSeq: 1 INVITE\n", "CSeq: 1 INVITE\nCSeq: 2 INVITE\n"), 400},
		"two From":             {edit("From: <sip:a@h>;tag=1\n", "From: <sip:a@h>;tag=1\nFrom: <sip:a@h>;tag=1\n"), 400},
		"no Max-Forwards":      {edit("Max-Forwards: 70\n", ""), 0}, // RFC 2543 had none
		"Max-Forwards 0":       {edit("Forwards: 70", "Forwards: 0"), 483},
		"Max-Forwards 300":     {edit("Forwards: 70", "Forwards: 300"), 400},
		"OPTIONS may end here": {edit("INVITE", "OPTIONS", "Forwards: 70", "Forwards: 0"), 0},
		"Require":              {wellFormed + "Require: nothing\n", 420},
		"Require known":        {wellFormed + "Require: 100rel, timer\n", 0},
		"no Contact":           {edit("Contact: <sip:a@h>\n", ""), 400},
		"body type":            {wellFormed + "Content-Type: text/plain\n\nhi", 415},
		"body without type":    {wellFormed + "\nhi", 415},
		"body":                 {wellFormed + "Content-Type: application/sdp\n\nv=0", 0},
		"encoded":              {wellFormed + "Content-Encoding: gzip\nContent-Type: application/sdp\n\nv=0", 415},
		"too long":             {wellFormed + "Content-Type: application/sdp\n\n" + strings.Repeat("x", maxBody+1), 413},
		"short length":         {wellFormed + "Content-Length: 1\nContent-Type: application/sdp\n\nv=0", 0}, // the datagram's rest is dropped, RFC 3261 section 18.3
	} {
		head, body, _ := strings.Cut(c.text, "\n\n")
		text := strings.ReplaceAll(strings.TrimSuffix(head, "\n"), "\n", "\r\n") + "\r\n\r\n" + body
		m, err := sip.ParseMessage([]byte(text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		code := 0
		if f := validate(m.(*sip.Request)); f != nil {
			code = f.code
		}
		if code != c.code {
			t.Errorf("%s: %d, want %d", name, code, c.code)
		}
	}
}

// tortureDir finds the RFC 4475 corpus, which is not part of this repository.
func tortureDir() string {
	for _, d := range []string{os.Getenv("OFFHOOK_SHARED"), "../../../shared"} {
		if dir := filepath.Join(d, "data", "sip-torture"); d != "" {
			if _, err := os.Stat(dir); err == nil {
				return dir
			}
		}
	}
	return ""
}

func FuzzValidate(f *testing.F) {
	f.Add([]byte(strings.ReplaceAll(wellFormed, "\n", "\r\n") + "\r\n"))
	f.Add([]byte("SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP [::1]:5060;branch=z9hG4bKx;received=1.2.3.4;rport=9, SIP/2.0/TCP h\r\nContact: \"x\" <sip:a@[::1]:5060;transport=tcp?X-A=b>;q=1, <sip:c>\r\nRecord-Route: <sip:a;lr>,<sip:b>\r\n\r\nbody"))
	if dir := tortureDir(); dir != "" {
		files, _ := filepath.Glob(filepath.Join(dir, "*", "*"))
		for _, file := range files {
			if data, err := os.ReadFile(file); err == nil {
				f.Add(data)
			}
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		e := &Endpoint{cfg: Config{UserAgent: "x"}}
		stream := newParser().NewSIPStream() // as over TCP, in two pieces
		defer stream.Close()
		for _, piece := range [][]byte{data[:len(data)/2], data[len(data)/2:]} {
			if err := stream.ParseSIPStream(piece, e.mark); err != nil && !errors.Is(err, sip.ErrParseSipPartial) {
				break // the connection is closed
			}
		}
		m, err := newParser().ParseSIP(data)
		if err != nil {
			if seen := read(data, false); seen.request && seen.fault == nil && len(data) < sip.ParseMaxMessageLength {
				t.Errorf("the gate let it through, the parser says %v: %q", err, data)
			}
			return
		}
		e.mark(m)
		if req, ok := m.(*sip.Request); ok && validate(req) == nil {
			if res := e.response(req, 200, "OK").String(); strings.Count(res, "\r\n\r\n") != 1 {
				t.Errorf("something got into our response: %q", res)
			}
			if req.Method == sip.INVITE {
				e.describe(req, nil, true, netip.AddrPort{})
			}
		}
	})
}
