package webhook

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/offhook/offhook/internal/twiml"
)

// raw serves one fixed text to every connection and closes it.
func raw(t *testing.T, text string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			buf := make([]byte, 4096)
			_, _ = c.Read(buf)
			_, _ = io.WriteString(c, text)
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return "http://" + l.Addr().String()
}

func TestFailureCodes(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused := "http://" + closed.Addr().String()
	_ = closed.Close()
	plain := newApp(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/404":
			http.Error(w, "gone fishing", 404)
		case "/big":
			w.Header().Set("Content-Type", "text/xml")
			_, _ = w.Write(make([]byte, twiml.MaxBody+1))
		case "/fits":
			_, _ = w.Write(make([]byte, twiml.MaxBody))
		case "/bigerror":
			w.WriteHeader(500)
			_, _ = w.Write(make([]byte, twiml.MaxBody+1))
		case "/audio":
			w.Header().Set("Content-Type", "audio/wav")
			_, _ = w.Write(make([]byte, twiml.MaxBody+1))
		case "/204":
			w.WriteHeader(204)
		case "/header":
			w.Header().Set("X-Long", strings.Repeat("a", 100_000))
		}
	})
	for _, tt := range []struct {
		name, url string
		code      int
		status    int // of the answer beside the error, 0 for none
	}{
		{"no scheme", "x.example/a", 11100, 0},
		{"another scheme", "ftp://x.example/a", 11100, 0},
		{"no host", "http:///a", 11100, 0},
		{"empty", "", 11100, 0},
		{"refused", refused, 11202, 0},
		{"unknown host", "http://nowhere.invalid/", 11210, 0},
		{"not HTTP", raw(t, "SSH-2.0-OpenSSH_9.2\r\n"), 11206, 0},
		{"bad status line", raw(t, "HTTP/1.1 abc\r\n\r\n"), 11206, 0},
		{"closed at once", raw(t, ""), 11205, 0},
		{"truncated body", raw(t, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"), 11205, 200},
		{"bad chunk", raw(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), 11206, 200},
		{"TLS to a plain port", strings.Replace(plain.URL, "http", "https", 1), 11220, 0},
		{"404", plain.URL + "/404", 11200, 404},
		{"too big", plain.URL + "/big", 11750, 200},
		{"just fits", plain.URL + "/fits", 0, 200},
		{"big error page", plain.URL + "/bigerror", 11200, 500},
		{"big audio", plain.URL + "/audio", 0, 200},
		{"no content", plain.URL + "/204", 0, 204},
		{"long header", plain.URL + "/header", 11206, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHooks(t, Config{})
			resp, err := h.Client(token).Fetch(t.Context(), Request{URL: tt.url})
			if code(err) != tt.code {
				t.Errorf("got %v, want code %d", err, tt.code)
			}
			switch {
			case resp == nil && tt.status != 0:
				t.Error("no response")
			case resp != nil && resp.Status != tt.status:
				t.Errorf("status %d, want %d", resp.Status, tt.status)
			case resp != nil && tt.name != "big audio" && len(resp.Body) > twiml.MaxBody:
				t.Errorf("%d bytes of body", len(resp.Body))
			}
		})
	}
}

// certificate makes one for localhost, signed by itself.
func certificate(t *testing.T, from, to time.Time, names ...string) (tls.Certificate, *x509.Certificate) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: from, NotAfter: to,
		DNSNames: names, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, cert
}

func TestTLS(t *testing.T) {
	now := time.Now()
	good, goodCert := certificate(t, now.Add(-time.Hour), now.Add(time.Hour), "app.example")
	old, oldCert := certificate(t, now.Add(-2*time.Hour), now.Add(-time.Hour), "app.example")
	for _, tt := range []struct {
		name, host string
		cert       tls.Certificate
		trusted    *x509.Certificate
		min        uint16
		want       int
	}{
		{"trusted", "app.example", good, goodCert, 0, 0},
		{"another host", "other.example", good, goodCert, 0, 11235},
		{"expired", "app.example", old, oldCert, 0, 11236},
		{"self-signed", "app.example", good, nil, 0, 11237},
		{"old TLS only", "app.example", good, goodCert, tls.VersionTLS10, 11220},
	} {
		for _, fragment := range []string{"", "#sni=n"} {
			t.Run(tt.name+fragment, func(t *testing.T) {
				a := &app{}
				var name string
				s := httptest.NewUnstartedServer(a.record(func(w http.ResponseWriter, r *http.Request) {
					name = r.TLS.ServerName
					_, _ = io.WriteString(w, "<Response/>")
				}))
				s.TLS = &tls.Config{Certificates: []tls.Certificate{tt.cert}}
				if tt.min != 0 {
					s.TLS.MinVersion, s.TLS.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
				}
				s.Config.ErrorLog = log.New(io.Discard, "", 0)
				s.StartTLS()
				a.Server = s
				t.Cleanup(s.Close)
				roots := x509.NewCertPool()
				if tt.trusted != nil {
					roots.AddCert(tt.trusted)
				}
				h := newHooks(t, Config{Roots: roots})
				a.everywhere(h)
				resp, err := h.Client(token).Fetch(t.Context(), Request{URL: "https://" + tt.host + "/" + fragment, Params: call1})
				if code(err) != tt.want {
					t.Fatalf("got %v, want code %d", err, tt.want)
				}
				if err == nil && !bytes.Equal(resp.Body, []byte("<Response/>")) {
					t.Errorf("%q", resp.Body)
				}
				if want := map[string]string{"": tt.host}[fragment]; err == nil && name != want {
					t.Errorf("the handshake named %q, want %q", name, want)
				}
			})
		}
	}
}

// pipes is a network in memory, so that time-outs pass at once under synctest.
type pipes struct {
	conns chan net.Conn
	dials func(addr string) error // may wait, may be nil
	fail  chan struct{}
	once  sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.fail:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { p.once.Do(func() { close(p.fail) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// serve runs handler for all hosts of h, in memory.
func serve(t *testing.T, h *Hooks, handler http.Handler) *pipes {
	p := &pipes{conns: make(chan net.Conn), fail: make(chan struct{})}
	s := &http.Server{Handler: handler, ErrorLog: log.New(io.Discard, "", 0)}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(p) }()
	h.connect = func(ctx context.Context, _, addr string) (net.Conn, error) {
		if p.dials != nil {
			if err := p.dials(addr); err != nil {
				return nil, err
			}
		}
		here, there := net.Pipe()
		select {
		case p.conns <- there:
			return here, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	t.Cleanup(func() { h.Close(); _ = s.Close(); <-done })
	return p
}

type timeoutError struct{}

func (timeoutError) Error() string { return "i/o timeout" }
func (timeoutError) Timeout() bool { return true }

func TestTimeouts(t *testing.T) {
	for _, tt := range []struct {
		name, fragment string
		dial           time.Duration // how long connecting takes before it fails; 0 works at once
		first          time.Duration // before the header
		between        time.Duration // between the three pieces of the body
		want           int
		after          time.Duration
		requests       int
	}{
		{"15 s in all", "", 0, time.Hour, 0, 11200, 15 * time.Second, 1},
		{"tt", "#tt=3000", 0, time.Hour, 0, 11200, 3 * time.Second, 1},
		{"rt before the header", "#rt=2000", 0, time.Hour, 0, 11200, 2 * time.Second, 1},
		{"rt retried", "#rt=2000&rp=rt&rc=3", 0, time.Hour, 0, 11200, 8 * time.Second, 4},
		{"rt retried within tt", "#rt=2000&rp=rt&rc=5&tt=5000", 0, time.Hour, 0, 11200, 5 * time.Second, 3},
		{"rt in the body is not retried", "#rt=2000&rp=all&rc=5", 0, time.Second, 3 * time.Second, 11200, 3 * time.Second, 1},
		{"slow but steady", "#rt=2000", 0, 1500 * time.Millisecond, 1500 * time.Millisecond, 0, 6 * time.Second, 1},
		{"slow and steady for too long", "#rt=8000", 0, 6 * time.Second, 6 * time.Second, 11200, 15 * time.Second, 1},
		{"connect twice", "", 5 * time.Second, 0, 0, 11201, 10 * time.Second, 0},
		{"connect once", "#rc=0", 5 * time.Second, 0, 0, 11201, 5 * time.Second, 0},
		{"connect again not asked for", "#rp=5xx", 5 * time.Second, 0, 0, 11201, 5 * time.Second, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHooks(t, Config{})
				a := &app{}
				p := serve(t, h, a.record(func(w http.ResponseWriter, r *http.Request) {
					wait := func(d time.Duration) {
						select {
						case <-time.After(d):
						case <-r.Context().Done():
						}
					}
					wait(tt.first)
					for range 3 {
						_, _ = io.WriteString(w, "piece")
						_ = http.NewResponseController(w).Flush()
						if tt.between > 0 {
							wait(tt.between)
						}
					}
				}))
				if tt.dial > 0 {
					p.dials = func(string) error { <-time.After(tt.dial); return timeoutError{} }
				}
				start := time.Now()
				_, err := h.Client(token).Fetch(t.Context(), Request{URL: "http://app.example/" + tt.fragment})
				if code(err) != tt.want || time.Since(start) != tt.after {
					t.Errorf("got %v after %v, want code %d after %v", err, time.Since(start), tt.want, tt.after)
				}
				if len(a.requests()) != tt.requests {
					t.Errorf("%d requests, want %d", len(a.requests()), tt.requests)
				}
			})
		})
	}
}

func TestCancelledFetchSaysWhy(t *testing.T) {
	reason := errors.New("redirected by the API")
	ctx, cancel := context.WithCancelCause(t.Context())
	a := newApp(t, func(_ http.ResponseWriter, r *http.Request) {
		cancel(reason)
		<-r.Context().Done()
	})
	_, err := newHooks(t, Config{}).Client(token).Fetch(ctx, Request{URL: a.URL + "#rp=all&rc=5"})
	if !errors.Is(err, reason) || code(err) != 11200 || len(a.requests()) != 1 {
		t.Errorf("got %v after %d requests", err, len(a.requests()))
	}
}

func TestPrivateAddressesAreRefused(t *testing.T) {
	a := newApp(t, reply("text/xml", "<Response/>"))
	for _, u := range []string{a.URL, strings.Replace(a.URL, "127.0.0.1", "localhost", 1), "http://[::1]:80/", "http://10.0.0.1/", "http://169.254.169.254/", "http://[::ffff:127.0.0.1]/", "http://93.184.216.34:25/"} {
		h := newHooks(t, Config{RefusePrivate: true})
		if _, err := h.Client(token).Fetch(t.Context(), Request{URL: u + "#rc=5&rp=ct"}); code(err) != 11205 {
			t.Errorf("%s: %v", u, err)
		}
		if _, err := h.Clip(t.Context(), h.Client(token), u); code(err) != 11205 {
			t.Errorf("%s as media: %v", u, err)
		}
	}
	if n := len(a.requests()); n != 0 {
		t.Errorf("%d requests came through", n)
	}
}

func TestPrivateAddressesAreRefusedAfterRedirects(t *testing.T) {
	inside := newApp(t, reply("text/xml", "<Response/>"))
	outside := newApp(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, inside.URL, 307) })
	h := newHooks(t, Config{RefusePrivate: true})
	open := outside.Listener.Addr().String()
	checked := h.connect
	h.connect = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if addr == "public.example:80" {
			var d net.Dialer
			return d.DialContext(ctx, network, open)
		}
		return checked(ctx, network, addr)
	}
	_, err := h.Client(token).Fetch(t.Context(), Request{URL: "http://public.example/"})
	if code(err) != 11205 || len(outside.requests()) != 1 || len(inside.requests()) != 0 {
		t.Errorf("got %v", err)
	}
}

func TestCloseEndsRequests(t *testing.T) {
	started := make(chan struct{})
	a := newApp(t, func(_ http.ResponseWriter, r *http.Request) { close(started); <-r.Context().Done() })
	h := New(Config{})
	got := make(chan error)
	go func() {
		_, err := h.Clip(context.Background(), h.Client(token), a.URL)
		got <- err
	}()
	<-started
	h.Close()
	h.Close()
	if err := <-got; code(err) != 11200 {
		t.Errorf("got %v", err)
	}
	if _, err := h.Clip(context.Background(), h.Client(token), a.URL+"/other"); code(err) != 11200 {
		t.Errorf("after Close: %v", err)
	}
	if _, err := h.Client(token).Fetch(context.Background(), Request{URL: a.URL}); code(err) != 11205 {
		t.Errorf("after Close: %v", err)
	}
}
