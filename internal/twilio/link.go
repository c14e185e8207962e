package twilio

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"strconv"
	"time"
)

// A signed link opens one path to whoever has it, until it expires, without the account's token: the parameters
// Expires (seconds since 1970) and Signature are added to the URL of a recording's audio. The suffix of the path is
// not signed, so one link is good for every format.

// LinkQuery signs path, which has no suffix, with the account's token.
func LinkQuery(token, path string, expires time.Time) url.Values {
	at := strconv.FormatInt(expires.Unix(), 10)
	return url.Values{"Expires": {at}, "Signature": {linkSignature(token, path, at)}}
}

// CheckLink reports whether query is that of a link to path, and whether it has not expired.
func CheckLink(token, path string, query url.Values, now time.Time) (ours, valid bool) {
	at := query.Get("Expires")
	expires, err := strconv.ParseInt(at, 10, 64)
	if err != nil || token == "" || !hmac.Equal([]byte(query.Get("Signature")), []byte(linkSignature(token, path, at))) {
		return false, false
	}
	return true, now.Before(time.Unix(expires, 0))
}

func linkSignature(token, path, expires string) string {
	mac := hmac.New(sha256.New, []byte(token))
	_, _ = mac.Write([]byte("offhook link\n" + path + "\n" + expires)) // never fails
	return hex.EncodeToString(mac.Sum(nil))
}
