package audio

// A lost frame is filled as in ITU-T G.711 appendix I, but without its delay of 3.75 ms: the last period of the
// pitch again and again, at full level for 10 ms and then down to nothing at 60 ms.
const (
	pitchLeast  = 40  // samples: 200 Hz
	pitchMost   = 120 // 66 Hz
	pitchWindow = 160 // samples that are compared
	concealed   = 3 * FrameSamples
	concealFull = FrameSamples / 2
	concealJoin = 32 // samples over which what comes again is blended in: 4 ms
)

// A Concealer hides what was lost on the way: silence there would click, and be heard more. The zero value is ready.
// It is not for concurrent use.
type Concealer struct {
	past  [pitchMost + pitchWindow]int16 // the newest samples
	cycle [pitchMost]int16               // what is repeated
	pitch int                            // how much of cycle
	lost  int                            // samples made up since the last frame that came
}

// Came takes the frame of FrameSamples that came, and smooths its beginning after a loss.
func (c *Concealer) Came(frame []int16) {
	if c.lost > 0 {
		for i := range concealJoin {
			made := int(c.made(c.lost + i))
			frame[i] = int16((made*(concealJoin-i) + int(frame[i])*i) / concealJoin)
		}
		c.lost = 0
	}
	n := copy(c.past[:], c.past[min(len(frame), len(c.past)):])
	copy(c.past[n:], frame[max(0, len(frame)-len(c.past)):])
}

// Lost makes up a frame; after three of them in a row it is silence.
func (c *Concealer) Lost(frame []int16) {
	if c.lost == 0 {
		c.begin()
	}
	for i := range frame {
		frame[i] = c.made(c.lost + i)
	}
	c.lost = min(c.lost+len(frame), concealed)
}

// made is sample n of what is made up.
func (c *Concealer) made(n int) int16 {
	if n >= concealed || c.pitch == 0 {
		return 0
	}
	s := int(c.cycle[n%c.pitch])
	if n > concealFull {
		s = s * (concealed - n) / (concealed - concealFull)
	}
	return int16(s)
}

// begin finds the pitch and what to repeat. Its end runs into what came before its beginning, so that it closes.
func (c *Concealer) begin() {
	c.pitch = c.period()
	from := len(c.past) - c.pitch
	copy(c.cycle[:], c.past[from:])
	join := c.pitch / 4
	for i := range join {
		at := c.pitch - join + i
		c.cycle[at] = int16((int(c.past[from+at])*(join-i) + int(c.past[from-join+i])*i) / join)
	}
}

// period is the lag in samples at which the newest sound is most like itself.
func (c *Concealer) period() (best int) {
	newest := c.past[len(c.past)-pitchWindow:]
	most := float32(-1)
	for lag := pitchLeast; lag <= pitchMost; lag++ {
		older := c.past[len(c.past)-pitchWindow-lag:]
		var product, energy float32
		for i := 0; i < pitchWindow; i += 2 {
			product += float32(newest[i]) * float32(older[i])
			energy += float32(older[i]) * float32(older[i])
		}
		if product > 0 && product*product/(energy+1) > most {
			most, best = product*product/(energy+1), lag
		}
	}
	if best == 0 { // noise, or silence
		return pitchMost
	}
	return best
}
