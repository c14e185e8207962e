package store

import (
	"context"
	"fmt"

	"github.com/offhook/offhook/internal/call"
)

// maxSubaccounts is how many subaccounts an account may have that are not closed.
const maxSubaccounts = 1000

const accountColumns = "sid, owner_sid, auth_token, friendly_name, status, date_created, date_updated"

var (
	accountInsert = newTable("accounts", accountColumns, " ON CONFLICT DO NOTHING").one()
	accountPut    = newTable("accounts", accountColumns, " ON CONFLICT (sid) DO UPDATE SET auth_token = excluded.auth_token").one()
)

func accountValues(a *call.Account) []any {
	v := *a
	if v.OwnerSID == "" {
		v.OwnerSID = v.SID
	}
	if v.Status == "" {
		v.Status = call.AccountActive
	}
	if v.DateUpdated.IsZero() {
		v.DateUpdated = v.DateCreated
	}
	return []any{v.SID, v.OwnerSID, v.AuthToken, v.FriendlyName, string(v.Status), micros(v.DateCreated), micros(v.DateUpdated)}
}

func scanAccount(r scanner) (*call.Account, error) {
	var a call.Account
	err := r.Scan(&a.SID, &a.OwnerSID, &a.AuthToken, &a.FriendlyName, &a.Status, asTime{&a.DateCreated}, asTime{&a.DateUpdated})
	return &a, err
}

// PutAccount inserts an account, or gives the one with that SID its token; a new token takes its keys away, for
// whoever knew the old one may have made some. The rest stays as it is.
func (s *Store) PutAccount(ctx context.Context, a *call.Account) error {
	defer s.owners.forget()
	return s.w.api(ctx, &job{run: func(b *batch) error {
		const stale = "DELETE FROM api_keys WHERE account_sid IN (SELECT sid FROM accounts WHERE sid = ? AND auth_token <> ?)"
		if _, err := b.exec(stale, a.SID, a.AuthToken); err != nil {
			return err
		}
		_, err := b.exec(accountPut, accountValues(a)...)
		return err
	}})
}

// CreateAccount inserts a subaccount; call.ErrFull when its owner has as many as there may be.
func (s *Store) CreateAccount(ctx context.Context, a *call.Account) error {
	defer s.owners.forget()
	return s.w.api(ctx, &job{run: func(b *batch) error {
		n := 0
		const open = "SELECT sid FROM accounts WHERE owner_sid = ? AND sid <> ? AND status <> ?"
		if err := b.scan(func(string) { n++ }, open, a.OwnerSID, a.OwnerSID, string(call.AccountClosed)); err != nil {
			return err
		}
		if n >= maxSubaccounts {
			return fmt.Errorf("store: accounts: %w: %d is the limit", call.ErrFull, maxSubaccounts)
		}
		return b.guarded(fmt.Errorf("store: account %s: %w", a.SID, call.ErrConflict), accountInsert, accountValues(a)...)
	}})
}

// UpdateAccount writes an account's name and status; call.ErrConflict when its status is no longer was. One that is
// closed loses its keys, and its phone numbers are free for others.
func (s *Store) UpdateAccount(ctx context.Context, a *call.Account, was call.AccountStatus) error {
	defer s.owners.forget()
	defer s.phones.forget()
	return s.w.api(ctx, &job{run: func(b *batch) error {
		const update = "UPDATE accounts SET friendly_name = ?, status = ?, date_updated = ? WHERE sid = ? AND status = ?"
		refusal := fmt.Errorf("store: account %s: %w: it is no longer %s", a.SID, call.ErrConflict, was)
		err := b.guarded(refusal, update, a.FriendlyName, string(a.Status), micros(a.DateUpdated), a.SID, string(was))
		if err != nil || a.Status != call.AccountClosed {
			return err
		}
		for _, statement := range [...]string{
			"DELETE FROM api_keys WHERE account_sid = ?", "DELETE FROM numbers WHERE account_sid = ?",
		} {
			if _, err := b.exec(statement, a.SID); err != nil {
				return err
			}
		}
		return nil
	}})
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

// ListAccounts lists the account f.Of and its subaccounts as f selects, newest first. It pages as ListCalls does.
func (s *Store) ListAccounts(ctx context.Context, f call.AccountFilter) (accounts []*call.Account, more bool, err error) {
	l := &listing{
		table: "accounts", columns: accountColumns, owner: "owner_sid", order: "date_created", tie: "sid", limit: f.Limit, offset: f.Offset,
	}
	if f.Of.Sub() {
		l.owner = "sid"
	}
	if at := f.Cursor; at.SID != "" {
		l.cursor, l.before = []any{at.Time, at.SID}, at.Before
	}
	l.equal("friendly_name", f.FriendlyName)
	l.equal("status", string(f.Status))
	return list(ctx, s, l, f.Of.SID, scanAccount)
}
