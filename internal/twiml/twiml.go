// Package twiml turns the bytes of a TwiML document into typed verbs: it checks the document rules,
// applies defaults and reports what it had to skip, each with its line. It does no I/O and runs nothing;
// package session executes the verbs.
//
// A fault of level error makes the whole document unusable and is returned as a *twilio.Error. A fault of
// level warning skips the element, or uses the attribute's default, and is noted in Document.Warnings.
package twiml

import "time"

// Document is one parsed TwiML response.
type Document struct {
	URL      string    // where it came from, after HTTP redirects; "" when Inline
	Verbs    []Verb    // in document order
	Warnings []Warning // in document order, at most maxWarnings
	Inline   bool      // given in a REST request: it has no URL that relative ones could resolve against
}

// Warning is something in a document that was skipped or replaced by a default.
type Warning struct {
	Code    int // Twilio's, e.g. 12200
	Message string
	Line    int // 1-based, 0 for the document as a whole
}

// Verb is one instruction. The set is closed: Say, Play, Pause, Gather, Record, Dial, Redirect, Hangup, Reject,
// Refer, StartRecording, StopRecording and Unsupported, all as pointers.
type Verb interface {
	verb()
	// Name is the element's name, such as Say.
	Name() string
	// Line is where the element starts, 1-based; 0 when no element was written.
	Line() int
}

// at is the place of a verb in its document.
type at struct{ line int }

// Line is where the verb's element starts, 1-based; 0 when there is none.
func (a at) Line() int { return a.line }

// Say speaks text.
type Say struct {
	at
	Voice    string // as written, of a family Twilio has; "" is the account's default
	Language string // BCP-47 tag; "" is the voice's own
	Loop     int    // times to speak, 1 to 1000; 0 is until the call ends
	Parts    []Part // at least one
}

// Part is a stretch of text with its white space collapsed, or a pause: exactly one of the two is set.
type Part struct {
	Text  string
	Pause time.Duration
}

// Play plays an audio file, or sends digits.
type Play struct {
	at
	URL         string // may be relative to the document
	Loop        int    // times to play, 1 to 1000; 0 is until the call ends
	Digits      string // 0-9 A-D * # with w and W for pauses of 0.5 s and 1 s; when set, URL is not used
	Body        []byte // the audio itself, when the application answered with audio instead of TwiML
	ContentType string // of Body
}

// Pause waits.
type Pause struct {
	at
	Length time.Duration // whole seconds on the wire, default 1 s
}

// Gather plays its prompts while it collects digits.
type Gather struct {
	at
	Action              string        // "" is the current document; an Inline document has none to go back to
	Method              string        // GET or POST (the default)
	Timeout             time.Duration // silence that ends the input; default 5 s
	FinishOnKey         string        // one of 0-9 # * (the default is #), or "" for none
	NumDigits           int           // 0 is no limit
	ActionOnEmptyResult bool          // request Action also when nothing was entered
	Input               []string      // dtmf, speech; without repeats, default dtmf
	Prompts             []Verb        // Say, Play and Pause only

	// For speech input, which makes the verb Unsupported for now.
	SpeechTimeout         time.Duration // pause after speech that ends it; 0 is as Timeout, SpeechAuto the first pause
	MaxSpeechTime         time.Duration // cap of one input, default 60 s
	Language              string        // BCP-47 tag, default en-US
	Hints                 []string      // at most 500, each at most 100 characters
	SpeechModel           string        // default "default"
	Enhanced              bool
	ProfanityFilter       bool // default true
	PartialResultCallback string
	PartialResultMethod   string // GET or POST (the default)
	BargeIn               bool   // whether speech stops the prompts (keys always do); default true
	Debug                 bool
}

// SpeechAuto is Gather.SpeechTimeout for speechTimeout="auto".
const SpeechAuto time.Duration = -1

// Redirect continues with another document.
type Redirect struct {
	at
	URL    string // "" is the current document
	Method string // GET or POST (the default)
}

// Hangup ends the call.
type Hangup struct{ at }

// Reject refuses an inbound call that has not been answered.
type Reject struct {
	at
	Reason string // rejected (the default) or busy
}

// Unsupported stands where the document has a verb, or asks of a verb, what offhook cannot do yet.
// The session raises an error there and takes the fallback path.
type Unsupported struct {
	at
	Verb    string // Record, Enqueue, …
	Feature string // what of the verb, such as input="speech" or <Conference>; "" is the whole verb
}

func (*Say) verb()         {}
func (*Play) verb()        {}
func (*Pause) verb()       {}
func (*Gather) verb()      {}
func (*Redirect) verb()    {}
func (*Hangup) verb()      {}
func (*Reject) verb()      {}
func (*Unsupported) verb() {}

// Name returns "Say".
func (*Say) Name() string { return "Say" }

// Name returns "Play".
func (*Play) Name() string { return "Play" }

// Name returns "Pause".
func (*Pause) Name() string { return "Pause" }

// Name returns "Gather".
func (*Gather) Name() string { return "Gather" }

// Name returns "Redirect".
func (*Redirect) Name() string { return "Redirect" }

// Name returns "Hangup".
func (*Hangup) Name() string { return "Hangup" }

// Name returns "Reject".
func (*Reject) Name() string { return "Reject" }

// Name returns the verb that is not supported.
func (u *Unsupported) Name() string { return u.Verb }
