//go:build linux

package main

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"time"
)

const nonce = "00c0ffee@bench"

func TestParseResponse(t *testing.T) {
	m, ok := parse([]byte("SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 127.0.0.1:5080;branch=z9hG4bKi7\r\n"+
		"t: <sip:+15550100@127.0.0.1>;tag=x\r\ni: 7."+nonce+"\r\nCSeq: 1 INVITE\r\n"+
		"Contact: \"who\" <sip:127.0.0.1:5060;transport=udp>;expires=1\r\nContent-Length: 0\r\n\r\n"+
		"v=0\r\nm=audio 16384 RTP/AVP 0\r\n"), nonce)
	if !ok || m.status != 200 || m.method != "INVITE" || m.call != 7 || m.rtpPort != 16384 || m.retryAfter ||
		string(m.contact) != "sip:127.0.0.1:5060;transport=udp" || string(m.to) != "<sip:+15550100@127.0.0.1>;tag=x" {
		t.Errorf("parsed %v as %+v", ok, m)
	}
}

func TestParseRequestAndItsAnswer(t *testing.T) {
	m, ok := parse([]byte("BYE sip:bench@127.0.0.1:9 SIP/2.0\r\nVia: a\r\nVia: b\r\nFrom: f;tag=1\r\nTo: t;tag=2\r\n"+
		"Call-ID: 12."+nonce+"\r\nCSeq: 3 BYE\r\nContent-Length: 0\r\n\r\n"), nonce)
	if !ok || m.status != 0 || m.method != "BYE" || m.call != 12 {
		t.Fatalf("parsed %v as %+v", ok, m)
	}
	want := "SIP/2.0 200 OK\r\nVia: a\r\nVia: b\r\nFrom: f;tag=1\r\nTo: t;tag=2\r\nCall-ID: 12." + nonce + "\r\nCSeq: 3 BYE\r\nContent-Length: 0\r\n\r\n"
	if got := string(okTo(m)); got != want {
		t.Errorf("answered %q, want %q", got, want)
	}
}

func TestParseRefusesOthers(t *testing.T) {
	for _, s := range []string{"", "\r\n\r\n", "SIP/2.0 2", "SIP/2.0 200 OK\r\n\r\n", "SIP/2.0 200 OK\r\nCall-ID: 7.other@bench\r\n\r\n", "SIP/2.0 200 OK\r\nCall-ID: x." + nonce + "\r\n\r\n"} {
		if m, ok := parse([]byte(s), nonce); ok {
			t.Errorf("%q was taken for %+v", s, m)
		}
	}
}

func TestRequests(t *testing.T) {
	d := dialog{number: 5, nonce: nonce, local: netip.MustParseAddrPort("127.0.0.1:5080"), server: netip.MustParseAddrPort("127.0.0.1:5060"),
		callee: "+15550100", to: "<sip:+15550100@127.0.0.1:5060>;tag=x", target: "sip:127.0.0.1:5061"}
	invite := d.invite(netip.MustParseAddrPort("127.0.0.1:40000"))
	head, body, _ := bytes.Cut(invite, []byte("\r\n\r\n"))
	if !strings.HasPrefix(string(head), "INVITE sip:+15550100@127.0.0.1:5060 SIP/2.0\r\n") || !strings.Contains(string(body), "m=audio 40000 RTP/AVP 0 101\r\n") {
		t.Errorf("INVITE:\n%s", invite)
	}
	for method, b := range map[string][]byte{"ACK": d.ack(), "BYE": d.bye()} {
		if !strings.HasPrefix(string(b), method+" sip:127.0.0.1:5061 SIP/2.0\r\n") || !strings.HasSuffix(string(b), "\r\n\r\n") {
			t.Errorf("%s:\n%s", method, b)
		}
	}
	branch := func(b []byte) string {
		_, v, _ := strings.Cut(string(b), "branch=")
		v, _, _ = strings.Cut(v, "\r\n")
		return v
	}
	if branch(d.cancel()) != branch(invite) || branch(d.ackRefusal()) != branch(invite) || branch(d.ack()) == branch(invite) {
		t.Error("CANCEL and the ACK of a refusal share the INVITE's branch, the ACK of a 200 does not")
	}
	for _, b := range [][]byte{invite, d.ack(), d.bye(), d.cancel()} { // what we send, we can read
		if m, ok := parse(b, nonce); !ok || m.call != 5 {
			t.Errorf("read back %v %+v", ok, m)
		}
	}
}

func TestKeyIsRFC4733(t *testing.T) {
	s := &stream{port: 16384}
	s.pressKey()
	var ends int
	for i := range keySends {
		b := s.packet()
		if len(b) != 16 || b[1]&0x7f != eventType || b[12] != 1 || (b[1]&0x80 != 0) != (i == 0) {
			t.Fatalf("packet %d: % x", i, b)
		}
		if b[13]&0x80 != 0 {
			ends++
		}
	}
	if b := s.packet(); ends != 3 || len(b) != rtpHeader+frame || s.pressed.Load() == 0 {
		t.Errorf("%d ends, then %d bytes", ends, len(b))
	}
}

func TestStreamCountsLossAndGaps(t *testing.T) {
	s := &stream{}
	at := time.Unix(0, 0)
	for _, seq := range []uint16{65534, 65535, 1, 0, 2, 5} { // 0 came late; 3 and 4 never
		b := make([]byte, rtpHeader+frame)
		b[2], b[3] = byte(seq>>8), byte(seq)
		s.receive(at, b)
		at = at.Add(20 * time.Millisecond)
	}
	if s.n != 6 || s.lost != 2 || s.late != 1 || s.gaps.quantile(1) != 20 {
		t.Errorf("%d packets, %d lost, %d late, gap %v", s.n, s.lost, s.late, s.gaps.quantile(1))
	}
}

func TestPromptIsRecognised(t *testing.T) {
	file := prompt(time.Second, 0x10)
	if len(file) != 46+8000 {
		t.Fatalf("%d bytes", len(file))
	}
	audio := file[46:][:frame]
	if !isPrompt(audio, 0x10) || isPrompt(audio, 0x20) || !audible(audio) {
		t.Error("a packet of the prompt is not known as what it is")
	}
	if silence := bytes.Repeat([]byte{0xff}, frame); audible(silence) || isPrompt(silence, 0x10) {
		t.Error("silence is taken for sound")
	}
}
