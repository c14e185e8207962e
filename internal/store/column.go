package store

import (
	"encoding/json"
	"fmt"
	"time"
)

// micros is how times are stored: microseconds since 1970 UTC, 0 for none.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// asTime reads such a column.
type asTime struct{ t *time.Time }

// Scan is sql.Scanner's.
func (a asTime) Scan(src any) error {
	n, ok := src.(int64)
	if !ok {
		return fmt.Errorf("store: time column holds a %T", src)
	}
	*a.t = time.Time{}
	if n != 0 {
		*a.t = time.UnixMicro(n).UTC()
	}
	return nil
}

// asJSON reads a JSON text column; an empty one leaves the zero value.
type asJSON struct{ v any }

// Scan is sql.Scanner's.
func (a asJSON) Scan(src any) error {
	switch s := src.(type) {
	case string:
		if s == "" {
			return nil
		}
		return json.Unmarshal([]byte(s), a.v)
	case []byte:
		if len(s) == 0 {
			return nil
		}
		return json.Unmarshal(s, a.v)
	}
	return fmt.Errorf("store: JSON column holds a %T", src)
}
