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

func TestFlushDropsAll(t *testing.T) {
	p := playout{tones: makeTones()}
	a, b := queued(&p, nil, "55"), queued(&p, audio.Silence(time.Second), "")
	p.next(true)
	p.flush()
	if !isClosed(a) || !isClosed(b) {
		t.Error("somebody still waits")
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
