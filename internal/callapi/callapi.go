// Package callapi is the /v1 face of offhook: the TwilioCall resource with its actions, the events of calls as
// they happen, and the trunks. It speaks JSON and RFC 9457 problems; what a call does is session's, what is
// stored is store's.
package callapi

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/offhook/offhook/internal/auth"
	"github.com/offhook/offhook/internal/bus"
	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/clock"
	"github.com/offhook/offhook/internal/rates"
	"github.com/offhook/offhook/internal/twilio"
)

// Store is what the API reads and writes.
type Store interface {
	Call(ctx context.Context, accountSID, sid string) (*call.Call, error)
	// ListCalls returns a page of f.Limit calls, newest first, and whether more follow.
	ListCalls(ctx context.Context, f call.Filter) (calls []*call.Call, more bool, err error)
	Events(ctx context.Context, callSID string, afterSeq int) ([]call.Event, error)
	// AccountEvents lists those of an account, or of one call of it, behind position after and up to upTo, in order.
	AccountEvents(ctx context.Context, accountSID, callSID string, after, upTo int64, limit int) ([]call.Event, error)
	// Detection is what machine detection found out on a call.
	Detection(ctx context.Context, accountSID, callSID string) (*call.Detection, error)
	CreateTrunk(ctx context.Context, t *call.Trunk) error
	Trunks(ctx context.Context) ([]call.Trunk, error)
	DeleteTrunk(ctx context.Context, accountSID, sid string) error

	// DeleteWebhook removes a webhook with what is owed to it.
	DeleteWebhook(ctx context.Context, accountSID, sid string) error
	// Deliveries lists what a webhook was or is to be sent, in a state: pending, delivered or dead.
	Deliveries(ctx context.Context, f call.ListFilter, webhookSID, state string) (page []*call.Delivery, more bool, err error)
	// ResendDelivery makes a dead delivery due again; call.ErrNotFound when there is none.
	ResendDelivery(ctx context.Context, accountSID, webhookSID, id string) error
}

// Webhooks keeps the webhooks of the accounts. Its errors are those of package call.
type Webhooks interface {
	Create(ctx context.Context, w *call.Webhook) error
	Get(ctx context.Context, accountSID, sid string, scope ...string) (*call.Webhook, error)
	List(ctx context.Context, f call.ListFilter) (page []*call.Webhook, more bool, err error)
	Update(ctx context.Context, w *call.Webhook) error
}

// Config is what the API stands on.
type Config struct {
	Calls    Calls
	Store    Store
	Webhooks Webhooks
	Gate     *auth.Gate // tells who asks
	Bus      *bus.Bus
	Rates    *rates.Book
	// RoutingChanged is told when a trunk was added or removed.
	RoutingChanged func(context.Context) error
	// Closing ends the streams when the server shuts down.
	Closing <-chan struct{}
	// BaseURL is where our APIs are for others, such as http://127.0.0.1:4600. Default: links are paths.
	BaseURL func() string
	Version string // the release
	Clock   clock.Clock
	Log     *slog.Logger
}

type api struct {
	Config
	replays chan struct{} // held while old events are read for a stream
}

// New is the handler for /v1, and of what describes it: /openapi.json and /docs.
func New(cfg Config) http.Handler {
	if cfg.BaseURL == nil {
		cfg.BaseURL = func() string { return "" }
	}
	a := &api{cfg, make(chan struct{}, maxReplays)}
	r := chi.NewRouter()
	r.Use(tellRoute, a.authenticate)
	h := a.describe(r)
	a.calls(h)
	a.webhooks(h)
	describeStreams(h.OpenAPI())
	r.Get("/v1/calls/{sid}/events", a.events)
	r.Get("/v1/events", a.accountEvents)
	r.Get("/v1/trunks", a.listTrunks)
	r.Post("/v1/trunks", a.addTrunk)
	r.Delete("/v1/trunks/{sid}", a.removeTrunk)
	r.Get("/v1/rates", a.listRates)
	r.Put("/v1/rates", a.importRates)
	r.Delete("/v1/rates", a.clearRates)
	r.NotFound(func(w http.ResponseWriter, r *http.Request) {
		problem(w, http.StatusNotFound, 20404, "there is no "+r.URL.Path+" in this version")
	})
	r.MethodNotAllowed(func(w http.ResponseWriter, req *http.Request) {
		for _, m := range [...]string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
			if r.Match(chi.NewRouteContext(), m, req.URL.Path) {
				w.Header().Add("Allow", m)
			}
		}
		problem(w, http.StatusMethodNotAllowed, 20004, req.Method+" is not a method of "+req.URL.Path)
	})
	return r
}

// tellRoute names the route to whoever counts requests.
func tellRoute(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r)
		if m, ok := w.(interface{ SetRoute(pattern string) }); ok {
			m.SetRoute(chi.RouteContext(r.Context()).RoutePattern())
		}
	})
}

type accountKey struct{}

func account(ctx context.Context) string { return ctx.Value(accountKey{}).(string) }

// authenticate admits an account's SID and auth token, or an API key's SID and secret, by Basic authentication.
func (a *api) authenticate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == openAPIPath || r.URL.Path == docsPath {
			next.ServeHTTP(w, r) // what there is to know of any offhook
			return
		}
		user, password, _ := r.BasicAuth()
		caller, err := a.Gate.Check(r.Context(), user, password)
		if err != nil {
			a.fail(w, r, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), accountKey{}, caller.Account.SID)))
	})
}

// renewed reports whether who reads a stream may read on, which it asks every keepAlive: a key may be revoked and an
// account suspended meanwhile. asked is when it did.
func (a *api) renewed(r *http.Request, asked *time.Time) bool {
	now := a.Clock.Now()
	if now.Sub(*asked) < keepAlive {
		return true
	}
	*asked = now
	user, password, _ := r.BasicAuth()
	_, err := a.Gate.Check(r.Context(), user, password)
	var refused *twilio.Error
	return !errors.As(err, &refused)
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client is gone when this fails
}
