package interop

import (
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/offhook/offhook/internal/audio"
	"github.com/offhook/offhook/internal/speech"
)

// quiet is the most that a sample of silence has, -40 dB below the loudest.
const quiet = 300

// wavHeader is the length of what stands before the samples in the phones' recordings, in bytes. The length in it is
// written at their end only, so it is not looked at.
const wavHeader = 44

// tapes are the recordings that a phone makes of what it hears: files of a pattern, one for each of its calls or one
// that each call begins anew.
type tapes struct {
	pattern string
	byName  map[string]*tape
}

// A tape is one of them, as far as it was listened to.
type tape struct {
	ear  speech.Ear
	read int64 // bytes
	from int   // samples before this one count no more
	loud int   // samples since then that are no silence
}

// listen takes what was recorded since.
func (ts *tapes) listen() {
	names, _ := filepath.Glob(ts.pattern)
	for _, name := range names {
		if ts.byName == nil {
			ts.byName = map[string]*tape{}
		}
		if ts.byName[name] == nil {
			ts.byName[name] = &tape{read: wavHeader}
		}
		ts.byName[name].listen(name)
	}
}

func (tp *tape) listen(name string) {
	f, err := os.Open(name)
	if err != nil {
		return
	}
	defer f.Close()
	if stat, err := f.Stat(); err == nil && stat.Size() < tp.read {
		*tp = tape{read: wavHeader} // the next call
	}
	raw, err := io.ReadAll(io.NewSectionReader(f, tp.read, 1<<30))
	if err != nil {
		return
	}
	pcm := make([]int16, len(raw)/2)
	for i := range pcm {
		if pcm[i] = int16(binary.LittleEndian.Uint16(raw[2*i:])); pcm[i] > quiet || pcm[i] < -quiet {
			tp.loud++
		}
	}
	tp.ear.Write(pcm)
	tp.read += int64(2 * len(pcm))
}

// samples is how much was recorded, in all calls.
func (ts *tapes) samples() (n int) {
	ts.listen()
	for _, tp := range ts.byName {
		n += int(tp.read-wavHeader) / 2
	}
	return n
}

// heard reports whether the test voice has spoken text since the last forget, in any call.
func (ts *tapes) heard(text string) bool {
	ts.listen()
	for _, tp := range ts.byName {
		if _, ok := tp.ear.Find(text, tp.from); ok {
			return true
		}
	}
	return false
}

// heardSound reports whether any sound was heard for so long in sum since the last forget, in any call.
func (ts *tapes) heardSound(d time.Duration) bool {
	ts.listen()
	for _, tp := range ts.byName {
		if tp.loud >= int(d*audio.SampleRate/time.Second) {
			return true
		}
	}
	return false
}

// heardBefore reports whether one text was over when another one began, in the same call.
func (ts *tapes) heardBefore(first, second string) bool {
	ts.listen()
	for _, tp := range ts.byName {
		a, heard := tp.ear.Find(first, tp.from)
		b, heardBoth := tp.ear.Find(second, tp.from)
		if heard && heardBoth && a.End <= b.Start {
			return true
		}
	}
	return false
}

// forget drops what was heard so far.
func (ts *tapes) forget() {
	ts.listen()
	for _, tp := range ts.byName {
		tp.from, tp.loud = int(tp.read-wavHeader)/2, 0
	}
}

// rang reports whether the ringing tone of the United States was heard, 440 and 480 Hz, in any call.
func (ts *tapes) rang() bool {
	const window = audio.SampleRate / 10
	names, _ := filepath.Glob(ts.pattern)
	for _, name := range names {
		raw, err := os.ReadFile(name)
		if err != nil || len(raw) < wavHeader {
			continue
		}
		pcm := make([]int16, 0, window)
		for raw = raw[wavHeader:]; len(raw) >= 2; raw = raw[2:] {
			if pcm = append(pcm, int16(binary.LittleEndian.Uint16(raw))); len(pcm) < window {
				continue
			}
			total, low, high := audio.Power(pcm), audio.Goertzel(pcm, 440), audio.Goertzel(pcm, 480)
			if total > 1e4 && low > total/4 && high > total/4 && low+high > total*3/4 {
				return true
			}
			pcm = pcm[:0]
		}
	}
	return false
}
