package call

import (
	"context"
	"time"
)

// Binding is a contact of a phone that registered (RFC 3261 section 10).
type Binding struct {
	DomainSID string // the address is User at that domain
	User      string
	Key       string // what makes two contacts of an address the same, RFC 3261 section 19.1.4
	URI       string // as the phone gave it
	Dest      string // ip:port that its requests go to: where it registered from when it is behind a NAT
	Transport string // udp, tcp or tls
	CallID    string // of the REGISTER that made it,
	CSeq      uint32 // and its number
	Q         int    // thousandths; the highest is named first
	Expires   time.Time
	KeepAlive bool // it is behind a NAT that has to be kept open
	UserAgent string
}

// Locations keeps what phones registered. Its methods are safe for concurrent use; a store that cannot be
// written or read returns ErrUnavailable.
type Locations interface {
	// Bind writes what one REGISTER says of contacts of one address: those without Expires go, the others are
	// added, or replace what has their Key. All or nothing: ErrConflict when a contact was bound by a later
	// request of the same Call-ID, ErrFull when there are too many, ErrNotFound when there is no such domain.
	Bind(ctx context.Context, now time.Time, contacts []Binding) error
	// Unbind removes all contacts of an address. ErrConflict as Bind.
	Unbind(ctx context.Context, domainSID, user, callID string, cseq uint32) error
	// Lookup lists the contacts of an address that have not expired, those with the highest Q first, of them the
	// latest.
	Lookup(ctx context.Context, now time.Time, domainSID, user string) ([]Binding, error)
	// KeptAlive lists contacts with KeepAlive that have not expired, in a fixed order, from behind last (the zero
	// value: from the first).
	KeptAlive(ctx context.Context, now time.Time, last Binding, limit int) ([]Binding, error)
}
