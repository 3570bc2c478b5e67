package web

import (
	"fmt"
	"net"
	"net/url"
	"strings"

	"egovmon/agent/check/reach"
)

// ParseURL reads a URL that can be fetched; its host is in ASCII, and it has no fragment.
func ParseURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil {
		return nil, fmt.Errorf("%q is no URL: write it as https://host/path", s)
	}
	u.Scheme = strings.ToLower(u.Scheme)
	if u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("scheme %q: write http:// or https://", u.Scheme)
	}
	if u.Hostname() == "" {
		return nil, fmt.Errorf("%q has no host: write it as https://host/path", s)
	}
	host, err := reach.ASCIIHost(u.Hostname())
	if err != nil {
		return nil, err
	}
	if host != u.Hostname() {
		u.Host = strings.Replace(u.Host, u.Hostname(), host, 1)
	}
	u.Fragment, u.RawFragment = "", ""
	return u, nil
}

// Shown is a URL as it may stand in a detail: without query, fragment and user, which may hold secrets.
func Shown(u *url.URL) string {
	s := u.Scheme + "://" + u.Host + u.EscapedPath()
	if len(s) > 120 {
		s = s[:120] + "…"
	}
	return s
}

// Kin reports whether two host names are of one site: equal, or one below the other (www.example.vn, example.vn).
func Kin(a, b string) bool {
	a, b = strings.ToLower(a), strings.ToLower(b)
	return a == b || strings.HasSuffix(a, "."+b) || strings.HasSuffix(b, "."+a)
}

// HostPort returns a URL's host:port, with the scheme's port when it has none.
func HostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		switch u.Scheme {
		case "https":
			port = "443"
		case "socks5", "socks5h":
			port = "1080"
		default:
			port = "80"
		}
	}
	return net.JoinHostPort(u.Hostname(), port)
}
