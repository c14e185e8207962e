package webhook

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/offhook/offhook/internal/audio"
)

func TestValidity(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	date := func(d time.Duration) string { return now.Add(d).Format(http.TimeFormat) }
	for _, tt := range []struct {
		header string
		ok     bool
		fresh  time.Duration
	}{
		{"", false, 0},
		{"ETag: x", true, 0},
		{"Last-Modified: " + date(-time.Hour), true, 0},
		{"Cache-Control: max-age=60", true, time.Minute},
		{"Cache-Control: public, Max-Age=\"60\"", true, time.Minute},
		{"Cache-Control: max-age=60\nAge: 20", true, 40 * time.Second},
		{"Cache-Control: max-age=60\nAge: 80", false, 0},
		{"Cache-Control: max-age=99999999999", true, maxFresh},
		{"Cache-Control: max-age=-1\nETag: x", true, 0},
		{"Cache-Control: max-age=x", false, 0},
		{"Cache-Control: max-age=60, no-cache\nETag: x", true, 0},
		{"Cache-Control: no-cache, max-age=60", false, 0},
		{"Cache-Control: no-cache, no-store\nETag: x", false, 0},
		{"Cache-Control: max-age=60\nVary: *", false, 0},
		{"Cache-Control: max-age=60\nVary: Accept-Encoding", true, time.Minute},
		{"Expires: " + date(time.Hour), true, time.Hour},
		{"Date: " + date(-time.Minute) + "\nExpires: " + date(time.Hour), true, 61 * time.Minute},
		{"Expires: 0", false, 0},
		{"Expires: " + date(time.Hour) + "\nCache-Control: max-age=5", true, 5 * time.Second},
		{"Expires: " + date(1000*time.Hour), true, maxFresh},
	} {
		h := http.Header{}
		for line := range strings.SplitSeq(tt.header, "\n") {
			if name, value, ok := strings.Cut(line, ": "); ok {
				h.Add(name, value)
			}
		}
		v, ok := validityOf(h, now)
		if ok != tt.ok || ok && v.until.Sub(now) != tt.fresh {
			t.Errorf("%q: %v, fresh for %v; want %v, %v", tt.header, ok, v.until.Sub(now), tt.ok, tt.fresh)
		}
	}
}

// wav is a mono 16 bit file of so many samples at 8 kHz, all of one value.
func wav(samples int, value int16) string {
	var b strings.Builder
	le := func(v any) { _ = binary.Write(&b, binary.LittleEndian, v) }
	b.WriteString("RIFF")
	le(uint32(36 + 2*samples))
	b.WriteString("WAVEfmt ")
	le(uint32(16))
	le([]uint16{1, 1})
	le([]uint32{8000, 16000})
	le([]uint16{2, 16})
	b.WriteString("data")
	le(uint32(2 * samples))
	for range samples {
		le(value)
	}
	return b.String()
}

// site is a changing file behind one validator or age.
type site struct {
	mu      sync.Mutex
	version int
	header  func(http.Header, int)
	status  int
	served  int // with a body
}

func (s *site) serve(contentType string, body func(version int) string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.status != 0 {
			w.WriteHeader(s.status)
			return
		}
		s.header(w.Header(), s.version)
		w.Header().Set("Content-Type", contentType)
		etag, modified := w.Header().Get("ETag"), w.Header().Get("Last-Modified")
		if etag != "" && r.Header.Get("If-None-Match") == etag || modified != "" && r.Header.Get("If-Modified-Since") == modified {
			w.WriteHeader(304)
			return
		}
		s.served++
		_, _ = io.WriteString(w, body(s.version))
	}
}

func (s *site) change(f func(*site)) { s.mu.Lock(); defer s.mu.Unlock(); f(s) }

func etagged(h http.Header, version int) { h.Set("ETag", fmt.Sprintf(`"%d"`, version)) }

func modified(h http.Header, version int) {
	h.Set("Last-Modified", time.Date(2026, 1, 1, 0, 0, version, 0, time.UTC).Format(http.TimeFormat))
}

func aged(h http.Header, version int) { etagged(h, version); h.Set("Cache-Control", "max-age=60") }

func unmarked(http.Header, int) {}

// TestDocumentsAreCachedForTheirCall asks a document again and again while it changes and time passes.
func TestDocumentsAreCachedForTheirCall(t *testing.T) {
	for _, tt := range []struct {
		name             string
		header           func(http.Header, int)
		method           string
		requests, served int
		last             string
	}{
		{"ETag", etagged, "GET", 4, 2, "2"},
		{"Last-Modified", modified, "GET", 4, 2, "2"},
		{"max-age", aged, "GET", 2, 2, "2"}, // first, (fresh, fresh), changed and a minute later
		{"nothing", unmarked, "GET", 4, 4, "2"},
		{"POST", aged, "POST", 4, 4, "2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHooks(t, Config{})
				s := &site{version: 1, header: tt.header}
				a := &app{}
				serve(t, h, a.record(s.serve("text/xml", func(v int) string { return fmt.Sprint(v) })))
				c := h.Client(token)
				get := func(c *Client) string {
					resp, err := c.Fetch(t.Context(), Request{Method: tt.method, URL: "http://app.example/voice?x=1", Params: call1})
					if err != nil {
						t.Fatal(err)
					}
					return string(resp.Body)
				}
				get(c)
				get(c)
				get(c)
				s.change(func(s *site) { s.version = 2 })
				<-time.After(61 * time.Second)
				if got := get(c); got != tt.last {
					t.Errorf("got version %s, want %s", got, tt.last)
				}
				if tt.method == "POST" { // nothing conditional, nothing stored
					for _, r := range a.requests() {
						if r.Header.Get("If-None-Match") != "" {
							t.Error("a conditional POST")
						}
					}
				}
				if len(a.requests()) != tt.requests || s.served != tt.served {
					t.Errorf("%d requests, %d with a body; want %d, %d", len(a.requests()), s.served, tt.requests, tt.served)
				}
				get(h.Client(token))
				if len(a.requests()) != tt.requests+1 {
					t.Error("another call was served from this call's cache")
				}
			})
		})
	}
}

func TestDocumentsAreBounded(t *testing.T) {
	var d documents
	now := time.Now()
	for i := range 1000 {
		d.put(fmt.Sprint(i), &answer{200, http.Header{"Etag": {"x"}}, make([]byte, 1+i*100)}, now)
		total := 0
		for _, doc := range d.byURL {
			total += len(doc.body)
		}
		if len(d.byURL) > maxDocuments || d.bytes > maxDocumentBytes || total != d.bytes {
			t.Fatalf("%d documents, %d bytes, counted as %d", len(d.byURL), total, d.bytes)
		}
	}
	d.put("999", &answer{200, http.Header{}, nil}, now)
	if d.get("999") != nil {
		t.Error("an answer that may not be stored left the older one in place")
	}
}

func TestClipIsCachedBetweenCalls(t *testing.T) {
	for _, tt := range []struct {
		name             string
		header           func(http.Header, int)
		requests, served int
	}{
		{"ETag", etagged, 4, 2},
		{"Last-Modified", modified, 4, 2},
		{"max-age", aged, 2, 2},
		{"nothing", unmarked, 4, 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHooks(t, Config{})
				s := &site{version: 1, header: tt.header}
				a := &app{}
				serve(t, h, a.record(s.serve("audio/wav", func(v int) string { return wav(160*v, 1000) })))
				get := func() *audio.Clip {
					clip, err := h.Clip(t.Context(), h.Client(token), "http://app.example/a.wav#rc=0")
					if err != nil {
						t.Fatal(err)
					}
					return clip
				}
				one := get()
				get()
				two := get()
				if one.Frames() != 1 || s.served == 1 && one != two {
					t.Error("the clip was decoded again")
				}
				s.change(func(s *site) { s.version = 2 })
				<-time.After(61 * time.Second)
				if got := get(); got.Frames() != 2 {
					t.Errorf("the new file was not heard: %d frames", got.Frames())
				}
				if len(a.requests()) != tt.requests || s.served != tt.served {
					t.Errorf("%d requests, %d with a body; want %d, %d", len(a.requests()), s.served, tt.requests, tt.served)
				}
				r := a.requests()[0]
				if r.Method != "GET" || r.URI != "/a.wav" || r.Header.Get("X-Twilio-Signature") != "" || r.Header.Get("I-Twilio-Idempotency-Token") != "" {
					t.Errorf("the request was %+v", r)
				}
			})
		})
	}
}

func TestClipErrors(t *testing.T) {
	s := &site{header: etagged}
	file := s.serve("audio/wav", func(int) string { return wav(160, 0) })
	a := newApp(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/ok":
			file(w, r)
		case "/moved":
			http.Redirect(w, r, "/ok", 302)
		case "/html":
			reply("text/html", "<html/>")(w, r)
		case "/none":
			w.Header()["Content-Type"] = nil
			_, _ = io.WriteString(w, wav(160, 0))
		case "/empty":
			reply("audio/wav", "")(w, r)
		case "/broken":
			reply("audio/wav", "RIFFxxxx")(w, r)
		case "/huge":
			w.Header().Set("Content-Type", "audio/wav")
			for range MaxMedia/(1<<20) + 1 {
				if _, err := w.Write(make([]byte, 1<<20)); err != nil {
					return
				}
			}
		default:
			http.NotFound(w, r)
		}
	})
	h := newHooks(t, Config{})
	for path, want := range map[string]int{
		"/ok": 0, "/moved": 0, "/html": 13420, "/none": 13420, "/empty": 13420, "/broken": 13420, "/huge": 11750, "/missing": 11200,
		"/ok#rp=x": 11243, "/%zz": 11100,
	} {
		clip, err := h.Clip(t.Context(), h.Client(token), a.URL+path)
		if code(err) != want || (err == nil) != (clip != nil) {
			t.Errorf("%s: %v, want code %d", path, err, want)
		}
	}
	if _, err := h.Clip(t.Context(), h.Client(token), "/relative"); code(err) != 11100 {
		t.Errorf("relative: %v", err)
	}
	s.change(func(s *site) { s.status = 404 })
	if _, err := h.Clip(t.Context(), h.Client(token), a.URL+"/ok"); code(err) != 11200 {
		t.Errorf("deleted: %v", err)
	}
	s.change(func(s *site) { s.status = 0 })
	if _, err := h.Clip(t.Context(), h.Client(token), a.URL+"/ok"); err != nil || s.served != 3 {
		t.Errorf("back again: %v, served %d times", err, s.served)
	}
}

func TestClipNeedsItsCredentials(t *testing.T) {
	a := newApp(t, func(w http.ResponseWriter, r *http.Request) {
		if name, _, _ := r.BasicAuth(); name != "user" {
			w.Header().Set("WWW-Authenticate", "Basic")
			w.WriteHeader(401)
			return
		}
		w.Header().Set("Cache-Control", "max-age=60")
		reply("audio/wav", wav(160, 0))(w, r)
	})
	h := newHooks(t, Config{})
	with := strings.Replace(a.URL, "http://", "http://user:x@", 1) + "/a.wav"
	c := h.Client(token)
	for _, u := range []string{with, a.URL + "/a.wav"} {
		if _, err := h.Clip(t.Context(), c, u); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := h.Clip(t.Context(), h.Client(token), a.URL+"/a.wav"); code(err) != 11200 {
		t.Errorf("a call without credentials got the file: %v", err)
	}
}

func TestClipSharesOneRequest(t *testing.T) {
	const calls = 20
	release := make(chan struct{})
	a := newApp(t, func(w http.ResponseWriter, r *http.Request) {
		<-release
		reply("audio/wav", wav(160, 0))(w, r)
	})
	h := newHooks(t, Config{})
	var wait sync.WaitGroup
	for range calls {
		f, clip := h.media.get(t.Context(), h.Client(token), a.URL) // in flight before anybody waits for it
		if clip != nil {
			t.Fatal("the clip came from nowhere")
		}
		wait.Go(func() {
			if <-f.done; f.err != nil {
				t.Error(f.err)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.Clip(ctx, h.Client(token), a.URL); code(err) != 11200 {
		t.Errorf("a call that ended: %v", err)
	}
	close(release)
	wait.Wait()
	if len(a.requests()) != 1 {
		t.Errorf("%d requests", len(a.requests()))
	}
}

func TestMediaCacheIsBounded(t *testing.T) {
	a := newApp(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=3600")
		n := 16000
		if r.URL.Path == "/large" {
			n = 160_000
		}
		reply("audio/wav", wav(n, 0))(w, r)
	})
	h := newHooks(t, Config{MediaCache: 100_000}) // five clips of 17 kB
	get := func(path string) {
		t.Helper()
		if _, err := h.Clip(t.Context(), h.Client(token), a.URL+path); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 5 {
		get(fmt.Sprintf("/%d", i))
	}
	get("/0")
	get("/large") // never kept
	get("/5")     // drops 1, the one not asked for longest
	before := len(a.requests())
	get("/0")
	get("/5")
	if len(a.requests()) != before {
		t.Error("a recent clip was dropped")
	}
	get("/1")
	if len(a.requests()) != before+1 {
		t.Error("the oldest clip was kept")
	}
	if h.media.bytes > h.media.limit || h.media.recent.Len() != len(h.media.entries) {
		t.Errorf("%d bytes in %d entries", h.media.bytes, len(h.media.entries))
	}
}
