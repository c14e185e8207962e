package twiml

import (
	"strconv"
	"strings"
	"time"
)

// Record records what the caller says.
type Record struct {
	at
	Action             string        // "" is the current document; an Inline document has none to go back to
	Method             string        // GET or POST (the default)
	Timeout            time.Duration // silence that ends it; default 5 s, 0 is none
	FinishOnKey        string        // some of 0-9 # * (all by default), or "" for none
	MaxLength          time.Duration // default 1 h, 2 min with Transcribe
	PlayBeep           bool          // default true
	Transcribe         bool
	TranscribeCallback string
	Recording          Recording // without Track; its default of Trim is trim-silence
}

// StartRecording is <Start><Recording>: it records from now on, while the document goes on.
type StartRecording struct {
	at
	Label     string // by which Stop knows it; "" is none
	Dual      bool   // two channels (the default)
	Recording Recording
}

// StopRecording is <Stop><Recording>.
type StopRecording struct {
	at
	Label string // "" is the only one that runs
}

func (*Record) verb()         {}
func (*StartRecording) verb() {}
func (*StopRecording) verb()  {}

// Name returns "Record".
func (*Record) Name() string { return "Record" }

// Name returns "Start".
func (*StartRecording) Name() string { return "Start" }

// Name returns "Stop".
func (*StopRecording) Name() string { return "Stop" }

// Lengths of a Record (twiml section 3).
const (
	maxRecord        = time.Hour
	maxTranscribable = 2 * time.Minute
	finishKeys       = "1234567890*#"
)

func (p *parser) record(e *element) Verb {
	a := p.attributes(e, "action", "method", "timeout", "finishOnKey", "maxLength", "playBeep", "trim", "transcribe",
		"transcribeCallback", "recordingStatusCallback", "recordingStatusCallbackMethod", "recordingStatusCallbackEvent",
		"recordingConfigurationId")
	p.absoluteAction(e)
	for _, c := range p.children(e) {
		p.unexpected(13618, c, nil)
	}
	v := &Record{
		at: at{e.line}, Method: a.method("method", 13611), Timeout: 5 * time.Second, FinishOnKey: finishKeys,
		Recording: a.recording("trim-silence", 13619, 13620),
	}
	if s, ok := a.get("trim"); ok && s != "trim-silence" {
		v.Recording.Trim = "do-not-trim" // also for what is neither
	}
	v.Action, _ = a.get("action")
	if s, ok := a.get("timeout"); ok {
		if n, err := strconv.Atoi(s); err != nil || n < 0 {
			a.bad(13612, "timeout", s)
		} else {
			v.Timeout = time.Duration(min(n, int(maxWait/time.Second))) * time.Second
		}
	}
	if s, ok := a.get("finishOnKey"); ok {
		if strings.Trim(s, finishKeys) != "" {
			a.bad(13613, "finishOnKey", s)
		} else {
			v.FinishOnKey = s
		}
	}
	v.PlayBeep, _ = a.boolean("playBeep", true, 13616)
	v.Transcribe, _ = a.boolean("transcribe", false, 13614)
	v.TranscribeCallback = a.url("transcribeCallback", 13615)
	v.MaxLength = maxRecord
	if v.Transcribe {
		v.MaxLength = maxTranscribable
	}
	v.MaxLength = a.seconds("maxLength", v.MaxLength, 13610)
	if v.Transcribe && v.MaxLength > maxTranscribable {
		p.warn(13617, e.line, "Record: a recording of more than %v is not transcribed.", maxTranscribable)
	}
	return v
}

// url is a URL that may be relative, "" when there is none or it is not valid.
func (a attributes) url(name string, code int) string {
	s, ok := a.get(name)
	if ok && (s == "" || checkURL(s) != nil) {
		a.bad(code, name, s)
		return ""
	}
	return s
}

// recording reads the attributes that all verbs have that record.
func (a attributes) recording(trim string, callback, method int) Recording {
	r := Recording{
		Trim:                 a.oneOf("trim", trim, 13699, "trim-silence", "do-not-trim"),
		StatusCallback:       a.url("recordingStatusCallback", callback),
		StatusCallbackMethod: a.method("recordingStatusCallbackMethod", method),
		StatusCallbackEvents: a.list("recordingStatusCallbackEvent", []string{"completed"}, 13621, "in-progress", "completed", "absent"),
	}
	r.ConfigurationID, _ = a.get("recordingConfigurationId")
	return r
}

// backgroundNouns are the children of Start and Stop.
var backgroundNouns = []string{"Stream", "Siprec", "Transcription", "Recording"}

// background reads Start or Stop, of which there is only Recording yet.
func (p *parser) background(e *element) Verb {
	a := p.attributes(e, "action", "method")
	a.method("method", 12200)
	var verb Verb
	for i, c := range p.children(e) {
		switch {
		case i > 0:
			p.unexpected(12200, c, nil)
		case c.name == "Recording" && e.name == "Start":
			verb = p.startRecording(e, c)
		case c.name == "Recording":
			name, _ := p.attributes(c, "name").get("name")
			p.noChildren(c)
			verb = &StopRecording{at: at{e.line}, Label: name}
		case c.name == "Stream" || c.name == "Siprec" || c.name == "Transcription":
			verb = &Unsupported{at: at{e.line}, Verb: e.name, Feature: "<" + c.name + ">"}
		default:
			p.fail(14300, c.line, "%s: <%s> is none of <%s>.", e.name, c.name, strings.Join(backgroundNouns, ">, <"))
		}
	}
	if verb == nil {
		p.warn(12200, e.line, "The content of element '%s' is not complete. One of '{%s}' is expected.", e.name, strings.Join(backgroundNouns, ", "))
	}
	return verb
}

func (p *parser) startRecording(e, noun *element) Verb {
	a := p.attributes(noun, "name", "channels", "track", "trim", "recordingStatusCallback", "recordingStatusCallbackMethod",
		"recordingStatusCallbackEvent", "recordingConfigurationId")
	p.noChildren(noun)
	v := &StartRecording{at: at{e.line}, Recording: a.recording("trim-silence", 13619, 13620)}
	v.Label, _ = a.get("name")
	v.Dual = a.oneOf("channels", "dual", 12200, "mono", "dual") == "dual"
	v.Recording.Track = a.oneOf("track", "both", 13622, "inbound", "outbound", "both")
	return v
}
