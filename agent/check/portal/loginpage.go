package portal

import (
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/reach"
	"egovmon/agent/check/web"
)

func loginpageKind() check.Kind {
	base := httpKind()
	pool := &sync.Pool{New: func() any { return new(scratch) }}
	return check.Kind{
		Name:    "loginpage",
		Family:  "portal",
		Summary: "A login page: the form with its fields, the captcha image and the host of single sign-on; nothing is submitted.",
		Options: slices.Concat(loginpageOptions(), reach.TLSOptions()),
		Facts: append([]check.FactDef{
			{Name: "forms_count", Help: "forms on the page", Max: web.MaxForms},
			{Name: "fields_count", Help: "controls of the login form", Max: web.MaxFields},
			{Name: "captcha_bytes", Help: "size of the captcha image", Max: maxMaxBytes},
		}, base.Facts...),
		Phases: base.Phases,
		Target: base.Target,
		New: func(o check.Options, env check.Env) (check.Func, error) {
			c, err := newLoginpage(o, env)
			if err != nil {
				return nil, err
			}
			c.page.pool = pool
			return c.run, nil
		},
	}
}

// loginpageOptions are those of http that fit a page that anybody may see, and the login page's own.
func loginpageOptions() []check.Option {
	own := []check.Option{
		{Name: "fields", Type: check.TypeStrings, Max: 32, Help: "Names of controls that must all stand in one form, as the page's HTML has them, e.g. [user, captcha]."},
		{Name: "password", Type: check.TypeBool, Default: "true",
			Help: "Whether that form must have a password input too; false for a login that asks for it on its next page."},
		{Name: "captcha", Type: check.TypeString,
			Help: "The captcha image: its URL or absolute path, or a text that stands in its src, id, name, class or alt on the page."},
		{Name: "captcha_min_bytes", Type: check.TypeBytes, Default: "100", Max: maxMaxBytes, Unit: "bytes", Help: "A captcha image smaller than this is truncated."},
		{Name: "sso_host", Type: check.TypeHost, Help: "The host where the redirections must end, e.g. that of the identity provider; it may be of another site."},
	}
	left := []string{"method", "user", "password", "min_bytes", "client_cert", "client_key", "client_key_secret"}
	theirs := slices.DeleteFunc(httpOptions(), func(o check.Option) bool { return slices.Contains(left, o.Name) })
	return slices.Concat(theirs[:1], own, theirs[1:])
}

// A loginpageCheck is one check of the kind loginpage.
type loginpageCheck struct {
	page         *httpCheck
	fields       []string
	password     bool
	captcha      string
	captchaBytes int64
}

func newLoginpage(o check.Options, env check.Env) (*loginpageCheck, error) {
	asked := maps.Clone(o)
	asked["method"] = http.MethodGet
	delete(asked, "password") // here it says what the form has, there it is a secret
	page, err := newHTTP(asked, env)
	if err != nil {
		return nil, err
	}
	page.elements = true
	c := &loginpageCheck{page: page, fields: o.Strings("fields"), password: o.Bool("password"), captcha: o.String("captcha"), captchaBytes: o.Int("captcha_min_bytes")}
	if slices.Contains(c.fields, "") {
		return nil, fmt.Errorf("option \"fields\": an empty name: write the name of an input, or leave it out")
	}
	if len(c.fields) == 0 && !c.password {
		return nil, fmt.Errorf("option \"fields\": nothing to look for: name at least one field, or leave out password: false")
	}
	if s := o.String("sso_host"); s != "" {
		if page.sso, err = reach.ASCIIHost(s); err != nil {
			return nil, fmt.Errorf("option \"sso_host\": %w", err)
		}
	}
	if strings.Contains(c.captcha, "://") {
		u, err := web.ParseURL(c.captcha)
		if err != nil {
			return nil, fmt.Errorf("option \"captcha\": %w", err)
		}
		c.captcha = u.String()
	}
	return c, nil
}

// run looks at the page once.
func (c *loginpageCheck) run(ctx context.Context) check.Result {
	if _, ok := ctx.Deadline(); !ok && c.page.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.page.timeout)
		defer cancel()
	}
	begin := time.Now()
	s, _ := c.page.pool.Get().(*scratch)
	jar, _ := cookiejar.New(nil) // its error is always nil
	f := fetch{c: c.page, scratch: s, jar: jar}
	bad := f.follow(ctx)
	worn := faultOf(c.page.policy.Degraded(&f.peer))
	if bad == nil {
		bad = c.judge(&f)
	}
	if bad == nil && c.captcha != "" {
		bad = c.image(ctx, &f)
	}
	bad = bad.unlessCalledOff(ctx)
	total := time.Since(begin)
	s.release()
	c.page.pool.Put(s)
	if bad == nil {
		bad = worn
	}
	if limit := c.page.slow; bad == nil && limit > 0 && total > limit {
		bad = &fault{check.Slow, fmt.Sprintf("%s, the limit is %s", total.Round(time.Millisecond), limit)}
	}
	r := bad.result()
	f.peer.Facts(&f.facts)
	r.Phases, r.Facts = f.spans.phases(total), f.facts
	return r
}

// judge looks for the login form on the page that came, and at the host it came from.
func (c *loginpageCheck) judge(f *fetch) *fault {
	if c.page.sso != "" && !strings.EqualFold(f.at.Hostname(), c.page.sso) {
		return &fault{check.HTTPRedirect, fmt.Sprintf("the login ends at %s, want host %s", web.Shown(f.at), c.page.sso)}
	}
	f.facts.Add("forms_count", float64(len(f.seen.Forms)))
	if len(f.seen.Forms) == 0 {
		return &fault{check.ContentMissing, "the page has no form; one that only a script makes cannot be seen"}
	}
	lacks := ""
	for i, form := range f.seen.Forms {
		lack := c.lack(form)
		if lack == "" {
			f.facts.Add("fields_count", float64(len(form.Fields)))
			return nil
		}
		if i == 0 || form.HasType("password") {
			lacks = lack
		}
	}
	return &fault{check.ContentMissing, fmt.Sprintf("none of %d forms is the login: %s", len(f.seen.Forms), lacks)}
}

// lack names what a form has not; "" when it is the one.
func (c *loginpageCheck) lack(form web.Form) string {
	for _, name := range c.fields {
		if !form.Has(name) {
			return fmt.Sprintf("field %q is missing", name)
		}
	}
	if c.password && !form.HasType("password") {
		return "an input of type password is missing"
	}
	return ""
}

// image loads the captcha with the cookies of the page, whose facts it leaves as they are.
func (c *loginpageCheck) image(ctx context.Context, f *fetch) *fault {
	source := c.source(f.seen.Images)
	if source == "" {
		return &fault{check.ContentMissing, fmt.Sprintf("no image with %q on the page, of %d", c.captcha, len(f.seen.Images))}
	}
	if len(source) >= 5 && strings.EqualFold(source[:5], "data:") {
		return c.inline(f, source[5:])
	}
	u, err := f.at.Parse(source)
	if err == nil {
		u, err = web.ParseURL(u.String())
	}
	if err != nil {
		return &fault{check.ContentMissing, "the captcha image has no address that can be loaded: " + err.Error()}
	}
	u.User = nil
	if !c.near(u, f.at) {
		return &fault{check.HTTPRedirect, fmt.Sprintf("the captcha image is at another site, %s: allow it with other_hosts: true", web.Shown(u))}
	}
	// The image is a page of its own, without what the login page must hold.
	one := *c.page
	one.url, one.elements, one.page, one.minBytes = u, false, assertions{headers: imageHeader()}, c.captchaBytes
	one.status = []int64{http.StatusOK}
	if !sameHost(u, c.page.url) {
		one.host, one.header = "", c.page.header.Clone()
		one.header.Del("Authorization")
		one.header.Del("Cookie")
	}
	g := fetch{c: &one, scratch: f.scratch, jar: f.jar, spans: f.spans}
	f.scratch.text.Reset()
	bad := g.follow(ctx)
	f.spans = g.spans
	if g.last.body >= 0 {
		f.facts.Add("captcha_bytes", float64(g.last.body))
	}
	if bad != nil {
		return &fault{bad.reason, "captcha image: " + bad.detail}
	}
	return nil
}

// near reports whether an address may be loaded along with the page.
func (c *loginpageCheck) near(u, page *url.URL) bool {
	return c.page.others || web.Kin(u.Hostname(), page.Hostname()) || web.Kin(u.Hostname(), c.page.url.Hostname())
}

// source returns where the captcha image is, "" when the page has none.
func (c *loginpageCheck) source(images []web.Image) string {
	if strings.HasPrefix(c.captcha, "/") || strings.Contains(c.captcha, "://") {
		return c.captcha
	}
	for _, i := range images {
		if strings.Contains(i.Source, c.captcha) || strings.Contains(i.Names, c.captcha) {
			return i.Source
		}
	}
	return ""
}

// inline judges an image that stands in the page itself (RFC 2397), without its scheme.
func (c *loginpageCheck) inline(f *fetch, source string) *fault {
	kind, data, ok := strings.Cut(source, ",")
	if !ok || !strings.HasPrefix(strings.ToLower(kind), "image/") {
		return &fault{check.ContentMissing, "captcha image: the data: address holds no image"}
	}
	n := len(data)
	if strings.HasSuffix(strings.ToLower(kind), ";base64") {
		b, err := base64.StdEncoding.DecodeString(data)
		if err != nil {
			return &fault{check.ContentMissing, "captcha image: the data: address is no base64"}
		}
		n = len(b)
	}
	f.facts.Add("captcha_bytes", float64(n))
	if int64(n) < c.captchaBytes {
		return &fault{check.Truncated, fmt.Sprintf("captcha image: %d bytes, want at least %d", n, c.captchaBytes)}
	}
	return nil
}

// imageHeader is the rule that an answer is an image.
func imageHeader() []headerRule {
	return []headerRule{{"Content-Type", regexp.MustCompile(`(?i)^\s*image/`)}}
}
