package proof

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/offhook/offhook/internal/clock"
	"github.com/offhook/offhook/twiliocall"
)

// A hook takes the events of all calls as webhooks. It dies and comes back at the same address, again and again.
type hook struct {
	*chaos
	rand *rand.Rand
	addr string
	key  []byte // of the signatures

	mu    sync.Mutex
	got   map[string][]arrival // by call SID, each event once
	ids   map[string]bool      // of events
	again int                  // how often one came that had come before
	lives int
}

type arrival struct {
	*twiliocall.Event
	at time.Time
}

const (
	hookLives = time.Second            // at most
	hookDead  = 500 * time.Millisecond // at most
	// outOfTurn is how long an event waits for an earlier one of its call.
	outOfTurn = 30 * time.Second
)

// newHook makes one that the account's events are sent to.
func newHook(c *chaos, r *rand.Rand) *hook {
	h := &hook{chaos: c, rand: r, key: make([]byte, 32), got: map[string][]arrival{}, ids: map[string]bool{}}
	for i := range h.key {
		h.key[i] = byte(r.Uint32())
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		c.t.Fatal(err)
	}
	h.addr = l.Addr().String()
	_ = l.Close() // nobody is there until the first life of the receiver
	body := fmt.Sprintf(`{"url":"http://%s/hook","secret":"whsec_%s"}`, h.addr, base64.StdEncoding.EncodeToString(h.key))
	var answer any
	if err := c.engine.request(c.ctx, "POST", "/v1/webhooks", strings.NewReader(body), "application/json", &answer); err != nil {
		c.t.Fatal(err)
	}
	return h
}

// run lives and dies until ctx ends, and then lives on until the test is over.
func (h *hook) run(ctx context.Context) {
	for {
		l, err := net.Listen("tcp", h.addr)
		if err != nil {
			h.t.Errorf("webhooks: %v", err)
			return
		}
		server := &http.Server{Handler: h, ReadHeaderTimeout: patience}
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			_ = server.Serve(l) // until it is closed
		}()
		die := func() {
			_ = server.Close() // in the middle of whatever it does
			<-gone
		}
		h.mu.Lock()
		h.lives++
		h.mu.Unlock()
		if ctx.Err() != nil {
			h.t.Cleanup(die)
			return
		}
		_ = clock.Sleep(ctx, clock.System, time.Duration(h.rand.Int64N(int64(hookLives))))
		die()
		_ = clock.Sleep(ctx, clock.System, time.Duration(h.rand.Int64N(int64(hookDead))))
	}
}

func (h *hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // it died
	}
	id := r.Header.Get("Webhook-Id")
	mac := hmac.New(sha256.New, h.key)
	fmt.Fprintf(mac, "%s.%s.%s", id, r.Header.Get("Webhook-Timestamp"), body)
	want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	if !slices.Contains(strings.Fields(r.Header.Get("Webhook-Signature")), want) {
		h.t.Errorf("webhook %s is signed %q, want %q", id, r.Header.Get("Webhook-Signature"), want)
	}
	e := &twiliocall.Event{}
	if err := json.Unmarshal(body, e); err != nil {
		h.t.Errorf("webhook %s: %v: %s", id, err, body)
	}
	h.mu.Lock()
	if h.ids[e.ID] {
		h.again++
	} else {
		h.ids[e.ID] = true
		h.got[e.Subject] = append(h.got[e.Subject], arrival{e, time.Now()})
	}
	away := h.rand.IntN(20) == 0
	h.mu.Unlock()
	if away {
		w.WriteHeader(http.StatusServiceUnavailable) // it comes again
	}
}

// missing is how many of these events of a call have not come.
func (h *hook) missing(events []*twiliocall.Event) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range events {
		if !h.ids[e.ID] {
			n++
		}
	}
	return n
}

// inOrder checks what came of a call: its events, each behind the one before unless it had waited for it long enough.
func (h *hook) inOrder(sid string, events []*twiliocall.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	came := map[int]bool{}
	for _, a := range h.got[sid] {
		if a.Sequence >= len(events) || !reflect.DeepEqual(withoutPosition(a.Event), withoutPosition(events[a.Sequence])) {
			h.t.Errorf("%s: the webhook of %s, number %d, is no event of it", sid, a.Type, a.Sequence)
			continue
		}
		came[a.Sequence] = true
		stored, err := time.Parse(time.RFC3339, a.Time)
		if err != nil {
			h.t.Error(err)
		}
		for before := range a.Sequence {
			if !came[before] && a.at.Sub(stored) < outOfTurn {
				h.t.Errorf("%s: the webhook of %s, number %d, comes before number %d, %v after it was stored", sid, a.Type, a.Sequence, before, a.at.Sub(stored))
			}
		}
	}
}
