package media

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/offhook/offhook/internal/audio"
)

// numbered is frame i of a test stream: every sample is i.
func numbered(i int) []byte {
	b := make([]byte, audio.FrameSamples)
	for j := range b {
		b[j] = byte(i)
	}
	return b
}

// path brings frames to a jitterBuffer: frame n is sent at n*160 and stamped so, and comes when delay says, in
// samples; a negative delay loses it.
type path struct {
	delay   func(n int) int
	content func(n int) []byte // loud frames when nil
	buffer  jitterBuffer
	waiting []delivery
	sent    int
}

type delivery struct {
	at int64
	n  int
}

const firstStamp = 1<<32 - 3000 // wraps

// play reads frames in turn, and returns what each was and its first sample.
func (p *path) play(frames int) (kinds []sound, got []byte) {
	for range frames {
		kind, sample := p.read(int64(len(kinds)) * jitterFrame)
		kinds, got = append(kinds, kind), append(got, sample)
	}
	return kinds, got
}

func (p *path) read(now int64) (sound, byte) {
	for ; int64(p.sent)*jitterFrame <= now; p.sent++ {
		if d := p.delay(p.sent); d >= 0 {
			p.waiting = append(p.waiting, delivery{int64(p.sent*jitterFrame + d), p.sent})
		}
	}
	slices.SortStableFunc(p.waiting, func(a, b delivery) int { return cmp.Compare(a.at, b.at) })
	for len(p.waiting) > 0 && p.waiting[0].at <= now {
		d := p.waiting[0]
		p.waiting = p.waiting[1:]
		content := numbered(d.n % 100)
		if p.content != nil {
			content = p.content(d.n)
		}
		p.buffer.put(d.at, uint32(firstStamp+d.n*jitterFrame), content)
	}
	var frame [jitterFrame]byte
	kind, _ := p.buffer.read(now, &frame)
	return kind, frame[0]
}

// order fails when what was heard is not in the order in which it was sent.
func order(t *testing.T, kinds []sound, got []byte) (n int) {
	t.Helper()
	last := -1
	for i, k := range kinds {
		if k == heard {
			if step := (int(got[i]) - last + 100) % 100; last >= 0 && step == 0 || step > 50 {
				t.Fatalf("frame %d after %d", got[i], last)
			}
			last = int(got[i])
			n++
		}
	}
	return n
}

func TestJitterBufferPutsPacketsInOrder(t *testing.T) {
	for _, jitter := range []int{0, 80, 240, 400, 480} {
		r := rand.New(rand.NewPCG(1, uint64(jitter)))
		p := &path{delay: func(int) int { return 333 + r.IntN(jitter+1) }}
		kinds, got := p.play(3000)
		n := order(t, kinds, got)
		if missed := 3000 - n; missed > 30 {
			t.Errorf("jitter of %d samples: %d of 3000 frames are missing, %+v", jitter, missed, p.buffer.stats)
		}
		delay := int32(uint32(2999*jitterFrame)-(p.buffer.next-jitterFrame)) - p.buffer.now.low
		if least := max(jitterLeast, int32(jitter)); delay > least+2*jitterFrame || p.buffer.stats.late > uint64(10*jitterFrame) {
			t.Errorf("jitter of %d samples: it plays %d behind, %+v", jitter, delay, p.buffer.stats)
		}
	}
}

func TestJitterBufferMissesOnlyWhatIsLost(t *testing.T) {
	lost := 0
	p := &path{delay: func(n int) int {
		if n > 0 && (n%33 == 7 || n%200 == 8) {
			lost++
			return -1
		}
		return 100
	}}
	kinds, got := p.play(2000)
	missed := len(kinds) - order(t, kinds, got)
	// When it knows that the path is calm it plays a frame sooner, and takes one that is not there anyway.
	if beginning := slices.Index(kinds, heard); missed != lost-1+beginning || beginning > 4 {
		t.Errorf("%d frames are missing after the first %d, %d were lost", missed-beginning, beginning, lost)
	}
}

func TestJitterBufferShrinksWhereItIsQuiet(t *testing.T) {
	late := func(n int) int { // rough for ten seconds, then calm
		if n < 500 {
			return n % 7 * 80
		}
		return 0
	}
	for name, tt := range map[string]struct {
		content func(n int) []byte
		dropped bool
	}{
		"speech":           {func(n int) []byte { return numbered(n % 90) }, false},
		"speech and pause": {func(n int) []byte { return numbered(map[bool]int{true: 0xfe, false: n % 90}[n%50 > 40]) }, true},
	} {
		p := &path{delay: late, content: tt.content}
		p.play(1500)
		if dropped := p.buffer.stats.dropped >= 2*jitterFrame; dropped != tt.dropped {
			t.Errorf("%s: %+v", name, p.buffer.stats)
		}
	}
}

func TestJitterBufferFollowsThePath(t *testing.T) {
	for name, delay := range map[string]func(n int) int{
		"slower":       func(n int) int { return n / 500 * 2000 },
		"faster":       func(n int) int { return 6000 - n/500*2000 },
		"a stall":      func(n int) int { return max(0, 30-n%500) * 160 },
		"a fast clock": func(n int) int { return 1500 - n },
		"a slow clock": func(n int) int { return n },
		"a pause":      func(n int) int { return map[bool]int{true: -1, false: 0}[n%500 > 400] },
	} {
		t.Run(name, func(t *testing.T) {
			p := &path{delay: delay}
			kinds, _ := p.play(1500)
			n := 0
			for _, k := range kinds {
				if k == heard {
					n++
				}
			}
			if n < 1150 {
				t.Errorf("%d of 1500 frames are heard, %+v", n, p.buffer.stats)
			}
		})
	}
}

func TestJitterBufferTellsSilenceFromLoss(t *testing.T) {
	var b jitterBuffer
	var frame [jitterFrame]byte
	kinds := map[sound]int{}
	for n := range int64(200) {
		ts := uint32(n * jitterFrame)
		switch {
		case n < 50 || n >= 150:
			b.put(n*jitterFrame, ts, numbered(1))
		case n%10 == 0:
			b.silent(n*jitterFrame, ts)
		}
		if k, _ := b.read(n*jitterFrame, &frame); n >= 3 {
			kinds[k]++
		}
	}
	if kinds[quiet] != 100 || kinds[missing] != 0 || b.stats.lost != 0 {
		t.Errorf("%d frames are quiet and %d missing, want 100 and 0; %+v", kinds[quiet], kinds[missing], b.stats)
	}
}

func FuzzJitterBuffer(f *testing.F) {
	f.Add(uint64(1), uint32(160), 160)
	f.Fuzz(func(t *testing.T, seed uint64, step uint32, size int) {
		r := rand.New(rand.NewPCG(seed, 0))
		b, packet := new(jitterBuffer), make([]byte, uint(size)%20000)
		var frame [jitterFrame]byte
		ts, at := r.Uint32(), int64(0)
		for range 200 {
			ts += step * r.Uint32N(4)
			at += int64(r.IntN(400))
			if r.IntN(8) == 0 {
				b.silent(at, ts-r.Uint32N(1000))
			} else {
				b.put(at, ts-r.Uint32N(1000), packet)
			}
			if r.IntN(3) > 0 {
				b.read(at, &frame)
			}
			if ahead := int32(b.end - b.next); b.begun && ahead > jitterRing {
				t.Fatalf("%d samples wait", ahead)
			}
		}
	})
}
