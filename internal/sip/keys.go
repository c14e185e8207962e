package sip

import (
	"slices"
	"time"
)

// way is how a key came.
type way bool

const (
	byRTP  way = false // as telephone-event or tone
	byINFO way = true
)

// press is a key that counted, and whose copy by the other way may still come.
type press struct {
	key byte
	way way
	at  time.Time
}

const (
	// copyWithin is how long after a key its copy by the other way may come: INFO is sent when the key is let go
	// of, and may have to be sent again.
	copyWithin = 5 * time.Second
	maxPresses = 16
)

// press takes a key. There are phones that send each key both ways, and others that agree on telephone-event and
// then send INFO alone; so neither way is believed blindly nor ignored: of a key that comes both ways the first
// counts. Two that come the same way are two.
func (l *Leg) press(key byte, by way) {
	now := l.e.cfg.Clock.Now()
	l.presses = slices.DeleteFunc(l.presses, func(p press) bool { return now.Sub(p.at) > copyWithin })
	if i := slices.IndexFunc(l.presses, func(p press) bool { return p.key == key && p.way != by }); i >= 0 {
		l.presses = slices.Delete(l.presses, i, i+1)
		return
	}
	if len(l.presses) == maxPresses {
		l.presses = slices.Delete(l.presses, 0, 1)
	}
	l.presses = append(l.presses, press{key, by, now})
	l.digit(key)
}
