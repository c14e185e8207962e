package recording

import (
	"fmt"
	"testing"
	"time"
)

// BenchmarkFrame is what a frame of 20 ms costs: what the caller waits for (ns/op), and all the process does for it.
func BenchmarkFrame(b *testing.B) {
	frame := tone(20*time.Millisecond, 440)
	for _, c := range []struct{ channels, tracks int }{{1, 1}, {1, 2}, {2, 2}} {
		b.Run(fmt.Sprintf("channels=%d/tracks=%d", c.channels, c.tracks), func(b *testing.B) {
			r, err := New(Config{Dir: b.TempDir(), Queue: 1 << 20})
			if err != nil {
				b.Fatal(err)
			}
			defer r.Close()
			const running = 100 // at once
			var ws [running]*Writer
			for i := range ws {
				if ws[i], err = r.Start(Spec{SID: fmt.Sprintf("RE%03d", i), Channels: c.channels, Tracks: c.tracks}); err != nil {
					b.Fatal(err)
				}
			}
			before := cpuTime(b)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				at := int64(i / running * len(frame))
				for track := range c.tracks {
					ws[i%running].Write(track, at, frame)
				}
				i++
			}
			b.StopTimer()
			for _, w := range ws {
				if res := w.Stop(b.Context()); res.Err != nil || res.Lost > 0 {
					b.Fatal(res)
				}
			}
			b.ReportMetric(float64(cpuTime(b)-before)/float64(i), "cpu-ns/op")
		})
	}
}
