package onestop

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"egovmon/agent/check"
	"egovmon/agent/check/reach"
	"egovmon/agent/check/web"
)

const (
	maxSteps    = 20
	maxRequests = 5 // redirections of one step
	maxMaxBytes = 64 << 20
	maxValue    = 4096 // bytes of what a step extracts
)

func journeyKind() check.Kind {
	var phases []string
	for i := range maxSteps {
		phases = append(phases, phaseName(i))
	}
	return check.Kind{
		Name:    "journey",
		Family:  "onestop",
		Summary: "Several pages in a row as a person goes, with cookies, form tokens and a monitoring account; it stops at the first step that fails.",
		Options: slices.Concat(journeyOptions(), reach.TLSOptions()),
		Facts: slices.Concat([]check.FactDef{
			{Name: "steps_passed_count", Help: "steps that went well", Max: maxSteps},
			{Name: "requests_count", Help: "requests sent, redirections with them", Max: maxSteps * (maxRequests + 1)},
			{Name: "status_code", Help: "status of the last answer", Min: 100, Max: 999},
			{Name: "screenshot_bytes", Help: "size of the picture that a browser's journey left as evidence", Max: check.MaxNotes},
			reach.FamilyFact(),
			reach.AddressFact(),
		}, reach.TLSFacts()),
		Phases: append(phases, "total"),
		Target: journeyTarget,
		New: func(o check.Options, env check.Env) (check.Func, error) {
			j, err := newJourney(o, env)
			if err != nil {
				return nil, err
			}
			return j.run, nil
		},
	}
}

func phaseName(i int) string { return fmt.Sprintf("step_%d", i+1) }

func journeyOptions() []check.Option {
	return []check.Option{
		{Name: "url", Type: check.TypeURL, Required: true, Help: "The system, beginning with http:// or https://; the steps' addresses are relative to it."},
		{Name: "steps", Type: check.TypeSteps, Required: true, Min: 1, Max: maxSteps, Step: stepOptions(), Help: "What to do, in this order: each step has name, get or post, and what must come."},
		{Name: "hosts", Type: check.TypeStrings, Max: 16, Help: "Other hosts that a step or a redirection may lead to; names below or above the url's always may."},
		{Name: "approved", Type: check.TypeString,
			Help: "Number of the document in which the system's owner allows these requests; required when a step posts. While it is empty nothing is sent and the check is not_configured."},
		{Name: "approved_on", Type: check.TypeString, Help: "The day of that document, as 2026-01-31; before it nothing is sent."},
		{Name: "approved_until", Type: check.TypeString, Help: "The last day of that approval, as 2026-12-31; after it nothing is sent and the check is evidence_expired."},
		{Name: "max_bytes", Type: check.TypeBytes, Default: "4MiB", Min: 1, Max: maxMaxBytes, Unit: "bytes", Help: "A page larger than this is too_large."},
		{Name: "user_agent", Type: check.TypeString, Default: "egovmon", Help: "How the check names itself; add a contact so that the operator knows whom to ask."},
		{Name: "browser", Type: check.TypeBool, Default: "false",
			Help: "Whether the journey goes in a real browser, which also runs the pages' scripts; only in agents built for it, with Chromium on the machine. Certificates of the url's host and of the steps' are judged as without it, by roots; those of other hosts by the browser and the system's roots."},
		reach.FamilyOption(),
		{Name: "slow", Type: check.TypeDuration, Min: 0.001, Max: 3600, Help: "A journey that takes longer than this is slow; without it none is."},
	}
}

func stepOptions() []check.Option {
	return []check.Option{
		{Name: "name", Type: check.TypeString, Required: true, Help: "What the step is called where it fails."},
		{Name: "get", Type: check.TypeString, Help: "The address to fetch: a path or a URL, which may hold ${variable} after the host."},
		{Name: "post", Type: check.TypeString, Help: "The address to submit the form to: a path or a URL, without variables."},
		{Name: "form", Type: check.TypeValues, Help: "The fields to send: texts with ${variable} in them, or {secret: NAME} when posting."},
		{Name: "inputs", Type: check.TypeMap, Help: "Variables to take from the page's inputs, hidden ones too: {variable: name of the input}."},
		{Name: "extract", Type: check.TypeMap, Help: "Variables to take from the page's text: {variable: regular expression with one group}."},
		{Name: "extract_select", Type: check.TypeMap, Help: "Variables to take from the page's elements: {variable: CSS selector}, e.g. {ma: 'td.ma'} or {ma: 'input.ma@value'}; the first that is found."},
		{Name: "extract_json", Type: check.TypeMap, Help: "Variables to take from a JSON answer: {variable: path}, e.g. {ma: $.data[0].ma}."},
		{Name: "status", Type: check.TypeInts, Default: "[200]", Min: 100, Max: 599, Help: "The answers that are right. A redirection listed here is not followed."},
		{Name: "contains", Type: check.TypeStrings, Help: "Texts that must all stand on the page."},
		{Name: "absent", Type: check.TypeStrings, Help: "Texts of which none may stand on the page."},
		{Name: "matches", Type: check.TypeRegexps, Max: 32, Help: "Regular expressions that must all match the page's text."},
		{Name: "select", Type: check.TypeMap, Help: "Elements that the page must have: {CSS selector: regular expression for the text}; an empty one matches any."},
		{Name: "json", Type: check.TypeMap, Help: "Values that a JSON answer must have: {path: regular expression}; an empty one matches any."},
	}
}

func journeyTarget(o check.Options) []string {
	base, err := web.ParseURL(o.String("url"))
	if err != nil {
		return nil
	}
	hosts := []string{base.Hostname()}
	for _, s := range o.Steps("steps") {
		for _, key := range []string{"get", "post"} {
			if u, err := base.Parse(blank(s.String(key))); err == nil && u.Hostname() != "" && !slices.Contains(hosts, u.Hostname()) {
				hosts = append(hosts, u.Hostname())
			}
		}
	}
	return hosts
}

// A journey is one check of the kind journey.
type journey struct {
	base    *url.URL
	steps   []step
	hosts   []string
	paper   string    // the approval, "" for none
	from    time.Time // when it begins; zero for ever
	until   time.Time // when the approval has ended; zero for never
	max     int64
	agent   string
	slow    time.Duration
	timeout time.Duration
	policy  reach.Policy
	dialer  reach.Dialer
	now     func() time.Time
	secret  func(name string) (string, error)

	browser bool
	program string // the browser; "" to look for one
	notes   check.Notes

	user     string                 // sent to the base's host alone
	password func() (string, error) // nil for no login
}

func newJourney(o check.Options, env check.Env) (*journey, error) {
	base, err := web.ParseURL(o.String("url"))
	if err != nil {
		return nil, fmt.Errorf("option \"url\": %w", err)
	}
	j := &journey{
		base: base, max: o.Int("max_bytes"), agent: o.String("user_agent"), slow: o.Duration("slow"), timeout: env.Timeout,
		dialer: reach.NewDialer(o.String("family"), env.Source), now: env.Now,
		secret: func(name string) (string, error) { return reach.Secret(env, name) }, browser: o.Bool("browser"), notes: env.Kept(),
	}
	if j.now == nil {
		j.now = time.Now
	}
	if !httpguts.ValidHeaderFieldValue(j.agent) {
		return nil, fmt.Errorf("option \"user_agent\": %q cannot stand in a header: write it on one line", j.agent)
	}
	for _, h := range o.Strings("hosts") {
		h, err := reach.ASCIIHost(h)
		if err != nil {
			return nil, fmt.Errorf("option \"hosts\": %w", err)
		}
		j.hosts = append(j.hosts, h)
	}
	if j.policy, err = reach.NewPolicy(o, env); err != nil {
		return nil, err
	}
	if err := j.approval(o); err != nil {
		return nil, err
	}
	return j, j.prepare(o)
}

// approval reads the owner's permission.
func (j *journey) approval(o check.Options) error {
	posts := slices.ContainsFunc(o.Steps("steps"), func(s check.Options) bool { return s.Has("post") })
	if posts && strings.TrimSpace(o.String("approved")) == "" {
		return fmt.Errorf("option \"approved\": a step posts: write the number of the document in which the system's owner allows it")
	}
	j.paper = strings.TrimSpace(o.String("approved"))
	for _, one := range []struct {
		option string
		into   *time.Time
		plus   int // days: an approval ends with its last day
	}{{"approved_on", &j.from, 0}, {"approved_until", &j.until, 1}} {
		s := o.String(one.option)
		if s == "" {
			continue
		}
		day, err := time.ParseInLocation(time.DateOnly, s, web.Vietnam())
		if err != nil {
			return fmt.Errorf("option %q: %q is no day: write e.g. 2026-12-31", one.option, s)
		}
		*one.into = day.AddDate(0, 0, one.plus)
	}
	if !j.from.IsZero() && !j.until.IsZero() && !j.from.Before(j.until) {
		return fmt.Errorf("option \"approved_until\": it is before approved_on: write the last day of the approval")
	}
	return nil
}

// disabled says why nothing may be sent; nil when the owner's approval holds.
func (j *journey) disabled(now time.Time) *reach.Fault {
	switch {
	case j.paper == "":
		return reach.Failf(check.NotConfigured, "disabled: the system's owner has not approved it (option approved); nothing was sent")
	case now.Before(j.from):
		return reach.Failf(check.NotConfigured, "disabled: the owner's approval begins on %s; nothing was sent", j.from.Format(time.DateOnly))
	case !j.until.IsZero() && !now.Before(j.until):
		return reach.Failf(check.EvidenceExpired, "the owner's approval ended on %s: nothing was sent", j.until.AddDate(0, 0, -1).Format(time.DateOnly))
	}
	return nil
}

// prepare reads the steps.
func (j *journey) prepare(o check.Options) error {
	known := map[string]bool{}
	for i, with := range o.Steps("steps") {
		s, err := newStep(j, with, known)
		if err != nil {
			return fmt.Errorf("option \"steps\": step %d %q: %w", i+1, with.String("name"), err)
		}
		j.steps = append(j.steps, s)
	}
	if len(j.steps) == 0 || len(j.steps) > maxSteps {
		return fmt.Errorf("option \"steps\": %d steps: write 1 to %d", len(j.steps), maxSteps)
	}
	return nil
}

// mayGo reports whether the plan lets the journey talk to this address.
func (j *journey) mayGo(u *url.URL) bool {
	host := u.Hostname()
	return web.Kin(host, j.base.Hostname()) || slices.ContainsFunc(j.hosts, func(h string) bool { return strings.EqualFold(h, host) })
}

// mayPost reports whether the plan writes out this address as one to submit to.
func (j *journey) mayPost(u *url.URL) bool {
	return slices.ContainsFunc(j.steps, func(s step) bool {
		if !s.post {
			return false
		}
		p, err := j.address(s.address)
		return err == nil && p.Scheme == u.Scheme && strings.EqualFold(p.Host, u.Host) && p.EscapedPath() == u.EscapedPath()
	})
}

// address resolves what a step names.
func (j *journey) address(s string) (*url.URL, error) {
	u, err := j.base.Parse(s)
	if err != nil {
		return nil, fmt.Errorf("%q is no address: write a path or https://host/path", s)
	}
	return web.ParseURL(u.String())
}

// run goes the whole way once.
func (j *journey) run(ctx context.Context) check.Result {
	begin := time.Now()
	if bad := j.disabled(j.now()); bad != nil {
		r := bad.Result()
		r.Phases.Add("total", time.Since(begin))
		return r
	}
	if _, ok := ctx.Deadline(); !ok && j.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, j.timeout)
		defer cancel()
	}
	w := newWalk(j)
	var phases check.Phases
	passed, bad := 0, (*reach.Fault)(nil)
	if j.browser {
		passed, bad = j.browse(ctx, w, &phases)
	} else {
		passed, bad = j.goAll(&phases, func(s *step) *reach.Fault { return w.step(ctx, s) })
	}
	bad = bad.UnlessCalledOff(ctx)
	total := time.Since(begin)
	if bad == nil {
		bad = w.worn
	}
	if bad == nil && j.slow > 0 && total > j.slow {
		bad = reach.Failf(check.Slow, "%s, the limit is %s", total.Round(time.Millisecond), j.slow)
	}
	if bad != nil {
		bad.Detail = w.mask(bad.Detail)
	}
	r := bad.Result()
	phases.Add("total", total)
	w.facts(&r.Facts, passed)
	r.Phases = phases
	return r
}

// goAll does step after step up to the first that fails, which it names.
func (j *journey) goAll(phases *check.Phases, do func(*step) *reach.Fault) (passed int, bad *reach.Fault) {
	for i := range j.steps {
		s := &j.steps[i]
		start := time.Now()
		bad := do(s)
		phases.Add(phaseName(i), time.Since(start))
		if bad != nil {
			return i, &reach.Fault{Reason: bad.Reason, Detail: fmt.Sprintf("step %d %q: %s", i+1, s.name, bad.Detail)}
		}
	}
	return len(j.steps), nil
}
