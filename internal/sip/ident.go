package sip

import (
	"crypto/rand"
	"encoding/hex"

	"github.com/emiago/sipgo/sip"
)

// token is n random bytes in hex: tags, branches and Call-IDs must not be guessed (RFC 3261 section 19.3).
func token(n int) string {
	var b [16]byte
	_, _ = rand.Read(b[:n]) // never fails (crypto/rand, Go 1.24)
	return hex.EncodeToString(b[:n])
}

func newTag() string    { return token(8) }
func newCallID() string { return token(16) }
func newBranch() string { return sip.RFC3261BranchMagicCookie + token(10) }

// newCSeq is a random first CSeq, small enough never to wrap (RFC 3261 section 8.1.1.5).
func newCSeq() uint32 {
	var b [2]byte
	_, _ = rand.Read(b[:])
	return uint32(b[0])<<8 | uint32(b[1]) + 1
}
