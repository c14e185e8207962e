package call

import (
	"encoding/json"
	"maps"
	"unicode/utf8"

	"github.com/offhook/offhook/internal/twilio"
)

// Limits of what customers note beside a call (twiliocall section 1).
const (
	maxAnnotation    = 1024 // characters
	maxMetadata      = 50   // keys
	maxMetadataKey   = 40   // characters
	maxMetadataValue = 500  // characters
)

// Note is what a customer notes beside a call, which has no part in the call's life. It is a merge patch
// (RFC 7396) of what is noted already.
type Note struct {
	Annotation *string        // nil: as it is
	Metadata   map[string]any // a nil value removes its key
	Clear      bool           // no metadata is kept but what Metadata adds
}

// Empty reports whether n changes nothing.
func (n *Note) Empty() bool { return n.Annotation == nil && len(n.Metadata) == 0 && !n.Clear }

// Apply is what n makes of an annotation and of metadata, which it leaves as they are. Its error is a
// *twilio.Error.
func (n *Note) Apply(annotation string, metadata map[string]any) (string, map[string]any, error) {
	if n.Annotation != nil {
		annotation = *n.Annotation
	}
	merged := make(map[string]any, len(metadata)+len(n.Metadata))
	if !n.Clear {
		maps.Copy(merged, metadata)
	}
	for key, value := range n.Metadata {
		if value == nil {
			delete(merged, key)
			continue
		}
		merged[key] = value
	}
	return annotation, merged, checkNote(annotation, merged)
}

func checkNote(annotation string, metadata map[string]any) error {
	if utf8.RuneCountInString(annotation) > maxAnnotation {
		return twilio.Errf(20001, "annotation must not be longer than %d characters", maxAnnotation)
	}
	if len(metadata) > maxMetadata {
		return twilio.Errf(20001, "metadata has at most %d keys", maxMetadata)
	}
	for key, value := range metadata {
		if n := utf8.RuneCountInString(key); n < 1 || n > maxMetadataKey {
			return twilio.Errf(20001, "a key of metadata has 1 to %d characters: %s", maxMetadataKey, clip(key))
		}
		switch v := value.(type) {
		case string:
			if utf8.RuneCountInString(v) > maxMetadataValue {
				return twilio.Errf(20001, "metadata %s must not be longer than %d characters", key, maxMetadataValue)
			}
		case bool, float64, json.Number, int, int64:
		default:
			return twilio.Errf(20001, "metadata %s must be a string, a number or a boolean", key)
		}
	}
	return nil
}

// Idempotency makes a create that is sent twice one call: the key is the account's for a day.
type Idempotency struct {
	Key         string // at most 255 characters, "" for none
	Fingerprint string // of the request: another one with the same key is refused
}

const maxIdempotencyKey = 255

func (i *Idempotency) validate() error {
	if len(i.Key) > maxIdempotencyKey || !only(i.Key, func(c byte) bool { return c >= ' ' && c < 0x7f }) {
		return twilio.Errf(20001, "Idempotency-Key has at most %d printable ASCII characters", maxIdempotencyKey)
	}
	return nil
}

// RepeatedError says that a create with this idempotency key was stored before.
type RepeatedError struct {
	CallSID     string // the call it made
	Fingerprint string // of that request
}

func (e *RepeatedError) Error() string { return "this idempotency key made call " + e.CallSID }

// Is reports whether target is ErrConflict.
func (e *RepeatedError) Is(target error) bool { return target == ErrConflict }
