// Package webhook makes the requests to a customer's application: it fetches TwiML and audio while a call
// is live, and delivers status callbacks from the outbox. It owns the HTTP rules of that traffic
// (call-lifecycle section 2): signatures, connection overrides, redirects, cookies, credentials, caching,
// time-outs and the error codes; what an answer means for the call is the session's business.
package webhook

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"code.dny.dev/ssrf"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/clock"
	"github.com/offhook/offhook/internal/telemetry"
)

// Limits of a request (call-lifecycle section 2, and Twilio's "TwiML: how it works" for media).
const (
	// MaxMedia is the largest audio file, in bytes.
	MaxMedia = 40 << 20
	// DefaultUserAgent is what Twilio's own requests say.
	DefaultUserAgent = "TwilioProxy/1.1"

	maxRedirects = 10
	maxHeader    = 64 << 10 // bytes of response header
)

// Limits of the connection pool that all calls share.
const (
	maxConnsPerHost = 1024
	maxIdlePerHost  = 128
	maxIdle         = 1024
	// idleTimeout is under the 5 s after which a Node.js server drops an idle connection, the shortest
	// default among the servers in common use: reusing a connection while it is being dropped fails.
	idleTimeout = 4 * time.Second
)

// Config configures Hooks. Its zero value works.
type Config struct {
	Clock clock.Clock  // default clock.System
	Log   *slog.Logger // default discards
	// RefusePrivate refuses to connect to loopback, private and other special addresses, and to ports
	// below 1024 but 80 and 443, whatever host name led there.
	RefusePrivate bool
	// UserAgent is sent with every request; default DefaultUserAgent.
	UserAgent string
	// Roots are the certificate authorities trusted; nil is the system's.
	Roots *x509.CertPool
	// MediaCache bounds the decoded audio kept between calls, in bytes; default 64 MiB, which is 2.3 hours.
	MediaCache int64
	// Report is told of each request that was made for a call (Client.Of), redirects and repeats too. It must not
	// block, and is called from many goroutines; nil: nobody is told.
	Report func(call.Request)
	// Tracer makes a span of each request and names it in the request's traceparent; nil does neither.
	Tracer *telemetry.Tracer
}

// Hooks is what the requests of all calls share: connections and the cache of audio files. It is safe
// for concurrent use.
type Hooks struct {
	cfg     Config
	sni     *http.Transport // sends the server's name in the TLS handshake, as everybody does
	noSNI   *http.Transport // for the override sni=n
	tls     *tls.Config
	guard   *ssrf.Guardian // nil: everything may be connected to
	media   *mediaCache
	metrics *metrics

	// connect makes a TCP connection; tests put another network here.
	connect func(ctx context.Context, network, addr string) (net.Conn, error)

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	mu     sync.Mutex
	closed bool
	work   sync.WaitGroup // dials and media fetches: what outlives the request that began it
}

// New makes Hooks. Close releases its connections.
func New(cfg Config) *Hooks {
	if cfg.Clock == nil {
		cfg.Clock = clock.System
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.UserAgent == "" {
		cfg.UserAgent = DefaultUserAgent
	}
	if cfg.MediaCache == 0 {
		cfg.MediaCache = 64 << 20
	}
	h := &Hooks{cfg: cfg, metrics: newMetrics(), tls: &tls.Config{RootCAs: cfg.Roots, MinVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(0)}}
	h.connect = h.connectTCP
	h.ctx, h.cancel = context.WithCancel(context.Background())
	if cfg.RefusePrivate {
		h.guard = ssrf.New(ssrf.WithAnyPort())
	}
	h.sni, h.noSNI = h.transport(true), h.transport(false)
	h.media = newMediaCache(h, cfg.MediaCache)
	return h
}

// Close ends the requests that are under way and releases the connections. It is idempotent.
func (h *Hooks) Close() {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.cancel()
	h.work.Wait()
	h.sni.CloseIdleConnections()
	h.noSNI.CloseIdleConnections()
}

// begin counts work that Close waits for; false when it is too late to begin any.
func (h *Hooks) begin() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	h.work.Add(1)
	return true
}

var errClosed = errors.New("webhook: closed")

// transport speaks HTTP/1.1, as Twilio does, through our own dialling: its errors say what failed.
func (h *Hooks) transport(sni bool) *http.Transport {
	return &http.Transport{
		DialContext: h.dial,
		DialTLSContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return h.dialTLS(ctx, network, addr, sni)
		},
		MaxIdleConns:           maxIdle,
		MaxIdleConnsPerHost:    maxIdlePerHost,
		MaxConnsPerHost:        maxConnsPerHost,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: maxHeader,
	}
}

// connectKey carries the connect time-out of a request to its dial.
type connectKey struct{}

func connectTimeout(ctx context.Context) time.Duration {
	if d, ok := ctx.Value(connectKey{}).(time.Duration); ok {
		return d
	}
	return defaultConnect
}

// A dialError is a failure to get a connection, a tlsError one of the TLS handshake on it.
type (
	dialError struct{ err error }
	tlsError  struct{ err error }
)

func (e *dialError) Error() string { return e.err.Error() }
func (e *dialError) Unwrap() error { return e.err }
func (e *tlsError) Error() string  { return e.err.Error() }
func (e *tlsError) Unwrap() error  { return e.err }

func (h *Hooks) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if !h.begin() {
		return nil, &dialError{errClosed}
	}
	defer h.work.Done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(h.ctx, cancel)() // a transport lets a dial go on when its request has gone
	conn, err := h.connect(ctx, network, addr)
	if err != nil {
		return nil, &dialError{err}
	}
	return conn, nil
}

func (h *Hooks) connectTCP(ctx context.Context, network, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: connectTimeout(ctx), KeepAlive: 15 * time.Second, Control: h.control}
	return d.DialContext(ctx, network, addr)
}

var errPort = errors.New("ports below 1024 but 80 and 443 are not allowed")

// control refuses addresses after name resolution, for every connection anew.
func (h *Hooks) control(network, address string, c syscall.RawConn) error {
	if h.guard == nil {
		return nil
	}
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("webhook: address %q: %w", address, err)
	}
	if p := ap.Port(); p < 1024 && p != 80 && p != 443 {
		return fmt.Errorf("%w: %d: %w", ssrf.ErrProhibitedPort, p, errPort)
	}
	return h.guard.Safe(network, address, c)
}

func (h *Hooks) dialTLS(ctx context.Context, network, addr string, sni bool) (net.Conn, error) {
	raw, err := h.dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		_ = raw.Close()
		return nil, &dialError{err}
	}
	cfg := h.tls.Clone()
	cfg.ServerName = host
	if !sni {
		// crypto/tls sends any name it knows, so it must not know it; the certificate is verified all the same.
		cfg.ServerName, cfg.InsecureSkipVerify, cfg.ClientSessionCache = "", true, nil
		cfg.VerifyConnection = func(cs tls.ConnectionState) error { return verify(cs, host, h.tls.RootCAs, h.cfg.Clock.Now()) }
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout(ctx))
	defer cancel()
	conn := tls.Client(raw, cfg)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, &tlsError{err}
	}
	return conn, nil
}

// verify does what crypto/tls would have done with a server name.
func verify(cs tls.ConnectionState, host string, roots *x509.CertPool, now time.Time) error {
	opts := x509.VerifyOptions{DNSName: host, Roots: roots, Intermediates: x509.NewCertPool(), CurrentTime: now}
	for _, cert := range cs.PeerCertificates[1:] {
		opts.Intermediates.AddCert(cert)
	}
	_, err := cs.PeerCertificates[0].Verify(opts)
	return err
}
