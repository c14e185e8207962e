package speech

import (
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
	"time"
	"unicode/utf8"

	"github.com/offhook/offhook/internal/audio"
)

// The test voice renders each clause as chords of its own, so that a test can hear which text was
// spoken. A chord is two tones of testTones for chordLength; which, a hash of the clause says.
const (
	chordLength = 80 * time.Millisecond
	// minChords make four billion sequences, so that no two texts of a test sound alike.
	minChords = 5
	// charsPerChord makes long texts last longer, twice as fast as speech.
	charsPerChord = 8
	// minApart is the least distance between the tones of a chord, in steps of testTones.
	minApart = 2
)

// testTones are the frequencies in Hz. Each keeps 4 % off all DTMF frequencies, so that no detector takes a chord for a
// key, and off those of fax (1100, 2100), of ringing and busy tones (350, 440, 480, 620) and of beeps (1000, 1400).
var testTones = [...]float64{520, 1050, 1550, 1750, 1850, 1950, 2050, 2170, 2270, 2370, 2470, 2570, 2670, 2770, 2870, 2970}

// A chord is two indices of testTones, the lower first; the zero chord is none.
type chord struct{ low, high int8 }

// TestVoice is how the engine "test" speaks text: deterministic tones, 0.4 s and up.
func TestVoice(text string) *audio.Clip {
	var ulaw []byte
	for _, l := range plan([]Part{{Text: text}}) {
		ulaw = append(ulaw, testClause(l.text).ULaw()...)
	}
	return audio.NewClip(ulaw)
}

func testClause(clause string) *audio.Clip {
	var pcm []int16
	for _, c := range chords(clause) {
		pcm = append(pcm, audio.Tone(chordLength, testTones[c.low], testTones[c.high])...)
	}
	return audio.NewClip(audio.EncodeULaw(pcm))
}

// chords is the sequence of a clause. Neighbours share no tone, so that each chord has a clear beginning.
func chords(clause string) []chord {
	seed := sha256.Sum256([]byte(clause))
	rng := rand.New(rand.NewPCG(binary.BigEndian.Uint64(seed[:]), binary.BigEndian.Uint64(seed[8:]))) //nolint:gosec // not a secret
	sequence := make([]chord, max(minChords, utf8.RuneCountInString(clause)/charsPerChord))
	var last chord
	for i := range sequence {
		for {
			low, high := int8(rng.IntN(len(testTones))), int8(rng.IntN(len(testTones)))
			c := chord{low, high}
			if high-low >= minApart && (i == 0 || !c.shares(last)) {
				sequence[i], last = c, c
				break
			}
		}
	}
	return sequence
}

func (c chord) shares(d chord) bool {
	return c.low == d.low || c.low == d.high || c.high == d.low || c.high == d.high
}

// An Ear listens to a stream of 8 kHz samples for texts of the test voice. It stands G.711 of both laws, silence and
// prompts around a text, a cut-off beginning of up to one chord, and gaps of a few lost packets.
// The zero value is ready; it is not safe for concurrent use.
type Ear struct {
	buf   []int16 // not analysed yet
	at    int     // position of buf[0] in the stream
	heard []note  // what the stream held, in order
}

// A note is a chord in the stream, from one sample to another.
type note struct {
	chord
	from, to int
	windows  int // that showed it
}

const (
	// earWindow, 25 ms, resolves 40 Hz and still finds a chord that lost a packet in its middle.
	earWindow = 200
	earStep   = 80
	// noteWindows make a note; between two chords there may be one odd window.
	noteWindows = 2
	// maxGap is the longest silence inside a text, between clauses too: 0.3 s of late or lost audio.
	maxGap = 2400
)

// Write takes the next samples.
func (e *Ear) Write(pcm []int16) {
	e.buf = append(e.buf, pcm...)
	for len(e.buf) >= earWindow {
		if c, ok := listen(e.buf[:earWindow]); ok {
			// A chord shows while it fills most of the window.
			e.note(note{c, e.at + earWindow/4, e.at + earWindow*3/4, 1})
		}
		e.buf = e.buf[earStep:]
		e.at += earStep
	}
}

// note adds what a window showed.
func (e *Ear) note(n note) {
	for len(e.heard) > 0 {
		last := &e.heard[len(e.heard)-1]
		if last.chord == n.chord && n.from-last.to < maxGap {
			last.to, last.windows = n.to, last.windows+1
			return
		}
		if last.windows >= noteWindows {
			break
		}
		e.heard = e.heard[:len(e.heard)-1]
	}
	e.heard = append(e.heard, n)
}

// listen names the chord that fills a window.
func listen(window []int16) (chord, bool) {
	total := audio.Power(window)
	if total < 1e4 { // -50 dBFS
		return chord{}, false
	}
	var first, second int
	var power [len(testTones)]float64
	for i, f := range testTones {
		power[i] = audio.Goertzel(window, f)
		switch {
		case i == 0:
		case power[i] > power[first]:
			first, second = i, first
		case second == first || power[i] > power[second]:
			second = i
		}
	}
	a, b := power[first], power[second]
	c := chord{int8(min(first, second)), int8(max(first, second))}
	return c, a+b > 0.75*total && a < 8*b
}

// Span is a stretch of a stream, in samples from its beginning; 8 are a millisecond.
type Span struct{ Start, End int }

// Heard reports whether the whole of text was heard.
func (e *Ear) Heard(text string) bool {
	_, ok := e.Find(text, 0)
	return ok
}

// Find is where text was first heard whole, not before sample from. The span is good to 20 ms.
func (e *Ear) Find(text string, from int) (Span, bool) {
	span, part := e.search(text, from)
	return span, part == 1
}

// Part is how much of text was heard at most, from its beginning: 0 nothing, 1 the whole, between them a prompt
// that was cut. One chord alone does not count.
func (e *Ear) Part(text string) float64 {
	_, part := e.search(text, 0)
	return part
}

// search finds the first whole rendering of text, else the longest beginning of it.
func (e *Ear) search(text string, from int) (best Span, part float64) {
	// A text in the middle of an utterance is cut into clauses otherwise than one at its start, see plan.
	for _, before := range [][]Part{nil, {{Text: "x."}}} {
		var want []chord
		for _, l := range plan(append(before, Part{Text: text}))[len(before):] {
			want = append(want, chords(l.text)...)
		}
		if len(want) == 0 {
			continue
		}
		for i, n := range e.heard {
			if n.from < from || n.windows < noteWindows {
				continue
			}
			for skip := range 2 { // the first chord may have been cut off
				if skip == 1 && i > 0 && n.from-e.heard[i-1].to < maxGap {
					continue // something else was heard there
				}
				span, matched := e.match(i, want[skip:])
				if matched < 2 {
					continue
				}
				if p := float64(matched+skip) / float64(len(want)); p > part {
					best, part = span, p
				}
			}
		}
		if part == 1 {
			break
		}
	}
	return best, part
}

// match counts how many of want follow one another from note i on.
func (e *Ear) match(i int, want []chord) (span Span, matched int) {
	for matched < len(want) && i+matched < len(e.heard) {
		n := e.heard[i+matched]
		if n.chord != want[matched] || matched > 0 && n.from-span.End > maxGap {
			break
		}
		if matched == 0 {
			span.Start = n.from
		}
		span.End = n.to
		matched++
	}
	return span, matched
}

// Heard reports whether the test voice speaks the whole of text somewhere in pcm, 8 kHz samples. See Ear.
func Heard(pcm []int16, text string) bool { return HeardPart(pcm, text) == 1 }

// HeardPart is how much of text the test voice speaks somewhere in pcm, from its beginning: 0 nothing, 1 all.
func HeardPart(pcm []int16, text string) float64 {
	var e Ear
	e.Write(pcm)
	return e.Part(text)
}
