package audio

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// heardCall is what the other side of a call is heard to say, put together of its parts.
type heardCall struct {
	pcm []int16
	rng *rand.Rand
}

func newHeardCall() *heardCall { return &heardCall{rng: rand.New(rand.NewPCG(3, 4))} }

func (c *heardCall) quiet(d time.Duration) *heardCall {
	c.pcm = append(c.pcm, make([]int16, samples(d))...)
	return c
}

// say speaks nonsense for d: four syllables a second, of a gliding pitch with two formants.
func (c *heardCall) say(d time.Duration) *heardCall {
	const syllable = SampleRate / 4
	phase, pitch := 0.0, 120.0
	f1, f2 := 500.0, 1500.0
	n := samples(d)
	for i := range n {
		at := i % syllable
		if at == 0 {
			pitch = 100 + 60*c.rng.Float64()
			f1, f2 = 300+500*c.rng.Float64(), 900+1200*c.rng.Float64()
		}
		phase += 2 * math.Pi * pitch * (1 + 0.15*float64(at)/syllable) / SampleRate
		length := min(syllable, n-i+at)
		swell := math.Sin(math.Pi * float64(at) / float64(length))
		var v float64
		for k := 1.0; k*pitch < 3400; k++ {
			v += (math.Exp(-math.Abs(k*pitch-f1)/180) + 0.5*math.Exp(-math.Abs(k*pitch-f2)/220)) * math.Sin(k*phase)
		}
		c.pcm = append(c.pcm, clip16(float32(3000*v*swell)))
	}
	return c
}

func (c *heardCall) tone(d time.Duration, freqs ...float64) *heardCall {
	for _, s := range Tone(d, freqs...) {
		c.pcm = append(c.pcm, s/2)
	}
	return c
}

func (c *heardCall) ring(country string) *heardCall {
	c.pcm = append(c.pcm, Ringback(country).PCM()...)
	return c
}

// noise adds noise at a level to all so far.
func (c *heardCall) noise(dBm float64) *heardCall {
	sigma := math.Sqrt(dBm0(dBm))
	for i, s := range c.pcm {
		c.pcm[i] = clip16(float32(float64(s) + sigma*c.rng.NormFloat64()))
	}
	return c
}

// frames is all as µ-law brings it, in whole frames.
func (c *heardCall) frames() []int16 { return NewClip(EncodeULaw(c.pcm)).PCM() }

func detect(cfg AMDConfig, pcm []int16) (*AMD, AMDVerdict, bool) {
	a := NewAMD(cfg)
	for ; len(pcm) > 0; pcm = pcm[FrameSamples:] {
		if v, ok := a.Write(pcm[:FrameSamples]); ok {
			return a, v, true
		}
	}
	return a, AMDVerdict{}, false
}

func TestAMD(t *testing.T) {
	const s, ms = time.Second, time.Millisecond
	end := AMDConfig{MessageEnd: true}
	for _, tt := range []struct {
		name     string
		cfg      AMDConfig
		call     *heardCall
		want     string
		rule     string
		from, to time.Duration // of the verdict
	}{
		{"a person says hello", end, newHeardCall().quiet(s).say(500 * ms).quiet(3 * s),
			AnsweredHuman, RuleShortUtterance, 2600 * ms, 2900 * ms},
		{"a person says hello in noise", end, newHeardCall().quiet(s).say(500 * ms).quiet(3 * s).noise(-45),
			AnsweredHuman, RuleShortUtterance, 2600 * ms, 2900 * ms},
		{"a person asks twice", end, newHeardCall().quiet(s).say(500 * ms).quiet(700 * ms).say(600 * ms).quiet(3 * s),
			AnsweredHuman, RuleShortUtterance, 3900 * ms, 4200 * ms},
		{"an impatient caller", AMDConfig{SpeechEndThreshold: 500 * ms}, newHeardCall().quiet(s).say(500 * ms).quiet(3 * s),
			AnsweredHuman, RuleShortUtterance, 1900 * ms, 2200 * ms},
		{"a machine's greeting", AMDConfig{}, newHeardCall().quiet(s / 2).say(8 * s).quiet(3 * s),
			AnsweredMachineStart, RuleLongUtterance, 2900 * ms, 3200 * ms},
		{"a long greeting counts the pauses in it", AMDConfig{}, newHeardCall().say(s).quiet(s).say(s).quiet(3 * s),
			AnsweredMachineStart, RuleLongUtterance, 2400 * ms, 2700 * ms},
		{"a patient caller", AMDConfig{SpeechThreshold: 5 * s}, newHeardCall().say(4 * s).quiet(3 * s),
			AnsweredHuman, RuleShortUtterance, 5100 * ms, 5400 * ms},
		{"a greeting and a beep", end, newHeardCall().quiet(s/2).say(6*s).quiet(s).tone(400*ms, 1000).quiet(3 * s),
			AnsweredMachineEndBeep, RuleBeep, 8000 * ms, 8400 * ms},
		{"a greeting and a beep in noise", end, newHeardCall().quiet(s/2).say(6*s).quiet(s).tone(400*ms, 1000).quiet(3 * s).noise(-40),
			AnsweredMachineEndBeep, RuleBeep, 8000 * ms, 8400 * ms},
		{"a greeting without a beep", end, newHeardCall().quiet(s / 2).say(6 * s).quiet(4 * s),
			AnsweredMachineEndSilence, RuleMessageEnd, 8400 * ms, 8700 * ms},
		{"a greeting that pauses for a key", end, newHeardCall().quiet(s / 2).say(4 * s).quiet(s).append(DTMF('5', 300*ms)).quiet(3 * s),
			AnsweredMachineEndSilence, RuleMessageEnd, 6400 * ms, 6700 * ms},
		{"a greeting that does not end", AMDConfig{MessageEnd: true, Timeout: 5 * s}, newHeardCall().say(9 * s),
			AnsweredMachineEndOther, RuleTimeout, 5 * s, 5 * s},
		{"a machine with few words", end, newHeardCall().say(s).quiet(600*ms).tone(500*ms, 850).quiet(2 * s),
			AnsweredMachineEndBeep, RuleBeep, 2300 * ms, 2600 * ms},
		{"a machine that only beeps", AMDConfig{}, newHeardCall().quiet(s).tone(500*ms, 850).quiet(2 * s),
			AnsweredMachineStart, RuleBeep, 1700 * ms, 2000 * ms},
		{"nobody speaks", end, newHeardCall().quiet(9 * s),
			AnsweredUnknown, RuleInitialSilence, 5 * s, 5 * s},
		{"nobody speaks in noise", end, newHeardCall().quiet(9 * s).noise(-42),
			AnsweredUnknown, RuleInitialSilence, 5 * s, 5 * s},
		{"nobody waits long", AMDConfig{SilenceTimeout: 2 * s}, newHeardCall().quiet(9 * s),
			AnsweredUnknown, RuleInitialSilence, 2 * s, 2 * s},
		{"a fax calls", end, newHeardCall().quiet(s).tone(500*ms, 1100).quiet(3 * s),
			AnsweredFax, RuleCNG, 1400 * ms, 1600 * ms},
		{"a fax answers", end, newHeardCall().quiet(s).tone(3*s, 2100).quiet(s),
			AnsweredFax, RuleCED, 1400 * ms, 1600 * ms},
		{"it still rings in America, then a person", end, newHeardCall().ring("us").say(700 * ms).quiet(2 * s),
			AnsweredHuman, RuleShortUtterance, 7800 * ms, 8100 * ms},
		{"it still rings in England, then a person", end, newHeardCall().ring("uk").say(700 * ms).quiet(2 * s),
			AnsweredHuman, RuleShortUtterance, 4800 * ms, 5100 * ms},
		{"it still rings in Australia, then a person", end, newHeardCall().ring("au").say(700 * ms).quiet(2 * s),
			AnsweredHuman, RuleShortUtterance, 4800 * ms, 5100 * ms},
		{"it still rings in Germany", end, newHeardCall().ring("de").ring("de").quiet(2 * s),
			AnsweredUnknown, RuleInitialSilence, 11 * s, 11100 * ms},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, v, ok := detect(tt.cfg, tt.call.frames())
			if !ok {
				t.Fatalf("no verdict; %+v", a.Trace())
			}
			if v.AnsweredBy != tt.want || v.Rule != tt.rule || v.After < tt.from || v.After > tt.to {
				t.Errorf("%+v, want %s by %s in %v to %v; %+v", v, tt.want, tt.rule, tt.from, tt.to, a.Trace())
			}
		})
	}
}

func (c *heardCall) append(pcm []int16) *heardCall {
	c.pcm = append(c.pcm, pcm...)
	return c
}

func TestAMDTraceIsSmall(t *testing.T) {
	c := newHeardCall()
	for len(c.pcm) < 59*SampleRate {
		c.say(120*time.Millisecond).quiet(120*time.Millisecond).tone(160*time.Millisecond, 1000).quiet(200 * time.Millisecond)
	}
	a, _, _ := detect(AMDConfig{Timeout: 59 * time.Second, SpeechThreshold: 58 * time.Second}, c.frames())
	b, err := json.Marshal(a.Trace())
	if err != nil || len(b) > 4096 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}
