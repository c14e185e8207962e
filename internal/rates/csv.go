package rates

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/currency"
)

// Columns of a deck. Those with a default may be missing or empty.
const (
	colDirection = "direction" // default outbound
	colPrefix    = "prefix"    // with or without +; empty for all
	colName      = "name"
	colRate      = "rate"      // a minute
	colInitial   = "initial"   // seconds, default 60
	colIncrement = "increment" // seconds, default 60
	colCurrency  = "currency"  // default USD
	colEffective = "effective" // a day, or RFC 3339; default ever since
)

var columns = []string{colDirection, colPrefix, colName, colRate, colInitial, colIncrement, colCurrency, colEffective}

const (
	defaultSeconds  = 60 // per started minute (twiliocall section 1, price)
	defaultCurrency = "USD"
	maxDigits       = 15 // E.164
)

// maxProblems is how many mistakes are told at once.
const maxProblems = 20

// Problem is a mistake in a line of a deck, the header being line 1.
type Problem struct {
	Line int
	Text string
}

// ParseError is what is wrong with a deck, the first mistakes of it.
type ParseError struct {
	Problems []Problem
	More     bool // there may be others
}

func (e *ParseError) Error() string {
	said := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		said[i] = fmt.Sprintf("line %d: %s", p.Line, p.Text)
	}
	if e.More {
		said = append(said, "and maybe more")
	}
	return strings.Join(said, "; ")
}

func (e *ParseError) add(line int, format string, args ...any) {
	e.Problems = append(e.Problems, Problem{line, fmt.Sprintf(format, args...)})
}

// Parse reads a deck from CSV (RFC 4180) in UTF-8 whose first line names the columns, in any order. The error is a
// *ParseError, or that of r.
func Parse(r io.Reader) (*Deck, error) {
	c := csv.NewReader(&withoutMark{r: r})
	c.FieldsPerRecord, c.ReuseRecord = -1, true
	p := &parser{seen: map[key]int{}}
	for {
		record, err := c.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		var wrong *csv.ParseError
		if errors.As(err, &wrong) {
			p.wrong.add(wrong.Line, "%v", wrong.Err)
			p.wrong.More = true
			break // where the next line begins is anybody's guess
		}
		if err != nil {
			return nil, err
		}
		line, _ := c.FieldPos(0)
		if p.place == nil {
			p.header(line, record)
		} else {
			p.rate(line, record)
		}
		if len(p.rates) > MaxRates {
			p.wrong.add(line, "a deck has at most %d rates", MaxRates)
		}
		if p.place == nil || len(p.rates) > MaxRates || len(p.wrong.Problems) >= maxProblems {
			p.wrong.More = p.place != nil
			break
		}
	}
	if p.place == nil && len(p.wrong.Problems) == 0 {
		p.wrong.add(1, "no header: the first line names the columns, such as prefix,rate")
	}
	if len(p.wrong.Problems) > 0 {
		return nil, &p.wrong
	}
	slices.SortFunc(p.rates, func(a, b Rate) int { return a.Compare(&b) })
	return &Deck{p.rates}, nil
}

// withoutMark leaves out the byte order mark that spreadsheets begin a file with.
type withoutMark struct {
	r     io.Reader
	begun bool
}

func (w *withoutMark) Read(b []byte) (int, error) {
	if w.begun {
		return w.r.Read(b)
	}
	w.begun = true
	var first [3]byte
	n, err := io.ReadFull(w.r, first[:])
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil // the next read ends
	}
	if err != nil {
		return 0, err
	}
	rest := w.r
	if string(first[:n]) != "\ufeff" {
		rest = io.MultiReader(strings.NewReader(string(first[:n])), rest)
	}
	w.r = rest
	return w.r.Read(b)
}

// key is what no two rates of a deck share.
type key struct {
	direction Direction
	prefix    string
	effective int64
}

type parser struct {
	place []string // the name of each column; nil before the header
	rates []Rate
	seen  map[key]int // in which line
	wrong ParseError
}

func (p *parser) header(line int, record []string) {
	place := make([]string, len(record))
	for i, name := range record {
		name = strings.ToLower(strings.TrimSpace(name))
		switch {
		case !slices.Contains(columns, name):
			p.wrong.add(line, "there is no column %q: the columns are %s", clip(name), strings.Join(columns, ", "))
			return
		case slices.Contains(place[:i], name):
			p.wrong.add(line, "two columns are named %s", name)
			return
		}
		place[i] = name
	}
	for _, name := range [...]string{colPrefix, colRate} {
		if !slices.Contains(place, name) {
			p.wrong.add(line, "the column %s is missing", name)
			return
		}
	}
	p.place = place
}

// rate reads a line, whose fields are valid until the next one.
func (p *parser) rate(line int, record []string) {
	if len(record) != len(p.place) {
		p.wrong.add(line, "%d fields, but %d columns", len(record), len(p.place))
		return
	}
	r := Rate{Direction: Outbound, Initial: defaultSeconds, Increment: defaultSeconds, Currency: defaultCurrency}
	priced := false
	for i, name := range p.place {
		field := strings.TrimSpace(record[i])
		if field == "" {
			continue
		}
		priced = priced || name == colRate
		if text := r.set(name, field); text != "" {
			p.wrong.add(line, "%s: %s, not %q", name, text, clip(field))
			return
		}
	}
	switch numbered := r.Direction == Inbound || r.Direction == Outbound; {
	case !priced:
		p.wrong.add(line, "rate: missing")
		return
	case !numbered && r.Prefix != "":
		p.wrong.add(line, "prefix: none for the direction %s, which has no numbers", r.Direction)
		return
	}
	k := key{r.Direction, r.Prefix, r.Effective.Unix()}
	if before, twice := p.seen[k]; twice {
		p.wrong.add(line, "the same direction, prefix and effective as in line %d", before)
		return
	}
	p.seen[k] = line
	p.rates = append(p.rates, r)
}

// set reads a field that is not empty; it returns what the field should be, "" when it is that.
func (r *Rate) set(column, field string) string {
	switch column {
	case colDirection:
		d := Direction(strings.ToLower(field))
		i := slices.Index(directions[:], d)
		if i < 0 {
			return "inbound, outbound, sip or client"
		}
		r.Direction = directions[i]
	case colPrefix:
		digits := strings.TrimPrefix(field, "+")
		if len(digits) > maxDigits || strings.Trim(digits, "0123456789") != "" {
			return "the first digits of numbers, with or without +"
		}
		if digits != "" {
			r.Prefix = "+" + digits
		}
	case colName:
		if !utf8.ValidString(field) || utf8.RuneCountInString(field) > maxName || strings.ContainsFunc(field, unicode.IsControl) {
			return fmt.Sprintf("a text of at most %d characters in UTF-8", maxName)
		}
		r.Name = strings.Clone(field) // else the whole line stays in memory
	case colRate:
		price, ok := parsePrice(field)
		if !ok {
			return "what a minute costs, such as 0.0085, with at most six places"
		}
		r.Price = price
	case colInitial, colIncrement:
		n, err := strconv.Atoi(field)
		if err != nil || n < 1 || n > maxSeconds {
			return fmt.Sprintf("1 to %d seconds", maxSeconds)
		}
		if column == colInitial {
			r.Initial = n
		} else {
			r.Increment = n
		}
	case colCurrency:
		unit, err := currency.ParseISO(field)
		if err != nil {
			return "a code of ISO 4217 such as USD"
		}
		r.Currency = unit.String()
	case colEffective:
		at, err := time.Parse(time.DateOnly, field)
		if err != nil {
			at, err = time.Parse(time.RFC3339, field)
		}
		if err != nil || at.Year() < 1970 || at.Year() > 9999 {
			return "a day such as 2026-03-31, or a time of RFC 3339"
		}
		r.Effective = at.UTC().Truncate(time.Second)
	}
	return ""
}

// parsePrice reads a decimal of at most six places as millionths.
func parsePrice(s string) (int64, bool) {
	whole, places, _ := strings.Cut(s, ".")
	if len(whole) > 7 || len(places) > 6 || whole+places == "" || strings.Trim(whole+places, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(whole+places+strings.Repeat("0", 6-len(places)), 10, 64)
	return n, err == nil && n <= maxPrice
}

// clip keeps what was written wrongly short.
func clip(s string) string {
	if r := []rune(s); len(r) > 40 {
		return string(r[:40]) + "…"
	}
	return s
}

// WriteCSV writes rates as Parse reads them.
func WriteCSV(w io.Writer, rates []Rate) error {
	c := csv.NewWriter(w)
	if err := c.Write(columns); err != nil {
		return err
	}
	for i := range rates {
		r := &rates[i]
		err := c.Write([]string{
			string(r.Direction), r.Prefix, r.Name, r.PerMinute(), strconv.Itoa(r.Initial), strconv.Itoa(r.Increment), r.Currency, r.Since(),
		})
		if err != nil {
			return err
		}
	}
	c.Flush()
	return c.Error()
}

// Since is Effective as a deck has it: a day when it is one, "" for ever since.
func (r *Rate) Since() string {
	switch at := r.Effective; {
	case at.IsZero():
		return ""
	case at.Equal(at.Truncate(24 * time.Hour)):
		return at.Format(time.DateOnly)
	default:
		return at.Format(time.RFC3339)
	}
}
