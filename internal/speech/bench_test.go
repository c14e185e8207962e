package speech

import (
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"
)

// What a caller waits for new text: the first clause of a sentence of 5 s, spoken by a warm process.
func BenchmarkFirstAudio(b *testing.B) {
	for _, voice := range []string{"woman", "man", "Polly.Brian", "Polly.Justin"} {
		b.Run(voice, func(b *testing.B) {
			v := benchVoices(b, b.TempDir())
			say(b, v, Utterance{Voice: voice, Parts: []Part{{Text: "Warm."}}})
			n := 0
			for b.Loop() {
				n++
				text := fmt.Sprintf("Thank you for calling number %d. Please press one for sales, or two for support.", n)
				for _, err := range v.Say(b.Context(), Utterance{Voice: voice, Parts: []Part{{Text: text}}}) {
					if err != nil {
						b.Fatal(err)
					}
					break
				}
			}
		})
	}
}

// The whole of a sentence of 5 s in one clause.
func BenchmarkSentence(b *testing.B) {
	for _, voice := range []string{"woman", "man"} {
		b.Run(voice, func(b *testing.B) {
			v := benchVoices(b, b.TempDir())
			say(b, v, Utterance{Voice: voice, Parts: []Part{{Text: "Warm."}}})
			n, spoken := 0, time.Duration(0)
			for b.Loop() {
				n++
				text := fmt.Sprintf("Customer %d please press one for sales or two for support or stay on the line", n)
				for _, c := range say(b, v, Utterance{Voice: voice, Parts: []Part{{Text: text}}}) {
					spoken += c.Duration()
				}
			}
			b.ReportMetric(spoken.Seconds()/float64(n), "speech-s/op")
		})
	}
}

// From New to the first audio of a new process, without and with compiled code of an earlier run.
func BenchmarkStart(b *testing.B) {
	for _, name := range []string{"cold", "compiled"} {
		b.Run(name, func(b *testing.B) {
			kept := b.TempDir()
			n := 0
			for b.Loop() {
				n++
				dir := kept
				if name == "cold" {
					dir = b.TempDir()
				}
				v := benchVoices(b, dir)
				say(b, v, Utterance{Parts: []Part{{Text: fmt.Sprint("Hello ", n)}}})
				_ = v.Close()
			}
		})
	}
}

func BenchmarkCachedSay(b *testing.B) {
	v := benchVoices(b, b.TempDir())
	u := Utterance{Parts: []Part{{Text: "Thank you for calling. Please press one for sales, or two for support."}}}
	say(b, v, u)
	b.ReportAllocs()
	for b.Loop() {
		say(b, v, u)
	}
}

func benchVoices(b *testing.B, dir string) *Voices {
	b.Helper()
	if !Builtin() {
		b.Skip("built without the voice (build tag flite)")
	}
	return open(b, Config{
		Engine: EngineBuiltin, Dir: dir, Executable: self(b, "run"),
		Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
}
