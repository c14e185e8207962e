package offhooktest_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The proof table of docs/recordings.md names a test for each of its rows; each of them exists.
func TestTheProofTableOfRecordings(t *testing.T) {
	doc, err := os.ReadFile("../docs/recordings.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, ok := strings.Cut(string(doc), "\n## Proof\n")
	if !ok {
		t.Fatal("docs/recordings.md has no section Proof")
	}
	reference := regexp.MustCompile("`([a-z/]+)\\.(Test\\w+)`|`(conformance/node/[a-z.]+)`")
	sources := map[string]string{}
	source := func(pattern string) string {
		if _, known := sources[pattern]; !known {
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
			sources[pattern] = all.String()
		}
		return sources[pattern]
	}
	rows := 0
	for row := range strings.Lines(table) {
		if !strings.HasPrefix(row, "|") || strings.HasPrefix(row, "|---") || strings.HasPrefix(row, "| What") {
			continue
		}
		rows++
		found := reference.FindAllStringSubmatch(row, -1)
		if len(found) == 0 && !strings.Contains(row, "not yet") {
			t.Errorf("no test in: %s", row)
		}
		for _, m := range found {
			if m[3] != "" && source(m[3]) == "" {
				t.Errorf("there is no %s, as in: %s", m[3], row)
			} else if m[2] != "" && !strings.Contains(source(m[1]+"/*_test.go"), "func "+m[2]+"(") {
				t.Errorf("there is no %s in %s, as in: %s", m[2], m[1], row)
			}
		}
	}
	if rows < 40 {
		t.Errorf("the table has %d rows", rows)
	}
}
