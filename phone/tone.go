package phone

import (
	"math"
	"time"
)

// toneLevel is the peak of generated tones, about -10 dBFS in sum.
const toneLevel = 10000

func samples(d time.Duration) int { return int(d * sampleRate / time.Second) }

// Tone is d of the sum of the frequencies in Hz, at 8 kHz, faded over 5 ms at both ends so that it
// does not click. No frequencies make silence.
func Tone(d time.Duration, hz ...float64) []int16 {
	pcm := make([]int16, samples(d))
	fade := min(samples(5*time.Millisecond), len(pcm)/2)
	for i := range pcm {
		var v float64
		for _, f := range hz {
			v += math.Sin(2 * math.Pi * f * float64(i) / sampleRate)
		}
		v *= toneLevel / max(1, float64(len(hz)))
		if edge := min(i, len(pcm)-1-i); edge < fade {
			v *= float64(edge) / float64(fade)
		}
		pcm[i] = int16(v)
	}
	return pcm
}

// CED is the answer tone of a fax machine: 2100 Hz for 3 s (ITU-T T.30 section 4.2).
func CED() []int16 { return Tone(3*time.Second, 2100) }

// CNG is one calling tone of a fax machine: 1100 Hz for 0.5 s and a pause of 3 s (ITU-T T.30 section 4.2).
func CNG() []int16 {
	return append(Tone(500*time.Millisecond, 1100), Tone(3*time.Second)...)
}

// dtmfRows and dtmfCols are the frequencies of a keypad in Hz, ITU-T Q.23.
var (
	dtmfRows = [4]float64{697, 770, 852, 941}
	dtmfCols = [4]float64{1209, 1336, 1477, 1633}
	dtmfKeys = [4]string{"123A", "456B", "789C", "*0#D"}
)

// DTMF is d of the tone pair of a key (0-9 * # A-D); any other key is silence.
func DTMF(key byte, d time.Duration) []int16 {
	for r, row := range dtmfKeys {
		for c := range row {
			if row[c] == key {
				return Tone(d, dtmfRows[r], dtmfCols[c])
			}
		}
	}
	return Tone(d)
}

// power is the mean square of the component of pcm at hz (Goertzel's algorithm).
func power(pcm []int16, hz float64) float64 {
	coeff := 2 * math.Cos(2*math.Pi*hz/sampleRate)
	var s1, s2 float64
	for _, v := range pcm {
		s1, s2 = float64(v)+coeff*s1-s2, s1
	}
	n := float64(len(pcm))
	return 2 * (s1*s1 + s2*s2 - coeff*s1*s2) / (n * n)
}

// meanSquare is the power of all of pcm.
func meanSquare(pcm []int16) float64 {
	var sum float64
	for _, v := range pcm {
		sum += float64(v) * float64(v)
	}
	return sum / max(1, float64(len(pcm)))
}

// soundRMS is the level at which a 20 ms frame counts as sound: -44 dBFS, above the idle noise of
// either G.711 law and far below speech.
const soundRMS = 200

func isSound(frame []int16) bool { return meanSquare(frame) >= soundRMS*soundRMS }

// IsTone tells whether pcm (40 ms or more) is those frequencies in Hz and little else: four fifths of
// its power lie at them, and none is missing.
func IsTone(pcm []int16, hz ...float64) bool {
	total := meanSquare(pcm)
	if total < soundRMS*soundRMS || len(hz) == 0 {
		return false
	}
	var sum float64
	for _, f := range hz {
		p := power(pcm, f)
		if p < 0.3*total/float64(len(hz)) {
			return false
		}
		sum += p
	}
	return sum >= 0.8*total
}

// DetectDTMF is the keys heard in pcm as tones, for calls without telephone-event. A key must last
// 40 ms (ITU-T Q.24).
func DetectDTMF(pcm []int16) string {
	const window, hop = 2 * frameSamples, frameSamples / 2
	var found []byte
	var last byte
	for i := 0; i+window <= len(pcm); i += hop {
		key := dtmfKey(pcm[i : i+window])
		if key != 0 && key != last {
			found = append(found, key)
		}
		last = key
	}
	return string(found)
}

func dtmfKey(w []int16) byte {
	if !isSound(w) {
		return 0
	}
	loudest := func(hz [4]float64) (at int) {
		best := 0.0
		for i, f := range hz {
			if p := power(w, f); p > best {
				best, at = p, i
			}
		}
		return at
	}
	r, c := loudest(dtmfRows), loudest(dtmfCols)
	if !IsTone(w, dtmfRows[r], dtmfCols[c]) {
		return 0
	}
	return dtmfKeys[r][c]
}
