package call

import "errors"

// Errors of the store that callers tell apart.
var (
	// ErrNotFound: no such row, or it belongs to another account.
	ErrNotFound = errors.New("not found")
	// ErrConflict: the row is no longer as the caller thought: another status, another owner's epoch, or a taken name.
	ErrConflict = errors.New("conflict")
	// ErrLive: the call has not ended, so it cannot be deleted.
	ErrLive = errors.New("call is live")
	// ErrUnavailable: the store cannot be written now, or its lane is full; the API answers 503.
	ErrUnavailable = errors.New("store unavailable")
)
