package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/offhook/offhook/internal/audio"
)

// A scene is a file in the making. The first error stays, and nothing is added after it.
type scene struct {
	ctx     context.Context
	studio  *studio
	split   string
	rng     *rand.Rand
	level   float64 // of speech and tones, dBm0
	pcm     []float64
	speaker speaker
	hellos  []string
	again   []float64 // what a person said last
	label   label
	err     error
}

func (s *scene) add(pcm []float64) { s.pcm = append(s.pcm, pcm...) }

// silence is between shortest and longest seconds of it.
func (s *scene) silence(shortest, longest float64) {
	s.add(make([]float64, seconds(between(s.rng, shortest, longest))))
}

// pause parts two sentences of a greeting; few machines pause as long as a person who waits.
func (s *scene) pause() {
	if s.rng.IntN(40) == 0 {
		s.silence(1.1, 1.5)
		return
	}
	s.silence(0.1, 0.9)
}

// pickUp is the rattle of a handset, sometimes.
func (s *scene) pickUp() {
	if s.rng.IntN(3) > 0 {
		return
	}
	s.silence(0.02, 0.3)
	noise := make([]float64, seconds(between(s.rng, 0.02, 0.07)))
	for i := range noise {
		noise[i] = s.rng.NormFloat64() * math.Exp(-3*float64(i)/float64(len(noise)))
	}
	s.add(atLevel(noise, s.level-between(s.rng, 3, 15)))
}

// utter says one of list that takes between shortest and longest seconds. When nobody can say any of them in that, it is
// false and nothing was said.
func (s *scene) utter(list []string, shortest, longest float64) bool {
	for try := range 40 {
		if s.err != nil {
			return false
		}
		words, err := s.studio.say(s.ctx, s.speaker, text(s.rng, s.split, list))
		if err != nil {
			s.err = err
			return false
		}
		if d := float64(len(words)) / audio.SampleRate; d >= shortest && d <= longest {
			s.speak(words)
			return true
		}
		if try%8 == 7 {
			s.speaker = s.cast("") // this one speaks too slowly
		}
	}
	return false
}

// must utters.
func (s *scene) must(list []string, shortest, longest float64) {
	if !s.utter(list, shortest, longest) && s.err == nil {
		s.err = fmt.Errorf("nobody says %q in %v to %v s", list, shortest, longest)
	}
}

// sentences says a text with pauses between its sentences.
func (s *scene) sentences(text string) {
	for i, sentence := range strings.SplitAfter(text, ". ") {
		if s.err != nil {
			return
		}
		words, err := s.studio.say(s.ctx, s.speaker, strings.TrimSpace(sentence))
		if err != nil {
			s.err = err
			return
		}
		if i > 0 {
			s.pause()
		}
		s.speak(words)
	}
}

// speak adds words at the file's level and notes where they are.
func (s *scene) speak(words []float64) {
	words = atLevel(words, s.level)
	if s.label.speechEnd == 0 {
		s.label.speechStart = len(s.pcm)
	}
	s.add(words)
	s.label.speechEnd = len(s.pcm)
	s.again = words
}

// beep waits between shortest and longest seconds and beeps. One in eight is not a pure tone.
func (s *scene) beep(shortest, longest float64) {
	s.silence(shortest, longest)
	hz := pick(s.rng, beeps)
	beep := tone(pick(s.rng, beepLengths), s.level+between(s.rng, -4, 4), hz)
	if s.rng.IntN(8) == 0 {
		for i, v := range tone(float64(len(beep))/audio.SampleRate, s.level-16, 2*hz) {
			beep[i] += v
		}
	}
	s.label.end, s.label.beepHz, s.label.beepStart = "beep", hz, len(s.pcm)
	s.add(beep)
	s.label.beepEnd = len(s.pcm)
}

func (s *scene) music(shortest, longest, gain float64) {
	if s.err != nil {
		return
	}
	tune, err := music(s.ctx, s.rng, between(s.rng, shortest, longest))
	if err != nil {
		s.err = err
		return
	}
	s.add(atLevel(tune, s.level+gain))
}

// under mixes music with what came since sample from.
func (s *scene) under(from int, gain float64) {
	if s.err != nil {
		return
	}
	tune, err := music(s.ctx, s.rng, float64(len(s.pcm)-from)/audio.SampleRate)
	if err != nil {
		s.err = err
		return
	}
	for i, v := range atLevel(tune, s.level+gain) {
		s.pcm[from+i] += v
	}
}

// ringback is a period of a country's tone.
func (s *scene) ringback() []float64 {
	country := pick(s.rng, []string{"us", "uk", "de", "fr", "au", "jp", "in", "us-old", "it", "ru", "nz", "tw"})
	return atLevel(toFloat(audio.Ringback(country).PCM()), s.level)
}

// overTheLine is what arrives of the scene: the room, noise, a codec on the way, and a network that loses packets.
func (s *scene) overTheLine() []int16 {
	if s.rng.IntN(6) == 0 && s.label.label != "fax" {
		wet, err := sox(s.ctx, s.pcm, "reverb", "25", "50", "30")
		if err != nil {
			s.err = err
			return nil
		}
		s.pcm = wet[:min(len(wet), len(s.pcm))]
	}
	s.noise()
	if s.rng.IntN(5) > 0 {
		handset(s.pcm)
	}
	switch s.rng.IntN(4) {
	case 0:
		if s.label.label == "fax" {
			break // no fax machine is a mobile
		}
		coded, err := gsm(s.ctx, s.pcm)
		if err != nil {
			s.err = err
			return nil
		}
		s.pcm = coded
	case 1:
		pcm := make([]int16, len(s.pcm))
		for i, v := range s.pcm {
			pcm[i] = clip(v)
		}
		s.pcm = toFloat(audio.DecodeALaw(audio.EncodeALaw(pcm)))
	}
	return s.network()
}

// handset takes away what is below 300 Hz, as most telephones do: ITU-T G.712, second order.
func handset(pcm []float64) {
	k := math.Tan(math.Pi * 300 / audio.SampleRate)
	norm := 1 + math.Sqrt2*k + k*k
	b, a1, a2 := 1/norm, 2*(k*k-1)/norm, (1-math.Sqrt2*k+k*k)/norm
	var d1, d2 float64
	for i, x := range pcm {
		y := b*x + d1
		d1, d2 = -2*b*x-a1*y+d2, b*x-a2*y
		pcm[i] = y
	}
}

// noise adds one of several, at least 14 dB below the speech, or none.
func (s *scene) noise() {
	dBm0 := pick(s.rng, []float64{0, -65, -60, -55, -50, -46, -42})
	dBm0 = min(dBm0, math.Floor(s.level-14))
	if s.label.noise = dBm0; dBm0 == math.Floor(s.level-14) && s.rng.IntN(2) == 0 || dBm0 == 0 {
		s.label.noise = 0
		return
	}
	hiss := make([]float64, len(s.pcm))
	kind := s.rng.IntN(5)
	var slow, slower float64
	for i := range hiss {
		white := s.rng.NormFloat64()
		slow = 0.9*slow + white
		slower = 0.99*slower + white
		switch kind {
		case 0:
			hiss[i] = white
		case 1: // about pink
			hiss[i] = white + slow + slower
		case 2: // a car
			hiss[i] = slower + 0.1*white
		case 3: // the mains
			hiss[i] = 0.3*white + math.Sin(2*math.Pi*100*float64(i)/audio.SampleRate) + 0.5*math.Sin(2*math.Pi*300*float64(i)/audio.SampleRate)
		}
	}
	if kind == 4 {
		dBm0 = min(dBm0, -45, math.Floor(s.level-18)) // people further away
		s.label.noise = dBm0
		hiss = s.babble(len(s.pcm))
	}
	scale(hiss, amplitude(dBm0)/math.Sqrt(max(1e-9, power(hiss))))
	for i, v := range hiss {
		s.pcm[i] += v
	}
}

// babble is a room full of people: eight voices backwards.
func (s *scene) babble(n int) []float64 {
	sum := make([]float64, n)
	for range 8 {
		words, err := s.studio.say(s.ctx, cast(s.rng, s.split, "de"), text(s.rng, s.split, greetingsAbroad["de"]))
		if err != nil {
			s.err = err
			return sum
		}
		slices.Reverse(words)
		words = atLevel(words, -20)
		at := s.rng.IntN(len(words))
		for i := range sum {
			sum[i] += words[(at+i)%len(words)]
		}
	}
	return sum
}

// network takes the frames through a network with up to 3 % loss and jitter, and through a receiver with a buffer of
// 60 ms that plays a missing frame as the one before it, 6 dB softer each time, three times at most. Sometimes the
// buffer grows or shrinks by a frame.
func (s *scene) network() []int16 {
	const buffer = 60.0 // ms
	loss := pick(s.rng, []float64{0, 0, 0.01, 0.02, 0.03})
	jitter := pick(s.rng, []float64{0, 0, 5, 15, 25}) // ms, standard deviation
	s.label.loss = 100 * loss
	var out, last []byte
	concealed := 0
	at := make([]int, 0, len(s.pcm)/audio.FrameSamples+1) // where each frame came to be played
	conceal := func() {
		if last == nil || concealed >= 3 {
			out = append(out, audio.Silence(audio.FrameDuration).ULaw()...)
			return
		}
		concealed++
		audio.Soften(last)
		out = append(out, last...)
	}
	for from := 0; from+audio.FrameSamples <= len(s.pcm); from += audio.FrameSamples {
		if jitter > 0 {
			switch s.rng.IntN(600) {
			case 0: // the buffer grows
				conceal()
			case 1: // and shrinks
				at = append(at, len(out))
				continue
			}
		}
		at = append(at, len(out))
		if s.rng.Float64() < loss || math.Abs(s.rng.NormFloat64())*jitter > buffer {
			conceal()
			continue
		}
		pcm := make([]int16, audio.FrameSamples)
		for i, v := range s.pcm[from : from+audio.FrameSamples] {
			pcm[i] = clip(v)
		}
		last, concealed = audio.EncodeULaw(pcm), 0
		out = append(out, last...)
	}
	for _, place := range []*int{&s.label.speechStart, &s.label.speechEnd, &s.label.beepStart, &s.label.beepEnd} {
		if *place > 0 {
			*place = at[min(*place/audio.FrameSamples, len(at)-1)] + *place%audio.FrameSamples
		}
	}
	return audio.DecodeULaw(out)
}
