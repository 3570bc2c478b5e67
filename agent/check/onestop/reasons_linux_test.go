package onestop

import (
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
)

// unreachable are the reasons for which every kind with a server can be down before it answers, and answered those after it.
func unreachable() []check.Reason {
	return []check.Reason{check.DNSNXDomain, check.DNSServfail, check.DNSTimeout, check.DNSEmpty, check.ConnectRefused, check.ConnectTimeout, check.ConnectUnreachable,
		check.TLSHandshake, check.TLSExpired, check.TLSNotYetValid, check.TLSName, check.TLSUntrusted, check.TLSProtocol, check.Timeout}
}

func answered() []check.Reason {
	return []check.Reason{check.ConnectReset, check.Protocol, check.Truncated, check.HTTPStatus, check.HTTPRedirect, check.CaptivePortal, check.TooLarge, check.ContentMissing, check.Auth}
}

func encounters(t *testing.T, a *checktest.Authority, more check.Options) []checktest.Act {
	t.Helper()
	broken := checktest.Spoken(t)
	for i := range broken {
		broken[i].Plain = true
	}
	url := func(scheme, address string) string { return scheme + "://" + address + "/" }
	return checktest.Acts(append(checktest.Unreached(t, a), broken...), a, "url", url, more)
}

func TestJourneyEveryReason(t *testing.T) {
	a := checktest.NewAuthority(t, "portal.test")
	one := func(more check.Options) []check.Options {
		s := check.Options{"name": "a", "get": "/", "status": []int64{200}}
		maps.Copy(s, more)
		return []check.Options{s}
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(w, "Tứ Kỳ")
	}))
	t.Cleanup(s.Close)
	with := func(o check.Options) check.Options {
		for k, v := range (check.Options{"url": s.URL, "approved": "1", "steps": one(nil)}) {
			if !o.Has(k) {
				o[k] = v
			}
		}
		return o
	}
	acts := append(encounters(t, a, check.Options{"approved": "1", "steps": one(nil)}), []checktest.Act{
		{Name: "up", With: with(check.Options{}), Want: check.OK},
		{Name: "content is missing", With: with(check.Options{"steps": one(check.Options{"contains": []string{"Hải Dương"}})}), Want: check.ContentMissing},
		{Name: "an error", With: with(check.Options{"steps": one(check.Options{"absent": []string{"Tứ Kỳ"}})}), Want: check.ContentForbidden},
		{Name: "account refused", With: with(check.Options{"steps": []check.Options{{"name": "a", "post": "/", "status": []int64{200}, "form": map[string]check.Value{"p": {Secret: "x"}}}}}), Env: env("pw"), Want: check.Auth},
		{Name: "slow", With: with(check.Options{"slow": time.Nanosecond}), Want: check.Slow},
		{Name: "not approved", With: with(check.Options{"approved": ""}), Want: check.NotConfigured},
		{Name: "no longer approved", With: with(check.Options{"approved_until": "2026-11-22"}), Want: check.EvidenceExpired},
	}...)
	checktest.Play(t, journeyKind(), slices.Concat(unreachable(), answered(), []check.Reason{check.ContentForbidden}), acts)
}

func TestFreshnessEveryReason(t *testing.T) {
	a := checktest.NewAuthority(t, "portal.test")
	dir := t.TempDir()
	file := made(t, dir, "x", "x", time.Hour)
	login := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }))
	t.Cleanup(login.Close)
	acts := append(encounters(t, a, check.Options{"max_age": time.Hour}), []checktest.Act{
		{Name: "up", With: check.Options{"file": file, "max_age": 2 * time.Hour}, Want: check.OK},
		{Name: "stale", With: check.Options{"file": file, "max_age": time.Minute}, Want: check.Stale},
		{Name: "gone", With: check.Options{"file": file + "x", "max_age": time.Minute}, Want: check.ContentMissing},
		{Name: "a folder", With: check.Options{"file": dir, "max_age": time.Minute}, Want: check.NotSupported},
		{Name: "account refused", With: check.Options{"url": login.URL, "user": "u", "password": "x", "max_age": time.Hour}, Env: env("pw"), Want: check.Auth},
	}...)
	// The mailbox's own reason is played in package mail.
	checktest.Play(t, freshnessKind(), slices.Concat(unreachable(), answered()), acts)
}
