package call

import (
	"errors"
	"maps"
	"reflect"
	"strings"
	"testing"

	"github.com/offhook/offhook/internal/twilio"
)

// valid is a request that passes; each test spoils one thing.
func valid(change func(*CreateParams)) *CreateParams {
	p := &CreateParams{To: "+15551234567", From: "+15557654321", Options: Options{URL: "https://app.example.com/voice"}}
	if change != nil {
		change(p)
	}
	return p
}

func codeOf(err error) int {
	var e *twilio.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return 0
}

func TestCreateParamsErrors(t *testing.T) {
	long := func(n int) string { return strings.Repeat("x", n) }
	tests := []struct {
		name   string
		change func(*CreateParams)
		want   int
	}{
		{"valid", nil, 0},
		{"no To", func(p *CreateParams) { p.To = "" }, 21201},
		{"no From", func(p *CreateParams) { p.From = "" }, 21213},
		{"no Url", func(p *CreateParams) { p.Options.URL = "" }, 21205},
		{"Twiml is enough", func(p *CreateParams) { p.Options.URL, p.Options.Twiml = "", "<Response/>" }, 0},
		{"required comes before syntax", func(p *CreateParams) { p.To, p.From = "12", "" }, 21213},
		{"To too short", func(p *CreateParams) { p.To = "+1555" }, 21211},
		{"To too long", func(p *CreateParams) { p.To = "+1234567890123456" }, 21211},
		{"To without country", func(p *CreateParams) { p.To = "2071838750555" }, 21211},
		{"To with a leading zero", func(p *CreateParams) { p.To = "+0123456789" }, 21211},
		{"To is a word", func(p *CreateParams) { p.To = "bob" }, 21217},
		{"To is punctuation", func(p *CreateParams) { p.To = "()-" }, 21217},
		{"To is From", func(p *CreateParams) { p.From = "(555) 123-4567" }, 21211},
		{"To is a client without a name", func(p *CreateParams) { p.To = "client:" }, 21211},
		{"To is a client with a header that is none", func(p *CreateParams) { p.To = "client:alice?a%0A=1" }, 21228},
		{"magic To, invalid", func(p *CreateParams) { p.To = "+15005550001" }, 21217},
		{"magic To, unreachable", func(p *CreateParams) { p.To = "+15005550002" }, 21214},
		{"magic To, no permission", func(p *CreateParams) { p.To = "+15005550003" }, 21215},
		{"magic To, blocked", func(p *CreateParams) { p.To = "1 (500) 555-0004" }, 21216},
		{"magic From", func(p *CreateParams) { p.From = "+15005550001" }, 21212},
		{"valid magic From", func(p *CreateParams) { p.From = "+15005550006" }, 0},
		{"From malformed", func(p *CreateParams) { p.From = "+12" }, 21212},
		{"From is a name, To a number", func(p *CreateParams) { p.From = "alice" }, 21212},
		{"From is a SIP address, To a number", func(p *CreateParams) { p.From = "sip:a@example.com" }, 21212},
		{"From is a client", func(p *CreateParams) { p.From = "client:alice" }, 21212},
		{"From is a name, To SIP", func(p *CreateParams) { p.To, p.From = "sip:b@example.com", "alice_1.x-y" }, 0},
		{"From is a bad name, To SIP", func(p *CreateParams) { p.To, p.From = "sip:b@example.com", "a b" }, 21212},
		{"From is a bad SIP address", func(p *CreateParams) { p.To, p.From = "sip:b@example.com", "sip:a b@h" }, 21212},
		{"Url relative", func(p *CreateParams) { p.Options.URL = "/voice" }, 21205},
		{"Url of another scheme", func(p *CreateParams) { p.Options.URL = "ftp://h/x" }, 21205},
		{"Url without host", func(p *CreateParams) { p.Options.URL = "https:///x" }, 21205},
		{"Url with a blank", func(p *CreateParams) { p.Options.URL = "https://h/a b" }, 21205},
		{"Url with a line end", func(p *CreateParams) { p.Options.URL = "https://h/\r\nX: y" }, 21205},
		{"Url with a bad port", func(p *CreateParams) { p.Options.URL = "https://h:70000/" }, 21205},
		{"Url of localhost", func(p *CreateParams) { p.Options.URL = "http://localhost:3000/voice" }, 0},
		{"Url of an address", func(p *CreateParams) { p.Options.URL = "http://[::1]:3000/voice?x=1#rc=2" }, 0},
		{"Url with an underscore", func(p *CreateParams) { p.Options.URL = "http://my_app/voice" }, 0},
		{"Url with credentials", func(p *CreateParams) { p.Options.URL = "https://u:p%24@h/x" }, 0},
		{"Url of 4000", func(p *CreateParams) { p.Options.URL = "https://h/" + long(3990) }, 0},
		{"Url of 4001", func(p *CreateParams) { p.Options.URL = "https://h/" + long(3991) }, 21205},
		{"Twiml of 4000", func(p *CreateParams) { p.Options.URL, p.Options.Twiml = "", strings.Repeat("ü", 4000) }, 0},
		{"Twiml of 4001", func(p *CreateParams) { p.Options.URL, p.Options.Twiml = "", long(4001) }, 32018},
		{"long Twiml is ignored beside Url", func(p *CreateParams) { p.Options.Twiml = long(4001) }, 0},
		{"Method", func(p *CreateParams) { p.Options.Method = "PUT" }, 21209},
		{"FallbackUrl", func(p *CreateParams) { p.Options.FallbackURL = "nope" }, 21205},
		{"FallbackMethod", func(p *CreateParams) { p.Options.FallbackMethod = "x" }, 21209},
		{"StatusCallback", func(p *CreateParams) { p.Options.StatusURL = "nope" }, 21609},
		{"StatusCallback with an underscore", func(p *CreateParams) { p.Options.StatusURL = "https://my_app.example.com/" }, 21609},
		{"underscore in the path", func(p *CreateParams) { p.Options.StatusURL = "https://h/a_b" }, 0},
		{"StatusCallbackMethod", func(p *CreateParams) { p.Options.StatusMethod = "x" }, 21209},
		{"SendDigits", func(p *CreateParams) { p.Options.SendDigits = "12x" }, 21206},
		{"SendDigits too long", func(p *CreateParams) { p.Options.SendDigits = strings.Repeat("1", 33) }, 21206},
		{"SendDigits of every kind", func(p *CreateParams) { p.Options.SendDigits = "wW0123456789ABCD*#" }, 0},
		{"Timeout negative", func(p *CreateParams) { p.Options.Timeout = -1 }, 21208},
		{"Timeout over the maximum", func(p *CreateParams) { p.Options.Timeout = 601 }, 21208},
		{"Timeout at the maximum", func(p *CreateParams) { p.Options.Timeout = 600 }, 0},
		{"TimeLimit", func(p *CreateParams) { p.Options.TimeLimit = 14401 }, 20001},
		{"CallerId", func(p *CreateParams) { p.Options.CallerID = "bob" }, 21212},
		{"CallerId may be the magic From", func(p *CreateParams) { p.Options.CallerID = "+15005550001" }, 0},
		{"SipAuthUsername too long", func(p *CreateParams) { p.Options.SIPUsername, p.Options.SIPPassword = long(256), "x" }, 21221},
		{"SipAuthUsername with a quote", func(p *CreateParams) { p.Options.SIPUsername, p.Options.SIPPassword = `a"b`, "x" }, 21222},
		{"SipAuthPassword too long", func(p *CreateParams) { p.Options.SIPUsername, p.Options.SIPPassword = "a", long(256) }, 21223},
		{"SipAuthPassword with a line end", func(p *CreateParams) { p.Options.SIPUsername, p.Options.SIPPassword = "a", "x\n" }, 21224},
		{"SipAuthUsername alone", func(p *CreateParams) { p.Options.SIPUsername = "a" }, 21225},
		{"SipAuthPassword alone", func(p *CreateParams) { p.Options.SIPPassword = "a" }, 21225},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := valid(tt.change).Validate()
			if got := codeOf(err); got != tt.want {
				t.Errorf("got %v, want %d", err, tt.want)
			}
		})
	}
}

func TestCreateParamsDefaults(t *testing.T) {
	p := valid(func(p *CreateParams) {
		p.To, p.From, p.Options.Method, p.Options.CallerID = "(415) 867-5309", "555.765.4321", "get", "+1 555 000 1111"
	})
	if err := p.Validate(); err != nil {
		t.Fatal(err)
	}
	want := &CreateParams{To: "+14158675309", From: "+15557654321", Options: Options{
		URL: "https://app.example.com/voice", Method: "GET", FallbackMethod: "POST", StatusMethod: "POST",
		StatusEvents: []string{"completed"}, Timeout: 60, TimeLimit: 14400, CallerID: "+15550001111",
	}}
	if !reflect.DeepEqual(p, want) {
		t.Errorf("got  %+v\nwant %+v", p, want)
	}
	if err := p.Validate(); err != nil || !reflect.DeepEqual(p, want) {
		t.Errorf("again: %v %+v", err, p)
	}
}

func TestCreateParamsWarnings(t *testing.T) {
	p := valid(func(p *CreateParams) {
		p.Options.Twiml = "<Response/>"
		p.Options.StatusURL = "https://app.example.com/status"
		p.Options.StatusEvents = []string{"initiated ringing"}
	})
	for range 2 { // the second time changes nothing
		if err := p.Validate(); err != nil {
			t.Fatal(err)
		}
		if len(p.Warnings) != 2 || p.Warnings[0].Code != 32019 || p.Warnings[1].Code != 21626 {
			t.Errorf("warnings: %v", p.Warnings)
		}
		if p.Options.Twiml != "" || len(p.Options.StatusEvents) != 0 {
			t.Errorf("options: %+v", p.Options)
		}
	}
}

func TestUpdateParams(t *testing.T) {
	const u = "https://app.example.com/next"
	tests := []struct {
		name string
		p    UpdateParams
		want int
	}{
		{"nothing", UpdateParams{}, 0},
		{"canceled", UpdateParams{Status: Canceled}, 0},
		{"completed", UpdateParams{Status: Completed}, 0},
		{"another status", UpdateParams{Status: Busy}, 20001},
		{"Url", UpdateParams{URL: u, Method: "get"}, 0},
		{"bad Url", UpdateParams{URL: "x"}, 21205},
		{"Twiml", UpdateParams{Twiml: "<Response/>"}, 0},
		{"long Twiml", UpdateParams{Twiml: strings.Repeat("x", 4001)}, 32018},
		{"both", UpdateParams{URL: u, Twiml: "<Response/>"}, 20001},
		{"both, but a status wins", UpdateParams{Status: Completed, URL: u, Twiml: "<Response/>"}, 0},
		{"bad Method", UpdateParams{Method: "PUT"}, 21209},
		{"bad FallbackUrl", UpdateParams{FallbackURL: "x"}, 21205},
		{"bad FallbackMethod", UpdateParams{FallbackMethod: "x"}, 21209},
		{"bad StatusCallback", UpdateParams{URL: u, StatusURL: "https://a_b/"}, 21609},
		{"bad StatusCallbackMethod", UpdateParams{StatusMethod: "x"}, 21209},
		{"StatusCallback without Url", UpdateParams{StatusURL: u}, 20001},
		{"TimeLimit", UpdateParams{TimeLimit: 14400}, 0},
		{"TimeLimit negative", UpdateParams{TimeLimit: -1}, 20001},
		{"TimeLimit over the maximum", UpdateParams{TimeLimit: 14401}, 20001},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.p.Validate(); codeOf(err) != tt.want {
				t.Errorf("got %v, want %d", err, tt.want)
			}
		})
	}
	if err := (&UpdateParams{}).StateError(); codeOf(err) != 21220 {
		t.Error(err)
	}
}

func TestNumberValidate(t *testing.T) {
	tests := []struct {
		name string
		n    Number
		want int
	}{
		{"number alone", Number{PhoneNumber: "(415) 867-5309"}, 0},
		{"no number", Number{}, 21421},
		{"a word", Number{PhoneNumber: "bob"}, 21421},
		{"long name", Number{PhoneNumber: "+14158675309", FriendlyName: strings.Repeat("x", 65)}, 20001},
		{"VoiceUrl", Number{PhoneNumber: "+14158675309", VoiceURL: "x"}, 11100},
		{"VoiceMethod", Number{PhoneNumber: "+14158675309", VoiceMethod: "x"}, 21209},
		{"VoiceFallbackUrl", Number{PhoneNumber: "+14158675309", VoiceFallback: "x"}, 11100},
		{"VoiceFallbackMethod", Number{PhoneNumber: "+14158675309", FallbackMethod: "x"}, 21209},
		{"StatusCallback", Number{PhoneNumber: "+14158675309", StatusURL: "http://a_b/"}, 21609},
		{"StatusCallbackMethod", Number{PhoneNumber: "+14158675309", StatusMethod: "x"}, 21209},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.n.Validate(); codeOf(err) != tt.want {
				t.Errorf("got %v, want %d", err, tt.want)
			}
		})
	}
	n := Number{PhoneNumber: "415 867 5309", VoiceMethod: "get"}
	if err := n.Validate(); err != nil {
		t.Fatal(err)
	}
	want := Number{PhoneNumber: "+14158675309", FriendlyName: "(415) 867-5309", VoiceMethod: "GET", FallbackMethod: "POST", StatusMethod: "POST"}
	if n != want {
		t.Errorf("got %+v", n)
	}
}

func TestUpdateApply(t *testing.T) {
	o := Options{
		URL: "https://a/", Method: "GET", FallbackURL: "https://f/", FallbackMethod: "GET",
		StatusURL: "https://s/", StatusMethod: "GET", TimeLimit: 60, Timeout: 30,
	}
	p := UpdateParams{Twiml: "<Response/>", TimeLimit: 90}
	p.Apply(&o)
	want := o
	want.URL, want.Twiml, want.Method, want.TimeLimit = "", "<Response/>", "POST", 90
	if !reflect.DeepEqual(o, want) {
		t.Errorf("got %+v", o)
	}
	p = UpdateParams{URL: "https://b/", Method: "GET", FallbackURL: "https://g/", StatusURL: "https://t/", StatusMethod: "POST"}
	p.Apply(&o)
	want.URL, want.Twiml, want.Method, want.FallbackURL, want.StatusURL, want.StatusMethod = "https://b/", "", "GET", "https://g/", "https://t/", "POST"
	if !reflect.DeepEqual(o, want) {
		t.Errorf("got %+v", o)
	}
}

func TestParseNumber(t *testing.T) {
	tests := []struct {
		in, want string
		like, ok bool
	}{
		{"+14155551212", "+14155551212", true, true},
		{"(415) 867-5309", "+14158675309", true, true},
		{"415-123-4567", "+14151234567", true, true},
		{"415.123.4567", "+14151234567", true, true},
		{"4151234567", "+14151234567", true, true},
		{"1 415 123 4567", "+14151234567", true, true},
		{" 14151234567", "+14151234567", true, true},   // +1… whose plus was not escaped
		{" 442071838750", "+442071838750", true, true}, // the same
		{" 4151234567", "+14151234567", true, true},    // but a stray blank is more likely here
		{"+44 (20) 7183-8750", "+442071838750", true, true},
		{"+15550199", "+15550199", true, true},
		{"442071838750", "", true, false},
		{"24151234567", "", true, false},
		{"911", "", true, false},
		{"+911", "+911", true, false},
		{"+1415+1234567", "", false, false},
		{"1-800-FLOWERS", "", false, false},
		{"+", "", false, false},
		{"", "", false, false},
		{"\u0661\u0662\u0663\u0664\u0665\u0666\u0667", "", false, false},
	}
	for _, tt := range tests {
		if got, like, ok := ParseNumber(tt.in); like != tt.like || ok != tt.ok || (ok && got != tt.want) {
			t.Errorf("ParseNumber(%q) = %q, %t, %t", tt.in, got, like, ok)
		}
	}
}

func TestFormatEndpoint(t *testing.T) {
	for in, want := range map[string]string{
		"+14158675309":  "(415) 867-5309",
		"+442071838750": "+442071838750",
		"+15550199":     "+15550199",
		"+1415867530x":  "+1415867530x",
		"sip:a@h":       "sip:a@h",
		"client:alice":  "client:alice",
		"anonymous":     "anonymous",
		"":              "",
	} {
		if got := FormatEndpoint(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestCountry(t *testing.T) {
	for in, want := range map[string]string{
		"+14158675309": "US", "+14165551234": "CA", "+442071838750": "GB", "+15005551001": "US", "+15550199": "US",
		"+18005551212": "US", "+88312345678": "", "+99912345678": "", "sip:a@h": "", "": "",
	} {
		if got := Country(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestSIPAddress(t *testing.T) {
	tests := []struct {
		in   string
		want int
	}{
		{"sip:bob@example.com", 0},
		{"SIP:bob@example.com", 0},
		{"sip:127.0.0.1:5062", 0},
		{"sip:+15551234567@10.0.0.1;user=phone", 0},
		{"sip:bob@[2001:db8::1]:5060;transport=tcp", 0},
		{"sip:bob@example.com;transport=UDP;lr", 0},
		{"sip:bob;x=1@example.com", 0},
		{"sip:b%20ob@example.com", 0},
		{"sip:bob@example.com?X-Id=7&x-name=A%20B", 0},
		{"sip:bob@example.com?User-to-User=00a1%3Bencoding%3Dhex", 0},
		{"sip:bob@my_host", 0},
		{"sip:", 21211},
		{"sip:@example.com", 21211},
		{"sip:bob@", 21211},
		{"sip:bob@exam ple.com", 21211},
		{"sip:b ob@example.com", 21211},
		{"sip:bob@example.com:0", 21211},
		{"sip:bob@example.com:99999", 21211},
		{"sip:bob@-x.com", 21211},
		{"sip:bob@a..b", 21211},
		{"sip:bob@[::1", 21211},
		{"sip:bob@[127.0.0.1]", 21211},
		{"sip:bob@example.com;transport=sctp", 21211},
		{"sip:bob@example.com;", 21211},
		{"sip:bob@example.com\r\nX: y", 21211},
		{"sip:<bob@example.com>", 21211},
		{"sip:bob@" + strings.Repeat("a.", 120) + "example", 21211},
		{"sip:" + strings.Repeat("a", 239) + "@example.com", 21211},
		{"sip:" + strings.Repeat("a", 238) + "@example.com", 0},
		{"sips:bob@example.com", 0},
		{"sips:bob@example .com", 21211},
		{"sip:bob@example.com;transport=tls", 0},
		{"sip:bob@example.com?X-A=" + strings.Repeat("a", 1020), 21227},
		{"sip:bob@example.com?Contact=x", 21228},
		{"sip:bob@example.com?X-=x", 21228},
		{"sip:bob@example.com?X-A%0d=x", 21228},
		{"sip:bob@example.com?X-A=%0d%0aVia:x", 21229},
		{"sip:bob@example.com?X-A=%zz", 21229},
	}
	for _, tt := range tests {
		got, err := checkSIP(tt.in)
		if codeOf(err) != tt.want {
			t.Errorf("%q: got %v, want %d", tt.in, err, tt.want)
		}
		if err == nil && !strings.HasPrefix(got, "sip:") && !strings.HasPrefix(got, "sips:") {
			t.Errorf("%q became %q", tt.in, got)
		}
	}
	target, headers, err := SplitSIP("sip:bob@h;lr?X-Id=7&X-Sum=1+1%3D2")
	if target != "sip:bob@h;lr" || !reflect.DeepEqual(headers, map[string]string{"X-Id": "7", "X-Sum": "1+1=2"}) || err != nil {
		t.Error(target, headers, err)
	}
}

func FuzzEndpoint(f *testing.F) {
	for _, s := range []string{"+14155551212", "(415) 867-5309", "sip:b@h:1;transport=tcp?X-A=b%20c", "sip:[::1]", "client:x", " 1", "sip:0?X-0= ", "Client: 0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if number, like, ok := ParseNumber(s); ok && (!like || !IsE164(number)) {
			t.Errorf("ParseNumber(%q) = %q", s, number)
		}
		if FormatEndpoint(s) == "" && s != "" {
			t.Errorf("FormatEndpoint(%q) is empty", s)
		}
		p := valid(func(p *CreateParams) { p.To = s })
		if p.Validate() != nil {
			return
		}
		if !hasScheme(p.To, clientScheme) && strings.ContainsAny(p.To, " <>\"\r\n\x00") { // an identity may be a whole name
			t.Errorf("%q became %q", s, p.To)
		}
		again := *p
		if err := again.Validate(); err != nil || again.To != p.To {
			t.Errorf("%q: second time %v %q", s, err, again.To)
		}
		_, headers, err := SplitSIP(p.To)
		if err != nil {
			t.Error(err)
		}
		for _, v := range headers {
			if strings.ContainsAny(v, "\r\n\x00") {
				t.Errorf("%q: header value %q", s, v)
			}
		}
	})
}

func BenchmarkValidate(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if err := valid(nil).Validate(); err != nil {
			b.Fatal(err)
		}
	}
}

func TestCreateParamsOfAClient(t *testing.T) {
	p := CreateParams{To: "CLIENT:alice smith?Order=7&X-Who=b%20c", From: "client:bob", Options: Options{URL: "http://a.test/"}}
	for range 2 {
		if err := p.Validate(); err != nil {
			t.Fatal(err)
		}
	}
	if p.To != "client:alice smith" || p.From != "client:bob" || !maps.Equal(p.Options.Parameters, map[string]string{"X-Order": "7", "X-Who": "b c"}) {
		t.Errorf("%q from %q with %v", p.To, p.From, p.Options.Parameters)
	}
}

func TestPartsOfASIPAddress(t *testing.T) {
	for uri, want := range map[string][2]string{
		"sip:ann@Shop.example": {"ann", "shop.example"}, "sip:a%40b;x=y@shop.example.:5070;transport=tcp?X-A=c@d": {"a@b;x=y", "shop.example"},
		"sip:shop.example": {"", "shop.example"}, "sips:ann:secret@[2001:db8::1]:5061": {"ann", "[2001:db8::1]"},
	} {
		if user, host := SIPAddress(uri); user != want[0] || host != want[1] {
			t.Errorf("%s: %q at %q", uri, user, host)
		}
	}
}
