// Package auth tells who asks our APIs: whose account SID and auth token, or whose API key and secret, a request
// shows, and for which account it may act.
package auth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"sync"
	"time"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/clock"
	"github.com/offhook/offhook/internal/twilio"
)

// Store is where accounts and keys are (package store). Its errors are those of package call.
type Store interface {
	Account(ctx context.Context, sid string) (*call.Account, error)
	// Key is an API key of whatever account.
	Key(ctx context.Context, sid string) (*call.Key, error)
}

// Caller is who showed credentials.
type Caller struct {
	Account *call.Account // for callers to read only
	Key     string        // SK… of the API key that was shown, "" for the account's token
}

// Bounds of what is kept.
const (
	keptFor    = 5 * time.Second // how long what another process revoked is good for at most
	maxCallers = 10_000
)

// Gate checks credentials. It keeps those that were shown of late in memory, so that a request costs one read of
// the store, not two. Safe for concurrent use.
type Gate struct {
	store Store
	clock clock.Clock

	mu      sync.RWMutex
	changes int // of what is stored: what was read before the last one is not kept
	recent  map[string]entry
}

type entry struct {
	caller *Caller
	secret [sha256.Size]byte // hash, so that comparing takes the same time for any length
	until  time.Time
}

// NewGate makes a gate.
func NewGate(s Store, c clock.Clock) *Gate {
	return &Gate{store: s, clock: c, recent: map[string]entry{}}
}

// Check finds who shows the credentials: an account SID with its token, or the SID of an API key with its secret.
// 20003 when they are wrong, 20005 when the account is not active. Secrets are compared in constant time, and one
// of nobody is compared too.
func (g *Gate) Check(ctx context.Context, user, password string) (*Caller, error) {
	if password == "" {
		return nil, twilio.Err(20003)
	}
	given := sha256.Sum256([]byte(password))
	now := g.clock.Now()
	found, change := g.look(user)
	if found.caller == nil || !now.Before(found.until) || !equal(given, found.secret) {
		// A wrong token may be a new one: ask the store before refusing it.
		var err error
		if found, err = g.read(ctx, user, now, change); err != nil && !errors.Is(err, call.ErrNotFound) {
			return nil, err
		}
		if !equal(given, found.secret) || found.caller == nil {
			return nil, twilio.Err(20003)
		}
	}
	if !found.caller.Account.Active() {
		return nil, twilio.Err(20005)
	}
	return found.caller, nil
}

// Account is an account whose credentials nobody shows: call.ErrNotFound when there is none.
func (g *Gate) Account(ctx context.Context, sid string) (*call.Account, error) {
	now := g.clock.Now()
	found, change := g.look(sid)
	if found.caller == nil || !now.Before(found.until) {
		var err error
		if found, err = g.read(ctx, sid, now, change); err != nil {
			return nil, err
		}
	}
	return found.caller.Account, nil
}

// For is the account sid when c may act for it: c's own or, with its token, a subaccount; else 20003.
func (g *Gate) For(ctx context.Context, c *Caller, sid string) (*call.Account, error) {
	if sid == c.Account.SID {
		return c.Account, nil
	}
	if c.Key != "" || c.Account.Sub() || !twilio.IsSID(sid, twilio.AccountPrefix) {
		return nil, twilio.Err(20003)
	}
	a, err := g.Account(ctx, sid)
	switch {
	case err != nil && !errors.Is(err, call.ErrNotFound):
		return nil, err
	case err != nil || a.OwnerSID != c.Account.SID:
		return nil, twilio.Err(20003)
	}
	return a, nil
}

// Forget comes after each change of an account or a key: the next request hears of it.
func (g *Gate) Forget() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.changes++
	clear(g.recent)
}

func (g *Gate) look(user string) (found entry, change int) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.recent[user], g.changes
}

func (g *Gate) read(ctx context.Context, user string, now time.Time, change int) (entry, error) {
	e := entry{until: now.Add(keptFor)}
	switch {
	case twilio.IsSID(user, twilio.AccountPrefix):
		a, err := g.store.Account(ctx, user)
		if err != nil {
			return entry{}, err
		}
		e.caller, e.secret = &Caller{Account: a}, sha256.Sum256([]byte(a.AuthToken))
	case twilio.IsSID(user, twilio.KeyPrefix):
		k, err := g.store.Key(ctx, user)
		if err != nil {
			return entry{}, err
		}
		a, err := g.store.Account(ctx, k.AccountSID)
		if err != nil {
			return entry{}, err
		}
		hash, err := hex.DecodeString(k.Hash)
		if err != nil || copy(e.secret[:], hash) != sha256.Size {
			return entry{}, call.ErrNotFound // of some other hash: nobody has its secret
		}
		e.caller = &Caller{Account: a, Key: k.SID}
	default:
		return entry{}, call.ErrNotFound
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if change != g.changes {
		return e, nil
	}
	if len(g.recent) >= maxCallers {
		clear(g.recent)
	}
	g.recent[user] = e
	return e, nil
}

func equal(a, b [sha256.Size]byte) bool { return subtle.ConstantTimeCompare(a[:], b[:]) == 1 }
