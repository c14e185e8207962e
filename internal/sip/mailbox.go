package sip

import "sync"

// mailbox is a leg's queue of things to do. What the network sends is bounded and dropped when full (the
// peer sends it again); what the leg itself asked for (timers, transaction results, commands) is bounded
// by its nature and never lost.
type mailbox struct {
	mu     sync.Mutex
	queue  []item
	closed bool
	busy   bool   // run is at work, or has not been started for the first time
	run    func() // works off the queue until take says that there is no more
}

// item is one thing to do. A request has to be answered even when the leg is over: sipgo keeps a server
// transaction without a final response for ever.
type item struct {
	do      func()
	request bool
}

// newMailbox makes a mailbox that only collects until its owner starts run. From then on put starts it whenever
// there is something to do: a leg waits nearly all of its life, and a goroutine that waits keeps the stack that
// it once needed.
func newMailbox(run func()) *mailbox { return &mailbox{run: run, busy: true} }

// post queues f; false when the mailbox is closed or, for a limit over 0, holds that many already.
func (m *mailbox) post(f func(), limit int) bool { return m.put(item{do: f}, limit) }

// postRequest queues the treatment of a request.
func (m *mailbox) postRequest(f func()) bool { return m.put(item{f, true}, maxInbox) }

func (m *mailbox) put(f item, limit int) bool {
	m.mu.Lock()
	if m.closed || limit > 0 && len(m.queue) >= limit {
		m.mu.Unlock()
		return false
	}
	m.queue = append(m.queue, f)
	if !m.busy {
		m.busy = true
		go m.run() // the leg's, which Close of the endpoint waits for
	}
	m.mu.Unlock()
	return true
}

// take empties the queue; spare is a slice to reuse for the next one. When there is nothing, run has to return;
// last says that it will not be started again.
func (m *mailbox) take(spare []item) (q []item, last bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.queue) == 0 {
		m.busy = false
		return nil, m.closed
	}
	q, m.queue = m.queue, spare[:0]
	return q, false
}

// close refuses later posts; what was queued can still be taken.
func (m *mailbox) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
}
