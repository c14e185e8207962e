package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/offhook/offhook/internal/call"
)

const (
	numberFixed = "sid, account_sid, phone_number, date_created"
	numberFree  = "friendly_name, voice_url, voice_method, fallback_url, fallback_method, status_url, status_method, " +
		"caller_id_lookup, trunk_sid, date_updated"
	numberColumns = numberFixed + ", " + numberFree
)

var (
	numberInsert = newTable("numbers", numberColumns, " ON CONFLICT DO NOTHING").one()
	numberUpdate = "UPDATE numbers SET " + strings.ReplaceAll(numberFree, ",", " = ?,") + " = ? WHERE sid = ? AND account_sid = ?"
)

func numberValues(n *call.Number) []any {
	return []any{
		n.FriendlyName, n.VoiceURL, n.VoiceMethod, n.VoiceFallback, n.FallbackMethod, n.StatusURL, n.StatusMethod,
		bit(n.CallerIDLookup), n.TrunkSID, micros(n.DateUpdated),
	}
}

func scanNumber(r scanner) (*call.Number, error) {
	var n call.Number
	err := r.Scan(&n.SID, &n.AccountSID, &n.PhoneNumber, asTime{&n.DateCreated}, &n.FriendlyName, &n.VoiceURL,
		&n.VoiceMethod, &n.VoiceFallback, &n.FallbackMethod, &n.StatusURL, &n.StatusMethod, asBool{&n.CallerIDLookup}, &n.TrunkSID, asTime{&n.DateUpdated})
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

// changeNumber is change for a number that is written; a *call.MissingError when there is no such elastic trunk.
func (s *Store) changeNumber(ctx context.Context, n *call.Number, refusal error, query string, args ...any) error {
	return s.w.api(ctx, &job{run: func(b *batch) error {
		if err := b.has("trunks", n.TrunkSID, n.AccountSID, "kind = ?", call.Elastic); err != nil {
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
	kept, change, known := s.phones.look(phone)
	if !known {
		found, err := s.number(ctx, "phone_number = ?", phone)
		if err != nil && !errors.Is(err, call.ErrNotFound) {
			return nil, err
		}
		s.phones.keep(phone, found, change)
		kept = found
	}
	if kept == nil {
		return nil, call.ErrNotFound
	}
	n := *kept // the caller's own
	return &n, nil
}

// maxPhones bounds a phoneBook; a number takes about 500 bytes.
const maxPhones = 10_000

// phoneBook keeps what NumberByPhone found, or that it found nothing: each call asks for its From and its To,
// which was an eighth of the CPU time of creating one. Only a database that no other process changes
// allows it; a nil phoneBook keeps nothing.
type phoneBook struct {
	mu      sync.RWMutex
	changes int                     // of numbers: what was read before the last one is not kept
	numbers map[string]*call.Number // nil: nobody has that phone number
}

// look is what is known of a phone number, and the change to hand to keep with what is read now.
func (p *phoneBook) look(phone string) (n *call.Number, change int, known bool) {
	if p == nil {
		return nil, 0, false
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	n, known = p.numbers[phone]
	return n, p.changes, known
}

func (p *phoneBook) keep(phone string, n *call.Number, change int) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if change != p.changes {
		return
	}
	if len(p.numbers) >= maxPhones {
		clear(p.numbers)
	}
	p.numbers[phone] = n
}

// forget comes after each change of a number, done or not.
func (p *phoneBook) forget() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.changes++
	clear(p.numbers)
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
