package store

import (
	"context"

	"github.com/offhook/offhook/internal/call"
)

// Limits per account, our own: Twilio names none.
const (
	maxKeys      = 1000
	maxCallerIDs = 10_000
)

var keyKind = newKind(kind[*call.Key]{
	table: "api_keys", columns: "friendly_name, hash",
	empty:  func() *call.Key { return &call.Key{} },
	values: func(k *call.Key) []any { return []any{k.FriendlyName, k.Hash} },
	dest:   func(k *call.Key) []any { return []any{&k.FriendlyName, &k.Hash} },
	limit:  func(*call.Key) int { return maxKeys },
})

var callerIDKind = newKind(kind[*call.CallerID]{
	table: "caller_ids", columns: "phone_number, friendly_name",
	empty:  func() *call.CallerID { return &call.CallerID{} },
	values: func(c *call.CallerID) []any { return []any{c.PhoneNumber, c.FriendlyName} },
	dest:   func(c *call.CallerID) []any { return []any{&c.PhoneNumber, &c.FriendlyName} },
	limit:  func(*call.CallerID) int { return maxCallerIDs },
})

// Keys are the API keys; their secrets are not stored.
func (s *Store) Keys() Records[*call.Key] { return Records[*call.Key]{s, keyKind} }

// Key is the API key sid, of whatever account.
func (s *Store) Key(ctx context.Context, sid string) (k *call.Key, err error) {
	err = s.queryRow(ctx, func(r scanner) (err error) {
		k, err = keyKind.scan(r)
		return err
	}, "SELECT "+keyKind.read+" FROM api_keys WHERE sid = ?", sid)
	if err != nil {
		return nil, err
	}
	return k, nil
}

// CallerIDs are the numbers of others that an account may call from.
func (s *Store) CallerIDs() Records[*call.CallerID] { return Records[*call.CallerID]{s, callerIDKind} }

// MayCallFrom reports whether a number of somebody else's is one that the account may call from.
func (s *Store) MayCallFrom(ctx context.Context, accountSID, phone string) (may bool, err error) {
	err = s.query(ctx, func(r scanner) error {
		may = true
		return r.Scan(new(string))
	}, "SELECT sid FROM caller_ids WHERE account_sid = ? AND phone_number = ?", accountSID, phone)
	return may, err
}
