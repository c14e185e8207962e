package session

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/offhook/offhook/internal/call"
)

// enders end the calls of a closed account side by side, so that they share commits.
const enders = 64

// EndCalls ends every call of an account that was closed: those that wait are canceled, live ones are hung up. No
// new one comes, for whoever closed it has stored that. It returns when that is stored, or with the first error; a
// call that leaves its queue meanwhile fails by itself.
func (m *Manager) EndCalls(ctx context.Context, accountSID string) error {
	err := m.cancelAll(ctx, accountSID) // first: a call that waits for a phone to wake up hears of nothing else
	if err == nil {
		var live []*Session
		m.mu.Lock()
		for _, s := range m.live {
			if s.account() == accountSID {
				live = append(live, s)
			}
		}
		m.mu.Unlock()
		err = each(ctx, live, func(s *Session) error {
			err := s.do(ctx, func() error { s.giveUp("the account was closed"); return nil })
			if errors.Is(err, errOver) {
				return nil
			}
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("session: end the calls of %s: %w", accountSID, err)
	}
	return nil
}

// cancelAll cancels the calls of an account that wait to be dialled.
func (m *Manager) cancelAll(ctx context.Context, accountSID string) error {
	for more := true; more; {
		var waiting []*call.Call
		var err error
		waiting, more, err = m.Store.ListCalls(ctx, call.Filter{AccountSID: accountSID, Statuses: []call.Status{call.Queued}, Limit: 1000})
		if err != nil {
			return err
		}
		var taken atomic.Int64
		err = each(ctx, waiting, func(c *call.Call) error {
			err := m.cancelQueued(ctx, c)
			if errors.Is(err, call.ErrConflict) { // a session has it
				taken.Add(1)
				return nil
			}
			return err
		})
		if err != nil {
			return err
		}
		more = more && int(taken.Load()) < len(waiting)
	}
	return nil
}

// each runs f for all of list, some at a time, and returns its first error.
func each[T any](ctx context.Context, list []T, f func(T) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan T)
	var workers sync.WaitGroup
	for range min(enders, len(list)) {
		workers.Go(func() {
			for v := range next {
				if ctx.Err() != nil {
					continue
				}
				if err := f(v); err != nil {
					cancel(err)
				}
			}
		})
	}
	for _, v := range list {
		next <- v
	}
	close(next)
	workers.Wait()
	return context.Cause(ctx)
}
