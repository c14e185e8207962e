package webhook

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/offhook/offhook/internal/call"
)

// Every request is told of, as it was sent: where a redirect leads and what is repeated with credentials too.
func TestRequestsAreReported(t *testing.T) {
	long := strings.Repeat("ä", maxIgnored)
	a := newApp(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/moved":
			http.Redirect(w, r, "/voice?a=b", http.StatusSeeOther)
		case "/kept":
			w.Header().Set("Location", "/voice")
			w.WriteHeader(http.StatusTemporaryRedirect)
		case "/locked":
			if _, _, ok := r.BasicAuth(); !ok {
				w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			reply("text/xml", "<Response/>")(w, r)
		case "/a.wav":
			reply("audio/wav", "RIFF")(w, r)
		case "/image":
			reply("image/png", "\x89PNG\xff")(w, r)
		case "/latin":
			reply("text/xml; charset=iso-8859-1", "<Say>\xe4</Say>")(w, r)
		case "/long":
			reply("text/plain", "x"+long)(w, r)
		default:
			reply("text/xml", "<Response/>")(w, r)
		}
	})
	var mu sync.Mutex
	var told []call.Request
	h := newHooks(t, Config{Report: func(r call.Request) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, r)
	}})
	const voice, xml, params = "/voice", "text/xml", "CallSid=CA1&Empty=&From=%2B15551230001"
	response := func(method, url, params string) call.Request {
		return call.Request{CallSID: "CA7", Method: method, URL: a.URL + url, Params: params, Status: 200, ContentType: xml, Length: 11, Body: "<Response/>"}
	}
	but := func(r call.Request, status int, contentType string, length int, body string) call.Request {
		r.Status, r.ContentType, r.Length, r.Body = status, contentType, length, body
		return r
	}
	for _, tt := range []struct {
		method, url string
		kind        kind
		want        []call.Request
	}{
		{"POST", a.URL + voice, kindDocument, []call.Request{response("POST", voice, params)}},
		{"GET", a.URL + "/voice?a=b#rc=1", kindDocument, []call.Request{response("GET", "/voice?a=b", params)}},
		{"POST", a.URL + "/moved", kindDocument, []call.Request{but(response("POST", "/moved", params), 303, "", 0, ""), response("GET", "/voice?a=b", "")}},
		{"POST", a.URL + "/kept", kindDocument, []call.Request{but(response("POST", "/kept", params), 307, "", 0, ""), response("POST", voice, params)}},
		{"POST", strings.Replace(a.URL, "http://", "http://user:secret@", 1) + "/locked", kindDocument,
			[]call.Request{but(response("POST", "/locked", params), 401, "", 0, ""), response("POST", "/locked", params)}},
		{"GET", a.URL + "/a.wav", kindMedia, []call.Request{but(response("GET", "/a.wav", ""), 200, "audio/wav", 4, "")}},
		{"POST", a.URL + "/image", kindCallback, []call.Request{but(response("POST", "/image", params), 200, "image/png", 5, "")}},
		{"POST", a.URL + "/latin", kindDocument, []call.Request{but(response("POST", "/latin", params), 200, "text/xml; charset=iso-8859-1", 12, "<Say>\ufffd</Say>")}},
		{"POST", a.URL + "/long", kindDocument, []call.Request{but(response("POST", "/long", params), 200, "text/plain", 1+len(long), "x"+long)}},
		{"POST", a.URL + "/long", kindCallback, []call.Request{but(response("POST", "/long", params), 200, "text/plain", 1+len(long), "x"+long[:maxIgnored-2])}},
		{"POST", "http://127.0.0.1:1/#rc=1", kindDocument, []call.Request{
			{CallSID: "CA7", Method: "POST", URL: "http://127.0.0.1:1/", Params: params}, {CallSID: "CA7", Method: "POST", URL: "http://127.0.0.1:1/", Params: params},
		}},
	} {
		told = nil
		var p url.Values
		if tt.kind != kindMedia {
			p = call1
		}
		_, _ = h.Client(token).Of("CA7").do(t.Context(), Request{Method: tt.method, URL: tt.url, Params: p}, tt.kind, nil)
		if diff := cmp.Diff(tt.want, told, cmpopts.IgnoreFields(call.Request{}, "ID", "Time", "Duration")); diff != "" {
			t.Errorf("%s %s: want (-), told (+)\n%s", tt.method, tt.url, diff)
		}
		for _, r := range told {
			if r.ID == "" || r.Time.IsZero() || r.Duration < 0 || r.Duration > time.Minute {
				t.Errorf("%+v", r)
			}
		}
	}
	told = nil
	if _, err := h.Client(token).Fetch(t.Context(), Request{URL: a.URL}); err != nil || told != nil {
		t.Errorf("a request for no call: %v, %v", told, err)
	}
}
