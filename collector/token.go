package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"egovmon/collector/profile"
)

// A tokenRequest asks for an enrolment token.
type tokenRequest struct {
	Unit    string `json:"unit"`
	Machine string `json:"machine,omitempty"`
}

// A tokenAnswer is one, for the person who carries it to the machine.
type tokenAnswer struct {
	Token     string    `json:"token"`
	Unit      string    `json:"unit"`
	Machine   string    `json:"machine"`
	Expires   time.Time `json:"expires"`
	Collector string    `json:"collector"` // URL for agents; its host is ADDRESS where the collector cannot know it
}

// newToken makes a token. A machine that the profile does not have becomes one of the unit when it enrols.
func (c *center) newToken(req tokenRequest) (tokenAnswer, error) {
	if m, ok := c.district().Machine(req.Machine, c.now()); ok && m.Unit != req.Unit {
		return tokenAnswer{}, fmt.Errorf("machine %s stands in unit %s, not in %s", req.Machine, m.Unit, req.Unit)
	}
	if req.Machine != "" {
		c.mu.Lock()
		c.invited[req.Unit] = append(c.invited[req.Unit], req.Machine)
		c.mu.Unlock()
	}
	inv, err := c.registry.NewToken(req.Unit, req.Machine)
	if err != nil {
		return tokenAnswer{}, err
	}
	return tokenAnswer{Token: inv.Token.String(), Unit: inv.Unit, Machine: inv.Machine, Expires: inv.Expires, Collector: c.agentsURL()}, nil
}

// agentsURL is where other machines reach this collector, as far as it knows.
func (c *center) agentsURL() string {
	bound, port, err := net.SplitHostPort(cmp.Or(c.config.Agents, defaultAgents))
	if err != nil {
		return "https://ADDRESS:19443"
	}
	if _, p, err := net.SplitHostPort(c.builtins()["collector.agents"]); err == nil {
		port = p // of the listener, where the configuration says 0
	}
	name := "ADDRESS"
	if len(c.config.Names) > 0 {
		name = c.config.Names[0]
	} else if loopback(bound) {
		name = bound
	}
	return "https://" + net.JoinHostPort(name, port)
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func runToken(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs := newFlags("token", "Makes a token with which one machine of a unit enrols: good once, for 72 hours.", stderr)
	data := fs.String("data", "", "folder `DIR` of the state")
	unit := fs.String("unit", "", "the unit's `ID` in the profile, e.g. xa-an-thanh")
	machine := fs.String("machine", "", "the machine's `NAME`; default the unit's next machine without an identity")
	asJSON := fs.Bool("json", false, "write one JSON object")
	if ok, code := parse(fs, args); !ok {
		return code
	}
	if *unit == "" {
		fmt.Fprintln(stderr, "collector token: --unit ID is missing: name the unit that the machine stands in; units.yaml of the profile lists them")
		return exitUsage
	}
	a, err := atCenter(ctx, *data, stderr, pathToken, tokenRequest{*unit, *machine}, func(c *center) (tokenAnswer, error) { return c.newToken(tokenRequest{*unit, *machine}) })
	if err != nil {
		fmt.Fprintf(stderr, "collector token: %v\n", err)
		return exitFailed
	}
	if *asJSON {
		return printJSON(stdout, stderr, a)
	}
	fmt.Fprintf(stdout, "%s\n", a.Token)
	fmt.Fprintf(stderr, "For machine %s of unit %s, once, until %s. On that machine:\n  agent enrol --collector %s --token %s\n",
		a.Machine, a.Unit, a.Expires.In(profile.Zone()).Format("15:04 02/01/2006"), a.Collector, a.Token)
	if u, err := url.Parse(a.Collector); err == nil && loopback(u.Hostname()) {
		fmt.Fprintln(stderr, "Only this machine itself can reach that address: for others, set agents and names in collector.yaml and start the collector again.")
	}
	return exitDone
}

func runLink(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs := newFlags("link", "Prints a fresh one-time link to the board of the collector that runs, good for 15 minutes.", stderr)
	data := fs.String("data", "", "folder `DIR` of the state")
	if ok, code := parse(fs, args); !ok {
		return code
	}
	dir, err := dataDir(*data)
	if err != nil {
		fmt.Fprintf(stderr, "collector link: %v\n", err)
		return exitUsage
	}
	var a struct {
		Link string `json:"link"`
	}
	if err := call(ctx, dir, http.MethodPost, pathLink, struct{}{}, &a); err != nil {
		if errors.Is(err, errNotRunning) {
			err = fmt.Errorf("%w: start it with `collector`, which prints a link too", err)
		}
		fmt.Fprintf(stderr, "collector link: %v\n", err)
		return exitFailed
	}
	fmt.Fprintln(stdout, a.Link)
	return exitDone
}
