package server

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/offhook/offhook/internal/clock"
)

func TestMemoryIsGivenBackAfterTheStartAfterACrowdAndWhenTheLastCallIsLongOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var live, freed atomic.Int64
		var taken atomic.Uint64
		done := make(chan struct{})
		go giveBackMemory(clock.System, func() int { return int(live.Load()) }, taken.Load, func() { freed.Add(1) }, done)
		after := func(d time.Duration, want int64) {
			t.Helper()
			<-clock.System.NewTimer(d).C()
			synctest.Wait()
			if n := freed.Load(); n != want {
				t.Fatalf("memory given back %d times, want %d", n, want)
			}
		}
		after(5*time.Minute, 1) // after the start; no call yet
		live.Store(1)
		taken.Store(1)
		after(5*time.Minute, 1) // a long call
		live.Store(0)
		after(30*time.Second, 1)
		taken.Store(2) // a call that came and went between two looks
		after(30*time.Second, 1)
		after(10*time.Second, 2)
		after(5*time.Minute, 2)
		live.Store(crowd)
		taken.Add(crowd)
		after(5*time.Minute, 3) // a crowd that came and talks
		live.Store(crowd + 5)
		taken.Add(5)
		after(5*time.Minute, 3)
		live.Store(0)
		after(5*time.Minute, 4)
		close(done)
	})
}
