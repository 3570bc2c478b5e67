package portal

import (
	"maps"
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
		{logins, "/deep", check.Options{"captcha": "/huge"}, check.ContentMissing, "captcha image: header Content-Type"},
		{logins, "/deep", check.Options{"captcha": "/loop"}, check.HTTPRedirect, "captcha image: more than 10"},
		{logins, "/deep", check.Options{"captcha": "/drops/head"}, check.Timeout, "captcha image: waiting"},
	} {
		t.Run(tt.kind.Name+tt.path, func(t *testing.T) {
			o := check.Options{"url": url + tt.path}
			maps.Copy(o, tt.with)
			e := check.Env{}
			if tt.reason == check.Timeout {
				e.Timeout = 300 * time.Millisecond
			}
			f := checktest.NewFunc(t, tt.kind, o, e)
			checktest.Bounded(t, 128<<20, func() { want{tt.reason, tt.detail, nil}.check(t, f(t.Context())) })
		})
	}
}

// An image that never ends, one that is a bomb, and one that comes by drops.
func TestHostileCaptcha(t *testing.T) {
	url := checktest.HostileImages(t)
	for path, wanted := range map[string]want{
		"/huge": {check.TooLarge, "captcha image: the body has more than", nil}, "/bomb": {check.TooLarge, "captcha image: the body has more than", nil},
		"/drops/body": {check.Timeout, "captcha image: reading the body", nil},
	} {
		e := check.Env{}
		if wanted.reason == check.Timeout {
			e.Timeout = 300 * time.Millisecond
		}
		f := checktest.NewFunc(t, loginpageKind(), check.Options{"url": url, "captcha": path}, e)
		checktest.Bounded(t, 128<<20, func() { wanted.check(t, f(t.Context())) })
	}
}
