package store

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/offhook/offhook/internal/call"
)

const (
	maxContacts = 10      // of one address
	maxBindings = 100_000 // in all; a row takes about 400 bytes
	// maxExpired bounds what a registration removes of those that were not renewed.
	maxExpired = 100
)

const bindingColumns = "domain_sid, username, contact, uri, dest, transport, call_id, cseq, q, expires_at, keep_alive, user_agent"

// bindContact replaces a binding unless it is of the same registration and as new.
var bindContact = newTable("sip_bindings", bindingColumns+", bound_at",
	" ON CONFLICT (domain_sid, username, contact) DO UPDATE SET "+excluded("uri, dest, transport, call_id, cseq, q, expires_at, keep_alive, user_agent, bound_at")).one()

func excluded(columns string) string {
	var set []string
	for column := range strings.SplitSeq(columns, ", ") {
		set = append(set, column+" = excluded."+column)
	}
	return strings.Join(set, ", ")
}

const (
	ofAddress = " WHERE domain_sid = ? AND username = ?"
	removeOld = "DELETE FROM sip_bindings WHERE (domain_sid, username, contact) IN " +
		"(SELECT domain_sid, username, contact FROM sip_bindings WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)"
)

var _ call.Locations = (*Store)(nil)

// Bind is call.Locations'. Everything that refuses it is asked before the first write: a refused job has
// written nothing.
func (s *Store) Bind(ctx context.Context, now time.Time, contacts []call.Binding) error {
	if len(contacts) == 0 {
		return nil
	}
	domain, user := contacts[0].DomainSID, contacts[0].User
	return s.w.api(ctx, &job{run: func(b *batch) error {
		if there, err := b.any("SELECT sid FROM sip_domains WHERE sid = ?", domain); err != nil || !there {
			return orMissing(err)
		}
		for _, c := range contacts {
			if late, err := b.any("SELECT contact FROM sip_bindings"+ofAddress+" AND contact = ? AND call_id = ? AND cseq >= ?",
				domain, user, c.Key, c.CallID, int64(c.CSeq)); err != nil || late {
				return orLate(err)
			}
		}
		known := map[string]bool{}
		err := b.scan(func(key string) { known[key] = true }, "SELECT contact FROM sip_bindings"+ofAddress+" AND expires_at > ?", domain, user, micros(now))
		if err != nil {
			return err
		}
		if err := b.roomFor(contacts, known); err != nil {
			return err
		}
		if _, err := b.exec(removeOld, micros(now), maxExpired); err != nil {
			return err
		}
		for _, c := range contacts {
			if c.Expires.IsZero() {
				_, err = b.exec("DELETE FROM sip_bindings"+ofAddress+" AND contact = ?", domain, user, c.Key)
			} else {
				_, err = b.exec(bindContact, domain, user, c.Key, c.URI, c.Dest, c.Transport, c.CallID, int64(c.CSeq), int64(c.Q),
					micros(c.Expires), bit(c.KeepAlive), c.UserAgent, micros(now))
			}
			if err != nil {
				return err
			}
		}
		return nil
	}})
}

// roomFor is ErrFull when contacts, written beside the known ones of their address, are too many.
func (b *batch) roomFor(contacts []call.Binding, known map[string]bool) error {
	before, added := len(known), false
	for _, c := range contacts {
		if c.Expires.IsZero() {
			delete(known, c.Key)
		} else if !known[c.Key] {
			known[c.Key], added = true, true
		}
	}
	switch {
	case !added:
		return nil
	case len(known) > maxContacts && len(known) > before:
		return fmt.Errorf("store: contacts of an address: %w: %d is the limit", call.ErrFull, maxContacts)
	}
	all := 0
	err := b.scan(func(n string) { all, _ = strconv.Atoi(n) }, "SELECT CAST(COUNT(*) AS TEXT) FROM sip_bindings")
	if err == nil && all+len(known)-before > maxBindings {
		err = fmt.Errorf("store: contacts: %w: %d is the limit", call.ErrFull, maxBindings)
	}
	return err
}

func orLate(err error) error {
	if err == nil {
		err = fmt.Errorf("store: registration: %w: a later one of its Call-ID was seen", call.ErrConflict)
	}
	return err
}

// Unbind is call.Locations'.
func (s *Store) Unbind(ctx context.Context, domainSID, user, callID string, cseq uint32) error {
	return s.w.api(ctx, &job{run: func(b *batch) error {
		if late, err := b.any("SELECT contact FROM sip_bindings"+ofAddress+" AND call_id = ? AND cseq >= ?", domainSID, user, callID, int64(cseq)); err != nil || late {
			return orLate(err)
		}
		_, err := b.exec("DELETE FROM sip_bindings"+ofAddress, domainSID, user)
		return err
	}})
}

// Lookup is call.Locations'.
func (s *Store) Lookup(ctx context.Context, now time.Time, domainSID, user string) ([]call.Binding, error) {
	return s.bindings(ctx, ofAddress+" AND expires_at > ? ORDER BY q DESC, bound_at DESC, contact", domainSID, user, micros(now))
}

// KeptAlive is call.Locations'.
func (s *Store) KeptAlive(ctx context.Context, now time.Time, last call.Binding, limit int) ([]call.Binding, error) {
	return s.bindings(ctx, " WHERE (domain_sid, username, contact) > (?, ?, ?) AND keep_alive = 1 AND expires_at > ? "+
		"ORDER BY domain_sid, username, contact LIMIT ?", last.DomainSID, last.User, last.Key, micros(now), limit)
}

func (s *Store) bindings(ctx context.Context, where string, args ...any) (list []call.Binding, err error) {
	err = s.query(ctx, func(r scanner) error {
		var b call.Binding
		err := r.Scan(&b.DomainSID, &b.User, &b.Key, &b.URI, &b.Dest, &b.Transport, &b.CallID, &b.CSeq, &b.Q,
			asTime{&b.Expires}, asBool{&b.KeepAlive}, &b.UserAgent)
		list = append(list, b)
		return err
	}, "SELECT "+bindingColumns+" FROM sip_bindings"+where, args...)
	return list, err
}
