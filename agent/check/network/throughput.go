package network

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/reach"
	"egovmon/agent/check/web"
)

const (
	// leastMeasured bytes must come for a rate to say anything of the line: fewer fit into the buffers on the way.
	leastMeasured = 64 << 10
	// spareTime of a run is left for what comes before and after the transfer.
	spareTime = 500 * time.Millisecond
)

func throughputKind() check.Kind {
	return check.Kind{
		Name:    "throughput",
		Family:  "network",
		Summary: "Fetches a bounded part of a file, and sends as much if told to, and says how fast that went; off unless the plan says otherwise, as it takes the line from those who work.",
		Options: []check.Option{
			{Name: "enabled", Type: check.TypeBool, Default: "false", Help: "Whether anything is fetched at all; while this is false the result is not_configured and the line is left alone."},
			{Name: "url", Type: check.TypeURL, Required: true, Help: "A file of at least max_bytes on a server that may be used so, over http or https; redirections are not followed."},
			{Name: "max_bytes", Type: check.TypeBytes, Default: "1MiB", Min: leastMeasured, Max: 64 << 20, Unit: "bytes", Help: "The most that is fetched in a run."},
			{Name: "max_time", Type: check.TypeDuration, Default: "5s", Min: 0.5, Max: 60, Help: "The longest that a run fetches, and that it sends; what has come by then is measured."},
			{Name: "daily_bytes", Type: check.TypeBytes, Default: "20MiB", Min: leastMeasured, Max: 4 << 30, Unit: "bytes",
				Help: "The most that is fetched and sent in a day of Vietnam's time; a run for which too little is left of it does nothing and is not_configured. The count outlives a start of the agent."},
			{Name: "upload_url", Type: check.TypeURL, Help: "Where random data is sent, over http or https, to the same place each time: on a server that may be used so. Without it nothing is sent."},
			{Name: "upload_method", Type: check.TypeString, Default: http.MethodPut, Enum: []string{http.MethodPut, http.MethodPost}, Help: "How it is sent."},
			{Name: "upload_bytes", Type: check.TypeBytes, Default: "1MiB", Min: leastMeasured, Max: 64 << 20, Unit: "bytes", Help: "The most that is sent in a run."},
			{Name: "min_up_mbps", Type: check.TypeFloat, Min: 0.001, Max: 1e5, Unit: "Mbit/s", Help: "The state is degraded when the data goes more slowly; without it nothing is too slow."},
			{Name: "hours", Type: check.TypeStrings, Max: 8, Help: `The hours in which the line may be used so, in Vietnam's time, e.g. ["11:45-13:15", "18:00-06:00"]; outside of them a run fetches nothing and is not_configured. Without it all day.`},
			{Name: "min_mbps", Type: check.TypeFloat, Min: 0.001, Max: 1e5, Unit: "Mbit/s", Help: "The state is degraded when the file comes more slowly; without it nothing is too slow."},
			{Name: "roots", Type: check.TypeString, Help: "A PEM file of the roots to trust in place of the system's."},
			reach.FamilyOption(),
		},
		Facts: []check.FactDef{
			{Name: "received_bytes", Help: "bytes of the file that came", Max: 64 << 20},
			{Name: "down_bits_per_s", Help: "bits a second of the transfer, from the first byte of the file on", Max: 1e12},
			{Name: "sent_bytes", Help: "bytes that were sent", Max: 64 << 20},
			{Name: "up_bits_per_s", Help: "bits a second of what was sent, from its first byte to the answer", Max: 1e12},
			{Name: "today_bytes", Help: "bytes that this check has fetched and sent today", Max: 4<<30 + 128<<20},
			{Name: "status_code", Help: "status of the answer", Min: 100, Max: 999},
			{Name: "upload_status_code", Help: "status of the answer to what was sent", Min: 100, Max: 999},
			reach.FamilyFact(),
		},
		Phases: []string{"dns", "connect", "first_byte", "transfer", "upload", "total"},
		Line:   true,
		Target: func(o check.Options) []string {
			var hosts []string
			for _, name := range []string{"url", "upload_url"} {
				if u, err := url.Parse(o.String(name)); err == nil && u.Hostname() != "" && !slices.Contains(hosts, u.Hostname()) {
					hosts = append(hosts, u.Hostname())
				}
			}
			return hosts
		},
		New: newThroughput,
	}
}

// A throughput is a check of kind throughput. It remembers what it has fetched today.
type throughput struct {
	enabled bool
	url     *url.URL
	bytes   int64
	time    time.Duration
	daily   int64
	hours   []span
	least   float64 // bits a second
	up      *upload // nil when nothing is sent
	policy  reach.Policy
	dialer  reach.Dialer
	now     func() time.Time

	notes check.Notes
	day   time.Time // midnight in Vietnam
	used  int64     // bytes of that day
}

// A consumption is what is kept of the use of a day, so that a restart does not give the day anew.
type consumption struct {
	Day  time.Time `json:"day"`
	Used int64     `json:"used"`
}

const consumptionNote = "day"

// recall reads what was used before this start. What a clock that was ahead has kept counts for today.
func (c *throughput) recall(today time.Time) {
	var k consumption
	if json.Unmarshal(c.notes.Note(consumptionNote), &k) != nil || k.Used < 0 || k.Day.Before(today) {
		return
	}
	k.Used = min(k.Used, c.daily)
	if c.day.Before(today) || c.used < k.Used {
		c.day, c.used = today, k.Used
	}
	if k.Day.After(today) {
		c.keep(c.used)
	}
}

// keep writes down what counts as used.
func (c *throughput) keep(used int64) {
	if note, err := json.Marshal(consumption{c.day, used}); err == nil {
		c.notes.Keep(consumptionNote, note)
	}
}

// A span is a stretch of the day in minutes from midnight; one that ends before it begins goes over midnight.
type span struct{ from, to int }

func (s span) holds(minute int) bool {
	if s.from <= s.to {
		return minute >= s.from && minute < s.to
	}
	return minute >= s.from || minute < s.to
}

// parseSpan reads "11:45-13:15".
func parseSpan(text string) (span, error) {
	a, b, ok := strings.Cut(text, "-")
	from, err1 := time.Parse("15:04", strings.TrimSpace(a))
	to, err2 := time.Parse("15:04", strings.TrimSpace(b))
	if !ok || err1 != nil || err2 != nil || from.Equal(to) {
		return span{}, fmt.Errorf("option %q: %q is no stretch of the day: write e.g. 11:45-13:15", "hours", text)
	}
	return span{from.Hour()*60 + from.Minute(), to.Hour()*60 + to.Minute()}, nil
}

func newThroughput(o check.Options, env check.Env) (check.Func, error) {
	u, err := openURL(o, "url")
	if err != nil {
		return nil, err
	}
	c := &throughput{
		enabled: o.Bool("enabled"), url: u, bytes: o.Int("max_bytes"), time: o.Duration("max_time"), daily: o.Int("daily_bytes"), least: o.Float("min_mbps") * 1e6,
		dialer: reach.NewDialer(o.String("family"), env.Source), now: env.Now, notes: env.Kept(),
	}
	if c.now == nil {
		c.now = time.Now
	}
	if c.up, err = newUpload(o, c.time); err != nil {
		return nil, err
	}
	if c.most() > c.daily {
		return nil, fmt.Errorf("option %q: %d bytes a day are fewer than the %d of one run: raise daily_bytes or lower max_bytes and upload_bytes", "daily_bytes", c.daily, c.most())
	}
	if ways := c.ways(); env.Timeout > 0 && ways*(c.time+spareTime) > env.Timeout {
		return nil, fmt.Errorf("option %q: %s and the time to connect, %d times, do not fit the timeout %s: raise the timeout or lower max_time", "max_time", c.time, ways, env.Timeout)
	}
	for _, h := range o.Strings("hours") {
		s, err := parseSpan(h)
		if err != nil {
			return nil, err
		}
		c.hours = append(c.hours, s)
	}
	if c.policy, err = reach.NewPolicy(o, env); err != nil {
		return nil, err
	}
	return c.check, nil
}

// openURL reads a URL that needs no password.
func openURL(o check.Options, name string) (*url.URL, error) {
	u, err := web.ParseURL(o.String(name))
	if err != nil {
		return nil, fmt.Errorf("option %q: %w", name, err)
	}
	if u.User != nil {
		return nil, fmt.Errorf("option %q: user and password have no place in it: take what all may use", name)
	}
	return u, nil
}

// most is what a run can take of the day.
func (c *throughput) most() int64 {
	if c.up == nil {
		return c.bytes
	}
	return c.bytes + c.up.bytes
}

// ways is in how many directions a run measures.
func (c *throughput) ways() time.Duration {
	if c.up == nil {
		return 1
	}
	return 2
}

func (c *throughput) check(ctx context.Context) check.Result {
	begin := time.Now()
	r, may := c.may(c.now())
	if may {
		c.keep(c.used + c.most()) // whatever happens in between
		t := c.fetch(ctx)
		c.used += t.bytes
		bad := t.judge(ctx, c.least)
		var s shipment
		if c.up != nil && (bad == nil || bad.Reason.State() == check.Degraded) {
			s = c.ship(ctx)
			c.used += s.bytes
			bad = bothWays(bad, s.judge(ctx, c.up.least))
		}
		c.keep(c.used)
		r = bad.Result()
		t.report(&r)
		s.report(&r)
	}
	r.Facts.Add("today_bytes", float64(c.used))
	r.Phases.Add("total", time.Since(begin))
	return r
}

// may says whether the line may be used now, or why not. The whole of what a run can take must be left of the day, so that no run
// is cut short by what others have used.
func (c *throughput) may(now time.Time) (check.Result, bool) {
	// A clock that goes back does not give the day anew.
	day := midnight(now)
	c.recall(day)
	if day.After(c.day) {
		c.day, c.used = day, 0
	}
	local := now.In(vietnam)
	minute := local.Hour()*60 + local.Minute()
	inside := len(c.hours) == 0
	for _, s := range c.hours {
		inside = inside || s.holds(minute)
	}
	switch {
	case !c.enabled:
		return check.Because(check.NotConfigured, "measuring the throughput is off: write `enabled: true` where the line may be used for it"), false
	case !inside:
		return check.Because(check.NotConfigured, "not measured at %s: the line is left to those who work", local.Format("15:04")), false
	case c.used+c.most() > c.daily:
		return check.Because(check.NotConfigured, "not measured: %d of the %d bytes of today are used", c.used, c.daily), false
	}
	return check.Result{}, true
}

// A transfer is what came of one fetch.
type transfer struct {
	fault     *reach.Fault
	dialed    reach.Dialed
	family    float64
	status    int
	firstByte time.Duration
	took      time.Duration // from the head of the answer to the last byte
	bytes     int64         // read of the body
	cut       bool          // the time was up before max_bytes had come
}

// fetch reads the file up to the bounds of bytes and time.
func (c *throughput) fetch(ctx context.Context) transfer {
	var t transfer
	var view reach.View
	cfg, f := c.policy.Config(c.url.Hostname(), &view)
	if f != nil {
		t.fault = f
		return t
	}
	ctx, cancel := context.WithTimeout(ctx, c.time+spareTime)
	defer cancel()
	// Servers that can do so send no more than is read. Others are cut off.
	a := getter{dialer: c.dialer, url: c.url, config: cfg, most: maxAnswerHead + c.bytes, header: http.Header{
		"User-Agent": {"egovmon"}, "Accept-Encoding": {"identity"}, "Cache-Control": {"no-cache"}, "Range": {fmt.Sprintf("bytes=0-%d", c.bytes-1)},
	}}.get(ctx)
	defer a.close()
	t.dialed, t.family = a.dialed, a.family
	switch {
	case a.err != nil && a.step == check.StepTLS:
		t.fault = view.HandshakeFault(a.err)
		return t
	case a.err != nil:
		t.fault = a.fault(c.url.Host)
		return t
	}
	t.status, t.firstByte = a.resp.StatusCode, a.first
	switch {
	case web.Redirects(t.status):
		t.fault = reach.Failf(check.HTTPRedirect, "status %d leads elsewhere: write the url of the file itself", t.status)
		return t
	case t.status != http.StatusOK && t.status != http.StatusPartialContent:
		t.fault = reach.Failf(check.HTTPStatus, "status %d", t.status)
		return t
	}
	begin := time.Now()
	stop := time.AfterFunc(c.time, cancel)
	defer stop.Stop()
	var err error
	t.bytes, err = io.Copy(io.Discard, io.LimitReader(a.resp.Body, c.bytes))
	t.took = time.Since(begin)
	switch {
	case err != nil && (ctx.Err() != nil || errors.Is(err, os.ErrDeadlineExceeded)):
		t.cut = true
	case err != nil:
		t.fault = reach.Failf(check.Classify(check.StepExchange, err), "the file breaks off after %d bytes: %s", t.bytes, cause(err))
	}
	return t
}

// judge says whether the line is fast enough. What came in the time is measured, if it is enough to say anything.
func (t transfer) judge(ctx context.Context, least float64) *reach.Fault {
	switch bps := t.rate(); {
	case errors.Is(ctx.Err(), context.Canceled):
		return reach.Failf(check.Internal, "the run was cut short")
	case t.fault != nil:
		return t.fault
	case t.cut && t.bytes == 0:
		return reach.Failf(check.Timeout, "nothing of the file came in time")
	case t.bytes < leastMeasured && !t.cut:
		return reach.Failf(check.Truncated, "the file has %d bytes, of which nothing can be told: name one with %d at least", t.bytes, leastMeasured)
	case least > 0 && bps < least:
		return reach.Failf(check.Slow, "%.2f Mbit/s, limit %.2f", bps/1e6, least/1e6)
	}
	return nil
}

// rate is in bits a second.
func (t transfer) rate() float64 {
	return float64(t.bytes) * 8 / max(t.took, time.Microsecond).Seconds()
}

func (t transfer) report(r *check.Result) {
	if t.dialed.Resolved {
		r.Phases.Add("dns", t.dialed.DNS)
	}
	if t.dialed.Tried {
		r.Phases.Add("connect", t.dialed.Connect)
	}
	if t.family != 0 {
		r.Facts.Add("ip_family_code", t.family)
	}
	if t.status == 0 {
		return
	}
	r.Facts.Add("status_code", float64(t.status))
	r.Phases.Add("first_byte", t.firstByte)
	if t.took > 0 {
		r.Phases.Add("transfer", t.took)
		r.Facts.Add("received_bytes", float64(t.bytes))
	}
	if t.bytes >= leastMeasured || t.cut {
		r.Facts.Add("down_bits_per_s", min(1e12, t.rate()))
	}
}
