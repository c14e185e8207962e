package store

import (
	"context"
	"fmt"
	"strings"

	"github.com/offhook/offhook/internal/call"
)

const (
	numberFixed = "sid, account_sid, phone_number, date_created"
	numberFree  = "friendly_name, voice_url, voice_method, fallback_url, fallback_method, status_url, status_method, " +
		"caller_id_lookup, trunk_sid, application_sid, date_updated"
	numberColumns = numberFixed + ", " + numberFree
)

var (
	numberInsert = newTable("numbers", numberColumns, " ON CONFLICT DO NOTHING").one()
	numberUpdate = "UPDATE numbers SET " + strings.ReplaceAll(numberFree, ",", " = ?,") + " = ? WHERE sid = ? AND account_sid = ?"
)

func numberValues(n *call.Number) []any {
	return []any{
		n.FriendlyName, n.VoiceURL, n.VoiceMethod, n.VoiceFallback, n.FallbackMethod, n.StatusURL, n.StatusMethod,
		bit(n.CallerIDLookup), n.TrunkSID, n.ApplicationSID, micros(n.DateUpdated),
	}
}

func scanNumber(r scanner) (*call.Number, error) {
	var n call.Number
	err := r.Scan(&n.SID, &n.AccountSID, &n.PhoneNumber, asTime{&n.DateCreated}, &n.FriendlyName, &n.VoiceURL,
		&n.VoiceMethod, &n.VoiceFallback, &n.FallbackMethod, &n.StatusURL, &n.StatusMethod, asBool{&n.CallerIDLookup}, &n.TrunkSID, &n.ApplicationSID, asTime{&n.DateUpdated})
	return &n, err
}

// CreateNumber inserts a number; call.ErrConflict when the phone number is taken, by whatever account.
func (s *Store) CreateNumber(ctx context.Context, n *call.Number) error {
	args := append([]any{n.SID, n.AccountSID, n.PhoneNumber, micros(n.DateCreated)}, numberValues(n)...)
	defer s.phones.forget()
	refusal := fmt.Errorf("store: number %s: %w: it is taken", n.PhoneNumber, call.ErrConflict)
	return s.changeNumber(ctx, n, refusal, numberInsert, args...)
}

// UpdateNumber writes all of a number but its phone number, which never changes.
func (s *Store) UpdateNumber(ctx context.Context, n *call.Number) error {
	defer s.phones.forget()
	return s.changeNumber(ctx, n, call.ErrNotFound, numberUpdate, append(numberValues(n), n.SID, n.AccountSID)...)
}

// changeNumber is change for a number that is written; a *call.MissingError when there is no such
// elastic trunk, or application.
func (s *Store) changeNumber(ctx context.Context, n *call.Number, refusal error, query string, args ...any) error {
	return s.w.api(ctx, &job{run: func(b *batch) error {
		if err := b.has("trunks", n.TrunkSID, n.AccountSID, "kind = ?", call.Elastic); err != nil {
			return err
		}
		if err := b.has("applications", n.ApplicationSID, n.AccountSID, ""); err != nil {
			return err
		}
		return b.guarded(refusal, query, args...)
	}})
}

// DeleteNumber removes a number of an account.
func (s *Store) DeleteNumber(ctx context.Context, accountSID, sid string) error {
	defer s.phones.forget()
	return s.change(ctx, call.ErrNotFound, "DELETE FROM numbers WHERE sid = ? AND account_sid = ?", sid, accountSID)
}

// Number is the number sid of an account.
func (s *Store) Number(ctx context.Context, accountSID, sid string) (*call.Number, error) {
	return s.number(ctx, "sid = ? AND account_sid = ?", sid, accountSID)
}

// NumberByPhone is the number with that E.164 phone number, of whatever account.
func (s *Store) NumberByPhone(ctx context.Context, phone string) (*call.Number, error) {
	return s.phones.find(phone, func() (*call.Number, error) { return s.number(ctx, "phone_number = ?", phone) })
}

func (s *Store) number(ctx context.Context, where string, args ...any) (n *call.Number, err error) {
	err = s.queryRow(ctx, func(r scanner) (err error) {
		n, err = scanNumber(r)
		return err
	}, "SELECT "+numberColumns+" FROM numbers WHERE "+where, args...)
	if err != nil {
		return nil, err
	}
	return n, nil
}

// change runs one statement of the API that must touch a row.
func (s *Store) change(ctx context.Context, refusal error, query string, args ...any) error {
	return s.w.api(ctx, &job{run: func(b *batch) error { return b.guarded(refusal, query, args...) }})
}
