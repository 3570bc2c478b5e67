package portal

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
)

// reached are the reasons for which every kind that shakes hands can be down.
func reached() []check.Reason {
	return []check.Reason{check.DNSNXDomain, check.DNSServfail, check.DNSTimeout, check.DNSEmpty, check.ConnectRefused, check.ConnectTimeout, check.ConnectUnreachable,
		check.TLSHandshake, check.TLSExpired, check.TLSNotYetValid, check.TLSName, check.TLSUntrusted, check.TLSProtocol, check.Timeout}
}

// answered are those for which a page can be.
func answered() []check.Reason {
	return []check.Reason{check.ConnectReset, check.Protocol, check.Truncated, check.HTTPStatus, check.HTTPRedirect, check.CaptivePortal, check.TooLarge, check.ContentMissing}
}

func urlOf(scheme, address string) string { return scheme + "://" + address + "/" }

func addressOf(_, address string) string { return address }

func TestTLSEveryReason(t *testing.T) {
	a := checktest.NewAuthority(t, "portal.test")
	serve := func(change func(*x509.Certificate)) string {
		return checktest.ServeTLS(t, &tls.Config{Certificates: []tls.Certificate{a.Leaf(nil, change)}}, nil)
	}
	good := serve(nil)
	one := func(o check.Options) check.Options {
		if !o.Has("roots") {
			o["roots"] = a.Roots()
		}
		return o
	}
	acts := append(checktest.Acts(checktest.Unreached(t, a), a, "address", addressOf, nil), []checktest.Act{
		{Name: "up", With: one(check.Options{"address": good}), Want: check.OK},
		{Name: "ends soon", With: one(check.Options{"address": serve(func(c *x509.Certificate) { c.NotAfter = checktest.Epoch().AddDate(0, 0, 5) })}), Want: check.CertExpiring},
		{Name: "weak", With: one(check.Options{"address": checktest.ServeTLS(t, &tls.Config{Certificates: []tls.Certificate{a.Leaf(nil, nil)}, MaxVersion: tls.VersionTLS12}, nil), "min_version": "1.3"}), Want: check.WeakTLS},
		{Name: "slow", With: one(check.Options{"address": good, "slow": time.Nanosecond}), Want: check.Slow},
		{Name: "roots that are not there", With: check.Options{"address": good, "roots": "/no/such.pem"}, Want: check.Misconfigured},
		{Name: "cut off", With: one(check.Options{"address": checktest.Serve(t, func(c net.Conn) {
			_, _ = c.Read(make([]byte, 1))
			if tcp, ok := c.(*net.TCPConn); ok {
				_ = tcp.SetLinger(0)
			}
		})}), Want: check.TLSHandshake},
	}...)
	checktest.Play(t, tlsKind(), reached(), acts)
}

func TestHTTPEveryReason(t *testing.T) {
	a := checktest.NewAuthority(t, "portal.test")
	acts := append(checktest.Acts(checktest.Unreached(t, a), a, "url", urlOf, nil), spokenActs(t, a, nil)...)
	url := pagesOf(t, map[string]string{"/": "Tứ Kỳ", "/closed": "<title>Bảo trì</title>"}, nil)
	login := webServer(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) })
	acts = append(acts, []checktest.Act{
		{Name: "up", With: check.Options{"url": url}, Want: check.OK},
		{Name: "content is missing", With: check.Options{"url": url, "contains": []string{"Hải Dương"}}, Want: check.ContentMissing},
		{Name: "maintenance", With: check.Options{"url": url + "/closed"}, Want: check.ContentForbidden},
		{Name: "login refused", With: check.Options{"url": login, "user": "probe", "password": "x"}, Env: secrets("pw"), Want: check.Auth},
		{Name: "no secret", With: check.Options{"url": login, "user": "probe", "password": "gone"}, Env: secrets("pw"), Want: check.NotConfigured},
		{Name: "slow", With: check.Options{"url": url, "slow": time.Nanosecond}, Want: check.Slow},
		{Name: "stale", With: check.Options{"url": pagesOf(t, map[string]string{"/": "<i>1/1/2026"}, nil), "newest": "i", "newest_max": time.Hour}, Want: check.Stale},
		{Name: "partial", With: check.Options{"url": url, "newest": "i", "newest_max": time.Hour}, Want: check.Partial},
	}...)
	checktest.Play(t, httpKind(), slices.Concat(reached(), answered(), []check.Reason{check.ContentForbidden, check.Auth}), acts)
}

func TestLoginpageEveryReason(t *testing.T) {
	a := checktest.NewAuthority(t, "portal.test")
	acts := append(checktest.Acts(checktest.Unreached(t, a), a, "url", urlOf, nil), spokenActs(t, a, nil)...)
	s := httptest.NewServer(&site{page: loginForm})
	t.Cleanup(s.Close)
	proxy := checktest.Serve(t, func(c net.Conn) {
		if readRequest(c) {
			_, _ = io.WriteString(c, "HTTP/1.1 407 x\r\n\r\n")
		}
	})
	acts = append(acts, []checktest.Act{
		{Name: "up", With: check.Options{"url": s.URL + "/login"}, Want: check.OK},
		{Name: "no form", With: check.Options{"url": webServer(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "x") })}, Want: check.ContentMissing},
		{Name: "a text that must not be", With: check.Options{"url": s.URL + "/login", "absent": []string{"Đăng nhập"}}, Want: check.ContentForbidden},
		{Name: "the proxy wants a login", With: check.Options{"url": s.URL + "/login", "proxy": "http://" + proxy}, Want: check.Auth},
		{Name: "slow", With: check.Options{"url": s.URL + "/login", "slow": time.Nanosecond}, Want: check.Slow},
	}...)
	checktest.Play(t, loginpageKind(), slices.Concat(reached(), answered(), []check.Reason{check.ContentForbidden, check.Auth}), acts)
}

// spokenActs are the answers that break, over plain HTTP.
func spokenActs(t *testing.T, a *checktest.Authority, more check.Options) []checktest.Act {
	t.Helper()
	list := checktest.Spoken(t)
	for i := range list {
		list[i].Plain = true
	}
	return checktest.Acts(list, a, "url", urlOf, more)
}
