package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/offhook/offhook/internal/apiclient"
)

// output is the flag that says how results are written.
type output struct {
	Output string `name:"output" short:"o" enum:"columns,json,tsv" default:"columns" placeholder:"columns|json|tsv" help:"Form of the result: columns for people, json as the server sent it, tsv for scripts (default ${default})."`
}

// column is one field of a table.
type column struct {
	title string // for people
	field string // of the JSON resource; the header in TSV
	form  func(string) string
}

func (c column) value(r apiclient.Resource) string {
	v := r.Text(c.field)
	if c.form != nil && v != "" {
		v = c.form(v)
	}
	return oneLine(v)
}

// oneLine keeps a value from breaking out of its cell.
func oneLine(s string) string {
	return strings.NewReplacer("\t", " ", "\n", " ", "\r", " ").Replace(s)
}

// shortTime turns the API's RFC 2822 dates into RFC 3339, which sorts.
func shortTime(s string) string {
	t, err := time.Parse(time.RFC1123Z, s)
	if err != nil {
		return s
	}
	return t.UTC().Format(time.RFC3339)
}

// list writes many resources.
func (o output) list(w io.Writer, columns []column, rows []apiclient.Resource) error {
	switch o.Output {
	case "json":
		raw := make([]json.RawMessage, len(rows))
		for i, r := range rows {
			raw[i] = r.Raw
		}
		return writeJSON(w, raw)
	case "tsv":
		return writeTSV(w, columns, rows)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	cells := make([]string, len(columns))
	for i, c := range columns {
		cells[i] = strings.ToUpper(c.title)
	}
	fmt.Fprintln(t, strings.Join(cells, "\t"))
	for _, r := range rows {
		for i, c := range columns {
			if cells[i] = c.value(r); cells[i] == "" {
				cells[i] = "-"
			}
		}
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	return t.Flush()
}

// one writes a single resource: a line for each field that has a value.
func (o output) one(w io.Writer, columns []column, r apiclient.Resource) error {
	switch o.Output {
	case "json":
		return writeJSON(w, r.Raw)
	case "tsv":
		return writeTSV(w, columns, []apiclient.Resource{r})
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, c := range columns {
		if v := c.value(r); v != "" {
			fmt.Fprintf(t, "%s\t%s\n", c.title, v)
		}
	}
	return t.Flush()
}

func writeTSV(w io.Writer, columns []column, rows []apiclient.Resource) error {
	cells := make([]string, len(columns))
	for i, c := range columns {
		cells[i] = c.field
	}
	lines := []string{strings.Join(cells, "\t")}
	for _, r := range rows {
		for i, c := range columns {
			cells[i] = c.value(r)
		}
		lines = append(lines, strings.Join(cells, "\t"))
	}
	_, err := io.WriteString(w, strings.Join(lines, "\n")+"\n")
	return err
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// atMost is how many resources a list shall show.
type atMost int

func (n *atMost) UnmarshalText(b []byte) error {
	v, err := strconv.Atoi(string(b))
	if err != nil || v < 1 {
		return fmt.Errorf("%q: want a whole number from 1", b)
	}
	*n = atMost(v)
	return nil
}
