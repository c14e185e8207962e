package store_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/offhook/offhook/internal/call"
)

func testRateDecks(t *testing.T, b backend) {
	address := b.address(t)
	s := open(t, address)
	check := func(want ...call.RateDeck) {
		t.Helper()
		var got []call.RateDeck
		must(t, s.RateDecks(t.Context(), func(d call.RateDeck) error { got = append(got, d); return nil }))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("wanted (-) and read (+):\n%s", diff)
		}
	}
	first := call.RateDeck{AccountSID: account, Imported: morning, Rates: 1, CSV: "prefix,rate\n+1,0.01\n"}
	large := call.RateDeck{AccountSID: other, Imported: morning, Rates: 499_998, CSV: "prefix,rate\n" + strings.Repeat("+1234567,0.01\n", 200_000)}
	check()
	must(t, s.PutRateDeck(t.Context(), first))
	must(t, s.PutRateDeck(t.Context(), large))
	check(first, large)
	second := call.RateDeck{AccountSID: account, Imported: morning.AddDate(0, 0, 1), Rates: 2, CSV: "prefix,rate\n+1,0.02\n+44,1\n"}
	must(t, s.PutRateDeck(t.Context(), second))
	third := second
	third.Rates = 3
	if err := s.PutRateDeck(t.Context(), third); !errors.Is(err, call.ErrFull) {
		t.Errorf("more rates than there may be: %v", err)
	}
	must(t, s.Close())
	s = open(t, address)
	check(second, large)
	must(t, s.DeleteRateDeck(t.Context(), other))
	check(second)
	if err := s.DeleteRateDeck(t.Context(), other); !errors.Is(err, call.ErrNotFound) {
		t.Errorf("deleted twice: %v", err)
	}
	must(t, s.PutRateDeck(t.Context(), third))
}
