package speech

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/audio"
	"github.com/offhook/offhook/internal/twilio"
)

func TestSayYieldsClausesAndPausesInOrder(t *testing.T) {
	v := open(t, Config{Engine: EngineTest})
	clips := say(t, v, Utterance{Parts: []Part{
		{Text: "Hello there.  How are\n\tyou?"}, {Pause: 1500 * time.Millisecond}, {Text: "Bye"},
	}})
	want := []*audio.Clip{
		testClause("Hello there."), testClause("How are you?"),
		audio.Silence(time.Second), audio.Silence(500 * time.Millisecond), testClause("Bye"),
	}
	if len(clips) != len(want) {
		t.Fatalf("%d clips, want %d", len(clips), len(want))
	}
	var all []int16
	for i := range want {
		if !bytes.Equal(clips[i].ULaw(), want[i].ULaw()) {
			t.Errorf("clip %d differs", i)
		}
		all = append(all, clips[i].PCM()...)
	}
	if !Heard(all, "Hello there. How are you?") || !Heard(all, "Bye") {
		t.Error("the texts are not heard")
	}
}

func TestSayOfNothingYieldsNothing(t *testing.T) {
	v := open(t, Config{Engine: EngineTest})
	if clips := say(t, v, Utterance{Parts: []Part{{Text: " \n"}, {Text: "..."}}}); len(clips) != 0 {
		t.Errorf("%d clips", len(clips))
	}
}

func TestSayFailsAsTwilioDoes(t *testing.T) {
	v := open(t, Config{Engine: EngineTest})
	for name, test := range map[string]struct {
		u    Utterance
		code int
	}{
		"language of another voice": {Utterance{Voice: "Polly.Joanna", Language: "fr-FR", Parts: []Part{{Text: "x"}}}, 13512},
		"basic voice, long text":    {Utterance{Parts: []Part{{Text: strings.Repeat("é", 4097)}}}, 13521},
		"Polly, long text":          {Utterance{Voice: "Polly.Amy", Parts: []Part{{Text: strings.Repeat("a ", 1501)}}}, 13521},
	} {
		_, err := collect(context.Background(), v, test.u)
		if !errors.Is(err, &twilio.Error{Code: test.code}) {
			t.Errorf("%s: %v, want %d", name, err, test.code)
		}
	}
	if _, err := collect(context.Background(), v, Utterance{Parts: []Part{{Text: strings.Repeat("é", 4096)}}}); err != nil {
		t.Errorf("4096 characters: %v", err)
	}
}

func TestSayStopsWithItsContext(t *testing.T) {
	v := open(t, Config{Engine: EngineTest})
	cause := errors.New("hung up")
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	n := 0
	var last error
	for _, err := range v.Say(ctx, Utterance{Parts: []Part{{Pause: time.Hour}}}) {
		if last = err; err != nil {
			break
		}
		if n++; n == 3 {
			cancel(cause)
		}
	}
	if n != 3 || !errors.Is(last, cause) {
		t.Errorf("after %d clips: %v", n, last)
	}
}

func TestNewChoosesAnEngineOrSaysWhyNot(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for _, engine := range []string{EngineFlite, EngineEspeak, "parrot"} {
		if _, err := New(Config{Engine: engine, Executable: []string{"x"}}); err == nil {
			t.Errorf("%s: no error", engine)
		}
	}
	if Builtin() {
		if _, err := New(Config{}); err == nil || !strings.Contains(err.Error(), "Executable") {
			t.Errorf("without Executable: %v", err)
		}
		return
	}
	if _, err := New(Config{Engine: EngineBuiltin}); err == nil {
		t.Error("builtin: no error in a build without it")
	}
	v := open(t, Config{})
	if _, err := collect(context.Background(), v, Utterance{Parts: []Part{{Text: "Hello"}}}); !errors.Is(err, ErrNoVoice) {
		t.Errorf("without any voice: %v", err)
	}
}

// fakeFlite puts a program "flite" in the PATH that writes a tone, counts its runs and lets "wait" texts wait.
func fakeFlite(t *testing.T) (runs func() string) {
	t.Helper()
	dir := t.TempDir()
	wav := audio.EncodeWAV(audio.Tone(200*time.Millisecond, 1000), 16000)
	write(t, filepath.Join(dir, "tone.wav"), wav, 0o600)
	write(t, filepath.Join(dir, "flite"), []byte("#!/bin/sh\necho \"$2 $4\" >> "+dir+"/runs\ncase \"$4\" in *broken*) echo sorry >&2; exit 1;; esac\nexec cat "+dir+"/tone.wav\n"), 0o700)
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	return func() string {
		b, _ := os.ReadFile(filepath.Join(dir, "runs"))
		return strings.TrimPrefix(string(b), "rms hello\n") // the warming up
	}
}

func TestSayThroughAnInstalledFlite(t *testing.T) {
	runs := fakeFlite(t)
	dir := t.TempDir()
	v := open(t, Config{Engine: EngineFlite, Dir: dir, Executable: self(t, "run")})
	u := Utterance{Voice: "woman", Parts: []Part{{Text: "Hello Zoë. Press 1."}}}
	clips := say(t, v, u)
	if len(clips) != 2 || !audio.Has(clips[0].PCM()[160:640], 2000) { // 1 kHz at 8 kHz, written as if at 16 kHz
		t.Errorf("%d clips or another sound", len(clips))
	}
	if got := runs(); got != "slt Hello Zoe.\nslt Press 1.\n" {
		t.Errorf("flite ran for %q", got)
	}
	say(t, v, u)
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	v = open(t, Config{Engine: EngineFlite, Dir: dir, Executable: self(t, "run")})
	say(t, v, u) // from disk
	if n := strings.Count(runs(), "Press"); n != 1 {
		t.Errorf("spoken %d times, want once", n)
	}
	_, err := collect(context.Background(), v, Utterance{Parts: []Part{{Text: "This is broken."}}})
	if err == nil || !strings.Contains(err.Error(), "sorry") {
		t.Errorf("a failing program: %v", err)
	}
	say(t, v, Utterance{Parts: []Part{{Text: "But this is not."}}})
}

func TestTheSameTextAtOnceIsSpokenOnce(t *testing.T) {
	runs := fakeFlite(t)
	v := open(t, Config{Engine: EngineFlite, Executable: self(t, "run")})
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() { say(t, v, Utterance{Parts: []Part{{Text: "Hello everybody"}}}) })
	}
	wg.Wait()
	if n := strings.Count(runs(), "everybody"); n != 1 {
		t.Errorf("spoken %d times", n)
	}
}

func TestSayInOtherLanguages(t *testing.T) {
	if _, err := exec.LookPath(EngineEspeak); err != nil {
		t.Skip("espeak-ng is not installed")
	}
	v := open(t, Config{Engine: EngineEspeak, Executable: self(t, "run")})
	for _, u := range []Utterance{
		{Voice: "Polly.Vicki", Parts: []Part{{Text: "Guten Tag, schön dass Sie anrufen."}}},
		{Language: "es-MX", Parts: []Part{{Text: "Buenos días."}}},
		{Voice: "alice", Parts: []Part{{Text: "Hello."}}},
	} {
		voice, warnings := v.Resolve(u.Voice, u.Language)
		if len(warnings) > 0 {
			t.Errorf("%v: %v", u, warnings)
		}
		if clips := say(t, v, u); len(clips) != 1 || clips[0].Duration() < 300*time.Millisecond || audio.Power(clips[0].PCM()) < 1e5 {
			t.Errorf("%s: no speech", voice.ID)
		}
	}
}

func TestBuiltinVoicesSpeak(t *testing.T) {
	v := builtin(t, t.TempDir())
	sentence := "Thank you for calling. Please press one for sales."
	var lengths []time.Duration
	for _, name := range []string{"man", "woman", "Polly.Brian", "Polly.Justin"} {
		u := Utterance{Voice: name, Parts: []Part{{Text: sentence}}}
		made, cached := say(t, v, u), say(t, v, u)
		if len(made) < 4 || len(cached) != 2 {
			t.Fatalf("%s: %d pieces, then %d clauses", name, len(made), len(cached))
		}
		all := ulaw(made)
		if !bytes.Equal(all, ulaw(cached)) {
			t.Errorf("%s: the pieces are not the clauses", name)
		}
		d := time.Duration(len(all)) * time.Second / audio.SampleRate
		lengths = append(lengths, d)
		if level := math.Sqrt(audio.Power(audio.DecodeULaw(all))); d < 2*time.Second || d > 6*time.Second || level < 300 {
			t.Errorf("%s: %v of level %.0f", name, d, level)
		}
	}
	t.Logf("%q lasts %v", sentence, lengths)
	for _, odd := range []string{"你好", "-voice kal", "<speak>5 < 6 & 7</speak>", "$5.30 at 10:45 a.m. on 3/4/2025", "\x00\xff\u202e x",
		strings.Repeat("a", 600), strings.Repeat("9", 300), "(((", "Ωμέγα", `"`, "%", "☎ Ⅷ ½"} {
		if _, err := collect(context.Background(), v, Utterance{Parts: []Part{{Text: odd}}}); err != nil {
			t.Errorf("%q: %v", odd, err)
		}
	}
}

func ulaw(clips []*audio.Clip) (all []byte) {
	for _, c := range clips {
		all = append(all, c.ULaw()...)
	}
	return all
}

func builtin(t testing.TB, dir string) *Voices {
	t.Helper()
	if !Builtin() {
		t.Skip("built without the voice (build tag flite)")
	}
	return open(t, Config{Engine: EngineBuiltin, Dir: dir, Executable: self(t, "run")})
}

// self is this test binary as a speaking process with the given fault, "run" for none.
func self(t testing.TB, mode string) []string {
	t.Helper()
	t.Setenv(childTestEnv, mode)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return []string{exe}
}

func open(t testing.TB, cfg Config) *Voices {
	t.Helper()
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	v, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = v.Close() })
	return v
}

func say(t testing.TB, v *Voices, u Utterance) []*audio.Clip {
	t.Helper()
	clips, err := collect(t.Context(), v, u)
	if err != nil {
		t.Errorf("%v: %v", u.Parts, err)
	}
	return clips
}

func collect(ctx context.Context, v *Voices, u Utterance) ([]*audio.Clip, error) {
	var clips []*audio.Clip
	for clip, err := range v.Say(ctx, u) {
		if err != nil {
			return clips, err
		}
		clips = append(clips, clip)
	}
	return clips, nil
}

func write(t testing.TB, name string, b []byte, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(name, b, mode); err != nil {
		t.Fatal(err)
	}
}
