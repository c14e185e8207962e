package webhook

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestCookiesAreBounded(t *testing.T) {
	n := 0
	a := newApp(t, func(w http.ResponseWriter, _ *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "menu", Value: fmt.Sprint(n), Path: "/"}) // always the same one
		for range 20 {
			n++
			http.SetCookie(w, &http.Cookie{Name: fmt.Sprint("c", n), Value: strings.Repeat("x", 500*(n%2)), Path: "/"})
		}
		http.SetCookie(w, &http.Cookie{Name: "long", Value: strings.Repeat("x", maxCookie), Path: "/"})
		http.SetCookie(w, &http.Cookie{Name: fmt.Sprint("c", n-1), MaxAge: -1, Path: "/"})
	})
	c := newHooks(t, Config{}).Client(token)
	if c.jar.jar != nil {
		t.Error("a jar without a cookie")
	}
	for range 30 {
		if _, err := c.Fetch(t.Context(), Request{URL: a.URL}); err != nil {
			t.Fatal(err)
		}
	}
	last := a.requests()[29]
	sent := (&http.Request{Header: last.Header}).Cookies()
	names := map[string]string{}
	for _, k := range sent {
		names[k.Name] = k.Value
	}
	if len(sent) > maxCookies || len(last.Header.Get("Cookie")) > maxCookieBytes || len(sent) < 20 {
		t.Errorf("%d cookies in %d bytes", len(sent), len(last.Header.Get("Cookie")))
	}
	if _, deleted := names["c579"]; names["menu"] != "560" || names["long"] != "" || deleted || names["c580"] != "" || len(names["c577"]) != 500 {
		t.Errorf("the newest are not there: %v", names)
	}
	if len(c.jar.kept) > maxCookies || c.jar.bytes > maxCookieBytes {
		t.Errorf("%d cookies with %d bytes are kept", len(c.jar.kept), c.jar.bytes)
	}
}

// TestLargeAnswersTakeTurns: whoever has a large file keeps its place until that is decoded, or a minute.
func TestLargeAnswersTakeTurns(t *testing.T) {
	clk := &handClock{now: epoch}
	wav := append([]byte("not really audio"), make([]byte, largeMedia)...)
	a := newApp(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "audio/wav")
		_, _ = w.Write(wav)
	})
	h := newHooks(t, Config{Clock: clk})
	got := make(chan *Response)
	for range maxLarge + 2 {
		go func() {
			resp, err := h.Client(token).Fetch(t.Context(), Request{URL: a.URL})
			if err != nil {
				t.Error(err)
			}
			got <- resp
		}()
	}
	var first *Response
	for range maxLarge {
		first = <-got
	}
	select {
	case <-got:
		t.Error("one too many")
	case <-time.After(20 * time.Millisecond):
	}
	if _, err := h.Decode(t.Context(), first); err == nil {
		t.Error("that was no audio")
	}
	<-got
	if n := len(h.media.large.slots); n != maxLarge {
		t.Errorf("%d places are taken", n)
	}
	clk.advance(10 * time.Second) // the one that waits has its 15 s
	small, err := h.Client(token).Fetch(t.Context(), Request{URL: newApp(t, reply("audio/wav", "short")).URL})
	if err != nil || string(small.Body) != "short" {
		t.Errorf("a small file: %v", err)
	}
	if _, err := h.Decode(t.Context(), &Response{Body: bytes.Clone(first.Body)}); err == nil || len(h.media.large.slots) != maxLarge {
		t.Error("a file without a place gave one back")
	}
	h.media.large.mu.Lock()
	for _, timer := range h.media.large.held {
		timer.Reset(0)
		break
	}
	h.media.large.mu.Unlock()
	clk.advance(0) // the minute of one of them is over
	<-got
	clk.advance(largeTime)
	for range maxLarge {
		h.media.large.slots <- struct{}{}
	}
}

// TestSignaturesOfOddValues compares what an application gets with Twilio's algorithm, written down here once
// more: the URL, then every decoded parameter in the order of the names, base64 of an HMAC-SHA1.
func TestSignaturesOfOddValues(t *testing.T) {
	var form url.Values
	var base string
	a := newApp(t, func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		text := base + r.RequestURI
		var names []string
		for name := range r.PostForm {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			if len(r.PostForm[name]) != 1 {
				t.Errorf("%q is sent %d times", name, len(r.PostForm[name]))
			}
			text += name + r.PostForm[name][0]
		}
		mac := hmac.New(sha1.New, []byte(token))
		mac.Write([]byte(text))
		if got, want := r.Header.Get("X-Twilio-Signature"), base64.StdEncoding.EncodeToString(mac.Sum(nil)); got != want {
			t.Errorf("signature %s, want %s of %q", got, want, text)
		}
		for name := range form {
			if got := r.Form.Get(name); got != form.Get(name) {
				t.Errorf("%q arrived as %q", form.Get(name), got)
			}
		}
	})
	base = a.URL
	c := newHooks(t, Config{}).Client(token)
	odd := []string{
		"", "1", "#*0", "a b", "a+b", "100%", "%2B", "&=?;", "ü", "日本語", "😀", "\x00", "\r\n", "\xff\xfe", "<x>\"'", " lead", "trail ", "http://a.test/?b=c#d", "~-._",
	}
	names := []string{"Digits", "From", "SpeechResult", "SipHeader_X-A", "zeta", "Zeta", "_", "a b", "ä", "A.1", "A-1", "A"}
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 0))
		form = url.Values{}
		for _, name := range names[:1+r.IntN(len(names))] {
			value := ""
			for range r.IntN(4) {
				value += odd[r.IntN(len(odd))]
			}
			form.Set(name, value)
		}
		method := []string{"POST", "GET"}[r.IntN(2)]
		path := []string{"/", "/voice?x=%2b+y", "/a%20b?", "/v;p=1?q=%zz"}[r.IntN(3)]
		if _, err := c.Fetch(t.Context(), Request{Method: method, URL: a.URL + path, Params: form}); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

var sink []*Client

// BenchmarkClient is what a call's client takes while the call lives.
func BenchmarkClient(b *testing.B) {
	h := New(Config{})
	defer h.Close()
	s := httptest.NewServer(reply("text/xml", "<Response/>"))
	defer s.Close()
	for _, cookies := range []int{0, 1, 100} {
		b.Run(fmt.Sprintf("%d cookies", cookies), func(b *testing.B) {
			u, _ := url.Parse("http://app.example/voice")
			b.ReportAllocs()
			sink = make([]*Client, 0, b.N)
			b.ResetTimer()
			for range b.N {
				c := h.Client(token)
				for i := range cookies {
					c.jar.set(u, []*http.Cookie{{Name: fmt.Sprint("menu", i), Value: "0123456789abcdef"}})
				}
				sink = append(sink, c)
			}
			b.StopTimer()
			sink = nil
		})
	}
}
