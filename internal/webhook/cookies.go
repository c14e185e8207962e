package webhook

import (
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"sync"

	"golang.org/x/net/publicsuffix"
)

// Bounds of the cookies one call keeps; the oldest go first (RFC 6265 section 6.1 asks for 50 a domain and
// 4096 bytes each).
const (
	maxCookies     = 64
	maxCookie      = 4 << 10
	maxCookieBytes = 16 << 10
)

// cookies are those of one call. Most calls have none, and then no jar.
type cookies struct {
	mu    sync.Mutex
	jar   *cookiejar.Jar
	kept  []cookie // oldest first
	bytes int
}

// cookie is what it takes to find one in the jar again.
type cookie struct {
	from        *url.URL // without its query
	http.Cookie          // without its value
	size        int
}

func (c *cookies) of(u *url.URL) []*http.Cookie {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.jar == nil {
		return nil
	}
	return c.jar.Cookies(u)
}

func (c *cookies) set(u *url.URL, list []*http.Cookie) {
	if len(list) == 0 {
		return
	}
	from := &url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.jar == nil {
		// New fails only for a bad option, and there is none.
		c.jar, _ = cookiejar.New(&cookiejar.Options{PublicSuffixList: publicsuffix.List})
	}
	for _, k := range list {
		n := cookie{from: from, Cookie: http.Cookie{Name: k.Name, Path: k.Path, Domain: k.Domain, MaxAge: -1}}
		n.size = len(from.Host) + len(from.Path) + len(k.Name) + len(k.Value) + len(k.Path) + len(k.Domain)
		if n.size > maxCookie {
			continue
		}
		c.jar.SetCookies(from, []*http.Cookie{k})
		if i := slices.IndexFunc(c.kept, n.replaces); i >= 0 {
			c.bytes -= c.kept[i].size
			c.kept = slices.Delete(c.kept, i, i+1)
		}
		if k.MaxAge >= 0 {
			c.kept = append(c.kept, n)
			c.bytes += n.size
		}
	}
	for len(c.kept) > maxCookies || c.bytes > maxCookieBytes {
		old := &c.kept[0]
		c.jar.SetCookies(old.from, []*http.Cookie{&old.Cookie})
		c.bytes -= old.size
		c.kept = slices.Delete(c.kept, 0, 1)
	}
}

// replaces reports whether a jar puts n in the place of old; when in doubt, both count.
func (n *cookie) replaces(old cookie) bool {
	return n.Name == old.Name && n.Domain == old.Domain && n.Path == old.Path && n.from.Host == old.from.Host &&
		(n.from.Path == old.from.Path || n.Path != "" && n.Path[0] == '/')
}
