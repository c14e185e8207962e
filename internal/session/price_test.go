package session

import (
	"encoding/json"
	"testing"

	"github.com/offhook/offhook/internal/call"
)

// tariff says what calls to a number cost.
type tariff map[string]string

func (p tariff) Price(c *call.Call) (price, currency string, ok bool) {
	price, ok = p[c.To]
	if c.AnsweredAt.IsZero() {
		price = "0.00000"
	}
	return price, "EUR", ok
}

// What a call costs is stored with its end and told in the last event.
func TestEveryEndHasAPrice(t *testing.T) {
	w := newWorld(t, func(cfg *Config) { cfg.Rates = tariff{"+15550100": "0.01300"} })
	check := func(sid, price string) {
		t.Helper()
		list, err := w.store.Events(t.Context(), sid, -1)
		if err != nil {
			t.Fatal(err)
		}
		for i, e := range list {
			var told struct {
				Price     *float64
				PriceUnit string
			}
			if err := json.Unmarshal(e.Snapshot, &told); err != nil {
				t.Fatal(err)
			}
			want, unit := price, "EUR"
			if i < len(list)-1 || price == "" {
				want, unit = "", "USD"
			}
			var number float64
			if want != "" {
				if err := json.Unmarshal([]byte(want), &number); err != nil {
					t.Fatal(err)
				}
			}
			if (told.Price == nil) != (want == "") || told.Price != nil && *told.Price != number || told.PriceUnit != unit {
				t.Errorf("%s tells %s, want %q %s", e.Name, e.Snapshot, want, unit)
			}
		}
		if c := w.stored(sid); c.Price != price {
			t.Errorf("stored %q, want %q", c.Price, price)
		}
	}

	answered := w.create("<Response/>")
	w.leg().events <- call.LegAnswered{}
	w.is(answered.SID, call.Completed)
	check(answered.SID, "0.01300")

	busy := w.create("<Response/>")
	w.leg().events <- call.LegEnded{Cause: call.Cause{SIPCode: 486}}
	w.is(busy.SID, call.Busy)
	check(busy.SID, "0.00000")

	unknown := w.create("<Response/>", func(p *call.CreateParams) { p.To = "+445550100" })
	w.leg().events <- call.LegAnswered{}
	w.is(unknown.SID, call.Completed)
	check(unknown.SID, "")
}
