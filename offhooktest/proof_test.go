package offhooktest_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// testReference is a test of a proof table: of Go by package and name, of Node by its file.
var testReference = regexp.MustCompile(`([a-z/]+)\.(Test\w+)|(conformance/node/[a-z.]+)`)

// proofs looks up the tests that tables name, in the sources of the tree.
type proofs map[string]string

func (p proofs) source(t *testing.T, pattern string) string {
	t.Helper()
	if _, known := p[pattern]; !known {
		files, err := filepath.Glob(filepath.Join("..", pattern))
		if err != nil {
			t.Fatal(err)
		}
		var all strings.Builder
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			all.Write(b)
		}
		p[pattern] = all.String()
	}
	return p[pattern]
}

// check fails unless row names at least one test, and each that it names exists.
func (p proofs) check(t *testing.T, row string) {
	t.Helper()
	found := testReference.FindAllStringSubmatch(row, -1)
	if len(found) == 0 {
		t.Errorf("no test in: %s", row)
	}
	for _, m := range found {
		if m[3] != "" && p.source(t, m[3]) == "" {
			t.Errorf("there is no %s, as in: %s", m[3], row)
		} else if m[2] != "" && !strings.Contains(p.source(t, m[1]+"/*_test.go"), "func "+m[2]+"(") {
			t.Errorf("there is no %s in %s, as in: %s", m[2], m[1], row)
		}
	}
}
