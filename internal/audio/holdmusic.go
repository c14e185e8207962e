package audio

import (
	"math"
	"sync"
	"time"
)

// holdLevel is the mean power of the hold music in dBm0, a little below speech.
const holdLevel = -20

// The piece is our own: eight bars of four beats, 75 to the minute.
const (
	holdBar  = 4 * holdBeat
	holdBeat = 800 * time.Millisecond
	holdBars = 8
	holdRoot = 293.66 // Hz, the D that semitones count from
)

// holdChords are a chord for each bar, bass first: B flat, D minor, G minor, F, B flat, E flat, C minor, F.
var holdChords = [holdBars][4]int{
	{-16, -4, 0, 3}, {-12, -5, 0, 3}, {-7, -4, 0, 5}, {-9, -5, -2, 3},
	{-16, -4, 0, 3}, {-11, -4, 1, 5}, {-14, -2, 1, 5}, {-9, -5, -2, 7},
}

// holdMelody is a note for each beat above them, or a rest.
var holdMelody = [holdBars][4]int{
	{12, rest, 15, 20}, {19, rest, 15, rest}, {17, rest, 20, 24}, {22, rest, 19, rest},
	{20, rest, 15, 12}, {13, rest, 17, rest}, {15, 17, 13, rest}, {15, rest, 10, rest},
}

const rest = -128

// HoldMusic is a calm piece of 25.6 s whose end runs into its beginning. It is made at the first call.
var HoldMusic = sync.OnceValue(func() *Clip { return NewClip(EncodeULaw(holdMusic())) })

func holdMusic() []int16 {
	loop := make([]float64, samples(holdBars*holdBar))
	for bar, chord := range holdChords {
		start := time.Duration(bar) * holdBar
		for voice, semitone := range chord {
			strength := 0.5
			if voice == 0 {
				strength = 0.7
			}
			pad(loop, start, semitone, strength)
		}
		for beat, semitone := range holdMelody[bar] {
			if semitone != rest {
				pluck(loop, start+time.Duration(beat)*holdBeat, semitone)
			}
		}
	}
	var sum float64
	for _, v := range loop {
		sum += v * v
	}
	gain := math.Sqrt(dBm0(holdLevel) * float64(len(loop)) / sum)
	pcm := make([]int16, len(loop))
	for i, v := range loop {
		pcm[i] = clip16(float32(v * gain))
	}
	return pcm
}

// pad adds a soft note that swells over two beats and is gone a beat after its bar.
func pad(loop []float64, start time.Duration, semitone int, strength float64) {
	length := holdBar + holdBeat
	note(loop, start, length, semitone, func(t float64) float64 {
		edge := min(t, length.Seconds()-t) / (2 * holdBeat.Seconds())
		if edge >= 1 {
			return strength
		}
		return strength * (1 - math.Cos(math.Pi*edge)) / 2
	})
}

// pluck adds a note that starts in 20 ms and dies away over two bars' time.
func pluck(loop []float64, start time.Duration, semitone int) {
	length := 2 * holdBar
	note(loop, start, length, semitone, func(t float64) float64 {
		rise := (1 - math.Cos(math.Pi*min(1, t/0.02))) / 2
		fall := 1 - t/length.Seconds() // reaches zero where the note ends
		return 0.6 * rise * fall * math.Exp(-t/0.7)
	})
}

// note adds a sine and a faint octave. What lasts beyond the end of the loop sounds at its beginning, so that
// nothing is cut where the loop closes.
func note(loop []float64, start, length time.Duration, semitone int, envelope func(t float64) float64) {
	step := 2 * math.Pi * holdRoot * math.Pow(2, float64(semitone)/12) / SampleRate
	first := samples(start)
	for i := range samples(length) {
		phase := step * float64(i)
		v := math.Sin(phase) + 0.15*math.Sin(2*phase)
		loop[(first+i)%len(loop)] += v * envelope(float64(i)/SampleRate)
	}
}
