package store_test

import (
	"strings"
	"testing"
)

func TestOneServerWorksOnAPostgreSQL(t *testing.T) {
	address := postgresSchema(t)
	first, second := open(t, address), open(t, address)
	must(t, first.Alone(t.Context()))
	if err := second.Alone(t.Context()); err == nil || !strings.Contains(err.Error(), "in use by another offhook") {
		t.Fatalf("a second server: %v, want a refusal that says why", err)
	}
	must(t, first.Close())
	must(t, second.Alone(t.Context()))
}
