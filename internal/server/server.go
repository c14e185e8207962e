package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/offhook/offhook/internal/admission"
	"github.com/offhook/offhook/internal/auth"
	"github.com/offhook/offhook/internal/bus"
	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/callapi"
	"github.com/offhook/offhook/internal/media"
	"github.com/offhook/offhook/internal/rates"
	"github.com/offhook/offhook/internal/recording"
	"github.com/offhook/offhook/internal/session"
	"github.com/offhook/offhook/internal/sip"
	"github.com/offhook/offhook/internal/speech"
	"github.com/offhook/offhook/internal/store"
	"github.com/offhook/offhook/internal/telemetry"
	"github.com/offhook/offhook/internal/twilioapi"
	"github.com/offhook/offhook/internal/webhook"
)

// Server is a running offhook. Make one with Start; Close stops it.
type Server struct {
	cfg     Config
	log     *slog.Logger
	account Account

	store      *store.Store
	voices     *speech.Voices
	hooks      *webhook.Hooks
	media      *media.Engine
	admission  *admission.Controller
	sip        *sip.Endpoint
	bus        *bus.Bus
	manager    *session.Manager
	rates      *rates.Book
	blobs      *recording.Blobs
	keeper     *recording.Keeper
	recorder   *recording.Recorder
	audio      *recordedAudio
	dispatcher *webhook.Dispatcher
	simulator  *simulator
	http       *http.Server
	listener   net.Listener
	admin      net.Addr          // nil: none
	tracer     *telemetry.Tracer // nil: off
	requests   *requests

	routing sync.Mutex // held while trunks and domains are read again, so that none is replaced by an older one
	trunks  atomic.Pointer[[]call.Trunk]
	domains atomic.Pointer[[]call.Domain]
	closing chan struct{} // closed when live streams of the API shall end
	failed  chan error    // a part that must run has stopped
	stops   []func()      // what was opened, in order
	once    sync.Once
}

// maxRequests bounds the API requests worked on at once (20429 beyond): a page of 1,000 calls takes 2.5 MB.
const maxRequests = 1024

// Run starts a server and serves until ctx is done; then it drains for cfg.Drain and stops.
func Run(ctx context.Context, cfg Config) error {
	s, err := Start(ctx, cfg)
	if err != nil {
		return err
	}
	sips := ""
	if a := s.SIPSAddr(); a != "" {
		sips = " sips=" + a
	}
	fmt.Fprintf(s.cfg.Ready, "ready http=%s sip=%s%s\n", s.URL(), s.SIPAddr(), sips)
	var failure error
	select {
	case <-ctx.Done():
		s.log.Info("draining: new calls are refused", "live", s.manager.Count(), "for", s.cfg.Drain)
	case failure = <-s.failed:
	}
	drain, cancel := context.WithTimeout(context.Background(), s.cfg.Drain)
	defer cancel()
	s.Close(drain)
	return failure
}

// Start opens and starts everything in order; when a part cannot start, those before it are stopped.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	cfg = cfg.WithDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &Server{
		cfg: cfg, log: cfg.Log, bus: bus.New(),
		closing: make(chan struct{}), failed: make(chan error, 1),
	}
	s.trunks.Store(&[]call.Trunk{})
	s.domains.Store(&[]call.Domain{})
	if err := s.open(ctx); err != nil {
		over, cancel := context.WithCancel(context.Background())
		cancel()
		s.Close(over)
		return nil, err
	}
	return s, nil
}

func (s *Server) open(ctx context.Context) error {
	for _, part := range []func(context.Context) error{
		s.openTracer, s.openListener, s.openStore, s.openVoices, s.openHooks, s.openMedia, s.openSIP, s.openSimulator, s.openRecordings, s.openManager,
		s.openAdmin, s.openHTTP,
	} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	return nil
}

// opened notes how to stop what was just opened.
func (s *Server) opened(stop func()) { s.stops = append(s.stops, stop) }

// lastSpans is how long a stop waits for the collector.
const lastSpans = 3 * time.Second

func (s *Server) openTracer(ctx context.Context) (err error) {
	s.tracer, err = telemetry.New(ctx, telemetry.Config{
		Endpoint: s.cfg.OTLP, Version: s.cfg.Version, Clock: s.cfg.Clock, Log: s.log,
	})
	if err != nil {
		return fmt.Errorf("--otlp: %w", err)
	}
	s.opened(func() {
		ctx, cancel := context.WithTimeout(context.Background(), lastSpans)
		defer cancel()
		s.tracer.Close(ctx)
	})
	s.requests = newRequests(s.cfg.Clock, s.tracer)
	return nil
}

func (s *Server) openStore(ctx context.Context) (err error) {
	dsn := s.cfg.Database
	if dsn == "" {
		dsn = filepath.Join(s.cfg.Data, "offhook.db")
	}
	s.store, err = store.Open(ctx, store.Config{
		DSN: dsn, Keep: time.Duration(s.cfg.Retention) * 24 * time.Hour, Clock: s.cfg.Clock, Log: s.log, Feed: s.bus,
		Due: func() { s.dispatcher.Wake() },
	})
	if err != nil {
		return err
	}
	s.opened(func() {
		if err := s.store.Close(); err != nil {
			s.log.Error("store not closed", "err", err)
		}
	})
	if err := s.store.Alone(ctx); err != nil {
		return err
	}
	// Behind the store's lock: a second server on the same data must not leave its account there.
	s.account, err = EnsureAccount(s.cfg.Data, s.cfg.AccountSID, s.cfg.AuthToken)
	if err != nil {
		return err
	}
	a := &call.Account{
		SID: s.account.SID, AuthToken: s.account.AuthToken,
		FriendlyName: "offhook", DateCreated: s.cfg.Clock.Now(),
	}
	if err := s.store.PutAccount(ctx, a); err != nil {
		return err
	}
	if s.rates, err = rates.Open(ctx, s.store, s.account.SID); err != nil {
		return err
	}
	return s.readRouting(ctx)
}

// readRouting takes the stored trunks and domains as the ones in force.
func (s *Server) readRouting(ctx context.Context) error {
	s.routing.Lock()
	defer s.routing.Unlock()
	trunks, err := s.store.Trunks(ctx)
	if err != nil {
		return err
	}
	domains, err := s.store.Domains(ctx)
	if err != nil {
		return err
	}
	s.trunks.Store(&trunks)
	s.domains.Store(&domains)
	if s.sip != nil { // at the start it reads them itself
		s.sip.TrunksChanged()
		s.manager.TrunksChanged()
	}
	return nil
}

func (s *Server) openVoices(context.Context) (err error) {
	s.voices, err = speech.New(speech.Config{
		Engine: s.cfg.Voice, Dir: filepath.Join(s.cfg.Data, "speech"),
		Executable: s.child("speech-worker"), Clock: s.cfg.Clock, Log: s.log,
	})
	if err != nil {
		return err
	}
	s.opened(func() {
		if err := s.voices.Close(); err != nil {
			s.log.Warn("speech not closed", "err", err)
		}
	})
	return nil
}

// child is the command line of a child process of ours, nil when there is no executable for it.
func (s *Server) child(args ...string) []string {
	if len(s.cfg.Executable) == 0 {
		return nil
	}
	return append(slices.Clone(s.cfg.Executable), args...)
}

func (s *Server) openHooks(context.Context) error {
	s.hooks = webhook.New(webhook.Config{Clock: s.cfg.Clock, Log: s.log, Tracer: s.tracer, Report: s.store.AddRequest})
	s.opened(s.hooks.Close)
	s.dispatcher = webhook.NewDispatcher(webhook.DispatcherConfig{
		Hooks: s.hooks, Outbox: s.store, Clock: s.cfg.Clock, Log: s.log,
		Token: func(sid string) (string, bool) {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			a, err := s.store.Account(ctx, sid)
			if err != nil {
				return "", false
			}
			return a.AuthToken, true
		},
		Webhook: func(accountSID, sid string) (*call.Webhook, error) {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			return s.store.Webhooks().Get(ctx, accountSID, sid)
		},
		Notify: func(n call.Notification) {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			if err := s.store.AddNotification(ctx, n); err != nil {
				s.log.Error("notification lost", "call_sid", n.CallSID, "code", n.Code, "err", err)
			}
		},
		Trace: func(sid, text string) { s.bus.Trace(sid, bus.Trace{Time: s.cfg.Clock.Now(), Text: text}) },
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.dispatcher.Run(ctx); err != nil && ctx.Err() == nil {
			s.fail(fmt.Errorf("callback dispatcher: %w", err))
		}
	}()
	s.opened(func() { cancel(); <-done })
	return nil
}

func (s *Server) openMedia(context.Context) (err error) {
	s.media, err = media.New(media.Config{
		IP: s.cfg.RTPIP, PortMin: s.cfg.RTPPortMin, PortMax: s.cfg.RTPPortMax,
		ExternalIP: s.cfg.ExternalIP, LocalNets: s.cfg.LocalNets,
		RTPTimeout: s.cfg.RTPTimeout, Clock: s.cfg.Clock, Log: s.log,
	})
	if err != nil {
		return err
	}
	s.opened(func() {
		if err := s.media.Close(); err != nil {
			s.log.Warn("media not closed", "err", err)
		}
	})
	return nil
}

func (s *Server) openSIP(ctx context.Context) (err error) {
	s.admission = admission.New(s.cfg.Clock, s.log,
		admission.Writes(s.store.Backlog), admission.Audio(s.media.Late), admission.Processors())
	samples, err := s.openSamples()
	if err != nil {
		return err
	}
	tokenKey, err := s.store.Secret(ctx, "call-token")
	if err != nil {
		return fmt.Errorf("server: key of call tokens: %w", err)
	}
	s.manager = session.NewManager(session.Config{
		Store: s.store, Dialer: dialer{s}, Hooks: s.hooks, Voices: s.voices, Publisher: s.bus,
		CallbacksDue: s.dispatcher.Wake,
		Recordings:   s.store, Recorder: spool{s}, Keeper: spool{s}, Recorded: spool{s}, BaseURL: s.baseURL,
		Trunks:    func() []call.Trunk { return *s.trunks.Load() },
		Operator:  s.account.SID,
		Domains:   func() []call.Domain { return *s.domains.Load() },
		Locations: s.store,
		Simulator: func() string { return s.simulator.addr() },
		SIPLimits: session.Limits{CPS: s.cfg.SIPCPS, MaxCalls: s.cfg.SIPMaxCalls},
		SimulatorLimits: session.Limits{
			CPS: s.cfg.SimCPS, MaxCalls: s.cfg.SimMaxCalls,
		},
		AccountLimits: session.Limits{CPS: s.cfg.AccountCPS, MaxCalls: s.cfg.AccountMaxCalls},
		OwnedFromOnly: s.cfg.Mode == Production,
		TokenKey:      tokenKey,
		Samples:       samples,
		Rates:         s.rates,
		Tracer:        s.tracer,
		Admission:     s.admission,
		Clock:         s.cfg.Clock, Log: s.log,
	})
	cert, roots, err := s.openTLS()
	if err != nil {
		return err
	}
	s.sip, err = sip.Listen(ctx, sip.Config{
		ListenTLS: s.cfg.SIPS, Certificate: cert, RootCAs: roots,
		Listen: s.cfg.SIP, ExternalIP: s.cfg.ExternalIP, LocalNets: s.cfg.LocalNets,
		Dev: s.cfg.Mode != Production, Media: legMedia{s.media},
		Trunks:    func() []call.Trunk { return *s.trunks.Load() },
		Fits:      s.manager.Fits,
		Domains:   func() []call.Domain { return *s.domains.Load() },
		Locations: s.store,
		Digests:   s.cfg.SIPDigests,
		Admit:     s.admission.Admit,
		OnInvite:  func(l *sip.Leg, in call.InboundLeg) { s.manager.Inbound(leg{l}, in) },
		UserAgent: "offhook/" + s.cfg.Version, Clock: s.cfg.Clock, Log: s.log,
	})
	if err != nil {
		return err
	}
	s.opened(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := s.sip.Close(ctx); err != nil {
			s.log.Warn("SIP not closed", "err", err)
		}
	})
	return nil
}

// openTLS is what SIP over TLS shows, and whom it believes.
func (s *Server) openTLS() (cert func() (*tls.Certificate, error), roots *x509.CertPool, err error) {
	if roots, err = authorities(s.cfg.SIPCA); err != nil || len(s.cfg.SIPS) == 0 {
		return nil, roots, err
	}
	certFile, keyFile := s.cfg.Cert, s.cfg.Key
	if certFile == "" {
		if certFile, keyFile, err = ownCertificate(s.cfg.Data, s.cfg.SIPS, s.cfg.Clock.Now()); err != nil {
			return nil, nil, fmt.Errorf("make a certificate for --sips: %w", err)
		}
		s.log.Warn("SIP over TLS has a certificate of its own making: give phones "+certFile+" to trust, or set --cert and --key", "cert", certFile)
	}
	c, err := openCertificate(certFile, keyFile, s.log)
	if err != nil {
		return nil, nil, err
	}
	return c.get, roots, nil
}

func (s *Server) openSimulator(ctx context.Context) (err error) {
	if s.cfg.Mode == Production {
		return nil
	}
	s.simulator, err = startSimulator(ctx, s.cfg, s.sip.Addr().Addr(), s.log)
	if err != nil {
		return err
	}
	s.opened(s.simulator.close)
	return nil
}

func (s *Server) openManager(ctx context.Context) error {
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		runtime.GC() // and again in giveBackMemory: a sync.Pool keeps the 16 MiB of the migrations' parser through one
		giveBackMemory(s.cfg.Clock, s.manager.Count, s.manager.Taken, debug.FreeOSMemory, stop)
	}()
	s.opened(func() { close(stop); <-stopped })
	return s.manager.Start(ctx)
}

// openListener takes the address of the APIs, which callbacks name. Nothing is answered before openHTTP.
func (s *Server) openListener(ctx context.Context) (err error) {
	var lc net.ListenConfig
	s.listener, err = lc.Listen(ctx, "tcp", s.cfg.HTTP)
	if err != nil {
		return fmt.Errorf("--http: %w (is another offhook running? `--http 127.0.0.1:0` takes a free port)", err)
	}
	s.opened(func() { _ = s.listener.Close() }) // the HTTP server has, when there was one
	return nil
}

// apis makes the handlers of both APIs.
func (s *Server) apis() (twilioAPI, callAPI http.Handler) {
	gate := auth.NewGate(s.store, s.cfg.Clock)
	twilioAPI = twilioapi.New(twilioapi.Config{
		Calls: s.manager, Store: s.store, Gate: gate, Keys: s.store.Keys(), CallerIDs: s.store.CallerIDs(), MaxConcurrent: maxRequests,
		Routing: routing(s.store), RoutingChanged: s.readRouting, Recordings: s.recordings(),
		Clock: s.cfg.Clock, Log: s.log, Version: s.cfg.Version,
	})
	callAPI = callapi.New(callapi.Config{
		Calls: s.manager, Store: s.store, Webhooks: s.store.Webhooks(), Gate: gate, Bus: s.bus, RoutingChanged: s.readRouting, Rates: s.rates, Closing: s.closing,
		BaseURL: s.baseURL, Clock: s.cfg.Clock, Log: s.log, Version: s.cfg.Version,
	})
	return twilioAPI, callAPI
}

func (s *Server) openHTTP(context.Context) error {
	mux := http.NewServeMux()
	twilioAPI, callAPI := s.apis()
	mux.Handle("/2010-04-01/", twilioAPI)
	for _, path := range twilioapi.V1Paths {
		mux.Handle(path, twilioAPI)
		mux.Handle(path+"/", twilioAPI)
	}
	for _, path := range []string{"/v1/", "/openapi.json", "/docs"} {
		mux.Handle(path, callAPI)
	}
	mux.HandleFunc("GET /healthz", s.healthz)
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.Handle("GET /metrics", s.metrics())
	s.http = &http.Server{
		Handler: s.requests.count(mux), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
			s.fail(fmt.Errorf("HTTP: %w", err))
		}
	}()
	s.opened(func() {
		close(s.closing)
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := s.http.Shutdown(ctx); err != nil {
			_ = s.http.Close() // what did not end in time is cut
		}
		<-done
	})
	return s.account.SaveURL(s.cfg.Data, s.URL())
}

func (s *Server) fail(err error) {
	select {
	case s.failed <- err:
	default: // the first failure stops the server
	}
}

// Close refuses new calls, lets live ones end until drain is done, hangs up the others and stops
// everything in the reverse order of its start. It returns when all is stopped.
func (s *Server) Close(drain context.Context) {
	s.once.Do(func() {
		if s.manager != nil {
			s.manager.Drain(drain)
		}
		for i := len(s.stops) - 1; i >= 0; i-- {
			s.stops[i]()
		}
	})
}

// URL is the base URL of both APIs as reached from this machine, without a slash at the end.
func (s *Server) URL() string {
	host, port, err := net.SplitHostPort(s.listener.Addr().String())
	if err != nil {
		return "http://" + s.listener.Addr().String() // TCP addresses do split
	}
	if a := addrOf(host); a.IsUnspecified() {
		host = loopbackFor(a).String()
	}
	return "http://" + net.JoinHostPort(host, port)
}

// SIPAddr is the host:port of the first SIP listener.
func (s *Server) SIPAddr() string { return s.sip.Addr().String() }

// SIPSAddr is the host:port of the first listener of SIP over TLS, "" without one.
func (s *Server) SIPSAddr() string {
	if a := s.sip.AddrTLS(); a.IsValid() {
		return a.String()
	}
	return ""
}

// Credentials are those of the first account.
func (s *Server) Credentials() (accountSID, authToken string) {
	return s.account.SID, s.account.AuthToken
}

// healthz is 200 while calls can be made.
func (s *Server) healthz(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), time.Second)
	defer cancel()
	if err := s.store.Ping(ctx); err != nil {
		http.Error(w, "the store cannot be written: "+err.Error(), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintf(w, "ok version=%s live=%d\n", s.cfg.Version, s.manager.Count())
}

// readyz is 200 while new calls are taken.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	if s.manager.Draining() {
		http.Error(w, "draining", http.StatusServiceUnavailable)
		return
	}
	s.healthz(w, r)
}
