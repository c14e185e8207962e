package twilio

import (
	"crypto/rand"
	"encoding/hex"
)

// SID prefixes in use, calls-api section 1.
const (
	AccountPrefix      = "AC"
	CallPrefix         = "CA"
	NumberPrefix       = "PN"
	TrunkPrefix        = "TK"
	NotificationPrefix = "NO"
	RequestPrefix      = "RQ"
)

// NewSID makes a new identifier: prefix and 32 lower-case hex digits from crypto/rand.
func NewSID(prefix string) string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand documentation)
	return prefix + hex.EncodeToString(b[:])
}

// IsSID reports whether s is prefix (or any two capitals when prefix is empty) and 32 hex digits.
func IsSID(s, prefix string) bool {
	if len(s) != 34 || (prefix != "" && s[:2] != prefix) {
		return false
	}
	if s[0] < 'A' || s[0] > 'Z' || s[1] < 'A' || s[1] > 'Z' {
		return false
	}
	for _, c := range s[2:] {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
			return false
		}
	}
	return true
}
