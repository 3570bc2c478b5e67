package web

import (
	"net/http"
	"net/url"
)

// Bounds of the cookies of one site. RFC 6265, section 6.1, asks for 50 of 4 KiB; servers take no more than this in a request.
const (
	maxCookies     = 64       // of one answer, and of one request
	maxCookieBytes = 16 << 10 // likewise
)

// KeepCookies puts the cookies of an answer into a jar. Of more than a site may set, the first are kept.
func KeepCookies(jar http.CookieJar, from *url.URL, resp *http.Response) {
	if len(resp.Header["Set-Cookie"]) == 0 {
		return
	}
	few := &http.Response{Header: http.Header{"Set-Cookie": resp.Header["Set-Cookie"][:min(len(resp.Header["Set-Cookie"]), maxCookies)]}}
	jar.SetCookies(from, bounded(few.Cookies()))
}

// SendCookies adds the cookies of a jar to a request that has none from it yet.
func SendCookies(jar http.CookieJar, req *http.Request) {
	for _, c := range bounded(jar.Cookies(req.URL)) {
		req.AddCookie(c)
	}
}

func bounded(list []*http.Cookie) []*http.Cookie {
	list = list[:min(len(list), maxCookies)]
	sum := 0
	for i, c := range list {
		if sum += len(c.Name) + len(c.Value); sum > maxCookieBytes {
			return list[:i]
		}
	}
	return list
}
