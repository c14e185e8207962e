package amdtune

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/offhook/offhook/internal/audio"
)

func TestReadLabels(t *testing.T) {
	got, err := ReadLabels(strings.NewReader("\ufefflabel,file,beep_end_ms,remark,end\nhuman,a.wav,,\"says \"\"yes\"\"\",\nmachine,b.wav,7200,,beep\n"))
	want := []Label{{File: "a.wav", Label: Human}, {File: "b.wav", Label: Machine, End: EndBeep, BeepEnd: 7200 * time.Millisecond}}
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestReadLabelsSaysWhatIsWrong(t *testing.T) {
	for _, tt := range []struct{ csv, want string }{
		{"", "empty"},
		{"file,kind\n", `"label"`},
		{"file,label\na.wav\n", "wrong number of fields"},
		{"file,label\na.wav,person\n", "line 2"},
		{"file,label\na.wav,human\n,human\n", "line 3 names no file"},
		{"file,label,end\na.wav,machine,bang\n", `"bang"`},
		{"file,label,beep_end_ms\na.wav,machine,1.5\n", `beep_end_ms "1.5"`},
		{"file,label,speech_end_ms\na.wav,machine,-3\n", `speech_end_ms "-3"`},
	} {
		if _, err := ReadLabels(strings.NewReader(tt.csv)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: %v, want %s", tt.csv, err, tt.want)
		}
	}
}

func FuzzReadLabels(f *testing.F) {
	f.Add([]byte("file,label,kind,split,end,speech_end_ms,beep_end_ms\na.wav,machine,,tune,beep,5000,6000\n"))
	f.Fuzz(func(t *testing.T, csv []byte) {
		labels, err := ReadLabels(bytes.NewReader(csv))
		if err != nil && labels != nil {
			t.Error("labels beside an error")
		}
		for _, l := range labels {
			if l.File == "" || l.SpeechEnd < 0 || l.BeepEnd < 0 {
				t.Errorf("%+v", l)
			}
		}
	})
}

func TestSum(t *testing.T) {
	const s, ms = time.Second, time.Millisecond
	result := func(l Label, by string, after time.Duration) Result {
		return Result{Label: l, Verdict: audio.AMDVerdict{AnsweredBy: by, After: after}}
	}
	person := Label{Label: Human, SpeechEnd: 2 * s}
	beeps := Label{Label: Machine, End: EndBeep, SpeechEnd: 5 * s, BeepEnd: 6 * s}
	falls := Label{Label: Machine, End: EndSilence, SpeechEnd: 5 * s}
	rep := Sum([]Result{
		result(person, audio.AnsweredHuman, 3200*ms),
		result(person, audio.AnsweredHuman, 3300*ms),
		result(person, audio.AnsweredMachineEndOther, 30*s),
		result(beeps, audio.AnsweredMachineEndBeep, 6200*ms),
		result(beeps, audio.AnsweredMachineEndBeep, 6600*ms), // too late
		result(beeps, audio.AnsweredMachineEndSilence, 7*s),  // missed
		result(falls, audio.AnsweredMachineEndSilence, 7200*ms),
		result(falls, audio.AnsweredMachineEndSilence, 6900*ms), // too soon
		result(falls, "", 0),
		result(Label{Label: Fax}, audio.AnsweredFax, s),
		result(Label{Label: Unknown}, audio.AnsweredHuman, s),
	}, true)
	want := Report{
		Right: Score{11, 8}, Spoken: Score{9, 7}, Beeps: Score{3, 1}, Silences: Score{3, 1},
		Matrix: map[string]map[string]int{
			Human:   {audio.AnsweredHuman: 2, audio.AnsweredMachineEndOther: 1},
			Machine: {audio.AnsweredMachineEndBeep: 2, audio.AnsweredMachineEndSilence: 3, "": 1},
			Fax:     {audio.AnsweredFax: 1}, Unknown: {audio.AnsweredHuman: 1},
		},
		Times: map[string]Times{
			audio.AnsweredHuman:             {3, 3200 * ms, 3300 * ms},
			audio.AnsweredMachineEndOther:   {1, 30 * s, 30 * s},
			audio.AnsweredMachineEndBeep:    {2, 6600 * ms, 6600 * ms},
			audio.AnsweredMachineEndSilence: {3, 7 * s, 7200 * ms},
			audio.AnsweredFax:               {1, s, s},
		},
		ToHuman: Times{2, 1300 * ms, 1300 * ms},
	}
	if diff := cmp.Diff(want, rep); diff != "" {
		t.Error(diff)
	}
}

func TestDetectReportsARecordingThatEndsTooSoon(t *testing.T) {
	r := Detect(Label{Label: Unknown}, make([]int16, audio.SampleRate), audio.AMDConfig{})
	if r.Found() != "" || r.Right() || r.Trace.AfterMs != 1000 {
		t.Errorf("%+v", r)
	}
}
