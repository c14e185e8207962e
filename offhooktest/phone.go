package offhooktest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/audio"
	"github.com/offhook/offhook/internal/speech"
	"github.com/offhook/offhook/phone"
)

// Phone is a real SIP phone with a number of its own.
type Phone struct {
	t      testing.TB
	srv    *Server
	number string
	phone  *phone.Phone
	calls  chan *phone.Call
}

// Phone makes a phone with that number: calls the server makes to it ring here, and it can dial.
func (s *Server) Phone(t testing.TB, number string) *Phone {
	t.Helper()
	p, err := phone.Listen(context.Background(), phone.Config{Number: number, Message: s.exchange.message})
	if err != nil {
		t.Fatalf("phone %s: %v", number, err)
	}
	ph := &Phone{t: t, srv: s, number: number, phone: p, calls: make(chan *phone.Call, 16)}
	s.exchange.set(number, ph.calls)
	t.Cleanup(func() {
		s.exchange.set(number, nil)
		if err := p.Close(); err != nil {
			t.Errorf("phone %s: %v", number, err)
		}
	})
	return ph
}

// Line is one call at a phone.
type Line struct {
	// Call is the phone's own view of it, for what Line has no word for.
	*phone.Call
	t testing.TB
	x *exchange
}

// Dial calls a number of the server, or a sip: URI.
func (p *Phone) Dial(to string) *Line {
	p.t.Helper()
	return p.Call(phone.Outgoing{To: to})
}

// Call is Dial of a call that is more than who is called.
func (p *Phone) Call(o phone.Outgoing) *Line {
	p.t.Helper()
	if !strings.HasPrefix(o.To, "sip:") {
		o.To = "sip:" + o.To + "@" + p.srv.SIP
	}
	ctx, cancel := patience()
	defer cancel()
	c, err := p.phone.Call(ctx, o)
	if err != nil {
		p.t.Fatalf("%s dials %s: %v", p.number, o.To, err)
	}
	return &Line{c, p.t, p.srv.exchange}
}

// Incoming waits until the phone is called; it does not ring or answer yet.
func (p *Phone) Incoming() *Line {
	p.t.Helper()
	select {
	case c := <-p.calls:
		return &Line{c, p.t, p.srv.exchange}
	case <-after(Patience):
		p.t.Fatalf("nobody called %s", p.number)
		return nil
	}
}

// Answers waits until the phone is called, rings and answers.
func (p *Phone) Answers() *Line {
	p.t.Helper()
	l := p.Incoming()
	l.must("ring", l.Ring())
	l.must("answer", l.Answer())
	l.Answered()
	return l
}

func (l *Line) must(what string, err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatalf("%s → %s: %s: %v", l.From(), l.To(), what, err)
	}
}

func patience() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), Patience)
}

// Answered waits until the call is set up.
func (l *Line) Answered() {
	l.t.Helper()
	ctx, cancel := patience()
	defer cancel()
	l.must("answered", l.WaitAnswered(ctx))
}

// Rings waits until the called side rings.
func (l *Line) Rings() {
	l.t.Helper()
	ctx, cancel := patience()
	defer cancel()
	l.must("rings", l.WaitRinging(ctx))
}

// Hears waits until the test voice has spoken text.
func (l *Line) Hears(text string) {
	l.t.Helper()
	ctx, cancel := patience()
	defer cancel()
	l.must(fmt.Sprintf("hears %q", text), l.WaitHeard(ctx, fmt.Sprintf("%q", text), func(pcm []int16) bool {
		return speech.Heard(pcm, text)
	}))
}

// HeardEver reports whether text was spoken at any time so far.
func (l *Line) HeardEver(text string) bool { return speech.Heard(l.Heard(), text) }

// HearsTone waits for a tone of these frequencies in Hz.
func (l *Line) HearsTone(hz ...float64) {
	l.t.Helper()
	ctx, cancel := patience()
	defer cancel()
	l.must("hears a tone", l.WaitTone(ctx, hz...))
}

// Whistles sends a tone of that frequency in Hz, and returns when it was sent.
func (l *Line) Whistles(d time.Duration, hz float64) {
	l.t.Helper()
	ctx, cancel := patience()
	defer cancel()
	l.must(fmt.Sprintf("whistles %g Hz", hz), l.Play(ctx, audio.Tone(d, hz)))
}

// HearsSound waits until any sound has been heard for d in sum.
func (l *Line) HearsSound(d time.Duration) {
	l.t.Helper()
	ctx, cancel := patience()
	defer cancel()
	l.must("hears sound", l.WaitAudio(ctx, d))
}

// Press presses keys, with w and W as pauses.
func (l *Line) Press(keys string) {
	l.t.Helper()
	ctx, cancel := patience()
	defer cancel()
	l.must("press "+keys, l.Call.Press(ctx, keys))
}

// GotDigits waits until the far end has pressed exactly these keys.
func (l *Line) GotDigits(keys string) {
	l.t.Helper()
	ctx, cancel := patience()
	defer cancel()
	l.must("digits "+keys, l.WaitDigits(ctx, keys))
}

// HungUp waits until the call is over and returns how it ended.
func (l *Line) HungUp() phone.End {
	l.t.Helper()
	ctx, cancel := patience()
	defer cancel()
	l.must("hung up", l.WaitHungUp(ctx))
	end, _ := l.End()
	return end
}

// URI is the phone's own address: calls to it ring at the phone itself, see OwnIncoming.
func (p *Phone) URI() string { return p.phone.URI() }

// OwnIncoming waits until the phone is called at its URI; it does not ring or answer yet.
func (p *Phone) OwnIncoming() *Line {
	p.t.Helper()
	select {
	case c := <-p.phone.Incoming():
		return &Line{c, p.t, p.srv.exchange}
	case <-after(Patience):
		p.t.Fatalf("nobody called %s", p.URI())
		return nil
	}
}
