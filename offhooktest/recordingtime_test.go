package offhooktest_test

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/audio"
	"github.com/offhook/offhook/offhooktest"
)

// code is noise, of which every frame is found again in a recording: so it says what was sent when, whatever the
// machine was doing meanwhile.
type code []int16

func newCode(seed uint64, d time.Duration) code {
	r := rand.New(rand.NewPCG(seed, seed))
	c := make(code, int(d*audio.SampleRate/time.Second))
	for i := range c {
		c[i] = int16(r.IntN(16000) - 8000)
	}
	return c
}

// is reports whether part is what the code has at a place.
func (c code) is(part []int16, at int) bool {
	if at < 0 || at+len(part) > len(c) {
		return false
	}
	sum := 0.0
	for i, s := range part {
		sum += float64(s) * float64(c[at+i])
	}
	return sum/float64(len(part)) > 0.8*math.Sqrt(audio.Power(part)*audio.Power(c[at:at+len(part)]))
}

// find is where in the code part is; false when it is not.
func (c code) find(part []int16) (at int, ok bool) {
	if audio.Power(part) < 1e6 {
		return 0, false
	}
	best := 0.0
	for i := 0; i+len(part) <= len(c); i++ {
		sum := 0.0
		for j := 0; j < len(part); j += 2 { // half of them will do to find the place
			sum += float64(part[j]) * float64(c[i+j])
		}
		if sum > best {
			best, at = sum, i
		}
	}
	return at, c.is(part, at)
}

// piece is a part of a recording that goes on as the code does.
type piece struct {
	from, to   int // in the recording
	shift, end int // place in the code of the recording's beginning, as its first and its last samples have it
}

// pieces are what a channel has of the code, to 5 ms.
func (c code) pieces(channel []int16) (list []piece) {
	for at := 0; at+audio.FrameSamples <= len(channel); at += audio.FrameSamples / 4 {
		part := channel[at : at+audio.FrameSamples]
		if n := len(list); n > 0 && at <= list[n-1].to && c.is(part, at+list[n-1].shift) {
			list[n-1].to = at + len(part)
		} else if place, ok := c.find(part); ok {
			list = append(list, piece{at, at + len(part), place - at, place - at})
		}
	}
	return list
}

func abs(n int) int { return max(n, -n) }

// What both sides send all along tells how long each part of a recording is, and that nothing of it is missing, to
// ± 20 ms: from the start to a pause, and from there to the end.
func TestARecordingLastsAsLongAsWhatWasSaid(t *testing.T) {
	said, played := newCode(1, 12*time.Second), newCode(2, 13*time.Second)
	for _, behavior := range []string{"silence", "skip"} {
		t.Run(behavior, func(t *testing.T) {
			t.Parallel()
			srv := offhooktest.Start(t)
			app := srv.App(t)
			soundFile(app, "/code.wav", played)
			app.On("/voice", `<Response><Play>/code.wav</Play></Response>`)
			ph := srv.Phone(t, callee)
			c := srv.Call(t, "To", callee, "From", caller, "Url", app.URL("/voice"))
			line := ph.Answers()
			over := make(chan struct{})
			go func() {
				defer close(over)
				ctx, cancel := context.WithTimeout(t.Context(), offhooktest.Patience)
				defer cancel()
				_ = line.Play(ctx, append(make([]int16, audio.SampleRate), said...)) // until the end of the call
			}()
			line.HearsSound(1500 * time.Millisecond) // the phone says nothing for a second
			sid := taped(t, srv, 201, c.SID, "", "RecordingChannels", "dual", "RecordingStatusCallback", app.URL("/rec"))["sid"].(string)
			line.HearsSound(1500 * time.Millisecond)
			taped(t, srv, 200, c.SID, "/Twilio.CURRENT", "Status", "paused", "PauseBehavior", behavior)
			line.HearsSound(time.Second)
			taped(t, srv, 200, c.SID, "/Twilio.CURRENT", "Status", "in-progress")
			line.HearsSound(1500 * time.Millisecond)
			taped(t, srv, 200, c.SID, "/Twilio.CURRENT", "Status", "stopped")
			_, s := kept(t, srv, app, "RecordingSid", sid)
			line.Hangup()
			<-over

			near20 := func(what string, samples int) {
				t.Helper()
				if d := span(abs(samples)); d > exact {
					t.Errorf("%s: %v off", what, d)
				}
			}
			var paused [2]int
			for i, of := range []code{said, played} {
				p := of.pieces(s[i])
				t.Logf("channel %d of %v: %v", i, s.length(), p)
				if p = join(p, behavior); len(p) != 2 {
					t.Fatalf("channel %d has %d parts, want 2: %v", i, len(p), p)
				}
				near20("the beginning", p[0].from)
				near20("the end", len(s[i])-p[1].to)
				if behavior == "silence" {
					paused[i] = p[1].from - p[0].to
					near20("what follows the pause", p[1].shift-p[0].end)
				} else {
					paused[i] = p[1].shift - p[0].shift
					near20("where both parts meet", p[1].from-p[0].to)
				}
			}
			near20("the pause of one channel and of the other", paused[0]-paused[1])
			near(t, "the pause", span(paused[0]), time.Second, time.Second+punctual)
		})
	}
}

// join makes one piece of those that are apart by a packet that was lost, or by the correction of a clock.
func join(list []piece, behavior string) (joined []piece) {
	const little = audio.SampleRate / 4
	for _, p := range list {
		n := len(joined)
		together := n > 0 && abs(p.shift-joined[n-1].end) < little && (behavior == "skip" || p.from-joined[n-1].to < little)
		if together {
			joined[n-1].to, joined[n-1].end = p.to, p.end
		} else {
			joined = append(joined, p)
		}
	}
	return joined
}
