package webhook

import (
	"net/http"
	"sync"
	"time"
)

// Bounds of the documents one call keeps.
const (
	maxDocuments     = 32
	maxDocumentBytes = 256 << 10
)

// documents are the answers to GET requests that a call may use again. They are kept for each call, since
// every URL carries its CallSid anyway.
type documents struct {
	mu    sync.Mutex
	byURL map[string]*document
	bytes int
}

// document is a stored answer. It is replaced, never changed.
type document struct {
	answer
	validity
	url string
}

func (d *documents) get(url string) *document {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.byURL[url]
}

// put stores an answer if that is allowed, and forgets an older one if it is not.
func (d *documents) put(url string, a *answer, now time.Time) {
	v, ok := validityOf(a.header, now)
	d.mu.Lock()
	defer d.mu.Unlock()
	if old := d.byURL[url]; old != nil {
		delete(d.byURL, url)
		d.bytes -= len(old.body)
	}
	if !ok || len(a.body) > maxDocumentBytes {
		return
	}
	if d.byURL == nil || len(d.byURL) == maxDocuments || d.bytes+len(a.body) > maxDocumentBytes {
		d.byURL, d.bytes = make(map[string]*document), 0 // rare enough to begin anew
	}
	d.byURL[url] = &document{*a, v, url}
	d.bytes += len(a.body)
}

// renew is the stored answer after a 304 with that header.
func (d *documents) renew(old *document, h http.Header, now time.Time) *answer {
	v := old.validity
	v.renew(h, now)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.byURL[old.url] == old {
		d.byURL[old.url] = &document{old.answer, v, old.url}
	}
	return &old.answer
}
