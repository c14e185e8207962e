// Package twilioapi is the 2010-04-01 REST API: routes, Basic authentication, form decoding and the
// JSON and XML shapes of calls, numbers, notifications and accounts. It holds no call logic: it
// turns a request into an operation of Calls or Store and the result into an answer.
package twilioapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/offhook/offhook/internal/auth"
	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/clock"
	"github.com/offhook/offhook/internal/twilio"
)

const (
	apiVersion = "2010-04-01"
	base       = "/" + apiVersion
	v1         = "/v1"
)

// Calls does what the Calls resource asks for (package session). Its errors are *twilio.Error, shown
// to the customer as they are, or those of package call; anything else is answered with 500.
// Safe for concurrent use.
type Calls interface {
	// Create validates p, stores the call and queues it. When it returns, the call is durable.
	Create(ctx context.Context, accountSID string, p call.CreateParams) (*call.Call, error)
	// Update redirects, cancels or hangs up a call, or changes its options.
	Update(ctx context.Context, accountSID, callSID string, p call.UpdateParams) (*call.Call, error)
	// Delete removes the record of a call that has ended.
	Delete(ctx context.Context, accountSID, callSID string) error
	// EndCalls ends every call of an account that was closed.
	EndCalls(ctx context.Context, accountSID string) error
}

// Store is what the API reads, and where it keeps numbers (package store). Its errors are those of
// package call. Safe for concurrent use.
type Store interface {
	auth.Store
	// ListAccounts pages as ListCalls does.
	ListAccounts(ctx context.Context, f call.AccountFilter) (accounts []*call.Account, more bool, err error)
	// CreateAccount returns call.ErrFull when its owner has as many subaccounts as there may be.
	CreateAccount(ctx context.Context, a *call.Account) error
	// UpdateAccount returns call.ErrConflict when the account's status is no longer was.
	UpdateAccount(ctx context.Context, a *call.Account, was call.AccountStatus) error
	Call(ctx context.Context, accountSID, sid string) (*call.Call, error)
	// ListCalls returns a page of f.Limit calls, newest first, and whether more follow in the
	// direction that was read.
	ListCalls(ctx context.Context, f call.Filter) (calls []*call.Call, more bool, err error)
	// ListNotifications pages as ListCalls does.
	ListNotifications(ctx context.Context, f call.NotificationFilter) (notifications []call.Notification, more bool, err error)
	Notification(ctx context.Context, accountSID, sid string) (call.Notification, error)
	// Requests lists a page of what was requested for a call, first things first, and whether more follow in
	// the direction that was read.
	Requests(ctx context.Context, callSID string, limit, offset int, at twilio.PageToken) (requests []call.Request, more bool, err error)

	Number(ctx context.Context, accountSID, sid string) (*call.Number, error)
	// ListNumbers pages as ListCalls does.
	ListNumbers(ctx context.Context, f call.NumberFilter) (numbers []*call.Number, more bool, err error)
	// CreateNumber returns call.ErrConflict when somebody has that phone number.
	// A *call.MissingError says that its trunk is none.
	CreateNumber(ctx context.Context, n *call.Number) error
	UpdateNumber(ctx context.Context, n *call.Number) error
	DeleteNumber(ctx context.Context, accountSID, sid string) error
}

// Config is what the API needs.
type Config struct {
	Calls Calls
	Store Store
	// Gate tells who asks. Default: one over Store.
	Gate *auth.Gate
	// Keys are the API keys; nil has none.
	Keys Records[*call.Key]
	// CallerIDs are the numbers of others that accounts may call from; nil has none.
	CallerIDs Records[*call.CallerID]
	// Routing keeps SIP domains, trunks and what belongs to them.
	Routing Routing
	// Recordings are what calls recorded. The zero value has none.
	Recordings Recordings
	// RoutingChanged is told when any of that was changed. Default: nobody is.
	RoutingChanged func(context.Context) error
	// MaxConcurrent bounds the requests worked on at once; more are refused with 20429. Default 0, no bound.
	MaxConcurrent int
	// Clock stamps and measures. Default clock.System.
	Clock clock.Clock
	// Log takes what customers are not shown. Default: discarded.
	Log *slog.Logger
	// Version is the release, sent as the Server header. Default "dev".
	Version string
}

type api struct {
	Config
	routes  *chi.Mux
	active  atomic.Int64 // requests being worked on
	refused refusals
	buffers sync.Pool // *[]byte, answers under construction
}

// V1Paths are what Twilio has on other hosts under /v1, and New's handler answers too.
var V1Paths = []string{"/v1/Trunks", "/v1/ByocTrunks", "/v1/ConnectionPolicies", "/v1/IpRecords", "/v1/SourceIpMappings"}

// New makes the handler of everything under /2010-04-01 and of V1Paths. It expects the whole path: mount it
// without stripping a prefix.
func New(cfg Config) http.Handler {
	if cfg.Clock == nil {
		cfg.Clock = clock.System
	}
	if cfg.Gate == nil {
		cfg.Gate = auth.NewGate(cfg.Store, cfg.Clock)
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.RoutingChanged == nil {
		cfg.RoutingChanged = func(context.Context) error { return nil }
	}
	if cfg.Version == "" {
		cfg.Version = "dev"
	}
	a := &api{Config: cfg, routes: chi.NewRouter()}
	a.buffers.New = func() any { b := make([]byte, 0, 4096); return &b }
	a.route()
	return a
}

// Table is what route made.
func (a *api) Table() chi.Routes { return a.routes }

// route lists every path, without the prefix and the suffix that ServeHTTP takes off.
func (a *api) route() {
	r := a.routes
	const account = "/Accounts/{AccountSid}"
	r.Get("/Accounts", a.handle(byToken(a.listAccounts)))
	r.Post("/Accounts", a.handle(byToken(a.createAccount)))
	r.Get(account, a.handle(byToken(a.fetchAccount)))
	r.Post(account, a.handle(byToken(a.updateAccount)))

	r.Post(account+"/Calls", a.handle(a.createCall))
	r.Get(account+"/Calls", a.handle(a.listCalls))
	r.Get(account+"/Calls/{Sid}", a.handle(a.fetchCall))
	r.Post(account+"/Calls/{Sid}", a.handle(a.updateCall))
	r.Delete(account+"/Calls/{Sid}", a.handle(a.deleteCall))

	r.Get(account+"/Calls/{CallSid}/Notifications", a.handle(a.listNotifications))
	r.Get(account+"/Calls/{CallSid}/Notifications/{Sid}", a.handle(a.fetchNotification))
	r.Get(account+"/Calls/{CallSid}/Events", a.handle(a.listEvents))
	r.Get(account+"/Notifications", a.handle(a.listNotifications))
	r.Get(account+"/Notifications/{Sid}", a.handle(a.fetchNotification))

	r.Post(account+"/IncomingPhoneNumbers", a.handle(a.createNumber))
	r.Get(account+"/IncomingPhoneNumbers", a.handle(a.listNumbers))
	r.Get(account+"/IncomingPhoneNumbers/{Sid}", a.handle(a.fetchNumber))
	r.Post(account+"/IncomingPhoneNumbers/{Sid}", a.handle(a.updateNumber))
	r.Delete(account+"/IncomingPhoneNumbers/{Sid}", a.handle(a.deleteNumber))

	a.routeKeys()
	a.routeCallerIDs()
	a.routeRecordings()
	a.routeDomains()
	a.routeTrunks()
	a.routeApplications()

	// What Twilio has and this version has not says so, instead of looking like a wrong SID.
	a.routeAbsentOfCall()
	for _, name := range unavailableAccount {
		a.none(account + "/" + name)
	}

	r.NotFound(a.handle(func(q *request) error { return q.notFound() }))
	r.MethodNotAllowed(a.handle(a.methodNotAllowed))
}

// unavailableAccount are what Twilio has below an account and this version has not.
var unavailableAccount = []string{
	"Addresses", "AuthorizedConnectApps", "AvailablePhoneNumbers", "Balance", "Conferences",
	"ConnectApps", "IncomingPhoneNumbers/Local", "IncomingPhoneNumbers/Mobile", "IncomingPhoneNumbers/TollFree",
	"Messages", "Queues", "SMS", "Tokens", "Transcriptions", "Usage",
}

func (a *api) none(path string) {
	a.routes.HandleFunc(path, a.handle(a.unavailable))
	a.routes.HandleFunc(path+"/*", a.handle(a.unavailable))
}

func (a *api) unavailable(q *request) error {
	return twilio.Errf(20404, "%s %s is not available in this version of offhook", q.r.Method, q.r.URL.Path)
}

// ServeHTTP answers one request: headers, credentials, route, handler.
func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	buf := a.buffers.Get().(*[]byte)
	q := &request{ResponseWriter: w, api: a, r: r, started: a.Clock.Now(), enc: enc{b: (*buf)[:0]}}
	active := a.active.Add(1)
	defer func() {
		if v := recover(); v != nil {
			q.panicked(v)
		}
		a.active.Add(-1)
		if cap(q.enc.b) <= 256<<10 { // a page of 100 calls; larger ones are rare and not kept
			*buf = q.enc.b
			a.buffers.Put(buf)
		}
	}()

	h := w.Header()
	h.Set("Server", "offhook/"+a.Version)
	h.Set("Twilio-Request-Id", twilio.NewSID(twilio.RequestPrefix))
	h.Set("Twilio-Concurrent-Requests", strconv.FormatInt(active, 10))
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Allow-Credentials", "true")
	h.Set("Access-Control-Expose-Headers", "ETag")
	if r.Method == http.MethodOptions {
		h.Set("Access-Control-Allow-Methods", "GET, POST, DELETE, OPTIONS")
		h.Set("Access-Control-Allow-Headers", "Accept, Authorization, Content-Type, If-Match, If-Modified-Since, "+
			"If-None-Match, If-Unmodified-Since, Idempotency-Key")
		h.Set("Access-Control-Max-Age", "600")
		q.send(http.StatusNoContent)
		return
	}

	path, err := q.parsePath()
	if err == nil && a.MaxConcurrent > 0 && active > int64(a.MaxConcurrent) {
		err = twilio.Err(20429)
	}
	if err == nil {
		err = q.authenticate(path)
	}
	if err != nil {
		q.fail(err)
		return
	}
	rctx := chi.NewRouteContext()
	rctx.RoutePath = path
	if r.Method == http.MethodHead { // GET whose body net/http leaves out (RFC 9110 section 9.3.2)
		rctx.RouteMethod = http.MethodGet
	}
	a.routes.ServeHTTP(q, r.WithContext(context.WithValue(r.Context(), chi.RouteCtxKey, rctx)))
	if m, ok := w.(interface{ SetRoute(pattern string) }); ok { // whoever counts requests
		if pattern := rctx.RoutePattern(); pattern != "" {
			if !strings.HasPrefix(pattern, "/v1/") {
				pattern = base + pattern
			}
			m.SetRoute(pattern)
		}
	}
}

// handle adapts f to the router, which hands over the request as the ResponseWriter that ServeHTTP gave it.
func (a *api) handle(f func(*request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		q := w.(*request)
		q.r = r
		if err := f(q); err != nil {
			q.fail(err)
		}
	}
}

func (a *api) methodNotAllowed(q *request) error {
	path := chi.RouteContext(q.r.Context()).RoutePath
	var allowed []string
	for _, m := range [...]string{http.MethodGet, http.MethodPost, http.MethodDelete} {
		if a.routes.Match(chi.NewRouteContext(), m, path) {
			allowed = append(allowed, m)
		}
	}
	q.Header().Set("Allow", strings.Join(append(allowed, http.MethodOptions), ", "))
	return twilio.Errf(20004, "%s is not allowed on %s", q.r.Method, q.r.URL.Path)
}

// request is one exchange. It is the ResponseWriter that the router passes on.
type request struct {
	http.ResponseWriter
	api     *api
	r       *http.Request
	started time.Time
	caller  *auth.Caller  // nil: who has a link to audio
	account *call.Account // that the request is about
	enc     enc           // the answer, sent in one piece
	sent    bool
	media   string // the format of the audio that is asked for, "" when it is none
}

// parsePath takes the version and the suffix off the path and notes the format that the suffix asks for.
func (q *request) parsePath() (string, error) {
	if strings.HasPrefix(q.r.URL.Path, v1+"/") {
		q.enc.origin = q.origin()
		return q.r.URL.Path, nil
	}
	path, ok := strings.CutPrefix(q.r.URL.Path, base)
	if !ok || (path != "" && path[0] != '/') {
		return "", q.notFound()
	}
	if of, format, ok := mediaPath(path); ok && (q.r.Method == http.MethodGet || q.r.Method == http.MethodHead) {
		q.media = format
		return of + mediaRoute, nil
	}
	name := path[strings.LastIndexByte(path, '/')+1:]
	dot := strings.LastIndexByte(name, '.')
	if dot < 0 {
		q.enc.xml = true // the default format, calls-api section 1
		return path, nil
	}
	suffix := name[dot:]
	path = path[:len(path)-len(suffix)]
	switch suffix {
	case ".json":
		return path, nil
	case ".xml":
		q.enc.xml = true
		return path, nil
	case ".csv":
		if q.r.Method != http.MethodGet && q.r.Method != http.MethodHead {
			return "", q.errNoSheet()
		}
		q.enc.csv = &sheet{}
		return path, nil
	case ".html":
		e := twilio.Errf(20001, "%s is not available in this version: ask for %s%s.json", suffix, base, path)
		e.Status = http.StatusNotAcceptable
		return "", e
	}
	return "", q.notFound()
}

// origin is scheme and host as the client has them: the APIs under /v1 answer with whole URLs.
func (q *request) origin() string {
	if q.r.TLS != nil || q.r.Header.Get("X-Forwarded-Proto") == "https" {
		return "https://" + q.r.Host
	}
	return "http://" + q.r.Host
}

// param is a part of the path.
func (q *request) param(name string) string { return chi.URLParam(q.r, name) }

// sid is a part of the path that must be a SID; anything else is not found without asking the store.
func (q *request) sid(name, prefix string) (string, error) {
	s := q.param(name)
	if !twilio.IsSID(s, prefix) {
		return "", call.ErrNotFound
	}
	return s, nil
}

func (q *request) notFound() error {
	return twilio.Errf(20404, "The requested resource %s was not found", q.r.URL.Path)
}

// sendOne answers with the one resource that write writes.
func (q *request) sendOne(status int, write func()) {
	if q.enc.csv != nil {
		q.fail(q.errNoSheet())
		return
	}
	q.enc.head()
	write()
	q.enc.tail()
	q.send(status)
}

// send writes the answer that enc holds.
func (q *request) send(status int) {
	q.sent = true
	h := q.Header()
	seconds := q.api.Clock.Now().Sub(q.started).Seconds()
	h.Set("Twilio-Request-Duration", strconv.FormatFloat(seconds, 'f', 3, 64))
	if status == http.StatusNoContent {
		q.WriteHeader(status)
		return
	}
	contentType := "application/json"
	switch {
	case q.enc.xml:
		contentType = "application/xml; charset=utf-8"
	case q.enc.csv != nil:
		contentType = "text/csv; charset=utf-8"
	}
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(q.enc.b)))
	q.WriteHeader(status)
	_, _ = q.Write(q.enc.b) // a client that has gone needs no answer
}

// fail answers with err: what the customer may see of it, the rest goes into the log.
func (q *request) fail(err error) {
	e := q.public(err)
	h := q.Header()
	switch {
	case e.Status == http.StatusUnauthorized:
		h.Set("WWW-Authenticate", `Basic realm="Twilio API"`)
	case e.Status == http.StatusServiceUnavailable, e.Status == http.StatusTooManyRequests:
		h.Set("Retry-After", "1") // seconds
	}
	if e.Status >= 500 && e.Status != http.StatusServiceUnavailable {
		q.api.Log.Error("api request failed", "method", q.r.Method, "path", q.r.URL.Path, "err", err)
	} else if e.Status == http.StatusServiceUnavailable {
		if n := q.api.refused.tell(q.api.Clock.Now()); n > 0 {
			q.api.Log.Warn("api requests refused", "count", n, "method", q.r.Method, "path", q.r.URL.Path, "err", err)
		}
	}
	q.enc.error(e)
	q.send(e.Status)
}

// refusals counts what was refused for want of room, of which an overload makes thousands a second: one
// log line a second tells of them.
type refusals struct {
	mu     sync.Mutex
	untold int
	told   time.Time
}

// tell counts one more and returns how many a log line shall tell of now; 0 is none.
func (r *refusals) tell(now time.Time) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.untold++
	if now.Sub(r.told) < time.Second {
		return 0
	}
	n := r.untold
	r.untold, r.told = 0, now
	return n
}

// public is the error that stands for err in an answer.
func (q *request) public(err error) *twilio.Error {
	var e *twilio.Error
	var missing *call.MissingError
	switch {
	case errors.As(err, &e):
		if e.Status == 0 { // a runtime code has none of its own
			d := *e
			d.Status = http.StatusBadRequest
			e = &d
		}
		return e
	case errors.As(err, &missing):
		return twilio.Errf(20404, "The requested resource %s was not found", clip(missing.SID))
	case errors.Is(err, call.ErrNotFound):
		errors.As(q.notFound(), &e)
		return e
	case errors.Is(err, call.ErrLive):
		return twilio.Err(20009)
	case errors.Is(err, call.ErrConflict):
		return twilio.Err(20409)
	case errors.Is(err, call.ErrUnavailable), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return twilio.Err(20503)
	}
	return twilio.Err(20500)
}

// panicked answers a request whose handler panicked; the next ones are unharmed.
func (q *request) panicked(v any) {
	if v == http.ErrAbortHandler { //nolint:errorlint // a panic's value, compared as net/http does
		panic(v)
	}
	q.api.Log.Error("api handler panicked", "method", q.r.Method, "path", q.r.URL.Path, "panic", v, "stack", string(debug.Stack()))
	if q.sent {
		panic(http.ErrAbortHandler) // half an answer must not look whole
	}
	q.enc.b = q.enc.b[:0]
	q.enc.error(twilio.Err(20500))
	q.send(http.StatusInternalServerError)
}
