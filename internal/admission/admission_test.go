package admission

import (
	"log/slog"
	"math"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/clock"
)

// handClock stands still until the test moves it.
type handClock struct {
	clock.Clock
	now time.Time
}

func (c *handClock) Now() time.Time { return c.now }

// shop is a server in virtual time: it sets up calls one after the other, as fast as it can.
type shop struct {
	*Controller
	clock    *handClock
	capacity float64 // calls a second
	level    float64 // of a gauge beside its own

	queue         []time.Time // when each came
	work, due     float64     // fractions of a call
	done, refused int
	longest       time.Duration
}

func newShop(capacity float64) *shop {
	s := &shop{capacity: capacity, clock: &handClock{now: time.Unix(1_800_000_000, 0)}}
	s.Controller = New(s.clock, slog.New(slog.DiscardHandler), Gauge{"test", func(time.Duration) float64 { return s.level }})
	return s
}

// call is one call that comes now.
func (s *shop) call() {
	if s.Admit() {
		s.queue = append(s.queue, s.clock.now)
	} else {
		s.refused++
	}
}

// run lets calls come at a rate for d.
func (s *shop) run(rate float64, d time.Duration) (done, refused int, longest time.Duration) {
	s.done, s.refused, s.longest = 0, 0, 0
	for end := s.clock.now.Add(d); s.clock.now.Before(end); s.clock.now = s.clock.now.Add(time.Millisecond) {
		for s.due += rate / 1000; s.due >= 1; s.due-- {
			s.call()
		}
		for s.work = min(s.work+s.capacity/1000, 1+s.capacity/1000); s.work >= 1 && len(s.queue) > 0; s.work-- {
			took := s.clock.now.Sub(s.queue[0])
			s.queue = s.queue[1:]
			s.longest = max(s.longest, took)
			s.done++
			s.Opened(took)
		}
	}
	return s.done, s.refused, s.longest
}

func TestBelowItsCapacityNobodyIsRefused(t *testing.T) {
	s := newShop(1000)
	for _, rate := range []float64{1, 300, 950} {
		if _, refused, _ := s.run(rate, 10*time.Second); refused > 0 {
			t.Errorf("at %v calls a second %d were refused", rate, refused)
		}
	}
	if !s.Stats().Open {
		t.Error("not open")
	}
}

func TestOverloadIsRefusedAndNoMoreThanThat(t *testing.T) {
	for _, capacity := range []float64{20, 200, 1000} {
		for _, times := range []float64{1.3, 2, 10} {
			s := newShop(capacity)
			s.run(0.8*capacity, 5*time.Second)
			s.run(times*capacity, 8*time.Second) // until what came at first is done
			done, refused, longest := s.run(times*capacity, 20*time.Second)
			if least := int(0.97 * capacity * 20); done < least {
				t.Errorf("%v times %v/s: %d calls done, want %d", times, capacity, done, least)
			}
			if refused == 0 || longest > 4*openingTarget+time.Duration(4/capacity*float64(time.Second)) {
				t.Errorf("%v times %v/s: %d refused, the longest wait %v", times, capacity, refused, longest)
			}
			s.run(capacity/2, 1500*time.Millisecond)
			if _, refused, _ := s.run(capacity/2, 5*time.Second); refused > 0 {
				t.Errorf("%v times %v/s: %d were refused when it was over", times, capacity, refused)
			}
			if s.Stats().Refused["setup"] == 0 || s.Stats().Refused["test"] != 0 {
				t.Errorf("refused by reason: %v", s.Stats().Refused)
			}
		}
	}
}

func TestTheFirstSecondsOfAnOverload(t *testing.T) {
	s := newShop(1000)
	s.run(100, 5*time.Second)
	done, _, longest := s.run(3000, 3*time.Second)
	if done < 2900 || longest > time.Second {
		t.Errorf("%d calls done, the longest wait %v", done, longest)
	}
}

func TestABurstIsNotRefused(t *testing.T) {
	s := newShop(1000)
	for range 100 {
		s.call()
	}
	if s.run(1, time.Second); s.refused > 0 {
		t.Errorf("%d refused", s.refused)
	}
}

func TestAHiccupIsNotRefused(t *testing.T) {
	s := newShop(1000)
	s.run(500, 2*time.Second)
	s.level = 20
	if _, refused, _ := s.run(500, interval-step); refused > 0 {
		t.Errorf("%d refused", refused)
	}
	s.level = 0
	if _, refused, _ := s.run(500, time.Second); refused > 0 {
		t.Errorf("%d refused after it", refused)
	}
	s.level = 20 // and a quiet server refuses nobody even when it is stuck
	if _, refused, _ := s.run(2, 10*time.Second); refused > 0 {
		t.Errorf("%d refused of few", refused)
	}
}

func TestAServerThatIsStuckTriesAFewAndIsBackInASecond(t *testing.T) {
	s := newShop(1000)
	s.run(500, 3*time.Second)
	s.level, s.capacity = 50, 0
	_, refused, _ := s.run(500, 30*time.Second)
	if let := 15_000 - refused; let > int(0.15*500+3*least*500+30*floor+burst) {
		t.Errorf("%d were let in", let)
	}
	if st := s.Stats(); st.Open || st.Refused["test"] == 0 {
		t.Errorf("%+v", st)
	}
	s.level, s.capacity = 0, 1000
	s.run(500, 2*time.Second)
	if _, refused, _ := s.run(500, time.Second); refused > 0 {
		t.Errorf("%d refused two seconds later", refused)
	}
	s.run(500, time.Second)
	if !s.Stats().Open {
		t.Error("not open again")
	}
}

func TestWhatCanWaitIsNotCountedAsRefused(t *testing.T) {
	s := newShop(1000)
	s.level = 10
	room := 0
	for range 1000 {
		s.clock.now = s.clock.now.Add(5 * time.Millisecond)
		if s.Room() {
			room++
		}
	}
	if room == 1000 || s.Stats().Refused["test"] != 0 {
		t.Errorf("room for %d of 1000, %+v", room, s.Stats())
	}
}

// A clock that jumps, or nobody who calls for hours, does no harm.
func TestTimePasses(t *testing.T) {
	s := newShop(1000)
	s.level = 10
	s.run(500, time.Second)
	s.level = 0
	for _, d := range []time.Duration{time.Hour, -time.Hour, 1000 * time.Hour} {
		s.clock.now = s.clock.now.Add(d)
		s.run(500, 5*time.Second)
		if _, refused, _ := s.run(500, time.Second); refused > 0 || !s.Stats().Open {
			t.Errorf("after %v: %d refused", d, refused)
		}
	}
}

func TestGauges(t *testing.T) {
	oldest := writeTarget / 2
	if l := Writes(func() (int, time.Duration) { return 7, oldest }).Read(step); l != 0.5 {
		t.Errorf("writes: %v", l)
	}

	var late, ticks uint64
	audio := Audio(func() (uint64, uint64) { return late, ticks })
	for _, step := range []struct {
		late, ticks uint64
		want        float64
	}{{0, 1000, 0}, {500, 1000, 0.5 / lateTarget}, {0, 1000, 0}, {5, 5, 0}} {
		late, ticks = late+step.late, ticks+step.ticks
		if l := audio.Read(time.Minute); math.Abs(l-step.want) > 1e-9 {
			t.Errorf("%+v: %v", step, l)
		}
	}

	cpu := Processors()
	cpu.Read(time.Minute)
	done := make(chan struct{})
	for range 10_000 {
		go func() { done <- struct{}{} }()
	}
	for range 10_000 {
		<-done
	}
	if l := cpu.Read(time.Minute); l <= 0 || math.IsInf(l, 0) || math.IsNaN(l) {
		t.Errorf("goroutines waited for a processor: %v", l)
	}
}
