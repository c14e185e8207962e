package rates

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/offhook/offhook/internal/call"
)

func deck(t *testing.T, text string) *Deck {
	t.Helper()
	d, err := Parse(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

const carrier = "\ufeffName,Prefix,Rate,Initial,Increment,Currency,Effective,Direction\r\n" +
	"World,,0.5,,,,,\r\n" +
	"North America,1,0.0130,,,usd,,\r\n" +
	"\"California, San Francisco\",+1415,0.009,30,6,EUR,,outbound\r\n" +
	"the same later,+1415,0.01,1,1,EUR,2026-04-01,outbound\r\n" +
	"the same at noon,+1415,0.011,1,1,EUR,2026-05-01T12:00:00+02:00,outbound\r\n" +
	"Own number,+1555,0.0085,60,60,USD,,inbound\r\n" +
	"Phones,,0.004,,,,,SIP\r\n"

var spring = time.Date(2026, 3, 31, 23, 59, 59, 0, time.UTC)

func TestTheLongestPrefixInForceWins(t *testing.T) {
	d := deck(t, carrier)
	for _, x := range []struct {
		direction Direction
		number    string
		at        time.Time
		want      string // name; "" none
	}{
		{Outbound, "+33123456789", spring, "World"},
		{Outbound, "+15550100", spring, "North America"},
		{Outbound, "+1", spring, "North America"},
		{Outbound, "+141", spring, "North America"},
		{Outbound, "+14155550100", spring, "California, San Francisco"},
		{Outbound, "+14155550100", spring.Add(time.Second), "the same later"},
		{Outbound, "+14155550100", time.Date(2026, 5, 1, 9, 59, 59, 0, time.UTC), "the same later"},
		{Outbound, "+14155550100", time.Date(2026, 5, 1, 10, 0, 0, 0, time.UTC), "the same at noon"},
		{Outbound, "", spring, "World"},
		{Inbound, "+15550100", spring, "Own number"},
		{Inbound, "+14155550100", spring, ""},
		{SIP, "", spring, "Phones"},
		{Client, "", spring, ""},
	} {
		got := ""
		if r := d.For(x.direction, x.number, x.at); r != nil {
			got = r.Name
		}
		if got != x.want {
			t.Errorf("%s to %s at %v: %q, want %q", x.direction, x.number, x.at, got, x.want)
		}
	}
	if r := (*Deck)(nil).For(Outbound, "+1", spring); r != nil {
		t.Errorf("without a deck: %+v", r)
	}
}

func TestCost(t *testing.T) {
	for _, x := range []struct {
		price              string
		initial, increment int
		seconds            int
		want               string
	}{
		{"0.013", 60, 60, 0, "0.01300"}, {"0.013", 60, 60, 1, "0.01300"}, {"0.013", 60, 60, 60, "0.01300"}, {"0.013", 60, 60, 61, "0.02600"},
		{"0.013", 60, 60, 3601, "0.79300"}, {"0.009", 30, 6, 1, "0.00450"}, {"0.009", 30, 6, 31, "0.00540"}, {"0.009", 30, 6, 36, "0.00540"},
		{"0.01", 1, 1, 1, "0.00017"}, {"0.01", 1, 1, 0, "0.00017"}, {"0.009", 1, 1, 1, "0.00015"}, {"0.00027", 1, 1, 1, "0.00000"}, {"0.0003", 1, 1, 1, "0.00001"},
		{"0", 60, 60, 600, "0.00000"}, {"1000000", 3600, 1, 86400, "1440000000.00000"}, {"12.5", 60, 1, 90, "18.75000"},
	} {
		price, ok := parsePrice(x.price)
		r := Rate{Price: price, Initial: x.initial, Increment: x.increment}
		if got := r.Cost(x.seconds); !ok || got != x.want {
			t.Errorf("%s a minute by %d/%d for %d s: %s, want %s", x.price, x.initial, x.increment, x.seconds, got, x.want)
		}
	}
}

func TestEveryMistakeHasItsLine(t *testing.T) {
	for text, want := range map[string]string{
		"":                         "line 1: no header: the first line names the columns, such as prefix,rate",
		"prefix,price\n":           `line 1: there is no column "price": the columns are direction, prefix, name, rate, initial, increment, currency, effective`,
		"prefix\n1\n":              "line 1: the column rate is missing",
		"prefix,rate,RATE\n":       "line 1: two columns are named rate",
		"prefix,rate\n1\n":         "line 2: 1 fields, but 2 columns",
		"prefix,rate\n1,2,3\n":     "line 2: 3 fields, but 2 columns",
		"prefix,rate\n1,\n":        "line 2: rate: missing",
		"prefix,rate\n1,0.0000001": `line 2: rate: what a minute costs, such as 0.0085, with at most six places, not "0.0000001"`,
		"prefix,rate\n1,-1\n2,1e3\n\n\n3,1000000.1\n4,.\n": `line 2: rate: what a minute costs, such as 0.0085, with at most six places, not "-1"; ` +
			`line 3: rate: what a minute costs, such as 0.0085, with at most six places, not "1e3"; ` +
			`line 6: rate: what a minute costs, such as 0.0085, with at most six places, not "1000000.1"; ` +
			`line 7: rate: what a minute costs, such as 0.0085, with at most six places, not "."`,
		"prefix,rate\n+1 415,1\n":                 `line 2: prefix: the first digits of numbers, with or without +, not "+1 415"`,
		"prefix,rate\n1234567890123456,1\n":       `line 2: prefix: the first digits of numbers, with or without +, not "1234567890123456"`,
		"prefix,rate\n1,1\n2,1\n+1,2\n":           "line 4: the same direction, prefix and effective as in line 2",
		"prefix,rate,direction\n,1,both\n":        `line 2: direction: inbound, outbound, sip or client, not "both"`,
		"prefix,rate,direction\n1,1,client\n":     "line 2: prefix: none for the direction client, which has no numbers",
		"prefix,rate,initial\n1,1,0\n":            `line 2: initial: 1 to 3600 seconds, not "0"`,
		"prefix,rate,increment\n1,1,1.5\n":        `line 2: increment: 1 to 3600 seconds, not "1.5"`,
		"prefix,rate,currency\n1,1,Euro\n":        `line 2: currency: a code of ISO 4217 such as USD, not "Euro"`,
		"prefix,rate,currency\n1,1,ABC\n":         `line 2: currency: a code of ISO 4217 such as USD, not "ABC"`,
		"prefix,rate,effective\n1,1,31.03.2026\n": `line 2: effective: a day such as 2026-03-31, or a time of RFC 3339, not "31.03.2026"`,
		"prefix,rate,name\n1,1,\xff\n":            `line 2: name: a text of at most 100 characters in UTF-8, not "\xff"`,
		"prefix,rate,name\n1,1,\"a\n\nb\"\n2,x,\n": `line 2: name: a text of at most 100 characters in UTF-8, not "a\n\nb"; ` +
			`line 5: rate: what a minute costs, such as 0.0085, with at most six places, not "x"`,
		"prefix,rate\n1,1\n2,\"1\n": "line 3: extraneous or missing \" in quoted-field; and maybe more",
	} {
		d, err := Parse(strings.NewReader(text))
		var wrong *ParseError
		if !errors.As(err, &wrong) {
			t.Errorf("%q: %v, %v", text, d, err)
			continue
		}
		if got := err.Error(); got != want {
			t.Errorf("%q:\n got %s\nwant %s", text, got, want)
		}
	}
}

func TestMistakesAndRatesAreBounded(t *testing.T) {
	_, err := Parse(strings.NewReader("prefix,rate\n" + strings.Repeat("x,1\n", 1000)))
	var wrong *ParseError
	if !errors.As(err, &wrong) || len(wrong.Problems) != maxProblems || !wrong.More {
		t.Errorf("%v", err)
	}
	var large strings.Builder
	large.WriteString("prefix,rate\n")
	for i := range MaxRates + 1 {
		fmt.Fprintf(&large, "%d,1\n", 1_000_000+i)
	}
	if _, err = Parse(strings.NewReader(large.String())); !errors.As(err, &wrong) || wrong.Problems[0].Line != MaxRates+2 {
		t.Errorf("%v", err)
	}
}

func TestADeckComesBackAsItWasWritten(t *testing.T) {
	d := deck(t, carrier)
	var text bytes.Buffer
	if err := WriteCSV(&text, d.All()); err != nil {
		t.Fatal(err)
	}
	const want = "direction,prefix,name,rate,initial,increment,currency,effective\n" +
		"inbound,+1555,Own number,0.0085,60,60,USD,\n" +
		"outbound,,World,0.5,60,60,USD,\n" +
		"outbound,+1,North America,0.013,60,60,USD,\n" +
		"outbound,+1415,\"California, San Francisco\",0.009,30,6,EUR,\n" +
		"outbound,+1415,the same later,0.01,1,1,EUR,2026-04-01\n" +
		"outbound,+1415,the same at noon,0.011,1,1,EUR,2026-05-01T10:00:00Z\n" +
		"sip,,Phones,0.004,60,60,USD,\n"
	if diff := cmp.Diff(want, text.String()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(d.All(), deck(t, want).All()); diff != "" {
		t.Error(diff)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(carrier))
	f.Add([]byte("prefix,rate\n1,1\n2,\"1\n"))
	f.Add([]byte("rate,prefix,effective,direction\n1.,,0001-01-01,\n.5,0,1970-01-01,sip"))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := Parse(bytes.NewReader(b))
		var wrong *ParseError
		if err != nil {
			if !errors.As(err, &wrong) || len(wrong.Problems) == 0 || len(wrong.Problems) > maxProblems+1 || wrong.Problems[0].Line < 1 {
				t.Fatalf("%v", err)
			}
			return
		}
		var text bytes.Buffer
		if err := WriteCSV(&text, d.All()); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(d.All(), deck(t, text.String()).All()); diff != "" {
			t.Fatal(diff)
		}
		for i := range d.All() {
			r := &d.All()[i]
			at := r.Effective
			if at.IsZero() {
				at = time.Date(1969, 1, 1, 0, 0, 0, 0, time.UTC)
			}
			if got := d.For(r.Direction, r.Prefix, at); got != r {
				t.Fatalf("%+v is not found: %+v", r, got)
			}
			r.Cost(86400)
		}
	})
}

// shelf is Store in memory.
type shelf struct {
	decks map[string]call.RateDeck
	err   error
}

func (s *shelf) RateDecks(_ context.Context, each func(call.RateDeck) error) error {
	for _, d := range s.decks {
		if err := each(d); err != nil {
			return err
		}
	}
	return s.err
}

func (s *shelf) PutRateDeck(_ context.Context, d call.RateDeck) error {
	if s.err == nil {
		s.decks[d.AccountSID] = d
	}
	return s.err
}

func (s *shelf) DeleteRateDeck(_ context.Context, accountSID string) error {
	if _, ok := s.decks[accountSID]; !ok {
		return call.ErrNotFound
	}
	delete(s.decks, accountSID)
	return s.err
}

func open(t *testing.T, s *shelf) *Book {
	t.Helper()
	b, err := Open(t.Context(), s, "ACoperator")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestABookPricesByTheAccountsOwnDeckElseTheServers(t *testing.T) {
	s := &shelf{decks: map[string]call.RateDeck{}}
	b := open(t, s)
	now := spring
	price := func(account string) string {
		c := &call.Call{AccountSID: account, To: "+15550100", Direction: call.OutboundAPI, DateCreated: now, DialedAt: now, AnsweredAt: now, EndedAt: now.Add(61 * time.Second)}
		price, currency, _ := b.Price(c)
		return strings.TrimSpace(price + " " + currency)
	}
	check := func(operator, own string) {
		t.Helper()
		for _, book := range []*Book{b, open(t, s)} { // and after a restart
			b = book
			if got := price("ACoperator"); got != operator {
				t.Errorf("the server's account: %q, want %q", got, operator)
			}
			if got := price("ACother"); got != own {
				t.Errorf("another account: %q, want %q", got, own)
			}
		}
	}
	put := func(account, text string) error {
		_, err := b.Import(t.Context(), account, strings.NewReader(text), now)
		return err
	}
	check("", "")
	if err := put("ACoperator", "prefix,rate\n1,0.01\n"); err != nil {
		t.Fatal(err)
	}
	check("0.02000 USD", "0.02000 USD")
	if err := put("ACother", "prefix,rate,currency\n1555,0.03,EUR\n"); err != nil {
		t.Fatal(err)
	}
	check("0.02000 USD", "0.06000 EUR")
	if err := put("ACother", "prefix,rate\n1,1\n2,nothing\n"); err == nil {
		t.Error("a deck with a mistake was taken")
	}
	s.err = call.ErrUnavailable
	if err := put("ACother", "prefix,rate\n1,1\n"); !errors.Is(err, call.ErrUnavailable) {
		t.Errorf("the store failed: %v", err)
	}
	s.err = nil
	check("0.02000 USD", "0.06000 EUR")
	if err := b.Clear(t.Context(), "ACother"); err != nil {
		t.Fatal(err)
	}
	check("0.02000 USD", "0.02000 USD")
	if err := b.Clear(t.Context(), "ACother"); !errors.Is(err, call.ErrNotFound) {
		t.Errorf("cleared twice: %v", err)
	}
}

func TestWhichRateACallHas(t *testing.T) {
	b := open(t, &shelf{decks: map[string]call.RateDeck{"ACoperator": {AccountSID: "ACoperator", CSV: "direction,prefix,rate\n" +
		"inbound,1,1\noutbound,1,2\nsip,,3\nclient,,4\n"}}})
	for name, x := range map[string]struct {
		call call.Call
		want string
	}{
		"in":                       {call.Call{Direction: call.Inbound, From: "sip:a@b", To: "+15550100"}, "1.00000"},
		"in, of a country without": {call.Call{Direction: call.Inbound, To: "+445550100"}, ""},
		"in, from a phone":         {call.Call{Direction: call.Inbound, To: "+15550100", Options: call.Options{SIPDomain: "a.example"}}, "3.00000"},
		"in, to a name":            {call.Call{Direction: call.Inbound, To: "sip:bob@a.example"}, "3.00000"},
		"out":                      {call.Call{Direction: call.OutboundAPI, To: "+15550100"}, "2.00000"},
		"out, by a Dial":           {call.Call{Direction: call.OutboundDial, ParentSID: "CA1", To: "+15550100"}, "2.00000"},
		"out to a SIP address":     {call.Call{Direction: call.OutboundDial, ParentSID: "CA1", To: "sip:+15550100@a.example"}, "3.00000"},
		"out to a client":          {call.Call{Direction: call.OutboundAPI, To: "client:ann"}, "4.00000"},
		"to a number on a trunk":   {call.Call{Direction: call.TrunkingOriginating, To: "+15550100"}, "1.00000"},
		"and on to its PBX":        {call.Call{Direction: call.TrunkingOriginating, ParentSID: "CA1", To: "+15550100"}, "3.00000"},
		"from the PBX of a trunk":  {call.Call{Direction: call.TrunkingTerminating, To: "+15550100"}, "3.00000"},
		"and on to the number":     {call.Call{Direction: call.TrunkingTerminating, ParentSID: "CA1", To: "+15550100"}, "2.00000"},
	} {
		c := x.call
		c.AnsweredAt, c.EndedAt = spring, spring.Add(time.Second)
		if got, _, ok := b.Price(&c); got != x.want || ok != (x.want != "") {
			t.Errorf("%s: %q, want %q", name, got, x.want)
		}
		c.AnsweredAt = time.Time{}
		if got, unit, ok := b.Price(&c); ok && (got != "0.00000" || unit != "USD") || ok != (x.want != "") {
			t.Errorf("%s, not answered: %q %q", name, got, unit)
		}
	}
}

func BenchmarkPrice(b *testing.B) {
	var large strings.Builder
	large.WriteString("prefix,rate\n")
	for i := range MaxRates {
		fmt.Fprintf(&large, "%d,0.01\n", 1_000_000+i)
	}
	book, err := Open(b.Context(), &shelf{decks: map[string]call.RateDeck{"ACoperator": {AccountSID: "ACoperator", CSV: large.String()}}}, "ACoperator")
	if err != nil {
		b.Fatal(err)
	}
	c := &call.Call{Direction: call.OutboundAPI, To: "+111111155501000", AnsweredAt: spring, EndedAt: spring.Add(time.Minute)}
	for b.Loop() {
		if _, _, ok := book.Price(c); !ok {
			b.Fatal("no rate")
		}
	}
}
