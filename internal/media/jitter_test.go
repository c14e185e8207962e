package media

import (
	"math/rand/v2"
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

// hear reads n frames and returns the first sample of each.
func hear(b *JitterBuffer, n int) (got []byte) {
	f := make([]byte, audio.FrameSamples)
	for range n {
		b.Read(f)
		got = append(got, f[0])
	}
	return got
}

func TestJitterBufferPutsPacketsInOrder(t *testing.T) {
	const base = 1<<32 - 320 // wraps
	b := new(JitterBuffer)
	for _, i := range []int{1, 3, 2, 4} {
		b.Put(uint32(base+i*160), numbered(i))
	}
	if got := hear(b, 8); string(got) != "\xff\xff\xff\x01\x02\x03\x04\xff" {
		t.Errorf("heard %x", got)
	}
	if s := b.Stats(); s.Lost != 0 || s.Played != 640 || s.Late != 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestJitterBufferCountsLoss(t *testing.T) {
	b := new(JitterBuffer)
	for _, i := range []int{1, 2, 4, 5} {
		b.Put(uint32(i*160), numbered(i))
	}
	if got := hear(b, 8); string(got) != "\xff\xff\xff\x01\x02\xff\x04\x05" {
		t.Errorf("heard %x", got)
	}
	b.Put(3*160, numbered(3)) // too late, and nothing waits: it is played after a new delay
	if s := b.Stats(); s.Lost != 160 || s.Late != 160 {
		t.Errorf("stats %+v", s)
	}
}

func TestJitterBufferFollowsAFastSender(t *testing.T) {
	b := new(JitterBuffer)
	f := make([]byte, audio.FrameSamples)
	for i := range 1000 { // he sends 11 frames while we read 10
		b.Put(uint32(i*160), numbered(i))
		if i%11 != 0 {
			b.Read(f)
		}
	}
	if depth := int32(b.end - b.next); depth > jitterTarget+jitterSlack {
		t.Errorf("%d samples wait", depth)
	}
	if b.Stats().Dropped == 0 {
		t.Error("nothing was skipped")
	}
}

func TestJitterBufferTakesAJumpOfTimestamps(t *testing.T) {
	b := new(JitterBuffer)
	b.Put(0, numbered(1))
	hear(b, 4)
	b.Put(1<<31, numbered(2))
	if got := hear(b, 4); got[3] != 2 {
		t.Errorf("heard %x", got)
	}
}

func FuzzJitterBuffer(f *testing.F) {
	f.Add(uint64(1), uint32(160), 160)
	f.Fuzz(func(t *testing.T, seed uint64, step uint32, size int) {
		r := rand.New(rand.NewPCG(seed, 0))
		b, frame := new(JitterBuffer), make([]byte, audio.FrameSamples)
		packet := make([]byte, uint(size)%20000)
		ts := r.Uint32()
		for range 200 {
			ts += step * r.Uint32N(4)
			b.Put(ts-r.Uint32N(1000), packet)
			if r.IntN(3) > 0 {
				b.Read(frame)
			}
			if depth := int32(b.end - b.next); b.started && depth > jitterRing {
				t.Fatalf("%d samples wait", depth)
			}
		}
	})
}
