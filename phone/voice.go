package phone

import (
	"hash/fnv"
	"math"
	"math/rand/v2"
	"time"
	"unicode"
)

// Babble stands for speech where no voice is at hand: for each text the same sounds, with the
// rhythm, the pitch and the pauses of speech (about 15 characters a second, words apart, longer
// stops at punctuation), so that voice and answering-machine detection see what they expect. It is
// 8 kHz and begins and ends at once.
func Babble(text string) []int16 {
	h := fnv.New64a()
	h.Write([]byte(text))
	b := babbler{rng: rand.New(rand.NewPCG(h.Sum64(), 1)), pitch: 120}
	for _, r := range text {
		switch {
		case unicode.IsSpace(r):
			b.pause(40 * time.Millisecond)
		case r == ',' || r == ';' || r == ':':
			b.pause(200 * time.Millisecond)
		case r == '.' || r == '!' || r == '?':
			b.pause(350 * time.Millisecond)
		case unicode.IsDigit(r): // a spoken digit is a word
			b.vowel(180 * time.Millisecond)
			b.pause(60 * time.Millisecond)
		case isVowel(r):
			b.vowel(110 * time.Millisecond)
		case unicode.IsLetter(r):
			b.consonant(50 * time.Millisecond)
		}
		if len(b.pcm) > maxBabble {
			break
		}
	}
	return b.pcm[:b.spoken]
}

// maxBabble bounds one text, in samples.
const maxBabble = 120 * sampleRate

func isVowel(r rune) bool {
	switch unicode.ToLower(r) {
	case 'a', 'e', 'i', 'o', 'u', 'y':
		return true
	}
	return false
}

type babbler struct {
	rng    *rand.Rand
	pcm    []int16
	spoken int     // length up to the last sound
	pitch  float64 // Hz
	phase  float64
	noise  float64
}

func (b *babbler) pause(d time.Duration) { b.pcm = append(b.pcm, make([]int16, samples(d))...) }

// vowel is a voice at a wandering pitch whose harmonics are loudest near two formants.
func (b *babbler) vowel(d time.Duration) {
	f1, f2 := 300+b.rng.Float64()*500, 900+b.rng.Float64()*1200
	b.pitch = min(max(b.pitch*(0.92+0.16*b.rng.Float64()), 90), 180)
	n := samples(d)
	var gains []float64
	for k := 1.0; k*b.pitch < 3400; k++ {
		f := k * b.pitch
		gains = append(gains, math.Exp(-math.Abs(f-f1)/180)+0.5*math.Exp(-math.Abs(f-f2)/220))
	}
	for i := range n {
		b.phase += 2 * math.Pi * b.pitch / sampleRate
		var v float64
		for k, g := range gains {
			v += g * math.Sin(float64(k+1)*b.phase)
		}
		b.pcm = append(b.pcm, int16(min(max(v*4000*math.Sin(math.Pi*float64(i)/float64(n)), -30000), 30000)))
	}
	b.spoken = len(b.pcm)
}

// consonant is a short hiss.
func (b *babbler) consonant(d time.Duration) {
	n := samples(d)
	for i := range n {
		b.noise = 0.4*b.noise + b.rng.NormFloat64()
		b.pcm = append(b.pcm, int16(min(max(b.noise*900*math.Sin(math.Pi*float64(i)/float64(n)), -30000), 30000)))
	}
	b.spoken = len(b.pcm)
}
