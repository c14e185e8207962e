package twiml

import (
	"net/url"
	"testing"
)

func TestResolve(t *testing.T) {
	const base = "https://x.example:8443/app/voice?call=1#rc=2"
	for _, tt := range []struct{ base, ref, want string }{
		{base, "", base},
		{base, "  \n", base},
		{base, "menu", "https://x.example:8443/app/menu"},
		{base, " menu ", "https://x.example:8443/app/menu"},
		{base, "/menu", "https://x.example:8443/menu"},
		{base, "../menu", "https://x.example:8443/menu"},
		{base, "?a=b", "https://x.example:8443/app/voice?a=b"},
		{base, "menu#rc=0", "https://x.example:8443/app/menu#rc=0"},
		{base, "//y.example/z", "https://y.example/z"},
		{base, "http://y.example", "http://y.example"},
		{base, "HTTP://Y.example/Z", "HTTP://Y.example/Z"},
		{base, "https://y.example/a%2Bb+c?d=%2b+e&f=%7E", "https://y.example/a%2Bb+c?d=%2b+e&f=%7E"},
		{base, "a%2Bb+c;p=1/@:!$'(),?d=%2b+e", "https://x.example:8443/app/a%2Bb+c;p=1/@:!$'(),?d=%2b+e"},
		{base, "a%2Fb", "https://x.example:8443/app/a%2Fb"},
		{base, "a b%2B?c=d e", "https://x.example:8443/app/a%20b%2B?c=d%20e"},
		{base, "grüße%2B{id}", "https://x.example:8443/app/gr%C3%BC%C3%9Fe%2B%7Bid%7D"},
		{base, "?", "https://x.example:8443/app/voice?"},
		{"https://x.example/a%2Fb/c%2Bd", "e", "https://x.example/a%2Fb/e"},
		{"https://user:p%40ss@x.example/a", "b", "https://user:p%40ss@x.example/b"},
		{"https://x.example", "b", "https://x.example/b"},
		{"https://x.example/?q=%", "https://x.example/?q=%", "https://x.example/?q=%"},
		{"", "https://x.example/a", "https://x.example/a"},
		{"https://x.example/a", "http://[::1]:80/b", "http://[::1]:80/b"},
	} {
		got, err := Resolve(tt.base, tt.ref)
		if err != nil || got != tt.want {
			t.Errorf("Resolve(%q, %q) = %q, %v; want %q", tt.base, tt.ref, got, err, tt.want)
		}
	}
	for _, tt := range []struct{ base, ref string }{
		{"", ""}, {"", "/a"}, {base, "ftp://x/a"}, {base, "mailto:a@b"}, {base, "http://"}, {base, "http:///a"},
		{base, "http:a"}, {base, "/%zz"}, {base, "http://x:port/"}, {"not a url", "a"}, {"ftp://x/", "a"}, {base, "http://[::1/"},
	} {
		if got, err := Resolve(tt.base, tt.ref); code(err) != 11100 {
			t.Errorf("Resolve(%q, %q) = %q, %v; want error 11100", tt.base, tt.ref, got, err)
		}
	}
}

func FuzzResolve(f *testing.F) {
	f.Add("https://x.example/a?b", "c%2Bd")
	f.Add("http://[::1]:8080/%41", "../ü?#rc=2")
	f.Fuzz(func(t *testing.T, base, ref string) {
		got, err := Resolve(base, ref)
		if err != nil {
			if code(err) != 11100 {
				t.Fatal(err)
			}
			return
		}
		u, err := url.Parse(got)
		if err != nil || u.Host == "" {
			t.Fatalf("%q: %v", got, err)
		}
		again, err := Resolve(base, got)
		if err != nil || again != got {
			t.Fatalf("Resolve is not stable: %q, then %q, %v", got, again, err)
		}
	})
}
