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

	commit  time.Duration // not zero: calls are not set up one by one, but as many as wait, up to a batch, in that time
	batch   int
	crowded float64 // how many calls that wait make each a third more work, and twice as many as much as it gets; a gauge is at 1 then

	queue         []time.Time // when each came
	inHand        []time.Time // what is being committed
	committed     time.Time   // and when that is done
	work, due     float64     // fractions of a call
	done, refused int
	longest       time.Duration
}

func newShop(capacity float64) *shop {
	s := &shop{capacity: capacity, clock: &handClock{now: time.Unix(1_800_000_000, 0)}}
	s.Controller = New(s.clock, slog.New(slog.DiscardHandler),
		Gauge{Name: "test", Read: func(time.Duration) float64 { return s.level }},
		Gauge{Name: "crowd", Aim: queueAim, Read: func(time.Duration) float64 {
			if s.crowded == 0 {
				return 0
			}
			return float64(len(s.queue)) / s.crowded
		}})
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

// opened is a call that is set up.
func (s *shop) opened(came time.Time) {
	took := s.clock.now.Sub(came)
	s.longest = max(s.longest, took)
	s.done++
	s.Opened(took)
}

// serve is a millisecond of work.
func (s *shop) serve() {
	if s.commit > 0 {
		if s.clock.now.Before(s.committed) {
			return
		}
		for _, came := range s.inHand {
			s.opened(came)
		}
		n := min(len(s.queue), s.batch)
		s.inHand, s.queue = s.queue[:n], s.queue[n:]
		s.committed = s.clock.now.Add(s.commit)
		return
	}
	work := s.capacity / 1000
	if s.crowded > 0 {
		level := min(float64(len(s.queue))/s.crowded, 2)
		work /= 1 + level*level/3
	}
	for s.work = min(s.work+work, 1+work); s.work >= 1 && len(s.queue) > 0; s.work-- {
		came := s.queue[0]
		s.queue = s.queue[1:]
		s.opened(came)
	}
}

// run lets calls come at a rate for d.
func (s *shop) run(rate float64, d time.Duration) (done, refused int, longest time.Duration) {
	s.done, s.refused, s.longest = 0, 0, 0
	for end := s.clock.now.Add(d); s.clock.now.Before(end); s.clock.now = s.clock.now.Add(time.Millisecond) {
		for s.due += rate / 1000; s.due >= 1; s.due-- {
			s.call()
		}
		s.serve()
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
		for _, times := range []float64{1.3, 2, 5, 20} {
			s := newShop(capacity)
			s.run(0.8*capacity, 5*time.Second)
			s.run(times*capacity, 30*time.Second) // until what came at first is done
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

// A store that commits slowly commits many at once: the calls that wait for it are no sign that it is at its end.
func TestASlowStoreIsUsedAsFarAsItGoes(t *testing.T) {
	const batch = 64
	for _, commit := range []time.Duration{20 * time.Millisecond, 50 * time.Millisecond} {
		for _, times := range []float64{2, 5, 20} {
			s := newShop(0)
			s.commit, s.batch = commit, batch
			capacity := batch / commit.Seconds()
			s.run(times*capacity, 5*time.Second)
			done, refused, longest := s.run(times*capacity, 20*time.Second)
			if least := int(0.9 * capacity * 20); done < least || refused == 0 {
				t.Errorf("%v a commit, %v times %v/s: %d calls done, want %d; %d refused", commit, times, capacity, done, least, refused)
			}
			if longest > time.Second/2 {
				t.Errorf("%v a commit, %v times %v/s: the longest wait %v", commit, times, capacity, longest)
			}
		}
	}
}

// One that is slower than calls may wait for is tried with a few of them at once, and used again when it can.
func TestAStoreThatIsTooSlowIsTried(t *testing.T) {
	const batch = 64
	s := newShop(0)
	s.commit, s.batch = 300*time.Millisecond, batch
	s.run(1000, 5*time.Second)
	done, _, longest := s.run(1000, 20*time.Second)
	if done < int(19*least/(2*s.commit).Seconds()) || longest > 3*s.commit {
		t.Errorf("%d calls done, the longest wait %v", done, longest)
	}
	s.commit = 10 * time.Millisecond
	s.run(1000, 3*time.Second)
	if done, _, _ := s.run(1000, 10*time.Second); done < 9900 {
		t.Errorf("%d of 10000 calls done when it was fast again", done)
	}
}

// What waits makes work for all: a server that lets it would be slower, let in less and so become slower still.
func TestACrowdThatCostsIsKeptSmall(t *testing.T) {
	const capacity = 1500
	for _, times := range []float64{2, 5, 20} {
		s := newShop(capacity)
		s.crowded = 100
		s.run(times*capacity, 5*time.Second)
		done, _, longest := s.run(times*capacity, 20*time.Second)
		if done < 0.9*capacity*20 || longest > time.Second {
			t.Errorf("%v times: %d calls done, the longest wait %v", times, done, longest)
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

// What comes before a gauge can tell is bounded, too.
func TestAFloodAtOnce(t *testing.T) {
	s := newShop(1000)
	for range 10_000 {
		s.call()
	}
	if s.refused != 10_000-most || s.Stats().Refused["setup"] != 10_000-most {
		t.Errorf("%d refused", s.refused)
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

// Nor one that keeps a slow machine busy for a while.
func TestABurstAtASlowServerIsNotRefused(t *testing.T) {
	s := newShop(100)
	s.level = 5
	if _, refused, _ := s.run(200, time.Second/2); refused > 0 {
		t.Errorf("%d refused of 100", refused)
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
	if let := 15_000 - refused; let > int(0.15*500+burst+31*least) {
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
	room, placed := 0, 0
	for n := range 1000 {
		s.clock.now = s.clock.now.Add(5 * time.Millisecond)
		if !s.Room() {
			continue
		}
		if room++; n > 500 { // from then on it ends
			placed++
			s.Placed(0)
		}
	}
	if room == 1000 || placed < 250 || s.Stats().Refused["test"] != 0 {
		t.Errorf("room for %d of 1000, %d placed, %+v", room, placed, s.Stats())
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
