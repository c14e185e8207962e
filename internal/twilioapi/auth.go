package twilioapi

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/clock"
	"github.com/offhook/offhook/internal/twilio"
)

// authenticate checks the Basic credentials, account SID and auth token (calls-api section 2), and that
// the path is that account's.
func (q *request) authenticate(path string) error {
	if done, err := q.authenticateMedia(path); done || err != nil {
		return err
	}
	sid, token, _ := q.r.BasicAuth()
	account, err := q.api.accounts.authenticate(q.r.Context(), sid, token)
	if err != nil {
		return err
	}
	if rest, ok := strings.CutPrefix(path, "/Accounts/"); ok {
		if of, _, _ := strings.Cut(rest, "/"); of != account.SID {
			return twilio.Err(20003)
		}
	}
	q.account = account
	return nil
}

// Bounds of the account cache.
const (
	accountAge  = 5 * time.Second // how long a rotated token is good for at most
	maxAccounts = 10_000
)

// accounts keeps recently used accounts in memory, so that a request costs one read of the store, not two.
type accounts struct {
	store interface {
		Account(ctx context.Context, sid string) (*call.Account, error)
	}
	clock clock.Clock

	mu     sync.RWMutex
	recent map[string]cachedAccount
}

type cachedAccount struct {
	*call.Account
	token [sha256.Size]byte // hash, so that comparing takes the same time for any length
	until time.Time
}

func newAccounts(store Store, c clock.Clock) *accounts {
	return &accounts{store: store, clock: c, recent: map[string]cachedAccount{}}
}

// authenticate finds the account of the credentials. The tokens are compared in constant time, and an
// account that does not exist is compared too.
func (a *accounts) authenticate(ctx context.Context, sid, token string) (*call.Account, error) {
	given := sha256.Sum256([]byte(token))
	now := a.clock.Now()
	a.mu.RLock()
	account := a.recent[sid]
	a.mu.RUnlock()
	if account.Account != nil && now.Before(account.until) && equal(given, account.token) {
		return account.Account, nil
	}
	// A wrong token may be a new one: ask the store before refusing it.
	account, err := a.read(ctx, sid, now)
	switch {
	case err != nil && !errors.Is(err, call.ErrNotFound):
		return nil, err
	case !equal(given, account.token) || account.Account == nil || token == "":
		return nil, twilio.Err(20003)
	}
	return account.Account, nil
}

// find is an account whose credentials nobody shows.
func (a *accounts) find(ctx context.Context, sid string) (*call.Account, error) {
	now := a.clock.Now()
	a.mu.RLock()
	account := a.recent[sid]
	a.mu.RUnlock()
	if account.Account != nil && now.Before(account.until) {
		return account.Account, nil
	}
	account, err := a.read(ctx, sid, now)
	return account.Account, err
}

func (a *accounts) read(ctx context.Context, sid string, now time.Time) (cachedAccount, error) {
	if !twilio.IsSID(sid, twilio.AccountPrefix) {
		return cachedAccount{}, call.ErrNotFound
	}
	found, err := a.store.Account(ctx, sid)
	if err != nil {
		return cachedAccount{}, err
	}
	account := cachedAccount{Account: found, token: sha256.Sum256([]byte(found.AuthToken)), until: now.Add(accountAge)}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.recent) >= maxAccounts {
		clear(a.recent)
	}
	a.recent[sid] = account
	return account, nil
}

func equal(a, b [sha256.Size]byte) bool { return subtle.ConstantTimeCompare(a[:], b[:]) == 1 }
