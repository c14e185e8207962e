package speech

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/audio"
)

const (
	greeting = "Thank you for calling Acme. Press one for sales, two for support, or stay on the line."
	goodbye  = "Goodbye"
)

func TestHeardKnowsTheTextThroughTheTelephone(t *testing.T) {
	silence := make([]int16, 4003)
	channels := map[string]func([]int16) []int16{
		"µ-law": func(p []int16) []int16 { return p },
		"A-law": func(p []int16) []int16 { return audio.DecodeALaw(audio.EncodeALaw(p)) },
		"both": func(p []int16) []int16 {
			b := audio.EncodeULaw(p)
			audio.ULawToALaw(b, b)
			return audio.DecodeALaw(b)
		},
		"quiet": func(p []int16) []int16 { return scaled(p, 0.1) },
		"noisy": func(p []int16) []int16 { return noisy(p, 300) },
		"one packet lost": func(p []int16) []int16 {
			clear(p[len(p)/2 : len(p)/2+160])
			return p
		},
		"one packet missing":  func(p []int16) []int16 { return append(p[:len(p)/2:len(p)/2], p[len(p)/2+160:]...) },
		"another missing":     func(p []int16) []int16 { return append(p[:5200:5200], p[5360:]...) },
		"150 ms late in it":   func(p []int16) []int16 { return insert(p, len(p)/2, 1200) },
		"first 60 ms cut off": func(p []int16) []int16 { return p[len(silence)+480:] },
	}
	for name, channel := range channels {
		for _, text := range []string{greeting, goodbye, "1", "Bitte drücken Sie die Eins."} {
			pcm := append(append(append([]int16{}, silence...), TestVoice(text).PCM()...), silence...)
			got := channel(pcm)
			if !Heard(got, text) {
				t.Errorf("%s: %q was not heard, only %.2f of it", name, text, HeardPart(got, text))
			}
			for _, other := range []string{"Hello", "Thank you for calling.", "2", "3"} {
				if part := HeardPart(got, other); part != 0 {
					t.Errorf("%s: %.2f of %q was heard in %q", name, part, other, text)
				}
			}
		}
	}
}

// One packet may be missing anywhere, without the player filling in for it.
func TestHeardStandsAMissingPacket(t *testing.T) {
	whole := TestVoice(greeting).PCM()
	for at := 0; at+160 <= len(whole); at += 40 {
		pcm := append(append([]int16{}, whole[:at]...), whole[at+160:]...)
		if !Heard(pcm, greeting) {
			t.Errorf("not heard without samples %d to %d: %.2f", at, at+160, HeardPart(pcm, greeting))
		}
	}
}

func TestHeardPartTellsWhereAPromptWasCut(t *testing.T) {
	pcm := TestVoice(greeting).PCM()
	for _, cut := range []float64{0.2, 0.4, 0.6, 0.9} {
		got := append(append([]int16{}, pcm[:int(cut*float64(len(pcm)))]...), TestVoice(goodbye).PCM()...)
		part := HeardPart(got, greeting)
		if part <= 0 || math.Abs(part-cut) > 0.15 {
			t.Errorf("cut at %.1f: %.2f was heard", cut, part)
		}
		if Heard(got, greeting) || !Heard(got, goodbye) {
			t.Errorf("cut at %.1f: the greeting was heard whole or the next prompt was not", cut)
		}
	}
	if part := HeardPart(pcm, greeting); part != 1 {
		t.Errorf("uncut: %.2f was heard", part)
	}
}

func TestEarFindsTextsInOrder(t *testing.T) {
	var e Ear
	var want []Span
	pos := 0
	write := func(pcm []int16) {
		pos += len(pcm)
		for len(pcm) > 0 {
			n := min(len(pcm), 160)
			e.Write(pcm[:n])
			pcm = pcm[n:]
		}
	}
	texts := []string{"Hello", goodbye, "Hello"}
	for _, text := range texts {
		write(make([]int16, 1000))
		pcm := audio.DecodeULaw(audio.EncodeULaw(chordsOnly(text)))
		want = append(want, Span{pos, pos + len(pcm)})
		write(pcm)
	}
	write(make([]int16, 1000))
	from := 0
	for i, text := range texts {
		got, ok := e.Find(text, from)
		if !ok || abs(got.Start-want[i].Start) > 160 || abs(got.End-want[i].End) > 160 {
			t.Errorf("%q: found at %v (%v), want %v", text, got, ok, want[i])
		}
		from = got.End
	}
	if _, ok := e.Find(goodbye, from); ok {
		t.Error("a text was found after its only rendering")
	}
}

func TestTheVoiceIsNotHeardInOtherSounds(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	noise := make([]int16, 20*audio.SampleRate)
	for i := range noise {
		noise[i] = int16(rng.NormFloat64() * 5000)
	}
	var keys []int16
	for _, k := range []byte("0123456789*#ABCD") {
		keys = append(keys, audio.DTMF(k, 100*time.Millisecond)...)
	}
	for name, pcm := range map[string][]int16{"noise": noise, "keys": keys, "nothing": nil, "silence": make([]int16, 8000)} {
		if part := HeardPart(pcm, "Hello"); part != 0 {
			t.Errorf("%s: %.2f was heard", name, part)
		}
	}
}

func TestTheTestVoiceIsNoKeyPress(t *testing.T) {
	for i := range 300 {
		var d audio.DTMFDetector
		if keys := d.Write(TestVoice(fmt.Sprint("text number ", i)).PCM()); len(keys) > 0 {
			t.Errorf("text %d contains keys %q", i, keys)
		}
	}
}

func TestTextsSoundDifferent(t *testing.T) {
	seen := map[string]string{}
	for i := range 5000 {
		text := fmt.Sprint("Press ", i)
		key := fmt.Sprint(chords(text))
		if other, ok := seen[key]; ok {
			t.Errorf("%q sounds like %q", text, other)
		}
		seen[key] = text
	}
}

func chordsOnly(text string) []int16 {
	var pcm []int16
	for _, c := range chords(text) {
		pcm = append(pcm, audio.Tone(chordLength, testTones[c.low], testTones[c.high])...)
	}
	return pcm
}

func scaled(pcm []int16, by float64) []int16 {
	for i := range pcm {
		pcm[i] = int16(float64(pcm[i]) * by)
	}
	return pcm
}

func noisy(pcm []int16, level float64) []int16 {
	rng := rand.New(rand.NewPCG(5, 6))
	for i := range pcm {
		pcm[i] = int16(float64(pcm[i]) + rng.NormFloat64()*level)
	}
	return pcm
}

func insert(pcm []int16, at, n int) []int16 {
	return append(append(append([]int16{}, pcm[:at]...), make([]int16, n)...), pcm[at:]...)
}

func abs(n int) int { return max(n, -n) }

func BenchmarkEarSecond(b *testing.B) {
	pcm := append(TestVoice(greeting).PCM(), TestVoice(goodbye).PCM()...)[:8000]
	for b.Loop() {
		var e Ear
		e.Write(pcm)
	}
}
