package onestop

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/text/unicode/norm"

	"egovmon/agent/check"
	"egovmon/agent/check/mail"
	"egovmon/agent/check/reach"
	"egovmon/agent/check/web"
)

const (
	maxAge   = 10 * 366 * 24 * time.Hour
	maxDates = 256 // of one page or file
	maxCount = 1e9
	maxUnix  = 253402300799
)

func freshnessKind() check.Kind {
	return check.Kind{
		Name:    "freshness",
		Family:  "onestop",
		Summary: "How long ago a system last did its work: by the newest of some files, a date in one, on a page or in a JSON answer, or the newest letter of a mailbox.",
		Options: slices.Concat(freshnessOptions(), mail.MailboxOptions(), reach.TLSOptions()),
		Facts: slices.Concat([]check.FactDef{
			{Name: "age_s", Help: "how long ago the last success was", Max: maxAge.Seconds()},
			{Name: "work_age_s", Help: "how much of that was within hours", Max: maxAge.Seconds()},
			{Name: "ahead_s", Help: "how far the date of the last success lies in the future", Max: maxAge.Seconds()},
			{Name: "last_unix", Help: "when the last success was", Max: maxUnix},
			{Name: "found_count", Help: "files, dates or letters that count", Max: maxCount},
			{Name: "size_bytes", Help: "size of the newest file", Max: 1 << 53},
			{Name: "status_code", Help: "status of the last answer", Min: 100, Max: 999},
			reach.FamilyFact(),
			reach.AddressFact(),
		}, mail.MailboxFacts(), reach.TLSFacts()),
		Phases: append([]string{"read", "fetch"}, mail.MailboxPhases()...),
		Target: freshnessTarget,
		New: func(o check.Options, env check.Env) (check.Func, error) {
			f, err := newFreshness(o, env)
			if err != nil {
				return nil, err
			}
			return f.run, nil
		},
	}
}

func freshnessOptions() []check.Option {
	return []check.Option{
		{Name: "max_age", Type: check.TypeDuration, Required: true, Min: 1, Max: maxAge.Seconds(), Help: "A last success older than this is stale."},
		{Name: "lost_age", Type: check.TypeDuration, Min: 1, Max: maxAge.Seconds(), Help: "A last success older than this is content_missing, which is down; without it none is."},
		{Name: "hours", Type: check.TypeStrings, Max: 16,
			Help: "The hours that max_age and lost_age count, e.g. [\"mon-fri 07:30-11:30\", \"mon-fri 13:30-17:00\"] or [\"T2-T6 07:30-17:00\"]; without it all do. Holidays count as other days."},
		{Name: "zone", Type: check.TypeString, Default: "+07:00", Help: "The zone of hours, and of dates that name none, e.g. +07:00."},
		{Name: "ahead", Type: check.TypeDuration, Default: "5m", Max: 86400, Help: "A date that lies further than this in the future is clock_skew."},
		{Name: "file", Type: check.TypeString, Help: "A file by its absolute path, or files by a pattern in the last part of it, e.g. /var/backups/qlvb-*.bak; the newest counts."},
		{Name: "min_bytes", Type: check.TypeBytes, Default: "1", Max: 1 << 50, Unit: "bytes", Help: "Files smaller than this do not count: an empty backup is none."},
		{Name: "url", Type: check.TypeURL, Help: "A page or a JSON answer with the date of the last success; without json, select and matches its Last-Modified counts."},
		{Name: "json", Type: check.TypeString, Help: "Where the dates stand in a JSON answer, e.g. $.data[*].updated."},
		{Name: "select", Type: check.TypeString, Help: "Which elements of a page hold dates, e.g. td.ngay or time@datetime."},
		{Name: "matches", Type: check.TypeString, Help: "A regular expression with one group around a date, on the page or in the last 256 KiB of the newest file, whose own date then does not count."},
		{Name: "user", Type: check.TypeString, Help: "The monitoring account at the page (basic authentication) or the mailbox, never a person's own."},
		{Name: "password", Type: check.TypeSecret, Help: "The password of the monitoring account; it is sent through verified TLS only, or to a page on this machine."},
		{Name: "max_bytes", Type: check.TypeBytes, Default: "1MiB", Min: 1, Max: 16 << 20, Unit: "bytes", Help: "A page larger than this is too_large."},
		{Name: "user_agent", Type: check.TypeString, Default: "egovmon", Help: "How the check names itself at a page."},
		{Name: "slow", Type: check.TypeDuration, Min: 0.001, Max: 3600, Help: "A run that takes longer than this is slow; without it none is."},
		reach.FamilyOption(),
	}
}

func freshnessTarget(o check.Options) []string {
	if o.Has("url") {
		return journeyTarget(o)
	}
	if host, _, ok := strings.Cut(o.String("address"), ":"); ok && !strings.HasPrefix(o.String("address"), "[") {
		return []string{host}
	}
	if host, _, ok := strings.Cut(strings.TrimPrefix(o.String("address"), "["), "]"); ok {
		return []string{host}
	}
	return nil
}

// A freshness is one check of the kind freshness.
type freshness struct {
	max, lost, ahead time.Duration
	hours            []shift
	zone             *time.Location
	dates            *web.DateReader
	matches          *regexp.Regexp
	path             *web.JSONPath
	selector         *web.Selector
	files            *files
	page             *journey
	mailbox          *mail.Mailbox
	slow, timeout    time.Duration
	now              func() time.Time
	proven           func() bool
}

func newFreshness(o check.Options, env check.Env) (*freshness, error) {
	f := &freshness{max: o.Duration("max_age"), lost: o.Duration("lost_age"), ahead: o.Duration("ahead"), slow: o.Duration("slow"), timeout: env.Timeout, now: env.Now, proven: env.ClockProven}
	if f.now == nil {
		f.now = time.Now
	}
	if f.lost > 0 && f.lost < f.max {
		return nil, fmt.Errorf("option \"lost_age\": %s is less than max_age %s: raise it", f.lost, f.max)
	}
	zone, err := time.Parse("-07:00", o.String("zone"))
	if err != nil {
		return nil, fmt.Errorf("option \"zone\": %q is no zone: write e.g. +07:00", o.String("zone"))
	}
	_, seconds := zone.Zone()
	f.zone = time.FixedZone(o.String("zone"), seconds)
	f.dates = web.NewDateReader(f.zone)
	if f.hours, err = parseHours(o.Strings("hours")); err != nil {
		return nil, err
	}
	if err := f.where(o); err != nil {
		return nil, err
	}
	return f, f.source(o, env)
}

// where reads how dates are found in what the source gives.
func (f *freshness) where(o check.Options) (err error) {
	given := 0
	for _, name := range []string{"json", "select", "matches"} {
		if o.Has(name) {
			given++
		}
	}
	switch {
	case given > 1:
		return fmt.Errorf("option \"matches\": json, select and matches exclude each other: keep one")
	case o.Has("address") && given > 0:
		return fmt.Errorf("option \"address\": a letter's date is that of its arrival: leave out json, select and matches")
	case o.Has("file") && (o.Has("json") || o.Has("select")):
		return fmt.Errorf("option \"file\": a date in a file is found by matches: leave out json and select")
	}
	if s := o.String("json"); s != "" {
		if f.path, err = web.ParseJSONPath(s); err != nil {
			return fmt.Errorf("option \"json\": %w", err)
		}
	}
	if s := o.String("select"); s != "" {
		if f.selector, err = web.ParseSelector(s); err != nil {
			return fmt.Errorf("option \"select\": %w", err)
		}
	}
	if s := o.String("matches"); s != "" {
		f.matches, err = regexp.Compile(norm.NFC.String(s))
		if err != nil || f.matches.NumSubexp() != 1 {
			return fmt.Errorf("option \"matches\": %q must be a regular expression with one group, e.g. 'Cập nhật: (.*)'", s)
		}
	}
	return nil
}

// source reads where the dates come from.
func (f *freshness) source(o check.Options, env check.Env) (err error) {
	given := 0
	for _, name := range []string{"file", "url", "address"} {
		if o.Has(name) {
			given++
		}
	}
	if given != 1 {
		return fmt.Errorf("option \"file\": name one source: file, url or address")
	}
	switch {
	case o.Has("address"):
		f.mailbox, err = mail.NewMailbox(o, env)
		return err
	case o.Has("file"):
		if o.Has("user") || o.Has("password") {
			return fmt.Errorf("option \"user\": a file needs no account: leave user and password out")
		}
		f.files, err = newFiles(o.String("file"), o.Int("min_bytes"))
		return err
	}
	base, err := web.ParseURL(o.String("url"))
	if err != nil {
		return fmt.Errorf("option \"url\": %w", err)
	}
	f.page = &journey{base: base, max: o.Int("max_bytes"), agent: o.String("user_agent"), dialer: reach.NewDialer(o.String("family"), env.Source), now: f.now}
	if !httpguts.ValidHeaderFieldValue(f.page.agent) {
		return fmt.Errorf("option \"user_agent\": %q cannot stand in a header: write it on one line", f.page.agent)
	}
	if f.page.policy, err = reach.NewPolicy(o, env); err != nil {
		return err
	}
	user, secret := o.String("user"), o.String("password")
	switch {
	case (user == "") != (secret == ""):
		return fmt.Errorf("option \"user\": write both user and password: {secret: NAME}, or neither")
	case strings.ContainsAny(user, ":\x00\r\n"):
		return fmt.Errorf("option \"user\": %q holds what basic authentication cannot send", user)
	case user != "" && base.Scheme != "https" && !loopback(base.Hostname()):
		return fmt.Errorf("option \"user\": a password is sent through verified TLS only: write an https:// url")
	case user != "":
		f.page.user, f.page.password = user, func() (string, error) { return reach.Secret(env, secret) }
	}
	return nil
}

// A sighting is what a source gave.
type sighting struct {
	last   web.Moment
	count  int
	facts  check.Facts
	phases check.Phases
	worn   *reach.Fault // the source is up, but not as it should be
}

// run looks once.
func (f *freshness) run(ctx context.Context) check.Result {
	if _, ok := ctx.Deadline(); !ok && f.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, f.timeout)
		defer cancel()
	}
	begin := time.Now()
	s, bad := f.look(ctx)
	bad = bad.UnlessCalledOff(ctx)
	total := time.Since(begin)
	if bad == nil {
		s.facts.Add("found_count", min(float64(s.count), maxCount)) // a mailbox says what it likes
		bad = f.judge(&s, f.now())
	}
	if bad == nil {
		bad = s.worn
	}
	if bad == nil && f.slow > 0 && total > f.slow {
		bad = reach.Failf(check.Slow, "%s, the limit is %s", total.Round(time.Millisecond), f.slow)
	}
	if bad == nil {
		r := check.Because(check.OK, "last %s", f.shown(s.last))
		r.Facts, r.Phases = s.facts, s.phases
		r.Phases.Add("total", total)
		return r
	}
	r := bad.Result()
	r.Facts, r.Phases = s.facts, s.phases
	r.Phases.Add("total", total)
	return r
}

// look asks the source.
func (f *freshness) look(ctx context.Context) (sighting, *reach.Fault) {
	switch {
	case f.files != nil:
		return f.lookAtFiles(ctx)
	case f.page != nil:
		return f.lookAtPage(ctx)
	}
	var s sighting
	window := f.max + f.lost
	if len(f.hours) > 0 {
		window *= 12 // a week has at least twelve times the hours that are counted, as a rule
	}
	at, n, r := f.mailbox.Newest(ctx, f.now().Add(-min(max(window, 31*24*time.Hour), maxAge)))
	s.facts, s.count = r.Facts, n
	for _, p := range r.Phases {
		if p.Name != "total" {
			s.phases = append(s.phases, p)
		}
	}
	bad := &reach.Fault{Reason: r.Reason, Detail: r.Detail}
	switch r.State {
	case check.Up:
	case check.Degraded:
		if at.IsZero() && r.Reason != check.CertExpiring && r.Reason != check.WeakTLS {
			return s, bad
		}
		s.worn = bad
	default:
		return s, bad
	}
	if at.IsZero() {
		return s, reach.Failf(check.ContentMissing, "no letter that counts has come in the time that is looked back on")
	}
	s.last = web.Moment{At: at}
	return s, nil
}

// lookAtPage fetches the page.
func (f *freshness) lookAtPage(ctx context.Context) (s sighting, bad *reach.Fault) {
	begin := time.Now()
	w := newWalk(f.page)
	a, bad := w.visit(ctx, &step{address: f.page.base.String(), status: []int64{200}})
	s.phases.Add("fetch", time.Since(begin))
	w.seen(&s.facts)
	s.worn = w.worn
	if bad != nil {
		bad.Detail = w.mask(bad.Detail)
		return s, bad
	}
	var texts []string
	switch {
	case f.path != nil:
		var err error
		if texts, err = f.path.Find(a.body, maxDates); err != nil {
			return s, reach.Failf(check.Protocol, "%v", err)
		}
	case f.selector != nil:
		texts = f.selector.Find(web.Decode(a.body, a.contentType), maxDates)
	case f.matches != nil:
		texts = groups(f.matches, web.NewText(a.body, a.contentType).Plain)
	default:
		if a.modified == "" {
			return s, reach.Failf(check.ContentMissing, "the answer has no Last-Modified: name the date with json, select or matches")
		}
		texts = []string{a.modified}
	}
	return s, f.newest(&s, texts, "on the page")
}

func groups(r *regexp.Regexp, text []byte) []string {
	var found []string
	for _, m := range r.FindAllSubmatch(text, maxDates) {
		found = append(found, string(m[1]))
	}
	return found
}

// newest takes the latest of the dates.
func (f *freshness) newest(s *sighting, texts []string, where string) *reach.Fault {
	now := f.now()
	for _, text := range texts {
		m, ok := f.dates.Read(text, now)
		if !ok {
			continue
		}
		s.count++
		if s.count == 1 || m.Latest(now).After(s.last.Latest(now)) {
			s.last = m
		}
	}
	switch {
	case s.count > 0:
		return nil
	case len(texts) == 0:
		return reach.Failf(check.ContentMissing, "nothing is found %s where the date should stand", where)
	}
	return reach.Failf(check.ContentMissing, "what is found %s is no date: %.60q", where, texts[0])
}

func (f *freshness) shown(m web.Moment) string {
	if m.Day {
		return m.At.In(f.zone).Format(time.DateOnly)
	}
	return m.At.In(f.zone).Format("2006-01-02 15:04:05 -07:00")
}

// judge weighs the age of the last success. A date without an hour is as late as it may be.
func (f *freshness) judge(s *sighting, now time.Time) *reach.Fault {
	last := s.last.Latest(now)
	if u := last.Unix(); u >= 0 && u <= maxUnix {
		s.facts.Add("last_unix", float64(u))
	}
	age := now.Sub(last)
	unproven := f.proven != nil && !f.proven()
	if -age > f.ahead {
		s.facts.Add("ahead_s", min(-age, maxAge).Seconds())
		if unproven {
			return reach.Failf(check.ClockUnproven, "the last success is of %s, in the future, and this machine's clock is not proven", f.shown(s.last))
		}
		return reach.Failf(check.ClockSkew, "the last success is of %s, in the future: a clock or a zone is wrong", f.shown(s.last))
	}
	age = min(max(age, 0), maxAge)
	s.facts.Add("age_s", age.Seconds())
	counted, what := age, "old"
	if len(f.hours) > 0 {
		counted, what = working(f.hours, last.In(f.zone), now.In(f.zone)), "of working hours old"
		s.facts.Add("work_age_s", counted.Seconds())
	}
	reason, limit := check.Stale, f.max
	switch {
	case f.lost > 0 && counted > f.lost:
		reason, limit = check.ContentMissing, f.lost
	case counted <= f.max:
		return nil
	}
	if unproven {
		return reach.Failf(check.ClockUnproven, "the last success is of %s, and this machine's clock is not proven", f.shown(s.last))
	}
	return reach.Failf(reason, "the last success is of %s: %s %s, the limit is %s", f.shown(s.last), counted.Round(time.Second), what, limit)
}
