package media

import (
	"strings"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/audio"
)

func isClosed(done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}

func queued(p *playout, clip *audio.Clip, keys string) chan struct{} {
	done := make(chan struct{})
	p.add(item{clip: clip, keys: keys, done: done})
	return done
}

func TestPlayoutPlaysInOrder(t *testing.T) {
	p := playout{tones: makeTones()}
	a := queued(&p, audio.NewClip(append(numbered(1), numbered(2)...)), "")
	empty := queued(&p, audio.NewClip(nil), "")
	nothing := queued(&p, nil, "")
	b := queued(&p, audio.NewClip(numbered(3)), "")
	if f := p.next(true); f.ulaw[0] != 1 || isClosed(a) {
		t.Error("first frame")
	}
	if f := p.next(true); f.ulaw[0] != 2 || !isClosed(a) || isClosed(b) {
		t.Error("second frame: the first clip's last")
	}
	if f := p.next(true); f.ulaw[0] != 3 || !isClosed(b) || !isClosed(empty) || !isClosed(nothing) {
		t.Error("third frame")
	}
	if f := p.next(true); f.ulaw != nil || f.isEvent {
		t.Error("silence after the last clip")
	}
}

// A key that is cut off is let go of: three end packets of its own event, which had begun, and then silence.
func TestFlushEndsTheKeyBeingSent(t *testing.T) {
	for frames, ends := range map[int]int{1: 3, toneFrames - 1: 3, toneFrames: 2, toneFrames + 1: 1, toneFrames + 2: 0} {
		p := playout{tones: makeTones()}
		queued(&p, nil, "55")
		for range frames {
			p.next(true)
		}
		p.flush()
		next := queued(&p, audio.NewClip(numbered(1)), "")
		for range ends {
			f := p.next(true)
			if !f.isEvent || f.first || !f.event.end || f.event.event != 5 || f.event.duration != uint16(160*min(frames, toneFrames)) {
				t.Errorf("flushed after %d frames: %+v, want the end of key 5", frames, f)
			}
		}
		if f := p.next(true); f.isEvent || f.ulaw == nil || !isClosed(next) {
			t.Errorf("flushed after %d frames: %+v behind the end, want the clip", frames, f)
		}
	}
	p := playout{tones: makeTones()}
	queued(&p, nil, "w5")
	p.next(true)
	p.flush()
	if f := p.next(true); f.isEvent {
		t.Error("a pause has no end")
	}
}

func TestFlushDropsAll(t *testing.T) {
	p := playout{tones: makeTones()}
	a, b := queued(&p, nil, "55"), queued(&p, audio.Silence(time.Second), "")
	p.next(true)
	p.flush()
	if !isClosed(a) || !isClosed(b) {
		t.Error("somebody still waits")
	}
	for range endPackets {
		p.next(true)
	}
	if f := p.next(true); f.isEvent || f.ulaw != nil {
		t.Error("not silent")
	}
	queued(&p, nil, "6")
	if f := p.next(true); !f.first || f.event.event != 6 {
		t.Errorf("the next key does not start afresh: %+v", f)
	}
}

func TestKeysAsEvents(t *testing.T) {
	p := playout{tones: makeTones()}
	done := queued(&p, nil, "1w#")
	var got strings.Builder
	for !isClosed(done) {
		switch f := p.next(true); {
		case f.isEvent && f.first:
			got.WriteByte('[')
			got.WriteByte(eventKeys[f.event.event])
		case f.isEvent && f.event.end:
			if f.event.duration != 960 {
				t.Errorf("duration %d at the end", f.event.duration)
			}
			got.WriteByte('e')
		case f.isEvent:
			got.WriteByte('+')
		default:
			got.WriteByte('.')
		}
	}
	// 120 ms down, the end three times, 80 ms from the end to what follows.
	want := "[1++++eee.." + strings.Repeat(".", 25) + "[#++++eee.."
	if got.String() != want {
		t.Errorf("sent %s\nwant %s", got.String(), want)
	}
}

func TestKeysAsTones(t *testing.T) {
	p := playout{tones: makeTones()}
	done := queued(&p, nil, "0D")
	var ulaw []byte
	for !isClosed(done) {
		ulaw = append(ulaw, p.next(false).ulaw...)
	}
	var d audio.DTMFDetector
	if got := string(d.Write(audio.DecodeULaw(ulaw))); got != "0D" {
		t.Errorf("heard %q", got)
	}
	if d := time.Duration(len(ulaw)) * time.Second / audio.SampleRate; d != 400*time.Millisecond {
		t.Errorf("two keys last %v", d)
	}
}

func TestPlayableKeys(t *testing.T) {
	for in, want := range map[string]string{
		"12w3W#*": "12w3W#*", "abcd": "ABCD", "1-800 é٣": "1800", "": "", strings.Repeat("1", 1000): strings.Repeat("1", maxDigits),
	} {
		if got := playableKeys(in); got != want {
			t.Errorf("%q became %q", in, got)
		}
	}
}

func TestPlayoutQueueIsBounded(t *testing.T) {
	var p playout
	for range maxQueued {
		if !p.add(item{}) {
			t.Fatal("refused too early")
		}
	}
	if p.add(item{}) {
		t.Error("taken beyond the bound")
	}
}
