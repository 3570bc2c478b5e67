package portal

import (
	"fmt"
	"net/url"
	"strings"

	"golang.org/x/net/idna"
)

// asciiHost returns a host name as it goes over the wire (RFC 5891), addresses as they are.
func asciiHost(host string) (string, error) {
	ascii := true
	for i := range len(host) {
		ascii = ascii && host[i] < 0x80
	}
	if ascii {
		return host, nil
	}
	s, err := idna.Lookup.ToASCII(host)
	if err != nil {
		return "", fmt.Errorf("%q is no host name: %w", host, err)
	}
	return s, nil
}

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
