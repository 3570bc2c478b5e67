package portal

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"egovmon/agent/check"
	"egovmon/agent/check/lookup"
	"egovmon/agent/check/web"
)

// maxAnchors is how many links of a page are looked at.
const maxAnchors = 500

// must makes a selector of this program's own.
func must(text string) *web.Selector {
	s, err := web.ParseSelector(text)
	if err != nil {
		panic(err)
	}
	return s
}

func anchors() *web.Selector { return must("a@href") }

func feedDates() *web.Selector { return must("pubdate, updated, published, lastmod") }

func locations() *web.Selector { return must("loc") }

// tryLinks asks for a few of the links to the same host, others at each run, and for none that robots.txt forbids.
func (c *httpCheck) tryLinks(ctx context.Context, f *fetch) *fault {
	texts := f.view.links
	if c.more.sitemap != nil {
		one := c.side(c.more.sitemap)
		one.keep = true
		g, bad := f.visit(ctx, one)
		if bad != nil {
			return &fault{check.Partial, "the sitemap: " + bad.detail}
		}
		texts = locations().Find(g.kept, maxAnchors)
	}
	all := sameSite(f.at, texts)
	if len(all) == 0 {
		return &fault{check.Partial, "no link to the same host is found"}
	}
	denied := c.robots(ctx, f)
	all = slices.DeleteFunc(all, func(u *url.URL) bool { return denied(u) })
	tried, broken, first := 0, 0, ""
	k := min(c.more.links, len(all))
	from := 0
	if k > 0 {
		from = int(c.more.now().Unix()/60) * k % len(all)
	}
	for i := range k {
		u := all[(from+i)%len(all)]
		one := c.side(u)
		one.method, one.anyStatus = http.MethodHead, true
		part, cancel := lookup.Share(ctx, k-i+1)
		g, bad := f.visit(part, one)
		cancel()
		if ctx.Err() != nil {
			break
		}
		tried++
		if why := brokenLink(g.last.status, bad); why != "" {
			if broken++; first == "" {
				first = web.Shown(u) + ": " + why
			}
		}
	}
	f.facts.Add("links_count", float64(tried))
	f.facts.Add("links_broken_count", float64(broken))
	if broken > 0 {
		return &fault{check.Partial, fmt.Sprintf("%d of %d links lead nowhere: %s", broken, tried, first)}
	}
	return nil
}

// brokenLink says why a link leads nowhere, "" when it does not. That a page wants a login, or no HEAD, is no break.
func brokenLink(status int, bad *fault) string {
	switch {
	case bad != nil && (bad.reason == check.HTTPRedirect || bad.reason.State() == check.Unknown):
		return ""
	case bad != nil:
		return string(bad.reason)
	case status == http.StatusNotFound, status == http.StatusGone, status >= 500 && status != http.StatusNotImplemented:
		return fmt.Sprintf("status %d", status)
	}
	return ""
}

// sameSite resolves links, and keeps once each those that lead to pages of the same host.
func sameSite(at *url.URL, texts []string) []*url.URL {
	var all []*url.URL
	seen := map[string]bool{}
	for _, text := range texts {
		u, err := at.Parse(strings.TrimSpace(text))
		if err != nil || u.Host != at.Host || u.Scheme != "http" && u.Scheme != "https" || u.User != nil {
			continue
		}
		u.Fragment, u.RawFragment = "", ""
		if s := u.String(); len(s) > 2048 || seen[s] || s == at.String() || acts(u) {
			continue
		}
		seen[u.String()] = true
		all = append(all, u)
	}
	return all
}

// acts reports whether a link sounds as if following it did something.
func acts(u *url.URL) bool {
	s := strings.ToLower(u.Path + "?" + u.RawQuery)
	return slices.ContainsFunc([]string{"logout", "signout", "dang-xuat", "dangxuat", "delete", "remove", "xoa", "download", "export"}, func(w string) bool { return strings.Contains(s, w) })
}

// robots reads robots.txt (RFC 9309). Without one all is allowed; while it cannot be had, nothing is.
func (c *httpCheck) robots(ctx context.Context, f *fetch) func(*url.URL) bool {
	u := &url.URL{Scheme: f.at.Scheme, Host: f.at.Host, Path: "/robots.txt"}
	one := c.side(u)
	one.keep, one.anyStatus = true, true
	part, cancel := lookup.Share(ctx, 3)
	g, bad := f.visit(part, one)
	cancel()
	switch {
	case bad != nil, g.last.status >= 500:
		return func(*url.URL) bool { return true }
	case g.last.status != http.StatusOK:
		return func(*url.URL) bool { return false }
	}
	product, _, _ := strings.Cut(c.header.Get("User-Agent"), " ")
	product, _, _ = strings.Cut(product, "/")
	rules := robotRules(string(g.kept), strings.ToLower(product))
	return func(u *url.URL) bool {
		path := u.EscapedPath()
		if u.RawQuery != "" {
			path += "?" + u.RawQuery
		}
		longest, deny := -1, false
		for _, r := range rules {
			if len(r.path) >= longest && r.fits(path) {
				// Of two of one length the one that allows counts.
				deny = !r.allow && (len(r.path) > longest || deny)
				longest = len(r.path)
			}
		}
		return deny
	}
}

// A robotRule is one line of robots.txt.
type robotRule struct {
	allow bool
	path  string
}

// fits reports whether the rule is for a path; * stands for anything, $ at the end for the end.
func (r robotRule) fits(path string) bool {
	want, end := strings.CutSuffix(r.path, "$")
	parts := strings.Split(want, "*")
	rest, ok := strings.CutPrefix(path, parts[0])
	if !ok {
		return false
	}
	for _, p := range parts[1:] {
		i := strings.Index(rest, p)
		if i < 0 {
			return false
		}
		rest = rest[i+len(p):]
	}
	return !end || rest == "" || strings.HasSuffix(want, "*")
}

// robotRules are the rules for a product, those for all when there are none for it.
func robotRules(text, product string) []robotRule {
	var own, every []robotRule
	mine, all, agents := false, false, false
	named := false
	for line := range strings.Lines(text[:min(len(text), 512<<10)]) {
		line, _, _ = strings.Cut(line, "#")
		key, value, ok := strings.Cut(line, ":")
		if !ok || len(own)+len(every) > 1000 {
			continue
		}
		key, value = strings.ToLower(strings.TrimSpace(key)), strings.TrimSpace(value)
		if key == "user-agent" {
			if !agents {
				mine, all = false, false
			}
			agents = true
			mine = mine || strings.EqualFold(value, product)
			all = all || value == "*"
			named = named || mine
			continue
		}
		if key != "allow" && key != "disallow" {
			continue
		}
		agents = false
		if value == "" {
			continue
		}
		r := robotRule{key == "allow", value}
		if mine {
			own = append(own, r)
		}
		if all {
			every = append(every, r)
		}
	}
	if named {
		return own
	}
	return every
}
