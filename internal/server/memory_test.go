package server

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/offhook/offhook/internal/clock"
)

func TestMemoryIsGivenBackAfterTheStartAfterACrowdAndWhenTheLastCallIsLongOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		live, taken, freed := 0, uint64(0), 0
		done := make(chan struct{})
		go giveBackMemory(clock.System, func() int { return live }, func() uint64 { return taken }, func() { freed++ }, done)
		after := func(d time.Duration, want int) {
			t.Helper()
			<-clock.System.NewTimer(d).C()
			synctest.Wait()
			if freed != want {
				t.Fatalf("memory given back %d times, want %d", freed, want)
			}
		}
		after(5*time.Minute, 1) // after the start; no call yet
		live, taken = 1, 1
		after(5*time.Minute, 1) // a long call
		live = 0
		after(30*time.Second, 1)
		taken = 2 // a call that came and went between two looks
		after(30*time.Second, 1)
		after(10*time.Second, 2)
		after(5*time.Minute, 2)
		live, taken = crowd, taken+crowd
		after(5*time.Minute, 3) // a crowd that came and talks
		live, taken = crowd+5, taken+5
		after(5*time.Minute, 3)
		live = 0
		after(5*time.Minute, 4)
		close(done)
	})
}
