package webhook

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"runtime"
	"sync"
	"time"

	"github.com/offhook/offhook/internal/audio"
	"github.com/offhook/offhook/internal/clock"
	"github.com/offhook/offhook/internal/twilio"
	"github.com/offhook/offhook/internal/twiml"
)

// Bounds of the audio files that are in memory undecoded, and with them of that memory: maxMediaFetches at once
// for <Play>, and of the large ones maxLarge in all, those that an application answered with included. These
// give their place back when they are decoded, or after largeTime.
const (
	maxMediaFetches = 32
	largeMedia      = 256 << 10
	maxLarge        = 8
	largeTime       = time.Minute
)

// large are the places of large files.
type large struct {
	clock clock.Clock
	slots chan struct{}
	mu    sync.Mutex
	held  map[*byte]clock.Timer // by where the file begins
}

func (l *large) take(ctx context.Context) error {
	select {
	case l.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// own gives the place that was taken to a file, or back when there is none.
func (l *large) own(body []byte, failed bool) {
	if failed {
		<-l.slots
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held[&body[0]] = l.clock.AfterFunc(largeTime, func() { l.release(body) })
}

// release gives the place of a file back, if it has one.
func (l *large) release(body []byte) {
	if len(body) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if t := l.held[&body[0]]; t != nil {
		t.Stop()
		delete(l.held, &body[0])
		<-l.slots
	}
}

// Clip gets the audio behind a <Play> URL, ready to be sent. Decoded clips are kept between calls, least
// recently used first out, for as long as the server's Cache-Control says or it confirms by ETag or
// Last-Modified that nothing has changed; calls that want the same file at the same time share one
// request. Errors are *twilio.Error: 13420 for what is not audio we can play, 11750 for a file over
// MaxMedia, else as Fetch's.
func (h *Hooks) Clip(ctx context.Context, c *Client, rawURL string) (*audio.Clip, error) {
	f, clip := h.media.get(ctx, c, rawURL)
	if clip != nil {
		return clip, nil
	}
	return f.wait(ctx)
}

// Decode makes a clip of the audio that an application answered with instead of a document; 12300 when it
// is none. It returns when ctx ends, and shares the processors with live calls as Clip does.
func (h *Hooks) Decode(ctx context.Context, resp *Response) (*audio.Clip, error) {
	f := &flight{done: make(chan struct{})}
	if !h.begin() {
		return nil, twilio.Err(11200, "the request was given up").With(errClosed)
	}
	go func() {
		defer h.work.Done()
		defer close(f.done)
		defer h.media.large.release(resp.Body)
		if f.clip, f.err = h.media.decode(resp); f.err != nil {
			f.err = twilio.Err(12300, fmt.Sprintf("%s: %v", Redact(resp.URL), f.err)).With(f.err)
		}
	}()
	return f.wait(ctx)
}

// mediaCache keeps decoded audio files.
type mediaCache struct {
	h       *Hooks
	limit   int64
	fetches chan struct{} // a slot for each file being fetched
	decodes chan struct{} // and decoded: live calls need the processors too
	large   large

	mu      sync.Mutex
	entries map[string]*list.Element // of *mediaEntry
	recent  list.List                // most recently used first
	bytes   int64
	flights map[string]*flight
}

type mediaEntry struct {
	key  string
	clip *audio.Clip
	validity
}

// size is what the entry counts: its samples, and about what it takes besides.
func (e *mediaEntry) size() int64 { return int64(len(e.clip.ULaw())) + 1024 }

// flight is a request that is under way for everybody who wants its clip.
type flight struct {
	done chan struct{}
	clip *audio.Clip
	err  error
}

func newMediaCache(h *Hooks, limit int64) *mediaCache {
	return &mediaCache{
		h: h, limit: limit,
		fetches: make(chan struct{}, maxMediaFetches),
		decodes: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)),
		large:   large{clock: h.cfg.Clock, slots: make(chan struct{}, maxLarge), held: make(map[*byte]clock.Timer)},
		entries: make(map[string]*list.Element), flights: make(map[string]*flight),
	}
}

func (f *flight) wait(ctx context.Context) (*audio.Clip, error) {
	select {
	case <-f.done:
		return f.clip, f.err
	case <-ctx.Done():
		return nil, twilio.Err(11200, "the request was given up").With(context.Cause(ctx))
	}
}

// get returns the clip when it may be used as it is, else the flight that will have it.
func (m *mediaCache) get(ctx context.Context, c *Client, rawURL string) (*flight, *audio.Clip) {
	key := mediaKey(c, rawURL)
	m.mu.Lock()
	defer m.mu.Unlock()
	var old *mediaEntry
	if e := m.entries[key]; e != nil {
		m.recent.MoveToFront(e)
		old = e.Value.(*mediaEntry)
		if m.h.cfg.Clock.Now().Before(old.until) {
			return nil, old.clip
		}
	}
	if f := m.flights[key]; f != nil {
		return f, nil
	}
	f := &flight{done: make(chan struct{})}
	if !m.h.begin() {
		f.err = twilio.Err(11200, "the request was given up").With(errClosed)
		close(f.done)
		return f, nil
	}
	m.flights[key] = f
	under := m.h.cfg.Tracer.Carry(m.h.ctx, ctx) // the trace of who asked first
	go func() {
		defer m.h.work.Done()
		f.clip, f.err = m.fetch(under, c, rawURL, key, old)
		m.mu.Lock()
		delete(m.flights, key)
		m.mu.Unlock()
		close(f.done)
	}()
	return f, nil
}

// mediaKey is the URL together with who asks: credentials are in the URL, or known from an earlier challenge.
func mediaKey(c *Client, rawURL string) string {
	raw, _, _ := splitURL(rawURL)
	u, err := url.Parse(raw)
	if err != nil || u.User != nil {
		return raw
	}
	return c.creds.known(origin(u)) + " " + raw
}

// fetch asks for the file, or whether old is still good. ctx is the Hooks' life, since more than one call
// may wait for it.
func (m *mediaCache) fetch(ctx context.Context, c *Client, rawURL, key string, old *mediaEntry) (*audio.Clip, error) {
	if err := acquire(m.h.ctx, m.fetches); err != nil {
		return nil, err
	}
	defer func() { <-m.fetches }()
	var ask *validity
	if old != nil {
		ask = &old.validity
	}
	resp, f := c.do(ctx, Request{Method: http.MethodGet, URL: rawURL}, kindMedia, ask)
	if resp != nil {
		defer m.large.release(resp.Body)
	}
	now := m.h.cfg.Clock.Now()
	switch {
	case f != nil:
		return nil, f.err
	case resp.Status == http.StatusNotModified:
		v := old.validity
		v.renew(resp.Header, now)
		m.put(&mediaEntry{key, old.clip, v})
		return old.clip, nil
	case resp.Status >= 400:
		m.drop(key)
		return nil, twilio.Err(11200, fmt.Sprintf("%s answered %d %s", Redact(rawURL), resp.Status, http.StatusText(resp.Status)))
	case !twiml.IsAudio(resp.ContentType):
		m.drop(key)
		return nil, twilio.Err(13420, fmt.Sprintf("%s is %q", Redact(rawURL), resp.ContentType))
	}
	clip, err := m.decode(resp)
	if err != nil {
		m.drop(key)
		return nil, twilio.Err(13420, fmt.Sprintf("%s: %v", Redact(rawURL), err)).With(err)
	}
	// Redirected or not, what the last answer says about its life holds.
	if v, ok := validityOf(resp.Header, now); ok {
		m.put(&mediaEntry{key, clip, v})
	} else {
		m.drop(key)
	}
	return clip, nil
}

var errNoAudio = errors.New("the file is empty")

func (m *mediaCache) decode(resp *Response) (*audio.Clip, error) {
	if len(resp.Body) == 0 {
		return nil, errNoAudio
	}
	if err := acquire(m.h.ctx, m.decodes); err != nil {
		return nil, err
	}
	defer func() { <-m.decodes }()
	return audio.Decode(resp.ContentType, resp.Body)
}

func acquire(ctx context.Context, slots chan struct{}) error {
	select {
	case slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return twilio.Err(11200, "the request was given up").With(errClosed)
	}
}

func (m *mediaCache) put(e *mediaEntry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dropLocked(e.key)
	if e.size() > m.limit {
		return
	}
	m.entries[e.key] = m.recent.PushFront(e)
	m.bytes += e.size()
	for m.bytes > m.limit {
		m.dropLocked(m.recent.Back().Value.(*mediaEntry).key)
	}
}

func (m *mediaCache) drop(key string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dropLocked(key)
}

func (m *mediaCache) dropLocked(key string) {
	if e := m.entries[key]; e != nil {
		delete(m.entries, key)
		m.bytes -= m.recent.Remove(e).(*mediaEntry).size()
	}
}
