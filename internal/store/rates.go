package store

import (
	"context"
	"fmt"
	"strconv"

	"github.com/offhook/offhook/internal/call"
)

// maxDeckRates bounds the rates of all accounts together: they are in memory, about 150 bytes each.
const maxDeckRates = 500_000

const rateDeckColumns = "account_sid, imported_at, rates, csv"

var rateDeckPut = newTable("rate_decks", rateDeckColumns, " ON CONFLICT (account_sid) DO UPDATE SET "+
	excluded("imported_at, rates, csv")).one()

// PutRateDeck puts a deck in the place of the account's former one; call.ErrFull when the decks of all accounts
// would have more than maxDeckRates together.
func (s *Store) PutRateDeck(ctx context.Context, d call.RateDeck) error {
	return s.w.api(ctx, &job{run: func(b *batch) error {
		others := 0
		err := b.scan(func(n string) { others, _ = strconv.Atoi(n) },
			"SELECT CAST(COALESCE(SUM(rates), 0) AS TEXT) FROM rate_decks WHERE account_sid <> ?", d.AccountSID)
		if err != nil {
			return err
		}
		if others+d.Rates > maxDeckRates {
			return fmt.Errorf("store: rates of all accounts: %w: %d is the limit", call.ErrFull, maxDeckRates)
		}
		_, err = b.exec(rateDeckPut, d.AccountSID, micros(d.Imported), int64(d.Rates), d.CSV)
		return err
	}})
}

// DeleteRateDeck removes the deck of an account.
func (s *Store) DeleteRateDeck(ctx context.Context, accountSID string) error {
	return s.change(ctx, call.ErrNotFound, "DELETE FROM rate_decks WHERE account_sid = ?", accountSID)
}

// RateDecks hands each deck to each.
func (s *Store) RateDecks(ctx context.Context, each func(call.RateDeck) error) error {
	return s.query(ctx, func(r scanner) error {
		var d call.RateDeck
		if err := r.Scan(&d.AccountSID, asTime{&d.Imported}, &d.Rates, &d.CSV); err != nil {
			return err
		}
		return each(d)
	}, "SELECT "+rateDeckColumns+" FROM rate_decks ORDER BY account_sid")
}
