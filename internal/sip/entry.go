package sip

import (
	"hash/maphash"
	"sync"
	"time"
)

// entry decides which INVITEs from outside come in, by Config.Admit, and remembers for 64*T1 what it decided:
// a copy of an INVITE gets the same answer.
type entry struct {
	admit func() bool
	seed  maphash.Seed

	mu         sync.Mutex
	young, old map[inviteName]int64 // when it was let in, Unix ns; 0 when it was refused
	turned     time.Time            // when young was begun
}

// inviteName is a hash of what a copy shares with the INVITE.
type inviteName uint64

// maxDecided bounds the decisions that are remembered, twice: a minute of 4,000 INVITEs a second.
const maxDecided = 1 << 17

func (en *entry) name(callID, fromTag, branch string) inviteName {
	var h maphash.Hash
	h.SetSeed(en.seed)
	for _, s := range [...]string{callID, fromTag, branch} {
		_, _ = h.WriteString(s)
		_ = h.WriteByte(0)
	}
	return inviteName(h.Sum64())
}

// decide lets an INVITE in or refuses it.
func (en *entry) decide(n inviteName, now time.Time) (in bool) {
	en.mu.Lock()
	defer en.mu.Unlock()
	if taken, known := en.lookLocked(n); known {
		return taken != 0
	}
	if en.young == nil || now.Sub(en.turned) >= timer64T1 || len(en.young) >= maxDecided {
		en.old, en.young, en.turned = en.young, make(map[inviteName]int64), now
	}
	var taken int64
	if en.admit() {
		taken = now.UnixNano()
	}
	en.young[n] = taken
	return taken != 0
}

// taken is when an INVITE was let in, zero when that is not known.
func (en *entry) taken(n inviteName) time.Time {
	en.mu.Lock()
	defer en.mu.Unlock()
	if t, _ := en.lookLocked(n); t != 0 {
		return time.Unix(0, t)
	}
	return time.Time{}
}

func (en *entry) lookLocked(n inviteName) (taken int64, known bool) {
	taken, known = en.young[n]
	if !known {
		taken, known = en.old[n]
	}
	return taken, known
}
