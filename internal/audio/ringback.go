package audio

import (
	"math"
	"sync"
	"time"
)

// ringLevel is the power of a ringback tone while it sounds, in dBm0: as clear as speech, and not louder.
const ringLevel = -19

// A ringback is what a caller hears while the other side rings: one or two frequencies, or one that swells
// with another, and how long they sound and rest.
type ringback struct {
	freqs     []float64       // Hz, mixed at equal levels
	modulated float64         // Hz, by which the sound swells and falls; 0 for a steady one
	cadence   []time.Duration // on, off, on, off, …
}

// Cadences that many countries share, in ms.
var (
	oneFour   = cadence(1000, 4000)
	oneThree  = cadence(1000, 3000)
	oneFive   = cadence(1000, 5000)
	twoFour   = cadence(2000, 4000)
	doubleTap = cadence(400, 200, 400, 2000)
)

// ringbacks are by country, as TwiML's ringTone names them. The figures are those of ITU-T E.180 Supplement 2
// (tones of national networks) and, where these are narrower, of the national standard: AS/ACIF S002 (au), BT
// SIN 350 (uk), PTC TNA 102 (nz), IDA TS PSTN 1 (sg), Telcordia GR-506 (us). us-old is the tone of the
// electromechanical exchanges before it.
var ringbacks = map[string]ringback{
	"at":     {freqs: []float64{420}, cadence: oneFive},
	"au":     {freqs: []float64{413, 438}, cadence: doubleTap},
	"be":     {freqs: []float64{425}, cadence: oneThree},
	"bg":     {freqs: []float64{425}, cadence: oneFour},
	"br":     {freqs: []float64{425}, cadence: oneFour},
	"ch":     {freqs: []float64{425}, cadence: oneFour},
	"cl":     {freqs: []float64{400}, cadence: oneThree},
	"cn":     {freqs: []float64{450}, cadence: oneFour},
	"cz":     {freqs: []float64{425}, cadence: oneFour},
	"de":     {freqs: []float64{425}, cadence: oneFour},
	"dk":     {freqs: []float64{425}, cadence: oneFour},
	"ee":     {freqs: []float64{425}, cadence: oneFour},
	"es":     {freqs: []float64{425}, cadence: cadence(1500, 3000)},
	"fi":     {freqs: []float64{425}, cadence: oneFour},
	"fr":     {freqs: []float64{440}, cadence: cadence(1500, 3500)},
	"gr":     {freqs: []float64{425}, cadence: oneFour},
	"hu":     {freqs: []float64{425}, cadence: cadence(1250, 3750)},
	"il":     {freqs: []float64{400}, cadence: oneThree},
	"in":     {freqs: []float64{400}, modulated: 25, cadence: doubleTap},
	"it":     {freqs: []float64{425}, cadence: oneFour},
	"jp":     {freqs: []float64{400}, modulated: 16, cadence: cadence(1000, 2000)},
	"lt":     {freqs: []float64{425}, cadence: oneFour},
	"mx":     {freqs: []float64{425}, cadence: oneFour},
	"my":     {freqs: []float64{425}, cadence: doubleTap},
	"nl":     {freqs: []float64{425}, cadence: oneFour},
	"no":     {freqs: []float64{425}, cadence: oneFour},
	"nz":     {freqs: []float64{400, 450}, cadence: doubleTap},
	"ph":     {freqs: []float64{425, 480}, cadence: oneFour},
	"pl":     {freqs: []float64{425}, cadence: oneFour},
	"pt":     {freqs: []float64{425}, cadence: oneFive},
	"ru":     {freqs: []float64{425}, cadence: cadence(800, 3200)},
	"se":     {freqs: []float64{425}, cadence: oneFive},
	"sg":     {freqs: []float64{425}, modulated: 24, cadence: doubleTap},
	"th":     {freqs: []float64{400}, cadence: oneFour},
	"tw":     {freqs: []float64{440, 480}, cadence: cadence(1000, 2000)},
	"uk":     {freqs: []float64{400, 450}, cadence: doubleTap},
	"us":     {freqs: []float64{440, 480}, cadence: twoFour},
	"us-old": {freqs: []float64{420}, modulated: 40, cadence: twoFour},
	"ve":     {freqs: []float64{425}, cadence: oneFour},
	"za":     {freqs: []float64{400}, modulated: 33, cadence: doubleTap},
}

func cadence(ms ...int) []time.Duration {
	list := make([]time.Duration, len(ms))
	for i, n := range ms {
		list[i] = time.Duration(n) * time.Millisecond
	}
	return list
}

// ringClips keeps what was made: one clip for each country at most, of 24 to 48 kB.
var ringClips sync.Map

// Ringback is one period of the ringback tone of a country, as in "de"; "" is "us". Played end to end it
// rings. It is nil for a country that is not one of TwiML's ringTone values.
func Ringback(country string) *Clip {
	if country == "" {
		country = "us"
	}
	if c, ok := ringClips.Load(country); ok {
		return c.(*Clip)
	}
	r, ok := ringbacks[country]
	if !ok {
		return nil
	}
	c, _ := ringClips.LoadOrStore(country, NewClip(EncodeULaw(r.period())))
	return c.(*Clip)
}

func (r ringback) period() []int16 {
	var pcm []int16
	for i, d := range r.cadence {
		if i%2 == 0 {
			pcm = append(pcm, r.tone(d)...)
		} else {
			pcm = append(pcm, make([]int16, samples(d))...)
		}
	}
	return pcm
}

// tone is the sound for d. One that swells falls to silence between (E.180 writes 400 × 25), which leaves 3/8
// of a steady sine's power.
func (r ringback) tone(d time.Duration) []int16 {
	power := dBm0(ringLevel)
	amplitude := math.Sqrt(2 * power / float64(len(r.freqs)))
	if r.modulated != 0 {
		amplitude = math.Sqrt(power * 16 / 3)
	}
	pcm := make([]int16, samples(d))
	fade := min(fadeSamples, len(pcm)/2)
	for i := range pcm {
		t := float64(i) / SampleRate
		var v float64
		for _, f := range r.freqs {
			v += math.Sin(2 * math.Pi * f * t)
		}
		if r.modulated != 0 {
			v *= (1 - math.Cos(2*math.Pi*r.modulated*t)) / 2
		}
		if edge := min(i, len(pcm)-1-i); edge < fade {
			v *= float64(edge) / float64(fade)
		}
		pcm[i] = clip16(float32(v * amplitude))
	}
	return pcm
}

// dBm0 is the mean power that package audio calls Power, of a level in dBm0: G.711 µ-law overloads at +3.17 dBm0,
// the power of a sine that reaches its largest sample.
func dBm0(level float64) float64 {
	const overload = 32124.0
	return overload * overload / 2 * math.Pow(10, (level-3.17)/10)
}
