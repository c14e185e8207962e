package webhook

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/offhook/offhook/internal/twilio"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const token = "0123456789abcdef0123456789abcdef"

// newHooks makes Hooks that end with the test.
func newHooks(t testing.TB, cfg Config) *Hooks {
	h := New(cfg)
	t.Cleanup(h.Close)
	return h
}

// app is a customer's web application that remembers what it was asked.
type app struct {
	*httptest.Server
	mu   sync.Mutex
	seen []seen
}

type seen struct {
	Method, Host, URI string
	Header            http.Header
	Form              url.Values // of the body
	RemoteAddr        string
}

// newApp serves f; it ends with the test.
func newApp(t testing.TB, f http.HandlerFunc) *app {
	a := &app{}
	a.Server = httptest.NewServer(a.record(f))
	t.Cleanup(a.Close)
	return a
}

func (a *app) record(f http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		form, _ := url.ParseQuery(string(body))
		a.mu.Lock()
		a.seen = append(a.seen, seen{r.Method, r.Host, r.RequestURI, r.Header, form, r.RemoteAddr})
		a.mu.Unlock()
		f(w, r)
	})
}

func (a *app) requests() []seen {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]seen(nil), a.seen...)
}

// everywhere makes h reach a for every host name.
func (a *app) everywhere(h *Hooks) {
	addr := a.Listener.Addr().String()
	h.connect = func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, addr)
	}
}

func code(err error) int {
	var e *twilio.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return 0
}

func reply(contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		_, _ = io.WriteString(w, body)
	}
}

var call1 = url.Values{"CallSid": {"CA1"}, "From": {"+15551230001"}, "Empty": {""}}

func TestFetchRequest(t *testing.T) {
	for _, tt := range []struct {
		name, method, path string
		params             url.Values
		wantURI            string
		wantForm           string
	}{
		{"POST", "POST", "/voice", call1, "/voice", call1.Encode()},
		{"default is POST", "", "/voice", call1, "/voice", call1.Encode()},
		{"GET", "GET", "/voice", call1, "/voice?CallSid=CA1&Empty=&From=%2B15551230001", ""},
		{"GET behind a query", "get", "/voice?a=%2b+c", call1, "/voice?a=%2b+c&CallSid=CA1&Empty=&From=%2B15551230001", ""},
		{"GET behind a bare ?", "GET", "/voice?", call1, "/voice?CallSid=CA1&Empty=&From=%2B15551230001", ""},
		{"GET without params", "GET", "/voice", nil, "/voice", ""},
		{"byte for byte", "POST", "/a%2Bb+c%7e;x=1?d=%2B+e&f=[1]&g=%zz", call1, "/a%2Bb+c%7e;x=1?d=%2B+e&f=[1]&g=%zz", call1.Encode()},
		{"what cannot be sent is escaped", "POST", "/a b?c=ü", call1, "/a%20b?c=%C3%BC", call1.Encode()},
		{"overrides are stripped", "POST", "/voice#rc=2&ct=1000", call1, "/voice", call1.Encode()},
		{"empty path", "POST", "", call1, "/", call1.Encode()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := newApp(t, reply("text/xml", "<Response/>"))
			h := newHooks(t, Config{})
			resp, err := h.Client(token).Fetch(t.Context(), Request{Method: tt.method, URL: a.URL + tt.path, Params: tt.params, Token: "idem"})
			if err != nil {
				t.Fatal(err)
			}
			got := a.requests()[0]
			if got.URI != tt.wantURI || got.Form.Encode() != tt.wantForm {
				t.Errorf("got %s with %s\nwant %s with %s", got.URI, got.Form.Encode(), tt.wantURI, tt.wantForm)
			}
			for name, want := range map[string]string{
				"User-Agent": "TwilioProxy/1.1", "Accept": "*/*", "Cache-Control": "max-age=259200",
				"I-Twilio-Idempotency-Token": "idem", "Authorization": "", "X-Idempotency-Key": "",
			} {
				if got.Header.Get(name) != want {
					t.Errorf("%s: %q, want %q", name, got.Header.Get(name), want)
				}
			}
			wantType, signed := "", a.URL+tt.wantURI
			var form url.Values
			if got.Method == "POST" {
				wantType, form = "application/x-www-form-urlencoded; charset=utf-8", tt.params
			}
			if got.Header.Get("Content-Type") != wantType {
				t.Errorf("Content-Type %q", got.Header.Get("Content-Type"))
			}
			if want := twilio.Signature(token, signed, form); got.Header.Get("X-Twilio-Signature") != want {
				t.Errorf("signature %q, want %q", got.Header.Get("X-Twilio-Signature"), want)
			}
			if resp.Status != 200 || resp.ContentType != "text/xml" || string(resp.Body) != "<Response/>" || resp.Duration <= 0 {
				t.Errorf("response %+v", resp)
			}
			if !strings.Contains(tt.path, " ") && resp.URL != a.URL+tt.path {
				t.Errorf("the document's URL is %q, want %q", resp.URL, a.URL+tt.path)
			}
		})
	}
}

func TestFetchMakesAnIdempotencyToken(t *testing.T) {
	a := newApp(t, reply("text/xml", "<Response/>"))
	c := newHooks(t, Config{UserAgent: "test/1"}).Client(token)
	for range 2 {
		if _, err := c.Fetch(t.Context(), Request{URL: a.URL}); err != nil {
			t.Fatal(err)
		}
	}
	one, two := a.requests()[0].Header, a.requests()[1].Header
	if k := "I-Twilio-Idempotency-Token"; one.Get(k) == "" || one.Get(k) == two.Get(k) {
		t.Errorf("tokens %q and %q", one.Get(k), two.Get(k))
	}
	if one.Get("User-Agent") != "test/1" {
		t.Error(one.Get("User-Agent"))
	}
}

func TestRedirects(t *testing.T) {
	for _, tt := range []struct {
		name, method string
		status       int
		wantMethod   string
		wantForm     bool
	}{
		{"301", "POST", 301, "GET", false},
		{"302", "POST", 302, "GET", false},
		{"303", "POST", 303, "GET", false},
		{"307", "POST", 307, "POST", true},
		{"308", "POST", 308, "POST", true},
		{"302 of a GET", "GET", 302, "GET", false},
		{"307 of a GET", "GET", 307, "GET", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := newApp(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/a/old" {
					w.Header().Set("Location", "../b/new%2B?x=%2b#frag")
					w.WriteHeader(tt.status)
					return
				}
				_, _ = io.WriteString(w, "<Response/>")
			})
			h := newHooks(t, Config{})
			resp, err := h.Client(token).Fetch(t.Context(), Request{Method: tt.method, URL: a.URL + "/a/old#rc=0", Params: call1})
			if err != nil {
				t.Fatal(err)
			}
			got := a.requests()[1]
			var form url.Values
			if tt.wantForm {
				form = call1
			}
			if got.Method != tt.wantMethod || got.URI != "/b/new%2B?x=%2b" || got.Form.Encode() != form.Encode() {
				t.Errorf("got %s %s %v", got.Method, got.URI, got.Form)
			}
			if want := twilio.Signature(token, a.URL+"/b/new%2B?x=%2b", form); got.Header.Get("X-Twilio-Signature") != want {
				t.Error("the signature is not of the new URL")
			}
			if resp.URL != a.URL+"/b/new%2B?x=%2b#rc=0" {
				t.Errorf("the document's URL is %s", resp.URL)
			}
		})
	}
}

func TestRedirectLimits(t *testing.T) {
	for path, want := range map[string]struct{ code, requests int }{
		"/10":       {0, 11},
		"/11":       {11215, 11},
		"/scheme":   {11206, 1},
		"/invalid":  {11206, 1},
		"/nowhere":  {11206, 1},
		"/multiple": {11206, 1},
		"/unasked":  {11206, 1},
	} {
		t.Run(path, func(t *testing.T) {
			a := newApp(t, func(w http.ResponseWriter, r *http.Request) {
				switch r.URL.Path {
				case "/scheme":
					http.Redirect(w, r, "ftp://x/", 302)
				case "/invalid":
					w.Header().Set("Location", "http://x/%zz")
					w.WriteHeader(302)
				case "/nowhere":
					w.WriteHeader(302)
				case "/multiple":
					w.WriteHeader(300)
				case "/unasked":
					w.WriteHeader(304)
				case "/0":
				default:
					n := strings.TrimPrefix(r.URL.Path, "/")
					http.Redirect(w, r, "/"+map[string]string{"11": "10", "10": "9", "9": "8", "8": "7", "7": "6", "6": "5", "5": "4", "4": "3", "3": "2", "2": "1", "1": "0"}[n], 302)
				}
			})
			_, err := newHooks(t, Config{}).Client(token).Fetch(t.Context(), Request{URL: a.URL + path})
			if code(err) != want.code || len(a.requests()) != want.requests {
				t.Errorf("got %v after %d requests, want code %d after %d", err, len(a.requests()), want.code, want.requests)
			}
		})
	}
}

func TestCookiesLastForTheCall(t *testing.T) {
	a := newApp(t, func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "menu", Value: r.Host, Path: "/"})
		http.SetCookie(w, &http.Cookie{Name: "wide", Value: "x", Domain: "co.uk"})
		if r.URL.Path == "/go" {
			http.Redirect(w, r, "http://two.example/landed", 302)
		}
	})
	h := newHooks(t, Config{})
	a.everywhere(h)
	c := h.Client(token)
	for _, u := range []string{"http://one.example/", "http://one.example/again", "http://two.example/", "http://shop.co.uk/", "http://other.co.uk/", "http://one.example/go"} {
		if _, err := c.Fetch(t.Context(), Request{URL: u}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := h.Client(token).Fetch(t.Context(), Request{URL: "http://one.example/another-call"}); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range a.requests() {
		got = append(got, s.Host+s.URI+" "+s.Header.Get("Cookie"))
	}
	want := []string{
		"one.example/ ", "one.example/again menu=one.example", "two.example/ ", "shop.co.uk/ ", "other.co.uk/ ",
		"one.example/go menu=one.example", "two.example/landed menu=two.example", "one.example/another-call ",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestConnectionsAreReused(t *testing.T) {
	a := newApp(t, reply("text/xml", "<Response/>"))
	h := newHooks(t, Config{})
	for range 5 { // five calls
		if _, err := h.Client(token).Fetch(t.Context(), Request{URL: a.URL}); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range a.requests() {
		if s.RemoteAddr != a.requests()[0].RemoteAddr {
			t.Fatal("a second connection was opened")
		}
	}
}

// TestServerThatDropsIdleConnections: its end of the second request's connection is gone.
func TestServerThatDropsIdleConnections(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan int)
	go func() {
		defer close(served)
		for range 2 {
			c, err := l.Accept()
			if err != nil {
				return
			}
			r := bufio.NewReader(c)
			for n := range 2 {
				req, err := http.ReadRequest(r)
				if err != nil {
					break
				}
				_, _ = io.Copy(io.Discard, req.Body)
				if n == 1 {
					break // the second on a connection gets nothing
				}
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
				served <- 1
			}
			_ = c.Close()
		}
	}()
	h := New(Config{})
	c := h.Client(token)
	for range 2 {
		got := make(chan error)
		go func() {
			_, err := c.Fetch(t.Context(), Request{Method: "POST", URL: "http://" + l.Addr().String(), Params: call1})
			got <- err
		}()
		<-served
		if err := <-got; err != nil {
			t.Error(err)
		}
	}
	h.Close()
	_ = l.Close()
	<-served
}

func BenchmarkFetch(b *testing.B) {
	s := httptest.NewServer(reply("text/xml", "<Response/>"))
	defer s.Close()
	h := New(Config{})
	defer h.Close()
	params := url.Values{"CallSid": {"CA1"}, "AccountSid": {"AC1"}, "From": {"+15551230001"}, "To": {"+15551230002"}, "CallStatus": {"in-progress"}}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := h.Client(token).Fetch(context.Background(), Request{URL: s.URL + "/voice", Params: params}); err != nil {
				b.Error(err)
			}
		}
	})
}
