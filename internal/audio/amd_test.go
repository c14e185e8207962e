package audio

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
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
	var phase, pitch float64
	var gains []float64 // of the harmonics
	n := samples(d)
	for i := range n {
		at := i % syllable
		if at == 0 {
			pitch = 100 + 60*c.rng.Float64()
			f1, f2 := 300+500*c.rng.Float64(), 900+1200*c.rng.Float64()
			gains = gains[:0]
			for f := pitch; f < 3400; f += pitch {
				gains = append(gains, math.Exp(-math.Abs(f-f1)/180)+0.5*math.Exp(-math.Abs(f-f2)/220))
			}
		}
		phase += 2 * math.Pi * pitch * (1 + 0.15*float64(at)/syllable) / SampleRate
		swell := math.Sin(math.Pi * float64(at) / float64(min(syllable, n-i+at)))
		var v float64
		for k, gain := range gains {
			v += gain * math.Sin(float64(k+1)*phase)
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
		{"hold music", end, newHeardCall().append(HoldMusic().PCM()),
			AnsweredUnknown, RuleInitialSilence, 5 * s, 6 * s},
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
		{"a greeting, then a fax machine's calling tone", end, newHeardCall().say(4*s).quiet(s).tone(500*ms, 1100).quiet(4 * s),
			AnsweredMachineEndSilence, RuleMessageEnd, 6100 * ms, 6400 * ms},
		{"it still rings in America, then a person", end, newHeardCall().ring("us").say(700 * ms).quiet(2 * s),
			AnsweredHuman, RuleShortUtterance, 7800 * ms, 8100 * ms},
		{"it still rings in England, then a person", end, newHeardCall().ring("uk").say(700 * ms).quiet(2 * s),
			AnsweredHuman, RuleShortUtterance, 4800 * ms, 5100 * ms},
		{"it still rings in Australia, then a person", end, newHeardCall().ring("au").say(700 * ms).quiet(2 * s),
			AnsweredHuman, RuleShortUtterance, 4800 * ms, 5100 * ms},
		{"it still rings in Germany", end, newHeardCall().ring("de").ring("de").quiet(2 * s),
			AnsweredUnknown, RuleInitialSilence, 11500 * ms, 11600 * ms},
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

// TestAMDHearsBeeps: eight frequencies, the lengths there are, in noise and with a harmonic.
func TestAMDHearsBeeps(t *testing.T) {
	for _, hz := range []float64{440, 550, 660, 800, 950, 1000, 1200, 1400, 2000} {
		for _, seconds := range []float64{0.15, 0.2, 0.3, 0.5, 1} {
			length := time.Duration(seconds * float64(time.Second))
			c := newHeardCall().say(4 * time.Second).quiet(800 * time.Millisecond)
			from := len(c.pcm)
			c.tone(length, hz)
			for i, s := range Tone(length, 2*hz)[:len(c.pcm)-from] {
				c.pcm[from+i] += s / 16
			}
			end := time.Duration(len(c.pcm)) * time.Second / SampleRate
			_, v, _ := detect(AMDConfig{MessageEnd: true}, c.quiet(3*time.Second).noise(-50).frames())
			if v.AnsweredBy != AnsweredMachineEndBeep || v.After < end || v.After > end+300*time.Millisecond {
				t.Errorf("%v Hz, %v until %v: %+v", hz, length, end, v)
			}
		}
	}
}

// TestAMDTakesNoOtherToneForABeep: after a greeting these are followed by quiet as a beep is.
func TestAMDTakesNoOtherToneForABeep(t *testing.T) {
	tones := map[string][]int16{
		"SIT":              slices.Concat(Tone(330*time.Millisecond, 950), Tone(330*time.Millisecond, 1400), Tone(330*time.Millisecond, 1800)),
		"CNG":              Tone(500*time.Millisecond, 1100),
		"CED":              Tone(time.Second, 2100),
		"dial":             Tone(500*time.Millisecond, 350, 440),
		"busy":             Tone(500*time.Millisecond, 480, 620),
		"busy elsewhere":   Tone(500*time.Millisecond, 425),
		"a very long tone": Tone(1500*time.Millisecond, 1000),
		"a click":          Tone(60*time.Millisecond, 1000),
	}
	for key := range ringbacks {
		tones["ringback "+key] = Ringback(key).PCM()
	}
	for _, key := range dtmfKeys {
		tones["key "+string(key)] = DTMF(byte(key), 300*time.Millisecond)
	}
	for name, pcm := range tones {
		if name == "ringback cn" {
			continue // one second of 450 Hz may be a beep
		}
		c := newHeardCall().say(4 * time.Second).quiet(800 * time.Millisecond).append(pcm).quiet(4 * time.Second)
		if a, v, _ := detect(AMDConfig{MessageEnd: true}, c.frames()); v.AnsweredBy != AnsweredMachineEndSilence {
			t.Errorf("%s: %+v; %+v", name, v, a.Trace())
		}
	}
}

// TestAMDWaitsWhileItRings in every country: nothing of it is speech, and whoever answers then is a person.
func TestAMDWaitsWhileItRings(t *testing.T) {
	for country := range ringbacks {
		c := newHeardCall().ring(country).ring(country)
		from := time.Duration(len(c.pcm)) * time.Second / SampleRate
		a, v, _ := detect(AMDConfig{}, c.quiet(300*time.Millisecond).say(700*time.Millisecond).quiet(2*time.Second).frames())
		trace := a.Trace()
		if v.AnsweredBy != AnsweredHuman || len(trace.Speech) == 0 || time.Duration(trace.Speech[0][0])*time.Millisecond < from {
			t.Errorf("%s rings for %v: %+v, %+v", country, from, v, trace)
		}
	}
}

func TestAMDTakesAnyNumberOfSamples(t *testing.T) {
	pcm := newHeardCall().quiet(time.Second).say(600 * time.Millisecond).quiet(2 * time.Second).noise(-50).frames()
	whole := NewAMD(AMDConfig{})
	want, ok := whole.Write(pcm)
	if !ok {
		t.Fatal("no verdict")
	}
	pieces := NewAMD(AMDConfig{})
	var got AMDVerdict
	for n := 1; len(pcm) > 0; n = n%500 + 37 {
		n = min(n, len(pcm))
		got, _ = pieces.Write(pcm[:n])
		pcm = pcm[n:]
	}
	if diff := cmp.Diff(whole.Trace(), pieces.Trace()); got != want || diff != "" {
		t.Errorf("%+v, want %+v\n%s", got, want, diff)
	}
}

func TestAMDExpires(t *testing.T) {
	const s = time.Second
	for _, tt := range []struct {
		call *heardCall
		want AMDVerdict
	}{
		{newHeardCall(), AMDVerdict{AnsweredUnknown, 0, RuleTimeout}},
		{newHeardCall().quiet(s).say(s), AMDVerdict{AnsweredUnknown, 2 * s, RuleTimeout}},
		{newHeardCall().say(4 * s), AMDVerdict{AnsweredMachineEndOther, 4 * s, RuleTimeout}},
		{newHeardCall().quiet(6 * s), AMDVerdict{AnsweredUnknown, 5 * s, RuleInitialSilence}}, // stands already
	} {
		a := NewAMD(AMDConfig{MessageEnd: true})
		a.Write(tt.call.frames())
		if got := a.Expire(); got != tt.want {
			t.Errorf("%+v, want %+v", got, tt.want)
		}
	}
}

func TestAMDTraceTellsWhatWasHeard(t *testing.T) {
	c := newHeardCall().quiet(time.Second).tone(time.Second, 425).quiet(500 * time.Millisecond).say(800 * time.Millisecond)
	a, _, _ := detect(AMDConfig{}, c.quiet(2*time.Second).noise(-55).frames())
	got := a.Trace()
	near := func(a, b int) bool { return max(a-b, b-a) <= 60 }
	if len(got.Speech) != 1 || !near(got.Speech[0][0], 2500) || !near(got.Speech[0][1], 3300) {
		t.Errorf("speech %v, want it from 2500 to 3300", got.Speech)
	}
	if len(got.Tones) != 1 || !near(got.Tones[0][0], 1000) || !near(got.Tones[0][1], 2000) || got.Tones[0][2] != 425 {
		t.Errorf("tones %v, want 425 Hz from 1000 to 2000", got.Tones)
	}
	if got.AnsweredBy != AnsweredHuman || got.Rule != RuleShortUtterance || !near(got.UtteranceMs, 800) || !near(got.SilenceMs, 1200) {
		t.Errorf("%+v", got)
	}
	if got.NoiseDBm0 < -60 || got.NoiseDBm0 > -54 || got.SpeechDBm0 < -25 || got.SpeechDBm0 > -10 {
		t.Errorf("noise at %v, speech at %v dBm0", got.NoiseDBm0, got.SpeechDBm0)
	}
}

func TestAMDAllocatesNothing(t *testing.T) {
	pcm := newHeardCall().quiet(time.Second).say(20 * time.Second).frames()
	a := NewAMD(AMDConfig{MessageEnd: true})
	if n := testing.AllocsPerRun(len(pcm)/FrameSamples-2, func() {
		a.Write(pcm[:FrameSamples])
		pcm = pcm[FrameSamples:]
	}); n != 0 {
		t.Errorf("%v allocations a frame", n)
	}
}

// BenchmarkAMD is one frame of speech, the most there is to do; 100 legs have 5,000 frames a second.
func BenchmarkAMD(b *testing.B) {
	pcm := newHeardCall().say(20 * time.Second).noise(-50).frames()
	a := NewAMD(AMDConfig{Timeout: math.MaxInt64, MessageEnd: true})
	b.ReportAllocs()
	for at := 0; b.Loop(); at = (at + FrameSamples) % len(pcm) {
		a.Write(pcm[at : at+FrameSamples])
	}
	if _, over := a.Write(nil); over {
		b.Fatal("it has ended")
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
