// Package rates knows what calls cost: decks of rates by number prefix, as carriers publish them in CSV, and
// the price of a call by the deck of its account. Book has the decks in force; where they are kept is the
// store's.
package rates

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/offhook/offhook/internal/call"
)

// Direction says for which legs a rate is. Those of numbers have prefixes; who is called by SIP address or by
// client: identity has no number to look at.
type Direction string

// Directions of a rate.
const (
	Inbound  Direction = "inbound"  // to a number of ours, by that number
	Outbound Direction = "outbound" // to a number, by that number
	SIP      Direction = "sip"      // to or from a SIP address, a SIP domain or the PBX of an elastic trunk
	Client   Direction = "client"   // to a client: identity
)

var directions = [...]Direction{Inbound, Outbound, SIP, Client}

// Bounds. A rate takes about 150 bytes of memory.
const (
	MaxRates   = 200_000 // of one deck
	MaxBytes   = 16 << 20
	maxName    = 100 // characters
	maxSeconds = 3600
	maxPrice   = 1_000_000 * millionths // a minute
)

// millionths of the currency are what a rate is counted in.
const millionths = 1_000_000

// Rate is what a minute costs.
type Rate struct {
	Direction Direction
	Prefix    string // + and the digits that the number begins with; "" all, those that are no numbers too
	Name      string // of the destination, for people
	Price     int64  // of a minute, in millionths of Currency
	Initial   int    // seconds that are billed at least
	Increment int    // seconds that are billed at a time after that
	Currency  string // ISO 4217, upper case
	// Effective is from when on the rate holds, instead of an earlier one of the same prefix; zero: ever since.
	Effective time.Time
}

// Cost of a call that was answered that many seconds ago, a decimal with five places. One that ended within its
// first second has begun a second.
func (r *Rate) Cost(seconds int) string {
	billed := r.Initial
	if more := max(seconds, 1) - billed; more > 0 {
		billed += (more + r.Increment - 1) / r.Increment * r.Increment
	}
	const places = 100_000
	units := (r.Price*int64(billed) + 300) / 600 // of a hundred-thousandth, rounded half up
	return fmt.Sprintf("%d.%05d", units/places, units%places)
}

// PerMinute is Price as a decimal.
func (r *Rate) PerMinute() string {
	text := fmt.Sprintf("%d.%06d", r.Price/millionths, r.Price%millionths)
	return strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
}

// Compare is the order of a deck: by direction, prefix and time.
func (r *Rate) Compare(o *Rate) int {
	if c := cmp.Compare(r.Direction, o.Direction); c != 0 {
		return c
	}
	if c := cmp.Compare(r.Prefix, o.Prefix); c != 0 {
		return c
	}
	return r.Effective.Compare(o.Effective)
}

// Deck is a set of rates. It does not change.
type Deck struct{ rates []Rate } // in order, none twice

// All are the rates of d in order, not to be changed.
func (d *Deck) All() []Rate {
	if d == nil {
		return nil
	}
	return d.rates
}

// For is the rate that a call to number has at that time: of the longest prefix, the one in force. nil when there is none.
func (d *Deck) For(direction Direction, number string, at time.Time) *Rate {
	rates := d.All()
	for n := len(number); n >= 0; n-- {
		want := Rate{Direction: direction, Prefix: number[:n], Effective: at}
		i, exact := slices.BinarySearchFunc(rates, &want, func(r Rate, want *Rate) int { return r.Compare(want) })
		if !exact {
			i-- // the last one before
		}
		if i >= 0 && rates[i].Direction == direction && rates[i].Prefix == want.Prefix {
			return &rates[i]
		}
	}
	return nil
}

// of says which rates a call has: by its direction, and by the number, if any.
func of(c *call.Call) (Direction, string) {
	first := c.ParentSID == ""
	switch {
	case c.Direction == call.TrunkingOriginating && !first, c.Direction == call.TrunkingTerminating && first:
		return SIP, "" // the PBX's side
	case c.CameIn() && (c.Options.SIPDomain != "" || !isNumber(c.To)):
		return SIP, ""
	case c.CameIn():
		return Inbound, c.To
	}
	if _, ok := call.ClientIdentity(c.To); ok {
		return Client, ""
	}
	if !isNumber(c.To) {
		return SIP, ""
	}
	return Outbound, c.To
}

// isNumber reports whether s is + and digits, of whatever length: a prefix matches what it matches.
func isNumber(s string) bool {
	digits, ok := strings.CutPrefix(s, "+")
	return ok && digits != "" && len(digits) <= 20 && strings.Trim(digits, "0123456789") == ""
}
