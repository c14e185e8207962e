package twilio

import (
	"net/url"
	"strings"
	"testing"
)

// The 14 vectors: 1–3 and 5–9 were made with the Node SDK, 4, 8 and 10–12 are accepted by the Go
// SDK's validator, 13 and 14 are published values.
func TestSignature(t *testing.T) {
	const token = "0123456789abcdef0123456789abcdef"
	const ca = "CA00000000000000000000000000000001"
	full := url.Values{
		"AccountSid": {"AC00000000000000000000000000000001"}, "ApiVersion": {"2010-04-01"}, "CallSid": {ca},
		"CallStatus": {"ringing"}, "Called": {"+15551230002"}, "Caller": {"+15551230001"}, "Direction": {"inbound"},
		"From": {"+15551230001"}, "To": {"+15551230002"},
	}
	const body = `{"event":"start","callSid":"` + ca + `"}`
	const bodyURL = "https://app.example.com/json?bodySHA256=38f69cf3edb233de20fe997f1f0614814d0ed123375bc824814ebdf662c6ffaf"
	if got := BodyURL("https://app.example.com/json", []byte(body)); got != bodyURL {
		t.Errorf("BodyURL = %s", got)
	}
	docs := url.Values{
		"CallSid": {"CA1234567890ABCDE"}, "Caller": {"+14158675310"}, "Digits": {"1234"}, "From": {"+14158675310"}, "To": {"+18005551212"},
	}
	sdk := url.Values{
		"CallSid": {"CA1234567890ABCDE"}, "Caller": {"+14158675309"}, "Digits": {"1234"}, "From": {"+14158675309"}, "To": {"+18005551212"},
		"Reason": {"Participant"}, "ReasonConferenceEnded": {"test"},
	}
	tests := []struct {
		name, token, url string
		params           url.Values
		want             string
	}{
		{"1 form", token, "https://app.example.com/voice", full, "VYWP1SKhopXPE5cWUOsSs6jEun8="},
		{"2 query kept", token, "https://app.example.com/voice?foo=1&bar=2", full, "eMPT/iXxSMmwvWKdaGcBc0HmGns="},
		{"3 GET", token, "https://app.example.com/voice?AccountSid=AC00000000000000000000000000000001&ApiVersion=2010-04-01&CallSid=" + ca +
			"&CallStatus=ringing&Called=%2B15551230002&Caller=%2B15551230001&Direction=inbound&From=%2B15551230001&To=%2B15551230002",
			nil, "N7ngj1VAA8kmzXPLSJIy+P6z9e4="},
		{"4 https port dropped", token, "https://app.example.com:8443/voice", url.Values{"CallSid": {ca}, "Digits": {"1234"}}, "uPzyvIB9gAzcenvInJPmfn5Vup4="},
		{"5 empty value, UTF-8", token, "http://app.example.com/gather",
			url.Values{"Confidence": {"0.92"}, "Empty": {""}, "SpeechResult": {"Grüße aus Köln"}}, "59UZQjKIJt9NcpNLk5hD3IlC4I0="},
		{"6 byte order", token, "https://app.example.com/cb",
			url.Values{"b": {"1"}, "B": {"2"}, "a": {"3"}, "A": {"4"}, "_x": {"5"}}, "7FCGrcNoauwcvDhpC8Kb/uPGaYM="},
		{"7 JSON body", token, bodyURL, nil, "cq1sN9hStjw0cqOy3W8bIZrifFI="},
		{"8 WebSocket", token, "wss://app.example.com/stream", nil, "rAkvLkj0Ux7IPGrc7N/zpGxRJME="},
		{"9 fragment dropped", token, "https://app.example.com/voice#rc=2&ct=1000", url.Values{"CallSid": {ca}}, "c6S/EhxljCOTc/BoFsfSRC7Fh3E="},
		{"10 userinfo dropped", token, "https://user:pa%24s@app.example.com/voice", url.Values{"CallSid": {ca}}, "c6S/EhxljCOTc/BoFsfSRC7Fh3E="},
		{"11 http port kept", token, "http://app.example.com:8080/voice", url.Values{"CallSid": {ca}, "Digits": {"1234"}}, "yN4kskZWmmbFiEyX/UhHqfii3B0="},
		{"12 userinfo dropped, port kept", token, "http://user:x@app.example.com:8080/voice", url.Values{"CallSid": {ca}}, "P5NJOnQKXK7oQXxJkernynoGpHE="},
		{"13 Twilio's docs", "12345", "https://example.com/myapp.php?foo=1&bar=2", docs, "L/OH5YylLD5NRKLltdqwSvS0BnU="},
		{"14 twilio-go's test", "12345", "https://mycompany.com/myapp.php?foo=1&bar=2", sdk, "vOEb5UThFn24KEfnOFLQY2AE5FY="},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Signature(tt.token, tt.url, tt.params); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestSignedURL(t *testing.T) {
	tests := []struct{ in, want string }{
		{"https://h", "https://h/"},
		{"wss://h:9443", "wss://h:9443/"},
		{"https://h?a=1", "https://h/?a=1"},
		{"https://[2001:db8::1]:8443/x", "https://[2001:db8::1]/x"},
		{"https://[2001:db8::1]/x", "https://[2001:db8::1]/x"},
		{"http://[::1]:80/x", "http://[::1]:80/x"},
		{"HTTPS://H:1/x", "HTTPS://H/x"},
		{"https://h/a@b:1/c?d=e@f:2", "https://h/a@b:1/c?d=e@f:2"},
		{"https://u:p@q@h/x", "https://h/x"},
		{"http://h/%2B?x=%2b+y", "http://h/%2B?x=%2b+y"},
		{"not a url", "not a url"},
	}
	for _, tt := range tests {
		if got := signedURL(tt.in); got != tt.want {
			t.Errorf("signedURL(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestBodyURL(t *testing.T) {
	got := BodyURL("https://h/x?a=1#rc=2", nil)
	if !strings.HasPrefix(got, "https://h/x?a=1&bodySHA256=e3b0c442") || !strings.HasSuffix(got, "b855#rc=2") {
		t.Error(got)
	}
}

func FuzzSignature(f *testing.F) {
	f.Add("https://u:p@h:1/x?y=z#f", "a", "b")
	f.Fuzz(func(t *testing.T, u, name, value string) {
		if got := Signature("token", u, url.Values{name: {value}}); len(got) != 28 {
			t.Errorf("Signature(%q) = %q", u, got)
		}
		if s := signedURL(u); strings.Contains(s, "#") {
			t.Errorf("signedURL(%q) = %q keeps a fragment", u, s)
		}
	})
}

func BenchmarkSignature(b *testing.B) {
	p := url.Values{"AccountSid": {"AC00000000000000000000000000000001"}, "CallSid": {"CA00000000000000000000000000000001"}, "From": {"+15551230001"}, "To": {"+15551230002"}}
	b.ReportAllocs()
	for b.Loop() {
		Signature("0123456789abcdef0123456789abcdef", "https://app.example.com/voice?foo=1", p)
	}
}
