package phone

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// Each call is made over both transports, and both ends hear, press and hang up.
func TestTwoPhonesTalk(t *testing.T) {
	for _, transport := range []string{"udp", "tcp"} {
		for _, host := range []string{"127.0.0.1:0", "[::1]:0"} {
			t.Run(transport+" "+host, func(t *testing.T) {
				t.Parallel()
				ctx := testContext(t)
				alice := start(t, Config{Addr: host, Number: "+15550100", Transport: transport})
				bob := start(t, Config{Addr: host, Number: "+15550199"})
				a, b := connect(t, alice, bob, Outgoing{Name: "Alice", Headers: []string{"X-Reason: test"}})

				if b.From() != "+15550100" || b.To() != "+15550199" || a.To() != "+15550199" {
					t.Errorf("from %s to %s", b.From(), b.To())
				}
				if got := b.Header("x-reason"); got != "test" {
					t.Errorf("header %q", got)
				}
				if !strings.Contains(b.Header("From"), "Alice") {
					t.Errorf("From %q", b.Header("From"))
				}
				if a.Code() != 200 || a.Codec() != PCMU || b.Codec() != PCMU {
					t.Errorf("code %d, codecs %s %s", a.Code(), a.Codec(), b.Codec())
				}
				go func() { _ = a.Play(ctx, Tone(time.Second, 440)) }()
				go func() { _ = b.Play(ctx, Tone(time.Second, 600)) }()
				check(t, a.WaitTone(ctx, 600))
				check(t, b.WaitTone(ctx, 440))
				check(t, a.WaitSilence(ctx, 300*time.Millisecond))
				check(t, a.Press(ctx, "12#"))
				check(t, b.WaitDigits(ctx, "12"))
				check(t, b.WaitDigits(ctx, "#"))
				check(t, b.Press(ctx, "*D"))
				check(t, a.WaitDigits(ctx, "*D"))
				b.Hangup()
				if end := hungUp(t, a); !end.Remote || end.Code != 200 {
					t.Errorf("caller's end: %s", end)
				}
				if end := hungUp(t, b); end.Remote {
					t.Errorf("callee's end: %s", end)
				}
			})
		}
	}
}

func TestOffersAndAnswers(t *testing.T) {
	tests := []struct {
		name   string
		o      Outgoing
		callee Config
		codec  Codec
		keysBy string
	}{
		{"A-law", Outgoing{Codecs: []Codec{PCMA}}, Config{}, PCMA, "event"},
		{"callee prefers A-law", Outgoing{}, Config{Codecs: []Codec{PCMA, PCMU}}, PCMA, "event"},
		{"late offer", Outgoing{LateOffer: true}, Config{}, PCMU, "event"},
		{"odd payload type", Outgoing{EventPayloadType: 96}, Config{}, PCMU, "event"},
		{"late offer, odd payload type", Outgoing{LateOffer: true}, Config{EventPayloadType: 127}, PCMU, "event"},
		{"no telephone-event", Outgoing{EventPayloadType: -1}, Config{}, PCMU, "tone"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			ctx := testContext(t)
			a, b := connect(t, start(t, Config{}), start(t, test.callee), test.o)
			if a.Codec() != test.codec || b.Codec() != test.codec {
				t.Errorf("codecs %s, %s; want %s", a.Codec(), b.Codec(), test.codec)
			}
			if g, _ := b.media.agreement(); (g.sendEvents >= 0) != (test.keysBy == "event") {
				t.Errorf("telephone-event %d", g.sendEvents)
			}
			check(t, a.Press(ctx, "159"))
			check(t, b.WaitDigits(ctx, "159"))
			check(t, b.Press(ctx, "0"))
			check(t, a.WaitDigits(ctx, "0"))
			go func() { _ = a.Play(ctx, Tone(500*time.Millisecond, 1000)) }()
			check(t, b.WaitTone(ctx, 1000))
			a.Hangup()
			hungUp(t, b)
		})
	}
}

func TestNoCommonCodecIs488(t *testing.T) {
	caller, callee := start(t, Config{}), start(t, Config{Codecs: []Codec{PCMA}})
	c, err := caller.Call(testContext(t), Outgoing{To: callee.URI(), Codecs: []Codec{PCMU}})
	check(t, err)
	if end := hungUp(t, c); end.Code != 488 || !end.Remote {
		t.Errorf("%s", end)
	}
}

func TestRefusals(t *testing.T) {
	for _, code := range []int{404, 480, 486, 503, 603} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			t.Parallel()
			ctx := testContext(t)
			caller, callee := start(t, Config{}), start(t, Config{})
			a, err := caller.Dial(ctx, callee.URI())
			check(t, err)
			b := take(t, callee)
			check(t, b.Ring())
			check(t, a.WaitRinging(ctx))
			check(t, b.Reject(code))
			err = a.WaitAnswered(ctx)
			var ended *EndError
			if !errors.As(err, &ended) || ended.End.Code != code || !ended.End.Remote {
				t.Errorf("error %v", err)
			}
			if a.Code() != code {
				t.Errorf("code %d", a.Code())
			}
			if err := b.Answer(); !errors.As(err, &ended) {
				t.Errorf("answering a refused call: %v", err)
			}
		})
	}
}

func TestCancel(t *testing.T) {
	for _, ring := range []bool{true, false} {
		t.Run(fmt.Sprintf("ringing %v", ring), func(t *testing.T) {
			t.Parallel()
			ctx := testContext(t)
			caller, callee := start(t, Config{}), start(t, Config{})
			a, err := caller.Dial(ctx, callee.URI())
			check(t, err)
			if !ring {
				a.Hangup() // perhaps before the 100: then the CANCEL waits for it
			}
			b := take(t, callee)
			if ring {
				check(t, b.Ring())
				check(t, a.WaitRinging(ctx))
				a.Hangup()
			}
			if end := hungUp(t, a); end.Code != 487 {
				t.Errorf("caller: %s", end)
			}
			if end := hungUp(t, b); end.Code != 487 || !end.Remote {
				t.Errorf("callee: %s", end)
			}
			if err := b.Answer(); err == nil {
				t.Error("a cancelled call was answered")
			}
		})
	}
}

func TestEarlyMedia(t *testing.T) {
	ctx := testContext(t)
	caller, callee := start(t, Config{}), start(t, Config{})
	a, err := caller.Dial(ctx, callee.URI())
	check(t, err)
	b := take(t, callee)
	check(t, b.Progress())
	check(t, a.WaitRinging(ctx))
	check(t, b.Play(ctx, Tone(300*time.Millisecond, 425)))
	check(t, a.WaitTone(ctx, 425))
	if err := a.Press(ctx, "1"); err == nil {
		t.Error("keys before the answer")
	}
	check(t, b.Answer())
	check(t, a.WaitAnswered(ctx))
	go func() { _ = b.Play(ctx, Tone(300*time.Millisecond, 700)) }()
	check(t, a.WaitTone(ctx, 700))
}

func TestHold(t *testing.T) {
	ctx := testContext(t)
	a, b := connect(t, start(t, Config{}), start(t, Config{}), Outgoing{})
	go func() { _ = b.Play(ctx, Tone(testTimeout, 500)) }()
	check(t, a.WaitTone(ctx, 500))
	check(t, a.Hold(ctx))
	if g, _ := b.media.agreement(); g.send || !g.recv {
		t.Errorf("held side: %+v", g)
	}
	check(t, a.WaitSilence(ctx, 300*time.Millisecond)) // b is told not to send
	go func() { _ = a.Play(ctx, Tone(500*time.Millisecond, 800)) }()
	check(t, b.WaitTone(ctx, 800)) // music on hold
	check(t, a.Unhold(ctx))
	check(t, a.WaitTone(ctx, 500))
	check(t, b.HoldInactive(ctx)) // the callee holds too
	if g, _ := a.media.agreement(); g.send || g.recv {
		t.Errorf("inactive side: %+v", g)
	}
	check(t, b.Unhold(ctx))
	check(t, a.WaitTone(ctx, 500))
	a.Hangup()
	hungUp(t, b)
}

func TestRecording(t *testing.T) {
	ctx := testContext(t)
	a, b := connect(t, start(t, Config{}), start(t, Config{Number: "+15550199", Dir: t.TempDir()}), Outgoing{})
	check(t, a.Play(ctx, Tone(1500*time.Millisecond, 440)))
	check(t, b.WaitTone(ctx, 440))
	if _, err := ReadWAV(b.Recording()); err != nil {
		t.Errorf("while recording: %v", err)
	}
	a.Hangup()
	hungUp(t, b)
	pcm, err := ReadWAV(b.Recording())
	check(t, err)
	if len(pcm) < sampleRate || !strings.Contains(b.Recording(), "+15550199") {
		t.Fatalf("%s: %d samples", b.Recording(), len(pcm))
	}
	tone := 0
	for w := pcm; len(w) >= 800; w = w[800:] {
		if IsTone(w[:800], 440) {
			tone++
		}
	}
	if tone < 13 {
		t.Errorf("%d of 15 windows of tone recorded", tone)
	}
	if info, err := os.Stat(b.Recording()); err != nil || info.Size() != int64(44+2*len(pcm)) {
		t.Errorf("file size %v, %v", info.Size(), err)
	}
}

func TestSilentPeerIsHungUp(t *testing.T) {
	a, b := connect(t, start(t, Config{}), start(t, Config{RTPTimeout: 300 * time.Millisecond}), Outgoing{})
	a.StopRTP(true)
	if end := hungUp(t, b); end.Remote || !strings.Contains(end.Reason, "nothing heard") {
		t.Errorf("%s", end)
	}
	if end := hungUp(t, a); !end.Remote {
		t.Errorf("%s", end)
	}
}

func TestHeldPeerIsNotHungUp(t *testing.T) {
	ctx := testContext(t)
	a, b := connect(t, start(t, Config{}), start(t, Config{RTPTimeout: 200 * time.Millisecond}), Outgoing{})
	check(t, a.HoldInactive(ctx))
	check(t, a.pass(ctx, "holding", 600*time.Millisecond))
	check(t, a.Unhold(ctx))
	a.Hangup()
	if end := hungUp(t, b); !end.Remote {
		t.Errorf("%s", end)
	}
}

func TestLimits(t *testing.T) {
	ctx := testContext(t)
	caller, callee := start(t, Config{}), start(t, Config{MaxCalls: 1, MaxCall: time.Second})
	first, err := caller.Dial(ctx, callee.URI())
	check(t, err)
	b := take(t, callee)
	second, err := caller.Dial(ctx, callee.URI())
	check(t, err)
	if end := hungUp(t, second); end.Code != 503 {
		t.Errorf("second call: %s", end)
	}
	check(t, b.Answer())
	if end := hungUp(t, first); end.Code != 200 || !end.Remote {
		t.Errorf("longest call: %s", end)
	}
}

func TestCloseEndsCalls(t *testing.T) {
	ctx := testContext(t)
	caller, callee := start(t, Config{}), start(t, Config{})
	a, b := connect(t, caller, callee, Outgoing{})
	ringing, err := caller.Dial(ctx, callee.URI())
	check(t, err)
	check(t, caller.Close())
	for _, c := range []*Call{a, b, ringing, take(t, callee)} {
		hungUp(t, c)
	}
	if _, err := caller.Dial(ctx, callee.URI()); err == nil {
		t.Error("a closed phone called")
	}
}

func TestNobodyThere(t *testing.T) {
	ctx := testContext(t)
	caller, gone := start(t, Config{}), start(t, Config{})
	uri := gone.URI() + ";transport=tcp"
	check(t, gone.Close())
	if _, err := caller.Dial(ctx, uri); err == nil {
		t.Error("called a closed port")
	}
	for _, bad := range []string{"", "5550100", "sip:", "sip:x@127.0.0.1;transport=pigeon"} {
		if _, err := caller.Dial(ctx, bad); err == nil {
			t.Errorf("called %q", bad)
		}
	}
}

// The BYE of a callee must not overtake the ACK, RFC 3261 section 15.
func TestHangupRightAfterAnswer(t *testing.T) {
	ctx := testContext(t)
	caller, callee := start(t, Config{}), start(t, Config{})
	a, err := caller.Dial(ctx, callee.URI())
	check(t, err)
	b := take(t, callee)
	check(t, b.Answer())
	b.Hangup()
	if end := hungUp(t, a); end.Code != 200 || !end.Remote {
		t.Errorf("caller: %s", end)
	}
	if end := hungUp(t, b); end.Code != 200 || end.Remote {
		t.Errorf("callee: %s", end)
	}
}

// Both ends at once: each BYE meets a call that is over already, and neither may hang.
func TestBothHangUp(t *testing.T) {
	a, b := connect(t, start(t, Config{}), start(t, Config{}), Outgoing{})
	go a.Hangup()
	b.Hangup()
	hungUp(t, a)
	hungUp(t, b)
}

func TestOnCall(t *testing.T) {
	ctx := testContext(t)
	callee := start(t, Config{OnCall: func(c *Call) {
		if c.Answer() == nil {
			_ = c.Play(c.Context(), Tone(200*time.Millisecond, 440))
		}
	}})
	a, err := start(t, Config{}).Dial(ctx, callee.URI())
	check(t, err)
	check(t, a.WaitTone(ctx, 440))
	if end := hungUp(t, a); !end.Remote || end.Code != 200 {
		t.Errorf("%s", end)
	}
}
