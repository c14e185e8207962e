package sip

import "sync/atomic"

// Stats is what the endpoint has now, and what it refused since it started.
type Stats struct {
	Legs         map[string]int // that are not over, by state; every state is there
	Transactions int            // of requests that we have not done with
	Connections  int            // TCP, opened by peers

	// Messages dropped, some of them with a response.
	Strangers       uint64 // and connections: no trunk lists the source, and it names no call of ours
	OverRate        uint64 // its source sent too many that begin something
	OverLimit       uint64 // it would begin something, and there are too many transactions
	Malformed       uint64 // it cannot be read
	OverConnections uint64 // TCP connections: too many in all, or of the source
	ShutOut         uint64 // its source showed too many wrong passwords

	// Of phones that want something of our SIP domains.
	Challenges    uint64 // requests for credentials
	AuthFailures  uint64 // wrong ones
	Registrations uint64 // REGISTER that were answered 200
	Shut          int    // sources that are shut out now
}

// drops counts what was refused, by reason.
type drops struct {
	strangers, rate, transactions, malformed, connections, shut atomic.Uint64
}

// Stats takes a few microseconds; it may be called at any time.
func (e *Endpoint) Stats() Stats {
	s := Stats{
		Legs:         make(map[string]int, len(stateNames)-1),
		Transactions: int(e.transactions.Load()), Connections: e.conns.count(),
		Strangers: e.drops.strangers.Load(), OverRate: e.drops.rate.Load(), OverLimit: e.drops.transactions.Load(),
		Malformed: e.drops.malformed.Load(), OverConnections: e.drops.connections.Load(),
		ShutOut: e.drops.shut.Load(), Challenges: e.challenges.Load(), AuthFailures: e.failures.Load(),
		Registrations: e.registrations.Load(), Shut: e.guard.count(),
	}
	for i, name := range stateNames[:over] {
		s.Legs[name] = int(e.states[i].Load())
	}
	return s
}
