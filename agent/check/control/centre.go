package control

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"

	"egovmon/agent/check"
)

// judgeCentres asks that every centre can be reached. failed holds one reason for each centre, check.OK for one that answers.
func judgeCentres(failed []check.Reason) *check.Result {
	n := 0
	var why []string
	for _, r := range failed {
		if r != check.OK {
			n++
			if !slices.Contains(why, string(r)) {
				why = append(why, string(r))
			}
		}
	}
	var r *check.Result
	switch {
	case n == len(failed):
		r = because(check.ControlFail, "none of %d centres can be reached: %s", n, strings.Join(why, ", "))
	case n > 0:
		r = because(check.ControlPartial, "%d of %d centres cannot be reached: %s", n, len(failed), strings.Join(why, ", "))
	default:
		r = because(check.OK, "%d centres can be reached", len(failed))
	}
	r.Facts.Add("centres_count", float64(len(failed)))
	r.Facts.Add("centres_reached_count", float64(len(failed)-n))
	return r
}

// reach opens a connection to each centre, all at once, and closes it.
func (n network) reach(ctx context.Context, addresses []string) ([]check.Reason, error) {
	failed := make([]check.Reason, len(addresses))
	var wg sync.WaitGroup
	for i, a := range addresses {
		wg.Go(func() {
			conn, err := n.dial(ctx, "tcp", a)
			if failed[i] = check.OK; err != nil {
				failed[i] = check.Classify(check.StepConnect, err)
				return
			}
			conn.Close()
		})
	}
	wg.Wait()
	if len(failed) == 0 {
		return nil, fmt.Errorf("no centre is named")
	}
	return failed, nil
}

// targets are the hosts that a control talks to; none for those that stay on the machine.
func targets(o check.Options) (hosts []string) {
	switch o.String("id") {
	case centreReach:
		for _, a := range o.Strings("addresses") {
			if host, _, err := net.SplitHostPort(a); err == nil {
				hosts = append(hosts, host)
			}
		}
	case upkeepPower:
		if host, _, err := net.SplitHostPort(o.String("ups")); err == nil {
			hosts = append(hosts, host)
		}
	case portalRules:
		l := limits{}
		if err := l.readPortal(o); err == nil && l.portal != nil {
			hosts = append(hosts, l.portal.Hostname())
		}
	}
	return hosts
}
