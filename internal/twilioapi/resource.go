package twilioapi

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/go-chi/chi/v5"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/twilio"
)

// Records keep resources of one kind (package store). Their errors are those of package call; scope is what
// a resource belongs to beside its account. Safe for concurrent use.
type Records[T call.Resource] interface {
	Get(ctx context.Context, accountSID, sid string, scope ...string) (T, error)
	// List pages as Store.ListCalls does.
	List(ctx context.Context, f call.ListFilter) (page []T, more bool, err error)
	Create(ctx context.Context, v T) error
	Update(ctx context.Context, v T) error
	Delete(ctx context.Context, accountSID, sid string, scope ...string) error
}

// resource is how a kind of records is served. All of them answer the same five requests; this says in
// what they differ.
type resource[T call.Resource] struct {
	path    string // pattern of the collection, without the account's: "/SIP/Domains" or "/v1/Trunks"
	key     string // of the array in a list
	prefix  string // of the SIDs, as clients see them
	records Records[T]

	// scope is what the records belong to, from the path; nil: to the account alone. Its error says that the
	// owner does not exist.
	scope func(q *request) ([]string, error)
	// fresh is a record with its defaults, before its parameters are read.
	fresh func(q *request, scope []string) T
	// create and update take the parameters into a record; the zero form: there is no such request.
	create, update form[T]
	// check looks at a record that was read; nil: nothing to check.
	check func(v T) error
	// sid makes the SID of a new record, when it is not a random one.
	sid func(v T) string
	// stored is the SID in the store for one in a path, when they differ.
	stored func(sid string) string
	codes  codes
	// byToken: API keys are refused.
	byToken bool
	// made takes over into the answer to a creation what only that shows; nil: nothing.
	made func(created, stored T)
	// changed is told of each change. Default: RoutingChanged.
	changed func(context.Context) error
	// byName: a list can be asked for those of a FriendlyName.
	byName bool
	// byPhone: of a FriendlyName, a PhoneNumber or both.
	byPhone bool
	// write writes a record; at is its collection's path.
	write func(e *enc, v T, at string)
}

// codes are the errors that stand for what the store refuses; 0 is the general one.
type codes struct{ full, taken, used int }

// routeResource adds the routes of r.
func routeResource[T call.Resource](a *api, r resource[T]) {
	path := r.path
	if !strings.HasPrefix(path, v1+"/") {
		path = "/Accounts/{AccountSid}" + path
	}
	one := path + "/{Sid}"
	if r.changed == nil {
		r.changed = a.RoutingChanged
	}
	handle := func(f func(q *request, r *resource[T], scope []string) error) http.HandlerFunc {
		serve := func(q *request) (err error) {
			var scope []string
			if r.scope != nil {
				if scope, err = r.scope(q); err != nil {
					return err
				}
			}
			return f(q, &r, scope)
		}
		if r.byToken {
			serve = byToken(serve)
		}
		return a.handle(serve)
	}
	a.routes.Get(path, handle(listResources[T]))
	a.routes.Get(one, handle(fetchResource[T]))
	a.routes.Delete(one, handle(deleteResource[T]))
	if r.create.index != nil {
		a.routes.Post(path, handle(createResource[T]))
	}
	if r.update.index != nil {
		a.routes.Post(one, handle(updateResource[T]))
	}
}

// collection is the path of the request's collection, with the account's but without a suffix.
func (q *request) collection(one bool) string {
	path := chi.RouteContext(q.r.Context()).RoutePath
	if one {
		path = path[:strings.LastIndexByte(path, '/')]
	}
	if q.enc.origin == "" {
		path = base + path
	}
	return path
}

func createResource[T call.Resource](q *request, r *resource[T], scope []string) error {
	v := r.fresh(q, scope)
	if _, err := r.create.decode(q, &v, nil); err != nil {
		return err
	}
	now := q.api.Clock.Now().UTC()
	h := call.Record{AccountSID: q.account.SID, DateCreated: now, DateUpdated: now}
	switch {
	case r.sid != nil:
		h.SID = r.sid(v)
	case r.stored != nil:
		h.SID = r.stored(twilio.NewSIDAt(r.prefix, now))
	default:
		h.SID = twilio.NewSIDAt(r.prefix, now)
	}
	v.SetHead(h)
	if r.check != nil {
		if err := r.check(v); err != nil {
			return err
		}
	}
	ctx := q.r.Context()
	if err := r.refusal(r.records.Create(ctx, v)); err != nil {
		return err
	}
	if err := r.changed(ctx); err != nil {
		return err
	}
	stored, err := r.records.Get(ctx, q.account.SID, h.SID, scope...) // with what the store adds to it
	if err != nil {
		return err
	}
	if r.made != nil {
		r.made(v, stored)
	}
	q.sendOne(http.StatusCreated, func() { r.write(&q.enc, stored, q.collection(false)) })
	return nil
}

// named is the SID in the store of the record that the path names.
func (r *resource[T]) named(q *request) (string, error) {
	sid, err := q.sid("Sid", r.prefix)
	if err == nil && r.stored != nil {
		sid = r.stored(sid)
	}
	return sid, err
}

func fetchResource[T call.Resource](q *request, r *resource[T], scope []string) error {
	sid, err := r.named(q)
	if err != nil {
		return err
	}
	v, err := r.records.Get(q.r.Context(), q.account.SID, sid, scope...)
	if err != nil {
		return err
	}
	q.sendOne(http.StatusOK, func() { r.write(&q.enc, v, q.collection(true)) })
	return nil
}

func updateResource[T call.Resource](q *request, r *resource[T], scope []string) error {
	sid, err := r.named(q)
	if err != nil {
		return err
	}
	ctx := q.r.Context()
	v, err := r.records.Get(ctx, q.account.SID, sid, scope...)
	if err != nil {
		return err
	}
	if _, err := r.update.decode(q, &v, nil); err != nil {
		return err
	}
	if r.check != nil {
		if err := r.check(v); err != nil {
			return err
		}
	}
	h := v.Head()
	h.DateUpdated = q.api.Clock.Now().UTC()
	v.SetHead(h)
	if err := r.refusal(r.records.Update(ctx, v)); err != nil {
		return err
	}
	if err := r.changed(ctx); err != nil {
		return err
	}
	q.sendOne(http.StatusOK, func() { r.write(&q.enc, v, q.collection(true)) })
	return nil
}

func deleteResource[T call.Resource](q *request, r *resource[T], scope []string) error {
	sid, err := r.named(q)
	if err != nil {
		return err
	}
	if err := r.refusal(r.records.Delete(q.r.Context(), q.account.SID, sid, scope...)); err != nil {
		return err
	}
	if err := r.changed(q.r.Context()); err != nil {
		return err
	}
	q.send(http.StatusNoContent)
	return nil
}

// resourceQuery is a list request.
type resourceQuery struct {
	page
	friendlyName, phoneNumber string
}

var (
	resourceListForm = newForm(pageParams(func(l *resourceQuery) *page { return &l.page }))
	namedListForm    = newForm(
		filters(text("FriendlyName", func(l *resourceQuery) *string { return &l.friendlyName })),
		pageParams(func(l *resourceQuery) *page { return &l.page }),
	)
	phoneListForm = newForm(namedListForm.params, filters(
		text("PhoneNumber", func(l *resourceQuery) *string { return &l.phoneNumber })))
)

func listResources[T call.Resource](q *request, r *resource[T], scope []string) error {
	var p resourceQuery
	form := &resourceListForm
	if r.byName {
		form = &namedListForm
	}
	if r.byPhone {
		form = &phoneListForm
	}
	given, err := form.decode(q, &p, nil)
	stored := r.prefix
	if r.stored != nil {
		stored = r.stored(r.prefix)
	}
	if err == nil {
		err = p.check(given, stored)
	}
	if err != nil {
		return err
	}
	f := call.ListFilter{AccountSID: q.account.SID, Scope: scope, FriendlyName: p.friendlyName, PhoneNumber: p.phoneNumber}
	f.Limit, f.Offset, f.Cursor = p.cursor()
	items, more, err := r.records.List(q.r.Context(), f)
	if err != nil {
		return err
	}
	at := q.collection(false)
	q.list(&p.page, at, r.key, len(items), more,
		func(i int) twilio.PageToken { return items[i].Head().PageToken() },
		func(i int) { r.write(&q.enc, items[i], at) })
	q.send(http.StatusOK)
	return nil
}

// refusal is what the customer is told when the store refuses.
func (r *resource[T]) refusal(err error) error {
	code := 0
	switch { // the first two are conflicts too
	case err == nil:
		return nil
	case errors.Is(err, call.ErrFull):
		code = r.codes.full
		if code == 0 {
			return twilio.Errf(20409, "The account has as many of these as there may be")
		}
	case errors.Is(err, call.ErrInUse):
		code = r.codes.used
		if code == 0 {
			return twilio.Errf(20409, "Another resource refers to this one: change or delete that first")
		}
	case errors.Is(err, call.ErrConflict):
		code = r.codes.taken
		if code == 0 {
			return twilio.Errf(20409, "This exists already")
		}
	default:
		return err
	}
	return twilio.Err(code).With(err)
}

// Parameters of records are read straight into them, so that an update changes what is given and no more.

// into is text.
func into[T any](name string, field func(T) *string) param[T] {
	return param[T]{name: name, read: func(dst *T, value string) error {
		*field(*dst) = value
		return nil
	}}
}

// truth is true or false in any case.
func truth[T any](name string, field func(T) *bool) param[T] {
	return param[T]{name: name, read: func(dst *T, value string) error {
		var given *bool
		err := boolean(name, func(*T) **bool { return &given }).read(dst, value)
		if given != nil {
			*field(*dst) = *given
		}
		return err
	}}
}

// whole is a whole number; what it may be is for check to say.
func whole[T any](name string, code int, field func(T) *int) param[T] {
	const any32 = 1<<31 - 1
	return integer(name, code, -any32, any32, func(dst *T) *int { return field(*dst) })
}

// missing is err as one about the resource sid that a parameter named.
func missing(err error, sid string) error {
	if errors.Is(err, call.ErrNotFound) {
		return &call.MissingError{SID: sid}
	}
	return err
}

// mustHave refuses a record without text.
func mustHave(code int, name, value string) error {
	if value == "" {
		return twilio.Errf(code, "%s is required", name)
	}
	return nil
}
