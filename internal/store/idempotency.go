package store

import (
	"time"

	"github.com/offhook/offhook/internal/call"
)

// keepIdempotency is how long a key stands for its call.
const keepIdempotency = 24 * time.Hour

const putKey = "INSERT INTO idempotency (account_sid, name, fingerprint, call_sid, created_at) VALUES (?, ?, ?, ?, ?) " +
	"ON CONFLICT (account_sid, name) DO UPDATE SET fingerprint = excluded.fingerprint, call_sid = excluded.call_sid, " +
	"created_at = excluded.created_at WHERE idempotency.created_at <= ?"

// putIdempotency stores the key of a new call, which stands in the same transaction. When the key has a call
// already, the new one is none: *call.RepeatedError.
func putIdempotency(c *call.Call, i call.Idempotency) func(b *batch) error {
	sid, account, now := c.SID, c.AccountSID, c.DateCreated
	return func(b *batch) error {
		n, err := b.exec(putKey, account, i.Key, i.Fingerprint, sid, micros(now), micros(now.Add(-keepIdempotency)))
		if err != nil || n > 0 {
			return err
		}
		var repeated call.RepeatedError
		const of = " FROM idempotency WHERE account_sid = ? AND name = ?"
		if err := b.scan(func(s string) { repeated.CallSID = s }, "SELECT call_sid"+of, account, i.Key); err != nil {
			return err
		}
		if err := b.scan(func(s string) { repeated.Fingerprint = s }, "SELECT fingerprint"+of, account, i.Key); err != nil {
			return err
		}
		if _, err := b.exec("DELETE FROM calls WHERE sid = ?", sid); err != nil { // nobody has heard of it
			return err
		}
		return &repeated
	}
}
