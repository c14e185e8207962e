package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/offhook/offhook/internal/call"
)

// defaultLimit is the page size when a filter names none (calls-api section 6).
const defaultLimit = 50

// listing is a page of a table's rows of one account, newest first. Rows are ordered by two columns that
// together are unique.
type listing struct {
	table, columns string
	owner          string // column of the account, "" for account_sid
	order, tie     string

	conditions    []string
	args          []any
	limit, offset int
	cursor        []any // values of order and tie at the place to begin at; nil: at the newest
	before        bool  // the page ahead of the cursor, not behind it
}

// where adds a condition.
func (l *listing) where(condition string, args ...any) {
	l.conditions = append(l.conditions, condition)
	l.args = append(l.args, args...)
}

// equal adds a condition on a column unless value is empty.
func (l *listing) equal(column, value string) {
	if value != "" {
		l.where(column+" = ?", value)
	}
}

// build is the query: one row more than wanted, which tells whether there are more.
func (l *listing) build(account string) (query string, args []any) {
	direction, comparison := " DESC", "<"
	if l.before {
		direction, comparison = "", ">"
	}
	if l.cursor != nil {
		l.where("("+l.order+", "+l.tie+") "+comparison+" (?, ?)", l.cursor...)
	}
	query = "SELECT " + l.columns + " FROM " + l.table + " WHERE " + cmp.Or(l.owner, "account_sid") + " = ?"
	if len(l.conditions) > 0 {
		query += " AND " + strings.Join(l.conditions, " AND ")
	}
	query += " ORDER BY " + l.order + direction + ", " + l.tie + direction + " LIMIT ?"
	args = append(append([]any{account}, l.args...), l.limit+1)
	if l.offset > 0 && l.cursor == nil {
		query += " OFFSET ?"
		args = append(args, l.offset)
	}
	return query, args
}

// list reads the page; more tells whether there are rows behind it, or ahead of it for a before cursor.
func list[T any](ctx context.Context, s *Store, l *listing, account string, scan func(scanner) (T, error)) (page []T, more bool, err error) {
	if l.limit <= 0 {
		l.limit = defaultLimit
	}
	query, args := l.build(account)
	rows, err := s.retry(ctx, func() (*sql.Rows, error) {
		return s.reader.QueryContext(ctx, s.d.rebind(query), args...)
	})
	if err != nil {
		return nil, false, readError(ctx, err)
	}
	err = scanAll(rows, func(r scanner) error {
		v, err := scan(r)
		page = append(page, v)
		return err
	})
	if err != nil {
		return nil, false, readError(ctx, err)
	}
	if more = len(page) > l.limit; more {
		page = page[:l.limit]
	}
	if l.before {
		slices.Reverse(page)
	}
	return page, more, nil
}

// ListCalls lists the calls a filter selects, newest first. more tells whether the filter selects calls
// behind the page (older), or with Cursor.Before ahead of it (newer). Limit 0 is 50.
func (s *Store) ListCalls(ctx context.Context, f call.Filter) (calls []*call.Call, more bool, err error) {
	l := &listing{
		table: "calls", columns: callColumns, order: "date_created", tie: "seq",
		limit: f.Limit, offset: f.Offset,
	}
	if at := f.Cursor; at.SID != "" {
		l.cursor, l.before = []any{at.Time, at.Seq}, at.Before
	}
	l.equal("to_addr", f.To)
	l.equal("from_addr", f.From)
	if f.ParentSID != "" {
		l.where("parent_sid = ? AND parent_sid <> ''", f.ParentSID) // in the words of the partial index
	}
	if f.Direction != "" {
		kinds := f.Direction.ShownAs()
		l.where("direction IN (?, ?)", string(kinds[0]), string(kinds[len(kinds)-1]))
	}
	if f.AnsweredBy == "machine" {
		l.where("answered_by LIKE 'machine%'") // machine_start and its like
	} else {
		l.equal("answered_by", f.AnsweredBy)
	}
	for key, value := range f.Metadata {
		l.metadata(key, value)
	}
	if n := len(f.Statuses); n > 0 {
		statuses := make([]any, n)
		for i, st := range f.Statuses {
			statuses[i] = string(st)
		}
		l.where("status IN (?"+strings.Repeat(", ?", n-1)+")", statuses...)
	}
	l.between("start_time", micros(f.StartAfter), micros(f.StartBefore))
	l.between("ended_at", micros(f.EndAfter), micros(f.EndBefore))
	return list(ctx, s, l, f.AccountSID, scanCall)
}

// metadata adds the condition that key has that value, as text. The column is the JSON of a flat object as
// encoding/json writes it, and a quotation mark inside a string has a backslash before it: so text tells, which is
// the same in both databases where their JSON functions are not.
func (l *listing) metadata(key, value string) {
	const members = "(',' || trim(metadata, '{}') || ',')"
	var conditions []string
	var args []any
	for _, v := range [...]any{value, json.RawMessage(value)} {
		if raw, ok := v.(json.RawMessage); ok && !isScalar(raw) {
			continue
		}
		text, err := json.Marshal(map[string]any{key: v})
		if err != nil { // it is valid JSON or a string
			continue
		}
		conditions = append(conditions, "replace("+members+", ?, '') <> "+members)
		args = append(args, ","+string(text[1:len(text)-1])+",")
	}
	l.where("("+strings.Join(conditions, " OR ")+")", args...)
}

// isScalar reports whether text is a JSON number or boolean as encoding/json writes it.
func isScalar(text []byte) bool {
	var v any
	if json.Unmarshal(text, &v) != nil {
		return false
	}
	switch v.(type) {
	case bool, float64:
		again, err := json.Marshal(v)
		return err == nil && string(again) == string(text)
	}
	return false
}

// between bounds a time column of calls, in which 0 is none: after is inclusive, before exclusive, 0 is no
// bound. Two bounds select few rows, which the column's index finds. One bound selects most of the rows, so
// the list is read in its own order: a plus sign keeps SQLite from using the column's index and sorting
// all it finds. No call starts or ends a day before it was created, whatever happens to the clock.
func (l *listing) between(column string, after, before int64) {
	const day = int64(24 * time.Hour / time.Microsecond)
	switch {
	case after != 0 && before != 0:
		l.where(column+" > 0 AND "+column+" >= ? AND "+column+" < ?", after, before)
	case after != 0:
		l.where("+"+column+" >= ?", after)
	case before != 0:
		l.where("+"+column+" > 0 AND +"+column+" < ? AND date_created < ?", before, before+day)
	}
}

// ListNumbers lists the numbers a filter selects, newest first. PhoneNumber selects by part: in it * stands
// for one digit.
func (s *Store) ListNumbers(ctx context.Context, f call.NumberFilter) (numbers []*call.Number, more bool, err error) {
	l := &listing{
		table: "numbers", columns: numberColumns, order: "date_created", tie: "sid",
		limit: f.Limit, offset: f.Offset,
	}
	if at := f.Cursor; at.SID != "" {
		l.cursor, l.before = []any{at.Time, at.SID}, at.Before
	}
	if f.PhoneNumber != "" {
		pattern := strings.NewReplacer("!", "!!", "%", "!%", "_", "!_", "*", "_").Replace(f.PhoneNumber)
		l.where("phone_number LIKE ? ESCAPE '!'", "%"+pattern+"%")
	}
	l.equal("friendly_name", f.FriendlyName)
	if f.TrunkSID != "" {
		l.where("trunk_sid = ? AND trunk_sid <> ''", f.TrunkSID) // in the words of the partial index
	}
	return list(ctx, s, l, f.AccountSID, scanNumber)
}
