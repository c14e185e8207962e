package sip

import "sync"

// mailbox is a leg's queue of things to do. What the network sends is bounded and dropped when full (the
// peer sends it again); what the leg itself asked for (timers, transaction results, commands) is bounded
// by its nature and never lost.
type mailbox struct {
	mu     sync.Mutex
	queue  []item
	closed bool
	signal chan struct{} // capacity 1
}

// item is one thing to do. A request has to be answered even when the leg is over: sipgo keeps a server
// transaction without a final response for ever.
type item struct {
	do      func()
	request bool
}

func newMailbox() *mailbox { return &mailbox{signal: make(chan struct{}, 1)} }

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
	m.mu.Unlock()
	select {
	case m.signal <- struct{}{}:
	default:
	}
	return true
}

// take empties the queue; spare is a slice to reuse for the next one.
func (m *mailbox) take(spare []item) []item {
	m.mu.Lock()
	defer m.mu.Unlock()
	q := m.queue
	m.queue = spare[:0]
	return q
}

// close refuses later posts; what was queued can still be taken.
func (m *mailbox) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
}
