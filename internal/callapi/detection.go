package callapi

import (
	"context"
	"encoding/json"

	"github.com/danielgtaylor/huma/v2"
)

// Detection is what machine detection found out on a call, and how.
type Detection struct {
	CallID     string            `json:"callId"`
	Time       string            `json:"time" doc:"When the verdict fell, RFC 3339."`
	AnsweredBy string            `json:"answeredBy" doc:"As the REST API says it: human, machine_start, machine_end_beep, machine_end_silence, machine_end_other, fax or unknown."`
	AfterMs    int64             `json:"afterMs" doc:"Milliseconds of audio from the answer to the verdict: MachineDetectionDuration."`
	Rule       string            `json:"rule" doc:"What decided, see docs/amd.md."`
	Settings   DetectionSettings `json:"settings"`
	Trace      json.RawMessage   `json:"trace" doc:"What was heard, see docs/amd.md."`
}

// DetectionSettings are the parameters that a detection went by, defaults included.
type DetectionSettings struct {
	MachineDetection                   string `json:"machineDetection"`
	MachineDetectionTimeout            int    `json:"machineDetectionTimeout" doc:"Seconds."`
	MachineDetectionSpeechThreshold    int    `json:"machineDetectionSpeechThreshold" doc:"Milliseconds, as the next two."`
	MachineDetectionSpeechEndThreshold int    `json:"machineDetectionSpeechEndThreshold"`
	MachineDetectionSilenceTimeout     int    `json:"machineDetectionSilenceTimeout"`
	AsyncAMD                           bool   `json:"asyncAmd" doc:"The call went on meanwhile, as a <Dial> always does."`
}

// detection registers what is told of a detection: an extension, for whoever asks why.
func (a *api) detection(h huma.API, op huma.Operation) {
	huma.Register(h, op, func(ctx context.Context, in *CallID) (*struct{ Body Detection }, error) {
		sid, err := in.sid()
		if err != nil {
			return nil, a.problemOf(err)
		}
		d, err := a.Store.Detection(ctx, account(ctx), sid)
		if err != nil {
			return nil, a.problemOf(err)
		}
		o := &d.Settings
		trace := json.RawMessage(d.Trace)
		if len(trace) == 0 {
			trace = json.RawMessage("null")
		}
		return &struct{ Body Detection }{Detection{
			CallID: d.CallSID, Time: d.Time.UTC().Format("2006-01-02T15:04:05.000Z07:00"), AnsweredBy: d.AnsweredBy,
			AfterMs: d.After.Milliseconds(), Rule: d.Rule,
			Settings: DetectionSettings{o.Mode, o.Timeout, o.SpeechThreshold, o.SpeechEndThreshold, o.SilenceTimeout, o.Async},
			Trace:    trace,
		}}, nil
	})
}
