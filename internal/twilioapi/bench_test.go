package twilioapi

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

func benchRequest(method, path string, form url.Values) *http.Request {
	r := httptest.NewRequest(method, path, strings.NewReader(form.Encode()))
	r.SetBasicAuth(testSID, testToken)
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return r
}

var benchForm = url.Values{"To": {"+15551234568"}, "From": {"+15551234567"}, "Url": {"http://127.0.0.1/x"}}

type discard struct{ header http.Header }

func (d discard) Header() http.Header       { return d.header }
func (discard) Write(b []byte) (int, error) { return len(b), nil }
func (discard) WriteHeader(int)             {}

// The handler alone.
func BenchmarkHandler(b *testing.B) {
	f := newFake()
	f.calls = append(f.calls, fullCall())
	f.addCalls(1000)
	h := New(Config{Calls: f, Store: f})
	for _, bb := range []struct {
		name, method, path string
		form               url.Values
	}{
		{"GET call", "GET", callsPath + "/" + callSID(7) + ".json", nil},
		{"POST call", "POST", callsPath + ".json", benchForm},
		{"GET 50 calls", "GET", callsPath + ".json", nil},
		{"GET 1000 calls", "GET", callsPath + ".json?PageSize=1000", nil},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			r := benchRequest(bb.method, bb.path, bb.form)
			body := bb.form.Encode()
			w := discard{http.Header{}}
			for b.Loop() {
				r.Body = io.NopCloser(strings.NewReader(body))
				h.ServeHTTP(w, r)
			}
		})
	}
}

// Over HTTP on loopback, client included.
func BenchmarkHTTP(b *testing.B) {
	f := newFake()
	f.calls = append(f.calls, fullCall())
	srv := httptest.NewServer(New(Config{Calls: f, Store: f}))
	defer srv.Close()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	defer client.CloseIdleConnections()
	for _, bb := range []struct {
		name, method, path string
		form               url.Values
		status             int
	}{
		{"GET call", "GET", callsPath + "/" + callSID(7) + ".json", nil, 200},
		{"POST call", "POST", callsPath + ".json", benchForm, 201},
	} {
		b.Run(bb.name, func(b *testing.B) {
			body := bb.form.Encode()
			b.SetParallelism(8)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					r, err := http.NewRequestWithContext(b.Context(), bb.method, srv.URL+bb.path, strings.NewReader(body))
					if err != nil {
						b.Error(err)
						return
					}
					r.SetBasicAuth(testSID, testToken)
					if body != "" {
						r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
					}
					res, err := client.Do(r)
					if err != nil {
						b.Error(err)
						return
					}
					_, _ = io.Copy(io.Discard, res.Body)
					_ = res.Body.Close()
					if res.StatusCode != bb.status {
						b.Errorf("status %d", res.StatusCode)
						return
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "req/s")
		})
	}
}
