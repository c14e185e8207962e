package offhooktest

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// App is a customer's web application. It keeps every request and checks every signature.
type App struct {
	t      testing.TB
	srv    *Server
	server *httptest.Server

	mu       sync.Mutex
	routes   map[string]http.HandlerFunc
	requests []Request
	changed  chan struct{} // closed and replaced when a request came
	taken    []bool        // by Got, so that the same request is not found twice
}

// Request is what the application received.
type Request struct {
	Method string
	Path   string
	Query  string
	Params url.Values // of query and body
	Header http.Header
	Time   time.Time
}

// App starts an application that ends with the test.
func (s *Server) App(t testing.TB) *App {
	t.Helper()
	a := &App{t: t, srv: s, routes: map[string]http.HandlerFunc{}, changed: make(chan struct{})}
	a.server = httptest.NewServer(a)
	t.Cleanup(a.server.Close)
	return a
}

// URL is the absolute URL of a path of the application.
func (a *App) URL(path string) string { return a.server.URL + path }

// On answers path with a TwiML document.
func (a *App) On(path, twiml string) {
	a.OnFunc(path, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/xml")
		_, _ = w.Write([]byte(twiml)) // a caller that went away is no fault of the application
	})
}

// OnFunc answers path with a handler of the test's own. The form is parsed already.
func (a *App) OnFunc(path string, h http.HandlerFunc) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.routes[path] = h
}

// ServeHTTP makes the application an http.Handler.
func (a *App) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		a.t.Errorf("%s %s: %v", r.Method, r.URL, err)
	}
	media := len(r.Form) == 0 // <Play> asks for files without parameters
	if !media {
		if err := a.checkSignature(r); err != nil {
			a.t.Errorf("%s %s: %v", r.Method, r.URL, err)
		}
	}
	a.mu.Lock()
	a.requests = append(a.requests, Request{
		Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery,
		Params: r.Form, Header: r.Header, Time: now(),
	})
	a.taken = append(a.taken, false)
	close(a.changed)
	a.changed = make(chan struct{})
	h := a.routes[r.URL.Path]
	a.mu.Unlock()
	if h == nil {
		h = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }
	}
	h(w, r)
}

// checkSignature validates X-Twilio-Signature as an application does, from what it sees of the request.
func (a *App) checkSignature(r *http.Request) error {
	text := "http://" + r.Host + r.URL.RequestURI()
	names := make([]string, 0, len(r.PostForm))
	for name := range r.PostForm {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		text += name + strings.Join(r.PostForm[name], "")
	}
	mac := hmac.New(sha1.New, []byte(a.srv.AuthToken))
	mac.Write([]byte(text))
	want := base64.StdEncoding.EncodeToString(mac.Sum(nil))
	if got := r.Header.Get("X-Twilio-Signature"); got != want {
		return fmt.Errorf("signature %q, want %q", got, want)
	}
	return nil
}

// Got waits for a request of path with these parameters, names and values in turn, and returns it. Each
// request is found once.
func (a *App) Got(path string, params ...string) Request {
	a.t.Helper()
	late := after(Patience)
	for {
		a.mu.Lock()
		for i, r := range a.requests {
			if !a.taken[i] && r.Path == path && r.has(params) {
				a.taken[i] = true
				a.mu.Unlock()
				return r
			}
		}
		changed := a.changed
		a.mu.Unlock()
		select {
		case <-changed:
		case <-late:
			a.t.Fatalf("the application did not get %s with %v; it got:\n%s", path, params, a.log())
		}
	}
}

func (r Request) has(params []string) bool {
	for i := 0; i+1 < len(params); i += 2 {
		if !r.Params.Has(params[i]) || r.Params.Get(params[i]) != params[i+1] {
			return false
		}
	}
	return true
}

// Requests are those of path so far, in the order they came; "" is every path.
func (a *App) Requests(path string) []Request {
	a.mu.Lock()
	defer a.mu.Unlock()
	var list []Request
	for _, r := range a.requests {
		if path == "" || r.Path == path {
			list = append(list, r)
		}
	}
	return list
}

func (a *App) log() string {
	var b strings.Builder
	for _, r := range a.Requests("") {
		fmt.Fprintf(&b, "  %s %s %s\n", r.Method, r.Path, r.Params.Encode())
	}
	return b.String()
}
