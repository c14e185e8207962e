//go:build linux

package main

import (
	"testing"
	"time"
)

func TestQuantile(t *testing.T) {
	var m millis
	for i := 100; i >= 0; i-- {
		m.add(time.Duration(i) * time.Millisecond)
	}
	if v := m.at(0, 0.5, 0.99, 1); v[0] != 0 || v[1] != 50 || v[2] != 99 || v[3] != 100 {
		t.Errorf("quantiles of 0..100 ms: %v", v)
	}
	if v := (millis{}).at(0.5); v[0] != 0 {
		t.Errorf("quantile of nothing: %v", v)
	}
}

func TestHistogram(t *testing.T) {
	var h, o histogram
	for range 99 {
		h.add(20 * time.Millisecond)
	}
	o.add(45 * time.Millisecond)
	o.add(-time.Millisecond)
	o.add(time.Hour)
	h.merge(&o)
	for q, want := range map[float64]float64{0.005: 0, 0.5: 20, 0.97: 20, 0.985: 45, 1: 200} {
		if got := h.quantile(q); got != want {
			t.Errorf("quantile %v: %v ms, want %v", q, got, want)
		}
	}
}
