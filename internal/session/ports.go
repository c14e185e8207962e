// Package session runs live calls: it takes calls from the dialling queue and from outside, moves them
// through their statuses, runs their TwiML documents and tells their applications what happens.
//
// One Session is one call. Its loop is the only goroutine that changes the call; the verbs run in one
// child that the loop starts, cancels and waits for. Manager owns the sessions and is what both APIs call.
package session

import (
	"context"
	"iter"
	"time"

	"github.com/offhook/offhook/internal/audio"
	"github.com/offhook/offhook/internal/bus"
	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/speech"
	"github.com/offhook/offhook/internal/twilio"
	"github.com/offhook/offhook/internal/webhook"
)

// Leg is one party's signalling and media. Its methods return at once unless said otherwise, are safe
// for concurrent use, and do nothing on a leg that is over.
type Leg interface {
	// Dialog is what is stored of the SIP dialog; complete before Invite.
	Dialog() *call.Dialog
	// Events tells what happens to the leg. It is closed after LegEnded, which always comes.
	Events() <-chan call.LegEvent
	// Invite calls the other party (outbound legs).
	Invite()
	// Acknowledge takes note of LegAnswered: the callee hears that his answer arrived (outbound legs).
	Acknowledge()
	// Ring says that we alert somebody (inbound legs).
	Ring()
	// Progress lets an inbound caller hear what plays before he is answered (183); an error means that he has gone.
	Progress() error
	// Answer takes an inbound call; it returns an error when the caller has already gone.
	Answer() error
	// Reject refuses an inbound call that is not answered with a final SIP code.
	Reject(code int, reason string)
	// Hangup ends the leg in whatever state it is.
	Hangup()

	// Play queues c behind what is playing; done is closed when its last frame left or was dropped.
	Play(c *audio.Clip) (done <-chan struct{})
	// PlayDigits queues DTMF, w and W being pauses of 0.5 s and 1 s.
	PlayDigits(digits string) (done <-chan struct{})
	// Loop queues c again and again, until Flush.
	Loop(c *audio.Clip)
	// Flush drops what plays and what is queued.
	Flush()
	// Mute makes what this party says silence for everybody. Its keys are still told.
	Mute(on bool)
	// PutAside keeps this party on hold until TakeBack: it hears music, nil for silence, and nothing else, and what
	// it says and presses goes nowhere. What plays waits.
	PutAside(music *audio.Clip)
	TakeBack()
	// Hear lets this party hear what the other one says, nil ends that; what is queued to play is heard instead
	// as long as it lasts. A conversation is a.Hear(b) and b.Hear(a). It ends by itself when either leg does.
	Hear(other Leg)
	// Tap gives t what this party says and hears, until untap is called or the leg is over.
	Tap(t audio.Tap) (untap func())

	// Refer asks the party to call uri, with its headers, instead of us. LegReferAnswered follows, and
	// LegReferNotified as long as the party tells how it goes.
	Refer(uri string)
	// ReferReply answers LegReferred: 202 accepts it, a code from 300 on refuses it.
	ReferReply(id, code int)
	// ReferNotify tells the party how the accepted transfer goes, as a SIP response; a final one is the last.
	ReferNotify(id, code int, reason string)
}

// Dialer makes legs to other parties.
type Dialer interface {
	// NewLeg reserves what the leg needs and sends nothing yet. It may look names up. Its error may be a
	// *call.LegError.
	NewLeg(spec call.OutboundLeg) (Leg, error)
	// EndStored ends a call of an earlier process by its stored dialog: BYE when it was answered, else
	// CANCEL, or 503 when the INVITE was the peer's. It waits for the peer's answer, at most half a minute or until ctx is done.
	EndStored(ctx context.Context, d *call.Dialog, answered bool) error
	// Self is the host:port of our own SIP listener, for calls to our own numbers.
	Self() string
}

// Store keeps calls. Every method writes or reads whole transactions and is safe for concurrent use.
// A store that cannot be written returns call.ErrUnavailable.
type Store interface {
	// Epoch marks the live calls of this process; a call in its queue has none.
	Epoch() int64
	// CreateCall inserts a call asked for by an API; AddCall one that is already live, ahead of those.
	CreateCall(ctx context.Context, c *call.Call, ch call.Change) error
	AddCall(ctx context.Context, c *call.Call, ch call.Change) error
	// SaveCall writes c and ch when the stored call still has status from and is ours or unowned;
	// otherwise call.ErrConflict.
	SaveCall(ctx context.Context, c *call.Call, from call.Status, ch call.Change) error
	// CancelQueued ends a call that no session has taken from the queue; otherwise call.ErrConflict.
	CancelQueued(ctx context.Context, c *call.Call, ch call.Change) error
	Call(ctx context.Context, accountSID, sid string) (*call.Call, error)
	DeleteCall(ctx context.Context, accountSID, sid string) error
	// ListCalls returns a page of f.Limit calls, newest first, and whether more follow.
	ListCalls(ctx context.Context, f call.Filter) (calls []*call.Call, more bool, err error)
	// Annotate merges note into what is noted beside a call, and returns what then is.
	Annotate(ctx context.Context, accountSID, sid string, note call.Note) (annotation string, metadata map[string]any, err error)
	// Events lists the events of a call behind a sequence number, -1 for all.
	Events(ctx context.Context, callSID string, afterSeq int) ([]call.Event, error)
	// Queued lists the calls of a line not yet dialled, first in first out.
	Queued(ctx context.Context, of call.Line, limit int) ([]*call.Call, error)
	// QueuedLines lists the lines that have such calls.
	QueuedLines(ctx context.Context) ([]call.Line, error)
	// QueuedBefore lists the oldest of those that were stored before a time.
	QueuedBefore(ctx context.Context, t time.Time, limit int) ([]*call.Call, error)
	// Live lists the calls that have not ended and that were dialled or came in.
	Live(ctx context.Context) ([]*call.Call, error)
	// JustEnded lists the calls that ended within d before the newest end, newest first.
	JustEnded(ctx context.Context, d time.Duration, limit int) ([]*call.Call, error)
	NumberByPhone(ctx context.Context, phone string) (*call.Number, error)
	Account(ctx context.Context, sid string) (*call.Account, error)
	// MayCallFrom reports whether a number of somebody else's is one that the account may call from.
	MayCallFrom(ctx context.Context, accountSID, phone string) (bool, error)
	// Application is one of whatever account.
	Application(ctx context.Context, sid string) (*call.Application, error)
}

// Locations knows where the phones of our SIP domains are.
type Locations interface {
	// Lookup is call.Locations'.
	Lookup(ctx context.Context, now time.Time, domainSID, user string) ([]call.Binding, error)
}

// Rates says what calls cost. Its methods are safe for concurrent use and do not wait.
type Rates interface {
	// Price is what a call that has ended costs, a decimal without sign, and in which currency; ok is false when
	// there is no rate for it.
	Price(c *call.Call) (price, currency string, ok bool)
}

// Admission decides by the load of the machine. Its methods are safe for concurrent use.
type Admission interface {
	// Admit reports whether a call that is asked for now may be taken; otherwise it is refused.
	Admit() bool
	// Room is Admit for a call that was accepted and can wait.
	Room() bool
	// Placed says how long it took to place a call that Room let in, or to find that it cannot be.
	Placed(took time.Duration)
	// Opened says how long the server took to store a call that it had admitted, or to find that it is none of
	// its own. A call that the store did not take says nothing.
	Opened(took time.Duration)
}

// allCalls admits all.
type allCalls struct{}

func (allCalls) Admit() bool          { return true }
func (allCalls) Room() bool           { return true }
func (allCalls) Placed(time.Duration) {}
func (allCalls) Opened(time.Duration) {}

// Synthesizer speaks.
type Synthesizer interface {
	// Resolve finds the voice for a Twilio voice name and language, and what it has to warn of.
	Resolve(voice, language string) (speech.Voice, []*twilio.Error)
	// Say yields the utterance clause by clause, each as soon as it is ready; it ends early with an error.
	Say(ctx context.Context, u speech.Utterance) iter.Seq2[*audio.Clip, error]
}

// Hooks makes the requests to a customer's application.
type Hooks interface {
	// Client makes the requests of one call, signed with its account's token.
	Client(authToken string) *webhook.Client
	// Clip gets the audio behind a <Play> URL.
	Clip(ctx context.Context, c *webhook.Client, url string) (*audio.Clip, error)
	// Decode makes a clip of an answer that is audio itself.
	Decode(ctx context.Context, answer *webhook.Response) (*audio.Clip, error)
}

// Publisher tells those who watch what passes; of what is stored the store tells them.
type Publisher interface {
	Trace(callSID string, t bus.Trace)
}
