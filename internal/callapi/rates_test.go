package callapi

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/rates"
)

// shelf keeps no deck.
type shelf struct{ err error }

func (s *shelf) RateDecks(context.Context, func(call.RateDeck) error) error { return nil }
func (s *shelf) PutRateDeck(context.Context, call.RateDeck) error           { return s.err }
func (s *shelf) DeleteRateDeck(context.Context, string) error               { return s.err }

func TestRates(t *testing.T) {
	kept := &shelf{}
	book, err := rates.Open(t.Context(), kept, accountSID)
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, &fake{}, func(c *Config) { c.Rates = book })
	do := func(method, path, body string, status int, headers ...string) (string, http.Header) {
		t.Helper()
		res := s.ask(t, method, path, body, headers...)
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != status {
			t.Fatalf("%s %s: %d %s, want %d", method, path, res.StatusCode, b, status)
		}
		return string(b), res.Header
	}
	csv := []string{"Content-Type", "text/csv; charset=utf-8"}
	if got, _ := do("GET", "/v1/rates", "", 200); got != "[]\n" {
		t.Errorf("before there are any: %s", got)
	}
	do("GET", "/v1/rates", "", 404, "Accept", "text/csv")

	const deck = "prefix,rate,name,direction,effective\n+1,0.0130,US,outbound,\n+1415,0.02,SF,outbound,2020-01-01\n,0.5,World,,\n+1,0.0085,own,inbound,\n,0.004,,sip,\n"
	if got, _ := do("PUT", "/v1/rates", deck, 200, csv...); !strings.Contains(got, `"accountSid":"`+accountSID+`","rates":5,"dateImported":"2`) {
		t.Error(got)
	}
	for path, want := range map[string]string{
		"/v1/rates": "own World US SF sip", "/v1/rates?direction=outbound": "World US SF", "/v1/rates?prefix=%2B14": "SF", "/v1/rates?prefix=%2B": "own World US SF sip",
		"/v1/rates?number=%2B14155550100": "own SF", "/v1/rates?number=%2B445550100&direction=outbound": "World", "/v1/rates?number=%2B445550100&direction=inbound": "",
	} {
		for _, pages := range []string{"", "1", "2"} {
			var names []string
			for next := path; next != ""; {
				if pages != "" && next == path {
					next += map[bool]string{true: "&", false: "?"}[strings.Contains(path, "?")] + "limit=" + pages
				}
				body, header := do("GET", next, "", 200)
				var list []rate
				if err := json.Unmarshal([]byte(body), &list); err != nil {
					t.Fatal(err)
				}
				for _, r := range list {
					if r.Name == "" {
						r.Name = string(r.Direction)
					}
					names = append(names, r.Name)
				}
				next, _, _ = strings.Cut(strings.TrimPrefix(header.Get("Link"), "<"), ">")
			}
			if got := strings.Join(names, " "); got != want {
				t.Errorf("%s by pages of %q: %q, want %q", path, pages, got, want)
			}
		}
	}
	if got, _ := do("GET", "/v1/rates?prefix=%2B1415", "", 200); got != `[{"direction":"outbound","prefix":"+1415","name":"SF","rate":0.02,"initial":60,"increment":60,"currency":"USD","effective":"2020-01-01"}]`+"\n" {
		t.Error(got)
	}
	exported, _ := do("GET", "/v1/rates?direction=outbound", "", 200, "Accept", "text/csv")
	if want := "direction,prefix,name,rate,initial,increment,currency,effective\noutbound,,World,0.5,60,60,USD,\n"; !strings.HasPrefix(exported, want) || strings.Count(exported, "\n") != 4 {
		t.Error(exported)
	}

	for name, x := range map[string]struct {
		method, path, body string
		status             int
		words              string
		headers            []string
	}{
		"a line is wrong":       {"PUT", "/v1/rates", "prefix,rate\n1,1\nx,1\n", 400, "line 3: prefix", csv},
		"it is no CSV":          {"PUT", "/v1/rates", "{}", 415, "text/csv", []string{"Content-Type", "application/json"}},
		"it is too large":       {"PUT", "/v1/rates", "prefix,rate\n1," + strings.Repeat(" ", rates.MaxBytes), 413, "16 MiB", csv},
		"an unknown parameter":  {"GET", "/v1/rates?page=2", "", 400, "page", nil},
		"an unknown direction":  {"GET", "/v1/rates?direction=out", "", 400, "direction", nil},
		"no number":             {"GET", "/v1/rates?number=bob", "", 400, "number", nil},
		"no prefix":             {"GET", "/v1/rates?prefix=1", "", 400, "prefix", nil},
		"number and prefix":     {"GET", "/v1/rates?number=%2B15550100&prefix=%2B1", "", 400, "one of them", nil},
		"no limit":              {"GET", "/v1/rates?limit=0", "", 400, "limit", nil},
		"a cursor of ours none": {"GET", "/v1/rates?cursor=1", "", 400, "cursor", nil},
		"pages of CSV":          {"GET", "/v1/rates?limit=1", "", 400, "no pages", []string{"Accept", "text/csv"}},
		"a method it has not":   {"POST", "/v1/rates", "", 405, "method", nil},
	} {
		if got, _ := do(x.method, x.path, x.body, x.status, x.headers...); !strings.Contains(got, x.words) {
			t.Errorf("%s: %s", name, got)
		}
	}
	kept.err = call.ErrFull
	do("PUT", "/v1/rates", "prefix,rate\n", 409, csv...)
	kept.err = nil
	if got, _ := do("GET", "/v1/rates", "", 200); strings.Count(got, "direction") != 5 {
		t.Errorf("what was refused was taken: %s", got)
	}
	do("DELETE", "/v1/rates", "", 204)
	kept.err = call.ErrNotFound
	do("DELETE", "/v1/rates", "", 404)
	if got, _ := do("GET", "/v1/rates", "", 200); got != "[]\n" {
		t.Errorf("cleared: %s", got)
	}
}
