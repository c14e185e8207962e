package sip

import (
	"crypto/rand"
	"encoding/hex"
	"strconv"
	"strings"

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

// nextBranch is the branch of the INVITE sent after that of branch. It can be told from what the store has of an
// earlier attempt: a challenge is answered without a trip to the store.
func nextBranch(branch string) string {
	base, n := branch, 0
	if i := strings.LastIndexByte(branch, '.'); i >= 0 {
		base = branch[:i]
		n, _ = strconv.Atoi(branch[i+1:]) // only we write there
	}
	return base + "." + strconv.Itoa(n+1)
}

// newCSeq is a random first CSeq, small enough never to wrap (RFC 3261 section 8.1.1.5).
func newCSeq() uint32 {
	var b [2]byte
	_, _ = rand.Read(b[:])
	return uint32(b[0])<<8 | uint32(b[1]) + 1
}
