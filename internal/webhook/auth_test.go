package webhook

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/icholy/digest"
)

// basic asks for user:p@ss the way RFC 7617 says.
func basic(w http.ResponseWriter, r *http.Request) {
	if name, password, _ := r.BasicAuth(); name != "user" || password != "p@ss" {
		w.Header().Set("WWW-Authenticate", `Basic realm="app"`)
		w.WriteHeader(401)
		return
	}
	_, _ = io.WriteString(w, "<Response/>")
}

// digested asks for the same by RFC 7616, with a nonce that is good for two requests.
func digested(challenge *digest.Challenge) http.HandlerFunc {
	uses := 0
	return func(w http.ResponseWriter, r *http.Request) {
		got, err := digest.ParseCredentials(r.Header.Get("Authorization"))
		refuse := func(stale bool) {
			c := *challenge
			c.Stale = stale
			w.Header().Set("WWW-Authenticate", c.String())
			w.WriteHeader(401)
		}
		if err != nil {
			refuse(false)
			return
		}
		want, _ := digest.Digest(challenge, digest.Options{
			Method: r.Method, URI: r.RequestURI, Count: got.Nc, Cnonce: got.Cnonce, Username: "user", Password: "p@ss",
		})
		if got.Response != want.Response || got.URI != r.RequestURI {
			refuse(false)
			return
		}
		if uses++; uses > 2 {
			uses, challenge.Nonce = 0, challenge.Nonce+"x"
			refuse(true)
			return
		}
		_, _ = io.WriteString(w, "<Response/>")
	}
}

func TestCredentials(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"Basic":          basic,
		"Digest MD5":     digested(&digest.Challenge{Realm: "app", Nonce: "n", Algorithm: "MD5", QOP: []string{"auth", " auth-int"}}),
		"Digest SHA-256": digested(&digest.Challenge{Realm: "app", Nonce: "n", Algorithm: "SHA-256", QOP: []string{"auth"}, Opaque: "o"}),
		"Digest old":     digested(&digest.Challenge{Realm: "app", Nonce: "n"}),
	} {
		t.Run(name, func(t *testing.T) {
			a := newApp(t, handler)
			c := newHooks(t, Config{}).Client(token)
			with := strings.Replace(a.URL, "http://", "http://user:p%40ss@", 1)
			for _, u := range []string{with + "/first?a=b", with + "/second", a.URL + "/third", with + "/fourth"} {
				resp, err := c.Fetch(t.Context(), Request{URL: u, Params: call1})
				if err != nil {
					t.Fatalf("%s: %v", u, err)
				}
				if resp.URL != u {
					t.Errorf("the document's URL is %s, want %s", resp.URL, u)
				}
			}
			seen := a.requests()
			if seen[0].Header.Get("Authorization") != "" || seen[0].URI != "/first?a=b" {
				t.Errorf("the first request went to %s with credentials %q", seen[0].URI, seen[0].Header.Get("Authorization"))
			}
			for _, s := range seen[1:] {
				if s.Header.Get("Authorization") == "" {
					t.Errorf("%s came without credentials", s.URI)
				}
				if s.Form.Get("CallSid") != "CA1" {
					t.Errorf("%s came without its form", s.URI)
				}
				if strings.Contains(s.Host, "@") {
					t.Errorf("Host is %s", s.Host)
				}
			}
			if name == "Basic" && len(seen) != 5 {
				t.Errorf("%d requests, want 5: the 401 and four answers", len(seen))
			}
		})
	}
}

func TestCredentialsRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		handler  http.HandlerFunc
		user     string
		requests int
	}{
		"wrong password": {basic, "user:x@", 2},
		"no credentials": {basic, "", 1},
		"wrong digest":   {digested(&digest.Challenge{Realm: "a", Nonce: "n"}), "user:x@", 2},
		"no challenge":   {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401) }, "user:x@", 1},
		"unknown scheme": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", "Negotiate")
			w.WriteHeader(401)
		}, "user:x@", 1},
		"unknown digest": {digested(&digest.Challenge{Realm: "a", Nonce: "n", Algorithm: "ROT13"}), "user:x@", 1},
		"digest always new": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", `Digest realm="a", nonce="n", stale=true`)
			w.WriteHeader(401)
		}, "user:x@", 2},
	} {
		t.Run(name, func(t *testing.T) {
			a := newApp(t, tt.handler)
			resp, err := newHooks(t, Config{}).Client(token).Fetch(t.Context(), Request{URL: strings.Replace(a.URL, "http://", "http://"+tt.user, 1)})
			if code(err) != 11200 || resp == nil || resp.Status != 401 || len(a.requests()) != tt.requests {
				t.Errorf("%v, %+v, %d requests; want 11200, 401, %d requests", err, resp, len(a.requests()), tt.requests)
			}
			if err != nil && strings.Contains(err.Error(), "user") {
				t.Errorf("the error shows the credentials: %v", err)
			}
		})
	}
}

func TestCredentialsStayWithTheirServer(t *testing.T) {
	a := newApp(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/leave" {
			http.Redirect(w, r, "http://two.example/", 307)
			return
		}
		basic(w, r)
	})
	h := newHooks(t, Config{})
	a.everywhere(h)
	c := h.Client(token)
	if _, err := c.Fetch(t.Context(), Request{URL: "http://user:p%40ss@one.example/"}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Fetch(t.Context(), Request{URL: "http://one.example/leave"}); code(err) != 11200 {
		t.Errorf("got %v, want 11200 for the 401 of the other server", err)
	}
	for _, s := range a.requests() {
		if s.Host == "two.example" && s.Header.Get("Authorization") != "" {
			t.Error("the other server got the credentials")
		}
	}
}
