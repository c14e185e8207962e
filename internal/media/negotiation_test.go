package media

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

func description4(lines ...string) []byte {
	return []byte("v=0\r\no=phone 7 1 IN IP4 192.0.2.5\r\ns=call\r\nc=IN IP4 192.0.2.5\r\nt=0 0\r\n" + strings.Join(lines, "\r\n") + "\r\n")
}

func ourSide() *negotiation {
	n := newNegotiation(netip.MustParseAddr("198.51.100.1"), 20000)
	n.id = 42
	return n
}

func TestAnswer(t *testing.T) {
	const head = "v=0 o=- 42 1 IN IP4 198.51.100.1 s=- c=IN IP4 198.51.100.1 t=0 0 "
	for _, tt := range []struct {
		name   string
		offer  []string
		answer string
	}{
		{"offerer's first codec", []string{"m=audio 4000 RTP/AVP 18 8 0"},
			"m=audio 20000 RTP/AVP 8 a=rtpmap:8 PCMA/8000 a=ptime:20 a=sendrecv"},
		{"his payload types", []string{"m=audio 4000 RTP/AVP 100 97 96", "a=rtpmap:100 pcmu/8000/1", "a=rtpmap:96 Telephone-Event/8000", "a=rtpmap:97 telephone-event/48000"},
			"m=audio 20000 RTP/AVP 100 96 a=rtpmap:100 PCMU/8000 a=rtpmap:96 telephone-event/8000 a=fmtp:96 0-15 a=ptime:20 a=sendrecv"},
		{"a remapped static number", []string{"m=audio 4000 RTP/AVP 0 8", "a=rtpmap:0 G726-32/8000"},
			"m=audio 20000 RTP/AVP 8 a=rtpmap:8 PCMA/8000 a=ptime:20 a=sendrecv"},
		{"hold", []string{"m=audio 4000 RTP/AVP 0", "a=sendonly"},
			"m=audio 20000 RTP/AVP 0 a=rtpmap:0 PCMU/8000 a=ptime:20 a=recvonly"},
		{"listen only", []string{"m=audio 4000 RTP/AVP 0", "a=recvonly"},
			"m=audio 20000 RTP/AVP 0 a=rtpmap:0 PCMU/8000 a=ptime:20 a=sendonly"},
		{"inactive for the session", []string{"a=inactive", "m=audio 4000 RTP/AVP 0"},
			"m=audio 20000 RTP/AVP 0 a=rtpmap:0 PCMU/8000 a=ptime:20 a=inactive"},
		{"old hold", []string{"m=audio 4000 RTP/AVP 0", "c=IN IP4 0.0.0.0"},
			"m=audio 20000 RTP/AVP 0 a=rtpmap:0 PCMU/8000 a=ptime:20 a=recvonly"},
		{"others refused in place", []string{"m=image 4002 udptl t38", "m=audio 4000 RTP/SAVP 0", "m=audio 4004 RTP/AVP 0", "m=audio 4006 RTP/AVP 0", "m=video 4008 RTP/AVP 99 98"},
			"m=image 0 udptl t38 m=audio 0 RTP/SAVP 0 m=audio 20000 RTP/AVP 0 a=rtpmap:0 PCMU/8000 a=ptime:20 a=sendrecv m=audio 0 RTP/AVP 0 m=video 0 RTP/AVP 99 98"},
		{"rtcp-mux", []string{"m=audio 4000 RTP/AVPF 0", "a=rtcp-mux"},
			"m=audio 20000 RTP/AVPF 0 a=rtpmap:0 PCMU/8000 a=ptime:20 a=sendrecv a=rtcp-mux"},
		{"short packets", []string{"m=audio 4000 RTP/AVP 0", "a=maxptime:10"},
			"m=audio 20000 RTP/AVP 0 a=rtpmap:0 PCMU/8000 a=ptime:10 a=sendrecv"},
		{"long packets wished", []string{"m=audio 4000 RTP/AVP 0", "a=ptime:40", "a=maxptime:60"},
			"m=audio 20000 RTP/AVP 0 a=rtpmap:0 PCMU/8000 a=ptime:20 a=sendrecv"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			answer, _, err := ourSide().answer(description4(tt.offer...))
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(strings.Split(strings.TrimSpace(string(answer)), "\r\n"), " "); got != head+tt.answer {
				t.Errorf("answer\n%s\nwant\n%s", got, head+tt.answer)
			}
		})
	}
}

func TestRefusedDescriptions(t *testing.T) {
	for _, tt := range []struct {
		name string
		sdp  []byte
		want error
	}{
		{"empty", nil, ErrBadSDP},
		{"text", []byte("hello"), ErrBadSDP},
		{"too long", description4("m=audio 4000 RTP/AVP 0", "a="+strings.Repeat("x", maxSDP)), ErrBadSDP},
		{"no address", []byte("v=0\r\no=- 1 1 IN IP4 192.0.2.5\r\ns=-\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"), ErrBadSDP},
		{"bad address", description4("m=audio 4000 RTP/AVP 0", "c=IN IP4 1.2.3.400"), ErrBadSDP},
		{"address of another type", description4("m=audio 4000 RTP/AVP 0", "c=IN IP4 2001:db8::1"), ErrBadSDP},
		{"bad port", description4("m=audio 70000 RTP/AVP 0"), ErrBadSDP},
		{"no media", description4(), ErrNotAcceptable},
		{"video only", description4("m=video 4000 RTP/AVP 99"), ErrNotAcceptable},
		{"no codec of ours", description4("m=audio 4000 RTP/AVP 18 101", "a=rtpmap:101 telephone-event/8000"), ErrNotAcceptable},
		{"refused audio", description4("m=audio 0 RTP/AVP 0"), ErrNotAcceptable},
		{"SRTP", description4("m=audio 4000 RTP/SAVP 0"), ErrNotAcceptable},
		{"host name", description4("m=audio 4000 RTP/AVP 0", "c=IN IP4 phone.example"), ErrNotAcceptable},
		{"multicast", description4("m=audio 4000 RTP/AVP 0", "c=IN IP4 224.2.1.1/127"), ErrNotAcceptable},
		{"other family", description4("m=audio 4000 RTP/AVP 0", "c=IN IP6 2001:db8::1"), ErrNotAcceptable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := ourSide()
			before := *n
			if _, _, err := n.answer(tt.sdp); !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
			if n.lines != nil || n.agreed != nil || n.version != before.version {
				t.Error("a refused offer changed something")
			}
		})
	}
}

func TestSetupSaysWhatWasAgreed(t *testing.T) {
	_, s, err := ourSide().answer(description4("m=audio 4000 RTP/AVP 8 0 96", "a=rtpmap:96 telephone-event/8000", "a=rtcp:4005 IN IP4 192.0.2.6"))
	if err != nil {
		t.Fatal(err)
	}
	if s.audio != (format{8, pcma}) || s.event != (format{96, event}) || s.kinds[8] != pcma || s.kinds[96] != event || s.kinds[0] != unknown {
		t.Errorf("codecs %+v", s)
	}
	if s.rtp.String() != "192.0.2.5:4000" || s.rtcp.String() != "192.0.2.6:4005" || !s.send || s.held {
		t.Errorf("setup %+v", s)
	}
	for _, tt := range []struct {
		line       string
		send, held bool
	}{{"a=sendrecv", true, false}, {"a=sendonly", false, true}, {"a=recvonly", true, true}, {"a=inactive", false, true}, {"c=IN IP4 0.0.0.0", false, true}} {
		_, s, err := ourSide().answer(description4("m=audio 4000 RTP/AVP 0", tt.line))
		if err != nil || s.send != tt.send || s.held != tt.held {
			t.Errorf("%s: send %v, held %v (%v)", tt.line, s.send, s.held, err)
		}
	}
}

func TestOfferAndAnswer(t *testing.T) {
	n := ourSide()
	if _, err := n.accept(description4("m=audio 4000 RTP/AVP 0")); err == nil {
		t.Error("an answer without an offer was accepted")
	}
	offer := string(n.offer())
	if !strings.Contains(offer, "m=audio 20000 RTP/AVP 0 8 101\r\n") || !strings.Contains(offer, "o=- 42 1 ") {
		t.Errorf("offer %s", offer)
	}
	// The answerer names his own number for telephone-event: we send 97 and understand both.
	s, err := n.accept(description4("m=audio 4000 RTP/AVP 8 97", "a=rtpmap:97 telephone-event/8000", "a=rtcp-mux"))
	if err != nil {
		t.Fatal(err)
	}
	if s.audio != (format{8, pcma}) || s.event.pt != 97 || s.kinds[101] != event || s.kinds[97] != event || s.kinds[0] != pcmu || s.mux {
		t.Errorf("setup %+v", s)
	}
	if _, err := n.accept(description4("m=audio 0 RTP/AVP 0")); !errors.Is(err, ErrNotAcceptable) {
		t.Errorf("refused stream: %v", err)
	}
	// No telephone-event in the answer: keys go as tones.
	if s, err = n.accept(description4("m=audio 4000 RTP/AVP 0")); err != nil || s.event.codec != unknown {
		t.Errorf("setup %+v, %v", s, err)
	}
}

func TestVersionCountsChanges(t *testing.T) {
	n := ourSide()
	version := func(b []byte) string { return strings.Fields(string(b))[3] }
	offer := []string{"m=audio 4000 RTP/AVP 0", "m=video 5000 RTP/AVP 99"}
	for i, tt := range []struct {
		more string
		want string
	}{{"a=x", "1"}, {"a=y", "1"}, {"a=inactive", "2"}, {"a=sendrecv", "3"}} {
		answer, _, err := n.answer(description4(offer[0], tt.more, offer[1]))
		if err != nil || version(answer) != tt.want {
			t.Errorf("answer %d: version %s, want %s (%v)", i, version(answer), tt.want, err)
		}
		if !strings.HasPrefix(string(answer), "v=0\r\no=- 42 ") {
			t.Errorf("answer %d: another session %s", i, answer)
		}
	}
	// Our own re-offer keeps the m-lines and the agreed codec first.
	reoffer := string(n.offer())
	if !strings.Contains(reoffer, "m=audio 20000 RTP/AVP 0 8 101\r\n") || !strings.HasSuffix(reoffer, "m=video 0 RTP/AVP 99\r\n") || version([]byte(reoffer)) != "4" {
		t.Errorf("offer %s", reoffer)
	}
	if again := string(n.offer()); again != reoffer {
		t.Errorf("an unchanged offer differs: %s", again)
	}
}

func TestReofferAvoidsTakenNumbers(t *testing.T) {
	n := ourSide()
	if _, _, err := n.answer(description4("m=audio 4000 RTP/AVP 101", "a=rtpmap:101 PCMA/8000")); err != nil {
		t.Fatal(err)
	}
	if offer := string(n.offer()); !strings.Contains(offer, "m=audio 20000 RTP/AVP 101 0 102\r\n") {
		t.Errorf("offer %s", offer)
	}
}

func TestIPv6Description(t *testing.T) {
	n := newNegotiation(netip.MustParseAddr("2001:db8::1"), 20000)
	offer := "v=0\r\no=- 1 1 IN IP6 2001:db8::5\r\ns=-\r\nc=IN IP6 2001:db8::5\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
	answer, s, err := n.answer([]byte(offer))
	if err != nil || s.rtp.String() != "[2001:db8::5]:4000" || s.rtcp.String() != "[2001:db8::5]:4001" {
		t.Fatalf("setup %+v, %v", s, err)
	}
	if !strings.Contains(string(answer), "c=IN IP6 2001:db8::1\r\n") {
		t.Errorf("answer %s", answer)
	}
}

func FuzzSDP(f *testing.F) {
	f.Add(description4("m=audio 4000 RTP/AVP 8 0 96", "a=rtpmap:96 telephone-event/8000", "a=rtcp:4005 IN IP4 192.0.2.6", "a=maxptime:10"))
	f.Add(description4("m=image 4002 udptl t38", "m=audio 4000/2 RTP/AVP 0 0 200", "a=rtcp-mux", "a=sendonly"))
	f.Add(ourSide().offer())
	f.Add(description4("m=audio 4000 RTP/SAVP 0", "a=crypto:3 AES_CM_128_HMAC_SHA1_32 inline:"+testKey+"|2^20|1:4"))
	f.Fuzz(func(t *testing.T, b []byte) {
		n := ourSide()
		answer, _, err := n.answer(b)
		if err != nil {
			if !errors.Is(err, ErrBadSDP) && !errors.Is(err, ErrNotAcceptable) {
				t.Fatalf("error of no kind: %v", err)
			}
			return
		}
		// What we answer, another one like us takes as the answer to the same m-lines.
		other := newNegotiation(netip.MustParseAddr("192.0.2.5"), 4000)
		other.offered, other.index, other.lines = []format{{0, pcmu}, {8, pcma}}, n.index, n.lines
		other.lastCrypto = n.protection.offer() // of the peer's, tag and suite are what matters
		if _, err := other.accept(answer); err != nil {
			t.Fatalf("%v\nanswer %q\noffer %q", err, answer, b)
		}
		if _, err := n.accept(b); err == nil {
			t.Fatal("accepted without an offer")
		}
		n.offer()
	})
}
