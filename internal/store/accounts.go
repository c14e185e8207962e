package store

import (
	"context"

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
	defer s.owners.forget()
	return s.change(ctx, nil, accountPut, a.SID, a.AuthToken, a.FriendlyName, micros(a.DateCreated))
}

// Account is the account sid.
func (s *Store) Account(ctx context.Context, sid string) (*call.Account, error) {
	return s.owners.find(sid, func() (a *call.Account, err error) {
		err = s.queryRow(ctx, func(r scanner) (err error) {
			a, err = scanAccount(r)
			return err
		}, "SELECT "+accountColumns+" FROM accounts WHERE sid = ?", sid)
		if err != nil {
			return nil, err
		}
		return a, nil
	})
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
