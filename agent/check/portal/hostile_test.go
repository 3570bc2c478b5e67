package portal

import (
	"maps"
	"sync"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
)

// Whatever a page is, looking at its parts costs bounded time and memory and ends with its reason.
func TestHostilePages(t *testing.T) {
	url := checktest.HostilePages(t)
	all := check.Options{"select": map[string]string{"div p.x:not(.y) > i ~ b": ""}, "changed": 0.5, "newest": "p.x, p .y", "newest_max": time.Hour}
	small := check.Options{"max_bytes": int64(64 << 10)}
	named := check.Options{"fields": []string{"user"}}
	pages, logins := httpKind(), loginpageKind()
	var slow []waiting
	for _, tt := range []struct {
		kind   check.Kind
		path   string
		with   check.Options
		reason check.Reason
		detail string
	}{
		{pages, "/huge", all, check.TooLarge, "more than"},
		{pages, "/huge", nil, check.TooLarge, "more than"},
		{pages, "/deep", all, check.ContentMissing, "no element"},
		{pages, "/deep", check.Options{"changed": 0.5}, check.OK, ""},
		{pages, "/links", check.Options{"links": int64(5)}, check.Partial, "links"},
		{pages, "/words", check.Options{"changed": 0.5}, check.OK, ""},
		{pages, "/nested", check.Options{"json": map[string]string{"$.a.a.b": ""}}, check.Protocol, "not JSON"},
		{pages, "/list", check.Options{"json": map[string]string{"$.data[*].at": ""}}, check.TooLarge, "more than"},
		{pages, "/bomb", all, check.TooLarge, "more than"},
		{pages, "/bomb", nil, check.TooLarge, "more than"},
		{pages, "/hollow", small, check.TooLarge, "more bytes than may come"},
		{pages, "/cookies", nil, check.OK, ""},
		{pages, "/head", nil, check.TooLarge, "more bytes than may come"},
		{pages, "/loop", nil, check.HTTPRedirect, "more than 10"},
		{pages, "/far/0", nil, check.HTTPRedirect, "more than 10"},
		{pages, "/drops/head", nil, check.Timeout, "waiting for the answer"},
		{pages, "/drops/body", nil, check.Timeout, "reading the body"},

		{logins, "/huge", nil, check.TooLarge, "more than"},
		{logins, "/deep", named, check.OK, ""},
		{logins, "/forms", named, check.ContentMissing, "none of 64 forms"},
		{logins, "/fields", named, check.ContentMissing, `field "user" is missing`},
		{logins, "/images", check.Options{"captcha": "cap"}, check.ContentMissing, "of 64"},
		{logins, "/tag", nil, check.ContentMissing, "no form"},
		{logins, "/bomb", nil, check.TooLarge, "more than"},
		{logins, "/hollow", small, check.TooLarge, "more bytes than may come"},
		{logins, "/cookies", named, check.OK, ""},
		{logins, "/head", nil, check.TooLarge, "more bytes than may come"},
		{logins, "/loop", nil, check.HTTPRedirect, "more than 10"},
		{logins, "/far/0", nil, check.HTTPRedirect, "more than 10"},
		{logins, "/drops/head", nil, check.Timeout, "waiting for the answer"},
		{logins, "/drops/body", nil, check.Timeout, "reading the body"},
		// The page is good, its image is not.
		{logins, "/cookies", check.Options{"captcha": "/huge"}, check.ContentMissing, "captcha image: header Content-Type"},
		{logins, "/cookies", check.Options{"captcha": "/loop"}, check.HTTPRedirect, "captcha image: more than 10"},
	} {
		o := check.Options{"url": url + tt.path}
		maps.Copy(o, tt.with)
		if tt.reason == check.Timeout {
			slow = append(slow, waiting{tt.kind, o, want{tt.reason, tt.detail, nil}})
			continue
		}
		t.Run(tt.kind.Name+tt.path, func(t *testing.T) {
			f := checktest.NewFunc(t, tt.kind, o, check.Env{})
			checktest.Bounded(t, 128<<20, func() { want{tt.reason, tt.detail, nil}.check(t, f(t.Context())) })
		})
	}
	images := checktest.HostileImages(t)
	for path, detail := range map[string]string{"/drops/head": "captcha image: waiting", "/drops/body": "captcha image: reading the body"} {
		slow = append(slow, waiting{logins, check.Options{"url": images, "captcha": path}, want{check.Timeout, detail, nil}})
	}
	playWaiting(t, slow)
}

// A waiting is a run that ends with its time.
type waiting struct {
	kind check.Kind
	with check.Options
	want want
}

// playWaiting plays such runs beside one another.
func playWaiting(t *testing.T, list []waiting) {
	t.Helper()
	results := make([]check.Result, len(list))
	checktest.Bounded(t, 64<<20, func() {
		var g sync.WaitGroup
		for i, x := range list {
			f := checktest.NewFunc(t, x.kind, x.with, check.Env{Timeout: time.Second})
			g.Go(func() { results[i] = f(t.Context()) })
		}
		g.Wait()
	})
	for i, x := range list {
		t.Run(x.kind.Name+" "+x.want.detail, func(t *testing.T) { x.want.check(t, results[i]) })
	}
}

// An image that never ends, and one that is a bomb.
func TestHostileCaptcha(t *testing.T) {
	url := checktest.HostileImages(t)
	for path, wanted := range map[string]want{
		"/huge": {check.TooLarge, "captcha image: the body has more than", nil}, "/bomb": {check.TooLarge, "captcha image: the body has more than", nil},
	} {
		f := checktest.NewFunc(t, loginpageKind(), check.Options{"url": url, "captcha": path}, check.Env{})
		checktest.Bounded(t, 128<<20, func() { wanted.check(t, f(t.Context())) })
	}
}
