package store

import (
	"fmt"
	"testing"

	"github.com/offhook/offhook/internal/call"
)

func TestPhoneBook(t *testing.T) {
	p := &phoneBook{numbers: map[string]*call.Number{}}
	_, change, known := p.look("+1")
	if known {
		t.Error("an empty book knows a number")
	}
	p.forget() // somebody made +1 while we read
	p.keep("+1", nil, change)
	if _, _, known := p.look("+1"); known {
		t.Error("what was read before a change was kept")
	}
	_, change, _ = p.look("+1")
	for i := range maxPhones + 5 {
		p.keep(fmt.Sprint("+", i), nil, change)
	}
	if n, _, known := p.look(fmt.Sprint("+", maxPhones+4)); n != nil || !known || len(p.numbers) > maxPhones {
		t.Errorf("%v %v, %d kept", n, known, len(p.numbers))
	}
	p.forget()
	if len(p.numbers) != 0 {
		t.Errorf("%d kept after a change", len(p.numbers))
	}
	var none *phoneBook // PostgreSQL's
	none.keep("+1", &call.Number{}, 0)
	none.forget()
	if _, _, known := none.look("+1"); known {
		t.Error("no book knows a number")
	}
}
