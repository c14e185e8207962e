package media

import (
	"testing"
	"time"
)

func TestReceptionCounts(t *testing.T) {
	run := func(from, n int) (s []uint16) {
		for i := range n {
			s = append(s, uint16(from+i))
		}
		return s
	}
	for _, tt := range []struct {
		name     string
		seqs     []uint16
		lost     int32
		extended uint32
	}{
		{"in order", run(10, 100), 0, 109},
		{"wraps", run(65530, 20), 0, 65549},
		{"three lost", append(run(0, 10), run(13, 10)...), 3, 22},
		{"reordered", []uint16{1, 2, 4, 3, 5}, 0, 5},
		{"reordered over the wrap", []uint16{65534, 0, 65535, 1}, 0, 65537},
		{"repeated", []uint16{1, 2, 2, 3}, -1, 3},
		{"one wild packet", []uint16{1, 2, 40000, 3, 4}, 0, 4},
		{"restarted", append(run(1, 5), run(40000, 5)...), 0, 40004},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var r reception
			for _, s := range tt.seqs {
				r.packet(s)
			}
			if tt.name == "restarted" {
				tt.lost = 0 // counted anew from the second packet of the new run
			}
			if r.lost() != tt.lost || r.extended() != tt.extended {
				t.Errorf("lost %d, extended %d; want %d, %d", r.lost(), r.extended(), tt.lost, tt.extended)
			}
		})
	}
}

func TestReceptionFractionIsOfTheInterval(t *testing.T) {
	var r reception
	for s := range uint16(100) {
		if s%4 != 3 { // a quarter is lost
			r.packet(s)
		}
	}
	r.packet(100)
	if got := r.fraction(); got != 25*256/101 {
		t.Errorf("fraction %d/256", got)
	}
	for s := uint16(101); s < 200; s++ {
		r.packet(s)
	}
	if got := r.fraction(); got != 0 {
		t.Errorf("fraction %d/256 of a clean interval", got)
	}
}

func TestJitterSettlesAtTheMeanDeviation(t *testing.T) {
	var r reception
	for i := range int64(2000) {
		late := time.Duration(i%2) * 4 * time.Millisecond // every other packet 4 ms late
		r.packet(uint16(i))
		r.time(int64(time.Duration(i)*20*time.Millisecond+late), uint32(1<<32-10000+i*160)) // wraps on the way
	}
	if got := units(r.jitterUnits()); got < 3800*time.Microsecond || got > 4200*time.Microsecond {
		t.Errorf("jitter %v, want 4 ms", got)
	}
}
