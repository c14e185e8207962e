package audio

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// pair is a tone pair of given frequencies and amplitudes, without soft edges.
func pair(d time.Duration, low, high, lowLevel, highLevel float64) []int16 {
	pcm := make([]int16, samples(d))
	for i := range pcm {
		t := 2 * math.Pi * float64(i) / SampleRate
		pcm[i] = int16(lowLevel*math.Sin(low*t) + highLevel*math.Sin(high*t))
	}
	return pcm
}

const ms = time.Millisecond

// heard is what a detector hears of sound that begins after some silence and passes through µ-law, in frames.
func heard(offset int, parts ...[]int16) string {
	pcm := make([]int16, 400+offset)
	for _, p := range parts {
		pcm = append(pcm, p...)
	}
	pcm = DecodeULaw(EncodeULaw(append(pcm, make([]int16, 800)...)))
	var d DTMFDetector
	var keys []byte
	for ; len(pcm) > 0; pcm = pcm[min(FrameSamples, len(pcm)):] {
		keys = append(keys, d.Write(pcm[:min(FrameSamples, len(pcm))])...)
	}
	return string(keys)
}

func silent(d time.Duration) []int16 { return make([]int16, samples(d)) }

func dB(level, by float64) float64 { return level * math.Pow(10, by/20) }

// The limits of ITU-T Q.24, wherever in a frame the sound begins.
func TestDTMFDetectorKeepsToQ24(t *testing.T) {
	five := func(d time.Duration) []int16 { return pair(d, 770, 1336, 5000, 5000) }
	noise := rand.New(rand.NewPCG(3, 4))
	noisy := func(pcm []int16, amplitude float64) []int16 {
		for i := range pcm {
			pcm[i] += int16(noise.NormFloat64() * amplitude)
		}
		return pcm
	}
	for name, tt := range map[string]struct {
		want  string
		parts [][]int16
	}{
		"40 ms":                  {"5", [][]int16{five(40 * ms)}},
		"20 ms":                  {"", [][]int16{five(20 * ms)}},
		"two keys, 40 ms apart":  {"55", [][]int16{five(60 * ms), silent(40 * ms), five(60 * ms)}},
		"cut for 10 ms":          {"5", [][]int16{five(60 * ms), silent(10 * ms), five(60 * ms)}},
		"two keys without pause": {"59", [][]int16{five(60 * ms), pair(60*ms, 852, 1477, 5000, 5000)}},
		"a minute":               {"5", [][]int16{five(time.Minute)}},
		"1.5 % low":              {"5", [][]int16{pair(60*ms, 770*0.985, 1336*0.985, 5000, 5000)}},
		"1.5 % high":             {"5", [][]int16{pair(60*ms, 770*1.015, 1336*1.015, 5000, 5000)}},
		"1.5 % apart":            {"D", [][]int16{pair(60*ms, 941*0.985, 1633*1.015, 5000, 5000)}},
		"3.5 % low":              {"", [][]int16{pair(time.Second, 770*0.965, 1336, 5000, 5000)}},
		"3.5 % high":             {"", [][]int16{pair(time.Second, 770, 1336*1.035, 5000, 5000)}},
		"the highest, 3.5 % off": {"", [][]int16{pair(time.Second, 941, 1633*1.035, 5000, 5000)}},
		"high 4 dB stronger":     {"5", [][]int16{pair(60*ms, 770, 1336, 4000, dB(4000, 4))}},
		"low 8 dB stronger":      {"5", [][]int16{pair(60*ms, 770, 1336, dB(4000, 8), 4000)}},
		"high 8 dB stronger":     {"", [][]int16{pair(time.Second, 770, 1336, 4000, dB(4000, 8))}},
		"low 12 dB stronger":     {"", [][]int16{pair(time.Second, 770, 1336, dB(4000, 12), 4000)}},
		"quiet":                  {"5", [][]int16{pair(60*ms, 770, 1336, 300, 300)}},
		"loud":                   {"5", [][]int16{pair(60*ms, 770, 1336, 16000, 16000)}},
		"noise 15 dB below":      {"5", [][]int16{noisy(five(60*ms), dB(5000, -15))}},
	} {
		t.Run(name, func(t *testing.T) {
			for offset := 0; offset < FrameSamples; offset += 7 {
				if got := heard(offset, tt.parts...); got != tt.want {
					t.Fatalf("%d samples into a frame: heard %q, want %q", offset, got, tt.want)
				}
			}
		})
	}
}

// A loss of up to two frames neither hides a key nor makes two of one, nor one of two.
func TestDTMFDetectorBridgesLosses(t *testing.T) {
	keys := bytes.Repeat([]byte("55#"), 5)
	var pcm []int16
	for _, k := range keys {
		pcm = append(append(pcm, DTMF(k, 100*ms)...), silent(100*ms)...)
	}
	frames := len(pcm) / FrameSamples
	for first := range frames {
		for _, second := range []int{first, first + 1, first + 2} {
			for _, offset := range []int{0, 50, 110} {
				var d DTMFDetector
				var got []byte
				shifted := append(make([]int16, offset), pcm...)
				for i := range frames {
					if i == first || i == second {
						got = append(got, d.Skip(FrameDuration)...)
						continue
					}
					got = append(got, d.Write(shifted[i*FrameSamples:(i+1)*FrameSamples])...)
				}
				if !bytes.Equal(got, keys) {
					t.Fatalf("without frames %d and %d, %d samples late: heard %q", first, second, offset, got)
				}
			}
		}
	}
}

func TestDTMFDetectorForgetsAKeyInALongLoss(t *testing.T) {
	var d DTMFDetector
	got := d.Write(DTMF('5', 100*ms))
	for range 10 {
		d.Skip(FrameDuration)
	}
	if got = append(got, d.Write(DTMF('5', 100*ms))...); string(got) != "55" {
		t.Errorf("heard %q", got)
	}
}

// Speech is no key: minutes of it here, an hour where OFFHOOK_PROOF is set.
func TestDTMFDetectorTalkOff(t *testing.T) {
	espeak, err := exec.LookPath("espeak-ng")
	if err != nil {
		t.Skip("espeak-ng is not installed: scripts/install-peers")
	}
	least := 3 * time.Minute
	if os.Getenv("OFFHOOK_PROOF") != "" {
		least = time.Hour
	}
	r := rand.New(rand.NewPCG(11, 7))
	spoken := time.Duration(0)
	for n := 0; spoken < least; n++ {
		voice := talkers[n%len(talkers)]
		text := speech(r, 60)
		pcm := speak(t, espeak, text, "-v", voice, "-p", fmt.Sprint(r.IntN(100)), "-s", fmt.Sprint(110+r.IntN(130)))
		spoken += time.Duration(len(pcm)) * time.Second / SampleRate
		for _, level := range []float64{1, 0.2} {
			var d DTMFDetector
			loud := make([]int16, len(pcm))
			for i, s := range pcm {
				loud[i] = int16(float64(s) * level)
			}
			if got := d.Write(DecodeULaw(EncodeULaw(loud))); len(got) > 0 {
				t.Errorf("%s at %.1f says %q in %q", voice, level, got, text)
			}
		}
	}
	t.Logf("no key in %v of speech by %d voices, each loud and soft", spoken.Round(time.Second), len(talkers))
}

// talkers are voices of espeak-ng: men, women, whispers and croaks, in languages with other vowels too.
var talkers = []string{
	"en-us", "en-gb", "en-us+f1", "en-us+f2", "en-us+f3", "en-us+f4", "en-us+f5", "en-us+m1", "en-us+m2", "en-us+m3",
	"en-us+m4", "en-us+m5", "en-us+m6", "en-us+m7", "en-gb+f2", "en-gb+f4", "en-gb+m3", "en-us+croak", "en-us+whisper",
	"en-gb-scotland", "en-us+klatt", "en-us+klatt2", "en-us+klatt3", "en-us+klatt4", "de+f2", "fr+m3", "it+f4", "es+m1", "sv+f3", "fi+m2",
}

// speech is a text of n words.
func speech(r *rand.Rand, n int) string {
	words := strings.Fields(`hello welcome to the you your have reached office order number zero one two three four five
		six seven eight nine ten hundred thousand please leave a message after tone thank for calling our hours are from
		monday tuesday friday saturday until evening morning street avenue garden road account balance payment received
		transfer agent representative speak hold line busy tomorrow yesterday weather rain sunshine mountain river ocean
		music loud quiet piano violin beep key press pound star again goodbye yes no maybe who where when why all call
		move smooth blue moon soon feel see tree free eel oil boy toy now how owl mother father away always really yellow
		wool would could good food rule lull lily wheel whale wail ring long wrong wing king among mean moan noon nine`)
	var b strings.Builder
	for i := range n {
		b.WriteString(words[r.IntN(len(words))])
		if i%9 == 8 {
			b.WriteByte('.')
		}
		b.WriteByte(' ')
	}
	return b.String()
}

func speak(t *testing.T, espeak, text string, args ...string) []int16 {
	t.Helper()
	wav, err := exec.CommandContext(context.Background(), espeak, append(args, "--stdout", text)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	clip, err := Decode("audio/wav", wav)
	if err != nil {
		t.Fatal(err)
	}
	return clip.PCM()
}
