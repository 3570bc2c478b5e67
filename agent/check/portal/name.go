package portal

import (
	"net/url"
	"strings"
)

// shown is a URL as it may stand in a detail: without query, fragment and user, which may hold secrets.
func shown(u *url.URL) string {
	s := u.Scheme + "://" + u.Host + u.EscapedPath()
	if len(s) > 120 {
		s = s[:120] + "…"
	}
	return s
}

// kin reports whether two host names are of one site: equal, or one below the other (www.example.vn, example.vn).
func kin(a, b string) bool {
	a, b = strings.ToLower(a), strings.ToLower(b)
	return a == b || strings.HasSuffix(a, "."+b) || strings.HasSuffix(b, "."+a)
}
