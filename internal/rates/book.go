package rates

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/offhook/offhook/internal/call"
)

// Store keeps the decks as CSV. Its methods are safe for concurrent use.
type Store interface {
	// RateDecks hands each deck to each.
	RateDecks(ctx context.Context, each func(call.RateDeck) error) error
	// PutRateDeck puts a deck in the place of the account's former one; call.ErrFull when those of all accounts
	// would be too large together.
	PutRateDeck(ctx context.Context, d call.RateDeck) error
	// DeleteRateDeck removes the deck of an account; call.ErrNotFound when it has none.
	DeleteRateDeck(ctx context.Context, accountSID string) error
}

// Book has the decks in force, by account. Its methods are safe for concurrent use.
type Book struct {
	store    Store
	operator string

	change sync.Mutex // held while a deck is stored and taken, so that an older one never replaces a newer
	mu     sync.RWMutex
	decks  map[string]imported
}

type imported struct {
	*Deck
	at time.Time
}

// Open reads the stored decks. Accounts that have none of their own have that of operator.
func Open(ctx context.Context, store Store, operator string) (*Book, error) {
	b := &Book{store: store, operator: operator, decks: map[string]imported{}}
	err := store.RateDecks(ctx, func(d call.RateDeck) error {
		deck, err := Parse(strings.NewReader(d.CSV))
		if err != nil {
			return fmt.Errorf("rates: deck of %s: %w", d.AccountSID, err)
		}
		b.decks[d.AccountSID] = imported{deck, d.Imported}
		return nil
	})
	return b, err
}

// Deck is the account's own deck and when it was imported; ok is false when there is none.
func (b *Book) Deck(accountSID string) (d *Deck, at time.Time, ok bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	own, ok := b.decks[accountSID]
	return own.Deck, own.at, ok
}

// Import reads a deck and puts it, whole, in the place of the account's former one. Calls that end from then on
// are priced by it. The error may be a *ParseError, call.ErrFull or that of r.
func (b *Book) Import(ctx context.Context, accountSID string, r io.Reader, now time.Time) (*Deck, error) {
	d, err := Parse(r)
	if err != nil {
		return nil, err
	}
	var text strings.Builder
	if err := WriteCSV(&text, d.rates); err != nil {
		return nil, err
	}
	b.change.Lock()
	defer b.change.Unlock()
	if err := b.store.PutRateDeck(ctx, call.RateDeck{AccountSID: accountSID, Imported: now, Rates: len(d.rates), CSV: text.String()}); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.decks[accountSID] = imported{d, now}
	return d, nil
}

// Clear removes the account's own deck; call.ErrNotFound when there is none.
func (b *Book) Clear(ctx context.Context, accountSID string) error {
	b.change.Lock()
	defer b.change.Unlock()
	if err := b.store.DeleteRateDeck(ctx, accountSID); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.decks, accountSID)
	return nil
}

// Price is what a call that has ended costs: by the rate in force when it began, for the seconds that the resource
// shows, nothing when nobody answered. ok is false when there is no rate for it.
func (b *Book) Price(c *call.Call) (price, currency string, ok bool) {
	b.mu.RLock()
	d, own := b.decks[c.AccountSID]
	if !own {
		d = b.decks[b.operator]
	}
	b.mu.RUnlock()
	at := c.StartTime()
	if at.IsZero() { // it was canceled in its queue
		at = c.DateCreated
	}
	direction, number := of(c)
	r := d.Deck.For(direction, number, at)
	if r == nil {
		return "", "", false
	}
	seconds, _ := c.Duration()
	if c.AnsweredAt.IsZero() {
		return "0.00000", r.Currency, true
	}
	return r.Cost(seconds), r.Currency, true
}
