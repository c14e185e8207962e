package media

import (
	"slices"
	"time"
)

// A party that somebody hears is read when its next packet is due, for no packet is to wait for long and most reads
// would find nothing: each costs as much as a third of sending a packet.
const (
	// pollSlots is how far ahead a read is planned at most, in slots: 40 ms.
	pollSlots = 2 * slots
	// pollMargin is how long after it is due a packet is looked for: 1 ms, and twice the jitter up to maxMargin.
	pollMargin = time.Millisecond
	maxMargin  = 6 * time.Millisecond
	// maxPause bounds the slots between two reads while nothing comes: 6 ms.
	maxPause = 3
	// maxSlew is how much later than its predecessors a packet may come and be taken for the new rule, in units
	// of the time stamp: 2 ms. One that comes earlier always is.
	maxSlew = 16
	// maxShift is a transit time so different that the source's clock has jumped: 200 ms.
	maxShift = 1600
)

// polling is when a flow is read that somebody hears.
type polling struct {
	on      bool  // somebody does
	planned bool  // the flow is in its worker's polls
	slot    int   // where there
	empty   int   // reads in a row that found nothing
	transit int32 // arrival less time stamp of the packets that come in time, modulo 2^32
	due     int64 // when the next packet is due, Unix nanoseconds; 0: unknown
}

// heard takes the arrival (Unix nanoseconds) and the time stamp of a packet of n samples of sound.
func (p *polling) heard(at int64, ts uint32, n int) {
	transit := int32(uint32(at/125_000) - ts) // 8,000 units a second
	late := transit - p.transit
	if late > maxShift || late < -maxShift {
		p.transit = transit
	} else {
		p.transit += min(late, maxSlew)
	}
	p.due = at + int64(int32(n)-(transit-p.transit))*125_000
}

// repoll begins to poll f when somebody hears it, and ends that when nobody does.
func (w *worker) repoll(f *flow) {
	p, on := &f.polling, len(f.audience) > 0
	switch {
	case on && !p.on:
		p.on = true
		w.plan(f, w.slot+1)
	case !on && p.on:
		if p.planned {
			list := &w.polls[p.slot]
			i := slices.Index(*list, f)
			*list = slices.Delete(*list, i, i+1)
		}
		*p = polling{}
	}
}

// plan lets f be read in slot k.
func (w *worker) plan(f *flow, k int64) {
	p := &f.polling
	p.planned, p.slot = true, int(k%pollSlots)
	w.polls[p.slot] = append(w.polls[p.slot], f)
}

// poll reads the streams whose turn it is in slot k.
func (w *worker) poll(k int64) {
	for list := &w.polls[k%pollSlots]; len(*list) > 0; {
		last := len(*list) - 1
		f := (*list)[last]
		(*list)[last], *list = nil, (*list)[:last]
		f.polling.planned = false
		w.pollOne(f, k)
	}
}

// pollOne reads f in slot k and plans the next read: once when the packet that comes is the one that was due.
func (w *worker) pollOne(f *flow, k int64) {
	defer w.rescue(f)
	p := &f.polling
	p.due = 0
	if f.read(w, f.rtp, 1, f.packet) == 0 {
		p.empty++
		w.plan(f, k+int64(min(p.empty, maxPause)))
		return
	}
	p.empty = 0
	now := w.now()
	if p.due <= now.UnixNano() { // late, or no sound: more may wait
		f.drain(w, f.rtp, f.packet)
	}
	next := k + maxPause
	if p.due != 0 {
		margin := pollMargin + min(2*units(f.rx.jitterUnits()), maxMargin)
		wait := time.Duration(p.due-now.UnixNano()) + margin
		next = int64((now.Sub(w.epoch) + wait + slotDuration - 1) / slotDuration)
	}
	w.plan(f, max(k+1, min(next, k+pollSlots-1)))
}
