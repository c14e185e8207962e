package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/audio"
)

// labelled writes three recordings and their labels, one of which is wrong.
func labelled(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	write := func(name string, data []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	second := make([]int16, audio.SampleRate)
	write("nobody.wav", audio.EncodeWAV(make([]int16, 6*audio.SampleRate), audio.SampleRate))
	write("fax.wav", audio.EncodeWAV(append(second, audio.Tone(2*time.Second, 2100)...), audio.SampleRate))
	write("short.wav", audio.EncodeWAV(second, audio.SampleRate))
	write("labels.csv", []byte("file,label,split\nnobody.wav,unknown,a\nfax.wav,human,a\nshort.wav,unknown,b\n"))
	return dir
}

func TestAMDTune(t *testing.T) {
	cleanEnv(t)
	dir := labelled(t)
	labels := filepath.Join(dir, "labels.csv")
	out, errs, code := offhook(t, "amd", "tune", "--labels", labels, "--wrong")
	if code != exitOK || errs != "" {
		t.Fatalf("exit %d, %s", code, errs)
	}
	got := strings.Join(strings.Fields(out), " ")
	for _, want := range []string{
		"LABEL FILES FAX UNKNOWN NONE human 1 1 0 0 machine 0 0 0 0 fax 0 0 0 0 unknown 2 0 1 1",
		"VERDICT FILES MEDIAN WORST fax 1 1.4s 1.4s unknown 1 5s 5s",
		"right: 1 of 3, 33.3 %",
		"people and machines told apart: 0 of 1, 0.0 %",
		"fax.wav human fax 1.4s ced 0s",
		"short.wav unknown none 1s - 0s",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}

	out, _, code = offhook(t, "amd", "tune", dir, "--labels", labels, "--split", "a", "--silence-timeout", "2s", "-o", "json")
	var rep struct {
		Right struct{ Files, Right int }
		Files []struct {
			File  string
			Trace audio.AMDTrace
		}
	}
	if err := json.Unmarshal([]byte(out), &rep); err != nil || code != exitOK {
		t.Fatalf("exit %d, %v", code, err)
	}
	if rep.Right.Files != 2 || rep.Right.Right != 1 || rep.Files[1].File != "nobody.wav" || rep.Files[1].Trace.AfterMs != 2000 {
		t.Errorf("%+v", rep)
	}

	out, _, _ = offhook(t, "amd", "tune", filepath.Join(dir, "fax.wav"), "--labels", labels, "-o", "tsv")
	if want := "file\tlabel\tanswered_by\tafter_ms\trule\nfax.wav\thuman\tfax\t1400\tced\n"; out != want {
		t.Errorf("%q, want %q", out, want)
	}
}

func TestAMDTuneSaysWhatIsMissing(t *testing.T) {
	cleanEnv(t)
	dir := labelled(t)
	labels := filepath.Join(dir, "labels.csv")
	if err := os.WriteFile(filepath.Join(dir, "other.wav"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args []string
		want string
		code int
	}{
		{nil, "--labels", exitUsage},
		{[]string{"--labels", labels, "--timeout", "0s"}, "--timeout", exitUsage},
		{[]string{"--labels", labels, "--split", "c"}, "no recordings", exitFailed},
		{[]string{"--labels", labels, filepath.Join(dir, "other.wav")}, "names no other.wav", exitFailed},
		{[]string{"--labels", labels, filepath.Join(dir, "gone.wav")}, "names no gone.wav", exitFailed},
		{[]string{"--labels", filepath.Join(dir, "fax.wav")}, "labels", exitFailed},
	} {
		_, errs, code := offhook(t, append([]string{"amd", "tune"}, tt.args...)...)
		if code != tt.code || !strings.Contains(errs, tt.want) {
			t.Errorf("%q: exit %d, %q", tt.args, code, errs)
		}
	}
}
