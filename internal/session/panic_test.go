package session

import (
	"context"
	"iter"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"

	"github.com/offhook/offhook/internal/audio"
	"github.com/offhook/offhook/internal/bus"
	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/clock"
	"github.com/offhook/offhook/internal/speech"
	"github.com/offhook/offhook/internal/store"
	"github.com/offhook/offhook/internal/twilio"
	"github.com/offhook/offhook/internal/webhook"
)

// brokenVoice panics instead of speaking.
type brokenVoice struct{}

func (brokenVoice) Resolve(string, string) (speech.Voice, []*twilio.Error) {
	return speech.Voice{}, nil
}
func (brokenVoice) Say(context.Context, speech.Utterance) iter.Seq2[*audio.Clip, error] {
	panic("a bug in speech")
}

// eagerLeg is answered as soon as it calls.
type eagerLeg struct {
	events chan call.LegEvent
	over   sync.Once
}

func (l *eagerLeg) Dialog() *call.Dialog         { return &call.Dialog{CallID: "1"} }
func (l *eagerLeg) Events() <-chan call.LegEvent { return l.events }
func (l *eagerLeg) Invite()                      { l.events <- call.LegAnswered{} }
func (l *eagerLeg) Acknowledge()                 {}
func (l *eagerLeg) Ring()                        {}
func (l *eagerLeg) Answer() error                { return nil }
func (l *eagerLeg) Reject(int, string)           { l.Hangup() }
func (l *eagerLeg) Progress() error              { return nil }
func (l *eagerLeg) Flush()                       {}
func (l *eagerLeg) Mute(bool)                    {}
func (l *eagerLeg) PutAside(*audio.Clip)         {}
func (l *eagerLeg) TakeBack()                    {}
func (l *eagerLeg) Loop(*audio.Clip)             {}
func (l *eagerLeg) Hear(Leg)                     {}
func (l *eagerLeg) Tap(audio.Tap) func()         { return func() {} }
func (l *eagerLeg) Refer(string)                 {}
func (l *eagerLeg) ReferReply(int, int)          {}
func (l *eagerLeg) ReferNotify(int, int, string) {}
func (l *eagerLeg) Play(*audio.Clip) <-chan struct{} {
	return make(chan struct{})
}

func (l *eagerLeg) PlayDigits(string) <-chan struct{} { panic("a bug in media") }

func (l *eagerLeg) Hangup() { l.over.Do(func() { close(l.events) }) }

type eagerDialer struct{}

func (eagerDialer) NewLeg(call.OutboundLeg) (Leg, error) {
	return &eagerLeg{events: make(chan call.LegEvent, 4)}, nil
}
func (eagerDialer) EndStored(context.Context, *call.Dialog, bool) error { return nil }
func (eagerDialer) Self() string                                        { return "127.0.0.1:5060" }

func TestAPanicEndsItsCallAndNothingElse(t *testing.T) {
	ctx := t.Context()
	events := bus.New()
	st, err := store.Open(ctx, store.Config{DSN: filepath.Join(t.TempDir(), "offhook.db"), Feed: events, Clock: clock.System, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	account := &call.Account{SID: twilio.NewSID("AC"), AuthToken: "token"}
	if err := st.PutAccount(ctx, account); err != nil {
		t.Fatal(err)
	}
	m := NewManager(Config{
		Store: st, Dialer: eagerDialer{}, Hooks: webhook.New(webhook.Config{}), Voices: brokenVoice{}, Publisher: events,
		CallbacksDue: func() {}, Trunks: func() []call.Trunk { return nil }, Simulator: func() string { return "127.0.0.1:1" },
		Clock: clock.System, Log: slog.New(slog.DiscardHandler),
	})
	for name, p := range map[string]call.CreateParams{
		"in a verb":       {Options: call.Options{Twiml: "<Response><Say>x</Say></Response>"}},
		"beside a Gather": {Options: call.Options{Twiml: `<Response><Gather action="http://a.test/"><Say>x</Say></Gather></Response>`}},
		"at the leg":      {Options: call.Options{Twiml: "<Response/>", SendDigits: "1"}},
	} {
		t.Run(name, func(t *testing.T) {
			p.To, p.From = "+15550100", "+15550101"
			c, err := m.Create(ctx, account.SID, p)
			if err != nil {
				t.Fatal(err)
			}
			sub, _ := events.Subscribe(c.SID)
			defer sub.Close()
			for {
				stored, err := st.Call(ctx, account.SID, c.SID)
				if err != nil {
					t.Fatal(err)
				}
				if stored.Status == call.Completed {
					return
				}
				<-sub.C
			}
		})
	}
	m.Drain(ctx)
}
