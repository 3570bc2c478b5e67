package network

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"egovmon/agent/check"
)

const (
	minAnchors = 3
	maxAnchors = 16

	// uplinkGrace is how long the slower anchors are waited for once enough have answered.
	uplinkGrace = time.Second
)

func uplinkKind() check.Kind {
	return check.Kind{
		Name:    "uplink",
		Family:  "network",
		Summary: "Connects to several well-known hosts of a line at once; says whether the line itself works.",
		Options: []check.Option{
			{Name: "anchors", Type: check.TypeAddrs, Required: true, Min: minAnchors, Max: maxAnchors,
				Help: "Hosts and ports that are up whenever the line is; addresses rather than names, so that a broken resolver is not taken for a broken line."},
			{Name: "need", Type: check.TypeInt, Min: 1, Max: maxAnchors, Unit: "anchors",
				Help: "How many must answer for the line to be up; without it half of them, rounded up."},
			slowOption("the fastest anchor"),
		},
		Facts: []check.FactDef{
			{Name: "answered_count", Help: "anchors that answered", Min: 0, Max: maxAnchors},
			{Name: "asked_count", Help: "anchors that were asked", Min: minAnchors, Max: maxAnchors},
			{Name: "rtt_min_s", Help: "connection time of the fastest anchor", Min: 0, Max: 3600},
		},
		Phases: []string{"connect", "total"},
		Line:   true,
		Target: func(o check.Options) []string {
			var hosts []string
			for _, a := range o.Strings("anchors") {
				if host, _, err := splitAddress("anchors", a); err == nil {
					hosts = append(hosts, host)
				}
			}
			return hosts
		},
		New: newUplink,
	}
}

func newUplink(o check.Options, env check.Env) (check.Func, error) {
	anchors := o.Strings("anchors")
	if len(anchors) < minAnchors || len(anchors) > maxAnchors {
		return nil, fmt.Errorf("option %q: %d anchors: name %d to %d, since one host that is down must not look like a line that is down", "anchors", len(anchors), minAnchors, maxAnchors)
	}
	seen := map[string]bool{}
	for _, a := range anchors {
		if _, _, err := splitAddress("anchors", a); err != nil {
			return nil, err
		}
		if seen[a] {
			return nil, fmt.Errorf("option %q: %s stands twice: name different hosts", "anchors", a)
		}
		seen[a] = true
	}
	need := int(o.Int("need"))
	if need == 0 {
		need = (len(anchors) + 1) / 2
	}
	if need > len(anchors) {
		return nil, fmt.Errorf("option %q: %d of %d anchors can never answer: write at most %d", "need", need, len(anchors), len(anchors))
	}
	slow, l := o.Duration("slow"), line{family: anyFamily, source: env.Source}
	return func(ctx context.Context) check.Result {
		begin := time.Now()
		a := askAnchors(ctx, l, anchors, need)
		r := judgeUplink(ctx, a, len(anchors), need, slow)
		r.Facts.Add("answered_count", float64(a.answered))
		r.Facts.Add("asked_count", float64(len(anchors)))
		if a.answered > 0 {
			r.Facts.Add("rtt_min_s", a.fastest.Seconds())
			r.Phases.Add("connect", a.fastest)
		}
		r.Phases.Add("total", time.Since(begin))
		return r
	}, nil
}

func judgeUplink(ctx context.Context, a anchorAnswers, asked, need int, slow time.Duration) check.Result {
	switch {
	case a.answered >= need && slow > 0 && a.fastest > slow:
		return check.Because(check.Slow, "the fastest anchor answered in %s, limit %s", a.fastest.Round(time.Microsecond), slow)
	case a.answered >= need:
		return check.Because(check.OK, "")
	case errors.Is(ctx.Err(), context.Canceled):
		return check.Because(check.Internal, "the run was cut short")
	case a.answered > 0:
		return check.Because(check.Partial, "%d of %d anchors answered, %d are needed; %s", a.answered, asked, need, a.failure)
	default:
		return check.Because(check.Timeout, "none of %d anchors answered; %s", asked, a.failure)
	}
}

// ProbeAnchors connects to the anchors of a line (host:port each) at once and returns how many answered. It waits for
// all of them, but no more than a second once half have answered. A zero source leaves the local address to the system.
func ProbeAnchors(ctx context.Context, anchors []string, source netip.Addr) (answered int) {
	return askAnchors(ctx, line{family: anyFamily, source: source}, anchors, (len(anchors)+1)/2).answered
}

// anchorAnswers is what several anchors said.
type anchorAnswers struct {
	answered int
	fastest  time.Duration // of those that answered
	failure  string        // the first failure, for a person
}

func askAnchors(ctx context.Context, l line, anchors []string, need int) anchorAnswers {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type answer struct {
		took time.Duration
		err  error
	}
	answers := make(chan answer, len(anchors))
	for _, a := range anchors {
		go func() {
			took, err := l.ask(ctx, a)
			answers <- answer{took, err}
		}()
	}
	var all anchorAnswers
	for range anchors {
		a := <-answers
		if a.err != nil {
			if all.failure == "" {
				all.failure = cause(a.err)
			}
			continue
		}
		if all.answered == 0 || a.took < all.fastest {
			all.fastest = a.took
		}
		if all.answered++; all.answered == need {
			defer time.AfterFunc(uplinkGrace, cancel).Stop()
		}
	}
	return all
}

// ask connects to the first address of one anchor.
func (l line) ask(ctx context.Context, anchor string) (time.Duration, error) {
	host, port, err := splitAddress("anchors", anchor)
	if err != nil {
		return 0, err
	}
	addrs, bad := l.lookup(ctx, host)
	if bad != nil {
		return 0, fmt.Errorf("%s: %s", host, bad.Detail)
	}
	return l.connect(ctx, netip.AddrPortFrom(addrs[0], port))
}
