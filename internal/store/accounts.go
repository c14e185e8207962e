package store

import (
	"context"
	"fmt"

	"github.com/offhook/offhook/internal/call"
)

const accountColumns = "sid, auth_token, friendly_name, date_created"

var accountPut = newTable("accounts", accountColumns, " ON CONFLICT (sid) DO UPDATE SET "+
	"auth_token = excluded.auth_token, friendly_name = excluded.friendly_name").one()

func scanAccount(r scanner) (*call.Account, error) {
	var a call.Account
	err := r.Scan(&a.SID, &a.AuthToken, &a.FriendlyName, asTime{&a.DateCreated})
	return &a, err
}

// PutAccount inserts an account, or gives the one with that SID its token and name; the time of creation stays.
func (s *Store) PutAccount(ctx context.Context, a *call.Account) error {
	return s.change(ctx, nil, accountPut, a.SID, a.AuthToken, a.FriendlyName, micros(a.DateCreated))
}

// Account is the account sid.
func (s *Store) Account(ctx context.Context, sid string) (a *call.Account, err error) {
	err = s.queryRow(ctx, func(r scanner) (err error) {
		a, err = scanAccount(r)
		return err
	}, "SELECT "+accountColumns+" FROM accounts WHERE sid = ?", sid)
	if err != nil {
		return nil, err
	}
	return a, nil
}

// Accounts lists all accounts, oldest first.
func (s *Store) Accounts(ctx context.Context) (list []*call.Account, err error) {
	err = s.query(ctx, func(r scanner) error {
		a, err := scanAccount(r)
		list = append(list, a)
		return err
	}, "SELECT "+accountColumns+" FROM accounts ORDER BY date_created, sid")
	return list, err
}

const trunkColumns = "sid, name, host, transport, username, password, sources, prefixes, cps, max_calls, date_created"

var trunkInsert = newTable("trunks", trunkColumns, " ON CONFLICT DO NOTHING").one()

// CreateTrunk inserts a trunk; call.ErrConflict when its name is taken.
func (s *Store) CreateTrunk(ctx context.Context, t *call.Trunk) error {
	sources, err := toJSON(t.Sources, len(t.Sources) == 0)
	if err != nil {
		return fmt.Errorf("store: sources of trunk %s: %w", t.Name, err)
	}
	prefixes, err := toJSON(t.Prefixes, len(t.Prefixes) == 0)
	if err != nil {
		return fmt.Errorf("store: prefixes of trunk %s: %w", t.Name, err)
	}
	refusal := fmt.Errorf("store: trunk %s: %w: the name is taken", t.Name, call.ErrConflict)
	return s.change(ctx, refusal, trunkInsert, t.SID, t.Name, t.Host, t.Transport, t.Username, t.Password,
		sources, prefixes, t.CPS, int64(t.MaxCalls), micros(t.Created))
}

// DeleteTrunk removes a trunk.
func (s *Store) DeleteTrunk(ctx context.Context, sid string) error {
	return s.change(ctx, call.ErrNotFound, "DELETE FROM trunks WHERE sid = ?", sid)
}

// Trunks lists all trunks, oldest first.
func (s *Store) Trunks(ctx context.Context) (list []call.Trunk, err error) {
	err = s.query(ctx, func(r scanner) error {
		var t call.Trunk
		err := r.Scan(&t.SID, &t.Name, &t.Host, &t.Transport, &t.Username, &t.Password,
			asJSON{&t.Sources}, asJSON{&t.Prefixes}, &t.CPS, &t.MaxCalls, asTime{&t.Created})
		list = append(list, t)
		return err
	}, "SELECT "+trunkColumns+" FROM trunks ORDER BY date_created, sid")
	return list, err
}
