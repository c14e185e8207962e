package phone

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"
)

// Number is a simulated number and how it behaves.
type Number struct {
	Number      string // E.164
	Name        string // one word
	Description string
}

// AnyNumber stands in Numbers for all the others.
const AnyNumber = "any other"

type behaviour struct {
	Number
	run func(ctx context.Context, s *Simulator, c *Call) error
}

// What the simulated people and machines say.
const (
	shortHello     = "Hello?"
	longGreeting   = "Good morning, Northwind Traders, Maria speaking. How may I help you?" // 4 to 5 s
	mailboxMessage = "You have reached the voicemail of Sam Carter. I can not take your call right now. Please leave a message after the tone, and I will call you back."
	mailboxNoTone  = "You have reached the voicemail of Sam Carter. I can not take your call right now. Please leave a message, and I will call you back."
)

const (
	ringFor    = time.Second      // before a simulated number answers
	ringMost   = 5 * time.Minute  // before one that never answers gives up
	messageMax = 3 * time.Minute  // of a voicemail
	faxMost    = 35 * time.Second // a fax machine waits for the other (ITU-T T.30 timer T1)
)

// behaviours is the table of simulated numbers.
func behaviours() []behaviour {
	return []behaviour{
		{Number{"+15005551001", "person", "a person: says a short hello, then listens"}, person(shortHello)},
		{Number{"+15005551002", "voicemail", "voicemail: greeting, beep, records"}, mailbox(mailboxMessage, true)},
		{Number{"+15005551003", "voicemail-no-beep", "voicemail without a beep"}, mailbox(mailboxNoTone, false)},
		{Number{"+15005551004", "fax", "fax machine"}, fax},
		{Number{"+15005551005", "echo", "echo: returns what it hears"}, echo},
		{Number{"+15005551006", "business", "a person with a long business greeting"}, person(longGreeting)},
		{Number{"+15005551404", "unallocated", "404, unallocated number"}, refuse(404, 0)},
		{Number{"+15005551408", "no-answer", "rings, never answers"}, refuse(408, ringMost)},
		{Number{"+15005551480", "unavailable", "480, temporarily unavailable"}, refuse(480, 0)},
		{Number{"+15005551486", "busy", "busy"}, refuse(486, 0)},
		{Number{"+15005551503", "failure", "503, trunk failure"}, refuse(503, 0)},
		{Number{"+15005551603", "declined", "rings, then declines"}, refuse(603, ringFor)},
		{Number{AnyNumber, "listener", "rings 1 s, answers, listens"}, listen},
	}
}

// Numbers is the table of simulated numbers, for documentation and lists; the last row is what any
// other number does. What every answered number hears is recorded when the simulator has a folder.
func Numbers() []Number {
	var ns []Number
	for _, b := range behaviours() {
		ns = append(ns, b.Number)
	}
	return ns
}

// Simulator answers calls to every number at one SIP address, each number in its own way.
type Simulator struct {
	phone   *Phone
	numbers map[string]behaviour

	mu     sync.Mutex
	spoken map[string][]int16 // the few texts above
}

// NewSimulator listens as cfg says; its OnCall is not used.
func NewSimulator(ctx context.Context, cfg Config) (*Simulator, error) {
	s := &Simulator{numbers: map[string]behaviour{}, spoken: map[string][]int16{}}
	for _, b := range behaviours() {
		s.numbers[b.Number.Number] = b
	}
	if cfg.MaxHeard == 0 {
		cfg.MaxHeard = 10 * time.Second // nobody asks; recordings are written as it comes
	}
	if cfg.Number == "" {
		cfg.Number = "simulator"
	}
	cfg.OnCall = s.onCall
	p, err := Listen(ctx, cfg)
	s.phone = p
	return s, err
}

// Addr is where the simulator listens, host:port, UDP and TCP.
func (s *Simulator) Addr() string { return s.phone.Addr() }

// Close hangs up every call and returns when all is gone.
func (s *Simulator) Close() error { return s.phone.Close() }

// ServeSimulator runs a simulator until ctx ends; ready is told its address.
func ServeSimulator(ctx context.Context, cfg Config, ready func(addr string)) error {
	s, err := NewSimulator(ctx, cfg)
	if err != nil {
		return err
	}
	if ready != nil {
		ready(s.Addr())
	}
	<-ctx.Done()
	return s.Close()
}

func (s *Simulator) onCall(c *Call) {
	b, ok := s.numbers[c.To()]
	if !ok {
		b = s.numbers[AnyNumber]
	}
	if err := b.run(c.Context(), s, c); err != nil {
		c.log.Debug("simulated call ended early", "number", c.To(), "behaviour", b.Name, "error", err)
	}
}

// say renders a text of the table once.
func (s *Simulator) say(ctx context.Context, c *Call, text string) []int16 {
	s.mu.Lock()
	pcm := s.spoken[text]
	s.mu.Unlock()
	if pcm == nil {
		pcm = c.phone.speech(ctx, text)
		if ctx.Err() == nil {
			s.mu.Lock()
			s.spoken[text] = pcm
			s.mu.Unlock()
		}
	}
	return pcm
}

// pickUp rings and answers; words are made ready while it rings.
func (s *Simulator) pickUp(ctx context.Context, c *Call, text string) (words []int16, err error) {
	if err := c.Ring(); err != nil {
		return nil, err
	}
	rang := time.Now()
	if text != "" {
		words = s.say(ctx, c, text)
	}
	if err := c.pass(ctx, "ringing", ringFor-time.Since(rang)); err != nil {
		return nil, err
	}
	if err := c.Answer(); err != nil {
		return nil, err
	}
	return words, c.WaitAnswered(ctx)
}

func listen(ctx context.Context, s *Simulator, c *Call) error {
	if _, err := s.pickUp(ctx, c, ""); err != nil {
		return err
	}
	return c.WaitHungUp(ctx)
}

func person(text string) func(context.Context, *Simulator, *Call) error {
	return func(ctx context.Context, s *Simulator, c *Call) error {
		words, err := s.pickUp(ctx, c, text)
		if err != nil {
			return err
		}
		if err := c.Play(ctx, append(Tone(400*time.Millisecond), words...)); err != nil { // the receiver is lifted first
			return err
		}
		return c.WaitHungUp(ctx)
	}
}

func mailbox(greeting string, beep bool) func(context.Context, *Simulator, *Call) error {
	return func(ctx context.Context, s *Simulator, c *Call) error {
		words, err := s.pickUp(ctx, c, greeting)
		if err != nil {
			return err
		}
		say := append(Tone(500*time.Millisecond), words...)
		if beep {
			say = append(append(say, Tone(400*time.Millisecond)...), Tone(500*time.Millisecond, 1000)...)
		}
		if err := c.Play(ctx, say); err != nil {
			return err
		}
		return c.pass(ctx, "recording a message", messageMax)
	}
}

// fax answers as a fax machine does: CED, then V.21 flags (the preamble of its DIS frame) again every
// 3 s until the caller's machine would have answered; a caller that is no machine is hung up on.
func fax(ctx context.Context, s *Simulator, c *Call) error {
	if _, err := s.pickUp(ctx, c, ""); err != nil {
		return err
	}
	end, cancel := context.WithTimeout(ctx, faxMost)
	defer cancel()
	signal := append(append(Tone(500*time.Millisecond), CED()...), Tone(75*time.Millisecond)...)
	for {
		signal = append(signal, v21Flags(time.Second)...)
		if err := c.Play(end, append(signal, Tone(3*time.Second)...)); err != nil {
			return err
		}
		signal = nil
	}
}

// v21Flags is HDLC flags in V.21 channel 2: 300 bit/s, 1 at 1650 Hz, 0 at 1850 Hz (ITU-T T.30 section 5.3.1).
func v21Flags(d time.Duration) []int16 {
	const flag = 0x7E
	pcm := make([]int16, samples(d))
	phase := 0.0
	for i := range pcm {
		hz := 1850.0
		if flag>>(i*300/sampleRate%8)&1 == 1 {
			hz = 1650
		}
		phase += 2 * math.Pi * hz / sampleRate
		pcm[i] = int16(toneLevel * math.Sin(phase))
	}
	return pcm
}

func echo(ctx context.Context, s *Simulator, c *Call) error {
	c.Echo(true)
	return listen(ctx, s, c)
}

// refuse rings that long and gives a final response.
func refuse(code int, ring time.Duration) func(context.Context, *Simulator, *Call) error {
	return func(ctx context.Context, _ *Simulator, c *Call) error {
		if ring > 0 {
			if err := c.Ring(); err != nil {
				return err
			}
			if err := c.pass(ctx, "ringing", ring); err != nil {
				return err
			}
		}
		if err := c.Reject(code); err != nil {
			return fmt.Errorf("simulator: %w", err)
		}
		return nil
	}
}
