package twiliocall

import (
	"strings"
	"testing"
)

func FuzzReader(f *testing.F) {
	f.Add("id: 0\nevent: a\ndata: b\n\n")
	f.Add("data\n\n\r\n:x\ndata:  two\r\n\n")
	f.Fuzz(func(t *testing.T, s string) {
		r := newReader(strings.NewReader(s))
		for range len(s) + 1 {
			e, err := r.next()
			if err != nil {
				return
			}
			if strings.ContainsAny(e.Name+e.ID, "\n") {
				t.Errorf("line break in %+v", e)
			}
		}
		t.Error("more events than bytes")
	})
}
