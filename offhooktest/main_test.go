package offhooktest_test

import (
	"testing"

	"go.uber.org/goleak"
)

// A stopped server leaves no goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
