package speech

import (
	"time"

	"github.com/offhook/offhook/internal/audio"
	"github.com/offhook/offhook/internal/clock"
)

const (
	// firstPiece is the least that is played before the rest of a clause is made: 200 ms, made in 7.
	firstPiece = audio.SampleRate / 5
	// quiet is the amplitude up to which a sample counts as silence: -44 dB below full scale.
	quiet = 200
	// onset stays before the first sound, so that a soft consonant is not cut: 20 ms.
	onset = audio.FrameSamples
)

// pieces cuts a clause into pieces that can be played while the rest is made, without gaps: the first lasts at least
// as long as it took to make, since the rest takes little longer, and each later one as long as all before it. The
// silence that a voice begins every clause with (measured: flite 95 to 130 ms) is taken off, since the
// caller would wait for it; pauses between clauses are those at their ends.
type pieces struct {
	clock clock.Clock
	send  func(ulaw []byte) error // whole frames, but for the last piece
	began time.Time

	encoder *audio.Encoder // nil before the first sample
	ulaw    []byte         // not sent
	sounds  bool           // the silence at the start is off
	sent    int            // samples
}

func newPieces(clk clock.Clock, send func(ulaw []byte) error) *pieces {
	return &pieces{clock: clk, send: send, began: clk.Now()}
}

// play takes the next samples of a clause, all of one rate, in Hz.
func (p *pieces) play(rate int, pcm []int16) (err error) {
	if p.encoder == nil {
		if p.encoder, err = audio.NewEncoder(rate); err != nil {
			return err
		}
	}
	had := len(p.ulaw)
	p.ulaw = p.encoder.Append(p.ulaw, pcm)
	p.trim(had)
	if n := len(p.ulaw) - len(p.ulaw)%audio.FrameSamples; p.sounds && n > 0 && n >= p.least() {
		return p.give(n)
	}
	return nil
}

// least is how long the next piece has to be.
func (p *pieces) least() int {
	if p.sent > 0 {
		return p.sent
	}
	spent := p.clock.Now().Sub(p.began)
	return max(firstPiece, int(spent*audio.SampleRate/time.Second))
}

// trim drops the silence before the first sound; what was there before the last had samples is silent.
func (p *pieces) trim(had int) {
	if p.sounds {
		return
	}
	for i, v := range audio.DecodeULaw(p.ulaw[had:]) {
		if v > quiet || v < -quiet {
			p.ulaw, p.sounds = p.ulaw[max(0, had+i-onset):], true
			return
		}
	}
}

// end sends the rest.
func (p *pieces) end() error {
	had := len(p.ulaw)
	if p.encoder != nil {
		p.ulaw = p.encoder.Flush(p.ulaw)
	}
	p.trim(had)
	if len(p.ulaw) == 0 {
		return nil
	}
	return p.give(len(p.ulaw))
}

// whole sends a clause that was made at once.
func (p *pieces) whole(c *audio.Clip) error {
	p.ulaw = c.ULaw()
	p.trim(0)
	return p.send(p.ulaw)
}

func (p *pieces) give(n int) error {
	err := p.send(p.ulaw[:n])
	p.ulaw = append(p.ulaw[:0], p.ulaw[n:]...)
	p.sent += n
	return err
}
