//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"time"
)

// budget is what a figure is judged by. The zero budget judges nothing.
type budget struct {
	Must  float64 `json:"must,omitempty"`
	Aim   float64 `json:"aim,omitempty"`   // 0: none
	Least bool    `json:"least,omitempty"` // the figure must not be below, rather than not above
}

func most(must, aim float64) budget  { return budget{must, aim, false} }
func least(must, aim float64) budget { return budget{must, aim, true} }

func (b budget) meets(v, limit float64) bool {
	if b.Least {
		return v >= limit
	}
	return v <= limit
}

// verdict is "ok", "over" or "" without a budget, and whether the aim is met.
func (b budget) verdict(v float64) (must string, aim bool) {
	if b.Must == 0 {
		return "", false
	}
	aim = b.Aim != 0 && b.meets(v, b.Aim)
	if b.meets(v, b.Must) {
		return "ok", aim
	}
	return "over", aim
}

func (b budget) String() string {
	if b.Must == 0 {
		return ""
	}
	sign := "≤"
	if b.Least {
		sign = "≥"
	}
	s := sign + " " + figure(b.Must)
	if b.Aim != 0 {
		s += ", aim " + figure(b.Aim)
	}
	return s
}

// row is one figure.
type row struct {
	Workload string  `json:"workload"`
	Name     string  `json:"name"`
	Value    float64 `json:"value"`
	Unit     string  `json:"unit"`
	Budget   budget  `json:"budget"`
	Verdict  string  `json:"verdict,omitempty"`
	Usage    *usage  `json:"usage,omitempty"`
	Note     string  `json:"note,omitempty"`
}

// report prints figures as they come and keeps them.
type report struct {
	Time    time.Time `json:"time"`
	Version string    `json:"version"`
	Command string    `json:"command"`
	Machine machine   `json:"machine"`
	Load    string    `json:"loadAtStart"`
	Rows    []row     `json:"rows"`

	out    io.Writer
	before map[string]float64 // figures of an earlier report, by key
}

func (r *report) add(workload, name string, v float64, unit string, b budget, u *usage, note string) {
	x := row{Workload: workload, Name: name, Value: round(v), Unit: unit, Budget: b, Usage: u, Note: note}
	must, aim := b.verdict(x.Value)
	if x.Verdict = must; aim {
		x.Verdict += ", aim met"
	}
	r.Rows = append(r.Rows, x)
	r.print(x)
}

// later keeps the place of a figure that cannot be taken yet.
func (r *report) later(workload, name, why string) {
	fmt.Fprintf(r.out, "%-8s %-56s %s\n", workload, name, why)
}

func (r *report) head(workload, text string) { fmt.Fprintf(r.out, "\n%s: %s\n", workload, text) }

func (x row) key() string { return x.Workload + " " + x.Name }

func (r *report) print(x row) {
	extra := ""
	if x.Usage != nil {
		extra = fmt.Sprintf("generator %.0f %%, children %.0f %%, idle %.0f %%, load %s", x.Usage.Generator, x.Usage.Children, x.Usage.Idle, x.Usage.Load)
	}
	if was, ok := r.before[x.key()]; ok && was != 0 {
		extra = strings.TrimPrefix(extra+fmt.Sprintf("; was %s (%+.0f %%)", figure(was), 100*(x.Value-was)/was), "; ")
	}
	if x.Note != "" {
		extra = strings.TrimPrefix(extra+"; "+x.Note, "; ")
	}
	line := fmt.Sprintf("%-8s %-56s %8s %-6s %-20s %-12s %s", x.Workload, x.Name, figure(x.Value), x.Unit, x.Budget, x.Verdict, extra)
	fmt.Fprintln(r.out, strings.TrimRight(line, " "))
}

// finish names what is over its budget and writes the report.
func (r *report) finish(file string) error {
	over := 0
	fmt.Fprintln(r.out)
	for _, x := range r.Rows {
		if strings.HasPrefix(x.Verdict, "over") {
			over++
			fmt.Fprintf(r.out, "over: %s %s: %s %s, budget %s\n", x.Workload, x.Name, figure(x.Value), x.Unit, x.Budget)
		}
	}
	fmt.Fprintf(r.out, "%d figures in %.0f s, %d over budget; load average %s at the start, %s at the end\n",
		len(r.Rows), time.Since(r.Time).Seconds(), over, r.Load, load())
	if file == "" {
		return nil
	}
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(b, '\n'), 0o644)
}

// compare reads an earlier report, whose figures are then printed beside the new ones.
func (r *report) compare(file string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var old report
	if err := json.Unmarshal(b, &old); err != nil {
		return fmt.Errorf("%s is no report of --json: %w", file, err)
	}
	r.before = make(map[string]float64)
	for _, x := range old.Rows {
		r.before[x.key()] = x.Value
	}
	return nil
}

// round keeps three significant digits of what is below 1,000 and whole numbers above.
func round(v float64) float64 {
	if v == 0 || math.IsInf(v, 0) || math.IsNaN(v) {
		return 0
	}
	scale := math.Pow(10, max(0, 2-math.Floor(math.Log10(math.Abs(v)))))
	return math.Round(v*scale) / scale
}

func figure(v float64) string { return strconv.FormatFloat(round(v), 'f', -1, 64) }
