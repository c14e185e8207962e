package call

import (
	"time"

	"github.com/offhook/offhook/internal/twilio"
)

// Modes of answering-machine detection (amd section 1).
const (
	// DetectEnable wants the verdict as soon as it is known.
	DetectEnable = "Enable"
	// DetectMessageEnd wants that of a machine when its greeting has ended.
	DetectMessageEnd = "DetectMessageEnd"
)

// MachineDetection is how it is to be found out whether a person or a machine answers a call. In a CreateParams zero
// values mean that a parameter was not given; in Options all are set. It is stored as JSON.
type MachineDetection struct {
	Mode               string `json:"mode"`               // DetectEnable or DetectMessageEnd
	Timeout            int    `json:"timeout"`            // seconds until it gives up
	SpeechThreshold    int    `json:"speechThreshold"`    // ms of speech, longer than what a person says
	SpeechEndThreshold int    `json:"speechEndThreshold"` // ms of silence that end it
	SilenceTimeout     int    `json:"silenceTimeout"`     // ms of silence at the beginning that end all

	// Async lets the call go on meanwhile; else its first instruction waits.
	Async          bool   `json:"async,omitempty"`
	CallbackURL    string `json:"callback,omitempty"`       // told of the verdict of what is Async; "" is nobody
	CallbackMethod string `json:"callbackMethod,omitempty"` // GET or POST
}

// Bounds and defaults of the numbers (amd section 1). A <Dial> allows a second more of Timeout.
const (
	MinDetectionTimeout, MaxDetectionTimeout, defaultDetectionTimeout       = 3, 59, 30
	MinSpeechThreshold, MaxSpeechThreshold, defaultSpeechThreshold          = 1000, 6000, 2400
	MinSpeechEndThreshold, MaxSpeechEndThreshold, defaultSpeechEndThreshold = 500, 5000, 1200
	MinSilenceTimeout, MaxSilenceTimeout, defaultSilenceTimeout             = 2000, 10_000, 5000
)

// Validate checks what a create asked for and fills in defaults. Its error is a *twilio.Error.
func (d *MachineDetection) Validate() error {
	if d.Mode != "" && d.Mode != DetectEnable && d.Mode != DetectMessageEnd {
		return twilio.Errf(21234, "MachineDetection must be %s or %s: %s", DetectEnable, DetectMessageEnd, clip(d.Mode))
	}
	for _, n := range [...]struct {
		name          string
		value         *int
		min, max, def int
	}{
		{"MachineDetectionTimeout", &d.Timeout, MinDetectionTimeout, MaxDetectionTimeout, defaultDetectionTimeout},
		{"MachineDetectionSpeechThreshold", &d.SpeechThreshold, MinSpeechThreshold, MaxSpeechThreshold, defaultSpeechThreshold},
		{"MachineDetectionSpeechEndThreshold", &d.SpeechEndThreshold, MinSpeechEndThreshold, MaxSpeechEndThreshold, defaultSpeechEndThreshold},
		{"MachineDetectionSilenceTimeout", &d.SilenceTimeout, MinSilenceTimeout, MaxSilenceTimeout, defaultSilenceTimeout},
	} {
		if def(n.value, n.def); *n.value < n.min || *n.value > n.max {
			return twilio.Errf(21234, "%s must be a whole number from %d to %d: %d", n.name, n.min, n.max, *n.value)
		}
	}
	if err := checkURL(21609, "AsyncAmdStatusCallback", d.CallbackURL); err != nil {
		return err
	}
	return checkMethod("AsyncAmdStatusCallbackMethod", &d.CallbackMethod)
}

// takeDetection checks how machines are to be detected, and puts it into the options of a call where they are: not of
// one that sends digits, whose party is a machine for sure.
func (p *CreateParams) takeDetection() error {
	d := p.MachineDetection
	d.Async = p.AsyncAMD != nil && *p.AsyncAMD
	if err := d.Validate(); err != nil {
		return err
	}
	if d.Mode == "" || p.Options.SendDigits != "" {
		return nil
	}
	if !d.Async {
		d.CallbackURL, d.CallbackMethod = "", "" // the request for Url tells
	} else if d.CallbackURL == "" && p.Options.MachineDetection == nil {
		p.Warnings = append(p.Warnings, twilio.Err(21262))
	}
	p.Options.MachineDetection = &d
	return nil
}

// Detection is what answering-machine detection found out, and how. It is kept with its call.
type Detection struct {
	CallSID    string
	AccountSID string
	Time       time.Time     // of the verdict
	AnsweredBy string        // human, machine_start, machine_end_beep, …
	After      time.Duration // since the answer, by the samples that were heard
	Rule       string        // that decided
	Settings   MachineDetection
	Trace      []byte // JSON: what was heard, as package audio has it
}
