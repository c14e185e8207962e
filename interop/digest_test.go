package interop

import (
	"crypto/md5"
	"encoding/hex"
	"regexp"
	"testing"
)

var digestField = regexp.MustCompile(`(\w+)="?([^",\s]+)"?`)

// checkDigest computes the answer to a challenge as RFC 2617 section 3.2.2 says, apart from any code of
// ours, and compares it with the credentials SIPp logged.
func checkDigest(t *testing.T, credentials, username, password string) {
	t.Helper()
	f := map[string]string{}
	for _, m := range digestField.FindAllStringSubmatch(credentials, -1) {
		f[m[1]] = m[2]
	}
	hash := func(s string) string {
		sum := md5.Sum([]byte(s))
		return hex.EncodeToString(sum[:])
	}
	want := hash(hash(username+":"+f["realm"]+":"+password) + ":" + f["nonce"] + ":" + f["nc"] + ":" + f["cnonce"] + ":" +
		f["qop"] + ":" + hash("INVITE:"+f["uri"]))
	if f["username"] != username || f["nc"] != "00000001" || f["response"] != want {
		t.Errorf("credentials %q, want the response %s", credentials, want)
	}
}
