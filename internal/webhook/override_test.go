package webhook

import (
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestOverrides(t *testing.T) {
	std := overrides{connect: 5 * time.Second, read: 15 * time.Second, total: 15 * time.Second, retries: 1, sni: true, onConnect: true}
	with := func(change func(*overrides)) overrides { o := std; change(&o); return o }
	for _, tt := range []struct {
		url   string
		clean string
		want  overrides
		code  int
	}{
		{"http://x/a", "http://x/a", std, 0},
		{"http://x/a#", "http://x/a", std, 0},
		{"http://x/a#section", "http://x/a", std, 0},
		{"http://x/a#unknown=1&", "http://x/a", std, 0},
		{"http://x/a#ct=2000&rt=300&tt=4000&rc=3&sni=n&e=ashburn,dublin&rp=5xx", "http://x/a", overrides{connect: 2 * time.Second, read: 300 * time.Millisecond, total: 4 * time.Second, retries: 3, on5xx: true}, 0},
		{"http://x/a#ct=1&rt=1&tt=1&rc=-1", "http://x/a", with(func(o *overrides) {
			o.connect, o.read, o.total, o.retries = 100*time.Millisecond, 100*time.Millisecond, 100*time.Millisecond, 0
		}), 0},
		{"http://x/a#ct=99999&rt=99999&tt=99999&rc=99", "http://x/a", with(func(o *overrides) { o.connect, o.retries = 10*time.Second, 5 }), 0},
		{"http://x/a#ct=x&rt=&tt=1.5&rc=many&sni=y", "http://x/a", std, 0},
		{"http://x/a#rp=4xx,5xx,ct,rt", "http://x/a", with(func(o *overrides) { o.on4xx, o.on5xx, o.onRead = true, true, true }), 0},
		{"http://x/a#rp=4xx%2C5xx", "http://x/a", with(func(o *overrides) { o.on4xx, o.on5xx, o.onConnect = true, true, false }), 0},
		{"http://x/a#rp=all", "http://x/a", with(func(o *overrides) { o.onAny, o.onConnect = true, false }), 0},
		{"http://x/a#rp=never", "http://x/a", overrides{}, 11243},
		{"http://x/a#rp=", "http://x/a", overrides{}, 11243},
		{"http://x/a#e=Mars!", "http://x/a", overrides{}, 11240},
		{"http://x/a#e=", "http://x/a", overrides{}, 11240},
	} {
		clean, got, err := splitURL(tt.url)
		gotCode := 0
		if err != nil {
			gotCode = err.Code
		}
		if clean != tt.clean || gotCode != tt.code {
			t.Errorf("%s: %q, %v", tt.url, clean, err)
		}
		if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(overrides{})); tt.code == 0 && diff != "" {
			t.Errorf("%s: %s", tt.url, diff)
		}
	}
}

func FuzzOverrides(f *testing.F) {
	f.Add("http://x/a#ct=2000&rt=300&tt=4000&rc=3&sni=n&e=ashburn,dublin&rp=5xx,all")
	f.Fuzz(func(t *testing.T, url string) {
		_, o, _ := splitURL(url)
		if o.connect < 100*time.Millisecond || o.connect > maxConnect || o.read < 100*time.Millisecond || o.read > maxTotal ||
			o.total < 100*time.Millisecond || o.total > maxTotal || o.retries < 0 || o.retries > maxRetries {
			t.Fatalf("%+v", o)
		}
	})
}

func TestRetriesAsAskedFor(t *testing.T) {
	for _, tt := range []struct {
		fragment string
		statuses []int // of one request after the other, the last again and again; 0 drops the connection
		requests int
		code     int
	}{
		{"", []int{500}, 1, 11200},
		{"", []int{0}, 1, 11205},
		{"#rp=5xx", []int{500, 200}, 2, 0},
		{"#rp=5xx", []int{503}, 2, 11200},
		{"#rp=5xx&rc=5", []int{503}, 6, 11200},
		{"#rp=5xx&rc=0", []int{503}, 1, 11200},
		{"#rp=5xx&rc=2", []int{404}, 1, 11200},
		{"#rp=4xx&rc=2", []int{404, 403, 200}, 3, 0},
		{"#rp=4xx", []int{500}, 1, 11200},
		{"#rp=all&rc=3", []int{404, 500, 0, 200}, 4, 0},
		{"#rp=ct&rc=3", []int{0}, 1, 11205},
		{"#rp=never", []int{200}, 0, 11243},
		{"#e=!", []int{200}, 0, 11240},
		{"#e=dublin", []int{200}, 1, 0},
	} {
		t.Run(tt.fragment, func(t *testing.T) {
			var n atomic.Int32
			a := newApp(t, func(w http.ResponseWriter, _ *http.Request) {
				status := tt.statuses[min(int(n.Add(1)), len(tt.statuses))-1]
				if status == 0 {
					panic(http.ErrAbortHandler)
				}
				w.WriteHeader(status)
			})
			_, err := newHooks(t, Config{}).Client(token).Fetch(t.Context(), Request{URL: a.URL + tt.fragment, Token: "same"})
			if code(err) != tt.code || len(a.requests()) != tt.requests {
				t.Errorf("got %v after %d requests; want code %d after %d", err, len(a.requests()), tt.code, tt.requests)
			}
			for _, s := range a.requests() {
				if s.Header.Get("I-Twilio-Idempotency-Token") != "same" {
					t.Error("a retry has another idempotency token")
				}
			}
		})
	}
}
