package twilioapi

import (
	"bytes"
	"net/http"

	"github.com/offhook/offhook/internal/twilio"
)

// sheet is a list on its way to CSV (RFC 4180): the names as XML has them in the first line, then a line for each
// item. An object inside an item takes a column for each of its fields, named after both; links to other resources
// are left out.
type sheet struct {
	head   []byte // the first line
	named  bool   // which is whole
	within string // name of the object inside an item, with "_" behind it
	began  bool   // the present line has a column
	start  int    // of the present column in the answer
}

// line writes an item.
func (e *enc) line(fields func()) {
	e.csv.began = false
	fields()
	e.b = append(e.b, "\r\n"...)
	e.csv.named = true
}

// columns writes an object inside an item.
func (e *enc) columns(name string, fields func()) {
	if name == "subresource_uris" || name == "links" {
		return
	}
	outer := e.csv.within
	e.csv.within += name + "_"
	fields()
	e.csv.within = outer
}

func (e *enc) column(name string) {
	c := e.csv
	if !c.named {
		if c.began {
			c.head = append(c.head, ',')
		}
		c.head = appendPascal(c.head, c.within+name)
	}
	if c.began {
		e.b = append(e.b, ',')
	}
	c.began, c.start = true, len(e.b)
}

func (e *enc) endColumn() {
	value := e.b[e.csv.start:]
	if !bytes.ContainsAny(value, "\",\r\n") {
		return
	}
	quoted := bytes.ReplaceAll(value, []byte(`"`), []byte(`""`))
	e.b = append(append(append(e.b[:e.csv.start], '"'), quoted...), '"')
}

// sheet finishes a list: items write its lines.
func (e *enc) sheet(n int, item func(i int)) {
	for i := range n {
		item(i)
	}
	if n > 0 {
		lines := bytes.Clone(e.b)
		e.b = append(append(append(e.b[:0], e.csv.head...), "\r\n"...), lines...)
	}
}

// errNoSheet refuses CSV of what is no list.
func (q *request) errNoSheet() error {
	e := twilio.Errf(20001, ".csv is for lists: %s %s has no such form", q.r.Method, q.r.URL.Path)
	e.Status = http.StatusNotAcceptable
	return e
}
