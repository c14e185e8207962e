package call

import (
	"errors"
	"fmt"
)

// Errors of the store that callers tell apart.
var (
	// ErrNotFound: no such row, or it belongs to another account.
	ErrNotFound = errors.New("not found")
	// ErrConflict: the row is no longer as the caller thought: another status, another owner's epoch, or a taken name.
	ErrConflict = errors.New("conflict")
	// ErrFull: there are as many of them as there may be. It is an ErrConflict.
	ErrFull = fmt.Errorf("%w: too many", ErrConflict)
	// ErrInUse: another resource refers to it, so it cannot be deleted. It is an ErrConflict.
	ErrInUse = fmt.Errorf("%w: in use", ErrConflict)
	// ErrLive: the call has not ended, so it cannot be deleted.
	ErrLive = errors.New("call is live")
	// ErrUnavailable: the store cannot be written now, or its lane is full; the API answers 503.
	ErrUnavailable = errors.New("store unavailable")
)

// MissingError is a reference to a resource that the account does not have. It is an ErrNotFound.
type MissingError struct{ SID string }

func (e *MissingError) Error() string { return e.SID + " was not found" }

// Is reports whether target is ErrNotFound.
func (e *MissingError) Is(target error) bool { return target == ErrNotFound }
