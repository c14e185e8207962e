package store_test

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/clock"
	"github.com/offhook/offhook/internal/store"
)

// callers is how many goroutines of a benchmark wait for commits at once, as an API with that many
// connections does.
const callers = 16

func benchmark(b *testing.B, run func(b *testing.B, s *store.Store, at time.Time)) {
	for _, k := range []backend{onSQLite, onPostgres} {
		b.Run(k.name, func(b *testing.B) {
			s := open(b, k.address(b))
			var n atomic.Int64
			var mu sync.Mutex
			var took []time.Duration
			b.SetParallelism((callers + runtime.GOMAXPROCS(0) - 1) / runtime.GOMAXPROCS(0))
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				var mine []time.Duration
				for pb.Next() {
					began := time.Now()
					run(b, s, morning.Add(time.Duration(n.Add(1))*time.Millisecond))
					mine = append(mine, time.Since(began))
				}
				mu.Lock()
				defer mu.Unlock()
				took = append(took, mine...)
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
		})
	}
}

// createFull is a create as the API makes it: the call, its two events and a callback.
func createFull(b *testing.B, s *store.Store, at time.Time) (*call.Call, call.Change) {
	c := newCall(at)
	ch := changeOf(c, 0, "created", "https://app.example/status")
	ch.Events = append(ch.Events, changeOf(c, 1, "queued", "").Events...)
	if err := s.CreateCall(b.Context(), c, ch); err != nil {
		b.Error(err)
	}
	return c, ch
}

func BenchmarkCreate(b *testing.B) {
	benchmark(b, func(b *testing.B, s *store.Store, at time.Time) { createFull(b, s, at) })
}

// BenchmarkLife is a whole call: create, dialled, answered, ended, each with its event and callback, and
// the delivery of all four callbacks: eight commits one after the other.
func BenchmarkLife(b *testing.B) {
	benchmark(b, func(b *testing.B, s *store.Store, at time.Time) {
		c, ch := createFull(b, s, at)
		callbacks := ch.Callbacks
		save := func(seq int, status call.Status, event string) {
			from := c.Status
			c.Status, c.DateUpdated, c.EventSeq, c.CallbackSeq = status, at, seq+1, seq
			ch := changeOf(c, seq, event, "https://app.example/status")
			callbacks = append(callbacks, ch.Callbacks...)
			if err := s.SaveCall(b.Context(), c, from, ch); err != nil {
				b.Error(err)
			}
		}
		c.DialedAt = at
		c.Dialog = &call.Dialog{CallID: c.SID + "@example", LocalTag: "a", LocalURI: "sip:a@b", RemoteURI: "sip:c@d", Transport: "UDP"}
		save(2, call.Ringing, "ringing")
		c.AnsweredAt = at
		save(3, call.InProgress, "answered")
		c.EndedAt = at
		save(4, call.Completed, "completed")
		for _, cb := range callbacks {
			if err := s.Delivered(b.Context(), cb.ID); err != nil {
				b.Error(err)
			}
		}
	})
}

// BenchmarkPaced is 600 calls a second, each created, answered and ended, and reports the CPU time of one
// beside how long a create took.
func BenchmarkPaced(b *testing.B) {
	s := open(b, onSQLite.address(b))
	var calls sync.WaitGroup
	var creating atomic.Int64
	before, began := cpuTime(b), time.Now()
	for i := range b.N {
		_ = clock.Sleep(b.Context(), clock.System, time.Until(began.Add(time.Duration(i)*time.Second/600)))
		calls.Go(func() {
			at := time.Now()
			c, _ := createFull(b, s, at)
			creating.Add(int64(time.Since(at)))
			save := func(seq int, status call.Status, event string) {
				from := c.Status
				c.Status, c.DateUpdated, c.EventSeq, c.CallbackSeq = status, at, seq+1, seq
				if err := s.SaveCall(b.Context(), c, from, changeOf(c, seq, event, "")); err != nil {
					b.Error(err)
				}
			}
			c.DialedAt, c.AnsweredAt = at, at
			_ = clock.Sleep(b.Context(), clock.System, 5*time.Millisecond)
			save(2, call.InProgress, "answered")
			_ = clock.Sleep(b.Context(), clock.System, 20*time.Millisecond)
			c.EndedAt = at
			save(3, call.Completed, "completed")
		})
	}
	calls.Wait()
	b.ReportMetric(float64((cpuTime(b)-before).Microseconds())/float64(b.N), "cpu-us/call")
	b.ReportMetric(float64(creating.Load())/1e6/float64(b.N), "create-ms")
}

func BenchmarkGet(b *testing.B) {
	var sids sync.Map // by store: one call each
	benchmark(b, func(b *testing.B, s *store.Store, at time.Time) {
		sid, ok := sids.Load(s)
		if !ok {
			c, _ := createFull(b, s, at)
			sid, _ = sids.LoadOrStore(s, c.SID)
		}
		if _, err := s.Call(b.Context(), account, sid.(string)); err != nil {
			b.Error(err)
		}
	})
}

// BenchmarkDue reads an outbox with one pending callback among 100,000 delivered ones.
func BenchmarkDue(b *testing.B) {
	for _, k := range []backend{onSQLite, onPostgres} {
		b.Run(k.name, func(b *testing.B) {
			s := open(b, k.address(b))
			var wg sync.WaitGroup
			for range callers {
				wg.Go(func() {
					for range 100_000 / callers / 25 {
						c := newCall(morning)
						var ch call.Change
						for i := range 25 {
							ch.Callbacks = append(ch.Callbacks, changeOf(c, i, "x", "https://app.example/status").Callbacks...)
						}
						must(b, s.CreateCall(b.Context(), c, ch))
						for _, cb := range ch.Callbacks {
							must(b, s.Delivered(b.Context(), cb.ID))
						}
					}
				})
			}
			wg.Wait()
			createFull(b, s, morning)
			for b.Loop() {
				if list, err := s.Due(b.Context(), morning, 1000); err != nil || len(list) != 1 {
					b.Fatal(list, err)
				}
			}
		})
	}
}
