package speech

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/audio"
	"github.com/offhook/offhook/internal/clock"
)

// standing is a clock that goes when it is told to.
type standing struct {
	clock.Clock
	now time.Time
}

func (c *standing) Now() time.Time { return c.now }

func TestAClauseComesInPiecesThatLastUntilTheNext(t *testing.T) {
	for name, test := range map[string]struct {
		took time.Duration // until the first sample
		want []int         // ms of each piece
	}{
		"a machine with time":  {60 * time.Millisecond, []int{200, 200, 400, 800, 400}},
		"a busy machine":       {500 * time.Millisecond, []int{500, 500, 1000}},
		"a machine at its end": {3 * time.Second, []int{2000}},
	} {
		t.Run(name, func(t *testing.T) {
			clk := &standing{Clock: clock.System}
			sound := audio.Tone(2*time.Second, 440)
			sound[0] = 1000 // the tone fades in
			var got []int
			var whole []byte
			p := newPieces(clk, func(ulaw []byte) error {
				got, whole = append(got, len(ulaw)/8), append(whole, ulaw...)
				return nil
			})
			clk.now = clk.now.Add(test.took)
			for chunk := range slices.Chunk(sound, 80) {
				if err := p.play(audio.SampleRate, chunk); err != nil {
					t.Fatal(err)
				}
			}
			if err := p.end(); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("pieces of %v ms, want %v", got, test.want)
			}
			if !bytes.Equal(whole, audio.EncodeULaw(sound)) {
				t.Error("the pieces are not the whole")
			}
		})
	}
}

func TestTheSilenceBeforeSpeechIsTakenOff(t *testing.T) {
	speech, silence := audio.Tone(300*time.Millisecond, 440), make([]int16, 960)
	spoken := func(pcm []int16) (samples int) {
		p := newPieces(clock.System, func(ulaw []byte) error { samples += len(ulaw); return nil })
		for chunk := range slices.Chunk(pcm, 320) {
			if err := p.play(audio.SampleRate, chunk); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.end(); err != nil {
			t.Fatal(err)
		}
		return samples
	}
	want := len(speech) + len(silence) + onset
	if d := spoken(slices.Concat(silence, speech, silence)) - want; d < -40 || d > 40 { // the tone fades in for 5 ms
		t.Errorf("%d samples are left over, want the speech, what follows, and 20 ms before", d)
	}
	if n := spoken(silence); n != len(silence) {
		t.Errorf("%d samples of silence alone, want all %d", n, len(silence))
	}
}
