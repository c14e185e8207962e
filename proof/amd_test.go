package proof

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/amdtune"
	"github.com/offhook/offhook/internal/audio"
)

// corpus has the recordings of scripts/amdcorpus made, those of the scored split or, with -rounds, all.
func corpus(t *testing.T) (dir string, labels []amdtune.Label) {
	t.Helper()
	if _, err := os.Stat("../internal/speech/flite/flite.wasm"); err != nil {
		t.Skip("the built-in voices are not there: make voice")
	}
	for _, program := range []string{"espeak-ng", "sox"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%v: scripts/install-peers", err)
		}
	}
	bin := filepath.Join(folder, "amdcorpus")
	if out, err := exec.Command("go", "build", "-tags=flite", "-o", bin, "../scripts/amdcorpus").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	dir = t.TempDir()
	args := []string{"-dir", dir}
	if *rounds == 1 {
		args = append(args, "-split", "score")
	}
	if out, err := exec.Command(bin, args...).CombinedOutput(); err != nil {
		t.Fatalf("amdcorpus: %v\n%s", err, out)
	}
	f, err := os.Open(filepath.Join(dir, "labels.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if labels, err = amdtune.ReadLabels(f); err != nil {
		t.Fatal(err)
	}
	return dir, labels
}

// TestAnsweringMachineDetection scores the detection on recordings whose seeds, texts and espeak-ng voices no figure of
// it was chosen on, beside the rule of Asterisk's AMD application. docs/amd.md has what it says.
func TestAnsweringMachineDetection(t *testing.T) {
	dir, labels := corpus(t)
	for _, split := range []string{"score", "tune"} {
		t.Run(split, func(t *testing.T) {
			var start, end []amdtune.Result
			var classic, spoken int
			var classicToHuman []time.Duration
			var short []amdtune.Result
			kinds := map[string]*amdtune.Score{}
			for _, l := range labels {
				if l.Split != split {
					continue
				}
				pcm := samples(t, filepath.Join(dir, l.File))
				r := amdtune.Detect(l, pcm, audio.AMDConfig{})
				start = append(start, r)
				end = append(end, amdtune.Detect(l, pcm, audio.AMDConfig{MessageEnd: true}))
				if kinds[l.Kind] == nil {
					kinds[l.Kind] = &amdtune.Score{}
				}
				kinds[l.Kind].Files++
				if r.Right() {
					kinds[l.Kind].Right++
				} else if split == "tune" { // nobody shall tune on the others
					t.Logf("%s: %+v", l.File, r.Trace)
				}
				if l.Kind == "person-short" {
					short = append(short, r)
				}
				if l.Label == amdtune.Human || l.Label == amdtune.Machine {
					spoken++
					found, after := asteriskAMD(pcm)
					if found == l.Label {
						classic++
						if l.Kind == "person-short" {
							classicToHuman = append(classicToHuman, after-l.SpeechEnd)
						}
					}
				}
			}
			if len(start) == 0 {
				t.Skip("made with -rounds only")
			}
			begin, message, hello := amdtune.Sum(start, false), amdtune.Sum(end, true), amdtune.Sum(short, false)
			baseline := float64(classic) / float64(spoken)
			for kind, n := range kinds {
				t.Logf("%-22s %d of %d", kind, n.Right, n.Files)
			}
			t.Logf("%d files; all labels right: %.1f %%", begin.Right.Files, 100*begin.Right.Share())
			t.Logf("people and machines told apart: %.1f %% of %d; Asterisk's rule: %.1f %%", 100*begin.Spoken.Share(), spoken, 100*baseline)
			t.Logf("machine_end_beep within %v of the beep: %.1f %% of %d", amdtune.BeepLimit, 100*message.Beeps.Share(), message.Beeps.Files)
			t.Logf("machine_end_silence %v to %v after the last word: %.1f %% of %d", amdtune.SilenceFrom, amdtune.SilenceTo, 100*message.Silences.Share(), message.Silences.Files)
			t.Logf("human after a short greeting: median %v, worst %v of %d; Asterisk's rule: median %v of %d",
				hello.ToHuman.Median, hello.ToHuman.Worst, hello.ToHuman.Count, median(classicToHuman), len(classicToHuman))
			if split != "score" {
				return
			}
			if got := begin.Spoken.Share(); got < 0.95 {
				t.Errorf("people and machines told apart in %.3f, want 0.95", got)
			}
			if got := begin.Spoken.Share(); got <= baseline {
				t.Errorf("people and machines told apart in %.3f; Asterisk's rule does in %.3f", got, baseline)
			}
			if got := message.Beeps.Share(); got < 0.9 {
				t.Errorf("beeps told in time: %.3f, want 0.9", got)
			}
			if got := message.Silences.Share(); got < 0.9 {
				t.Errorf("messages that end in silence told in time: %.3f, want 0.9", got)
			}
			if got := hello.ToHuman.Median; hello.ToHuman.Count == 0 || got > 1600*time.Millisecond {
				t.Errorf("human after %v, want 1.6 s", got)
			}
		})
	}
}

func samples(t *testing.T, name string) []int16 {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	clip, err := audio.Decode("audio/wav", data)
	if err != nil {
		t.Fatal(err)
	}
	return clip.PCM()
}
