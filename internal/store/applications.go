package store

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"

	"github.com/offhook/offhook/internal/call"
)

const maxApplications = 1000 // of one account; Twilio names no number

var applicationKind = newKind(kind[*call.Application]{
	table: "applications", columns: "friendly_name, " + voiceColumns + ", caller_id_lookup, public",
	empty: func() *call.Application { return &call.Application{} },
	values: func(a *call.Application) []any {
		return append(append([]any{a.FriendlyName}, voiceValues(&a.Voice)...), bit(a.CallerIDLookup), bit(a.Public))
	},
	dest: func(a *call.Application) []any {
		return append(append([]any{&a.FriendlyName}, voiceDest(&a.Voice)...), asBool{&a.CallerIDLookup}, asBool{&a.Public})
	},
	limit: func(*call.Application) int { return maxApplications },
	parts: []string{"UPDATE numbers SET application_sid = '' WHERE application_sid = ?"}, // as Twilio documents
})

// Applications are the TwiML applications.
func (s *Store) Applications() Records[*call.Application] {
	return Records[*call.Application]{s, applicationKind}
}

// Application is the application sid, of whatever account.
func (s *Store) Application(ctx context.Context, sid string) (a *call.Application, err error) {
	err = s.queryRow(ctx, func(r scanner) (err error) {
		a, err = applicationKind.scan(r)
		return err
	}, "SELECT "+applicationKind.read+" FROM applications WHERE sid = ?", sid)
	if err != nil {
		return nil, err
	}
	return a, nil
}

// Secret is the server's own random key of that name, 32 bytes, made when it is first asked for: the same for
// every process on the database.
func (s *Store) Secret(ctx context.Context, name string) ([]byte, error) {
	var fresh [32]byte
	_, _ = rand.Read(fresh[:]) // never fails (crypto/rand documentation)
	err := s.w.api(ctx, &job{run: func(b *batch) error {
		_, err := b.exec("INSERT INTO secrets (name, value) VALUES (?, ?) ON CONFLICT DO NOTHING", name, hex.EncodeToString(fresh[:]))
		return err
	}})
	if err != nil {
		return nil, err
	}
	var text string
	if err := s.queryRow(ctx, func(r scanner) error { return r.Scan(&text) }, "SELECT value FROM secrets WHERE name = ?", name); err != nil {
		return nil, err
	}
	key, err := hex.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("store: secret %s: %w", name, err)
	}
	return key, nil
}
