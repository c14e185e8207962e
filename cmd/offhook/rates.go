package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/offhook/offhook/internal/rates"
)

type ratesCommand struct {
	Import ratesImportCommand `cmd:"" help:"Replace the account's rate deck."`
	List   ratesListCommand   `cmd:"" help:"List rates."`
	Export ratesExportCommand `cmd:"" help:"Write the account's rate deck."`
	Clear  ratesClearCommand  `cmd:"" help:"Remove the account's rate deck."`
}

func (ratesCommand) Help() string {
	return `A rate deck says what calls cost: each call gets its price when it ends. It is CSV, with the columns direction, prefix, name, rate, initial, increment, currency and effective, of which prefix and rate must be there (docs/rates.md).

    offhook rates import rates.csv
    offhook rates list --number +14155550100`
}

var (
	rateColumns = []column{
		{title: "direction", field: "direction"}, {title: "prefix", field: "prefix"}, {title: "name", field: "name"},
		{title: "rate", field: "rate"}, {title: "initial", field: "initial"}, {title: "increment", field: "increment"},
		{title: "currency", field: "currency"}, {title: "effective", field: "effective"},
	}
	deckColumns = []column{{title: "account", field: "accountSid"}, {title: "rates", field: "rates"}, {title: "imported", field: "dateImported"}}
)

type ratesImportCommand struct {
	File  string `arg:"" name:"file" help:"The deck; - is standard input."`
	Check bool   `name:"check" help:"Only read it, and say what is wrong with it."`
	output
	remote
}

func (ratesImportCommand) Help() string {
	return `The new deck takes the place of the old one as a whole, or not at all when a line is wrong. Calls that end from then on are priced by it.

    offhook rates import rates.csv
    offhook rates import rates.csv --check`
}

func (c *ratesImportCommand) Run(ctx context.Context, a *app) error {
	text, err := c.read(a.in)
	if err != nil {
		return err
	}
	deck, err := rates.Parse(bytes.NewReader(text))
	var wrong *rates.ParseError
	if errors.As(err, &wrong) {
		for _, p := range wrong.Problems {
			fmt.Fprintf(a.err, "%s:%d: %s\n", c.File, p.Line, p.Text)
		}
		more := ""
		if wrong.More {
			more = "at least "
		}
		return fmt.Errorf("%s%s: nothing was imported", more, count(len(wrong.Problems), "mistake"))
	}
	if err != nil {
		return err
	}
	if c.Check {
		fmt.Fprintf(a.out, "%s: %s\n", c.File, count(len(deck.All()), "rate"))
		return nil
	}
	client, err := c.connect(a)
	if err != nil {
		return err
	}
	imported, err := client.ImportRates(ctx, text)
	if err != nil {
		return err
	}
	return c.one(a.out, deckColumns, imported)
}

// read is the whole file.
func (c *ratesImportCommand) read(stdin io.Reader) ([]byte, error) {
	in := stdin
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, rates.MaxBytes+1))
	if err == nil && len(text) > rates.MaxBytes {
		err = fmt.Errorf("%s: a deck has at most %d MiB", c.File, rates.MaxBytes>>20)
	}
	return text, err
}

// count is a number of things.
func count(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return strconv.Itoa(n) + " " + thing
}

// rateFilter says which rates.
type rateFilter struct {
	Direction string `name:"direction" enum:",inbound,outbound,sip,client" default:"" placeholder:"inbound|outbound|sip|client" help:"Only rates of that direction."`
	Prefix    string `name:"prefix" placeholder:"+PREFIX" help:"Only rates whose prefix begins so."`
}

func (f rateFilter) query() url.Values {
	query := url.Values{}
	set(query, "direction", f.Direction)
	if f.Prefix != "" {
		query.Set("prefix", "+"+strings.TrimPrefix(f.Prefix, "+"))
	}
	return query
}

type ratesListCommand struct {
	rateFilter
	Number string `name:"number" placeholder:"NUMBER" help:"Only the rates that calls to this number have now."`
	Limit  atMost `name:"limit" default:"50" placeholder:"N" help:"At most so many (default ${default})."`
	output
	remote
}

func (ratesListCommand) Help() string {
	return `The rate of a call is that of the longest prefix, of the day when the call began.

    offhook rates list --number +14155550100
    offhook rates list --direction outbound --prefix +49`
}

func (c *ratesListCommand) Run(ctx context.Context, a *app) error {
	client, err := c.connect(a)
	if err != nil {
		return err
	}
	query := c.query()
	set(query, "number", c.Number)
	list, err := client.Rates(ctx, query, int(c.Limit))
	if err != nil {
		return err
	}
	return c.list(a.out, rateColumns, list)
}

type ratesExportCommand struct {
	File string `arg:"" optional:"" name:"file" help:"Where to (default: standard output)."`
	rateFilter
	remote
}

func (ratesExportCommand) Help() string {
	return `What it writes is what import reads.

    offhook rates export rates.csv`
}

func (c *ratesExportCommand) Run(ctx context.Context, a *app) error {
	client, err := c.connect(a)
	if err != nil {
		return err
	}
	deck, err := client.ExportRates(ctx, c.query())
	if err != nil {
		return err
	}
	defer deck.Close()
	if c.File == "" || c.File == "-" {
		_, err = io.Copy(a.out, deck)
		return err
	}
	// Beside its place first: a download that breaks off leaves the old file alone.
	f, err := os.CreateTemp(filepath.Dir(c.File), ".rates-*.csv")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) //nolint:errcheck // it has moved
	_, err = io.Copy(f, deck)
	if err = errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), c.File)
}

type ratesClearCommand struct{ remote }

func (ratesClearCommand) Help() string {
	return `Calls that end from then on have no price, or that of the server's deck where the account is not the server's own.

    offhook rates clear`
}

func (c *ratesClearCommand) Run(ctx context.Context, a *app) error {
	client, err := c.connect(a)
	if err != nil {
		return err
	}
	return client.ClearRates(ctx)
}
