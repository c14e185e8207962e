package server

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/offhook/offhook/internal/clock"
)

func TestMemoryIsGivenBackOnceWhenTheLastCallIsLongOver(t *testing.T) {
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
		after(5*time.Minute, 0) // no call yet
		live, taken = 1, 1
		after(5*time.Minute, 0) // a long call
		live = 0
		after(30*time.Second, 0)
		taken = 2 // a call that came and went between two looks
		after(30*time.Second, 0)
		after(10*time.Second, 1)
		after(5*time.Minute, 1)
		close(done)
	})
}
