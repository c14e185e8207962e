package store

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/offhook/offhook/internal/call"
)

// kind is a table of what accounts make through the API: how a row of it is read and written, what it
// depends on and what depends on it.
type kind[T call.Resource] struct {
	table   string
	scope   []string // columns that say what a row belongs to, beside the account
	columns string   // the others beside those of call.Record; Update writes them
	derived string   // expressions read behind them, each after a comma
	empty   func() T
	values  func(T) []any // of scope and columns
	dest    func(T) []any // of scope, columns and derived

	limit func(T) int               // rows of one account and scope at most
	check func(b *batch, v T) error // before a row is written; nil: nothing to check
	uses  []string                  // queries that find what refers to a row, by its SID
	parts []string                  // statements that change or delete what goes with it, by its SID
	after func(b *batch, v T) error // writes more with a new row

	insert, update, read string // made by newKind
}

const recordColumns = "sid, account_sid, date_created, date_updated"

// newKind completes k.
func newKind[T call.Resource](k kind[T]) *kind[T] {
	all := strings.Join(slices.Concat([]string{recordColumns}, k.scope, []string{k.columns}), ", ")
	if k.columns == "" {
		all = strings.TrimSuffix(all, ", ")
	}
	k.insert = newTable(k.table, all, " ON CONFLICT DO NOTHING").one()
	k.update = "UPDATE " + k.table + " SET date_updated = ?"
	for column := range strings.SplitSeq(k.columns, ", ") {
		if column != "" {
			k.update += ", " + column + " = ?"
		}
	}
	k.update += k.where()
	k.read = all + k.derived
	return &k
}

// where names one row: by SID, account and scope.
func (k *kind[T]) where() string {
	return " WHERE sid = ? AND account_sid = ?" + k.scoped(len(k.scope))
}

// scoped is the condition on the first n columns of the scope.
func (k *kind[T]) scoped(n int) string {
	condition := ""
	for _, column := range k.scope[:n] {
		condition += " AND " + column + " = ?"
	}
	return condition
}

// scopeOf are the values of the scope of v.
func (k *kind[T]) scopeOf(v T) []any { return k.values(v)[:len(k.scope)] }

func (k *kind[T]) scan(r scanner) (T, error) {
	v := k.empty()
	var h call.Record
	head := []any{&h.SID, &h.AccountSID, asTime{&h.DateCreated}, asTime{&h.DateUpdated}}
	err := r.Scan(append(head, k.dest(v)...)...)
	v.SetHead(h)
	return v, err
}

// Records are the rows of one kind.
type Records[T call.Resource] struct {
	s *Store
	k *kind[T]
}

// Create inserts v. call.ErrFull when there are as many as there may be, call.ErrConflict when what must be
// unique is taken, a *call.MissingError when it refers to something the account does not have.
func (r Records[T]) Create(ctx context.Context, v T) error {
	k, h := r.k, v.Head()
	return r.s.w.api(ctx, &job{run: func(b *batch) error {
		if k.check != nil {
			if err := k.check(b, v); err != nil {
				return err
			}
		}
		scope := k.scopeOf(v)
		count := "SELECT CAST(COUNT(*) AS TEXT) FROM " + k.table + " WHERE account_sid = ?" + k.scoped(len(k.scope))
		full := false
		limit := fmt.Sprint(k.limit(v))
		if err := b.scan(func(n string) {
			full = len(n) > len(limit) || len(n) == len(limit) && n >= limit
		}, count, append([]any{h.AccountSID}, scope...)...); err != nil {
			return err
		}
		if full {
			return fmt.Errorf("store: %s: %w: %s is the limit", k.table, call.ErrFull, limit)
		}
		args := append([]any{h.SID, h.AccountSID, micros(h.DateCreated), micros(h.DateUpdated)}, k.values(v)...)
		refusal := fmt.Errorf("store: %s: %w: it is taken", k.table, call.ErrConflict)
		if err := b.guarded(refusal, k.insert, args...); err != nil || k.after == nil {
			return err
		}
		return k.after(b, v)
	}})
}

// Get is the row sid of an account, in a scope.
func (r Records[T]) Get(ctx context.Context, accountSID, sid string, scope ...string) (v T, err error) {
	args := append([]any{sid, accountSID}, anys(scope)...)
	var found T
	err = r.s.queryRow(ctx, func(row scanner) (err error) {
		found, err = r.k.scan(row)
		return err
	}, "SELECT "+r.k.read+" FROM "+r.k.table+" WHERE sid = ? AND account_sid = ?"+r.k.scoped(len(scope)), args...)
	if err != nil {
		return v, err
	}
	return found, nil
}

// List pages as ListCalls does.
func (r Records[T]) List(ctx context.Context, f call.ListFilter) (page []T, more bool, err error) {
	l := &listing{
		table: r.k.table, columns: r.k.read, order: "date_created", tie: "sid", limit: f.Limit, offset: f.Offset,
	}
	if at := f.Cursor; at.SID != "" {
		l.cursor, l.before = []any{at.Time, at.SID}, at.Before
	}
	for i, value := range f.Scope {
		l.where(r.k.scope[i]+" = ?", value)
	}
	l.equal("friendly_name", f.FriendlyName)
	l.equal("phone_number", f.PhoneNumber)
	return list(ctx, r.s, l, f.AccountSID, r.k.scan)
}

// Update writes v over the row it was read from. Errors as those of Create.
func (r Records[T]) Update(ctx context.Context, v T) error {
	k, h := r.k, v.Head()
	return r.s.w.api(ctx, &job{run: func(b *batch) error {
		if k.check != nil {
			if err := k.check(b, v); err != nil {
				return err
			}
		}
		values := k.values(v)
		args := append([]any{micros(h.DateUpdated)}, values[len(k.scope):]...)
		args = append(append(args, h.SID, h.AccountSID), values[:len(k.scope)]...)
		return b.guarded(call.ErrNotFound, k.update, args...)
	}})
}

// Delete removes the row sid with all that belongs to it; call.ErrInUse when another resource refers to it.
func (r Records[T]) Delete(ctx context.Context, accountSID, sid string, scope ...string) error {
	k := r.k
	defer r.s.phones.forget() // a trunk's numbers leave it
	return r.s.w.api(ctx, &job{run: func(b *batch) error {
		for _, query := range k.uses {
			if used, err := b.any(query, sid); err != nil {
				return err
			} else if used {
				if there, err := b.any("SELECT sid FROM "+k.table+" WHERE sid = ? AND account_sid = ?", sid, accountSID); err != nil || !there {
					return orMissing(err)
				}
				return fmt.Errorf("store: %s: %w", sid, call.ErrInUse)
			}
		}
		args := append([]any{sid, accountSID}, anys(scope)...)
		err := b.guarded(call.ErrNotFound, "DELETE FROM "+k.table+" WHERE sid = ? AND account_sid = ?"+k.scoped(len(scope)), args...)
		for _, statement := range k.parts {
			if err == nil {
				_, err = b.exec(statement, sid)
			}
		}
		return err
	}})
}

func orMissing(err error) error {
	if err == nil {
		err = call.ErrNotFound
	}
	return err
}

// any reports whether a query of one text column finds a row.
func (b *batch) any(query string, args ...any) (found bool, err error) {
	err = b.scan(func(string) { found = true }, query, args...)
	return found, err
}

// has is a *call.MissingError unless sid is "" or a row of the account's in table, on condition.
func (b *batch) has(table, sid, accountSID, condition string, args ...any) error {
	if sid == "" {
		return nil
	}
	query := "SELECT sid FROM " + table + " WHERE sid = ? AND account_sid = ?"
	if condition != "" {
		query += " AND " + condition
	}
	found, err := b.any(query, append([]any{sid, accountSID}, args...)...)
	if err == nil && !found {
		err = &call.MissingError{SID: sid}
	}
	return err
}

func anys(texts []string) []any {
	list := make([]any, len(texts))
	for i, s := range texts {
		list[i] = s
	}
	return list
}

// bit is how a bool is stored, asBool reads it.
func bit(v bool) int64 {
	if v {
		return 1
	}
	return 0
}

type asBool struct{ v *bool }

// Scan is sql.Scanner's.
func (a asBool) Scan(src any) error {
	n, ok := src.(int64)
	if !ok {
		return fmt.Errorf("store: truth column holds a %T", src)
	}
	*a.v = n != 0
	return nil
}
