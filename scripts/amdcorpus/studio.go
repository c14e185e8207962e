package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os/exec"
	"strconv"
	"strings"

	"github.com/offhook/offhook/internal/audio"
	"github.com/offhook/offhook/internal/speech"
)

// A studio has what makes sound.
type studio struct{ voices *speech.Voices }

func (s *studio) close() error { return s.voices.Close() }

// A speaker is a voice, its pitch and its pace.
type speaker struct {
	name        string
	flite       speech.Utterance // without parts
	rate        int              // Hz: a flite voice's samples played at another rate are another head's
	espeak      string           // voice of espeak-ng, "" for flite
	pitch, pace int              // of espeak-ng: 0 to 99, and words a minute
}

// builtin are the four voices of the wasm file.
var builtin = []struct {
	name string
	u    speech.Utterance
}{
	{"slt", speech.Utterance{Voice: "woman", Language: "en-US"}},
	{"rms", speech.Utterance{Voice: "man", Language: "en-US"}},
	{"awb", speech.Utterance{Voice: "man", Language: "en-GB"}},
	{"kal", speech.Utterance{Voice: "Polly.Justin", Language: "en-US"}},
}

// cast chooses a speaker of language, or of English for "".
func cast(rng *rand.Rand, split, language string) speaker {
	if language == "" && rng.IntN(5) < 2 {
		v := builtin[rng.IntN(len(builtin))]
		rate := 7200 + 400*rng.IntN(5)
		return speaker{flite: v.u, rate: rate, name: fmt.Sprintf("%s@%d", v.name, rate)}
	}
	variants := espeakTune
	if split == "score" {
		variants = espeakScore
	}
	accent := language
	if accent == "" {
		accent = pick(rng, espeakAccents)
	}
	sp := speaker{espeak: accent + "+" + pick(rng, variants), pitch: 25 + rng.IntN(50), pace: 140 + rng.IntN(60)}
	sp.name = fmt.Sprintf("%s/p%d/s%d", sp.espeak, sp.pitch, sp.pace)
	return sp
}

// say is text, without the silence that engines put around it.
func (s *studio) say(ctx context.Context, sp speaker, text string) ([]float64, error) {
	var pcm []int16
	if sp.espeak != "" {
		wav, err := command(ctx, nil, "espeak-ng", "-v", sp.espeak, "-p", strconv.Itoa(sp.pitch), "-s", strconv.Itoa(sp.pace), "--stdout", text)
		if err != nil {
			return nil, err
		}
		clip, err := audio.Decode("audio/wav", wav)
		if err != nil {
			return nil, err
		}
		pcm = clip.PCM()
	} else {
		u := sp.flite
		u.Parts = []speech.Part{{Text: text}}
		for clip, err := range s.voices.Say(ctx, u) {
			if err != nil {
				return nil, err
			}
			pcm = append(pcm, clip.PCM()...)
		}
		var err error
		if pcm, err = audio.Resample(pcm, sp.rate, audio.SampleRate); err != nil {
			return nil, err
		}
	}
	words := trim(toFloat(pcm))
	if len(words) < audio.SampleRate/20 {
		return nil, fmt.Errorf("%s says %q in %d samples", sp.name, text, len(words))
	}
	return words, nil
}

// trim cuts what is more than 40 dB below the loudest 10 ms off both ends.
func trim(pcm []float64) []float64 {
	const block = audio.SampleRate / 100
	var loudest float64
	for i := 0; i+block <= len(pcm); i += block {
		loudest = max(loudest, power(pcm[i:i+block]))
	}
	first, last := len(pcm), 0
	for i := 0; i+block <= len(pcm); i += block {
		if power(pcm[i:i+block]) > loudest/10_000 {
			first, last = min(first, i), i+block
		}
	}
	if first >= last {
		return nil
	}
	return pcm[first:last]
}

// sox runs its effects on pcm, or makes sound when there is none, and gives raw samples.
func sox(ctx context.Context, pcm []float64, effects ...string) ([]float64, error) {
	raw := []string{"-t", "raw", "-r", "8000", "-e", "signed", "-b", "16", "-c", "1"}
	args := []string{"-D", "-n"}
	var in []byte
	if pcm != nil {
		args = append(append([]string{"-D"}, raw...), "-")
		for _, v := range pcm {
			in = binary.LittleEndian.AppendUint16(in, uint16(clip(v)))
		}
	}
	args = append(append(append(args, raw...), "-"), effects...)
	out, err := command(ctx, in, "sox", args...)
	if err != nil {
		return nil, err
	}
	return fromRaw(out), nil
}

// gsm passes pcm through the codec of GSM mobiles, GSM 06.10, as most calls to them have been.
func gsm(ctx context.Context, pcm []float64) ([]float64, error) {
	var in []byte
	for _, v := range pcm {
		in = binary.LittleEndian.AppendUint16(in, uint16(clip(v)))
	}
	coded, err := command(ctx, in, "sox", "-D", "-t", "raw", "-r", "8000", "-e", "signed", "-b", "16", "-c", "1", "-", "-t", "gsm", "-")
	if err != nil {
		return nil, err
	}
	out, err := command(ctx, coded, "sox", "-D", "-t", "gsm", "-r", "8000", "-c", "1", "-", "-t", "raw", "-e", "signed", "-b", "16", "-")
	if err != nil {
		return nil, err
	}
	return fromRaw(out), nil
}

func fromRaw(b []byte) []float64 {
	pcm := make([]float64, len(b)/2)
	for i := range pcm {
		pcm[i] = float64(int16(binary.LittleEndian.Uint16(b[2*i:])))
	}
	return pcm
}

func command(ctx context.Context, in []byte, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin = bytes.NewReader(in)
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return out.Bytes(), nil
}

// music is d seconds of a tune that sox plays: chords, bass or a melody, and sometimes a drum.
func music(ctx context.Context, rng *rand.Rand, d float64) ([]float64, error) {
	instrument := pick(rng, []string{"pluck", "pluck", "sine", "triangle", "trapezium", "sawtooth"})
	beat := between(rng, 0.28, 0.8)
	drum := rng.IntN(3) == 0
	root := rng.IntN(12) - 14
	scale := []int{0, 2, 4, 5, 7, 9, 11, 12, 14, 16}
	var pcm []float64
	for float64(len(pcm)) < d*audio.SampleRate {
		length := beat * float64(1+rng.IntN(3))
		seconds := strconv.FormatFloat(length, 'f', 3, 64)
		args := []string{"synth", seconds}
		degree := rng.IntN(7)
		for i := range 1 + rng.IntN(3) { // a note or a chord
			if i > 0 {
				args = append(args, "synth", seconds)
			}
			args = append(args, instrument)
			if i > 0 {
				args = append(args, "mix")
			}
			args = append(args, "%"+strconv.Itoa(root+scale[min(degree+2*i, len(scale)-1)]))
		}
		args = append(args, "gain", "-8", "fade", "t", "0.01", seconds, "0.05")
		bar, err := sox(ctx, nil, args...)
		if err != nil {
			return nil, err
		}
		if drum {
			for i := range min(len(bar), 800) {
				bar[i] += 4000 * rng.NormFloat64() * math.Exp(-float64(i)/150)
			}
		}
		pcm = append(pcm, bar...)
	}
	return pcm[:int(d*audio.SampleRate)], nil
}

func toFloat(pcm []int16) []float64 {
	out := make([]float64, len(pcm))
	for i, s := range pcm {
		out[i] = float64(s)
	}
	return out
}

func clip(v float64) int16 { return int16(math.Round(min(max(v, math.MinInt16), math.MaxInt16))) }

func power(pcm []float64) (sum float64) {
	for _, v := range pcm {
		sum += v * v
	}
	return sum / float64(max(1, len(pcm)))
}

// amplitude is the root mean square of a level in dBm0: +3.17 dBm0 is the loudest sine of G.711 µ-law.
func amplitude(dBm0 float64) float64 { return 32124 / math.Sqrt2 * math.Pow(10, (dBm0-3.17)/20) }

// atLevel scales pcm to a mean level, of the parts of it that sound.
func atLevel(pcm []float64, dBm0 float64) []float64 {
	const block = audio.SampleRate / 50
	total := power(pcm)
	var loud []float64
	for i := 0; i+block <= len(pcm); i += block {
		if part := pcm[i : i+block]; power(part) > total/30 {
			loud = append(loud, part...)
		}
	}
	if p := power(loud); p > 0 {
		scale(pcm, amplitude(dBm0)/math.Sqrt(p))
	}
	return pcm
}

func scale(pcm []float64, gain float64) {
	for i := range pcm {
		pcm[i] *= gain
	}
}

func pick[T any](rng *rand.Rand, list []T) T { return list[rng.IntN(len(list))] }

func between(rng *rand.Rand, low, high float64) float64 { return low + (high-low)*rng.Float64() }

// text is one of list that split may use.
func text(rng *rand.Rand, split string, list []string) string {
	for {
		i := rng.IntN(len(list))
		if (i%4 == 3) == (split == "score") {
			return list[i]
		}
	}
}
