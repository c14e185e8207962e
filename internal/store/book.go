package store

import (
	"errors"
	"sync"

	"github.com/offhook/offhook/internal/call"
)

// book keeps what was found under a name, or that nothing was: each call asks for its From, its To and its
// account, which was an eighth of the CPU time of creating one. Only a database that no other process changes
// allows it; a nil book keeps nothing.
type book[T any] struct {
	mu      sync.RWMutex
	most    int           // entries
	changes int           // of what is stored: what was read before the last one is not kept
	kept    map[string]*T // nil: nothing has that name
}

// Bounds of the books, in entries: a phone number takes about 500 bytes, a call 2 kB.
const (
	maxKept      = 10_000
	maxKeptCalls = 2000
)

func newBook[T any](most int) *book[T] { return &book[T]{most: most, kept: make(map[string]*T)} }

// find is what has that name, by read when it is not known; call.ErrNotFound when nothing has. It is the
// caller's own.
func (b *book[T]) find(name string, read func() (*T, error)) (*T, error) {
	found, change, known := b.look(name)
	if !known {
		var err error
		if found, err = read(); err != nil && !errors.Is(err, call.ErrNotFound) {
			return nil, err
		}
		b.keep(name, found, change)
	}
	if found == nil {
		return nil, call.ErrNotFound
	}
	own := *found
	return &own, nil
}

// look is what is known of a name, and the change to hand to keep with what is read now.
func (b *book[T]) look(name string) (found *T, change int, known bool) {
	if b == nil {
		return nil, 0, false
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	found, known = b.kept[name]
	return found, b.changes, known
}

func (b *book[T]) keep(name string, found *T, change int) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if change != b.changes {
		return
	}
	if len(b.kept) >= b.most {
		clear(b.kept)
	}
	b.kept[name] = found
}

// forget comes after each change of what is stored, done or not.
func (b *book[T]) forget() {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.changes++
	clear(b.kept)
}

// drop is forget for a change of what has those names alone.
func (b *book[T]) drop(names []string) {
	if b == nil || len(names) == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.changes++
	for _, name := range names {
		delete(b.kept, name)
	}
}
