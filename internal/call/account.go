package call

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/offhook/offhook/internal/twilio"
)

// Account owns calls and numbers; its token signs every webhook and opens the API.
type Account struct {
	SID          string
	OwnerSID     string // of the account that made it, its own when it is no subaccount
	AuthToken    string
	FriendlyName string
	Status       AccountStatus
	DateCreated  time.Time
	DateUpdated  time.Time
}

// AccountStatus says what an account may do.
type AccountStatus string

// Statuses of an account.
const (
	AccountActive    AccountStatus = "active"
	AccountSuspended AccountStatus = "suspended" // no new calls, and its credentials open nothing
	AccountClosed    AccountStatus = "closed"    // for ever; its live calls end and its numbers are free again
)

// Active reports whether the account may call and be called.
func (a *Account) Active() bool { return a.Status == AccountActive }

// Sub reports whether another account made this one and may act for it.
func (a *Account) Sub() bool { return a.OwnerSID != a.SID }

// PageToken is a's place in a list.
func (a *Account) PageToken() twilio.PageToken {
	return twilio.PageToken{SID: a.SID, Time: a.DateCreated.UnixMicro()}
}

// NewSubaccount makes an account of parent's, with a token of its own.
func NewSubaccount(parent *Account, name string, now time.Time) (*Account, error) {
	if parent.Sub() {
		return nil, twilio.Err(21101)
	}
	a := &Account{
		SID: twilio.NewSIDAt(twilio.AccountPrefix, now), OwnerSID: parent.SID, AuthToken: NewSecret(), Status: AccountActive,
		FriendlyName: name, DateCreated: now, DateUpdated: now,
	}
	if name == "" {
		a.FriendlyName = now.UTC().Format("SubAccount Created at 2006-01-02 03:04 pm")
	}
	return a, checkName(a.FriendlyName, maxListName)
}

// AccountChange is what an update of an account asks for; "" leaves it as it is.
type AccountChange struct {
	FriendlyName string
	Status       AccountStatus
}

// Apply makes the change that the account by asks for. Its error is a *twilio.Error.
func (ch AccountChange) Apply(a, by *Account) error {
	if a.Status == AccountClosed {
		return twilio.Errf(20005, "The account is closed, which is final")
	}
	switch ch.Status {
	case "", AccountActive, AccountSuspended, AccountClosed:
	default:
		return twilio.Errf(20001, "Status must be active, suspended or closed: %s", ch.Status)
	}
	switch {
	case ch.Status == "" || ch.Status == a.Status:
	case !a.Sub():
		return twilio.Errf(20006, "Only subaccounts can be suspended and closed")
	case by.SID != a.OwnerSID:
		return twilio.Errf(20006, "Only the account that made a subaccount can change its Status")
	default:
		a.Status = ch.Status
	}
	if ch.FriendlyName != "" {
		a.FriendlyName = ch.FriendlyName
	}
	return checkName(a.FriendlyName, maxListName)
}

// AccountFilter selects accounts that one may see: itself and those it made. Newest first.
type AccountFilter struct {
	Of           *Account
	FriendlyName string // exact
	Status       AccountStatus

	Limit, Offset int
	Cursor        twilio.PageToken
}

// Key is an API key (SK…): a second way to open the API as an account, which can be taken back alone.
type Key struct {
	Record
	FriendlyName string
	Hash         string // SHA-256 of the secret, in hex: a secret is 128 random bits, which nobody guesses
	Secret       string // known while the key is made, never stored
}

// Conceal makes a new secret for k and leaves its hash.
func (k *Key) Conceal() {
	k.Secret = NewSecret()
	sum := sha256.Sum256([]byte(k.Secret))
	k.Hash = hex.EncodeToString(sum[:])
}

// Validate checks a key.
func (k *Key) Validate() error { return checkName(k.FriendlyName, maxListName) }

// CallerID is a number of somebody else's that the account may call from (an OutgoingCallerId).
type CallerID struct {
	Record
	PhoneNumber  string // E.164
	FriendlyName string
}

// Validate checks a caller ID and names it after its number when it has no name.
func (c *CallerID) Validate() error {
	if !IsE164(c.PhoneNumber) {
		return twilio.Errf(21211, "PhoneNumber must be an E.164 number such as +14155550100: %s", c.PhoneNumber)
	}
	if c.FriendlyName == "" {
		c.FriendlyName = c.PhoneNumber
	}
	return checkName(c.FriendlyName, maxListName)
}

// NewSecret is 128 random bits as text: an auth token, or the secret of a key.
func NewSecret() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand documentation)
	return hex.EncodeToString(b[:])
}
