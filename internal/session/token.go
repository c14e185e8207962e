package session

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strings"
	"time"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/twilio"
)

// tokenLife is how long a CallToken is good for, our own bound: the longest that the call it is of may take.
const tokenLife = call.DefaultTimeLimit

// callToken is the value of CallToken as applications pass it on: JSON that is percent-encoded once more than the form
// it stands in (call-lifecycle section 3.1). Twilio signs by ES256 what is for other carriers to check; nobody but
// us reads this.
type callToken struct {
	ParentCallInfo string   `json:"parentCallInfoToken"` // a JWT (RFC 7519), HS256
	Identities     []string `json:"identityHeaderTokens"`
}

// tokenClaims are what the JWT says.
type tokenClaims struct {
	AccountSID string `json:"accountSid"`
	CallSID    string `json:"callSid"`
	From       string `json:"from"`
	To         string `json:"to"`
	IssuedAt   int64  `json:"iat"` // Unix seconds
}

// tokenHeader is {"alg":"HS256","typ":"JWT"}.
const tokenHeader = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9"

func randomKey() []byte {
	key := make([]byte, sha256.Size)
	_, _ = rand.Read(key) // never fails (crypto/rand documentation)
	return key
}

// tokenOf is the CallToken of a call that came in.
func (m *Manager) tokenOf(c *call.Call) string {
	claims, err := json.Marshal(tokenClaims{c.AccountSID, c.SID, c.From, c.To, m.Clock.Now().Unix()})
	if err != nil {
		panic(err) // it is text and a number
	}
	signed := tokenHeader + "." + base64.RawURLEncoding.EncodeToString(claims)
	token, err := json.Marshal(callToken{signed + "." + m.tokenSum(signed), []string{}})
	if err != nil {
		panic(err)
	}
	return url.QueryEscape(string(token))
}

func (m *Manager) tokenSum(signed string) string {
	mac := hmac.New(sha256.New, m.TokenKey)
	mac.Write([]byte(signed))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// readToken is what a CallToken of that account says, percent-encoded or not; ok is false for any other text, and for
// one that is too old.
func (m *Manager) readToken(accountSID, text string) (claims tokenClaims, ok bool) {
	if !strings.HasPrefix(text, "{") {
		text, _ = url.QueryUnescape(text)
	}
	var token callToken
	if json.Unmarshal([]byte(text), &token) != nil {
		return claims, false
	}
	parts := strings.Split(token.ParentCallInfo, ".")
	if len(parts) != 3 || !hmac.Equal([]byte(parts[2]), []byte(m.tokenSum(parts[0]+"."+parts[1]))) {
		return claims, false
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(b, &claims) != nil {
		return claims, false
	}
	age := m.Clock.Now().Sub(time.Unix(claims.IssuedAt, 0))
	return claims, claims.AccountSID == accountSID && age <= tokenLife
}

// forwards makes c the call that another one is forwarded by, whose CallToken its create brought; "" is none. Such a
// call shows the caller of the other one, which is granted, and was diverted by the number that was called.
func (m *Manager) forwards(c *call.Call, token string) (granted string, err error) {
	if token == "" {
		return "", nil
	}
	claims, ok := m.readToken(c.AccountSID, token)
	if !ok {
		return "", twilio.Errf(20001, "CallToken is none of a call of this account, or too old")
	}
	if c.From != claims.From && c.Options.CallerID != claims.From {
		return "", twilio.Errf(20001, "CallToken is that of a call from %s: From, or CallerId, must be its caller", claims.From)
	}
	c.ForwardedFrom = claims.To
	return claims.From, nil
}
