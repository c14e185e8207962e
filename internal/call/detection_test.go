package call

import (
	"testing"

	"github.com/offhook/offhook/internal/twilio"
)

func TestMachineDetectionParams(t *testing.T) {
	yes := true
	for name, tt := range map[string]struct {
		change func(*CreateParams)
		code   int
		want   *MachineDetection
	}{
		"none":                   {},
		"numbers without a mode": {change: func(p *CreateParams) { p.MachineDetection.Timeout = 10 }},
		"with defaults":          {change: func(p *CreateParams) { p.MachineDetection.Mode = "Enable" }, want: &MachineDetection{Mode: "Enable", Timeout: 30, SpeechThreshold: 2400, SpeechEndThreshold: 1200, SilenceTimeout: 5000}},
		"a mode in another case": {change: func(p *CreateParams) { p.MachineDetection.Mode = "enable" }, code: 21234},
		"an unknown mode":        {change: func(p *CreateParams) { p.MachineDetection.Mode = "true" }, code: 21234},
		"all at their least": {change: func(p *CreateParams) {
			p.MachineDetection = MachineDetection{Mode: "DetectMessageEnd", Timeout: 3, SpeechThreshold: 1000, SpeechEndThreshold: 500, SilenceTimeout: 2000}
		}, want: &MachineDetection{Mode: "DetectMessageEnd", Timeout: 3, SpeechThreshold: 1000, SpeechEndThreshold: 500, SilenceTimeout: 2000}},
		"all at their most": {change: func(p *CreateParams) {
			p.MachineDetection = MachineDetection{Mode: "Enable", Timeout: 59, SpeechThreshold: 6000, SpeechEndThreshold: 5000, SilenceTimeout: 10000}
		}, want: &MachineDetection{Mode: "Enable", Timeout: 59, SpeechThreshold: 6000, SpeechEndThreshold: 5000, SilenceTimeout: 10000}},
		"Timeout too short":           {change: func(p *CreateParams) { p.MachineDetection.Timeout = 2 }, code: 21234},
		"Timeout too long":            {change: func(p *CreateParams) { p.MachineDetection.Timeout = 60 }, code: 21234},
		"SpeechThreshold too short":   {change: func(p *CreateParams) { p.MachineDetection.SpeechThreshold = 999 }, code: 21234},
		"SpeechThreshold too long":    {change: func(p *CreateParams) { p.MachineDetection.SpeechThreshold = 6001 }, code: 21234},
		"SpeechEndThreshold short":    {change: func(p *CreateParams) { p.MachineDetection.SpeechEndThreshold = 499 }, code: 21234},
		"SpeechEndThreshold too long": {change: func(p *CreateParams) { p.MachineDetection.SpeechEndThreshold = 5001 }, code: 21234},
		"SilenceTimeout too short":    {change: func(p *CreateParams) { p.MachineDetection.SilenceTimeout = 1999 }, code: 21234},
		"SilenceTimeout too long":     {change: func(p *CreateParams) { p.MachineDetection.SilenceTimeout = 10001 }, code: 21234},
		"a callback that is no URL":   {change: func(p *CreateParams) { p.MachineDetection.CallbackURL = "amd" }, code: 21609},
		"a callback's method":         {change: func(p *CreateParams) { p.MachineDetection.CallbackMethod = "PUT" }, code: 21209},
		"digits beat it":              {change: func(p *CreateParams) { p.MachineDetection.Mode, p.Options.SendDigits = "Enable", "1" }},
		"nobody is told who waits for the request": {change: func(p *CreateParams) {
			p.MachineDetection.Mode, p.MachineDetection.CallbackURL = "Enable", "https://app.example.com/amd"
		}, want: &MachineDetection{Mode: "Enable", Timeout: 30, SpeechThreshold: 2400, SpeechEndThreshold: 1200, SilenceTimeout: 5000}},
		"meanwhile": {change: func(p *CreateParams) {
			p.MachineDetection.Mode, p.AsyncAMD, p.MachineDetection.CallbackURL = "Enable", &yes, "https://app.example.com/amd"
		}, want: &MachineDetection{
			Mode: "Enable", Timeout: 30, SpeechThreshold: 2400, SpeechEndThreshold: 1200, SilenceTimeout: 5000,
			Async: true, CallbackURL: "https://app.example.com/amd", CallbackMethod: "POST",
		}},
	} {
		p := valid(tt.change)
		for range 2 { // the second time changes nothing
			if err := p.Validate(); codeOf(err) != tt.code {
				t.Errorf("%s: got %v, want %d", name, err, tt.code)
			}
			got := p.Options.MachineDetection
			if tt.code == 0 && (got == nil) != (tt.want == nil) || got != nil && tt.want != nil && *got != *tt.want {
				t.Errorf("%s: got %+v, want %+v", name, got, tt.want)
			}
			if len(p.Warnings) > 0 {
				t.Errorf("%s: %v", name, p.Warnings)
			}
		}
	}
}

func TestADetectionThatTellsNobodyIsWarnedOf(t *testing.T) {
	yes := true
	p := valid(func(p *CreateParams) { p.MachineDetection.Mode, p.AsyncAMD = DetectMessageEnd, &yes })
	for range 2 {
		if err := p.Validate(); err != nil || len(p.Warnings) != 1 || p.Warnings[0].Code != 21262 {
			t.Errorf("%v, warnings %v", err, p.Warnings)
		}
	}
	if twilio.Level(21262) != LevelWarning {
		t.Error("21262 is no warning")
	}
}
