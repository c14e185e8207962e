package offhooktest_test

import (
	"os"
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
	sources, rows := proofs{}, 0
	for row := range strings.Lines(table) {
		if !strings.HasPrefix(row, "|") || strings.HasPrefix(row, "|---") || strings.HasPrefix(row, "| What") {
			continue
		}
		rows++
		if !strings.Contains(row, "not yet") {
			sources.check(t, row)
		}
	}
	if rows < 40 {
		t.Errorf("the table has %d rows", rows)
	}
}
