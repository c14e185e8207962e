package main

import (
	"math"
	"slices"
	"time"

	"github.com/offhook/offhook/internal/audio"
)

// A kind is one of the situations after an answer.
type kind struct {
	name  string
	label string
	files int
	about string
	play  func(*scene)
}

var kinds = []kind{
	{"person-short", "human", 120, "a greeting of up to 1.6 s", personShort},
	{"person-twice", "human", 40, "a greeting, a pause, and again", personTwice},
	{"person-long", "human", 60, "a greeting of 1.4 to 2.3 s", personLong},
	{"person-business", "human", 10, "a greeting of more than 2.5 s", personBusiness},
	{"person-after-ringback", "human", 30, "it still rings after the answer, then a greeting", personAfterRingback},
	{"person-after-music", "human", 20, "music for the caller until a person answers", personAfterMusic},
	{"voicemail-beep", "machine", 160, "a greeting and a beep", voicemailBeep},
	{"voicemail-silent", "machine", 100, "a greeting and silence", voicemailSilent},
	{"voicemail-brief", "machine", 25, "a greeting of few words, soon a beep", voicemailBrief},
	{"voicemail-music", "machine", 15, "a greeting over music, and a beep", voicemailMusic},
	{"voicemail-after-ring", "machine", 25, "it still rings, then a greeting and a beep", voicemailAfterRing},
	{"menu", "machine", 15, "a spoken menu, then music on hold", menu},
	{"announcement", "machine", 15, "special information tones and why the call fails", announcement},
	{"fax-ced", "fax", 20, "a fax machine's answer tone and its first flags", faxAnswers},
	{"fax-cng", "fax", 15, "a fax machine's calling tone", faxCalls},
	{"silence", "unknown", 15, "nobody says anything", nobody},
	{"music", "unknown", 25, "music on hold only", musicOnly},
	{"progress", "unknown", 20, "ringback, busy or dial tone only", progressOnly},
}

// beeps are the frequencies of voicemails' tones, in Hz.
var beeps = []float64{440, 550, 660, 800, 950, 1000, 1200, 1400}

// beepLengths are their lengths in seconds.
var beepLengths = []float64{0.15, 0.2, 0.3, 0.4, 0.6, 0.9}

func personShort(s *scene) {
	s.pickUp()
	s.silence(0.1, 1.4)
	s.greet(0.15, 1.6)
	s.listen()
}

func personTwice(s *scene) {
	s.pickUp()
	s.silence(0.1, 1)
	s.greet(0.15, 0.8)
	s.silence(0.35, 0.95)
	s.greet(0.15, 0.8)
	s.listen()
}

func personLong(s *scene) {
	s.pickUp()
	s.silence(0.1, 1.4)
	s.speaker = s.cast("")
	s.must(longHellos, 1.4, 2.3)
	s.listen()
}

func personBusiness(s *scene) {
	s.pickUp()
	s.silence(0.1, 1.4)
	s.speaker = s.cast("")
	s.must(businessHellos, 2.5, 30)
	s.listen()
}

func personAfterRingback(s *scene) {
	ring := s.ringback()
	s.add(ring[s.rng.IntN(len(ring)/2):])
	s.pickUp()
	s.silence(0.05, 0.6)
	s.greet(0.15, 1.6)
	s.listen()
}

func personAfterMusic(s *scene) {
	s.music(1, 3.5, 0)
	s.pickUp()
	s.silence(0.1, 0.6)
	s.greet(0.15, 1.6)
	s.listen()
}

// listen is the person waiting for an answer; many say hello again.
func (s *scene) listen() {
	s.silence(2.8, 3.2)
	if s.rng.IntN(3) == 0 {
		s.add(s.again)
	}
	s.silence(1, 1.5)
}

func voicemailBeep(s *scene) {
	s.silence(0.05, 1.5)
	s.greeting()
	s.beep(0.15, 1.6)
	s.silence(4, 4)
}

func voicemailSilent(s *scene) {
	s.silence(0.05, 1.5)
	s.greeting()
	s.label.end = "silence"
	s.silence(5, 5)
}

func voicemailBrief(s *scene) {
	s.silence(0.05, 1)
	s.speaker = s.cast("")
	s.must(shortGreetings, 0.3, 2.3)
	s.beep(0.1, 0.9)
	s.silence(4, 4)
}

func voicemailMusic(s *scene) {
	s.music(0.3, 1, 0)
	from := len(s.pcm)
	s.greeting()
	s.silence(0.1, 0.5)
	s.under(from, between(s.rng, -22, -15))
	s.beep(0.05, 0.5)
	s.silence(4, 4)
}

func voicemailAfterRing(s *scene) {
	ring := s.ringback()
	s.add(ring[s.rng.IntN(len(ring)/2):])
	s.silence(0.05, 1)
	s.greeting()
	s.beep(0.15, 1.6)
	s.silence(4, 4)
}

func menu(s *scene) {
	s.silence(0.05, 1)
	s.speaker = s.cast("")
	s.sentences(text(s.rng, s.split, menus))
	s.label.end = "other"
	s.silence(0.2, 1)
	s.music(6, 8, 0)
}

func announcement(s *scene) {
	s.silence(0.1, 1)
	for _, hz := range []float64{950, 1400, 1800} {
		s.add(tone(0.33, s.level, hz))
	}
	s.silence(0.1, 0.8)
	s.speaker = s.cast("")
	s.sentences(text(s.rng, s.split, announcements))
	s.label.end = "silence"
	s.silence(5, 5)
}

// faxAnswers: CED for 2.6 to 4 s, ITU-T T.30, half with the phase reversals of ANS; then V.21 flags.
func faxAnswers(s *scene) {
	s.silence(0.2, 2.5)
	reversals := s.rng.IntN(2) == 0
	ced := tone(between(s.rng, 2.6, 4), s.level, 2100)
	if reversals {
		for i := range ced {
			if i/(audio.SampleRate*450/1000)%2 == 1 {
				ced[i] = -ced[i]
			}
		}
	}
	s.add(ced)
	s.silence(0.075, 0.075)
	s.add(v21(1.5, s.level))
	s.silence(1, 1)
}

// faxCalls: CNG, 0.5 s every 3.5 s.
func faxCalls(s *scene) {
	s.silence(0.2, 3)
	for range 2 {
		s.add(tone(0.5, s.level, 1100))
		s.silence(3, 3)
	}
}

func nobody(s *scene) {
	s.pickUp()
	s.silence(12, 12)
}

func musicOnly(s *scene) {
	if s.rng.IntN(4) == 0 {
		tune := toFloat(audio.HoldMusic().PCM())
		from := s.rng.IntN(len(tune) / 2)
		s.add(atLevel(tune[from:from+10*audio.SampleRate], s.level))
		return
	}
	s.music(10, 12, 0)
}

func progressOnly(s *scene) {
	switch s.rng.IntN(4) {
	case 0: // busy
		freqs, on := []float64{480, 620}, 0.5
		if s.rng.IntN(2) == 0 {
			freqs = []float64{425}
		}
		for range 32 {
			s.add(tone(on, s.level, freqs...))
			s.silence(on, on)
		}
	case 1: // dial tone
		freqs := []float64{350, 440}
		if s.rng.IntN(2) == 0 {
			freqs = []float64{425}
		}
		s.add(tone(32, s.level, freqs...))
	default:
		ring := s.ringback()
		for len(s.pcm) < 31*audio.SampleRate {
			s.add(slices.Clone(ring))
		}
	}
}

// cast chooses who speaks in this file.
func (s *scene) cast(language string) speaker {
	sp := cast(s.rng, s.split, language)
	s.label.voice = sp.name
	return sp
}

// greet is a person's greeting of a length between shortest and longest seconds, in one of the languages. The same person
// speaks when it is called again.
func (s *scene) greet(shortest, longest float64) {
	if s.speaker.name == "" {
		s.hellos = hellos
		language := ""
		if s.rng.IntN(4) == 0 {
			language = pick(s.rng, languages(hellosAbroad))
			s.hellos = hellosAbroad[language]
		}
		s.speaker = s.cast(language)
	}
	if !s.utter(s.hellos, shortest, longest) {
		s.hellos = hellos
		s.must(s.hellos, shortest, longest)
	}
}

// greeting is a voicemail's: a few sentences with pauses.
func (s *scene) greeting() {
	if s.rng.IntN(6) == 0 {
		language := pick(s.rng, languages(greetingsAbroad))
		s.speaker = s.cast(language)
		s.sentences(text(s.rng, s.split, greetingsAbroad[language]))
		s.pause()
		s.sentences(text(s.rng, s.split, greetingsAbroad[language]))
		return
	}
	s.speaker = s.cast("")
	s.sentences(text(s.rng, s.split, openings))
	from := len(s.pcm)
	for more := s.rng.IntN(3); s.err == nil && (more > 0 || len(s.pcm)-from < seconds(1.5)); more-- {
		s.pause()
		s.sentences(text(s.rng, s.split, middles))
	}
	s.pause()
	s.sentences(text(s.rng, s.split, endings))
}

func languages(m map[string][]string) (list []string) {
	for l := range m {
		list = append(list, l)
	}
	slices.Sort(list)
	return list
}

// tone is a sum of sines, each at the same level, together at dBm0, ramped over 5 ms at its ends.
func tone(seconds, dBm0 float64, freqs ...float64) []float64 {
	pcm := make([]float64, int(seconds*audio.SampleRate))
	peak := amplitude(dBm0) * math.Sqrt2 / math.Sqrt(float64(len(freqs)))
	const ramp = audio.SampleRate / 200
	for i := range pcm {
		for _, f := range freqs {
			pcm[i] += peak * math.Sin(2*math.Pi*f*float64(i)/audio.SampleRate)
		}
		pcm[i] *= min(1, float64(min(i, len(pcm)-1-i))/ramp)
	}
	return pcm
}

// v21 is HDLC flags by 300 bit/s FSK of 1650 and 1850 Hz, ITU-T V.21 channel 2.
func v21(seconds, dBm0 float64) []float64 {
	pcm := make([]float64, int(seconds*audio.SampleRate))
	peak, phase := amplitude(dBm0)*math.Sqrt2, 0.0
	for i := range pcm {
		hz := 1650.0
		if bit := i * 300 / audio.SampleRate % 8; bit == 0 || bit == 7 { // 01111110
			hz = 1850
		}
		phase += 2 * math.Pi * hz / audio.SampleRate
		pcm[i] = peak * math.Sin(phase)
	}
	return pcm
}

// seconds is d in samples.
func seconds(d float64) int {
	return int(time.Duration(d*float64(time.Second)) * audio.SampleRate / time.Second)
}
