package twilioapi

import (
	"net/url"
	"slices"
	"strconv"

	"github.com/offhook/offhook/internal/twilio"
)

// Sizes of a page (calls-api section 6).
const (
	defaultPageSize = 50
	maxPageSize     = 1000
	maxPage         = 10_000_000 // keeps Page times PageSize small
)

// page is the part of a list that was asked for.
type page struct {
	size, number int
	rawToken     string
	token        twilio.PageToken // zero: by number
	filters      []pair           // repeated in every URI, as they came
}

// pageParams are the paging parameters of a list.
func pageParams[T any](of func(*T) *page) []param[T] {
	const any32 = 1<<31 - 1
	return []param[T]{
		integer("PageSize", 20001, -any32, any32, func(dst *T) *int { return &of(dst).size }),
		integer("Page", 20001, -any32, maxPage, func(dst *T) *int { return &of(dst).number }),
		text("PageToken", func(dst *T) *string { return &of(dst).rawToken }),
	}
}

// check takes what was decoded; prefix is that of the items' SIDs.
func (p *page) check(filters []pair, prefix string) error {
	p.filters = filters
	if p.size == 0 {
		p.size = defaultPageSize
	}
	p.size = min(max(p.size, 1), maxPageSize)
	p.number = max(p.number, 0)
	if p.rawToken == "" {
		return nil
	}
	token, ok := twilio.ParsePageToken(p.rawToken, prefix)
	if !ok {
		return twilio.Errf(20001, "Invalid PageToken: %s", clip(p.rawToken))
	}
	p.token = token
	return nil
}

// cursor is the page in the terms of the store.
func (p *page) cursor() (limit, offset int, at twilio.PageToken) {
	if p.token.SID == "" {
		return p.size, p.number * p.size, p.token
	}
	return p.size, 0, p.token
}

// list writes a page: the envelope around items, which item writes one by one. path is the
// collection's without suffix; key names the array. more tells whether the store has further items in
// the direction that was read.
func (q *request) list(p *page, path, key string, n int, more bool, place func(i int) twilio.PageToken, item func(i int)) {
	e := &q.enc
	start, end := p.number*p.size, 0
	if n > 0 {
		end = start + n - 1
	}
	// A page that was reached backwards has its successor: the one we came from.
	next := n > 0 && (more || p.token.Before)
	// The client counts the pages, and nothing comes before its page 0.
	previous := p.number > 0
	if p.token.Before && !more {
		previous = false
	}
	suffix := e.suffix()
	if e.csv != nil {
		suffix = ".csv"
	}
	uri := func(number int, token string) string { return e.origin + p.uri(path+suffix, number, token) }
	nextURI, previousURI := "", ""
	if next {
		nextURI = uri(p.number+1, place(n-1).String())
	}
	switch {
	case previous && n > 0:
		first := place(0)
		first.Before = true
		previousURI = uri(p.number-1, first.String())
	case previous: // an empty page behind the last: back by number
		previousURI = uri(p.number-1, "")
	}

	if e.csv != nil { // which has no place for them (RFC 8288)
		if nextURI != "" {
			q.Header().Add("Link", "<"+nextURI+`>; rel="next"`)
		}
		if previousURI != "" {
			q.Header().Add("Link", "<"+previousURI+`>; rel="prev"`)
		}
		e.sheet(n, item)
		return
	}
	const itemSize = 2500 // bytes of a call, the largest
	e.b = slices.Grow(e.b, (n+1)*itemSize)
	if e.origin != "" {
		e.object("", func() {
			e.child("meta", func() {
				e.number("page", int64(p.number))
				e.number("page_size", int64(p.size))
				e.str("first_page_url", uri(0, ""))
				e.opt("previous_page_url", previousURI)
				e.str("url", uri(p.number, p.rawToken))
				e.opt("next_page_url", nextURI)
				e.str("key", key)
			})
			e.name(key)
			e.b = append(e.b, '[')
			for i := range n {
				item(i)
			}
			e.b = append(e.b, ']')
		})
		return
	}
	if e.xml {
		e.head()
		e.b = append(e.b, '<')
		e.pascal(key)
		for _, a := range [...]struct {
			name  string
			value string
		}{
			{"page", strconv.Itoa(p.number)}, {"pagesize", strconv.Itoa(p.size)}, {"start", strconv.Itoa(start)},
			{"end", strconv.Itoa(end)}, {"uri", uri(p.number, p.rawToken)}, {"firstpageuri", uri(0, "")},
			{"nextpageuri", nextURI}, {"previouspageuri", previousURI},
		} {
			e.b = append(e.b, ' ')
			e.b = append(e.b, a.name...)
			e.b = append(e.b, '=', '"')
			e.escapeXML(a.value)
			e.b = append(e.b, '"')
		}
		e.b = append(e.b, '>')
		for i := range n {
			item(i)
		}
		e.close(key)
		e.tail()
		return
	}
	e.object("", func() {
		e.name(key)
		e.b = append(e.b, '[')
		for i := range n {
			item(i)
		}
		e.b = append(e.b, ']')
		e.number("page", int64(p.number))
		e.number("page_size", int64(p.size))
		e.number("start", int64(start))
		e.number("end", int64(end))
		e.str("uri", uri(p.number, p.rawToken))
		e.str("first_page_uri", uri(0, ""))
		e.opt("next_page_uri", nextURI)
		e.opt("previous_page_uri", previousURI)
	})
}

// uri is the relative URI of a page: filters, PageSize, Page, PageToken.
func (p *page) uri(path string, number int, token string) string {
	b := append(make([]byte, 0, 256), path...)
	b = append(b, '?')
	for _, f := range p.filters {
		b = append(b, url.QueryEscape(f.name)...)
		b = append(b, '=')
		b = append(b, url.QueryEscape(f.value)...)
		b = append(b, '&')
	}
	b = append(b, "PageSize="...)
	b = strconv.AppendInt(b, int64(p.size), 10)
	b = append(b, "&Page="...)
	b = strconv.AppendInt(b, int64(number), 10)
	if token != "" {
		b = append(b, "&PageToken="...)
		b = append(b, url.QueryEscape(token)...)
	}
	return string(b)
}
