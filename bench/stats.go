//go:build linux

package main

import (
	"slices"
	"time"
)

// quantile is the value below which the share q of the sorted samples lies; 0 of none.
func quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[int(float64(len(sorted)-1)*q)]
}

// millis are durations in milliseconds.
type millis []float64

func (m *millis) add(d time.Duration) { *m = append(*m, float64(d)/float64(time.Millisecond)) }

// at sorts m and returns its quantiles.
func (m millis) at(q ...float64) []float64 {
	slices.Sort(m)
	v := make([]float64, len(q))
	for i := range q {
		v[i] = quantile(m, q[i])
	}
	return v
}

// Gaps between packets are counted in steps of 0.1 ms up to 200 ms; the last bucket holds what is longer.
const (
	gapStep    = 100 * time.Microsecond
	gapBuckets = 2001
)

// histogram counts gaps.
type histogram [gapBuckets]uint32

func (h *histogram) add(gap time.Duration) {
	h[min(max(int(gap/gapStep), 0), gapBuckets-1)]++
}

func (h *histogram) merge(o *histogram) {
	for i, n := range o {
		h[i] += n
	}
}

// quantile is in milliseconds, rounded down to the bucket.
func (h *histogram) quantile(q float64) float64 {
	var total, seen float64
	for _, n := range h {
		total += float64(n)
	}
	for i, n := range h {
		if seen += float64(n); n > 0 && seen >= total*q {
			return float64(i) * float64(gapStep) / float64(time.Millisecond)
		}
	}
	return 0
}
