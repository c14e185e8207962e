package proof

import (
	"slices"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/amdtune"
	"github.com/offhook/offhook/internal/audio"
)

// asteriskAMD is the rule by which Asterisk's AMD application tells people from machines, with the defaults of its sample
// configuration: it counts words by the average amplitude of frames. It says after which time it found a label,
// unknown when it was not sure.
func asteriskAMD(pcm []int16) (label string, after time.Duration) {
	const (
		ms                   = time.Millisecond
		frame                = audio.FrameDuration
		initialSilence       = 2500 * ms
		greeting             = 1500 * ms
		afterGreetingSilence = 800 * ms
		totalAnalysis        = 5000 * ms
		minWord              = 100 * ms
		betweenWords         = 50 * ms
		maxWord              = 5000 * ms
		maxWords             = 2
		silenceThreshold     = 256 // mean amplitude
	)
	var total, silence, voice, word time.Duration
	inWord, inGreeting, words := true, false, 0
	for ; len(pcm) >= audio.FrameSamples; pcm = pcm[audio.FrameSamples:] {
		if total >= totalAnalysis {
			return amdtune.Unknown, total
		}
		total += frame
		var sum int
		for _, s := range pcm[:audio.FrameSamples] {
			sum += max(int(s), -int(s))
		}
		if sum/audio.FrameSamples < silenceThreshold {
			silence += frame
			if silence >= betweenWords {
				inWord, word = false, 0
			}
			switch {
			case !inGreeting && silence >= initialSilence:
				return amdtune.Machine, total
			case inGreeting && silence >= afterGreetingSilence:
				return amdtune.Human, total
			}
			continue
		}
		word += frame
		voice += frame
		if word >= minWord && !inWord {
			words++
			inWord = true
		}
		switch {
		case word >= maxWord, words > maxWords, inGreeting && voice >= greeting:
			return amdtune.Machine, total
		}
		if word >= minWord {
			inGreeting = true
		}
		if voice >= minWord {
			silence = 0
		}
	}
	return amdtune.Unknown, total
}

func TestAsteriskRule(t *testing.T) {
	speech := func(d time.Duration) []int16 { return audio.Tone(d, 200) }
	quiet := func(d time.Duration) []int16 { return make([]int16, int(d*audio.SampleRate/time.Second)) }
	const ms = time.Millisecond
	for _, tt := range []struct {
		name string
		pcm  []int16
		want string
	}{
		{"nobody speaks", quiet(6000 * ms), amdtune.Machine},
		{"hello", slices.Concat(quiet(500*ms), speech(400*ms), quiet(2000*ms)), amdtune.Human},
		{"a long greeting", slices.Concat(quiet(500*ms), speech(2000*ms), quiet(2000*ms)), amdtune.Machine},
		{"three words", slices.Concat(quiet(500*ms), speech(200*ms), quiet(200*ms), speech(200*ms), quiet(200*ms), speech(200*ms), quiet(2000*ms)), amdtune.Machine},
		{"clicks only", slices.Concat(quiet(2000*ms), speech(40*ms), quiet(2000*ms), speech(40*ms), quiet(2000*ms)), amdtune.Machine},
	} {
		if got, after := asteriskAMD(tt.pcm); got != tt.want {
			t.Errorf("%s: %s after %v, want %s", tt.name, got, after, tt.want)
		}
	}
}

func median(list []time.Duration) time.Duration {
	if len(list) == 0 {
		return 0
	}
	slices.Sort(list)
	return list[len(list)/2]
}
