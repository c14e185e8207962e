package store

import (
	"fmt"
	"testing"

	"github.com/offhook/offhook/internal/call"
)

func TestBook(t *testing.T) {
	p := newBook[call.Number](maxKept)
	_, change, known := p.look("+1")
	if known {
		t.Error("an empty book knows a name")
	}
	p.forget() // somebody made +1 while we read
	p.keep("+1", nil, change)
	if _, _, known := p.look("+1"); known {
		t.Error("what was read before a change was kept")
	}
	_, change, _ = p.look("+1")
	for i := range maxKept + 5 {
		p.keep(fmt.Sprint("+", i), nil, change)
	}
	if n, _, known := p.look(fmt.Sprint("+", maxKept+4)); n != nil || !known || len(p.kept) > maxKept {
		t.Errorf("%v %v, %d kept", n, known, len(p.kept))
	}
	p.forget()
	if len(p.kept) != 0 {
		t.Errorf("%d kept after a change", len(p.kept))
	}
	var none *book[call.Number] // PostgreSQL's
	none.keep("+1", &call.Number{}, 0)
	none.forget()
	if _, _, known := none.look("+1"); known {
		t.Error("no book knows a name")
	}
}
