package phone

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"
)

// Config describes a phone; its zero value works.
type Config struct {
	Addr     string // host:port for SIP, UDP and TCP; default 127.0.0.1:0, a free port
	Number   string // its own number, the caller of its calls; default "phone"
	Username string // with Password, answers a digest challenge to a call
	Password string

	Transport string  // of calls whose URI names none: "udp" (default) or "tcp"
	Codecs    []Codec // in order of preference; default PCMU, PCMA
	// EventPayloadType is the number offered for telephone-event, default 101; -1 offers and accepts none,
	// so that keys are tones. An answer uses the number of the offer.
	EventPayloadType int

	// Dir is where every answered call is recorded, as Dir/<number>/<time>-<call id>.wav; "" records nothing.
	// A recording is at most 10 minutes, and a number keeps its newest 100.
	Dir string
	// OnCall handles an incoming call in a goroutine of its own; the call is hung up when it returns.
	// Without it calls come out of Incoming.
	OnCall func(*Call)
	// OnRefer is told whom the far end asks this phone to call instead of it, and returns the final SIP code of that
	// call. It may take its time. Without it every transfer succeeds, and nobody is called.
	OnRefer func(c *Call, uri string) (code int)
	// Speak makes speech for scripts and simulated people, 8 kHz. Without it, or when it fails, each text
	// is a babble of its own that a detector takes for speech and nobody understands.
	Speak func(ctx context.Context, text string) ([]int16, error)

	MaxCalls   int           // at once, further ones get 503; default 500
	RTPTimeout time.Duration // an answered call that hears nothing, neither RTP nor SIP, ends; default 60 s, negative never
	MaxCall    time.Duration // longest call, from its INVITE on; default 4 h
	MaxHeard   time.Duration // how much a call remembers of what it heard; default 10 min
	Log        *slog.Logger  // default none
	// Message gets every SIP message that comes or goes over UDP, repeats too. It must not block or keep b.
	Message func(sent bool, b []byte)
}

func (c Config) withDefaults() Config {
	c.Addr = cmp.Or(c.Addr, "127.0.0.1:0")
	c.Number = cmp.Or(c.Number, "phone")
	c.Transport = strings.ToUpper(cmp.Or(c.Transport, "udp"))
	if len(c.Codecs) == 0 {
		c.Codecs = []Codec{PCMU, PCMA}
	}
	c.EventPayloadType = cmp.Or(c.EventPayloadType, 101)
	c.MaxCalls = cmp.Or(c.MaxCalls, 500)
	c.RTPTimeout = cmp.Or(c.RTPTimeout, time.Minute)
	c.MaxCall = cmp.Or(c.MaxCall, 4*time.Hour)
	c.MaxHeard = cmp.Or(c.MaxHeard, 10*time.Minute)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

func (c Config) check() error {
	if c.Transport != "UDP" && c.Transport != "TCP" {
		return fmt.Errorf("phone: transport %q is neither udp nor tcp", c.Transport)
	}
	for _, codec := range c.Codecs {
		if codec != PCMU && codec != PCMA {
			return fmt.Errorf("phone: codec %q is neither PCMU nor PCMA", codec)
		}
	}
	if pt := c.EventPayloadType; pt > 127 || pt > 0 && pt < 96 {
		return fmt.Errorf("phone: telephone-event payload type %d is not a dynamic one, 96 to 127 (RFC 3551 section 6)", pt)
	}
	return nil
}

// Phone makes and takes calls on one SIP address. All its methods may be used concurrently.
type Phone struct {
	cfg      Config
	log      *slog.Logger
	sip      *endpoint
	ctx      context.Context // ends when the phone gives up waiting for its peers
	cancel   context.CancelFunc
	incoming chan *Call
	wg       sync.WaitGroup
	closing  sync.Once

	mu       sync.Mutex
	draining bool // no new calls
	closed   bool // no new goroutines
	calls    map[dialogKey]*Call
}

// dialogKey finds the call of a request that comes in.
type dialogKey struct{ callID, localTag string }

// Listen opens a phone. The context bounds opening only; Close ends the phone.
func Listen(ctx context.Context, cfg Config) (*Phone, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	p := &Phone{cfg: cfg, log: cfg.Log, incoming: make(chan *Call, 16), calls: map[dialogKey]*Call{}}
	p.ctx, p.cancel = context.WithCancel(context.WithoutCancel(ctx))
	// A request may come in before listenSIP has returned.
	ready := make(chan struct{})
	e, err := listenSIP(ctx, cfg.Addr, cfg.Log, cfg.Message, func(req *sip.Request, tx *sip.ServerTx) {
		<-ready
		p.onRequest(req, tx)
	})
	if err != nil {
		p.cancel()
		return nil, err
	}
	p.sip = e
	close(ready)
	return p, nil
}

// Addr is where the phone listens, host:port.
func (p *Phone) Addr() string { return p.sip.addr.String() }

// URI is the phone's own address, for others to call.
func (p *Phone) URI() string { return "sip:" + p.cfg.Number + "@" + p.Addr() }

// Incoming yields calls to a phone without Config.OnCall. It holds 16 that nobody took yet; further
// callers hear busy. Whoever takes a call must end it.
func (p *Phone) Incoming() <-chan *Call { return p.incoming }

// closeGrace is how long Close waits for answers to its BYEs and CANCELs.
const closeGrace = time.Second

// Close hangs up every call and returns when all is gone.
func (p *Phone) Close() error {
	var err error
	p.closing.Do(func() {
		p.mu.Lock()
		p.draining = true
		calls := make([]*Call, 0, len(p.calls))
		for _, c := range p.calls {
			calls = append(calls, c)
		}
		p.mu.Unlock()
		for _, c := range calls {
			c.Hangup()
		}
		p.mu.Lock()
		p.closed = true
		p.mu.Unlock()
		stop := time.AfterFunc(closeGrace, p.cancel)
		defer stop.Stop()
		for _, c := range calls {
			select {
			case <-c.HungUp():
			case <-p.ctx.Done():
				c.end(End{Reason: "phone closed"})
			}
		}
		p.wg.Wait()
		p.cancel()
		err = p.sip.close()
	})
	return err
}

// spawn runs f in a goroutine that Close waits for; after Close it does nothing.
func (p *Phone) spawn(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.wg.Go(f)
	}
}

var (
	errClosed   = errors.New("phone: closed")
	errTooMany  = errors.New("phone: too many calls at once")
	errOver     = errors.New("phone: the call is over")
	errNotYet   = errors.New("phone: the call is not answered")
	errAnswered = errors.New("phone: the call is answered already")
	errOutgoing = errors.New("phone: the phone made this call, the far end answers it")
)

func (p *Phone) add(c *Call) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.draining:
		return errClosed
	case len(p.calls) >= p.cfg.MaxCalls:
		return errTooMany
	}
	p.calls[c.key()] = c
	return nil
}

func (p *Phone) remove(c *Call) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.calls, c.key())
}

func (p *Phone) find(req *sip.Request) *Call {
	tag, _ := req.To().Params.Get("tag")
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls[dialogKey{req.CallID().Value(), tag}]
}

const allow = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, REFER, NOTIFY, MESSAGE"

// onRequest takes every request; sipgo calls it in a goroutine of its own each time.
func (p *Phone) onRequest(req *sip.Request, tx *sip.ServerTx) {
	reply := func(code int, reason string, headers ...sip.Header) {
		res := sip.NewResponseFromRequest(req, code, reason, nil)
		for _, h := range headers {
			res.AppendHeader(h)
		}
		if err := tx.Respond(res); err != nil {
			p.log.Debug("response not sent", "error", err)
			tx.Terminate()
		}
	}
	if req.From() == nil || req.To() == nil || req.CallID() == nil || req.CSeq() == nil || req.Via() == nil {
		reply(400, "Bad Request")
		return
	}
	c := p.find(req)
	_, inDialog := req.To().Params.Get("tag")
	switch {
	case req.Method == sip.ACK:
		if c != nil {
			c.onACK(req)
		}
		tx.Terminate()
	case req.Method == sip.INVITE && !inDialog:
		p.onInvite(req, tx)
	case req.Method == sip.OPTIONS && c == nil && !inDialog:
		reply(200, "OK", sip.NewHeader("Allow", allow), sip.NewHeader("Accept", "application/sdp"))
	case !strings.Contains(allow, req.Method.String()):
		reply(405, "Method Not Allowed", sip.NewHeader("Allow", allow))
	case c == nil:
		reply(481, "Call/Transaction Does Not Exist")
	default:
		c.onRequest(req, tx, reply)
	}
}
