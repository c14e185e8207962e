package callapi

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/rates"
)

// rate is one rate of a deck on the wire.
type rate struct {
	Direction rates.Direction `json:"direction"` // inbound, outbound, sip, client
	Prefix    string          `json:"prefix"`    // + and digits; "" all
	Name      string          `json:"name"`
	Rate      json.Number     `json:"rate"`      // of a minute, in currency
	Initial   int             `json:"initial"`   // seconds billed at least
	Increment int             `json:"increment"` // seconds billed at a time after that
	Currency  string          `json:"currency"`
	Effective *string         `json:"effective"` // a day or a time; null: ever since
}

func wireRate(r *rates.Rate) rate {
	w := rate{
		Direction: r.Direction, Prefix: r.Prefix, Name: r.Name, Rate: json.Number(r.PerMinute()),
		Initial: r.Initial, Increment: r.Increment, Currency: r.Currency,
	}
	if since := r.Since(); since != "" {
		w.Effective = &since
	}
	return w
}

const csvType = "text/csv"

// importRates replaces the account's deck by the CSV in the body.
func (a *api) importRates(w http.ResponseWriter, r *http.Request) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != csvType {
		problem(w, http.StatusUnsupportedMediaType, 20001, "a deck is CSV: its Content-Type is "+csvType)
		return
	}
	d, err := a.Rates.Import(r.Context(), account(r.Context()), http.MaxBytesReader(w, r.Body, rates.MaxBytes), a.Clock.Now())
	var wrong *rates.ParseError
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &wrong):
		problem(w, http.StatusBadRequest, 20001, err.Error())
	case errors.As(err, &large):
		problem(w, http.StatusRequestEntityTooLarge, 20001, "a deck has at most "+strconv.Itoa(rates.MaxBytes>>20)+" MiB")
	case err != nil && r.Context().Err() == nil:
		a.fail(w, r, err)
	case err == nil:
		a.replyDeck(w, r, len(d.All()))
	}
}

func (a *api) replyDeck(w http.ResponseWriter, r *http.Request, n int) {
	_, at, _ := a.Rates.Deck(account(r.Context()))
	reply(w, http.StatusOK, struct {
		AccountSID string `json:"accountSid"`
		Rates      int    `json:"rates"`
		Imported   string `json:"dateImported"`
	}{account(r.Context()), n, at.UTC().Format(time.RFC3339)})
}

func (a *api) clearRates(w http.ResponseWriter, r *http.Request) {
	if err := a.Rates.Clear(r.Context(), account(r.Context())); err != nil {
		a.fail(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// listRates shows the account's deck: a page of it, or, asked for CSV, all of it.
func (a *api) listRates(w http.ResponseWriter, r *http.Request) {
	q, wrong := parseRateQuery(r.URL.RawQuery)
	asCSV := strings.HasPrefix(r.Header.Get("Accept"), csvType)
	if wrong == "" && asCSV && (q.limit > 0 || q.after != nil) {
		wrong = "limit and cursor: CSV has no pages"
	}
	if wrong != "" {
		problem(w, http.StatusBadRequest, 20001, wrong)
		return
	}
	d, _, ok := a.Rates.Deck(account(r.Context()))
	if asCSV {
		if !ok {
			a.fail(w, r, call.ErrNotFound)
			return
		}
		var text bytes.Buffer
		if err := rates.WriteCSV(&text, q.of(d, a.Clock.Now())); err != nil {
			a.fail(w, r, err)
			return
		}
		w.Header().Set("Content-Type", csvType+"; charset=utf-8")
		_, _ = w.Write(text.Bytes()) // the client is gone when this fails
		return
	}
	all := q.of(d, a.Clock.Now())
	limit := q.limit
	if limit == 0 {
		limit = defaultRates
	}
	if len(all) > limit {
		all = all[:limit]
		q.values.Set("cursor", cursorOf(&all[limit-1]))
		w.Header().Set("Link", "</v1/rates?"+q.values.Encode()+`>; rel="next"`)
	}
	page := make([]rate, len(all))
	for i := range all {
		page[i] = wireRate(&all[i])
	}
	reply(w, http.StatusOK, page)
}

// Rates of a page.
const (
	defaultRates = 50
	maxRates     = 1000
)

// rateQuery is what a list was asked for.
type rateQuery struct {
	values    url.Values
	direction rates.Direction // "" all
	prefix    string          // rates whose prefix begins so
	number    string          // the rates that calls to it have now
	limit     int             // 0 default
	after     *rates.Rate     // nil from the start
}

// parseRateQuery reads a query; the string says what is wrong with it, "" nothing.
func parseRateQuery(raw string) (q rateQuery, wrong string) {
	var err error
	if q.values, err = url.ParseQuery(raw); err != nil {
		return q, err.Error()
	}
	for name, values := range q.values {
		value := values[0]
		switch {
		case len(values) > 1:
			return q, name + ": given twice"
		case name == "direction":
			q.direction = rates.Direction(value)
			if !slices.Contains([]rates.Direction{rates.Inbound, rates.Outbound, rates.SIP, rates.Client}, q.direction) {
				return q, "direction: inbound, outbound, sip or client"
			}
		case name == "prefix" && numberPrefix.MatchString(value):
			q.prefix = value
		case name == "prefix":
			return q, "prefix: + and up to 15 digits"
		case name == "number" && call.IsE164(value):
			q.number = value
		case name == "number":
			return q, "number: + and digits"
		case name == "limit":
			if q.limit, err = strconv.Atoi(value); err != nil || q.limit < 1 || q.limit > maxRates {
				return q, "limit: 1 to 1000"
			}
		case name == "cursor":
			if q.after = rateAt(value); q.after == nil {
				return q, "cursor is none that a list gave"
			}
		default:
			return q, "there is no parameter " + name
		}
	}
	if q.number != "" && q.prefix != "" {
		return q, "number and prefix: one of them"
	}
	return q, ""
}

// of are the rates of d that the query is for, behind its cursor.
func (q *rateQuery) of(d *rates.Deck, now time.Time) []rates.Rate {
	all := d.All()
	if q.number != "" {
		all = nil
		for _, direction := range []rates.Direction{rates.Inbound, rates.Outbound} {
			if r := d.For(direction, q.number, now); r != nil {
				all = append(all, *r)
			}
		}
	}
	if q.after != nil {
		i, found := slices.BinarySearchFunc(all, q.after, func(r rates.Rate, after *rates.Rate) int { return r.Compare(after) })
		if found {
			i++
		}
		all = all[i:]
	}
	if q.direction == "" && (q.prefix == "" || q.prefix == "+") {
		return all
	}
	var some []rates.Rate
	for _, r := range all {
		if (q.direction == "" || r.Direction == q.direction) && (q.prefix == "" || strings.HasPrefix(r.Prefix, q.prefix)) {
			some = append(some, r)
		}
	}
	return some
}

// cursorOf is r's place in a deck, which may have been replaced when it comes back.
func cursorOf(r *rates.Rate) string {
	since := ""
	if !r.Effective.IsZero() {
		since = r.Effective.Format(time.RFC3339)
	}
	return base64.RawURLEncoding.EncodeToString([]byte(string(r.Direction) + " " + r.Prefix + " " + since))
}

func rateAt(cursor string) *rates.Rate {
	text, err := base64.RawURLEncoding.DecodeString(cursor)
	parts := strings.Split(string(text), " ")
	if err != nil || len(parts) != 3 {
		return nil
	}
	r := &rates.Rate{Direction: rates.Direction(parts[0]), Prefix: parts[1]}
	if parts[2] != "" {
		if r.Effective, err = time.Parse(time.RFC3339, parts[2]); err != nil {
			return nil
		}
	}
	return r
}
