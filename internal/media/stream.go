package media

import (
	"sync"
	"sync/atomic"

	"github.com/offhook/offhook/internal/audio"
)

// Stream is the audio of one leg: a pair of ports, what was negotiated for them, and what is played.
// Its methods are safe for concurrent use. Those that play take effect with the next frame and block
// only while more than mailboxSize of them wait, a frame at most.
type Stream struct {
	engine *Engine
	worker atomic.Pointer[worker]
	flow   *flow // the worker's
	mail   chan command
	over   atomic.Bool   // the flow reads its mail no more
	done   chan struct{} // closed with the flow
	once   sync.Once
	final  Stats // set before done is closed

	pair portPair

	mu          sync.Mutex // guards what follows
	negotiation *negotiation
}

// post hands c to the flow, or calls its drop when the flow is over.
func (s *Stream) post(c command) {
	select {
	case s.mail <- c:
		s.flow.mailed.Store(true)
		if s.over.Load() { // the flow may have read its mail for the last time before this came
			s.dropMail()
		}
	case <-s.done:
		if c.drop != nil {
			c.drop()
		}
	}
}

func (s *Stream) dropMail() {
	for {
		select {
		case c := <-s.mail:
			if c.drop != nil {
				c.drop()
			}
		default:
			return
		}
	}
}

// finish closes the flow. Its worker calls it, once.
func (s *Stream) finish(f *flow) {
	s.over.Store(true)
	f.close()
	s.dropMail()
	s.final = f.stats()
	f.worker.count.ended(s.final)
	s.pair.last = f.source.peer
	s.engine.ports.give(s.pair)
	close(s.done)
}

// Secure demands SRTP of every description from now on: RTP in plain is neither offered nor taken. It comes
// before the first of them.
func (s *Stream) Secure() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.negotiation.protection.required = true
}

// Offer is our SDP offer: PCMU, PCMA and telephone-event, or once something was agreed on, that first.
func (s *Stream) Offer() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.negotiation.offer()
}

// Answer answers an offer of the peer, the first or a later one (re-INVITE, hold). Errors are
// ErrNotAcceptable and ErrBadSDP; the stream then goes on as before.
func (s *Stream) Answer(offer []byte) (answer []byte, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	answer, agreed, err := s.negotiation.answer(offer)
	if err != nil {
		return nil, err
	}
	s.post(command{do: func(f *flow) { f.configure(agreed) }})
	return answer, nil
}

// Accept takes the peer's answer to our Offer, early or final. Errors are as Answer's.
func (s *Stream) Accept(answer []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	agreed, err := s.negotiation.accept(answer)
	if err != nil {
		return err
	}
	s.post(command{do: func(f *flow) { f.configure(agreed) }})
	return nil
}

// Start begins to send, and to miss a silent peer. Receiving began with Open.
func (s *Stream) Start() {
	s.post(command{do: (*flow).start})
}

// Play queues c and returns at once. done is closed when its last frame was sent, when it was flushed,
// and when the stream ended.
func (s *Stream) Play(c *audio.Clip) (done <-chan struct{}) {
	return s.queue(item{clip: c})
}

// Loop queues c again and again, until Flush.
func (s *Stream) Loop(c *audio.Clip) {
	s.queue(item{clip: c, loop: true})
}

// Hold is what the peer last offered or answered: on when it takes no audio from us, sends when it may send some.
func (s *Stream) Hold() (on, sends bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.negotiation.hold, s.negotiation.sends
}

// Received is how many packets of audio and keys came so far, 0 when the stream is over. It waits for the stream's
// worker, a few milliseconds.
func (s *Stream) Received() uint64 {
	n := make(chan uint64, 1)
	s.post(command{
		do:   func(f *flow) { n <- f.stats().PacketsReceived },
		drop: func() { n <- 0 },
	})
	return <-n
}

// PlayDigits queues keys: 0-9 A-D * #, and pauses, w of half a second and W of one. Anything else is left
// out. They go out as telephone-events (RFC 4733) when the peer takes those, else as tones. done is as
// Play's.
func (s *Stream) PlayDigits(digits string) (done <-chan struct{}) {
	return s.queue(item{keys: playableKeys(digits)})
}

func (s *Stream) queue(it item) <-chan struct{} {
	it.done = make(chan struct{})
	s.post(command{
		do: func(f *flow) {
			if !f.play.add(it) {
				f.logger().Warn("prompt dropped: the queue is full", "limit", maxQueued)
				close(it.done)
			}
		},
		drop: func() { close(it.done) },
	})
	return it.done
}

// Flush drops what plays and what is queued; silence follows within a frame.
func (s *Stream) Flush() {
	s.post(command{do: func(f *flow) { f.play.flush() }})
}

// Close ends the stream, gives its ports back and returns its final statistics. Later calls return the
// same. It waits for the stream's worker, a few milliseconds.
func (s *Stream) Close() Stats {
	s.once.Do(func() {
		s.engine.moves.Lock()
		defer s.engine.moves.Unlock()
		w := s.worker.Load()
		w.post(func() { w.remove(s.flow) })
	})
	<-s.done
	return s.final
}
